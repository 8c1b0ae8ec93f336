import fc from "fast-check";
import assert from "node:assert/strict";
import { ReferenceCounts } from "../../../src/storage/log/reference_counts.ts";

const PAGE = 262_144;

Deno.test("ReferenceCounts agrees with a list of references, for any order of retains and releases", () => {
  const step = fc.record({
    page: fc.integer({ min: 0, max: 9_000 }),
    offset: fc.nat(PAGE - 1),
    isRelease: fc.boolean(),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const counts = new ReferenceCounts();
    const model: number[] = [];
    for (const { page, offset, isRelease } of steps) {
      if (isRelease && model.length > 0) {
        const [position] = model.splice((page * PAGE + offset) % model.length, 1);
        const isLast = !model.some((other) => pageOf(other) === pageOf(position!));
        assert.equal(counts.release(position!), isLast);
      } else {
        model.push(page * PAGE + offset);
        counts.retain(page * PAGE + offset);
      }
      const first = Math.max(0, (page - 2) * PAGE + offset);
      const end = (page + 2) * PAGE + offset + 1;
      const inside = model.filter((other) => pageOf(other) >= pageOf(first) && pageOf(other) <= pageOf(end - 1));
      assert.equal(counts.count(first, end), inside.length);
      assert.equal(counts.isFree(first, end), inside.length === 0);
      assert.equal(counts.total, model.length);
    }
  }));
});

Deno.test("ReferenceCounts notices a release too many, also on a page that was never used", () => {
  const counts = new ReferenceCounts();
  counts.retain(100);
  counts.release(100);
  assert.throws(() => counts.release(100));
  assert.throws(() => counts.release(2 ** 40));
});

function pageOf(position: number): number {
  return Math.floor(position / PAGE);
}
