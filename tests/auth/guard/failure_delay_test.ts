/**
 * Waiting after failed authentications: how long, for whom, in which order, and who is remembered.
 */
import fc from "fast-check";
import assert from "node:assert/strict";
import {
  FAILED_ADDRESSES_MAX,
  FailureDelay,
  type FailureDelaySettings,
} from "../../../src/auth/guard/failure_delay.ts";
import { addressKey } from "../../../src/system/ip_address.ts";

const ADDRESS = "192.0.2.1";

function settings(changes: Partial<FailureDelaySettings> = {}): FailureDelaySettings {
  return { free: 3, baseMs: 1_000, maxMs: 30_000, forgetMs: 600_000, waitingMax: 4, ...changes };
}

/** The nth of many addresses. */
function addressOf(index: number): string {
  return `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;
}

function failTimes(delay: FailureDelay, address: string, times: number, nowMs = 0): void {
  for (let failure = 0; failure < times; failure++) delay.failed(address, "alice", nowMs);
}

Deno.test("FailureDelay doubles the delay after the failures that cost nothing, up to the maximum", () => {
  const delay = new FailureDelay(settings());
  const delays = [delay.delayMs(ADDRESS, 0)];
  let nowMs = 0;
  for (let failure = 1; failure <= 11; failure++) {
    delay.failed(ADDRESS, "alice", nowMs);
    delays.push(delay.delayMs(ADDRESS, nowMs));
    nowMs += delays.at(-1)!;
  }
  assert.deepEqual(delays, [0, 0, 0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
});

Deno.test("FailureDelay counts down the delay, and asking changes nothing", () => {
  const delay = new FailureDelay(settings());
  failTimes(delay, ADDRESS, 5);
  assert.deepEqual([0, 500, 1_999, 2_000, 9_000].map((nowMs) => delay.delayMs(ADDRESS, nowMs)), [
    2_000,
    1_500,
    1,
    0,
    0,
  ]);
});

Deno.test("attempts of one address stand in line, one delay apart, and too many are turned away", () => {
  const delay = new FailureDelay(settings());
  failTimes(delay, ADDRESS, 5);
  const waits = Array.from({ length: 6 }, () => delay.reserve(ADDRESS, 500));
  assert.deepEqual(waits, [1_500, 3_500, 5_500, 7_500, undefined, undefined]);
  // The first has had its turn, so there is one place more; nobody told that the others gave up.
  assert.deepEqual([delay.reserve(ADDRESS, 2_000), delay.reserve(ADDRESS, 2_000)], [8_000, undefined]);
  assert.equal(delay.reserve("192.0.2.2", 2_000), 0);
});

Deno.test("attempts are not made to wait before a failure costs something", () => {
  const delay = new FailureDelay(settings());
  for (let attempt = 0; attempt < 50; attempt++) assert.equal(delay.reserve(ADDRESS, 0), 0);
  failTimes(delay, ADDRESS, 3);
  for (let attempt = 0; attempt < 50; attempt++) assert.equal(delay.reserve(ADDRESS, 0), 0);
});

Deno.test("attempts that are let through are one delay apart, however many come and fail at once", () => {
  const attempts = fc.array(fc.tuple(fc.nat(5_000), fc.boolean()), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(attempts, fc.integer({ min: 1, max: 8 }), (script, waitingMax) => {
      const delay = new FailureDelay(settings({ free: 0, waitingMax }));
      delay.failed(ADDRESS, "alice", 0);
      let nowMs = 0;
      let startedMs = -Infinity;
      const started: number[] = [];
      for (const [gapMs, isFailing] of script) {
        nowMs += gapMs;
        const waitMs = delay.reserve(ADDRESS, nowMs);
        const waiting = started.filter((timeMs) => timeMs > nowMs).length;
        if (waitMs === undefined) assert.equal(waiting, waitingMax, "turned away although there was a place");
        else {
          assert(nowMs + waitMs >= startedMs + 1_000, "two attempts within the least delay");
          assert(waiting < waitingMax || waitMs === 0, "too many in the line");
          startedMs = nowMs + waitMs;
          started.push(startedMs);
        }
        if (isFailing) delay.failed(ADDRESS, "alice", nowMs);
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("a success of another user than the one who failed, or than all who failed, ends nothing", () => {
  const delay = new FailureDelay(settings());
  failTimes(delay, ADDRESS, 9);
  const waitMs = delay.delayMs(ADDRESS, 0);
  assert(waitMs > 0);
  for (const username of ["mallory", undefined]) {
    delay.succeeded(ADDRESS, username);
    assert.equal(delay.delayMs(ADDRESS, 0), waitMs);
  }
  delay.failed(ADDRESS, "bob", 0);
  delay.succeeded(ADDRESS, "alice");
  delay.succeeded(ADDRESS, "bob");
  assert(delay.delayMs(ADDRESS, 0) >= waitMs);
});

Deno.test("a success ends all waiting of its address, and a quiet time does", () => {
  const delay = new FailureDelay(settings());
  failTimes(delay, ADDRESS, 9);
  delay.succeeded(ADDRESS, "alice");
  assert.equal(delay.reserve(ADDRESS, 0), 0);
  assert.equal(delay.size, 0);
  failTimes(delay, ADDRESS, 9);
  delay.failed(ADDRESS, "alice", 599_999);
  assert.equal(delay.delayMs(ADDRESS, 600_000), 29_999, "the quiet time begins with each failure");
  assert.equal(delay.reserve(ADDRESS, 1_199_999), 0);
  assert.equal(delay.size, 0);
  delay.failed(ADDRESS, "alice", 1_200_000);
  assert.equal(delay.delayMs(ADDRESS, 1_200_000), 0, "it starts anew");
});

Deno.test("an IPv6 address counts by its /64 network, IPv4 by itself in either spelling", () => {
  const delay = new FailureDelay(settings({ free: 0 }));
  delay.failed("2001:db8:0:1::1", "alice", 0);
  assert.equal(delay.delayMs("2001:db8:0:1:ffff::2%eth0", 0), 1_000);
  assert.equal(delay.delayMs("2001:db8:0:2::1", 0), 0);
  delay.failed("::ffff:192.0.2.1", "alice", 0);
  assert.equal(delay.delayMs("192.0.2.1", 0), 1_000);
  assert.equal(delay.delayMs("192.0.2.2", 0), 0);
  assert.deepEqual(
    ["2001:DB8:0:1::9", "::ffff:192.0.2.1", "fe80::1%3", "::1", "local", "10.0.0.0/8", ""].map(addressKey),
    ["2001:db8:0:1::/64", "192.0.2.1", "fe80::/64", "::/64", undefined, undefined, undefined],
  );
});

Deno.test("a peer that is no IP address never waits", () => {
  const delay = new FailureDelay(settings({ free: 0 }));
  failTimes(delay, "local", 20);
  assert.deepEqual([delay.reserve("local", 0), delay.delayMs("local", 0), delay.size], [0, 0, 0]);
});

Deno.test("FailureDelay follows its settings while it counts; a base of 0 counts nothing", () => {
  const live = settings({ baseMs: 0 });
  const delay = new FailureDelay(live);
  failTimes(delay, ADDRESS, 9);
  assert.deepEqual([delay.delayMs(ADDRESS, 0), delay.size], [0, 0]);
  live.baseMs = 100;
  live.free = 1;
  failTimes(delay, ADDRESS, 3);
  assert.equal(delay.delayMs(ADDRESS, 0), 200);
});

Deno.test("too many addresses push out those that failed least, and of these the oldest", () => {
  const delay = new FailureDelay(settings({ free: 0, maxMs: 3_600_000 }));
  failTimes(delay, ADDRESS, 3);
  failTimes(delay, "192.0.2.2", 1, 1);
  // Every one of them failed once.
  for (let index = 0; index < FAILED_ADDRESSES_MAX - 2; index++) delay.failed(addressOf(index), "alice", 2);
  assert.equal(delay.size, FAILED_ADDRESSES_MAX);
  for (let index = 0; index < 10; index++) delay.failed(`198.51.100.${index}`, "alice", 3);
  assert.equal(delay.size, FAILED_ADDRESSES_MAX);
  const isKnown = (address: string) => delay.delayMs(address, 3) > 0;
  assert.deepEqual(
    [ADDRESS, "192.0.2.2", addressOf(0), addressOf(8), addressOf(9), "198.51.100.9"].map(isKnown),
    [true, false, false, false, true, true],
  );
});

Deno.test("addresses that would start anew make room first, however often they failed", () => {
  const delay = new FailureDelay(settings({ free: 0 }));
  failTimes(delay, ADDRESS, 20, 0);
  for (let index = 0; index < FAILED_ADDRESSES_MAX - 1; index++) delay.failed(addressOf(index), "alice", 600_000);
  delay.failed("192.0.2.2", "alice", 600_000);
  assert.equal(delay.size, FAILED_ADDRESSES_MAX);
  assert.equal(delay.delayMs(addressOf(0), 600_000), 1_000);
});
