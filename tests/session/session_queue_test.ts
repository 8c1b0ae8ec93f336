/**
 * What a Session does with messages it cannot send: bounds and policies of the queue, the outbound bound of a
 * connection, messages of Shared Subscriptions that others shall have, and the end of the Session State.
 */

import assert from "node:assert/strict";
import type { DeliveryOrigin } from "../../src/session/delivery_origin.ts";
import type { Session } from "../../src/session/session.ts";
import { SharedGroup } from "../../src/topics/shared_subscriptions.ts";
import { SessionRig } from "./session_rig.ts";

/** Publishes payloads "1", "2", … at QoS 1; returns what the Session said to each. */
function publishNumbers(rig: SessionRig, count: number): boolean[] {
  return Array.from({ length: count }, (_, index) => rig.publish(`${index + 1}`));
}

/** Payloads of what a new connection gets. */
function payloadsOnConnect(rig: SessionRig): string[] {
  rig.connect();
  return rig.sink.take().map((line) => line.split(" ").at(-1)!);
}

Deno.test("Session with drop-oldest keeps the newest messages and counts the others", () => {
  const rig = new SessionRig({ queuedMax: 3, queueFull: "drop-oldest" });
  assert.deepEqual(publishNumbers(rig, 5), [true, true, true, true, true]);
  rig.assertHolds({ queued: 3 });
  rig.assertDropped({ queue_full_oldest: 2 });
  assert.deepEqual(payloadsOnConnect(rig), ["3", "4", "5"]);
});

Deno.test("Session with drop-newest keeps the oldest messages and counts the others", () => {
  const rig = new SessionRig({ queuedMax: 3, queueFull: "drop-newest" });
  assert.deepEqual(publishNumbers(rig, 5), [true, true, true, false, false]);
  rig.assertHolds({ queued: 3 });
  rig.assertDropped({ queue_full_newest: 2 });
  assert.deepEqual(payloadsOnConnect(rig), ["1", "2", "3"]);
});

Deno.test("Session with reject says beforehand that its queue is full, and refuses", () => {
  const rig = new SessionRig({ queuedMax: 2, queueFull: "reject" });
  assert.equal(rig.session.outbox.isQueueFullFor(1), false);
  assert.deepEqual(publishNumbers(rig, 1), [true]);
  assert.equal(rig.session.outbox.isQueueFullFor(1), false);
  assert.deepEqual(publishNumbers(rig, 2), [true, false]);
  assert.equal(rig.session.outbox.isQueueFullFor(1), true);
  rig.assertHolds({ queued: 2 });
  rig.assertDropped({ queue_full_rejected: 1 });
  assert.equal(payloadsOnConnect(rig).length, 2);
  assert.equal(rig.session.outbox.isQueueFullFor(1), false);
});

Deno.test("Session that never queued anything says beforehand that a message is above mqtt.max-queued-bytes", () => {
  const rig = new SessionRig({ queuedBytesMax: 10, queueFull: "reject" });
  assert.deepEqual([rig.session.outbox.isQueueFullFor(10), rig.session.outbox.isQueueFullFor(11)], [false, true]);
  assert.equal(rig.publish("12345678"), false);
  assert.equal(rig.publish("1234567"), true);
  rig.assertHolds({ queued: 1 });
  rig.assertDropped({ queue_full_rejected: 1 });
});

Deno.test("Session keeps mqtt.max-queued-bytes: stored bytes of topic, properties and payload", () => {
  // A message is 3 bytes of topic and its payload.
  const rig = new SessionRig({ queuedBytesMax: 30, queueFull: "drop-newest" });
  assert.equal(rig.publish("1234567"), true);
  assert.equal(rig.publish("1234567"), true);
  assert.equal(rig.session.outbox.isQueueFullFor(10), false);
  assert.equal(rig.session.outbox.isQueueFullFor(11), true);
  assert.equal(rig.publish("12345678"), false);
  assert.equal(rig.publish("1234567"), true);
  assert.equal(rig.publish(""), false);
  rig.assertHolds({ queued: 3 });
  rig.assertDropped({ queue_full_newest: 2 });
});

Deno.test("Session with drop-oldest drops as many as the new message needs", () => {
  const rig = new SessionRig({ queuedBytesMax: 30, queueFull: "drop-oldest" });
  for (const payload of ["1", "22", "333", "4444"]) rig.publish(payload);
  rig.assertHolds({ queued: 4 });
  rig.publish("x".repeat(18));
  rig.assertDropped({ queue_full_oldest: 3 });
  assert.deepEqual(payloadsOnConnect(rig), ["4444", "x".repeat(18)]);
});

Deno.test("Session does not empty its queue for a message that can never fit", () => {
  const rig = new SessionRig({ queuedBytesMax: 30, queueFull: "drop-oldest" });
  publishNumbers(rig, 3);
  assert.equal(rig.publish("x".repeat(28)), false);
  rig.assertHolds({ queued: 3 });
  rig.assertDropped({ queue_full_newest: 1 });
  assert.deepEqual(payloadsOnConnect(rig), ["1", "2", "3"]);
});

Deno.test("Session sees a bound that is changed while it runs", () => {
  const rig = new SessionRig({ queuedMax: 0, queueFull: "drop-oldest" });
  publishNumbers(rig, 50);
  rig.assertHolds({ queued: 50 });
  rig.limits.queuedMax = 2;
  rig.publish("last");
  rig.assertHolds({ queued: 2 });
  rig.assertDropped({ queue_full_oldest: 49 });
  assert.deepEqual(payloadsOnConnect(rig), ["50", "last"]);
});

Deno.test("Session above the outbound bound drops QoS 0, queues QoS 1 and 2, and sends them in order later", () => {
  const rig = new SessionRig({ outboundBytesMax: 100 });
  rig.connect();
  rig.publish("x".repeat(101), { qos: 0 });
  rig.publish("lost", { qos: 0 });
  rig.publish("a", { qos: 1 });
  rig.publish("b", { qos: 2 });
  rig.assertDropped({ outbound_full: 1 });
  rig.assertHolds({ queued: 2 });
  assert.equal(rig.session.outbox.canSendNow, false);
  assert.equal(rig.sink.take().length, 1);
  rig.publish("c", { qos: 1 });
  rig.assertHolds({ queued: 3 });
  assert.deepEqual(rig.sink.take(), [], "nothing overtakes the queue");
  rig.session.outbox.pump(rig.nowMs);
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #1 t a", "PUBLISH q2 #2 t b", "PUBLISH q1 #3 t c"]);
  assert.equal(rig.session.outbox.canSendNow, true);
  rig.assertDropped({ outbound_full: 1 });
});

Deno.test("Session counts bytes on their way to the network against the outbound bound", () => {
  const rig = new SessionRig({ outboundBytesMax: 100 });
  rig.connect();
  rig.sink.writingBytes = 101;
  rig.publish("lost", { qos: 0 });
  rig.publish("kept");
  assert.deepEqual(rig.sink.take(), []);
  rig.assertDropped({ outbound_full: 1 });
  rig.assertHolds({ queued: 1 });
  rig.sink.writingBytes = 100;
  rig.session.outbox.pump(rig.nowMs);
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #1 t kept"]);
});

Deno.test("Session counts segments set aside against the outbound bound", () => {
  const rig = new SessionRig({ outboundBytesMax: 500_000 });
  rig.connect();
  for (let count = 0; count < 5; count++) rig.publish("x".repeat(200_000), { qos: 0 });
  rig.assertDropped({ outbound_full: 2 });
  assert.equal(rig.sink.take().length, 3);
});

Deno.test("Session holds what is sent again on resume to the outbound bound too", () => {
  const rig = new SessionRig({ outboundBytesMax: 1000 });
  rig.connect();
  for (let count = 1; count <= 4; count++) {
    rig.publish("x".repeat(600));
    rig.sink.take();
  }
  rig.disconnect();
  rig.connect();
  assert.deepEqual(rig.sink.takePackets().map((packet) => packet.messageId), [1, 2]);
  rig.session.outbox.pump(rig.nowMs);
  assert.deepEqual(rig.sink.takePackets().map((packet) => packet.messageId), [3, 4]);
  rig.assertHolds({ inflight: 4 });
});

Deno.test("Session lets nothing new ahead of what is still to be sent again [MQTT-4.6.0-1]", () => {
  const rig = new SessionRig({ outboundBytesMax: 100 });
  rig.connect();
  for (const payload of ["a", "b"]) {
    rig.publish(payload.repeat(150));
    rig.sink.take();
  }
  rig.disconnect();
  rig.connect();
  assert.deepEqual(rig.sink.takePackets().map((packet) => packet.messageId), [1]);
  rig.publish("new");
  assert.deepEqual(rig.sink.take(), []);
  rig.session.outbox.pump(rig.nowMs);
  assert.deepEqual(rig.sink.takePackets().map((packet) => packet.messageId), [2]);
  rig.session.outbox.pump(rig.nowMs);
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #3 t new"]);
});

Deno.test("Session writes nothing to a connection that is closing and keeps what it is owed", () => {
  const rig = new SessionRig();
  rig.connect();
  rig.publish("sent");
  rig.sink.take();
  rig.sink.disconnect();
  rig.publish("kept");
  rig.puback(1);
  rig.session.acknowledge(0x40, 9, 0);
  assert.deepEqual(rig.sink.take(), []);
  rig.assertHolds({ queued: 1 });
});

Deno.test("Session queues QoS 0 for a Retained Message that cannot leave now, and sends it without Packet Identifier", () => {
  const rig = new SessionRig({ outboundBytesMax: 100 });
  rig.connect({ receiveMaximum: 1 });
  rig.publish("window");
  rig.publish("waits");
  const position = rig.store.append(rig.messageOf("retained"));
  assert.equal(rig.session.outbox.enqueue(position, 4, { identifiers: [3], group: null, ordinal: 0 }), true);
  rig.store.release(position);
  rig.assertHolds({ inflight: 1, queued: 2 });
  rig.sink.take();
  rig.puback(1);
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #2 t waits", "PUBLISH q0 retain t retained"]);
  rig.assertHolds({ inflight: 1 });
});

const GROUP = new SharedGroup<Session>("workers", "t");

function sharedOrigin(identifiers: readonly number[] = []): DeliveryOrigin {
  return { identifiers, group: GROUP, ordinal: 1 };
}

Deno.test("Session gives up shared messages that are queued or unacknowledged at QoS 1, and keeps the rest [MQTT-4.8.2-4]", () => {
  const rig = new SessionRig({ inflightMax: 4 });
  rig.connect();
  rig.publish("own-1", { qos: 1 });
  rig.publish("shared-2", { qos: 1, origin: sharedOrigin([9]) });
  rig.publish("shared-3", { qos: 2, origin: sharedOrigin() });
  rig.publish("shared-4", { qos: 1, origin: sharedOrigin() });
  rig.publish("own-5", { qos: 1 });
  rig.publish("shared-6", { qos: 2, origin: sharedOrigin() });
  rig.publish("own-7", { qos: 2 });
  rig.publish("shared-8", { qos: 1, origin: sharedOrigin() });
  rig.assertHolds({ inflight: 4, queued: 4 });
  rig.disconnect();
  const given: [position: number, origin: DeliveryOrigin][] = [];
  rig.session.outbox.surrenderShared((position, origin) => given.push([position, origin]) > 0);
  const positions = given.map(([position]) => position);
  assert.deepEqual(positions, positions.toSorted((a, b) => a - b));
  assert.deepEqual(given.map(([, origin]) => origin.identifiers), [[9], [], [], []]);
  assert(given.every(([, origin]) => origin.group === GROUP));
  rig.assertHolds({ inflight: 2, queued: 2, references: 8 });
  positions.forEach((position) => rig.store.release(position));
  rig.connect();
  assert.deepEqual(rig.sink.take(), [
    "PUBLISH q1 #1 dup t own-1",
    "PUBLISH q2 #3 dup t shared-3",
    "PUBLISH q1 #5 t own-5",
    "PUBLISH q2 #6 t own-7",
  ]);
});

Deno.test("Session keeps the shared messages that nobody else takes, in their order", () => {
  const rig = new SessionRig({ inflightMax: 1 });
  rig.connect();
  for (const payload of ["1", "2", "3", "4"]) rig.publish(payload, { origin: sharedOrigin() });
  rig.disconnect();
  let offered = 0;
  rig.session.outbox.surrenderShared((position) => {
    const isTaken = ++offered === 3;
    if (isTaken) rig.store.release(position);
    return isTaken;
  });
  assert.equal(offered, 4);
  rig.assertHolds({ inflight: 1, queued: 2 });
  rig.limits.inflightMax = 20;
  assert.deepEqual(payloadsOnConnect(rig), ["1", "2", "4"]);
});

Deno.test("Session releases every reference when it ends, and sets the gauges right", () => {
  const rig = new SessionRig({ inflightMax: 5 });
  rig.connect();
  for (let count = 1; count <= 8; count++) rig.publish(`${count}`, { qos: count % 2 === 0 ? 2 : 1 });
  rig.pubrec(2);
  rig.pubrec(4);
  rig.puback(3);
  rig.session.inbound.open(1);
  rig.assertHolds({ inflight: 5, queued: 2, references: 5 });
  rig.disconnect();
  rig.session.end();
  rig.assertHolds({});
  rig.assertDropped({ session_ended: 5 });
  assert.equal(rig.session.isEnded, true);
  assert.equal(rig.session.inbound.bytesHeld, 0);
  rig.session.end();
  rig.assertHolds({});
  rig.assertDropped({ session_ended: 5 });
});

Deno.test("Session that ends gives the store its memory back", () => {
  const rig = new SessionRig({ outboundBytesMax: Number.MAX_SAFE_INTEGER });
  rig.connect();
  const baseline = rig.store.bytesHeld;
  for (let count = 0; count < 40; count++) rig.publish("x".repeat(500_000));
  assert(rig.store.bytesHeld > baseline + 15_000_000);
  rig.disconnect();
  rig.session.end();
  assert(rig.store.bytesHeld <= baseline + 8 * 1_048_576);
});

Deno.test("Session drops a queued message that cannot be read, and sends the others", () => {
  const rig = new SessionRig();
  publishNumbers(rig, 3);
  rig.store.unreadable.add("2");
  assert.deepEqual(payloadsOnConnect(rig), ["1", "3"]);
  rig.assertDropped({ unreadable: 1 });
  rig.assertHolds({ inflight: 2, references: 2 });
});

Deno.test("Session does not send again what cannot be read any more, and sends the others again", () => {
  const rig = new SessionRig();
  rig.connect();
  for (const qos of [1, 2] as const) for (const payload of [`a${qos}`, `b${qos}`]) rig.publish(payload, { qos });
  rig.disconnect();
  rig.sink.take();
  rig.store.unreadable.add("a1").add("b2");
  assert.deepEqual(payloadsOnConnect(rig), ["b1", "a2"]);
  rig.assertDropped({ unreadable: 2 });
  rig.assertHolds({ inflight: 2, references: 2 });
});
