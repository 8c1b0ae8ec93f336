import * as assert from "node:assert/strict";
import { LabelledCounter, LABELS_MAX, OperationCounter } from "../../src/metrics/labelled_counter.ts";

Deno.test("LabelledCounter counts per label in order of appearance", () => {
  const counter = new LabelledCounter();
  counter.add("banned");
  counter.add("not_authorized");
  counter.add("banned");
  assert.deepEqual(counter.entries(), [["banned", 2], ["not_authorized", 1]]);
  assert.equal(counter.total(), 3);
});

Deno.test("LabelledCounter accepts labels that name members of Object.prototype", () => {
  const counter = new LabelledCounter();
  counter.add("constructor");
  counter.add("__proto__");
  assert.deepEqual(counter.entries(), [["constructor", 1], ["__proto__", 1]]);
});

Deno.test("LabelledCounter counts labels past its bound as other", () => {
  const counter = new LabelledCounter();
  for (let i = 0; i < LABELS_MAX + 10; i++) counter.add(`reason_${i}`);
  counter.add("reason_0");
  const entries = new Map(counter.entries());
  assert.equal(entries.size, LABELS_MAX + 1);
  assert.equal(entries.get("other"), 10);
  assert.equal(entries.get("reason_0"), 2);
  assert.equal(counter.total(), LABELS_MAX + 11);
});

Deno.test("OperationCounter counts per operation and outcome, and bounds the operations", () => {
  const counter = new OperationCounter();
  counter.add("compact", "ok");
  counter.add("compact", "error");
  counter.add("compact", "ok");
  assert.deepEqual(counter.entries(), [["compact", "ok", 2], ["compact", "error", 1]]);
  for (let i = 0; i < LABELS_MAX + 10; i++) counter.add(`operation_${i}`, "error");
  const errors = counter.entries().filter(([, status]) => status === "error");
  assert.equal(errors.length, LABELS_MAX + 1);
  assert.deepEqual(errors.at(-1), ["other", "error", 11]);
});
