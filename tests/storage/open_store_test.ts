/**
 * Opening a store: what it starts from, what it takes over of segments and leftovers, and what it refuses.
 */
import assert from "node:assert/strict";
import { FIRST_LSN } from "../../src/storage/log/segment.ts";
import { StorageFailed } from "../../src/storage/model/errors.ts";
import { ModelBroker } from "./model_broker.ts";
import { payloadAt, storeTest, WAL } from "./store_rig.ts";

storeTest("opens an empty directory as an empty store, and writes nothing", {}, (rig) => {
  assert.equal(rig.log.endLsn, FIRST_LSN);
  assert.equal(rig.store.committed, FIRST_LSN - 1);
  assert.deepEqual(rig.disk.list(WAL), []);
  assert.equal(rig.counters.walRecoveryDurationSeconds.count, 1);
  assert.equal(rig.store.newSessionNumber(), 1);
});

storeTest("goes on where the log ends, in a new segment, and takes what was found for committed", {}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  const position = broker.publish([session]);
  await broker.settle();
  const { endLsn } = rig.log;
  const found = await rig.crash("kill");
  assert.equal(found.log.endLsn, endLsn);
  assert.equal(found.store.committed, endLsn - 1);
  assert.equal(found.log.routesValidFrom, endLsn);
  assert.equal(found.log.sealedSegments.length, 1);
  broker.resume(found);
  const next = broker.publish([session]);
  await broker.settle();
  assert.equal(found.log.segments.length, 2);
  assert(next > position);
  broker.checkReads();
  found.abandon();
});

storeTest("syncs what it found before anybody hears of it", {}, async (rig) => {
  const broker = new ModelBroker(rig);
  broker.open();
  rig.disk.holdSyncs("all");
  broker.commit();
  const disk = rig.disk.image({ below: () => 0, oneIn: () => false, pick: () => 0 } as never, "kill");
  disk.holdSyncs("all");
  const found = rig.openOver(disk);
  let isSafe = false;
  const safe = found.opened.makeSafe().then(() => isSafe = true);
  while (!isSafe && disk.heldSyncs.length > 0) {
    assert.equal(isSafe, false);
    disk.finishSync();
    await found.advance();
  }
  await safe;
  assert.equal(disk.count("sync"), 1);
  assert.equal(disk.count("syncDirectory"), 1);
  assert.equal(found.watch.openCount, 0);
  found.abandon();
});

storeTest("fails to open when what it found cannot be made safe", {}, async (rig) => {
  const broker = new ModelBroker(rig);
  broker.open();
  await broker.settle();
  rig.disk.failSyncForever("io");
  await assert.rejects(rig.restart(), (failure) => failure instanceof StorageFailed && failure.reason === "io");
});

storeTest("removes from the database what a move that was cut left in it", {
  segmentBytes: 500,
  compaction: { maxWalBytes: 0, batchSize: 1 },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  for (let count = 0; count < 10; count++) {
    broker.publish([session], 100);
    await broker.settle();
  }
  const pass = rig.compactor.pass(rig.time.nowMs);
  while (rig.checkpoint.load().messages.positions.length === 0) pass.next();
  assert.equal(rig.checkpoint.load().appliedLsn, FIRST_LSN);
  const found = await rig.crash("kill");
  assert.equal(found.checkpoint.load().messages.positions.length, 0);
  broker.check(found, Infinity);
  found.abandon();
});

storeTest("refuses a damaged segment when it is told to, and changes nothing", {
  onCorruption: "refuse",
}, async (rig) => {
  const broker = new ModelBroker(rig);
  for (let count = 0; count < 3; count++) {
    broker.publish([], 50);
    await broker.settle();
  }
  const { path } = rig.log.segments[0]!;
  rig.disk.flipByte(path, 150);
  const before = rig.disk.list(WAL);
  assert.throws(
    () => rig.openOver(rig.disk),
    (failure) => failure instanceof StorageFailed && failure.reason === "corrupt" && failure.path === path,
  );
  assert.deepEqual(rig.disk.list(WAL), before);
});

storeTest("reads messages of the database and of the log alike after a start", {
  segmentBytes: 500,
  compaction: { maxWalBytes: 1_500 },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  const positions: number[] = [];
  for (let count = 0; count < 12; count++) {
    positions.push(broker.publish([session], 100));
    await broker.settle();
  }
  rig.pass();
  const found = await rig.crash("power");
  const { appliedLsn } = found.checkpoint.load();
  assert(positions[0]! < appliedLsn && positions.at(-1)! >= appliedLsn, "some are here, some there");
  positions.forEach((position, index) =>
    assert.match(payloadAt(found.store, position), RegExp(`^message ${index + 1} `))
  );
  found.abandon();
});
