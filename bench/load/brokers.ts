/**
 * How each broker of the comparison is started: one process, free ports on 127.0.0.1, one temporary directory.
 *
 * Settings aim at the same promise everywhere: anonymous unless a user is asked for, TCP without Nagle delay, logs
 * limited to warnings, messages kept in memory, defaults otherwise. Two settings depart from a peer's default, each in
 * its favour: mosquitto gets `set_tcp_nodelay true` (latency) and `max_queued_messages 0` (so that it never drops).
 * NATS needs JetStream for MQTT; its store is a directory, and QoS 1 goes through it.
 *
 * With TLS all have the same certificate and their own defaults for versions and ciphers. With a user, each checks the
 * password with the hash its own tool writes, at that tool's cost.
 */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Feature } from "./cells.ts";
import { type CertificateFiles, CertificatesUnavailable, makeCertificates } from "./certificates.ts";
import type { LoadUser } from "./packets.ts";

/** Where a broker has to listen on 127.0.0.1, and for whom. */
export interface Doors {
  /** Port for plain TCP; undefined = none. */
  readonly tcpPort: number | undefined;
  /** Undefined = no TLS. */
  readonly tls: { readonly port: number; readonly files: CertificateFiles } | undefined;
  /** The only user that may connect; undefined = anyone may. */
  readonly user: LoadUser | undefined;
}

/** A broker that can be measured. */
export interface BrokerKind {
  /** Column of the table. */
  readonly name: "promptmq" | "mosquitto" | "nats" | "forwarder";
  /** Features it lacks in MQTT; cells that need one are not run. */
  readonly lacks: readonly Feature[];
  /** Programs to try, in order. */
  readonly programs: readonly string[];
  /** Arguments that print the version. */
  readonly versionArguments: readonly string[];
  /** Computes the arguments, after writing whatever configuration it needs into the directory. */
  prepare(directory: string, doors: Doors): Promise<string[]>;
}

/** Where our broker keeps messages in this comparison; printed with the results. */
export const DURABILITY_MODE = "memory";

const MAIN_PATH = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
const FORWARDER_PATH = fileURLToPath(new URL("forwarder.ts", import.meta.url));

/** All brokers, ours first. */
export const BROKERS: readonly BrokerKind[] = [
  {
    name: "promptmq",
    lacks: [],
    programs: [Deno.execPath()],
    versionArguments: ["run", "--no-prompt", "-A", MAIN_PATH, "--version"],
    prepare: async (directory, { tcpPort, tls, user }) => [
      ...["run", "--no-prompt", "-A", MAIN_PATH],
      ...[`--bind=${tcpPort === undefined ? "" : `127.0.0.1:${tcpPort}`}`, "--ws-bind=", "--metrics=false"],
      ...["--log-level=warn", `--storage=${DURABILITY_MODE}`],
      ...(tls === undefined ? [] : [
        ...["--tls", `--tls-cert=${tls.files.cert}`, `--tls-key=${tls.files.key}`],
        ...[`--tls-bind=127.0.0.1:${tls.port}`, "--wss-bind="],
      ]),
      ...(user === undefined
        ? []
        : ["--allow-anonymous=false", `--password-file=${await writeOurUser(directory, user)}`]),
    ],
  },
  {
    name: "mosquitto",
    lacks: [],
    programs: ["mosquitto", "/usr/sbin/mosquitto"],
    versionArguments: ["-h"],
    prepare: async (directory, { tcpPort, tls, user }) => {
      const lines = [
        ...(tcpPort === undefined ? [] : [`listener ${tcpPort} 127.0.0.1`]),
        ...(tls === undefined
          ? []
          : [`listener ${tls.port} 127.0.0.1`, `certfile ${tls.files.cert}`, `keyfile ${tls.files.key}`]),
        ...(user === undefined
          ? ["allow_anonymous true"]
          : ["allow_anonymous false", `password_file ${await writeMosquittoUser(directory, user)}`]),
        // Otherwise, started by root, it becomes a user who cannot read what lies in the directory.
        ...(tls === undefined && user === undefined ? [] : ["user root"]),
        ...["set_tcp_nodelay true", "max_queued_messages 0"],
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
    prepare: async (directory, { tcpPort, tls, user }) => {
      const files = tls && [tls.files.cert, tls.files.key].map((path) => JSON.stringify(path));
      const lines = [
        ...["host: 127.0.0.1", "port: -1", "server_name: bench"],
        `jetstream { store_dir: ${JSON.stringify(join(directory, "jetstream"))} }`,
        ...(user === undefined
          ? []
          : [`authorization { user: ${user.username}, password: ${JSON.stringify(user.password)} }`]),
        `mqtt { host: 127.0.0.1, port: ${tls?.port ?? tcpPort}`,
        ...(files === undefined ? [] : [`tls { cert_file: ${files[0]}, key_file: ${files[1]} }`]),
        "}",
      ];
      return ["-c", await writeConfiguration(directory, "nats.conf", lines)];
    },
  },
];

/** No broker: hands on bytes, and so shows what the generator itself can do at QoS 0 1→1. See forwarder.ts. */
export const FORWARDER: BrokerKind = {
  name: "forwarder",
  lacks: ["qos1", "qos2", "shared", "v5"],
  programs: [Deno.execPath()],
  versionArguments: ["--version"],
  prepare: (_directory, { tcpPort, tls }) =>
    Promise.resolve([
      ...["run", "--no-prompt", "-A", FORWARDER_PATH, "--port", `${tls?.port ?? tcpPort}`],
      ...(tls === undefined ? [] : ["--tls-cert", tls.files.cert, "--tls-key", tls.files.key]),
    ]),
};

/** What a measurement asks of a broker beyond plain TCP for anyone. */
export interface DoorsWanted {
  /** `only` = no plain listener beside it. */
  readonly tls: "none" | "only" | "beside";
  readonly user: LoadUser | undefined;
}

/** A broker that accepts connections. */
export interface RunningBroker {
  readonly pid: number;
  /** The plain listener, or the TLS listener when that is the only one. */
  readonly port: number;
  /** The TLS listener; 0 = none. */
  readonly tlsPort: number;
  /** Certificate of the authority behind the TLS listener, or undefined. */
  readonly caPath: string | undefined;
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
 * @param wanted Plain TCP for anyone unless given.
 * @throws BrokerUnavailable
 */
export async function startBroker(kind: BrokerKind, wanted: DoorsWanted = PLAIN): Promise<RunningBroker> {
  const directory = await Deno.makeTempDir({ prefix: `bench_${kind.name}_` });
  try {
    const doors = await makeDoors(directory, wanted);
    const ports = [doors.tcpPort, doors.tls?.port].filter((port) => port !== undefined);
    const child = spawnFirst(kind, await kind.prepare(directory, doors));
    const output = keepTail(child.stderr);
    if (!await areListening(ports, child.status)) {
      await stopChild(child);
      throw new BrokerUnavailable(`${kind.name} did not start: ${(await output).trim() || "no output"}`);
    }
    const stop = async () => {
      await stopChild(child);
      await output;
      await Deno.remove(directory, { recursive: true });
    };
    return { pid: child.pid, port: ports[0]!, tlsPort: doors.tls?.port ?? 0, caPath: doors.tls?.files.ca, stop };
  } catch (cause) {
    await Deno.remove(directory, { recursive: true });
    if (cause instanceof CertificatesUnavailable) throw new BrokerUnavailable(cause.message);
    throw cause;
  }
}

const PLAIN: DoorsWanted = { tls: "none", user: undefined };

async function makeDoors(directory: string, wanted: DoorsWanted): Promise<Doors> {
  const [tcpPort, tlsPort] = findFreePorts();
  return {
    tcpPort: wanted.tls === "only" ? undefined : tcpPort,
    tls: wanted.tls === "none" ? undefined : { port: tlsPort, files: await makeCertificates(directory) },
    user: wanted.user,
  };
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

/** Two ports that were free a moment ago, and differ. */
function findFreePorts(): [tcp: number, tls: number] {
  const listeners = [0, 1].map(() => Deno.listen({ hostname: "127.0.0.1", port: 0 }));
  const [tcp, tls] = listeners.map((listener) => listener.addr.port);
  for (const listener of listeners) listener.close();
  return [tcp!, tls!];
}

async function areListening(ports: readonly number[], exited: Promise<unknown>): Promise<boolean> {
  let isRunning = true;
  void exited.then(() => (isRunning = false));
  const endMs = performance.now() + START_TIMEOUT_MS;
  for (const port of ports) {
    while (!await isListening(port)) {
      if (!isRunning || performance.now() > endMs) return false;
      await new Promise((resolve) => setTimeout(resolve, START_RETRY_MS));
    }
  }
  return true;
}

async function isListening(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch (cause) {
    if (cause instanceof Deno.errors.ConnectionRefused) return false;
    throw cause;
  }
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

/** Adds the user with our own command, which writes our own hash. */
async function writeOurUser(directory: string, user: LoadUser): Promise<string> {
  const path = join(directory, "users");
  const args = ["run", "--no-prompt", "-A", MAIN_PATH, "user", "add", path, user.username, "--password-stdin"];
  await runForUser(Deno.execPath(), args, `${user.password}\n`);
  return path;
}

async function writeMosquittoUser(directory: string, user: LoadUser): Promise<string> {
  const path = join(directory, "users");
  await runForUser("mosquitto_passwd", ["-b", "-c", path, user.username, user.password], "");
  return path;
}

async function runForUser(program: string, args: string[], input: string): Promise<void> {
  let child: Deno.ChildProcess;
  try {
    const piped = { stdin: "piped", stdout: "null", stderr: "piped" } as const;
    child = new Deno.Command(program, { args, clearEnv: true, env: environmentOfBrokers(), ...piped }).spawn();
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new BrokerUnavailable(`${program} is not installed`);
  }
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const [status, problems] = await Promise.all([child.status, new Response(child.stderr).text()]);
  if (!status.success) throw new BrokerUnavailable(`the password file could not be made: ${problems.trim()}`);
}
