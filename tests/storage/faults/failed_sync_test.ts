/**
 * Goal: in no mode does a killed process lose what was acknowledged, also when a sync or a write had failed and what was
 * not safe could not be written once more, for want of space.
 *
 * Method: messages are committed without a sync (`batch`, `periodic`), the sync or a later write fails with EIO, the disk is
 * full by then, so that the fresh segment waits for space, and the process is killed while it does.
 */
import assert from "node:assert/strict";
import type { CommitPolicy } from "../../../src/storage/log/group_commit.ts";
import { ModelBroker } from "../model_broker.ts";
import { StoreRig } from "../store_rig.ts";

const POLICIES: readonly Partial<CommitPolicy>[] = [
  { syncMode: "batch", batchSyncSize: 1_000, syncIntervalMs: 100 },
  { syncMode: "periodic", syncIntervalMs: 100 },
];

for (const commit of POLICIES) {
  for (const hasSegmentBefore of [false, true]) {
    const where = hasSegmentBefore ? "a later segment" : "the only segment";
    Deno.test(`killed after a failed sync of ${where} while there is no space: nothing is lost, ${commit.syncMode}`, async () => {
      const rig = await StoreRig.open({ segmentBytes: 1_000_000, commit });
      try {
        const broker = new ModelBroker(rig);
        const session = broker.open("keep/#");
        broker.commit();
        if (hasSegmentBefore) {
          await rig.advance(100);
          assert.equal(rig.safeLsn, rig.log.endLsn);
          rig.log.endSegment();
        }
        for (let count = 0; count < 10; count++) broker.publish([session], 200);
        broker.commit();
        assert(rig.store.committed >= rig.store.lastPosition, "all of it is acknowledged");
        rig.disk.failSync(1, "io");
        rig.disk.capacityBytes = rig.disk.usedBytes();
        await rig.advance(200);
        assert.equal(rig.failures[0], "poisoned io");
        const found = await rig.crash("kill");
        broker.check(found, Infinity);
        assert.deepEqual(found.opened.report.losses, []);
        found.abandon();
      } finally {
        rig.close();
      }
    });
  }
}

for (const commit of POLICIES) {
  Deno.test(`killed after a failed write while there is no space: nothing written before is lost, ${commit.syncMode}`, async () => {
    const rig = await StoreRig.open({ segmentBytes: 1_000_000, commit });
    try {
      const broker = new ModelBroker(rig);
      const session = broker.open("keep/#");
      for (let count = 0; count < 10; count++) broker.publish([session], 200);
      broker.commit();
      assert(rig.store.committed >= rig.store.lastPosition, "all of it is acknowledged");
      const { writtenLsn } = rig.log;
      rig.disk.failWrite(1, "io");
      rig.disk.capacityBytes = rig.disk.usedBytes();
      broker.send(session);
      broker.commit();
      assert.equal(rig.failures[0], "poisoned io");
      const found = await rig.crash("kill");
      broker.check(found, writtenLsn);
      assert.deepEqual(found.opened.report.losses, []);
      found.abandon();
    } finally {
      rig.close();
    }
  });
}
