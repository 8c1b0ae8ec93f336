/**
 * Goal: while the store is congested, by a full disk or a long sync, only what would make it grow has to wait: consumers
 * acknowledge and drain, Keep Alive is answered, and clients can connect. Publishers wait and lose nothing.
 *
 * Method: a world whose store says that it is congested; each kind of packet is sent.
 */
import assert from "node:assert/strict";
import { scenario, World } from "../../broker/harness.ts";

const OPTIONS = { limits: { inflightMax: 1 } };

Deno.test(
  "a congested store holds up no acknowledgement: a consumer drains its queue",
  scenario(OPTIONS, (world) => {
    const consumer = world.durable("consumer");
    consumer.subscribe(1, "t", 1);
    consumer.read();
    const publisher = world.client("publisher");
    for (let number = 1; number <= 3; number++) publisher.publish("t", String(number), { qos: 1, messageId: number });
    publisher.read();
    assert.deepEqual(consumer.heard(), ["publish t '1' q1 #1"]);
    world.store.isCongested = true;
    assert.deepEqual(consumer.puback(1).heard(), ["publish t '2' q1 #2"]);
    assert.deepEqual(consumer.puback(2).heard(), ["publish t '3' q1 #3"]);
    consumer.puback(3);
    world.settle();
    assert.equal(world.counters.messagesInflight, 0);
    world.store.isCongested = false;
  }),
);

Deno.test(
  "a congested store holds up no step of a delivery at QoS 2",
  scenario(OPTIONS, (world) => {
    const consumer = world.durable("consumer");
    consumer.subscribe(1, "t", 2);
    consumer.read();
    world.client("publisher").publish("t", "1", { qos: 2, messageId: 1 });
    assert.deepEqual(consumer.heard(), ["publish t '1' q2 #1"]);
    world.store.isCongested = true;
    assert.deepEqual(consumer.pubrec(1).heard(), ["pubrel #1"]);
    consumer.pubcomp(1);
    world.settle();
    assert.equal(world.counters.messagesInflight, 0);
    world.store.isCongested = false;
  }),
);

Deno.test(
  "a congested store holds up no Keep Alive",
  scenario({}, (world) => {
    const client = world.client("c");
    world.store.isCongested = true;
    assert.deepEqual(client.send({ cmd: "pingreq" }).heard(), ["pingresp"]);
    world.store.isCongested = false;
  }),
);

Deno.test(
  "a congested store holds up no client that connects, comes back or leaves",
  scenario({}, (world) => {
    const client = world.durable("c");
    world.store.isCongested = true;
    assert.deepEqual(world.open().sendConnect({ clientId: "new" }).heard(), ["connack 0"]);
    client.disconnect();
    assert.deepEqual(client.heard(), ["closed"]);
    const back = world.open().sendConnect({
      clientId: "c",
      clean: false,
      properties: { sessionExpiryInterval: 3_600 },
    });
    assert.deepEqual(back.heard(), ["connack 0 present"]);
    world.store.isCongested = false;
  }),
);

Deno.test(
  "a congested store lets publishers wait, and takes their messages in order when it is relieved",
  scenario({}, (world) => {
    const publisher = world.client("publisher");
    world.store.isCongested = true;
    publisher.publish("t", "1", { qos: 1, messageId: 1 });
    publisher.publish("t", "2", { qos: 1, messageId: 2 });
    assert.deepEqual(publisher.heard(), [], "nothing is taken");
    world.store.isCongested = false;
    // Any commit looks again.
    world.client("other").publish("u", "x", { qos: 1, messageId: 1 });
    assert.deepEqual(publisher.heard(), ["puback #1 0x10", "puback #2 0x10"]);
  }),
);

Deno.test(
  "a congested store lets SUBSCRIBE and UNSUBSCRIBE wait, and takes them in order when it is relieved",
  scenario({}, (world) => {
    const client = world.client("c");
    world.store.isCongested = true;
    client.subscribe(1, "t", 1).unsubscribe(2, "t");
    assert.deepEqual(client.heard(), [], "nothing is taken");
    world.store.isCongested = false;
    world.client("other").publish("u", "x", { qos: 1, messageId: 1 });
    assert.deepEqual(client.heard(), ["suback #1 1", "unsuback #2 0"]);
  }),
);

Deno.test("answers that wait for a commit have a bound, at which only PINGREQ is read", () => {
  const world = new World();
  const client = world.client("c");
  const other = world.client("other");
  world.store.isSlow = true;
  other.publish("t", "x", { qos: 1, messageId: 1 });
  // Identifiers that are not open: each is answered in line.
  const flood = new Uint8Array(4 * (WAITING_MAX + 1_000));
  for (let at = 0; at < flood.length; at += 4) flood.set([0x62, 2, 0, 1], at);
  client.sendBytes(flood);
  world.settle();
  const unread = client.unreadBytes;
  assert(unread > 0 && unread < 4 * 1_001);
  assert.deepEqual(other.send({ cmd: "pingreq" }).heard(), ["pingresp"]);
  other.pubrel(7);
  assert(other.unreadBytes > 0);
  client.lose();
  world.commit();
  assert.deepEqual(other.heard(), ["puback #1 0x10", "pubcomp #7 0x92"]);
});

/** Of the router: twice as many entries as publishers may fill. */
const WAITING_MAX = 2 * 262_144;
