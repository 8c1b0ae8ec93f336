/**
 * Clients that connect again and again, counted over a window that slides in eighths.
 */
import fc from "fast-check";
import assert from "node:assert/strict";
import { Flapping, type FlappingSettings, PAIRS_MAX } from "../../../src/auth/guard/flapping.ts";

const START_MS = 1_700_000_000_000;

function settings(changes: Partial<FlappingSettings> = {}): FlappingSettings {
  return { connectsMax: 3, windowMs: 8_000, banMs: 60_000, ...changes };
}

Deno.test("Flapping bans with the connect after the last one that is fine, and counts anew then", () => {
  const flapping = new Flapping(settings());
  const connect = (nowMs: number) => flapping.connected("c", "u", START_MS + nowMs);
  assert.deepEqual([connect(0), connect(1), connect(2)], [undefined, undefined, undefined]);
  assert.equal(connect(3), START_MS + 3 + 60_000);
  assert.deepEqual(
    [connect(4), connect(60_002)],
    [START_MS + 60_003, START_MS + 60_003],
    "the ban lasts and is not longer",
  );
  assert.equal(flapping.connected("c", "v", START_MS + 4), undefined, "another user with the client is not banned");
  const anew = [connect(60_003), connect(60_004), connect(60_005)];
  assert.deepEqual(anew, [undefined, undefined, undefined]);
  assert.equal(connect(60_006), START_MS + 60_006 + 60_000);
});

Deno.test("Flapping counts each pair of Client Identifier and User Name by itself", () => {
  const flapping = new Flapping(settings({ connectsMax: 1 }));
  const pairs = [["a", undefined], ["b", undefined], ["a", "u"], ["a", "v"], ["au", undefined], ["", "au"]] as const;
  for (const [clientId, username] of pairs) assert.equal(flapping.connected(clientId, username, START_MS), undefined);
  for (const [clientId, username] of pairs) {
    assert.notEqual(flapping.connected(clientId, username, START_MS), undefined, `${clientId} ${username}`);
  }
});

Deno.test("Flapping never bans a client that keeps to its number per window", () => {
  const flapping = new Flapping(settings());
  // Three connects at once, and the next three when the window is over.
  for (let window = 0; window < 50; window++) {
    for (let connect = 0; connect < 3; connect++) {
      assert.equal(flapping.connected("c", undefined, START_MS + window * 8_000), undefined);
    }
  }
});

Deno.test("Flapping counts what a walk over the times within the window's steps counts", () => {
  const gap = fc.oneof(fc.nat(100), fc.nat(3_000), fc.nat(20_000));
  fc.assert(
    fc.property(fc.array(gap, { maxLength: 60 }), fc.integer({ min: 1, max: 6 }), (gaps, connectsMax) => {
      const flapping = new Flapping(settings({ connectsMax }));
      let nowMs = START_MS;
      let times: number[] = [];
      let untilMs = 0;
      for (const gapMs of gaps) {
        nowMs += gapMs;
        if (nowMs < untilMs) {
          assert.equal(flapping.connected("c", undefined, nowMs), untilMs);
          continue;
        }
        times.push(nowMs);
        const from = Math.floor(nowMs / 1_000) * 1_000 - 7_000;
        assert(from > nowMs - 8_000, "what is older than the window never counts");
        const isOneTooMany = times.filter((timeMs) => timeMs >= from).length > connectsMax;
        assert.equal(flapping.connected("c", undefined, nowMs), isOneTooMany ? nowMs + 60_000 : undefined);
        if (!isOneTooMany) continue;
        times = [];
        untilMs = nowMs + 60_000;
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("Flapping with 0 bans nobody and remembers nothing; settings may change while it counts", () => {
  const live = settings({ connectsMax: 0 });
  const flapping = new Flapping(live);
  const connect = (nowMs: number) => flapping.connected("c", undefined, START_MS + nowMs);
  for (let index = 0; index < 10; index++) assert.equal(connect(0), undefined);
  assert.equal(flapping.size, 0);
  live.connectsMax = 2;
  live.banMs = 1;
  assert.deepEqual([connect(1), connect(2), connect(3)], [undefined, undefined, START_MS + 4]);
  connect(4);
  connect(5);
  live.windowMs = 80_000;
  assert.deepEqual([connect(6), connect(7), connect(8)], [undefined, undefined, START_MS + 9]);
});

Deno.test("Flapping forgets pairs that are older than the window, and the oldest when there are too many", () => {
  const flapping = new Flapping(settings({ connectsMax: 1 }));
  for (let index = 0; index < PAIRS_MAX; index++) flapping.connected(`${index}`, undefined, START_MS);
  assert.equal(flapping.size, PAIRS_MAX);
  flapping.connected("one more", undefined, START_MS);
  assert.equal(flapping.size, PAIRS_MAX);
  assert.equal(flapping.connected("0", undefined, START_MS), undefined, "the oldest was forgotten");
  assert.notEqual(flapping.connected("9", undefined, START_MS), undefined);
  flapping.connected("later", undefined, START_MS + 9_000);
  assert.equal(flapping.size, 1);
});
