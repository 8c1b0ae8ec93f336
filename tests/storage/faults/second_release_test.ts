/**
 * Goal: PUBCOMP promises that a Packet Identifier may be used anew, also where PUBREL had to come twice because the first
 * answer was lost: it leaves when the release is as safe as the sync mode says, and not before. [MQTT-4.3.3-11]
 *
 * Method: a durable publisher over the durable store in mode `periodic`; syncs are held, so that what is written grows
 * older than the mode allows.
 */
import assert from "node:assert/strict";
import { type RigOptions, storeTest } from "../store_rig.ts";
import { DiskBroker } from "./disk_broker.ts";

const INTERVAL_MS = 1_000;
const OPTIONS: RigOptions = { commit: { syncMode: "periodic", syncIntervalMs: INTERVAL_MS } };

storeTest("a PUBREL that comes again waits for the record of the first", OPTIONS, async (rig) => {
  const broker = new DiskBroker(rig);
  const publisher = await broker.durable("publisher");
  publisher.publish("t", "x", { qos: 2, messageId: 1 });
  await broker.rest();
  assert.deepEqual(publisher.heard(), ["pubrec #1 0x10"]);
  await rig.advance(INTERVAL_MS);
  await broker.rest();
  rig.disk.holdSyncs("all");
  publisher.pubrel(1);
  await broker.rest();
  assert.deepEqual(publisher.heard(), ["pubcomp #1"], "it is young enough");
  const back = await broker.durable("publisher");
  await rig.advance(2 * INTERVAL_MS);
  back.pubrel(1);
  await broker.rest();
  assert.deepEqual(back.heard(), [], "the record is older than may be lost");
  rig.disk.releaseSyncs();
  await broker.rest();
  assert.deepEqual(back.heard(), ["pubcomp #1 0x92"]);
});
