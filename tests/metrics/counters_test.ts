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

Deno.test("Counters sum drops over every reason", () => {
  const counters = new Counters();
  for (const reason of DROP_REASONS) counters.messagesDropped[reason]++;
  counters.messagesDropped.expired += 4;
  assert.equal(counters.messagesDroppedTotal(), DROP_REASONS.length + 4);
});
