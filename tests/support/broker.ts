/**
 * The real broker as a child process: started on free loopback ports, awaited by its own "ready" log line, stopped by
 * signal. Everything it holds (process, pipes, temporary directory) is released by `stop` or `await using`.
 */
import assert from "node:assert/strict";
import { childEnvironment } from "./child_environment.ts";
import { within } from "./event_queue.ts";
import type { Endpoint } from "./raw_client.ts";

/** What to start the broker with, beside the loopback binds. */
export interface BrokerOptions {
  /** Program to start in place of `src/main.ts`, one that ends up in the same `main`. */
  readonly program?: URL;
  /** Arguments of that program, before those of the broker. */
  readonly args?: readonly string[];
  /** More command line flags, e.g. `["--max-qos", "1"]`. */
  readonly flags?: readonly string[];
  /** More environment variables; of this process's own the broker gets next to none. */
  readonly env?: Readonly<Record<string, string>>;
  /** Text of a configuration file in YAML; written to the temporary directory and passed as `--config`. */
  readonly config?: string;
}

/** How a broker ended. */
export interface BrokerExit {
  readonly code: number;
  readonly signal: Deno.Signal | null;
  /** The log lines, parsed; lines that are not JSON are kept as `{ msg }`. */
  readonly log: readonly LogLine[];
}

/** One structured log line. */
export interface LogLine {
  readonly level?: string;
  readonly msg?: string;
  readonly [field: string]: unknown;
}

const ROOT = new URL("../../", import.meta.url);
const READY_MESSAGE = "promptmq is ready";

/** A running broker. */
export class Broker implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #directory: string;
  readonly #log: LogLine[] = [];
  readonly #awaited: { readonly message: string; readonly resolve: (line: LogLine) => void }[] = [];
  readonly #ready = Promise.withResolvers<LogLine>();
  readonly #reading: Promise<void>;
  #exit: Promise<BrokerExit> | undefined;
  #addresses: LogLine = {};

  private constructor(child: Deno.ChildProcess, directory: string) {
    this.#child = child;
    this.#directory = directory;
    this.#reading = this.#readLog();
  }

  /** Starts a broker and returns once its listeners are open; rejects with its log when it ends before that. */
  static async start(options: BrokerOptions = {}): Promise<Broker> {
    const directory = await Deno.makeTempDir({ prefix: "promptmq_test_" });
    const configFlags: string[] = [];
    if (options.config !== undefined) {
      await Deno.writeTextFile(`${directory}/promptmq.yaml`, options.config);
      configFlags.push("--config", `${directory}/promptmq.yaml`);
    }
    const binds = ["bind", "ws-bind", "metrics-bind"].flatMap((name) => [`--${name}`, "127.0.0.1:0"]);
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--quiet", "--no-prompt", "-A", "--config", new URL("deno.json", ROOT).pathname],
        (options.program ?? new URL("src/main.ts", ROOT)).pathname,
        ...[...options.args ?? [], ...binds, "--log-format", "json"],
        ...configFlags,
        ...(options.flags ?? []),
      ],
      cwd: directory,
      clearEnv: true,
      env: childEnvironment(options.env),
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const broker = new Broker(child, directory);
    try {
      broker.#addresses = await within(broker.#ready.promise, "the broker to be ready");
      return broker;
    } catch (error) {
      await broker.stop("SIGKILL");
      throw error;
    }
  }

  /** Process identifier of the broker. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Where MQTT over TCP is served. */
  get tcp(): Endpoint {
    return this.#endpoint("tcp");
  }

  /** Where MQTT over WebSocket is served; the default path is `/mqtt`. */
  get ws(): Endpoint {
    return this.#endpoint("ws");
  }

  /** Base URL of the metrics and health server, without trailing slash. */
  get metricsUrl(): string {
    const { hostname, port } = this.#endpoint("metrics");
    return `http://${hostname}:${port}`;
  }

  /** Log lines so far. */
  get log(): readonly LogLine[] {
    return this.#log;
  }

  /** Waits until a line with this message is logged, or gives the first one that was. */
  async logged(message: string): Promise<LogLine> {
    const known = this.#log.find(({ msg }) => msg === message);
    if (known !== undefined) return known;
    const { promise, resolve } = Promise.withResolvers<LogLine>();
    this.#awaited.push({ message, resolve });
    return await within(promise, `the log line ${JSON.stringify(message)}`);
  }

  /** Resident memory of the process in bytes, from `/proc`; `undefined` where the system has none. */
  async rssBytes(): Promise<number | undefined> {
    return await readRssBytes(this.pid);
  }

  /** Reads one sample of `/metrics`, e.g. `promptmq_connections_current`; an absent one is a failure. */
  async metric(name: string): Promise<number> {
    const response = await fetch(`${this.metricsUrl}/metrics`);
    const text = await response.text();
    const line = text.split("\n").find((candidate) => candidate.startsWith(`${name} `));
    assert.ok(line, `/metrics has no sample ${name}`);
    return Number(line.slice(name.length + 1));
  }

  /** Sends a signal and does not wait. */
  signal(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Sends `signal` unless the process has ended, waits for the end, and removes the temporary directory. */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<BrokerExit> {
    if (this.#exit === undefined) {
      try {
        this.#child.kill(signal);
      } catch (error) {
        if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    return await this.ended();
  }

  /** Waits for the process to end by itself or by a signal sent before. */
  async ended(): Promise<BrokerExit> {
    this.#exit ??= this.#awaitEnd();
    return await this.#exit;
  }

  /** Stops the broker with SIGTERM; an exit code other than 0 fails the test that used it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#exit !== undefined) {
      await this.#exit;
      return;
    }
    const exit = await this.stop();
    assert.equal(exit.code, 0, `the broker ended with ${exit.code}: ${JSON.stringify(exit.log.slice(-5))}`);
  }

  async #awaitEnd(): Promise<BrokerExit> {
    const status = await within(this.#child.status, "the broker to end");
    await this.#reading;
    await Deno.remove(this.#directory, { recursive: true });
    return { code: status.code, signal: status.signal, log: this.#log };
  }

  #endpoint(field: string): Endpoint {
    const address = this.#addresses[field];
    assert.ok(typeof address === "string", `the ready line names no ${field} address`);
    const colon = address.lastIndexOf(":");
    return { hostname: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
  }

  async #readLog(): Promise<void> {
    let rest = "";
    for await (const chunk of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#addLine(line);
    }
    if (rest !== "") this.#addLine(rest);
    this.#ready.promise.catch(() => undefined);
    this.#ready.reject(new Error(`the broker ended before it was ready: ${JSON.stringify(this.#log.slice(-20))}`));
  }

  #addLine(line: string): void {
    const entry = parseLine(line);
    this.#log.push(entry);
    for (const { message, resolve } of this.#awaited) if (entry.msg === message) resolve(entry);
    if (entry.msg === READY_MESSAGE) this.#ready.resolve(entry);
  }
}

/** Resident memory of a process in bytes, from `/proc/<pid>/status`; `undefined` where the system has none. */
export async function readRssBytes(pid: number): Promise<number | undefined> {
  try {
    const status = await Deno.readTextFile(`/proc/${pid}/status`);
    const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function parseLine(line: string): LogLine {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null) return { ...value };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return { msg: line };
}
