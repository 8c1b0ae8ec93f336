/**
 * Programs that some tests drive and that a machine may lack: mosquitto's clients, Python with paho, strace. And rights
 * that some tests need: to mount a file system, to attach to a process.
 *
 * What is missing makes its tests "ignored", with a printed line, never silently passed. With
 * `PROMPTMQ_TEST_REQUIRE_TOOLS=1` (continuous integration) a missing program is a failure. A missing right is not: no
 * package can be installed for it, and a container may withhold it for good.
 */

import { EventQueue, within } from "./event_queue.ts";

/** A program found on this machine, or the reason why it cannot be used. */
export interface Tool {
  readonly name: string;
  /** Absolute path, or `undefined` when missing. */
  readonly path: string | undefined;
  /** True when what is missing is a right. */
  readonly isRight?: boolean;
}

/** What a finished program printed. */
export interface ToolResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Looks for an executable on `PATH`, when a test file registers its tests. */
export function findTool(name: string): Tool {
  for (const directory of (Deno.env.get("PATH") ?? "").split(":")) {
    const path = `${directory}/${name}`;
    if (isExecutable(path)) return { name, path };
  }
  return { name, path: undefined };
}

/**
 * Looks for a Python that can import `module`.
 *
 * Tries every `python3` on `PATH` in turn: a version manager often shadows the system's interpreter, which holds the
 * packages.
 */
export function findPython(module: string): Tool {
  for (const directory of (Deno.env.get("PATH") ?? "").split(":")) {
    const path = `${directory}/python3`;
    if (!isExecutable(path)) continue;
    if (succeeds(path, ["-c", `import ${module}`])) return { name: `python3 with ${module}`, path };
  }
  return { name: `python3 with ${module}`, path: undefined };
}

/** `mount`, where this process may mount a file system: tried once, on a directory of its own. */
export function findMount(): Tool {
  const mount = findTool("mount");
  const umount = findTool("umount");
  if (mount.path === undefined || umount.path === undefined) return { name: "mount", path: undefined };
  const directory = Deno.makeTempDirSync({ prefix: "promptmq_mount_" });
  const isAllowed = succeeds(mount.path, ["-t", "tmpfs", "tmpfs", directory]) && succeeds(umount.path, [directory]);
  Deno.removeSync(directory);
  return isAllowed ? mount : { name: "the right to mount a file system", path: undefined, isRight: true };
}

/**
 * Registers a test that needs tools. Missing ones make it ignored with a printed line, or failing where
 * `PROMPTMQ_TEST_REQUIRE_TOOLS` is 1 and one of them is no right.
 */
export function testWithTools(title: string, tools: readonly Tool[], body: () => Promise<void>): void {
  const absent = tools.filter((tool) => tool.path === undefined);
  if (absent.length === 0) {
    Deno.test(title, body);
    return;
  }
  const missing = absent.map((tool) => tool.name);
  if (Deno.env.get("PROMPTMQ_TEST_REQUIRE_TOOLS") === "1" && absent.some((tool) => tool.isRight !== true)) {
    Deno.test(title, () => {
      throw new Error(`required tools are missing: ${missing.join(", ")}`);
    });
    return;
  }
  Deno.stdout.writeSync(new TextEncoder().encode(`skipped, missing ${missing.join(", ")}: ${title}\n`));
  Deno.test({ name: title, ignore: true, fn: body });
}

/** Runs a tool to its end. The input, if any, is written to its standard input. */
export async function runTool(tool: Tool, args: readonly string[], input = ""): Promise<ToolResult> {
  const running = startTool(tool, args);
  const writer = running.child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  return await running.result();
}

/** A tool that is still running. */
export interface RunningTool {
  readonly child: Deno.ChildProcess;
  /** Waits for the next line of its standard output, without the line feed. */
  line(): Promise<string>;
  /** Waits for its end and returns all it printed; its standard input must be closed by then. */
  result(): Promise<ToolResult>;
}

/** Starts a tool and leaves it running; the caller closes its standard input and awaits `result`. */
export function startTool(tool: Tool, args: readonly string[]): RunningTool {
  if (tool.path === undefined) throw new Error(`${tool.name} is missing`);
  const child = new Deno.Command(tool.path, { args: [...args], stdin: "piped", stdout: "piped", stderr: "piped" })
    .spawn();
  const lines = new EventQueue<string>();
  const collected = Promise.all([child.status, readLines(child.stdout, lines), new Response(child.stderr).text()]);
  return {
    child,
    async line() {
      const line = await lines.next(`a line from ${tool.name}`);
      if (line === undefined) throw new Error(`${tool.name} ended before it printed a line`);
      return line;
    },
    async result() {
      const [status, stdout, stderr] = await within(collected, `${tool.name} to end`);
      return { code: status.code, stdout, stderr };
    },
  };
}

async function readLines(stream: ReadableStream<Uint8Array<ArrayBuffer>>, lines: EventQueue<string>): Promise<string> {
  let whole = "";
  let rest = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    whole += chunk;
    const parts = (rest + chunk).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) lines.push(part);
  }
  lines.end();
  return whole;
}

function succeeds(path: string, args: readonly string[]): boolean {
  return new Deno.Command(path, { args: [...args], stdin: "null", stdout: "null", stderr: "null" }).outputSync()
    .success;
}

function isExecutable(path: string): boolean {
  try {
    const info = Deno.statSync(path);
    return info.isFile && ((info.mode ?? 0) & 0o111) !== 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}
