import * as assert from "node:assert/strict";
import { mergeReceivers, NoLocal, receiverOf, type ReceiverRecord } from "../../src/topics/receiver.ts";
import { factsOf, subscriptionOf, TestSubscriber } from "./topic_model.ts";

const subscriber = new TestSubscriber("c");

function record(qos: 0 | 1 | 2, noLocal: boolean, identifier = 0): ReceiverRecord<TestSubscriber> {
  return receiverOf(subscriptionOf(subscriber, "a", { qos, noLocal, subscriptionIdentifier: identifier }));
}

Deno.test("receiverOf gives a subscription's options, and itself as what the publisher gets", () => {
  const options = { qos: 1, retainAsPublished: true, subscriptionIdentifier: 7 } as const;
  const receiver = receiverOf(subscriptionOf(subscriber, "a", options));
  assert.equal(receiver.subscriber, subscriber);
  assert.deepEqual([receiver.qos, receiver.retainAsPublished, receiver.identifiers], [1, true, [7]]);
  assert.equal(receiver.noLocal, NoLocal.NONE);
  assert.equal(receiver.local, receiver);
});

Deno.test("receiverOf a No Local subscription leaves the publisher nothing [MQTT-3.8.3-3]", () => {
  const receiver = record(1, true);
  assert.deepEqual([receiver.noLocal, receiver.local, receiver.identifiers], [NoLocal.ALL, undefined, []]);
});

Deno.test("mergeReceivers takes the largest QoS and every identifier, the same one twice [MQTT-3.3.4-2] [MQTT-3.3.4-4]", () => {
  let merged = mergeReceivers(record(0, false, 5), record(2, false));
  merged = mergeReceivers(merged, record(1, false, 9));
  merged = mergeReceivers(merged, record(1, false, 5));
  assert.deepEqual([merged.qos, merged.identifiers, merged.noLocal], [2, [5, 9, 5], NoLocal.NONE]);
  assert.equal(merged.local, merged);
});

Deno.test("mergeReceivers gives the publisher the merge of the subscriptions without No Local [MQTT-3.8.3-3]", () => {
  const merged = [record(0, false, 1), record(2, true, 2), record(1, false, 3), record(0, true, 4)]
    .reduce(mergeReceivers);
  assert.equal(merged.noLocal, NoLocal.MIXED);
  assert.deepEqual(factsOf(merged), {
    clientId: "c",
    qos: 2,
    retainAsPublished: false,
    identifiers: [1, 2, 3, 4],
    own: { qos: 1, retainAsPublished: false, identifiers: [1, 3] },
  });
  assert.deepEqual(factsOf([record(2, true, 2), record(1, true, 3)].reduce(mergeReceivers)).own, undefined);
});

Deno.test("mergeReceivers never changes the record of a single subscription, which all results share", () => {
  const all = [record(0, true, 1), record(0, false, 2), record(2, false, 3), record(1, true), record(1, false)];
  const before = all.map((each) => JSON.stringify({ ...each, local: each.local === each }));
  for (const first of all) {
    for (const second of all) for (const third of all) [first, second, third].reduce(mergeReceivers);
  }
  assert.deepEqual(all.map((each) => JSON.stringify({ ...each, local: each.local === each })), before);
});
