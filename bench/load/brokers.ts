/**
 * How each broker of the comparison is started: one process, one free port on 127.0.0.1, one temporary directory.
 *
 * Settings aim at the same promise everywhere: anonymous, TCP without Nagle delay, logs limited to warnings, messages
 * kept in memory, defaults otherwise. Two settings depart from a peer's default, each in its favour:
 * mosquitto gets `set_tcp_nodelay true` (latency) and `max_queued_messages 0` (so that it never drops).
 * NATS needs JetStream for MQTT; its store is a directory, and QoS 1 goes through it.
 */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Feature } from "./cells.ts";

/** A broker that can be measured. */
export interface BrokerKind {
  /** Column of the table. */
  readonly name: "promptmq" | "mosquitto" | "nats";
  /** Features it lacks in MQTT; cells that need one are not run. */
  readonly lacks: readonly Feature[];
  /** Programs to try, in order. */
  readonly programs: readonly string[];
  /** Arguments that print the version. */
  readonly versionArguments: readonly string[];
  /** Computes the arguments, after writing whatever configuration it needs into the directory. */
  prepare(directory: string, port: number): Promise<string[]>;
}

/** Where our broker keeps messages in this comparison; printed with the results. */
export const DURABILITY_MODE = "memory";

const MAIN_PATH = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

/** All brokers, ours first. */
export const BROKERS: readonly BrokerKind[] = [
  {
    name: "promptmq",
    lacks: [],
    programs: [Deno.execPath()],
    versionArguments: ["run", "--no-prompt", "-A", MAIN_PATH, "--version"],
    prepare: (_directory, port) =>
      Promise.resolve([
        ...["run", "--no-prompt", "-A", MAIN_PATH],
        ...[`--bind=127.0.0.1:${port}`, "--ws-bind=", "--metrics=false", "--log-level=warn"],
        `--storage=${DURABILITY_MODE}`,
      ]),
  },
  {
    name: "mosquitto",
    lacks: [],
    programs: ["mosquitto", "/usr/sbin/mosquitto"],
    versionArguments: ["-h"],
    prepare: async (directory, port) => {
      const lines = [
        `listener ${port} 127.0.0.1`,
        ...["allow_anonymous true", "set_tcp_nodelay true", "max_queued_messages 0"],
        ...["persistence false", "log_type error", "log_type warning"],
      ];
      return ["-c", await writeConfiguration(directory, "mosquitto.conf", lines)];
    },
  },
  {
    name: "nats",
    lacks: ["qos2", "shared", "v5"],
    programs: ["nats-server", "/usr/sbin/nats-server"],
    versionArguments: ["--version"],
    prepare: async (directory, port) => {
      const lines = [
        ...["host: 127.0.0.1", "port: -1", "server_name: bench"],
        `jetstream { store_dir: ${JSON.stringify(join(directory, "jetstream"))} }`,
        `mqtt { host: 127.0.0.1, port: ${port} }`,
      ];
      return ["-c", await writeConfiguration(directory, "nats.conf", lines)];
    },
  },
];

/** A broker that accepts connections. */
export interface RunningBroker {
  readonly pid: number;
  readonly port: number;
  /** Asks it to stop, kills it after a while if it does not, and removes its directory. */
  stop(): Promise<void>;
}

/** A broker that is not installed or did not come up; the message says why and quotes its last output. */
export class BrokerUnavailable extends Error {
  override readonly name = "BrokerUnavailable";
}

const START_TIMEOUT_MS = 20_000;
const START_RETRY_MS = 50;
const STOP_TIMEOUT_MS = 10_000;
const OUTPUT_CHARACTERS_MAX = 2_000;

/**
 * Starts a broker and waits until it accepts connections.
 *
 * @throws BrokerUnavailable
 */
export async function startBroker(kind: BrokerKind): Promise<RunningBroker> {
  const directory = await Deno.makeTempDir({ prefix: `bench_${kind.name}_` });
  try {
    const port = findFreePort();
    const child = spawnFirst(kind, await kind.prepare(directory, port));
    const output = keepTail(child.stderr);
    if (!await isListening(port, child.status)) {
      await stopChild(child);
      throw new BrokerUnavailable(`${kind.name} did not start: ${(await output).trim() || "no output"}`);
    }
    const stop = async () => {
      await stopChild(child);
      await output;
      await Deno.remove(directory, { recursive: true });
    };
    return { pid: child.pid, port, stop };
  } catch (cause) {
    await Deno.remove(directory, { recursive: true });
    throw cause;
  }
}

/** Reads the first line of what a broker says about its version, or undefined when it is not installed. */
export async function readVersion(kind: BrokerKind): Promise<string | undefined> {
  for (const program of kind.programs) {
    try {
      const { stdout } = await new Deno.Command(program, { args: [...kind.versionArguments], stderr: "null" }).output();
      return new TextDecoder().decode(stdout).trim().split("\n", 1)[0];
    } catch (cause) {
      if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    }
  }
  return undefined;
}

function spawnFirst(kind: BrokerKind, args: string[]) {
  for (const program of kind.programs) {
    try {
      return new Deno.Command(program, {
        args,
        clearEnv: true,
        env: environmentOfBrokers(),
        stdin: "null",
        stdout: "null",
        stderr: "piped",
      }).spawn();
    } catch (cause) {
      if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    }
  }
  throw new BrokerUnavailable(`${kind.name} is not installed`);
}

/** This process's environment without what would configure our broker beside its arguments. */
function environmentOfBrokers(): Record<string, string> {
  return Object.fromEntries(Object.entries(Deno.env.toObject()).filter(([name]) => !name.startsWith("PROMPTMQ_")));
}

function findFreePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

async function isListening(port: number, exited: Promise<unknown>): Promise<boolean> {
  let isRunning = true;
  void exited.then(() => (isRunning = false));
  for (const endMs = performance.now() + START_TIMEOUT_MS; isRunning && performance.now() < endMs;) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return true;
    } catch (cause) {
      if (!(cause instanceof Deno.errors.ConnectionRefused)) throw cause;
      await new Promise((resolve) => setTimeout(resolve, START_RETRY_MS));
    }
  }
  return false;
}

async function stopChild(child: Deno.ChildProcess): Promise<void> {
  signal(child, "SIGTERM");
  const timer = setTimeout(() => signal(child, "SIGKILL"), STOP_TIMEOUT_MS);
  await child.status;
  clearTimeout(timer);
}

function signal(child: Deno.ChildProcess, name: Deno.Signal): void {
  try {
    child.kill(name);
  } catch (cause) {
    // A process that has already ended cannot be signalled, which is what was wanted.
    if (!(cause instanceof TypeError) && !(cause instanceof Deno.errors.NotFound)) throw cause;
  }
}

/** Reads a stream to its end and keeps its last characters. */
async function keepTail(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  let tail = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    tail = (tail + text).slice(-OUTPUT_CHARACTERS_MAX);
  }
  return tail;
}

async function writeConfiguration(directory: string, name: string, lines: readonly string[]): Promise<string> {
  const path = join(directory, name);
  await Deno.writeTextFile(path, `${lines.join("\n")}\n`);
  return path;
}
