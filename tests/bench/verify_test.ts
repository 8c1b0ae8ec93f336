import assert from "node:assert/strict";
import { addFaults, OrderedLedger, SharedLedger } from "../../bench/load/verify.ts";

const CLEAN = { gaps: 0, dups: 0, late: 0, misrouted: 0 };

Deno.test("OrderedLedger finds nothing wrong with whole sequences, interleaved as they like", () => {
  const ledger = new OrderedLedger(2);
  for (const [publisher, sequence] of [[0, 0], [1, 0], [1, 1], [0, 1], [1, 2]] as const) {
    assert.equal(ledger.record(publisher, sequence), true);
  }
  assert.deepEqual(ledger.summarize([2, 3]), CLEAN);
});

Deno.test("OrderedLedger counts a hole in the middle and a missing end as gaps", () => {
  const ledger = new OrderedLedger(1);
  for (const sequence of [0, 1, 4, 5]) ledger.record(0, sequence);
  assert.deepEqual(ledger.summarize([9]), { ...CLEAN, gaps: 5 });
});

Deno.test("OrderedLedger tells a second copy from a late first one", () => {
  const ledger = new OrderedLedger(1);
  ledger.record(0, 0);
  ledger.record(0, 2);
  assert.equal(ledger.record(0, 1), true);
  assert.equal(ledger.record(0, 1), false);
  assert.equal(ledger.record(0, 2), false);
  assert.deepEqual(ledger.summarize([3]), { gaps: 0, dups: 2, late: 1, misrouted: 0 });
});

Deno.test("OrderedLedger counts messages of unknown publishers and of other topics as misrouted", () => {
  const ledger = new OrderedLedger(2);
  assert.equal(ledger.record(7, 0), false);
  ledger.record(1, 0);
  ledger.record(1, 1);
  assert.deepEqual(ledger.summarize([0, 0]), { ...CLEAN, misrouted: 3 });
});

Deno.test("SharedLedger accepts any order and wants every message once", () => {
  const ledger = new SharedLedger(2);
  for (const [publisher, sequence] of [[0, 2], [1, 0], [0, 0], [0, 1]] as const) {
    assert.equal(ledger.record(publisher, sequence), true);
  }
  assert.deepEqual(ledger.summarize([3, 1]), CLEAN);
  assert.equal(ledger.record(0, 2), false);
  assert.deepEqual(ledger.summarize([4, 1]), { ...CLEAN, gaps: 1, dups: 1 });
});

Deno.test("SharedLedger grows, and counts what was never sent as misrouted without hiding a gap", () => {
  const ledger = new SharedLedger(1);
  ledger.record(0, 0);
  ledger.record(0, 100_000);
  ledger.record(3, 0);
  assert.deepEqual(ledger.summarize([2]), { ...CLEAN, gaps: 1, misrouted: 2 });
});

Deno.test("addFaults adds field by field", () => {
  const sum = addFaults([{ gaps: 1, dups: 2, late: 3, misrouted: 4 }, { gaps: 10, dups: 20, late: 30, misrouted: 40 }]);
  assert.deepEqual(sum, { gaps: 11, dups: 22, late: 33, misrouted: 44 });
});
