/**
 * The broker as an operator runs it, over a data directory that outlives the process: started with the permissions of
 * `deno task start`, watched by its own log, stopped, or killed as a crash does.
 *
 * A broker that a test leaves running is killed at the end of its scope. Nothing here waits for time: a start waits for
 * the ready line, everything else for a line of the log or the end of the process.
 */
import assert from "node:assert/strict";
import type { LogLine } from "../support/broker.ts";
import { childEnvironment } from "../support/child_environment.ts";
import { within } from "../support/event_queue.ts";
import type { Endpoint } from "../support/raw_client.ts";

/** How a broker is started. */
export interface BrokerSettings {
  /** `--data-dir`; made by the broker if need be. */
  readonly dataDirectory: string;
  readonly flags?: readonly string[];
  /** Options that have no flag, by key, such as `storage.min-free-space`. */
  readonly options?: Readonly<Record<string, string>>;
  /** Another entry point in place of the broker's, with its own arguments in front. */
  readonly program?: readonly string[];
}

/** How a broker ended. */
export interface BrokerEnd {
  readonly code: number;
  readonly log: readonly LogLine[];
}

/** What `/health/ready` says. */
export interface ReadyAnswer {
  readonly status: number;
  readonly reason: string;
}

/** A running broker. */
export class BrokerProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #log: LogLine[] = [];
  readonly #ended: Promise<BrokerEnd>;
  #hasEnded = false;
  /** Called with every new line, and once at the end. */
  #heard: () => void = () => {};
  #ready: LogLine = {};

  private constructor(settings: BrokerSettings) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--quiet",
        "--no-prompt",
        ...PERMISSIONS,
        "--config",
        MANIFEST,
        ...settings.program ?? [MAIN],
        ...flagsOf(settings),
      ],
      cwd: "/",
      clearEnv: true,
      env: childEnvironment(environmentOf(settings)),
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#ended = this.#follow();
  }

  /** Starts a broker and returns once clients may come; rejects with its log when it ends before. */
  static async start(settings: BrokerSettings): Promise<BrokerProcess> {
    const broker = new BrokerProcess(settings);
    try {
      broker.#ready = await broker.untilLogged("promptmq is ready");
    } catch (error) {
      await broker.kill();
      throw error;
    }
    return broker;
  }

  /** Starts a broker that has to end by itself. */
  static async fail(settings: BrokerSettings): Promise<BrokerEnd> {
    const broker = new BrokerProcess(settings);
    try {
      return await broker.ended();
    } finally {
      await broker.kill();
    }
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Where MQTT over TCP is served. */
  get tcp(): Endpoint {
    return endpointOf(this.#ready["tcp"]);
  }

  /** Log lines so far. */
  get log(): readonly LogLine[] {
    return this.#log;
  }

  /** Waits for a line whose message begins so; one that has been logged counts. */
  async untilLogged(beginning: string): Promise<LogLine> {
    while (true) {
      const line = this.#log.find(({ msg }) => msg?.startsWith(beginning));
      if (line !== undefined) return line;
      assert.ok(!this.#hasEnded, `the broker ended without "${beginning}": ${JSON.stringify(this.#log, undefined, 1)}`);
      const heard = Promise.withResolvers<void>();
      this.#heard = heard.resolve;
      await within(heard.promise, `"${beginning}" after ${JSON.stringify(this.#log.at(-1))}`);
    }
  }

  /** Asks whether clients may come. */
  async readiness(): Promise<ReadyAnswer> {
    const { hostname, port } = endpointOf(this.#ready["metrics"]);
    const response = await fetch(`http://${hostname}:${port}/health/ready`);
    return { status: response.status, reason: (await response.text()).trim() };
  }

  /** Reads one sample, labels included, such as `promptmq_wal_write_errors_total`; 0 when there is none. */
  async metric(sample: string): Promise<number> {
    const { hostname, port } = endpointOf(this.#ready["metrics"]);
    const response = await fetch(`http://${hostname}:${port}/metrics`);
    const lines = (await response.text()).split("\n");
    const line = lines.find((candidate) => candidate.startsWith(`${sample} `));
    return line === undefined ? 0 : Number(line.slice(sample.length + 1));
  }

  /** Kills it as a crash does, unless it has ended, and returns when it is gone. */
  async kill(): Promise<BrokerEnd> {
    return await this.#signal("SIGKILL");
  }

  /** Stops it as an operator does. */
  async stop(): Promise<BrokerEnd> {
    return await this.#signal("SIGTERM");
  }

  /** Waits until it has ended by itself. */
  async ended(): Promise<BrokerEnd> {
    return await within(this.#ended, `the broker to end; its log: ${JSON.stringify(this.#log.slice(-3))}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #signal(signal: Deno.Signal): Promise<BrokerEnd> {
    if (!this.#hasEnded) {
      try {
        this.#child.kill(signal);
      } catch (error) {
        // It has ended by itself.
        if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    return await this.ended();
  }

  async #follow(): Promise<BrokerEnd> {
    let rest = "";
    for await (const text of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#log.push(line.startsWith("{") ? JSON.parse(line) : { msg: line });
      this.#heard();
    }
    if (rest !== "") this.#log.push({ msg: rest });
    const { code } = await this.#child.status;
    this.#hasEnded = true;
    this.#heard();
    return { code, log: this.#log };
  }
}

/** The one line at level fatal; after it comes the end of a broker that was ready, to the last line of that. */
export function fatalLine({ log }: BrokerEnd): LogLine {
  const fatal = log.filter(({ level }) => level === "fatal");
  assert.equal(fatal.length, 1, JSON.stringify(log, undefined, 1));
  const after = log.slice(log.indexOf(fatal[0]!) + 1).map(({ msg }) => msg);
  if (after.length > 0) assert.deepEqual([after[0], after.at(-1)], ["promptmq is stopping", "promptmq has stopped"]);
  return fatal[0]!;
}

/** The messages of the lines that an operator should look at. */
export function complaints(log: readonly LogLine[]): unknown[] {
  return log.filter(({ level }) => level !== "info" && level !== "debug").map(({ msg }) => msg);
}

/** A temporary directory, removed at the end of its scope. */
export interface TemporaryDirectory extends AsyncDisposable {
  readonly path: string;
  /** For the broker; within `path`. */
  readonly data: string;
  /** The log of the broker. */
  readonly wal: string;
}

/** Makes one. */
export async function temporaryDirectory(): Promise<TemporaryDirectory> {
  const path = await Deno.makeTempDir({ prefix: "promptmq_failure_" });
  return {
    path,
    data: `${path}/data`,
    wal: `${path}/data/wal`,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

/** Names in a directory that end so, sorted. */
export function namesIn(directory: string, ending: string): string[] {
  return Array.from(Deno.readDirSync(directory), ({ name }) => name).filter((name) => name.endsWith(ending)).sort();
}

/** The segments of a log, oldest first. */
export function segmentsOf(wal: string): string[] {
  return namesIn(wal, ".wal").map((name) => `${wal}/${name}`);
}

function flagsOf({ dataDirectory, flags = [] }: BrokerSettings): string[] {
  return [...OWN_BINDS, "--log-format", "json", "--data-dir", dataDirectory, ...flags];
}

/** Options as variables: `storage.min-free-space` is `PROMPTMQ_STORAGE_MIN_FREE_SPACE`. */
function environmentOf({ options = {} }: BrokerSettings): Record<string, string> {
  const variable = (key: string) => `PROMPTMQ_${key.replaceAll(/[.-]/g, "_").toUpperCase()}`;
  return Object.fromEntries(Object.entries(options).map(([key, value]) => [variable(key), value]));
}

function endpointOf(address: unknown): Endpoint {
  assert.ok(typeof address === "string", "the ready line names no such address");
  const colon = address.lastIndexOf(":");
  return { hostname: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
}

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname;
const MANIFEST = new URL("../../deno.json", import.meta.url).pathname;
const PERMISSIONS = ["--allow-net", "--allow-read", "--allow-write", "--allow-env", "--allow-sys"];
const OWN_BINDS = ["--bind", "127.0.0.1:0", "--ws-bind", "", "--metrics-bind", "127.0.0.1:0"];
