/**
 * The simulation over fixed seeds, over those that once found something, and over one seed twice. A failure names its seed
 * and the command that replays it. See "Simulation" in docs/testing.md.
 */
import assert from "node:assert/strict";
import pastSeeds from "./past_seeds.json" with { type: "json" };
import { simulate } from "./simulation.ts";
import { STEPS } from "./steps.ts";

const SEEDS = 26;
const SET_CLOCK_SEEDS = 12;

for (let seed = 1; seed <= SEEDS; seed++) {
  Deno.test(`simulation keeps every promise, seed ${seed}`, async () => {
    const { trace } = await simulate(seed, STEPS);
    assert(trace.some((line) => line.includes("<- publish")), "somebody received something");
  });
}

for (let seed = 1; seed <= SET_CLOCK_SEEDS; seed++) {
  Deno.test(`simulation keeps every promise while the wall clock is set again and again, seed ${seed}`, async () => {
    const { trace } = await simulate(seed, STEPS, { isClockSet: true });
    assert(trace.filter((line) => line.startsWith("the wall clock is set")).length > 1);
  });
}

for (const { seed, steps, isClockSet = false, found } of pastSeeds as readonly PastSeed[]) {
  Deno.test(`simulation keeps every promise, seed ${seed} of the past: ${found}`, async () => {
    await simulate(seed, steps, { isClockSet });
  });
}

Deno.test("simulation does the same for the same seed", async () => {
  const first = await simulate(META_SEED, STEPS);
  const second = await simulate(META_SEED, STEPS);
  assert(first.crashes > 0);
  assert.equal(second.trace.join("\n"), first.trace.join("\n"));
});

interface PastSeed {
  readonly seed: number;
  readonly steps: number;
  readonly isClockSet?: boolean;
  /** What it found, in a few words. */
  readonly found: string;
}

const META_SEED = 5;
