/**
 * Commit, then acknowledge, then deliver: shown on a store that commits only when it is told to.
 */
import assert from "node:assert/strict";
import { scenario } from "./harness.ts";
import { publishPacket } from "./test_client.ts";

Deno.test(
  "a QoS 1 message is acknowledged and delivered only once it is committed [MQTT-4.3.2-4]",
  scenario({}, (world) => {
    const subscriber = world.client("subscriber");
    subscriber.subscribe(1, "t", 1);
    assert.deepEqual(subscriber.heard(), ["suback #1 1"]);
    const publisher = world.client("publisher");
    publisher.subscribe(1, "t", 1);
    assert.deepEqual(publisher.heard(), ["suback #1 1"]);
    world.store.isSlow = true;
    publisher.publish("t", "x", { qos: 1, messageId: 7 });
    assert.deepEqual([publisher.heard(), subscriber.heard()], [[], []]);
    world.commit();
    assert.deepEqual(subscriber.heard(), ["publish t 'x' q1 #1"]);
    // To the publisher itself the acknowledgement comes first.
    assert.deepEqual(publisher.heard(), ["puback #7", "publish t 'x' q1 #1"]);
  }),
);

Deno.test(
  "PUBREC and PUBCOMP each wait for their own commit [MQTT-4.3.3-8] [MQTT-4.3.3-11]",
  scenario({}, (world) => {
    const subscriber = world.client("subscriber");
    subscriber.subscribe(1, "t");
    assert.deepEqual(subscriber.heard(), ["suback #1 2"]);
    const publisher = world.durable("publisher");
    world.store.isSlow = true;
    publisher.publish("t", "x", { qos: 2, messageId: 7 });
    assert.deepEqual([publisher.heard(), subscriber.heard()], [[], []]);
    world.commit();
    assert.deepEqual([publisher.heard(), subscriber.heard()], [["pubrec #7"], ["publish t 'x' q2 #1"]]);
    publisher.pubrel(7);
    assert.deepEqual(publisher.heard(), []);
    world.commit();
    assert.deepEqual(publisher.heard(), ["pubcomp #7"]);
    assert.deepEqual(world.store.records, [
      "open publisher 3600",
      "publish t by publisher #7",
      "release publisher 7",
    ]);
  }),
);

Deno.test(
  "CONNACK, SUBACK and UNSUBACK of a durable Session wait for their records",
  scenario({}, (world) => {
    world.store.isSlow = true;
    const client = world.open();
    client.sendConnect({ clientId: "c", properties: { sessionExpiryInterval: 60 } });
    client.subscribe(1, "a", 1).unsubscribe(2, "a");
    assert.deepEqual(client.heard(), []);
    world.commit();
    // Only now was SUBSCRIBE read: packets that came with CONNECT wait for CONNACK.
    assert.deepEqual(client.heard(), ["connack 0"]);
    world.commit();
    assert.deepEqual(client.heard(), ["suback #1 1", "unsuback #2 0"]);
    assert.deepEqual(world.store.records, ["open c 60", "subscribe c a", "unsubscribe c a"]);
  }),
);

Deno.test(
  "CONNACK of a Session that ends with its connection does not wait for the store",
  scenario({}, (world) => {
    world.store.isSlow = true;
    const client = world.client("c");
    assert.deepEqual(world.store.records, []);
    client.send({ cmd: "pingreq" });
    assert.deepEqual(client.heard(), ["pingresp"]);
  }),
);

Deno.test(
  "acknowledgements leave in the order of their packets, refusals included [MQTT-3.4.2-1]",
  scenario({ permissions: () => ({ mayPublish: (topic) => topic.name !== "forbidden" }) }, (world) => {
    const client = world.client("c");
    client.subscribe(1, "t", 0);
    assert.deepEqual(client.heard(), ["suback #1 0"]);
    world.store.isSlow = true;
    client.sendTogether(
      publishPacket("t", "1", { qos: 1, messageId: 1 }),
      publishPacket("forbidden", "2", { qos: 1, messageId: 2 }),
      publishPacket("t", "3", { qos: 2, messageId: 3 }),
      { cmd: "pubrel", messageId: 9 },
      publishPacket("nobody", "5", { qos: 1, messageId: 5 }),
    );
    assert.deepEqual(client.heard(), []);
    world.commit();
    assert.deepEqual(client.heard(), [
      "puback #1",
      "publish t '1' q0",
      "puback #2 0x87",
      "pubrec #3",
      "publish t '3' q0",
      "pubcomp #9 0x92",
      "puback #5 0x10",
    ]);
    client.pubrel(3);
    world.commit();
    assert.deepEqual(client.heard(), ["pubcomp #3"]);
  }),
);

Deno.test(
  "an acknowledgement behind nothing uncommitted does not wait for a commit",
  scenario({ permissions: () => ({ mayPublish: () => false }) }, (world) => {
    const client = world.client("c");
    world.store.isSlow = true;
    client.publish("t", "x", { qos: 1, messageId: 1 });
    assert.deepEqual(client.heard(), ["puback #1 0x87"]);
  }),
);

Deno.test(
  "a message whose publisher is lost before the commit is delivered, and nobody is acknowledged",
  scenario({}, (world) => {
    const subscriber = world.client("subscriber");
    subscriber.subscribe(1, "t", 1);
    assert.deepEqual(subscriber.heard(), ["suback #1 1"]);
    const publisher = world.durable("publisher");
    world.store.isSlow = true;
    publisher.publish("t", "x", { qos: 1, messageId: 7 });
    world.settle();
    publisher.lose();
    const next = world.open().sendConnect({ clientId: "publisher", clean: false });
    world.commit();
    world.commit();
    assert.deepEqual(subscriber.heard(), ["publish t 'x' q1 #1"]);
    assert.deepEqual(next.heard(), ["connack 0 present"]);
    assert.deepEqual(publisher.heard(), []);
  }),
);

Deno.test(
  "a QoS 2 message sent again after a reconnect, before its commit, is acknowledged once more and delivered once [MQTT-4.3.3-10]",
  scenario({}, (world) => {
    const subscriber = world.client("subscriber");
    subscriber.subscribe(1, "t", 2);
    assert.deepEqual(subscriber.heard(), ["suback #1 2"]);
    const first = world.durable("publisher");
    world.store.isSlow = true;
    first.publish("t", "x", { qos: 2, messageId: 7 });
    world.settle();
    first.lose();
    const second = world.open().sendConnect({
      clientId: "publisher",
      clean: false,
      properties: { sessionExpiryInterval: 3_600 },
    });
    second.publish("t", "x", { qos: 2, messageId: 7, dup: true });
    world.settle();
    world.commit();
    world.commit();
    assert.deepEqual(second.heard(), ["connack 0 present", "pubrec #7"]);
    assert.deepEqual(subscriber.heard(), ["publish t 'x' q2 #1"]);
    second.pubrel(7);
    world.commit();
    assert.deepEqual(second.heard(), ["pubcomp #7"]);
  }),
);

Deno.test(
  "a publisher that is taken over before the commit gets no acknowledgement for the old connection's packet",
  scenario({}, (world) => {
    const first = world.client("publisher");
    world.store.isSlow = true;
    first.publish("t", "x", { qos: 1, messageId: 7 });
    world.settle();
    const second = world.open();
    second.sendConnect({ clientId: "publisher" });
    world.commit();
    assert.deepEqual(first.heard(), ["disconnect 0x8e", "closed"]);
    assert.deepEqual(second.heard(), ["connack 0"]);
  }),
);

Deno.test(
  "a message that expires while its commit is awaited is not delivered [MQTT-3.3.2-5]",
  scenario({}, (world) => {
    const subscriber = world.client("subscriber");
    subscriber.subscribe(1, "t", 1);
    assert.deepEqual(subscriber.heard(), ["suback #1 1"]);
    const publisher = world.client("publisher");
    world.store.isSlow = true;
    publisher.publish("t", "x", { qos: 1, messageId: 7, properties: { messageExpiryInterval: 2 } });
    world.pass(3_000);
    world.commit();
    assert.deepEqual(publisher.heard(), ["puback #7"]);
    assert.deepEqual(subscriber.heard(), []);
    assert.equal(world.counters.messagesDropped.expired, 1);
  }),
);

Deno.test(
  "the Message Expiry Interval is counted down while the commit is awaited [MQTT-3.3.2-6]",
  scenario({}, (world) => {
    const subscriber = world.client("subscriber");
    subscriber.subscribe(1, "t", 1);
    world.settle();
    subscriber.read();
    const publisher = world.client("publisher");
    world.store.isSlow = true;
    publisher.publish("t", "x", { qos: 1, messageId: 7, properties: { messageExpiryInterval: 10 } });
    world.pass(4_000);
    world.commit();
    assert.equal(subscriber.read()[0]?.properties?.["messageExpiryInterval"], 6);
  }),
);

Deno.test(
  "a retained message whose commit is awaited reaches a client that subscribes meanwhile [MQTT-3.3.1-9]",
  scenario({}, (world) => {
    const publisher = world.client("publisher");
    const subscriber = world.client("subscriber");
    world.store.isSlow = true;
    publisher.publish("t", "x", { qos: 1, messageId: 7, retain: true });
    world.settle();
    subscriber.subscribe(1, "t", 1);
    world.settle();
    world.commit();
    assert.deepEqual(subscriber.heard(), ["suback #1 1", "publish t 'x' q1 #1 retain"]);
  }),
);

Deno.test(
  "a Will Message published from inside a commit gets a turn and a commit of its own [MQTT-3.1.2-8]",
  scenario({}, (world) => {
    const watcher = world.client("watcher");
    watcher.subscribe(1, "will", 1);
    assert.deepEqual(watcher.heard(), ["suback #1 1"]);
    world.store.isSlow = true;
    const will = { topic: "will", payload: "gone", qos: 1 as const };
    const properties = { sessionExpiryInterval: 60 };
    // Both wait for the same commit; the second takes over from the first in the middle of it.
    const first = world.open().sendConnect({ clientId: "c", clean: false, will, properties });
    const second = world.open().sendConnect({ clientId: "c", clean: false, properties });
    world.commit();
    assert.deepEqual(first.heard(), ["connack 0", "disconnect 0x8e", "closed"]);
    assert.deepEqual(second.heard(), ["connack 0 present"]);
    assert.deepEqual(watcher.heard(), []);
    world.commit();
    assert.deepEqual(watcher.heard(), ["publish will 'gone' q1 #1"]);
  }),
);
