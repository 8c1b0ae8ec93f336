/**
 * Goal: in mode `immediate` nobody waits for a timer, and no sync is made that nobody waits for.
 *
 * Method: a broker over a durable store with a sync interval of an hour, and time that stands still; what a client hears
 * without time passing, and how many syncs that took.
 */
import assert from "node:assert/strict";
import { type RigOptions, storeTest } from "../store_rig.ts";
import { DiskBroker } from "./disk_broker.ts";

const OPTIONS: RigOptions = { commit: { syncMode: "immediate", syncIntervalMs: 3_600_000 } };

for (const qos of [1, 2] as const) {
  storeTest(
    `a message that is not logged is acknowledged without waiting for a timer, QoS ${qos}`,
    OPTIONS,
    async (rig) => {
      rig.store.record = "required";
      const broker = new DiskBroker(rig);
      const durable = await broker.durable("durable");
      durable.subscribe(1, "kept", 1);
      const loose = await broker.client("loose");
      loose.subscribe(1, "loose", qos);
      await broker.rest();
      durable.read();
      loose.read();
      const publisher = await broker.client("publisher");
      await broker.publish(publisher, "kept", ["for the durable one"]);
      // That it was sent is on record by now, and nobody waits for that record to be safe.
      assert.equal(durable.read().length, 1);
      publisher.publish("loose", "x", { qos, messageId: 9 });
      await broker.rest();
      assert.deepEqual(publisher.heard(), [qos === 1 ? "puback #9" : "pubrec #9"]);
      assert.deepEqual(loose.heard(), [`publish loose 'x' q${qos} #1`]);
    },
  );
}

storeTest("a message that is not logged still waits for the acknowledgements before it", OPTIONS, async (rig) => {
  rig.store.record = "required";
  const broker = new DiskBroker(rig);
  const durable = await broker.durable("durable");
  durable.subscribe(1, "kept", 1);
  await broker.rest();
  const publisher = await broker.client("publisher");
  rig.disk.holdSyncs("all");
  publisher.publish("kept", "x", { qos: 1, messageId: 1 });
  publisher.publish("loose", "x", { qos: 1, messageId: 2 });
  await broker.rest();
  assert.deepEqual(publisher.heard(), []);
  rig.disk.releaseSyncs();
  await broker.rest();
  assert.deepEqual(publisher.heard(), ["puback #1", "puback #2 0x10"]);
});

storeTest("a Retained Message at QoS 0 asks for no sync, and is delivered without one", OPTIONS, async (rig) => {
  const broker = new DiskBroker(rig);
  const subscriber = await broker.client("subscriber");
  subscriber.subscribe(1, "t", 1);
  await broker.rest();
  subscriber.read();
  const publisher = await broker.client("publisher");
  const before = rig.disk.count("sync");
  publisher.publish("t", "x", { qos: 0, retain: true });
  await broker.rest();
  assert.deepEqual(subscriber.heard(), ["publish t 'x' q0"]);
  assert.equal(rig.disk.count("sync"), before, "nobody was promised anything");
  await rig.advance(3_600_000);
  assert.equal(rig.safeLsn, rig.log.endLsn, "it becomes safe all the same");
});

// In one segment: a new one begins with a sync of the last.
storeTest("what nobody waits for is synced before it fills the memory", {
  ...OPTIONS,
  segmentBytes: 67_108_864,
}, async (rig) => {
  const broker = new DiskBroker(rig);
  const publisher = await broker.client("publisher");
  const payload = "x".repeat(900_000);
  const before = rig.disk.count("sync");
  for (let published = 0; published < 20_000_000; published += payload.length) {
    publisher.publish("t", payload, { qos: 0, retain: true });
    await broker.rest();
  }
  assert.equal(rig.disk.count("sync"), before + 1);
  assert(rig.log.endLsn - rig.safeLsn < 4_000_000, "little is left");
});
