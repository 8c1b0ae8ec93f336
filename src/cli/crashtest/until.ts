/**
 * Waiting for what the clients bring about, which nobody signals.
 */

import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";

/** Time between two looks, in milliseconds. */
export const TICK_MS = 20;

/** Waits until the condition holds. Gives false when it does not within the time. */
export function until(condition: () => boolean, deadlineMs: number): Effect.Effect<boolean> {
  return Effect.gen(function* () {
    const endMs = (yield* Clock.currentTimeMillis) + deadlineMs;
    while (!condition()) {
      if ((yield* Clock.currentTimeMillis) >= endMs) return false;
      yield* Effect.sleep(TICK_MS);
    }
    return true;
  });
}
