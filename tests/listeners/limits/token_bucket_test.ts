/**
 * The token bucket: bursts, debts, an exact rate whatever the times of the calls, and rates that change.
 */
import fc from "fast-check";
import assert from "node:assert/strict";
import { TokenBucket } from "../../../src/listeners/limits/token_bucket.ts";

const START_MS = 1_700_000_000_000;

Deno.test("TokenBucket lets one second's worth through at once, and then its rate", () => {
  const bucket = new TokenBucket(() => 10, START_MS);
  bucket.take(10, START_MS);
  assert.equal(bucket.waitMs(START_MS), 0);
  bucket.take(5, START_MS);
  const waitsMs = [0, 100, 499, 500].map((ms) => Math.round(bucket.waitMs(START_MS + ms) * 1e6) / 1e6);
  assert.deepEqual(waitsMs, [500, 400, 1, 0]);
  // Full again after a second and a half, and not fuller after a year.
  const laterMs = START_MS + 365 * 86_400_000;
  bucket.take(11, laterMs);
  assert.equal(bucket.waitMs(laterMs), 100);
});

Deno.test("TokenBucket lets at least one through at once, however low its rate is", () => {
  const bucket = new TokenBucket(() => 0.5, START_MS);
  assert.deepEqual(
    [0, 1_000, 1_999, 2_000, 3_000].map((ms) => bucket.tryTake(START_MS + ms)),
    [true, false, false, true, false],
  );
});

Deno.test("tryTake gives whole tokens only, and a refusal costs nothing", () => {
  const bucket = new TokenBucket(() => 4, START_MS);
  const taken = (ms: number) => Array.from({ length: 6 }, () => bucket.tryTake(START_MS + ms)).filter(Boolean).length;
  assert.deepEqual([0, 249, 250, 500, 1_250].map(taken), [4, 0, 1, 1, 3]);
});

Deno.test("TokenBucket is full when nothing is missing", () => {
  const bucket = new TokenBucket(() => 4, START_MS);
  assert.equal(bucket.isFull(START_MS), true);
  bucket.take(2, START_MS);
  assert.deepEqual([499, 500].map((ms) => bucket.isFull(START_MS + ms)), [false, true]);
});

Deno.test("TokenBucket keeps its rate over hours of uneven steps, with fractions of a millisecond", () => {
  const rates = fc.constantFrom(0.3, 1, 7, 1_000, 999_983);
  const gapsMs = fc.array(fc.double({ min: 100, max: 20_000, noNaN: true }), { minLength: 5, maxLength: 40 });
  fc.assert(
    fc.property(rates, gapsMs, (rate, gaps) => {
      const bucket = new TokenBucket(() => rate, START_MS);
      let nowMs = START_MS;
      // Overdrawn from the start, so that nothing is lost to a full bucket.
      bucket.take(Math.max(1, rate) + 7_200 * rate, nowMs);
      for (let step = 0; nowMs < START_MS + 3_600_000; step++) {
        nowMs += gaps[step % gaps.length]!;
        bucket.waitMs(nowMs);
      }
      const expectedMs = START_MS + 7_200_000 - nowMs;
      assert(Math.abs(bucket.waitMs(nowMs) - expectedMs) < 0.01, "drifted");
    }),
    { numRuns: 50 },
  );
});

Deno.test("a user that waits out its debts gets its rate: no more over any time, and no less when it is busy", () => {
  const use = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.oneof(fc.constant(0), fc.nat(3_000)));
  fc.assert(
    fc.property(fc.constantFrom(1, 3, 20, 250), fc.array(use, { minLength: 1, maxLength: 60 }), (rate, uses) => {
      const bucket = new TokenBucket(() => rate, START_MS);
      let nowMs = START_MS;
      const taken: { readonly atMs: number; readonly count: number }[] = [];
      for (const [count, idleMs] of uses) {
        assert(bucket.waitMs(nowMs) < 0.001, "nothing is owed after the wait");
        bucket.take(count, nowMs);
        taken.push({ atMs: nowMs, count });
        for (let from = 0; from < taken.length; from++) {
          // The last one may go beyond; it is waited for afterwards.
          const before = taken.slice(from, -1).reduce((sum, each) => sum + each.count, 0);
          const allowed = Math.max(1, rate) + (nowMs - taken[from]!.atMs) * rate / 1_000;
          assert(before <= allowed + 0.01, "more than burst and rate together");
        }
        nowMs += bucket.waitMs(nowMs) + idleMs;
      }
      const busyMs = nowMs - START_MS - uses.reduce((sum, [, idleMs]) => sum + idleMs, 0);
      const total = taken.reduce((sum, each) => sum + each.count, 0);
      assert(busyMs * rate / 1_000 <= total + 0.01, "waited longer than its uses took");
    }),
    { numRuns: 200 },
  );
});

Deno.test("TokenBucket without a rate never waits, and forgets debts when its rate is lifted", () => {
  let rate = 10;
  const bucket = new TokenBucket(() => rate, START_MS);
  bucket.take(1_000, START_MS);
  assert.equal(bucket.waitMs(START_MS), 99_000);
  rate = 0;
  assert.equal(bucket.waitMs(START_MS), 0);
  bucket.take(1_000_000, START_MS);
  assert.deepEqual([bucket.waitMs(START_MS), bucket.tryTake(START_MS)], [0, true]);
  // With a rate again it begins as a new one: full.
  rate = 5;
  bucket.take(6, START_MS);
  assert.equal(bucket.waitMs(START_MS), 200);
});

Deno.test("a debt is paid off at the rate in force, and a lower rate means a smaller bucket", () => {
  let rate = 10;
  const bucket = new TokenBucket(() => rate, START_MS);
  bucket.take(30, START_MS);
  assert.equal(bucket.waitMs(START_MS), 2_000);
  rate = 40;
  assert.equal(bucket.waitMs(START_MS), 500);
  const laterMs = START_MS + 60_000;
  assert.equal(bucket.isFull(laterMs), true);
  rate = 2;
  bucket.take(3, laterMs);
  assert.equal(bucket.waitMs(laterMs), 500);
});

Deno.test("a clock that stands still or is read out of order gives no tokens twice", () => {
  const bucket = new TokenBucket(() => 10, START_MS);
  bucket.take(20, START_MS + 100);
  bucket.take(0, START_MS + 50);
  assert.equal(bucket.waitMs(START_MS + 100), 1_000);
});
