/**
 * What remembers misbehaviour, wired to the configuration: bans, delays after failures, clients that connect again and
 * again.
 */
import * as Effect from "effect/Effect";
import { BanFile } from "../auth/guard/ban_file.ts";
import { FailureDelay, type FailureDelaySettings } from "../auth/guard/failure_delay.ts";
import { Flapping, type FlappingSettings } from "../auth/guard/flapping.ts";
import type { Config } from "../config/options/schema.ts";
import { ConfigStore } from "../config/reload.ts";
import type { Guards } from "./admission.ts";

/** Builds the guards of a broker; they follow the configuration until the scope ends. */
export const makeGuards = Effect.gen(function* () {
  const store = yield* ConfigStore;
  const { bans } = yield* BanFile;
  const failureDelay = failureDelayOf(store.current());
  const flapping = flappingOf(store.current());
  yield* store.subscribe((config) => {
    Object.assign(failureDelay, failureDelayOf(config));
    Object.assign(flapping, flappingOf(config));
  });
  const guards: Guards = { bans, failures: new FailureDelay(failureDelay), flapping: new Flapping(flapping) };
  return guards;
});

function failureDelayOf({ auth }: Config): FailureDelaySettings {
  return {
    free: auth.failuresFree,
    baseMs: auth.failureDelayMs,
    maxMs: auth.failureDelayMaxMs,
    forgetMs: Math.max(FORGET_MS, 2 * auth.failureDelayMaxMs),
    waitingMax: WAITING_MAX,
  };
}

function flappingOf({ limits }: Config): FlappingSettings {
  return { connectsMax: limits.flappingCount, windowMs: limits.flappingWindowMs, banMs: limits.flappingBanMs };
}

/** An address without a failure for this long starts anew. */
const FORGET_MS = 600_000;
/** Attempts of one address that may wait for their turn; each holds a connection meanwhile. */
const WAITING_MAX = 16;
