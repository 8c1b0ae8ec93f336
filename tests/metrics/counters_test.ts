import * as assert from "node:assert/strict";
import { Counters, DROP_REASONS, Histogram, LabelledCounter, LABELS_MAX } from "../../src/metrics/counters.ts";

Deno.test("Histogram counts a value in the first bucket whose inclusive bound holds it", () => {
  const histogram = new Histogram([10, 20]);
  for (const value of [0, 10, 10.5, 20, 21, 1e9]) histogram.observe(value);
  assert.deepEqual([...histogram.counts], [2, 2, 2]);
  assert.equal(histogram.count, 6);
  assert.equal(histogram.sum, 0 + 10 + 10.5 + 20 + 21 + 1e9);
});

Deno.test("Histogram without bounds keeps everything in the unbounded bucket", () => {
  const histogram = new Histogram([]);
  histogram.observe(7);
  assert.deepEqual([...histogram.counts], [1]);
});

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

Deno.test("Counters follow connections and remember the most at once", () => {
  const counters = new Counters();
  counters.connectionOpened();
  counters.connectionOpened();
  counters.connectionClosed(45);
  counters.connectionOpened();
  assert.equal(counters.connectionsCurrent, 2);
  assert.equal(counters.connectionsMaximum, 2);
  assert.equal(counters.connectionsTotal, 3);
  assert.equal(counters.disconnectionsTotal, 1);
  assert.equal(counters.connectionDurationSeconds.sum, 45);
});

Deno.test("Counters sum drops over every reason", () => {
  const counters = new Counters();
  for (const reason of DROP_REASONS) counters.messagesDropped[reason]++;
  counters.messagesDropped.expired += 4;
  assert.equal(counters.messagesDroppedTotal(), DROP_REASONS.length + 4);
});
