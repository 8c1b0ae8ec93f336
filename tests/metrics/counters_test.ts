import * as assert from "node:assert/strict";
import { Counters, DROP_REASONS } from "../../src/metrics/counters.ts";

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

Deno.test("Counters count every reason of a drop by itself, and sum over all", () => {
  const counters = new Counters();
  DROP_REASONS.forEach((reason, index) => {
    for (let count = 0; count <= index; count++) counters.messageDropped(reason);
  });
  assert.deepEqual(DROP_REASONS.map((reason) => counters.messagesDropped[reason]), DROP_REASONS.map((_, i) => i + 1));
  assert.equal(counters.messagesDroppedTotal(), DROP_REASONS.length * (DROP_REASONS.length + 1) / 2);
});
