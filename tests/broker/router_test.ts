/**
 * Routing from the outside: QoS from end to end, what each subscription gets, and what is refused.
 */
import assert from "node:assert/strict";
import { scenario, type World } from "./harness.ts";
import { publishPacket, type TestClient } from "./test_client.ts";

function subscriber(world: World, clientId: string, filter: string, qos: 0 | 1 | 2): TestClient {
  const client = world.client(clientId);
  client.subscribe(1, filter, qos);
  assert.deepEqual(client.heard(), [`suback #1 ${qos}`]);
  return client;
}

Deno.test(
  "a message is delivered at the smaller of published and granted QoS, to v3 and v5 alike [MQTT-3.8.4-8] [MQTT-4.3.1-1] [MQTT-4.3.2-2] [MQTT-4.3.3-2]",
  scenario({}, (world) => {
    const publisher = world.client("publisher");
    const v3 = world.client("v3", { protocolVersion: 4 });
    v3.subscribe(1, "t", 2);
    assert.deepEqual(v3.heard(), ["suback #1 2"]);
    const granted = ([0, 1, 2] as const).map((qos) => subscriber(world, `q${qos}`, "t", qos));
    for (const qos of [0, 1, 2] as const) publisher.publish("t", `p${qos}`, qos === 0 ? {} : { qos, messageId: qos });
    assert.deepEqual(granted.map((client) => client.heard()), [
      ["publish t 'p0' q0", "publish t 'p1' q0", "publish t 'p2' q0"],
      ["publish t 'p0' q0", "publish t 'p1' q1 #1", "publish t 'p2' q1 #2"],
      ["publish t 'p0' q0", "publish t 'p1' q1 #1", "publish t 'p2' q2 #2"],
    ]);
    assert.deepEqual(v3.heard(), ["publish t 'p0' q0", "publish t 'p1' q1 #1", "publish t 'p2' q2 #2"]);
    assert.deepEqual(publisher.heard(), ["puback #1", "pubrec #2"]);
  }),
);

Deno.test(
  "a QoS 2 message is delivered exactly once though both sides repeat themselves [MQTT-4.3.3-4] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12]",
  scenario({}, (world) => {
    const client = subscriber(world, "c", "t", 2);
    const publisher = world.client("publisher");
    const message = { qos: 2 as const, messageId: 7 };
    publisher.publish("t", "x", message).publish("t", "x", { ...message, dup: true }).pubrel(7).pubrel(7);
    assert.deepEqual(publisher.heard(), ["pubrec #7", "pubrec #7", "pubcomp #7", "pubcomp #7 0x92"]);
    assert.deepEqual(client.heard(), ["publish t 'x' q2 #1"]);
    client.pubrec(1).pubrec(1).pubcomp(1).pubcomp(1).pubrec(1);
    assert.deepEqual(client.heard(), ["pubrel #1", "pubrel #1", "pubrel #1 0x92"]);
    publisher.publish("t", "y", message);
    assert.deepEqual(publisher.heard(), ["pubrec #7"]);
    assert.deepEqual(client.heard(), ["publish t 'y' q2 #2"]);
  }),
);

Deno.test(
  "a resumed Session is sent again what it had not acknowledged, in order, before anything new [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-3.3.1-1] [MQTT-4.3.3-6]",
  scenario({}, (world) => {
    const first = world.durable("c");
    first.subscribe(1, "t", 2);
    first.read();
    const publisher = world.client("publisher");
    for (const messageId of [1, 2, 3]) publisher.publish("t", `${messageId}`, { qos: 1, messageId });
    for (const messageId of [4, 5]) publisher.publish("t", `${messageId}`, { qos: 2, messageId });
    assert.equal(first.heard().length, 5);
    first.puback(2).pubrec(4);
    assert.deepEqual(first.heard(), ["pubrel #4"]);
    first.lose();
    publisher.publish("t", "6", { qos: 1, messageId: 6 });
    world.settle();
    const second = world.durable("c");
    assert.deepEqual(second.heard(), [
      "pubrel #4",
      "publish t '1' q1 #1 dup",
      "publish t '3' q1 #3 dup",
      "publish t '5' q2 #5 dup",
      "publish t '6' q1 #6",
    ]);
  }),
);

Deno.test(
  "No Local keeps a client's own messages from it, and overlapping subscriptions give one copy with the largest QoS and all identifiers [MQTT-3.8.3-3] [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4]",
  scenario({}, (world) => {
    const client = world.client("c");
    client.subscribe(1, [{ topic: "a/+", qos: 1, nl: true }], 1, 11);
    client.subscribe(2, "a/#", 0, 12);
    client.subscribe(3, [{ topic: "own", qos: 2, nl: true }], 2, 13);
    assert.deepEqual(client.heard(), ["suback #1 1", "suback #2 0", "suback #3 2"]);
    client.publish("own", "x").publish("a/b", "mine", { qos: 1, messageId: 1 });
    world.client("other").publish("a/b", "theirs", { qos: 1, messageId: 1 });
    const [, mine, theirs] = client.read();
    assert.deepEqual([mine?.qos, mine?.properties?.["subscriptionIdentifier"]], [0, 12]);
    assert.equal(theirs?.qos, 1);
    assert.deepEqual(new Set(theirs?.properties?.["subscriptionIdentifier"] as number[]), new Set([11, 12]));
  }),
);

Deno.test(
  "a message nobody subscribed to is acknowledged with 0x10 in v5 and plainly in v3 [MQTT-3.4.2-1] [MQTT-3.5.2-1]",
  scenario({}, (world) => {
    const v5 = world.client("v5").publish("t", "x", { qos: 1, messageId: 1 }).publish("t", "x", {
      qos: 2,
      messageId: 2,
    });
    assert.deepEqual(v5.heard(), ["puback #1 0x10", "pubrec #2 0x10"]);
    const v3 = world.client("v3", { protocolVersion: 4 }).publish("t", "x", { qos: 1, messageId: 1 });
    assert.deepEqual(v3.heard(), ["puback #1"]);
  }),
);

Deno.test(
  "what may not be published goes nowhere: 0x87 in v5, an empty ack in v3 [MQTT-3.3.4-1] [3.1.1:MQTT-3.3.5-2]",
  scenario({ permissions: ({ clientId }) => ({ mayPublish: () => clientId === "boss" }) }, (world) => {
    const watcher = subscriber(world, "watcher", "#", 2);
    const v5 = world.client("v5").publish("t", "0");
    v5.publish("t", "1", { qos: 1, messageId: 1 }).publish("t", "2", { qos: 2, messageId: 2 });
    assert.deepEqual(v5.heard(), ["puback #1 0x87", "pubrec #2 0x87"]);
    const v3 = world.client("v3", { protocolVersion: 4 }).publish("t", "0");
    v3.publish("t", "1", { qos: 1, messageId: 1 }).publish("t", "2", { qos: 2, messageId: 2 }).pubrel(2);
    assert.deepEqual(v3.heard(), ["puback #1", "pubrec #2", "pubcomp #2"]);
    assert.deepEqual(watcher.heard(), []);
    assert.equal(world.counters.messagesDropped.not_authorized, 6);
    world.client("boss").publish("t", "x");
    assert.deepEqual(watcher.heard(), ["publish t 'x' q0"]);
  }),
);

Deno.test(
  "each filter of a SUBSCRIBE is answered for itself: granted, not allowed, not valid [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.9.3-1]",
  scenario({
    permissions: () => ({ grantedQos: (filter, qos) => filter === "secret" ? undefined : qos }),
    limits: { qosMax: 1 },
  }, (world) => {
    const filters = ["a", "secret", "$share/g/secret", "a/#/b", "$share/g/b"].map((topic) => ({
      topic,
      qos: 2 as const,
    }));
    const v5 = world.client("v5").subscribe(1, filters);
    assert.deepEqual(v5.heard(), ["suback #1 1,0x87,0x87,0x8f,1"]);
    const v3 = world.client("v3", { protocolVersion: 4 }).subscribe(1, filters.slice(0, 2));
    assert.deepEqual(v3.heard(), ["suback #1 1,0x80"]);
    assert.equal(world.counters.subscriptions, 3);
    v5.unsubscribe(2, "a", "secret", "a/#/b");
    assert.deepEqual(v5.heard(), ["unsuback #2 0,0x11,0x8f"]);
  }),
);

Deno.test(
  "what the configuration switches off is refused in SUBACK",
  scenario({ limits: { isWildcardAvailable: false, isSharedAvailable: false } }, (world) => {
    const client = world.open().sendConnect();
    const properties = client.read()[0]?.properties;
    assert.equal(properties?.["wildcardSubscriptionAvailable"], false);
    assert.equal(properties?.["sharedSubscriptionAvailable"], false);
    client.subscribe(1, ["a/+", "$share/g/a", "a"].map((topic) => ({ topic, qos: 0 as const })));
    assert.deepEqual(client.heard(), ["suback #1 0xa2,0x9e,0"]);
  }),
);

Deno.test(
  "a full store refuses with 0x97 in v5, leaves v3 unacknowledged, and recovers by itself",
  scenario({}, (world) => {
    const client = subscriber(world, "c", "t", 2);
    const [v5, v3] = [world.client("v5"), world.client("v3", { protocolVersion: 4 })];
    world.store.isFull = true;
    v5.publish("t", "1", { qos: 1, messageId: 1 }).publish("t", "2", { qos: 2, messageId: 2 });
    v3.publish("t", "3", { qos: 1, messageId: 3 }).publish("t", "4", { qos: 2, messageId: 4 });
    v5.publish("t", "0");
    assert.deepEqual(v5.heard(), ["puback #1 0x97", "pubrec #2 0x97"]);
    assert.deepEqual(v3.heard(), []);
    assert.deepEqual(client.heard(), ["publish t '0' q0"]);
    assert.equal(world.counters.messagesDropped.store_full, 4);
    world.store.isFull = false;
    // The refused Packet Identifiers are free again. [MQTT-4.3.3-9]
    v5.publish("t", "2", { qos: 2, messageId: 2 });
    v3.publish("t", "4", { qos: 2, messageId: 4, dup: true });
    assert.deepEqual([v5.heard(), v3.heard()], [["pubrec #2"], ["pubrec #4"]]);
    assert.deepEqual(client.heard(), ["publish t '2' q2 #1", "publish t '4' q2 #2"]);
  }),
);

Deno.test(
  "queue-full reject refuses what a durable subscriber has no room for, and counts it as that",
  scenario({ limits: { queueFull: "reject", queuedMax: 2 } }, (world) => {
    const client = world.durable("c");
    client.subscribe(1, "t", 1);
    client.read();
    client.lose();
    const publisher = world.client("publisher");
    const outcomes = [1, 2, 3].map((messageId) => publisher.publish("t", "x", { qos: 1, messageId }).heard());
    assert.deepEqual(outcomes, [["puback #1"], ["puback #2"], ["puback #3 0x97"]]);
    assert.equal(world.counters.messagesDropped.queue_full_rejected, 1);
    assert.equal(world.counters.messagesDropped.store_full, 0);
    const v3 = world.client("v3", { protocolVersion: 4 }).publish("t", "x", { qos: 1, messageId: 1 });
    assert.deepEqual(v3.heard(), []);
    publisher.publish("t", "x", { qos: 0 });
    assert.deepEqual(world.durable("c").heard(), ["publish t 'x' q1 #1", "publish t 'x' q1 #2"]);
    assert.deepEqual(publisher.publish("t", "x", { qos: 1, messageId: 4 }).heard(), ["puback #4"]);
  }),
);

Deno.test(
  "queue-full reject never acknowledges a message that it then drops, however many come together",
  scenario({ limits: { queueFull: "reject", queuedMax: 2 } }, (world) => {
    const client = world.durable("c");
    client.subscribe(1, "t", 1);
    client.read();
    client.lose();
    const publisher = world.client("publisher");
    publisher.sendTogether(...[1, 2, 3, 4].map((messageId) => publishPacket("t", "x", { qos: 1, messageId })));
    assert.deepEqual(publisher.heard().toSorted(), ["puback #1", "puback #2", "puback #3 0x97", "puback #4 0x97"]);
    assert.equal(world.durable("c").heard().length, 2);
  }),
);

Deno.test(
  "queue-full reject refuses a message above max-queued-bytes for a Session that never queued anything",
  scenario({ limits: { queueFull: "reject", queuedBytesMax: 10 } }, (world) => {
    const client = world.durable("c");
    client.subscribe(1, "t", 1);
    client.read();
    client.lose();
    const publisher = world.client("publisher");
    // Stored as two bytes of length, one of topic, and the payload: 11 bytes, then 10.
    assert.deepEqual(publisher.publish("t", "x".repeat(8), { qos: 1, messageId: 1 }).heard(), ["puback #1 0x97"]);
    assert.deepEqual(publisher.publish("t", "x".repeat(7), { qos: 1, messageId: 2 }).heard(), ["puback #2"]);
    assert.equal(world.counters.messagesDropped.queue_full_rejected, 1);
    assert.deepEqual(world.durable("c").heard(), ["publish t 'xxxxxxx' q1 #1"]);
  }),
);

Deno.test(
  "queue-full drop-oldest and drop-newest bound the queue of a durable subscriber in messages and in bytes",
  scenario({ limits: { queuedMax: 3 } }, (world) => {
    const publisher = world.client("publisher");
    const kept = (messageIds: readonly number[]) => {
      const client = world.durable("c", { clean: true });
      client.subscribe(1, "t", 1);
      client.read();
      client.lose();
      for (const messageId of messageIds) publisher.publish("t", `${messageId}`, { qos: 1, messageId });
      world.settle();
      const back = world.durable("c");
      const payloads = back.read().map(({ payload }) => String(payload));
      back.disconnect(0, 0);
      world.settle();
      return payloads;
    };
    assert.deepEqual(kept([1, 2, 3, 4, 5]), ["3", "4", "5"]);
    world.limits.queueFull = "drop-newest";
    assert.deepEqual(kept([1, 2, 3, 4, 5]), ["1", "2", "3"]);
    world.limits.queuedMax = 0;
    // Each message is stored as two bytes of length, one of topic, one of payload.
    world.limits.queuedBytesMax = 9;
    assert.deepEqual(kept([1, 2, 3, 4, 5]), ["1", "2"]);
    const { queue_full_oldest, queue_full_newest } = world.counters.messagesDropped;
    assert.deepEqual([queue_full_oldest, queue_full_newest], [2, 5]);
  }),
);

Deno.test(
  "no more is sent than Receive Maximum and max-inflight allow, and the rest follows acknowledgements [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-4.9.0-3]",
  scenario({ limits: { inflightMax: 3 } }, (world) => {
    const [narrow, wide] = [world.client("n", { properties: { receiveMaximum: 2 } }), world.client("w")];
    for (const client of [narrow, wide]) client.subscribe(1, "t", 2).read();
    const publisher = world.client("publisher");
    for (const messageId of [1, 2, 3, 4, 5]) publisher.publish("t", "x", { qos: 2, messageId });
    assert.deepEqual([narrow.heard().length, wide.heard().length], [2, 3]);
    publisher.publish("t", "zero");
    narrow.pubrec(1).send({ cmd: "pingreq" });
    assert.deepEqual(narrow.heard(), ["publish t 'zero' q0", "pubrel #1", "pingresp"]);
    narrow.pubcomp(1);
    assert.deepEqual(narrow.heard(), ["publish t 'x' q2 #3"]);
  }),
);

Deno.test(
  "a client that sends more than the Receive Maximum it was told is disconnected with 0x93",
  scenario({ limits: { receiveMaximum: 2 } }, (world) => {
    const client = world.open().sendConnect();
    assert.equal(client.read()[0]?.properties?.["receiveMaximum"], 2);
    for (const messageId of [1, 2]) client.publish("t", "x", { qos: 2, messageId });
    world.settle();
    client.pubrel(1);
    world.settle();
    client.publish("t", "x", { qos: 2, messageId: 3 });
    assert.deepEqual(client.heard(), ["pubrec #1 0x10", "pubrec #2 0x10", "pubcomp #1", "pubrec #3 0x10"]);
    client.publish("t", "x", { qos: 1, messageId: 4 });
    assert.deepEqual(client.heard(), ["disconnect 0x93", "closed"]);
  }),
);

Deno.test(
  "a message too large for a client is dropped as if sent, and others get it [MQTT-3.1.2-24] [MQTT-3.1.2-25]",
  scenario({}, (world) => {
    const small = world.client("small", { properties: { maximumPacketSize: 40 } });
    const large = subscriber(world, "large", "t", 1);
    small.subscribe(1, "t", 1).read();
    const publisher = world.client("publisher");
    publisher.publish("t", "x".repeat(50), { qos: 1, messageId: 1 }).publish("t", "y".repeat(50));
    publisher.publish("t", "fits", { qos: 1, messageId: 2 });
    assert.deepEqual(small.heard(), ["publish t 'fits' q1 #2"]);
    assert.equal(large.heard().length, 3);
    assert.equal(world.counters.messagesDropped.packet_too_large, 2);
    assert.equal(world.counters.messagesInflight, 3);
  }),
);

Deno.test(
  "a message does not overtake those that wait for the network, though some of it has become free [MQTT-4.6.0-5]",
  scenario({ limits: { outboundBytesMax: 100 } }, (world) => {
    const client = subscriber(world, "c", "t", 1);
    const publisher = world.client("publisher");
    client.isStalled = true;
    const publish = (messageId: number) => {
      publisher.publish("t", `${messageId}`.padEnd(60, "."), { qos: 1, messageId });
      world.settle();
    };
    [1, 2, 3, 4].forEach(publish);
    assert.equal(world.counters.messagesQueued, 2);
    client.takeSome(50);
    publish(5);
    client.isStalled = false;
    assert.deepEqual(client.read().map(({ payload }) => String(payload).slice(0, 1)), ["1", "2", "3", "4", "5"]);
  }),
);

Deno.test(
  "messages of one client and topic keep their order in the queue, on the wire and across a reconnect [MQTT-4.6.0-5] [MQTT-4.6.0-6]",
  scenario({ limits: { inflightMax: 2 } }, (world) => {
    const client = world.durable("c");
    client.subscribe(1, "t", 1).read();
    const publisher = world.client("publisher");
    const seen: string[] = [];
    for (let messageId = 1; messageId <= 8; messageId++) publisher.publish("t", `${messageId}`, { qos: 1, messageId });
    for (const { payload, messageId } of client.read()) {
      seen.push(String(payload));
      client.puback(messageId!);
    }
    world.settle();
    client.lose();
    const back = world.durable("c");
    for (let packets = back.read(); packets.length > 0; packets = back.read()) {
      for (const { payload, messageId } of packets) {
        seen.push(String(payload));
        back.puback(messageId!);
      }
    }
    assert.deepEqual(seen, ["1", "2", "3", "4", "5", "6", "7", "8"]);
  }),
);
