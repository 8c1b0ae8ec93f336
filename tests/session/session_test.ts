/**
 * The way out of a Session in virtual time: windows, handshakes, and what a lost connection changes. What a Session
 * writes is read by `mqtt-packet`. The queue and its bounds are in `session_queue_test.ts`.
 */

import assert from "node:assert/strict";
import type { Packet } from "mqtt-packet";
import { SessionRig, START_MS } from "./session_rig.ts";

Deno.test("Session delivers QoS 0 at once and keeps nothing [MQTT-4.3.1-1]", () => {
  const rig = new SessionRig();
  rig.connect();
  rig.publish("hello", { qos: 0, topic: "a/b", retain: true });
  assert.deepEqual(rig.sink.take(), ["PUBLISH q0 retain a/b hello"]);
  rig.assertHolds({});
  assert.deepEqual([rig.counters.messagesDelivered, rig.counters.bytesDelivered, rig.counters.packetsSent], [1, 5, 1]);
});

Deno.test("Session forgets QoS 0 while the client is away or the connection is closing", () => {
  const rig = new SessionRig();
  rig.publish("away", { qos: 0 });
  rig.connect();
  rig.sink.isOpen = false;
  rig.publish("closing", { qos: 0 });
  assert.deepEqual(rig.sink.take(), []);
  rig.assertHolds({});
});

Deno.test("Session completes QoS 1 with PUBACK [MQTT-4.3.2-2] [MQTT-4.3.2-3]", () => {
  const rig = new SessionRig();
  rig.connect();
  assert.equal(rig.publish("one"), true);
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #1 t one"]);
  rig.assertHolds({ inflight: 1 });
  rig.puback(1);
  rig.assertHolds({});
  rig.puback(1);
  rig.assertHolds({});
  assert.deepEqual(rig.sink.take(), []);
});

Deno.test("Session completes QoS 1 also when PUBACK carries an error", () => {
  const rig = new SessionRig();
  rig.connect();
  rig.publish("one");
  rig.puback(1, 0x97);
  rig.assertHolds({});
});

Deno.test("Session completes QoS 2 with PUBREC, PUBREL and PUBCOMP [MQTT-4.3.3-4] [MQTT-4.3.3-5]", () => {
  const rig = new SessionRig();
  rig.connect({ version: 4 });
  rig.publish("two", { qos: 2 });
  assert.deepEqual(rig.sink.take(), ["PUBLISH q2 #1 t two"]);
  rig.assertHolds({ inflight: 1 });
  rig.pubrec(1);
  assert.deepEqual(rig.sink.take(), ["PUBREL #1"]);
  rig.assertHolds({ inflight: 1, references: 0 });
  rig.pubrec(1);
  assert.deepEqual(rig.sink.take(), ["PUBREL #1"]);
  rig.pubcomp(1);
  rig.assertHolds({});
  rig.pubcomp(1);
  rig.assertHolds({});
});

Deno.test("Session ends QoS 2 when PUBREC carries an error, and uses the window again", () => {
  const rig = new SessionRig();
  rig.connect({ receiveMaximum: 1 });
  rig.publish("refused", { qos: 2 });
  rig.publish("next", { qos: 2 });
  assert.deepEqual(rig.sink.take(), ["PUBLISH q2 #1 t refused"]);
  rig.pubrec(1, 0x83);
  assert.deepEqual(rig.sink.take(), ["PUBLISH q2 #2 t next"]);
  rig.assertHolds({ inflight: 1 });
});

Deno.test("Session answers PUBREC for an unknown Packet Identifier with PUBREL 0x92, in v3 without code", () => {
  const rig = new SessionRig();
  rig.connect();
  rig.pubrec(9);
  assert.deepEqual(rig.sink.take(), ["PUBREL #9 0x92"]);
  rig.pubrec(9, 0x80);
  assert.deepEqual(rig.sink.take(), []);
  rig.connect({ version: 4 });
  rig.pubrec(9);
  assert.deepEqual(rig.sink.take(), ["PUBREL #9"]);
});

Deno.test("Session ignores acknowledgements that do not fit what the Packet Identifier waits for", () => {
  const rig = new SessionRig();
  rig.connect();
  rig.puback(1);
  rig.pubcomp(1);
  rig.publish("one", { qos: 1 });
  rig.publish("two", { qos: 2 });
  rig.sink.take();
  rig.pubcomp(1);
  rig.puback(2);
  rig.pubcomp(2);
  rig.puback(3);
  rig.assertHolds({ inflight: 2 });
  rig.pubrec(2);
  rig.puback(2);
  rig.assertHolds({ inflight: 2, references: 1 });
  rig.pubcomp(2);
  rig.puback(1);
  rig.assertHolds({});
});

for (
  const [name, limits, traits] of [
    ["the client's Receive Maximum [MQTT-3.3.4-9]", {}, { receiveMaximum: 3 }],
    ["mqtt.max-inflight", { inflightMax: 3 }, {}],
  ] as const
) {
  Deno.test(`Session sends no more than ${name} and the rest in order as acknowledgements come`, () => {
    const rig = new SessionRig(limits);
    rig.connect(traits);
    for (let count = 1; count <= 6; count++) rig.publish(`${count}`, { qos: count % 2 === 0 ? 2 : 1 });
    assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #1 t 1", "PUBLISH q2 #2 t 2", "PUBLISH q1 #3 t 3"]);
    rig.assertHolds({ inflight: 3, queued: 3 });
    rig.puback(3);
    assert.deepEqual(rig.sink.take(), ["PUBLISH q2 #4 t 4"]);
    rig.pubrec(2);
    assert.deepEqual(rig.sink.take(), ["PUBREL #2"], "PUBREC gives no quota back");
    rig.pubcomp(2);
    assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #5 t 5"]);
    rig.publish("0", { qos: 0 });
    assert.deepEqual(rig.sink.take(), ["PUBLISH q0 t 0"], "QoS 0 needs no quota");
    rig.puback(1);
    assert.deepEqual(rig.sink.take(), ["PUBLISH q2 #6 t 6"]);
    rig.assertHolds({ inflight: 3 });
  });
}

Deno.test("Session sends again on resume: DUP, same Packet Identifiers, in order, PUBREL too [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-4.3.3-6]", () => {
  const rig = new SessionRig();
  rig.connect();
  rig.publish("a", { qos: 2 });
  rig.publish("b", { qos: 1, retain: true });
  rig.publish("c", { qos: 2 });
  rig.publish("d", { qos: 1 });
  rig.pubrec(1);
  rig.puback(4);
  rig.sink.take();
  rig.disconnect();
  rig.publish("e", { qos: 1 });
  rig.assertHolds({ inflight: 3, queued: 1, references: 3 });
  rig.connect();
  assert.deepEqual(rig.sink.take(), [
    "PUBREL #1",
    "PUBLISH q1 #2 dup retain t b",
    "PUBLISH q2 #3 dup t c",
    "PUBLISH q1 #5 t e",
  ]);
  rig.pubcomp(1);
  rig.puback(2);
  rig.pubrec(3);
  rig.pubcomp(3);
  rig.puback(5);
  rig.assertHolds({});
});

Deno.test("Session sends again nothing that was acknowledged, and nothing twice on one connection [MQTT-4.4.0-1]", () => {
  const rig = new SessionRig();
  rig.connect();
  rig.publish("a");
  rig.puback(1);
  rig.publish("b");
  rig.sink.take();
  rig.session.outbox.pump(rig.nowMs);
  assert.deepEqual(rig.sink.take(), []);
  rig.disconnect();
  rig.connect();
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #2 dup t b"]);
  rig.session.outbox.pump(rig.nowMs);
  assert.deepEqual(rig.sink.take(), []);
});

Deno.test("Session keeps to a smaller Receive Maximum on resume [MQTT-3.3.4-9]", () => {
  const rig = new SessionRig();
  rig.connect();
  for (const payload of ["a", "b", "c", "d"]) rig.publish(payload, { qos: payload === "c" ? 2 : 1 });
  rig.disconnect();
  rig.publish("e");
  rig.connect({ receiveMaximum: 2 });
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #1 dup t a", "PUBLISH q1 #2 dup t b"]);
  rig.publish("f");
  rig.puback(4);
  assert.deepEqual(rig.sink.take(), [], "an acknowledgement of what this connection was not sent");
  rig.puback(2);
  assert.deepEqual(rig.sink.take(), ["PUBLISH q2 #3 dup t c"]);
  rig.puback(1);
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #4 dup t d"]);
  rig.pubrec(3);
  assert.deepEqual(rig.sink.take(), ["PUBREL #3"]);
  rig.pubcomp(3);
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #5 t e"]);
  rig.puback(4);
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #6 t f"]);
  rig.puback(5);
  rig.puback(6);
  rig.assertHolds({});
});

Deno.test("Session does not delay PUBREL on resume because the window is full [MQTT-3.3.4-10]", () => {
  const rig = new SessionRig();
  rig.connect();
  rig.publish("a", { qos: 1 });
  rig.publish("b", { qos: 2 });
  rig.publish("c", { qos: 1 });
  rig.publish("d", { qos: 2 });
  rig.pubrec(2);
  rig.pubrec(4);
  rig.disconnect();
  rig.connect({ receiveMaximum: 1 });
  const releases = rig.sink.take().filter((line) => line.startsWith("PUBREL"));
  assert.deepEqual(releases, ["PUBREL #2", "PUBREL #4"]);
  rig.pubcomp(2);
  rig.pubcomp(4);
  rig.puback(1);
  rig.puback(3);
  rig.assertHolds({});
  assert.equal(rig.sink.take().filter((line) => line.startsWith("PUBREL")).length, 0, "PUBREL twice");
});

Deno.test("Session drops what is above the client's Maximum Packet Size as if it were delivered [MQTT-3.1.2-24] [MQTT-3.1.2-25]", () => {
  const rig = new SessionRig();
  const packetBytes = 2 + 3 + 2 + 1 + 5;
  rig.connect({ packetBytesMax: packetBytes });
  rig.publish("12345", { qos: 1 });
  rig.publish("123456", { qos: 1 });
  rig.publish("123456", { qos: 2 });
  rig.publish("12345678", { qos: 0 });
  rig.publish("1234567", { qos: 0 });
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #1 t 12345", "PUBLISH q0 t 1234567"]);
  rig.assertDropped({ packet_too_large: 3 });
  rig.assertHolds({ inflight: 1 });
  assert.equal(rig.counters.messagesDelivered, 2);
});

Deno.test("Session drops what became too large for the client on resume, and goes on with the rest", () => {
  const rig = new SessionRig();
  rig.connect();
  rig.publish("small");
  rig.publish("x".repeat(100), { qos: 2 });
  rig.publish("tiny");
  rig.disconnect();
  rig.publish("y".repeat(100));
  rig.publish("last");
  rig.connect({ packetBytesMax: 50 });
  assert.deepEqual(rig.sink.take().map((line) => line.replace(/#\d+/, "#")), [
    "PUBLISH q1 # dup t small",
    "PUBLISH q1 # dup t tiny",
    "PUBLISH q1 # t last",
  ]);
  rig.assertDropped({ packet_too_large: 2 });
  rig.assertHolds({ inflight: 3 });
});

/** Message Expiry Intervals as the client sees them. */
function expiriesOf(packets: readonly Packet[]): (number | undefined)[] {
  return packets.map((packet) => packet.cmd === "publish" ? packet.properties?.messageExpiryInterval : -1);
}

Deno.test("Session sends the Message Expiry Interval that is left [MQTT-3.3.2-6]", () => {
  const rig = new SessionRig();
  rig.publish("a", { expirySeconds: 100 });
  rig.publish("b", { expirySeconds: 0 });
  rig.nowMs += 40_000;
  rig.connect();
  rig.publish("c", { expirySeconds: 7 });
  assert.deepEqual(expiriesOf(rig.sink.takePackets()), [60, undefined, 7]);
});

Deno.test("Session drops queued messages that expired and counts them [MQTT-3.3.2-5]", () => {
  const rig = new SessionRig();
  rig.publish("a", { expirySeconds: 10 });
  rig.publish("b", { expirySeconds: 30, qos: 2 });
  rig.publish("c", { expirySeconds: 10 });
  rig.nowMs = START_MS + 10_000;
  rig.connect();
  assert.deepEqual(rig.sink.take(), ["PUBLISH q2 #1 t b"]);
  rig.assertDropped({ expired: 2 });
  rig.assertHolds({ inflight: 1 });
});

Deno.test("Session sends again what expired after its delivery began [MQTT-4.4.0-1]", () => {
  const rig = new SessionRig();
  rig.connect();
  rig.publish("a", { expirySeconds: 10 });
  rig.publish("b", { expirySeconds: 10, qos: 2 });
  rig.disconnect();
  rig.nowMs += 60_000;
  rig.connect();
  const packets = rig.sink.takePackets();
  assert.deepEqual(packets.map((packet) => packet.messageId), [1, 2]);
  assert.deepEqual(expiriesOf(packets), [0, 0]);
  rig.assertDropped({});
});

Deno.test("Session introduces Topic Aliases, then sends the number alone, and forgets them with the connection [MQTT-3.1.2-26] [MQTT-3.3.2-7]", () => {
  const rig = new SessionRig();
  const seen = () =>
    rig.sink.takePackets().map((packet) => packet.cmd === "publish" && [packet.topic, packet.properties?.topicAlias]);
  rig.connect({ topicAliasMaximum: 2 });
  for (const topic of ["a", "b", "a", "c", "a"]) rig.publish("x", { qos: 0, topic });
  assert.deepEqual(seen(), [["a", 1], ["b", 2], ["", 1], ["c", 1], ["a", 2]]);
  rig.publish("stored", { qos: 1, topic: "c" });
  assert.deepEqual(seen(), [["", 1]]);
  rig.disconnect();
  rig.connect({ topicAliasMaximum: 2 });
  assert.deepEqual(seen(), [["c", 1]]);
  rig.disconnect();
  rig.connect();
  assert.deepEqual(seen(), [["c", undefined]]);
});

Deno.test("Session leaves the alias out where it would make the packet too large", () => {
  const rig = new SessionRig();
  // Fixed header 2, Topic Name 5, Property Length 1, payload 4. Introducing an alias takes 3 more.
  rig.connect({ topicAliasMaximum: 5, packetBytesMax: 12 });
  for (const payload of ["1234", "1", "1234"]) rig.publish(payload, { qos: 0, topic: "ttt" });
  const seen = rig.sink.takePackets().map((packet) =>
    packet.cmd === "publish" && [packet.topic, packet.properties?.topicAlias, packet.payload.toString()]
  );
  assert.deepEqual(seen, [["ttt", undefined, "1234"], ["ttt", 1, "1"], ["", 1, "1234"]]);
  rig.assertDropped({});
});

Deno.test("Session sends Subscription Identifiers to v5 clients only, on resume too [MQTT-3.3.4-3]", () => {
  const rig = new SessionRig();
  const origin = { identifiers: [7, 268_435_455], group: null, ordinal: 0 };
  const identifiers = () =>
    rig.sink.takePackets().map((packet) => packet.cmd === "publish" && packet.properties?.subscriptionIdentifier);
  rig.connect();
  rig.publish("0", { qos: 0, origin });
  rig.publish("1", { qos: 1, origin });
  assert.deepEqual(identifiers(), [[7, 268_435_455], [7, 268_435_455]]);
  rig.disconnect();
  rig.publish("2", { qos: 2, origin });
  rig.connect();
  assert.deepEqual(identifiers(), [[7, 268_435_455], [7, 268_435_455]]);
  rig.disconnect();
  rig.connect({ version: 4 });
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #1 dup t 1", "PUBLISH q2 #2 dup t 2"]);
});

Deno.test("Session forwards properties to v5 clients and leaves them out for v3 [MQTT-3.3.2-17]", () => {
  const rig = new SessionRig();
  const properties = Uint8Array.of(0x26, 0, 1, 0x6b, 0, 1, 0x76);
  rig.connect();
  rig.publish("x", { properties });
  const [packet] = rig.sink.takePackets();
  assert.deepEqual({ ...(packet as { properties: { userProperties: object } }).properties.userProperties }, { k: "v" });
  rig.puback(1);
  rig.connect({ version: 4 });
  rig.publish("y", { properties });
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #2 t y"]);
});

Deno.test("Session uses Packet Identifiers 1 to 65535 and starts over [MQTT-2.2.1-4]", () => {
  const rig = new SessionRig({ inflightMax: 65_535, outboundBytesMax: Number.MAX_SAFE_INTEGER });
  rig.connect();
  rig.publish("oldest");
  for (let id = 2; id <= 65_535; id++) {
    rig.publish("x");
    rig.puback(id);
  }
  rig.publish("waits");
  rig.assertHolds({ inflight: 1, queued: 1 });
  rig.sink.take();
  rig.puback(1);
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #1 t waits"]);
  rig.assertHolds({ inflight: 1 });
});
