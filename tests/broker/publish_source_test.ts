/**
 * Where publications come from: what is the same for all sources, and what is a client's alone.
 */
import assert from "node:assert/strict";
import { BROKER, OtherSource, type PublishSource, WILL } from "../../src/broker/publish_source.ts";
import { Message } from "../../src/protocol/message.ts";
import type { QoS } from "../../src/protocol/packets.ts";
import { scenario, type World } from "./harness.ts";

const LINK = new OtherSource("link");

function publish(world: World, source: PublishSource, payload: string, qos: QoS, packetId: number): void {
  const topic = world.core.topics.intern("t")!;
  const message = new Message();
  message.qos = qos;
  message.setTopic(topic.utf8);
  message.setPayload(new TextEncoder().encode(payload), 0, payload.length);
  world.core.router.publish(source, message, topic, packetId, world.nowMs);
}

for (const source of [LINK, WILL, BROKER]) {
  Deno.test(
    `the router sends what comes from a ${source.kind} to clients after its commit, as nobody's, and acknowledges nothing`,
    scenario({}, (world) => {
      const options = { nl: true, rap: false, rh: 0 } as const;
      const subscriber = world.durable("subscriber").subscribe(1, [{ topic: "t", qos: 2, ...options }]);
      assert.deepEqual(subscriber.heard(), ["suback #1 2"]);
      world.store.isSlow = true;
      const recordsBefore = world.store.records.length;
      for (const qos of [0, 1, 2] as const) publish(world, source, `p${qos}`, qos, qos);
      world.settle();
      assert.deepEqual(subscriber.heard(), ["publish t 'p0' q0"]);
      world.commit();
      assert.deepEqual(subscriber.heard(), ["publish t 'p1' q1 #1", "publish t 'p2' q2 #2"]);
      assert.deepEqual(world.store.records.slice(recordsBefore), ["publish t", "publish t"]);
    }),
  );
}

Deno.test(
  "what a client publishes is kept from itself by No Local, acknowledged and recorded as its own [MQTT-3.8.3-3]",
  scenario({}, (world) => {
    const client = world.durable("c").subscribe(1, [{ topic: "t", qos: 2, nl: true, rap: false, rh: 0 }]);
    assert.deepEqual(client.heard(), ["suback #1 2"]);
    const recordsBefore = world.store.records.length;
    client.publish("t", "mine", { qos: 2, messageId: 7 });
    assert.deepEqual(client.heard(), ["pubrec #7"]);
    assert.deepEqual(world.store.records.slice(recordsBefore), ["publish t by c #7"]);
  }),
);

Deno.test(
  "a publication from a link that the store has no room for is dropped and counted, and nobody hears of it",
  scenario({}, (world) => {
    const subscriber = world.client("subscriber").subscribe(1, "t", 1);
    assert.deepEqual(subscriber.heard(), ["suback #1 1"]);
    world.store.isFull = true;
    publish(world, LINK, "x", 1, 1);
    assert.deepEqual(subscriber.heard(), []);
    assert.equal(world.counters.messagesDropped.store_full, 1);
  }),
);
