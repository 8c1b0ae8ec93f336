/**
 * What each packet of a client means for its Session: every check of PUBLISH, the acknowledgements, and which packets
 * go to the host. What a PUBLISH may look like on the wire is tested with the codec.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { AckHeader } from "../../src/protocol/publish_codec.ts";
import { ALL_PERMITTED } from "../../src/topics/permissions.ts";
import { assertFault, HandlerRig } from "./handler_rig.ts";
import { START_MS } from "./session_rig.ts";

const INVALID_UTF8 = Buffer.of(0xc3, 0x28);

Deno.test("PacketHandler hands a PUBLISH to the host and counts it", () => {
  const rig = new HandlerRig();
  assert.equal(rig.send({ payload: "hello" }), undefined);
  assert.equal(rig.send({ qos: 1, messageId: 7, payload: "", retain: true }), undefined);
  assert.equal(rig.send({ qos: 2, messageId: 65_535, topic: "é/😀" }), undefined);
  const plain = { properties: [], expiresAtMs: 0 };
  assert.deepEqual(rig.host.published, [
    { topic: "a/b", payload: "hello", qos: 0, retain: false, packetId: 0, ...plain },
    { topic: "a/b", payload: "", qos: 1, retain: true, packetId: 7, ...plain },
    { topic: "é/😀", payload: "x", qos: 2, retain: false, packetId: 65_535, ...plain },
  ]);
  const { counters } = rig;
  assert.deepEqual([counters.messagesPublished, counters.bytesPublished], [3, 6]);
  assert.deepEqual([counters.qos0Messages, counters.qos1Messages, counters.qos2Messages], [1, 1, 1]);
  assert.deepEqual([counters.messageSizeBytes.count, counters.messageSizeBytes.sum], [3, 6]);
  const topic = rig.topics.intern("a/b")!;
  assert.deepEqual([topic.messages, topic.bytes], [2, 5]);
  assert.deepEqual(rig.host.calls, []);
});

for (const version of [3, 4] as const) {
  Deno.test(`PacketHandler reads a PUBLISH of version ${version} without properties`, () => {
    const rig = new HandlerRig({}, version);
    assert.equal(rig.send({ qos: 1, messageId: 1, payload: INVALID_UTF8 }), undefined);
    assert.deepEqual(rig.host.published.map(({ packetId, properties }) => [packetId, properties]), [[1, []]]);
  });
}

Deno.test("PacketHandler passes on what the decoder finds wrong with a PUBLISH [MQTT-3.3.1-4]", () => {
  const rig = new HandlerRig();
  const fault = rig.receiveBytes(Uint8Array.of(0x36, 6, 0, 1, 0x61, 0, 1, 0));
  assertFault(fault, 0x81, "MQTT-3.3.1-4");
  assert.deepEqual(rig.host.published, []);
});

Deno.test("PacketHandler refuses a QoS above the maximum [MQTT-3.2.2-11]", () => {
  const rig = new HandlerRig({ qosMax: 1 });
  assert.equal(rig.send({ qos: 1, messageId: 1 }), undefined);
  assertFault(rig.send({ qos: 2, messageId: 2 }), 0x9b, "MQTT-3.2.2-11");
  rig.limits.qosMax = 0;
  assertFault(rig.send({ qos: 1, messageId: 3 }), 0x9b, "MQTT-3.2.2-11");
  assert.equal(rig.send(), undefined);
  assert.equal(rig.host.published.length, 2);
});

Deno.test("PacketHandler refuses RETAIN when retained messages are not available [MQTT-3.2.2-14]", () => {
  const rig = new HandlerRig({ isRetainAvailable: false });
  assertFault(rig.send({ retain: true }), 0x9a, "MQTT-3.2.2-14");
  assert.equal(rig.send(), undefined);
  assert.equal(rig.host.published.length, 1);
});

Deno.test("PacketHandler refuses Topic Names with wildcards, and empty ones without alias [MQTT-3.3.2-2] [MQTT-4.7.3-1]", () => {
  for (const version of [4, 5] as const) {
    const rig = new HandlerRig({}, version);
    assertFault(rig.send({ topic: "a/+" }), 0x90, "MQTT-3.3.2-2");
    assertFault(rig.send({ topic: "#" }), 0x90, "MQTT-3.3.2-2");
    assert.equal(rig.send({ topic: "" })?.statement, "MQTT-4.7.3-1");
    assert.deepEqual(rig.host.published, []);
  }
});

Deno.test("PacketHandler resolves a Topic Alias, and replaces it [MQTT-3.3.2-7] [MQTT-3.3.2-12]", () => {
  const rig = new HandlerRig({ topicAliasMax: 10 });
  const sent = (topic: string, topicAlias: number) => rig.send({ topic, properties: { topicAlias } });
  assert.equal(sent("one", 1), undefined);
  assert.equal(sent("two", 10), undefined);
  assert.equal(sent("", 1), undefined);
  assert.equal(sent("three", 1), undefined);
  assert.equal(sent("", 1), undefined);
  assert.equal(sent("", 10), undefined);
  assert.deepEqual(rig.host.published.map(({ topic }) => topic), ["one", "two", "one", "three", "three", "two"]);
  assert(rig.host.published.every(({ properties }) => properties.length === 0));
});

Deno.test("PacketHandler refuses an alias that was not set on this connection [MQTT-3.3.2-7]", () => {
  const rig = new HandlerRig();
  assertFault(rig.send({ topic: "", properties: { topicAlias: 1 } }), 0x82, "MQTT-3.3.2-12");
  assert.equal(rig.send({ topic: "one", properties: { topicAlias: 1 } }), undefined);
  rig.disconnect();
  rig.connect();
  assertFault(rig.send({ topic: "", properties: { topicAlias: 1 } }), 0x82, "MQTT-3.3.2-12");
});

Deno.test("PacketHandler refuses an alias above the maximum, with and without Topic Name [MQTT-3.3.2-9]", () => {
  const rig = new HandlerRig({ topicAliasMax: 2 });
  assertFault(rig.send({ topic: "a", properties: { topicAlias: 3 } }), 0x94, "MQTT-3.3.2-9");
  assertFault(rig.send({ topic: "", properties: { topicAlias: 3 } }), 0x94, "MQTT-3.3.2-9");
  const without = new HandlerRig({ topicAliasMax: 0 });
  assertFault(without.send({ topic: "a", properties: { topicAlias: 1 } }), 0x94, "MQTT-3.3.2-9");
});

Deno.test("PacketHandler refuses aliases that keep too much memory alive", () => {
  const rig = new HandlerRig();
  const sent = (topicAlias: number) =>
    rig.send({ topic: `${"x".repeat(65_000)}${topicAlias}`, properties: { topicAlias } });
  let alias = 1;
  while (alias < 1000 && sent(alias) === undefined) alias++;
  assert(alias > 60 && alias < 70, `${alias} aliases of 65 kB`);
  assert.equal(sent(alias)?.reasonCode, 0x97);
});

Deno.test("PacketHandler refuses more unacknowledged messages than the Receive Maximum [MQTT-3.3.4-7]", () => {
  const rig = new HandlerRig({ receiveMaximum: 3 });
  assert.equal(rig.send({ qos: 1, messageId: 1 }), undefined);
  assert.equal(rig.send({ qos: 2, messageId: 2 }), undefined);
  assert.equal(rig.send({ qos: 1, messageId: 3 }), undefined);
  assert.equal(rig.send({ qos: 0 }), undefined);
  assert.equal(rig.send({ qos: 2, messageId: 2, dup: true }), undefined, "a repetition needs no quota");
  assert.equal(rig.send({ qos: 1, messageId: 4 })?.reasonCode, 0x93);
  assert.equal(rig.host.published.length, 4);
  for (let answered = 0; answered < 2; answered++) rig.session.inbound.acknowledged(AckHeader.PUBACK, 0);
  assert.equal(rig.send({ qos: 1, messageId: 5 }), undefined);
  rig.disconnect();
  rig.connect();
  assert.equal(rig.send({ qos: 1, messageId: 6 }), undefined);
});

Deno.test("PacketHandler holds v3 clients to no Receive Maximum, which they cannot know", () => {
  const rig = new HandlerRig({ receiveMaximum: 1 }, 4);
  for (let messageId = 1; messageId <= 5; messageId++) assert.equal(rig.send({ qos: 1, messageId }), undefined);
  assert.equal(rig.host.published.length, 5);
});

Deno.test("PacketHandler holds a client to what its CONNACK announced, not to a later configuration [MQTT-3.3.2-12]", () => {
  const rig = new HandlerRig({ receiveMaximum: 3, topicAliasMax: 5 });
  rig.limits.receiveMaximum = 1;
  rig.limits.topicAliasMax = 0;
  assert.equal(rig.send({ qos: 1, messageId: 1, properties: { topicAlias: 5 } }), undefined);
  assert.equal(rig.send({ qos: 1, messageId: 2, topic: "", properties: { topicAlias: 5 } }), undefined);
  assert.equal(rig.send({ qos: 1, messageId: 3 }), undefined);
  assert.equal(rig.send({ qos: 1, messageId: 4 })?.reasonCode, 0x93);
  rig.disconnect();
  rig.connect();
  assertFault(rig.send({ properties: { topicAlias: 5 } }), 0x94, "MQTT-3.3.2-9");
  assert.equal(rig.send({ qos: 1, messageId: 5 }), undefined);
  assert.equal(rig.send({ qos: 1, messageId: 6 })?.reasonCode, 0x93);
});

Deno.test("PacketHandler refuses a payload that is not the UTF-8 it says it is", () => {
  const rig = new HandlerRig();
  const properties = { payloadFormatIndicator: true };
  assert.equal(rig.send({ payload: "é", properties }), undefined);
  assert.equal(rig.send({ payload: INVALID_UTF8 }), undefined);
  assert.equal(rig.send({ qos: 1, messageId: 1, payload: INVALID_UTF8, properties }), undefined);
  assert.equal(rig.send({ qos: 2, messageId: 2, payload: INVALID_UTF8, properties }), undefined);
  assert.deepEqual(rig.host.calls, ["acknowledge 0x40 #1 0x99", "acknowledge 0x50 #2 0x99"]);
  assertFault(rig.send({ payload: INVALID_UTF8, properties }), 0x99, "MQTT-3.3.2-4");
  assert.equal(rig.host.published.length, 2);
  // PUBREC with an error ended the exchange: the Packet Identifier is free. [MQTT-4.3.3-9]
  assert.equal(rig.send({ qos: 2, messageId: 2 }), undefined);
  assert.equal(rig.host.published.length, 3);
});

Deno.test("PacketHandler acknowledges what may not be published with 0x87, and forgets QoS 0", () => {
  const rig = new HandlerRig();
  rig.session.permit({ ...ALL_PERMITTED, mayPublish: () => false });
  assert.equal(rig.send(), undefined);
  assert.equal(rig.send({ qos: 1, messageId: 1 }), undefined);
  assert.equal(rig.send({ qos: 2, messageId: 2 }), undefined);
  assert.deepEqual(rig.host.calls, ["acknowledge 0x40 #1 0x87", "acknowledge 0x50 #2 0x87"]);
  rig.assertDropped({ not_authorized: 3 });
  rig.session.permit(ALL_PERMITTED);
  assert.equal(rig.send({ qos: 2, messageId: 2 }), undefined);
  assert.deepEqual(rig.host.published.map(({ packetId }) => packetId), [2]);
});

Deno.test("PacketHandler routes QoS 2 once until PUBREL, whatever DUP says, on later connections too [MQTT-4.3.3-10] [MQTT-4.3.3-12]", () => {
  const rig = new HandlerRig();
  rig.send({ qos: 2, messageId: 5, payload: "first" });
  rig.send({ qos: 2, messageId: 5, payload: "first", dup: true });
  rig.send({ qos: 2, messageId: 5, payload: "first" });
  rig.disconnect();
  rig.connect();
  rig.send({ qos: 2, messageId: 5, payload: "first", dup: true });
  assert.deepEqual(rig.host.published.map(({ payload }) => payload), ["first"]);
  assert.deepEqual(rig.host.calls, new Array(3).fill("acknowledge 0x50 #5 0x0"));
  assert.equal(rig.receive({ cmd: "pubrel", messageId: 5 }), undefined);
  assert.deepEqual(rig.host.calls.slice(3), ["release #5"]);
  rig.send({ qos: 2, messageId: 5, payload: "second" });
  assert.deepEqual(rig.host.published.map(({ payload }) => payload), ["first", "second"]);
});

Deno.test("PacketHandler routes QoS 1 every time, DUP or not [MQTT-4.3.2-5]", () => {
  const rig = new HandlerRig();
  rig.send({ qos: 1, messageId: 5 });
  rig.send({ qos: 1, messageId: 5, dup: true });
  assert.equal(rig.host.published.length, 2);
});

Deno.test("PacketHandler answers PUBREL for an unknown Packet Identifier [MQTT-4.3.3-11]", () => {
  const v5 = new HandlerRig();
  assert.equal(v5.receive({ cmd: "pubrel", messageId: 9 }), undefined);
  assert.deepEqual(v5.host.calls, ["release #9 0x92"]);
  const v3 = new HandlerRig({}, 4);
  assert.equal(v3.receive({ cmd: "pubrel", messageId: 9 }), undefined);
  assert.deepEqual(v3.host.calls, ["release #9"]);
});

Deno.test("PacketHandler counts the Message Expiry Interval from now, up to the broker's maximum [MQTT-3.3.2-5]", () => {
  const rig = new HandlerRig();
  const seconds = (messageExpiryInterval?: number) => {
    rig.send(messageExpiryInterval === undefined ? {} : { properties: { messageExpiryInterval } });
    const { expiresAtMs } = rig.host.published.at(-1)!;
    return expiresAtMs === 0 ? undefined : (expiresAtMs - START_MS) / 1000;
  };
  assert.deepEqual([seconds(), seconds(10), seconds(0xffff_ffff)], [undefined, 10, 0xffff_ffff]);
  rig.limits.messageExpirySecondsMax = 60;
  assert.deepEqual([seconds(), seconds(10), seconds(60), seconds(61)], [60, 10, 60, 60]);
  const v3 = new HandlerRig({ messageExpirySecondsMax: 60 }, 4);
  v3.send();
  assert.equal(v3.host.published[0]!.expiresAtMs, START_MS + 60_000);
});

Deno.test("PacketHandler forwards properties unchanged and in order, without those of this hop [MQTT-3.3.2-17] [MQTT-3.3.2-18]", () => {
  const rig = new HandlerRig();
  const userProperty = [0x26, 0, 1, 0x6b, 0, 1, 0x76];
  const contentType = [0x03, 0, 1, 0x74];
  const expiry = [0x02, 0, 0, 0, 9];
  const alias = [0x23, 0, 1];
  const sendWith = (...properties: number[]) =>
    rig.receiveBytes(Uint8Array.of(0x30, 5 + properties.length, 0, 1, 0x61, properties.length, ...properties, 0x78));
  const forwarded = () => rig.host.published.at(-1)!.properties;
  assert.equal(sendWith(...userProperty, ...contentType, ...userProperty), undefined);
  assert.deepEqual(forwarded(), [...userProperty, ...contentType, ...userProperty]);
  assert.equal(sendWith(...alias, ...userProperty, ...expiry, ...contentType), undefined);
  assert.deepEqual(forwarded(), [...userProperty, ...contentType]);
  assert.equal(sendWith(...alias, ...expiry), undefined);
  assert.deepEqual(forwarded(), []);
});

Deno.test("PacketHandler forwards properties larger than its buffer", () => {
  const rig = new HandlerRig();
  const properties = { topicAlias: 1, userProperties: { key: "v".repeat(5000) } };
  assert.equal(rig.send({ properties }), undefined);
  assert.equal(rig.host.published[0]!.properties.length, 1 + 2 + 3 + 2 + 5000);
});

Deno.test("PacketHandler refuses a Subscription Identifier from a client [MQTT-3.3.4-6]", () => {
  const rig = new HandlerRig();
  assertFault(rig.send({ properties: { subscriptionIdentifier: 1 } }), 0x82, "MQTT-3.3.4-6");
});

Deno.test("PacketHandler leads acknowledgements to the Session [MQTT-4.3.2-3] [MQTT-4.3.3-4]", () => {
  const rig = new HandlerRig();
  rig.publish("one", { qos: 1 });
  rig.publish("two", { qos: 2 });
  rig.sink.take();
  assert.equal(rig.receive({ cmd: "puback", messageId: 1 }), undefined);
  assert.equal(rig.receive({ cmd: "pubrec", messageId: 2 }), undefined);
  assert.deepEqual(rig.sink.take(), ["PUBREL #2"]);
  assert.equal(rig.receive({ cmd: "pubcomp", messageId: 2 }), undefined);
  rig.assertHolds({});
  assert.deepEqual(rig.host.calls, []);
});

Deno.test("PacketHandler passes on what the decoder finds wrong with an acknowledgement [MQTT-2.1.3-1]", () => {
  const rig = new HandlerRig();
  assertFault(rig.receiveBytes(Uint8Array.of(0x60, 2, 0, 1)), 0x81, "MQTT-2.1.3-1");
  assert.deepEqual(rig.host.calls, []);
});

Deno.test("PacketHandler answers PINGREQ with PINGRESP, and a closing connection with nothing [MQTT-3.12.4-1]", () => {
  const rig = new HandlerRig();
  assert.equal(rig.receive({ cmd: "pingreq" }), undefined);
  assert.deepEqual(rig.sink.take(), ["PINGRESP"]);
  assert.equal(rig.counters.packetsSent, 1);
  rig.sink.disconnect();
  assert.equal(rig.receive({ cmd: "pingreq" }), undefined);
  assert.deepEqual(rig.sink.take(), []);
});

Deno.test("PacketHandler leads SUBSCRIBE, UNSUBSCRIBE, DISCONNECT and AUTH to the host", () => {
  const rig = new HandlerRig();
  rig.receive({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "a/#", qos: 1 }, { topic: "b", qos: 0 }] });
  rig.receive({ cmd: "unsubscribe", messageId: 2, unsubscriptions: ["a/#", "b"] });
  rig.receive({ cmd: "auth", reasonCode: 0x19, properties: { authenticationMethod: "m" } });
  rig.receive({ cmd: "disconnect", reasonCode: 4 });
  assert.deepEqual(rig.host.calls, [
    "subscribe #1 a/#,b",
    "unsubscribe #2 a/#,b",
    "authenticate 0x19",
    "disconnected 0x4",
  ]);
});

Deno.test("PacketHandler returns the fault that the host finds in DISCONNECT or AUTH", () => {
  const rig = new HandlerRig();
  const fault = rig.send({ topic: "#" });
  rig.host.fault = fault;
  assert.equal(rig.receive({ cmd: "disconnect", reasonCode: 0 }), fault);
  assert.equal(rig.receive({ cmd: "auth", reasonCode: 0x19, properties: { authenticationMethod: "m" } }), fault);
});

Deno.test("PacketHandler refuses a second CONNECT [MQTT-3.1.0-2]", () => {
  const rig = new HandlerRig();
  const fault = rig.receive({ cmd: "connect", protocolId: "MQTT", protocolVersion: 5, clientId: "c", clean: true });
  assertFault(fault, 0x82, "MQTT-3.1.0-2");
});

Deno.test("PacketHandler refuses packets that only a server sends, and type 0", () => {
  for (const first of [0x00, 0x20, 0x90, 0xb0, 0xd0]) {
    const rig = new HandlerRig();
    const fault = rig.receiveBytes(Uint8Array.of(first, 3, 0, 1, 0));
    assert(fault !== undefined && fault.reasonCode >= 0x80, `0x${first.toString(16)} was accepted`);
    assert.deepEqual(rig.host.calls, []);
  }
});
