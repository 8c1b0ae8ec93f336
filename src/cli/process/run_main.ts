/**
 * Runs the one main effect of a process to its end and turns the outcome into an exit code.
 *
 * First SIGINT or SIGTERM: the effect is interrupted, its finalizers run, exit 0. Second one: exit at once, 130 or 143.
 * At a terminal one Ctrl-C reaches a process under `deno task` twice, from the terminal and from the task: the same signal
 * again within half a second is the same wish.
 * A failure: the exit code its error carries, else 1. Finalizers that take longer than the deadline, whatever began the
 * stop: exit 70.
 */

import * as Cause from "effect/Cause";
import type * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Runtime from "effect/Runtime";
import { monotonicMs } from "../../system/clock.ts";

/** How long an orderly stop may take. One stop of one process. */
export class StopDeadline {
  /** Milliseconds, read when the stop begins; the owner of the configuration keeps it current. */
  ms: number;
  #timer: ReturnType<typeof setTimeout> | undefined = undefined;

  constructor(ms: number) {
    this.ms = ms;
  }

  /** From now on time counts, and the process ends when it is over. False when the stop has begun before. */
  begin(): boolean {
    if (this.#timer !== undefined) return false;
    this.#timer = setTimeout(() => Deno.exit(OVERDUE_EXIT_CODE), this.ms);
    return true;
  }

  /** The stop is complete. */
  met(): void {
    clearTimeout(this.#timer);
  }
}

/** Exit code of a stop that took too long: EX_SOFTWARE of sysexits. */
const OVERDUE_EXIT_CODE = 70;

/**
 * Runs the effect and ends the process with it. Failures must have been reported by the effect itself.
 *
 * Call it once, from the entry module.
 *
 * @param echoMs How soon the same signal again is no second one.
 */
export function runMain<A, E>(effect: Effect.Effect<A, E>, deadline: StopDeadline, echoMs = ECHO_MS): void {
  const run = Runtime.makeRunMain(({ fiber, teardown }) => {
    let first: { readonly exitCode: number; readonly atMs: number } | undefined = undefined;
    const stop = (exitCode: number) => {
      const isEcho = first?.exitCode === exitCode && monotonicMs() - first.atMs < echoMs;
      if (first !== undefined && !isEcho) Deno.exit(exitCode);
      first ??= { exitCode, atMs: monotonicMs() };
      // What ends already keeps the exit code of what ended it.
      if (deadline.begin()) fiber.interruptUnsafe(fiber.id);
    };
    const handlers = STOP_SIGNALS.map(([signal, code]) => [signal, () => stop(code)] as const);
    for (const [signal, handler] of handlers) Deno.addSignalListener(signal, handler);
    fiber.addObserver((exit) => {
      deadline.met();
      for (const [signal, handler] of handlers) Deno.removeSignalListener(signal, handler);
      const isGraceful = first !== undefined && Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause);
      teardown(exit, (code) => Deno.exit(isGraceful ? 0 : code));
    });
  });
  run(effect, { disableErrorReporting: true });
}

const ECHO_MS = 500;
/** Signals that ask for a stop, with the exit code of an immediate one. Windows knows no SIGTERM. */
const STOP_SIGNALS: readonly (readonly [Deno.Signal, number])[] = Deno.build.os === "windows"
  ? [["SIGINT", 130], ["SIGBREAK", 149]]
  : [["SIGINT", 130], ["SIGTERM", 143]];
