/**
 * What remembers misbehaviour, with settings that a test can change.
 */
import { BanList } from "../../src/auth/guard/ban_list.ts";
import { FailureDelay, type FailureDelaySettings } from "../../src/auth/guard/failure_delay.ts";
import { Flapping, type FlappingSettings } from "../../src/auth/guard/flapping.ts";
import type { Guards } from "../../src/broker/admission.ts";

/** Guards of a broker and the settings they read. */
export interface TestGuards extends Guards {
  readonly failureDelay: FailureDelaySettings;
  readonly flappingLimits: FlappingSettings;
}

/** Guards as a broker has them by default. */
export function makeGuards(): TestGuards {
  const failureDelay = { free: 3, baseMs: 250, maxMs: 10_000, forgetMs: 600_000, waitingMax: 16 };
  const flappingLimits = { connectsMax: 0, windowMs: 60_000, banMs: 300_000 };
  return {
    failureDelay,
    flappingLimits,
    bans: new BanList(),
    failures: new FailureDelay(failureDelay),
    flapping: new Flapping(flappingLimits),
  };
}
