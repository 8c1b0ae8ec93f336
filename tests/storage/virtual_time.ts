/**
 * Time for stores under test: a clock that stands still until it is moved, and timers that run when it is.
 */

import { setImmediate } from "node:timers";

/** See the head of this file. */
export class VirtualTime {
  /** Milliseconds since the epoch. */
  nowMs: number;
  #timers: { readonly dueMs: number; readonly run: () => void }[] = [];

  constructor(nowMs = 1_700_000_000_000) {
    this.nowMs = nowMs;
  }

  readonly clock = (): number => this.nowMs;

  /** Runs something when the clock has moved so far; returns how to prevent it. */
  readonly later = (ms: number, run: () => void): () => void => {
    const timer = { dueMs: this.nowMs + ms, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  };

  /** Timers that wait. */
  get waiting(): number {
    return this.#timers.length;
  }

  /** Moves the clock and runs the timers that become due, each at its time; promises go on in between. */
  async advance(ms: number): Promise<void> {
    const endMs = this.nowMs + ms;
    for (;;) {
      const next = this.#timers.toSorted((a, b) => a.dueMs - b.dueMs)[0];
      if (next === undefined || next.dueMs > endMs) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.nowMs = Math.max(this.nowMs, next.dueMs);
      next.run();
      await jobsDone();
    }
    this.nowMs = endMs;
  }
}

/** Resolves when all promise jobs that are ready now, and those that follow from them, are done. */
export function jobsDone(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
