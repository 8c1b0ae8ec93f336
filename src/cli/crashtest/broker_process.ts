/**
 * The broker of a crash test: this program again, as a child on loopback ports of its own, which can be killed.
 */

import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import { runtimeArguments } from "../process/own_program.ts";
import { CrashtestUnavailable } from "./errors.ts";

/** A broker that is running. */
export interface BrokerProcess {
  /** Port of MQTT over TCP on 127.0.0.1, once the broker is ready; fails when it ends before. */
  readonly ready: Effect.Effect<number, CrashtestUnavailable>;
  /** True once the process has ended. */
  readonly hasEnded: () => boolean;
  /** What it logged last. */
  readonly lastLines: () => readonly string[];
}

/** Starts a broker; the end of the scope kills it as a crash does (SIGKILL) and waits until it is gone. */
export function startBrokerProcess(
  flags: readonly string[],
): Effect.Effect<BrokerProcess, CrashtestUnavailable, Scope.Scope> {
  return Effect.acquireRelease(
    Effect.suspend(() => {
      const prefix = runtimeArguments();
      if (typeof prefix === "string") return Effect.fail(new CrashtestUnavailable({ reason: prefix }));
      return Effect.try({
        try: () => new ChildBroker([...prefix, "server", ...OWN_PORTS, ...flags]),
        catch: (cause) =>
          new CrashtestUnavailable({
            reason: `cannot start a broker: ${cause instanceof Error ? cause.message : cause}`,
          }),
      });
    }),
    (broker) => broker.kill,
  );
}

class ChildBroker implements BrokerProcess {
  readonly #child: Deno.ChildProcess;
  readonly #lines: string[] = [];
  readonly #port = Promise.withResolvers<number>();
  readonly #ended: Promise<void>;
  #hasEnded = false;

  constructor(args: readonly string[]) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [...args],
      clearEnv: true,
      env: environment(),
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#port.promise.catch(() => {});
    this.#ended = this.#follow();
  }

  get ready(): Effect.Effect<number, CrashtestUnavailable> {
    return Effect.tryPromise({
      try: () => this.#port.promise,
      catch: () =>
        new CrashtestUnavailable({
          reason: `the broker ended before it was ready:\n${this.#lines.slice(-3).join("\n")}`,
        }),
    });
  }

  get kill(): Effect.Effect<void> {
    return Effect.promise(() => {
      try {
        this.#child.kill("SIGKILL");
      } catch (error) {
        // It has ended by itself.
        if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
      }
      return this.#ended;
    });
  }

  hasEnded(): boolean {
    return this.#hasEnded;
  }

  lastLines(): readonly string[] {
    return this.#lines;
  }

  async #follow(): Promise<void> {
    let rest = "";
    for await (const text of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      for (const line of parts) this.#line(line);
    }
    await this.#child.status;
    this.#hasEnded = true;
    this.#port.reject(new Error("ended"));
  }

  #line(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > LINES_KEPT) this.#lines.shift();
    const tcp = READY_LINE.exec(line)?.[1];
    if (tcp !== undefined) this.#port.resolve(Number(tcp.slice(tcp.lastIndexOf(":") + 1)));
  }
}

/** The environment without what would configure the broker. */
function environment(): Record<string, string> {
  return Object.fromEntries(Object.entries(Deno.env.toObject()).filter(([name]) => !name.startsWith("PROMPTMQ_")));
}

/** Ports that never meet another process, on this host only. */
const OWN_PORTS = ["--bind=127.0.0.1:0", "--ws-bind=", "--no-metrics", "--log-format=json", "--log-level=info"];
const READY_LINE = /"msg":"promptmq is ready".*"tcp":"([^"]+)"/;
const LINES_KEPT = 30;
