/**
 * The queue of a Session: first in, first out, whatever the ring does beneath.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { type DeliveryOrigin, ENOUGH } from "../../src/session/delivery_origin.ts";
import { OutboundQueue } from "../../src/session/outbound_queue.ts";
import { SharedGroup } from "../../src/topics/shared_subscriptions.ts";
import type { Subscriber } from "../../src/topics/subscription.ts";

/** An entry with its size, as `forEach` visits it. */
type Entry = [position: number, flags: number, size: number, origin: DeliveryOrigin | null];

function shifted(queue: OutboundQueue): [number, number, DeliveryOrigin | null] | undefined {
  return queue.shift() ? [queue.position, queue.flags, queue.origin] : undefined;
}

Deno.test("OutboundQueue is empty at first and again after its last message", () => {
  const queue = new OutboundQueue();
  assert.equal(queue.peek(), false);
  assert.equal(queue.shift(), false);
  queue.push(7, 5, 100, null);
  assert.deepEqual([queue.count, queue.bytes], [1, 100]);
  assert.deepEqual(shifted(queue), [7, 5, null]);
  assert.deepEqual([queue.count, queue.bytes], [0, 0]);
  assert.equal(queue.shift(), false);
});

Deno.test("OutboundQueue peeks without removing", () => {
  const queue = new OutboundQueue();
  const origin = { identifiers: [3], group: null, ordinal: 0 };
  queue.push(1, 6, 10, origin);
  queue.push(2, 1, 20, null);
  assert.equal(queue.peek(), true);
  assert.deepEqual([queue.position, queue.flags, queue.origin, queue.count], [1, 6, origin, 2]);
  assert.equal(queue.peek(), true);
  assert.deepEqual(shifted(queue), [1, 6, origin]);
  assert.deepEqual(shifted(queue), [2, 1, null]);
});

Deno.test("OutboundQueue keeps its order when the ring grows while it is wrapped", () => {
  const queue = new OutboundQueue();
  const origins = Array.from(
    { length: 60 },
    (_, index) => index % 3 === 0 ? { identifiers: [index], group: null, ordinal: 0 } : null,
  );
  for (let index = 0; index < 16; index++) queue.push(index, index & 7, index, origins[index]!);
  for (let index = 0; index < 10; index++) assert.deepEqual(shifted(queue), [index, index & 7, origins[index]]);
  for (let index = 16; index < 60; index++) queue.push(index, index & 7, index, origins[index]!);
  for (let index = 10; index < 60; index++) assert.deepEqual(shifted(queue), [index, index & 7, origins[index]]);
  assert.deepEqual([queue.count, queue.bytes], [0, 0]);
});

Deno.test("OutboundQueue gives an entry without origin none, also in a slot that had one", () => {
  const queue = new OutboundQueue();
  const origin = { identifiers: [1], group: null, ordinal: 0 };
  queue.push(1, 1, 1, null);
  for (let round = 0; round < 40; round++) {
    queue.push(2, 1, 1, round % 2 === 0 ? origin : null);
    const [position, , found] = shifted(queue)!;
    assert.deepEqual([position, found], round === 0 ? [1, null] : [2, round % 2 === 1 ? origin : null]);
  }
});

Deno.test("OutboundQueue lets go of a large backlog that is gone, and keeps its order afterwards", () => {
  const queue = new OutboundQueue();
  const origin = { identifiers: [1], group: null, ordinal: 0 };
  for (let round = 1; round <= 2; round++) {
    for (let index = 0; index < 5_000; index++) queue.push(index, index & 7, 1, index % 2 === 0 ? origin : null);
    for (let index = 0; index < 5_000; index++) {
      // Room for origins is given back with the rest, and no sooner.
      assert.equal(queue.hasOrigins, true);
      assert.deepEqual(shifted(queue), [index, index & 7, index % 2 === 0 ? origin : null]);
    }
    assert.deepEqual([queue.hasOrigins, queue.count, queue.bytes, queue.shift()], [false, 0, 0, false]);
    // Wraps in the ring that is left, then makes it grow.
    for (let index = 0; index < 10; index++) queue.push(index, 1, 1, null);
    for (let index = 0; index < 10; index++) assert.deepEqual(shifted(queue), [index, 1, null]);
    for (let index = 0; index < 40; index++) queue.push(index, 2, 1, null);
    for (let index = 0; index < 40; index++) assert.deepEqual(shifted(queue), [index, 2, null]);
  }
});

Deno.test("OutboundQueue holds large sizes and positions exactly", () => {
  const queue = new OutboundQueue();
  queue.push(Number.MAX_SAFE_INTEGER, 2, 268_435_455, null);
  queue.push(Number.MAX_SAFE_INTEGER, 2, 268_435_455, null);
  assert.equal(queue.bytes, 2 * 268_435_455);
  assert.deepEqual(shifted(queue), [Number.MAX_SAFE_INTEGER, 2, null]);
  assert.equal(queue.bytes, 268_435_455);
});

Deno.test("OutboundQueue says what an array says", () => {
  const push = fc.record({
    flags: fc.nat(7),
    size: fc.nat(100_000),
    hasOrigin: fc.boolean(),
    times: fc.nat(12),
    back: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.nat(30)),
  });
  const step = fc.oneof(push, fc.nat(12));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const queue = new OutboundQueue();
      const model: Entry[] = [];
      let position = 0;
      for (const each of steps) {
        if (typeof each === "object") {
          for (let count = 0; count < each.times; count++) {
            const origin = each.hasOrigin ? { identifiers: [position], group: null, ordinal: 0 } : null;
            // Now and then an older message comes late.
            const pushed = Math.max(1, ++position - each.back);
            model.push([pushed, each.flags, each.size, origin]);
            queue.push(pushed, each.flags, each.size, origin);
          }
        } else {
          for (let count = 0; count < each; count++) {
            const expected = model.shift();
            assert.deepEqual(shifted(queue), expected && [expected[0], expected[1], expected[3]]);
            if (expected !== undefined) assert.equal(queue.size, expected[2]);
          }
        }
        assert.equal(queue.count, model.length);
        assert.equal(queue.bytes, model.reduce((sum, [, , size]) => sum + size, 0));
        for (const [first, end] of [[0, Infinity], [position - 9, position - 2], [position, 0]] as const) {
          const visited: Entry[] = [];
          queue.forEachBetween(first, end, (...entry) => visited.push(entry));
          assert.deepEqual(visited, model.filter(([at]) => at >= first && at < end));
        }
      }
    }),
  );
});

Deno.test("OutboundQueue gives away messages of groups from anywhere, and keeps the others in their order", () => {
  const group = new SharedGroup<Subscriber>("g", "t");
  const step = fc.oneof(
    fc.record({ count: fc.nat(40), grouped: fc.nat(7) }),
    fc.record({ shifts: fc.nat(30) }),
    fc.record({ every: fc.integer({ min: 1, max: 4 }), enough: fc.nat(50) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new OutboundQueue();
      let model: Entry[] = [];
      let position = 0;
      for (const each of steps) {
        if ("count" in each) {
          for (let count = 0; count < each.count; count++) {
            const isGrouped = (each.grouped >> (count % 3) & 1) === 1;
            const origin = isGrouped ? { identifiers: [], group, ordinal: 1 } : null;
            model.push([++position, 1, position, origin]);
            queue.push(position, 1, position, origin);
          }
        } else if ("shifts" in each) {
          for (let count = 0; count < each.shifts; count++) {
            const expected = model.shift();
            assert.deepEqual(shifted(queue), expected && [expected[0], expected[1], expected[3]]);
          }
        } else {
          const offered = model.filter(([, , , origin]) => origin !== null).map(([at]) => at);
          const seen: number[] = [];
          const isAll = queue.surrender((at) => {
            seen.push(at);
            if (seen.length > each.enough) return ENOUGH;
            return at % each.every === 0;
          });
          assert.equal(isAll, offered.length <= each.enough);
          assert.deepEqual(seen, offered.slice(0, each.enough + 1));
          const taken = new Set(seen.slice(0, each.enough).filter((at) => at % each.every === 0));
          model = model.filter(([at]) => !taken.has(at));
        }
        assert.equal(queue.count, model.length);
        assert.equal(queue.bytes, model.reduce((sum, [, , size]) => sum + size, 0));
        const visited: number[] = [];
        queue.forEachBetween(3, position - 3, (at) => visited.push(at));
        assert.deepEqual(visited, model.map(([at]) => at).filter((at) => at >= 3 && at < position - 3));
      }
    }),
  );
});
