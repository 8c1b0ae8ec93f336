/**
 * Goal: what a durable member of a group was sent survives a kill, also of a message that came when nobody recorded was in
 * the group. Its Packet Identifier is not given to another message while the client may hold it, which would discard the
 * other one. [MQTT-4.3.3]
 *
 * Method: a member without a Session to keep is alone in a group when a message comes; a durable member joins and gets it
 * at QoS 2, handed on or because it was there in time; the process is killed, and another message follows.
 */
import assert from "node:assert/strict";
import type { TestClient } from "../../broker/test_client.ts";
import { type RigOptions, type StoreRig, storeTest } from "../store_rig.ts";
import { DiskBroker } from "./disk_broker.ts";

const OPTIONS: RigOptions = { commit: { syncMode: "immediate" } };
const SHARED = "$share/group/s";

/** A durable client with a subscription of its own, which joins the group when the test says so. */
async function durable(broker: DiskBroker): Promise<TestClient> {
  const client = await broker.durable("durable");
  client.subscribe(1, "own", 2);
  await broker.rest();
  client.read();
  return client;
}

/** The process is killed; the durable client comes back, which holds identifier 1 of the message "shared". */
async function assertIdentifierKept(rig: StoreRig): Promise<void> {
  const found = await rig.crash("kill");
  const broker = new DiskBroker(found);
  const back = await broker.durable("durable");
  const publisher = await broker.client("other publisher");
  publisher.publish("own", "another", { qos: 2, messageId: 1 });
  await broker.rest();
  assert.deepEqual(back.heard(), ["publish s 'shared' q2 #1 dup", "publish own 'another' q2 #2"]);
  found.abandon();
}

/** Everything that is in the log so far moves to the database. */
function moveToDatabase(rig: StoreRig): void {
  rig.compactionPolicy.maxWalBytes = 0;
  rig.log.endSegment();
  rig.pass();
  rig.compactionPolicy.maxWalBytes = Infinity;
}

/** What happens to the log before the durable client joins, and after it was sent the message. */
const MOVES: readonly (readonly [string, (rig: StoreRig) => void, (rig: StoreRig) => void])[] = [
  ["", () => {}, () => {}],
  [", from the database", moveToDatabase, () => {}],
  [", from the database and back into it", moveToDatabase, moveToDatabase],
  [", moved when it was sent", () => {}, moveToDatabase],
];

for (const [how, before, after] of MOVES) {
  storeTest(
    `a message handed on to a durable member that joined later keeps its Packet Identifier over a kill${how}`,
    OPTIONS,
    async (rig) => {
      const broker = new DiskBroker(rig);
      const loose = await broker.client("loose");
      loose.subscribe(1, SHARED, 1);
      await broker.rest();
      loose.read();
      const publisher = await broker.client("publisher");
      publisher.publish("s", "shared", { qos: 2, messageId: 1 });
      await broker.rest();
      // At QoS 2 it would stay with its first member.
      assert.deepEqual(loose.heard(), ["publish s 'shared' q1 #1"]);
      before(rig);
      const client = await durable(broker);
      client.subscribe(2, SHARED, 2);
      await broker.rest();
      client.read();
      loose.lose();
      await broker.rest();
      assert.deepEqual(client.heard(), ["publish s 'shared' q2 #1"]);
      after(rig);
      await assertIdentifierKept(rig);
    },
  );
}

storeTest(
  "a message for a group that a durable member joins before its commit keeps its Packet Identifier over a kill",
  OPTIONS,
  async (rig) => {
    const broker = new DiskBroker(rig);
    const loose = await broker.client("loose");
    loose.subscribe(1, SHARED, 2);
    const client = await durable(broker);
    await broker.rest();
    loose.read();
    const publisher = await broker.client("publisher");
    rig.disk.holdSyncs("all");
    publisher.publish("r", "kept", { qos: 1, messageId: 1, retain: true });
    publisher.publish("s", "shared", { qos: 2, messageId: 2 });
    client.subscribe(2, SHARED, 2);
    loose.unsubscribe(2, SHARED);
    await broker.rest();
    rig.disk.releaseSyncs();
    await broker.rest();
    // Its Packet Identifier has to be safe first, which SUBACK does not wait for.
    assert.deepEqual(client.heard(), ["suback #2 2", "publish s 'shared' q2 #1"]);
    await assertIdentifierKept(rig);
  },
);
