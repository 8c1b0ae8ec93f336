/**
 * Retained Messages, from the outside: setting, replacing, clearing, expiring, and who gets them when.
 */
import assert from "node:assert/strict";
import { scenario, type World } from "./harness.ts";
import { publishPacket, type TestClient } from "./test_client.ts";

function late(world: World, filter: string, qos: 0 | 1 | 2 = 1): string[] {
  const client = world.open();
  client.connect({ clientId: "late" });
  client.subscribe(1, filter, qos);
  const [suback, ...retained] = client.heard();
  assert.equal(suback, `suback #1 ${qos}`);
  client.disconnect();
  world.settle();
  return retained.toSorted();
}

function retain(client: TestClient, topic: string, payload: string, qos: 0 | 1 | 2 = 0): void {
  client.publish(topic, payload, { retain: true, ...(qos === 0 ? {} : { qos, messageId: 1 }) });
  if (qos === 2) client.pubrel(1);
  client.read();
}

Deno.test(
  "a retained message is kept, replaced, cleared, and left alone by others [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.3.1-8]",
  scenario({}, (world) => {
    const publisher = world.client("publisher");
    retain(publisher, "t", "first", 1);
    assert.deepEqual(late(world, "t"), ["publish t 'first' q1 #1 retain"]);
    retain(publisher, "t", "second", 0);
    publisher.publish("t", "passing").publish("t", "", { qos: 1, messageId: 2 });
    world.settle();
    assert.deepEqual(late(world, "t"), ["publish t 'second' q0 retain"]);
    assert.equal(world.counters.retainedMessages, 1);
    retain(publisher, "t", "", 2);
    assert.deepEqual(late(world, "t"), []);
    assert.equal(world.counters.retainedMessages, 0);
    assert.equal(world.store.liveMessages, 0);
  }),
);

Deno.test(
  "a wildcard subscription gets the retained messages of all matching topics at the smaller QoS [MQTT-3.8.4-8]",
  scenario({}, (world) => {
    const publisher = world.client("publisher");
    retain(publisher, "a/1", "x", 0);
    retain(publisher, "a/2", "y", 1);
    retain(publisher, "a", "z", 2);
    retain(publisher, "b", "no", 2);
    assert.deepEqual(
      late(world, "a/#", 1),
      [
        "publish a 'z' q1 #1 retain",
        "publish a/1 'x' q0 retain",
        "publish a/2 'y' q1 #2 retain",
      ].toSorted(),
    );
    assert.equal(late(world, "+/1").length, 1);
    assert.equal(late(world, "#").length, 4);
  }),
);

Deno.test(
  "Retain Handling decides whether retained messages follow SUBACK [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.8.4-3] [MQTT-3.8.4-4]",
  scenario({}, (world) => {
    retain(world.client("publisher"), "t", "x");
    const client = world.client("c");
    const heard = (rh: number) => client.subscribe(1, [{ topic: "t", qos: 0, rh }]).heard().slice(1);
    const message = "publish t 'x' q0 retain";
    assert.deepEqual([heard(2), heard(1), heard(0), heard(0)], [[], [], [message], [message]]);
    client.unsubscribe(2, "t");
    assert.deepEqual(client.heard(), ["unsuback #2 0"]);
    assert.deepEqual([heard(1), heard(1)], [[message], []]);
  }),
);

Deno.test(
  "RETAIN reaches a subscriber as published only with Retain As Published [MQTT-3.3.1-12] [MQTT-3.3.1-13]",
  scenario({}, (world) => {
    const [plain, kept] = [world.client("plain"), world.client("kept")];
    plain.subscribe(1, [{ topic: "t", qos: 1, rap: false }]);
    kept.subscribe(1, [{ topic: "t", qos: 1, rap: true }]);
    plain.read();
    kept.read();
    const publisher = world.client("publisher");
    publisher.publish("t", "1", { retain: true }).publish("t", "2", { qos: 1, messageId: 1 });
    assert.deepEqual(plain.heard(), ["publish t '1' q0", "publish t '2' q1 #1"]);
    assert.deepEqual(kept.heard(), ["publish t '1' q0 retain", "publish t '2' q1 #1"]);
  }),
);

Deno.test(
  "a retained message carries what is left of its Message Expiry Interval and is gone after it [MQTT-3.3.2-5] [MQTT-3.3.2-6]",
  scenario({}, (world) => {
    const publisher = world.client("publisher");
    publisher.publish("t", "x", { retain: true, properties: { messageExpiryInterval: 10 } });
    world.pass(6_500);
    const client = world.client("c");
    client.subscribe(1, "t", 0);
    assert.equal(client.read()[1]?.properties?.["messageExpiryInterval"], 4);
    world.pass(3_600);
    assert.deepEqual(late(world, "t"), []);
    assert.equal(world.counters.retainedMessages, 0);
    assert.equal(world.store.liveMessages, 0);
  }),
);

Deno.test(
  "message-expiry-max makes every retained message expire",
  scenario({ limits: { messageExpirySecondsMax: 5 } }, (world) => {
    const publisher = world.client("publisher");
    retain(publisher, "none", "x");
    publisher.publish("long", "x", { retain: true, properties: { messageExpiryInterval: 100 } });
    world.settle();
    assert.equal(late(world, "#").length, 2);
    world.pass(5_100);
    assert.deepEqual(late(world, "#"), []);
  }),
);

Deno.test(
  "QoS 0 retained messages that find the network busy wait until it has room",
  scenario({ limits: { outboundBytesMax: 40 } }, (world) => {
    const publisher = world.client("publisher");
    for (const topic of ["t/1", "t/2", "t/3"]) retain(publisher, topic, "x".repeat(30));
    const client = world.client("c");
    client.isStalled = true;
    client.subscribe(1, "t/#", 0);
    world.settle();
    publisher.publish("t/1", "dropped");
    world.settle();
    assert.equal(world.counters.messagesQueued, 2);
    assert.equal(world.counters.messagesDropped.outbound_full, 1);
    client.isStalled = false;
    assert.equal(client.heard().filter((line) => line.includes("x".repeat(30))).length, 3);
    assert.equal(world.counters.messagesQueued, 0);
  }),
);

Deno.test(
  "messages of one topic keep their order though only some of them are retained [MQTT-4.6.0-5]",
  scenario({}, (world) => {
    const client = world.client("c");
    client.subscribe(1, "t", 0);
    client.read();
    world.client("publisher").sendTogether(
      publishPacket("t", "1", { retain: true }),
      publishPacket("t", "2"),
      publishPacket("t", "3", { retain: true }),
      publishPacket("t", "4"),
    );
    assert.deepEqual(client.heard(), [1, 2, 3, 4].map((payload) => `publish t '${payload}' q0`));
    assert.deepEqual(late(world, "t"), ["publish t '3' q0 retain"]);
  }),
);

Deno.test(
  "without retain support a retained PUBLISH is refused with 0x9A [MQTT-3.2.2-14]",
  scenario({ limits: { isRetainAvailable: false } }, (world) => {
    const publisher = world.open().sendConnect();
    assert.equal(publisher.read()[0]?.properties?.["retainAvailable"], false);
    publisher.publish("t", "x", { retain: true });
    assert.deepEqual(publisher.heard(), ["disconnect 0x9a", "closed"]);
  }),
);
