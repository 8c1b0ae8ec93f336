/**
 * Goal: where steps of a delivery are promised, a QoS 2 message waits for its record and for nothing else, keeps its place
 * among the others, and whatever comes between its routing and its commit leaves one message, one place in the window.
 *
 * Method: a broker on a store that commits when it is told to, and whose commits count as safe from power cuts.
 */
import assert from "node:assert/strict";
import type { World } from "./harness.ts";
import { scenario } from "./harness.ts";
import type { TestClient } from "./test_client.ts";

interface Pair {
  readonly subscriber: TestClient;
  readonly publisher: TestClient;
}

/** A durable subscriber at QoS 2, and a publisher; nothing is committed any more but by `world.commit()`. */
function pair(world: World, receiveMaximum = 65_535): Pair {
  world.store.isProgressPromised = true;
  const subscriber = world.durable("subscriber", { properties: { sessionExpiryInterval: 3_600, receiveMaximum } });
  subscriber.subscribe(1, "t", 2);
  assert.deepEqual(subscriber.heard(), ["suback #1 2"]);
  const publisher = world.client("publisher");
  world.store.isSlow = true;
  return { subscriber, publisher };
}

Deno.test(
  "a QoS 2 message keeps its place before those that find the window full [MQTT-4.6.0-5]",
  scenario({}, (world) => {
    const { subscriber, publisher } = pair(world, 2);
    for (let id = 1; id <= 4; id++) publisher.publish("t", String(id), { qos: 2, messageId: id });
    assert.deepEqual(subscriber.heard(), []);
    world.commit();
    assert.deepEqual(subscriber.heard(), ["publish t '1' q2 #1", "publish t '2' q2 #2"]);
    subscriber.pubrec(1);
    world.commit();
    assert.deepEqual(subscriber.heard(), ["pubrel #1"]);
    subscriber.pubcomp(1);
    assert.deepEqual(subscriber.heard(), [], "its Packet Identifier is not safe");
    // The window has no room: the promised one counts.
    publisher.publish("t", "5", { qos: 2, messageId: 5 });
    world.commit();
    assert.deepEqual(subscriber.heard(), ["publish t '3' q2 #3"]);
  }),
);

Deno.test(
  "a message of another QoS that comes between two promised ones is not forgotten",
  scenario({}, (world) => {
    const { subscriber, publisher } = pair(world);
    publisher.publish("t", "1", { qos: 2, messageId: 1 });
    publisher.publish("t", "2", { qos: 1, messageId: 2 });
    publisher.publish("t", "3", { qos: 2, messageId: 3 });
    publisher.publish("t", "4", { qos: 1, messageId: 4 });
    assert.deepEqual(subscriber.heard(), []);
    world.commit();
    const heard = subscriber.heard();
    assert.deepEqual(heard.filter((line) => line.includes("q2")), ["publish t '1' q2 #1", "publish t '3' q2 #2"]);
    assert.deepEqual(heard.filter((line) => line.includes("q1")), ["publish t '2' q1 #3", "publish t '4' q1 #4"]);
  }),
);

Deno.test(
  "a connection that is taken over before the commit leaves the message to the next, once",
  scenario({}, (world) => {
    const { publisher } = pair(world);
    publisher.publish("t", "x", { qos: 2, messageId: 1 });
    const next = world.open();
    next.sendConnect({
      clientId: "subscriber",
      clean: false,
      properties: { sessionExpiryInterval: 3_600, receiveMaximum: 1 },
    });
    publisher.publish("t", "y", { qos: 2, messageId: 2 });
    world.commit();
    world.commit();
    const heard = next.heard();
    assert.match(heard[0]!, /^connack 0/);
    assert.deepEqual(heard.slice(1), ["publish t 'x' q2 #1 dup"]);
    next.pubrec(1);
    world.commit();
    assert.deepEqual(next.heard(), ["pubrel #1"]);
    next.pubcomp(1);
    world.commit();
    assert.match(next.heard().join(), /^publish t 'y' q2 #2/);
  }),
);

Deno.test(
  "PUBREL leaves once on the connection that is there when the record of PUBREC is safe",
  scenario({}, (world) => {
    const { subscriber, publisher } = pair(world);
    publisher.publish("t", "x", { qos: 2, messageId: 1 });
    world.commit();
    assert.deepEqual(subscriber.heard(), ["publish t 'x' q2 #1"]);
    subscriber.pubrec(1).pubrec(1);
    assert.deepEqual(subscriber.heard(), []);
    const next = world.open();
    next.sendConnect({ clientId: "subscriber", clean: false, properties: { sessionExpiryInterval: 3_600 } });
    world.commit();
    world.commit();
    const heard = next.heard();
    assert.match(heard[0]!, /^connack 0/);
    assert.deepEqual(heard.slice(1), ["pubrel #1"]);
    next.pubcomp(1);
    world.commit();
    assert.equal(world.counters.messagesInflight, 0);
  }),
);

Deno.test(
  "a message that expires before its commit gives its place back",
  scenario({}, (world) => {
    const { subscriber, publisher } = pair(world, 1);
    publisher.publish("t", "x", { qos: 2, messageId: 1, properties: { messageExpiryInterval: 1 } });
    world.pass(2_000);
    world.commit();
    assert.deepEqual(subscriber.heard(), []);
    assert.equal(world.counters.messagesInflight, 0);
    publisher.publish("t", "y", { qos: 2, messageId: 2 });
    world.commit();
    assert.deepEqual(subscriber.heard(), ["publish t 'y' q2 #2"]);
  }),
);

Deno.test(
  "a Session that ends before the commit leaves nothing behind",
  scenario({}, (world) => {
    const { subscriber, publisher } = pair(world);
    publisher.publish("t", "x", { qos: 2, messageId: 1 });
    subscriber.disconnect(0, 0);
    world.commit();
    assert.equal(world.counters.messagesInflight, 0);
    assert.equal(world.store.liveMessages, 0);
  }),
);
