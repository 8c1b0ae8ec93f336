/**
 * Goal: in mode `immediate` a client at QoS 2 acts on nothing that a power cut can take back: the Packet Identifier of a
 * message is on disk before its PUBLISH leaves, and that PUBREC came before PUBREL leaves. [MQTT-4.3.3]
 *
 * Method: an online durable subscriber over the durable store; syncs are held, or the power is cut so that everything
 * that is not synced is gone, bytes and names, at the moment after a packet has reached the client.
 */
import assert from "node:assert/strict";
import type { TestClient } from "../../broker/test_client.ts";
import { type RigOptions, type StoreRig, storeTest } from "../store_rig.ts";
import { DiskBroker } from "./disk_broker.ts";

/** Nothing is synced for the sake of progress alone. */
const OPTIONS: RigOptions = { commit: { syncMode: "immediate", syncIntervalMs: 3_600_000 } };
const EVERYTHING_UNSYNCED_GOES = { below: () => 0 };

interface Online {
  readonly broker: DiskBroker;
  readonly subscriber: TestClient;
  readonly publisher: TestClient;
}

/** A subscriber whose Session and subscription are safe, and a publisher. */
async function online(rig: StoreRig, inflightMax = 20): Promise<Online> {
  const broker = new DiskBroker(rig, { inflightMax });
  const subscriber = await broker.durable("subscriber");
  subscriber.subscribe(1, "t", 2);
  await broker.rest();
  assert.deepEqual(subscriber.heard(), ["suback #1 2"]);
  const publisher = await broker.client("publisher");
  return { broker, subscriber, publisher };
}

/** The power goes and comes back, and so does the subscriber. Returns what it hears. */
async function cut(rig: StoreRig): Promise<string[]> {
  const found = rig.openOver(rig.disk.image(EVERYTHING_UNSYNCED_GOES, "power"));
  await found.opened.makeSafe();
  const broker = new DiskBroker(found);
  const back = await broker.durable("subscriber");
  await broker.rest();
  const heard = back.heard();
  found.abandon();
  return heard;
}

/** Publishes at QoS 2 and sees it acknowledged. */
async function publish({ broker, publisher }: Online, payload: string, messageId: number): Promise<void> {
  publisher.publish("t", payload, { qos: 2, messageId });
  await broker.rest();
  assert.deepEqual(publisher.heard(), [`pubrec #${messageId}`]);
}

/** Takes a message that has come through the whole handshake. */
async function complete({ broker, subscriber }: Online, packetId: number): Promise<void> {
  subscriber.pubrec(packetId);
  await broker.rest();
  assert.deepEqual(subscriber.heard(), [`pubrel #${packetId}`]);
  subscriber.pubcomp(packetId);
  await broker.rest();
}

storeTest(
  "a message that came with its own commit comes again with its Packet Identifier after a power cut",
  OPTIONS,
  async (rig) => {
    const clients = await online(rig);
    const { subscriber } = clients;
    for (let number = 1; number <= 4; number++) {
      await publish(clients, String(number), number);
      assert.deepEqual(subscriber.heard(), [`publish t '${number}' q2 #${number}`]);
      await complete(clients, number);
    }
    await publish(clients, "5", 5);
    assert.deepEqual(subscriber.heard(), ["publish t '5' q2 #5"]);
    assert.deepEqual(await cut(rig), ["publish t '5' q2 #5 dup"]);
  },
);

storeTest("the Packet Identifier of a message whose window is open costs no sync of its own", OPTIONS, async (rig) => {
  const clients = await online(rig);
  const before = rig.disk.count("sync");
  await publish(clients, "x", 1);
  assert.deepEqual(clients.subscriber.heard(), ["publish t 'x' q2 #1"]);
  assert.equal(rig.disk.count("sync") - before, 1);
  assert.deepEqual(await cut(rig), ["publish t 'x' q2 #1 dup"]);
});

storeTest(
  "a message that waited in the queue leaves when its Packet Identifier is safe, and not before",
  OPTIONS,
  async (rig) => {
    const clients = await online(rig, 1);
    const { broker, subscriber } = clients;
    await publish(clients, "1", 1);
    await publish(clients, "2", 2);
    assert.deepEqual(subscriber.heard(), ["publish t '1' q2 #1"]);
    subscriber.pubrec(1);
    await broker.rest();
    subscriber.heard();
    rig.disk.holdSyncs("all");
    subscriber.pubcomp(1);
    await broker.rest();
    assert.deepEqual(subscriber.heard(), [], "its identifier is not safe yet");
    rig.disk.releaseSyncs();
    await broker.rest();
    assert.deepEqual(subscriber.heard(), ["publish t '2' q2 #2"]);
    assert.deepEqual(await cut(rig), ["publish t '2' q2 #2 dup"]);
  },
);

storeTest("PUBREL leaves when it is safe that PUBREC came, and not before", OPTIONS, async (rig) => {
  const clients = await online(rig);
  const { broker, subscriber } = clients;
  await publish(clients, "x", 1);
  subscriber.heard();
  rig.disk.holdSyncs("all");
  subscriber.pubrec(1);
  await broker.rest();
  assert.deepEqual(subscriber.heard(), [], "a client that hears PUBREL forgets the identifier");
  rig.disk.releaseSyncs();
  await broker.rest();
  assert.deepEqual(subscriber.heard(), ["pubrel #1"]);
});

storeTest("a message that was released does not come again after a power cut", OPTIONS, async (rig) => {
  const clients = await online(rig);
  const { broker, subscriber } = clients;
  await publish(clients, "x", 1);
  subscriber.heard();
  subscriber.pubrec(1);
  await broker.rest();
  assert.deepEqual(subscriber.heard(), ["pubrel #1"]);
  assert.deepEqual(await cut(rig), ["pubrel #1"]);
});

storeTest(
  "that a delivery is complete is not waited for: a power cut repeats PUBREL, and nothing else",
  OPTIONS,
  async (rig) => {
    const clients = await online(rig);
    await publish(clients, "x", 1);
    clients.subscriber.heard();
    const before = rig.disk.count("sync");
    await complete(clients, 1);
    assert.equal(rig.disk.count("sync") - before, 1, "one for PUBREC, none for PUBCOMP");
    assert.deepEqual(await cut(rig), ["pubrel #1"]);
  },
);
