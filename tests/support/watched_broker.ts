/**
 * A whole broker with files that a test changes while it runs, and a log that a test waits for.
 *
 * `Broker` answers what is so now; this one is for what comes later by itself: a file that is read again, a ban, a
 * limit. A wait ends with the line that was waited for, never with time.
 */
import assert from "node:assert/strict";
import type { LogLine } from "./broker.ts";
import { childEnvironment } from "./child_environment.ts";
import { within } from "./event_queue.ts";
import type { Endpoint } from "./raw_client.ts";

/** Fields that a line must have, each with this value. */
export type LineFields = Readonly<Record<string, unknown>>;

/** How to start a broker. */
export interface WatchedOptions {
  /** Files of its directory by name; the configuration names them without a path. */
  readonly files?: Readonly<Record<string, string>>;
  /** YAML. Storage is in memory, the listeners of section `server` and the metrics are on free ports of this host. */
  readonly config: string;
}

const ROOT = new URL("../../", import.meta.url);
const SERVER = ["run", "--quiet", "--no-prompt", "-A", "--config", new URL("deno.json", ROOT).pathname];
const BINDS = ["bind", "ws-bind", "metrics-bind"].flatMap((name) => [`--${name}`, "127.0.0.1:0"]);
const FLAGS = ["--config", "promptmq.yaml", "--storage", "memory", "--log-format", "json", ...BINDS];

/** A running broker; disposing of it stops it and demands exit code 0. */
export class WatchedBroker implements AsyncDisposable {
  readonly directory: string;
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  readonly #lines: LogLine[] = [];
  /** Lines that some `logged` has returned. */
  readonly #told = new Set<LogLine>();
  readonly #waiting = new Set<() => void>();
  #hasEnded = false;
  #end: Promise<readonly LogLine[]> | undefined;

  private constructor(directory: string) {
    this.directory = directory;
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [...SERVER, new URL("src/main.ts", ROOT).pathname, ...FLAGS],
      cwd: directory,
      clearEnv: true,
      env: childEnvironment(),
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#reading = this.#readLog();
  }

  /** Starts a broker and returns once its listeners are open. */
  static async start({ files = {}, config }: WatchedOptions): Promise<WatchedBroker> {
    const directory = await Deno.makeTempDir({ prefix: "promptmq_watched_" });
    for (const [name, text] of Object.entries({ ...files, "promptmq.yaml": config })) {
      await Deno.writeTextFile(`${directory}/${name}`, text);
    }
    const broker = new WatchedBroker(directory);
    try {
      await broker.logged(READY);
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

  /** Log lines so far. */
  get log(): readonly LogLine[] {
    return this.#lines;
  }

  /** Where a listener listens: `tcp`, `ws`, `tls`, or the name of one of `listeners`. */
  endpoint(name = "tcp"): Endpoint {
    const ready = this.#lines.find(({ msg }) => msg === READY)!;
    const listed = (ready["listeners"] ?? []) as readonly string[];
    const address = ready[name] ?? listed.find((line) => line.startsWith(`${name} `))?.split(" ")[2];
    assert.ok(typeof address === "string", `the ready line names no listener ${name}`);
    const colon = address.lastIndexOf(":");
    return { hostname: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
  }

  /** Replaces a file as a careful operator does: written beside it and renamed into place. */
  async write(name: string, text: string): Promise<void> {
    await Deno.writeTextFile(`${this.directory}/${name}.new`, text);
    await Deno.rename(`${this.directory}/${name}.new`, `${this.directory}/${name}`);
  }

  /** Waits for a line with this message and these fields. No line is returned twice. */
  async logged(message: string, fields: LineFields = {}): Promise<LogLine> {
    const wanted = Object.entries({ msg: message, ...fields });
    for (;;) {
      const line = this.#lines.find((candidate) =>
        !this.#told.has(candidate) && wanted.every(([name, value]) => candidate[name] === value)
      );
      if (line !== undefined) {
        this.#told.add(line);
        return line;
      }
      const what = `the log line ${JSON.stringify({ message, ...fields })}`;
      if (this.#hasEnded) throw new Error(`the broker ended without ${what}: ${JSON.stringify(this.#lines)}`);
      const woken = Promise.withResolvers<void>();
      this.#waiting.add(woken.resolve);
      await within(woken.promise, what).finally(() => this.#waiting.delete(woken.resolve));
    }
  }

  /** All that `/metrics` says. */
  async metrics(): Promise<string> {
    const { hostname, port } = this.endpoint("metrics");
    return await (await fetch(`http://${hostname}:${port}/metrics`)).text();
  }

  /** The value of a counter for one reason; 0 while nothing was counted for it. */
  async count(counter: "connects_refused" | "clients_limited", reason: string): Promise<number> {
    const start = `promptmq_${counter}_total{reason="${reason}"} `;
    const line = (await this.metrics()).split("\n").find((candidate) => candidate.startsWith(start));
    return line === undefined ? 0 : Number(line.slice(start.length));
  }

  /** Reads the configuration again. */
  reload(): void {
    this.#child.kill("SIGHUP");
  }

  /** Stops the broker, removes its directory, and returns its whole log. */
  stop(signal: Deno.Signal = "SIGTERM"): Promise<readonly LogLine[]> {
    this.#end ??= this.#stop(signal);
    return this.#end;
  }

  /** Stops the broker, unless that was done. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #stop(signal: Deno.Signal): Promise<readonly LogLine[]> {
    if (!this.#hasEnded) this.#child.kill(signal);
    const status = await within(this.#child.status, "the broker to end");
    await this.#reading;
    await Deno.remove(this.directory, { recursive: true });
    const isExpected = status.code === 0 || signal === "SIGKILL";
    assert.ok(isExpected, `the broker ended with ${status.code}: ${JSON.stringify(this.#lines.slice(-5))}`);
    return this.#lines;
  }

  async #readLog(): Promise<void> {
    let rest = "";
    for await (const chunk of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#lines.push(line.startsWith("{") ? JSON.parse(line) : { msg: line });
      this.#wake();
    }
    this.#hasEnded = true;
    this.#wake();
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}

const READY = "promptmq is ready";
