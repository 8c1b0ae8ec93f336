/**
 * Starts the program under test as a process of its own, with the permissions of `deno task start`.
 */

import { childEnvironment } from "../support/child_environment.ts";

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;
const MANIFEST = new URL("../../deno.json", import.meta.url).pathname;
const PERMISSIONS = ["--allow-net", "--allow-read", "--allow-write", "--allow-env", "--allow-sys"];

/** What never meets another process: ports the system chooses, on this host only, and no files. */
const ON_ITS_OWN = [
  ...["--bind", "127.0.0.1:0", "--ws-bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0"],
  ...["--storage", "memory"],
];

/** What a process may be given beside its arguments. */
export interface Surroundings {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Deno flags instead of the usual permissions. */
  readonly permissions?: readonly string[];
}

/** How a process ended. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command for one run; the home directory is a place without configuration unless given. */
function command(args: readonly string[], surroundings: Surroundings): Deno.Command {
  const permissions = surroundings.permissions ?? PERMISSIONS;
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", ...permissions, "--config", MANIFEST, MAIN, ...args],
    cwd: surroundings.cwd ?? "/",
    clearEnv: true,
    env: childEnvironment(surroundings.env),
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

/** Runs a command that ends by itself. */
export async function runToEnd(args: readonly string[], surroundings: Surroundings = {}): Promise<Outcome> {
  const { code, stdout, stderr } = await command(args, surroundings).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** Fields of one line of the log. */
export type LogLine = Readonly<Record<string, unknown>>;

/** A broker that is running, on ports of its own, with its log on standard error as JSON. */
export interface RunningBroker extends AsyncDisposable {
  /** The next line of the log with this message; rejects when the process ends without it. */
  untilLogged(message: string): Promise<LogLine>;
  kill(signal: Deno.Signal): void;
  /** Exit code, all lines of standard error, and the messages of those that are log lines. */
  untilEnd(): Promise<
    { readonly code: number; readonly lines: readonly string[]; readonly messages: readonly unknown[] }
  >;
}

/** Starts a broker; the end of the scope kills it if it still runs. */
export function broker(args: readonly string[], surroundings: Surroundings = {}): RunningBroker {
  const process = command(["server", ...ON_ITS_OWN, "--log-format", "json", ...args], surroundings).spawn();
  const reader = linesOf(process.stderr);
  const lines: string[] = [];
  const messages: unknown[] = [];
  let hasEnded = false;
  const next = async (): Promise<LogLine | undefined> => {
    const { value, done } = await reader.next();
    if (done) return undefined;
    lines.push(value);
    const line: LogLine = value.startsWith("{") ? JSON.parse(value) : {};
    if (line["msg"] !== undefined) messages.push(line["msg"]);
    return line;
  };
  const untilEnd = async () => {
    while (await next() !== undefined);
    const { code } = await process.status;
    hasEnded = true;
    return { code, lines, messages };
  };
  return {
    untilLogged: async (message) => {
      for (let line = await next(); line !== undefined; line = await next()) if (line["msg"] === message) return line;
      throw new Error(`the process ended without logging "${message}":\n${lines.join("\n")}`);
    },
    kill: (signal) => process.kill(signal),
    untilEnd,
    [Symbol.asyncDispose]: async () => {
      if (!hasEnded) {
        try {
          process.kill("SIGKILL");
        } catch {
          // It has ended by itself.
        }
        await untilEnd();
      }
      await process.stdout.cancel();
    },
  };
}

async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string, undefined> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
  if (rest !== "") yield rest;
}
