/**
 * The queue of what waits for a commit: order, growth, and what it lets go of.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { CommitQueue, Waiting } from "../../src/broker/commit_queue.ts";
import { OtherSource } from "../../src/broker/publish_source.ts";

Deno.test("commit queue gives out the oldest entry only once its position is committed", () => {
  const queue = new CommitQueue();
  for (const position of [3, 0, 5]) queue.push().position = position;
  assert.equal(queue.peek(2), undefined);
  assert.equal(queue.peek(3)?.position, 3);
  assert.equal(queue.peek(4)?.position, 3);
  queue.drop();
  assert.equal(queue.peek(4)?.position, 0);
  queue.drop();
  assert.equal(queue.peek(4), undefined);
  assert.equal(queue.peek(5)?.position, 5);
  queue.drop();
  assert.equal(queue.peek(Infinity), undefined);
  assert.equal(queue.count, 0);
});

Deno.test("commit queue lets go of what a dropped entry refers to", () => {
  const queue = new CommitQueue();
  const entry = queue.push();
  entry.position = 1;
  entry.kind = Waiting.RUN;
  entry.run = () => {};
  entry.source = new OtherSource("link");
  entry.matched = { receivers: [], groups: [], route: -1 };
  queue.drop();
  assert.deepEqual([entry.run, entry.matched, entry.source, entry.sink, entry.topic], [
    null,
    null,
    null,
    null,
    null,
  ]);
});

Deno.test("commit queue keeps its order when it grows, wherever its ring begins and even between peek and drop", () => {
  fc.assert(
    fc.property(fc.array(fc.record({ push: fc.nat(1_500), drop: fc.nat(1_500) }), { maxLength: 12 }), (rounds) => {
      const queue = new CommitQueue();
      const model: number[] = [];
      let position = 0;
      for (const { push, drop } of rounds) {
        const head = queue.peek(Infinity);
        for (let i = 0; i < push; i++) {
          queue.push().position = ++position;
          model.push(position);
        }
        // As when a callback of the oldest entry pushes: it stays the oldest.
        if (head !== undefined) assert.equal(queue.peek(Infinity), head);
        for (let i = 0; i < drop && model.length > 0; i++) {
          assert.equal(queue.peek(position)?.position, model.shift());
          queue.drop();
        }
        assert.equal(queue.count, model.length);
      }
    }),
    { numRuns: 50 },
  );
});
