/**
 * Programs that some tests drive and that a machine may lack: mosquitto's clients, Python with paho.
 *
 * A missing one makes its tests "ignored", with a printed line, never silently passed. With
 * `PROMPTMQ_TEST_REQUIRE_TOOLS=1` (continuous integration) it is a failure.
 */

import { EventQueue, within } from "./event_queue.ts";

/** A program found on this machine, or the reason why it cannot be used. */
export interface Tool {
  readonly name: string;
  /** Absolute path, or `undefined` when missing. */
  readonly path: string | undefined;
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
    const probe = new Deno.Command(path, { args: ["-c", `import ${module}`], stdout: "null", stderr: "null" });
    if (probe.outputSync().success) return { name: `python3 with ${module}`, path };
  }
  return { name: `python3 with ${module}`, path: undefined };
}

/**
 * Registers a test that needs tools. Missing ones make it ignored with a printed line, or failing where
 * `PROMPTMQ_TEST_REQUIRE_TOOLS` is 1.
 */
export function testWithTools(title: string, tools: readonly Tool[], body: () => Promise<void>): void {
  const missing = tools.filter((tool) => tool.path === undefined).map((tool) => tool.name);
  if (missing.length === 0) {
    Deno.test(title, body);
    return;
  }
  if (Deno.env.get("PROMPTMQ_TEST_REQUIRE_TOOLS") === "1") {
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

function isExecutable(path: string): boolean {
  try {
    const info = Deno.statSync(path);
    return info.isFile && ((info.mode ?? 0) & 0o111) !== 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}
