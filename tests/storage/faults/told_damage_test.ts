/**
 * Goal: damage that the compactor will not delete does not let the log grow for ever: a start tells of it and keeps a copy,
 * and then the segment goes as any other, with all of it that is whole.
 *
 * Method: one block of a sealed segment is inverted; a pass stops, the store is opened again, and the next pass does not.
 */
import assert from "node:assert/strict";
import { StorageFailed } from "../../../src/storage/model/errors.ts";
import { ModelBroker } from "../model_broker.ts";
import { payloadAt, storeTest, WAL } from "../store_rig.ts";
import { blockAt, flipIn } from "./blocks.ts";

storeTest("compaction goes on past damage once a start has told of it", {
  segmentBytes: 2_000,
  compaction: { maxWalBytes: 0 },
  onCorruption: "quarantine",
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open("keep/#");
  await broker.settle();
  const payloads = new Map<number, string>();
  while (rig.log.sealedSegments.length < 3) {
    const position = broker.publish([session], 200);
    await broker.settle();
    payloads.set(position, payloadAt(rig.store, position));
  }
  // In the second segment, when nothing is in memory any more.
  const met = await rig.restart();
  broker.resume(met);
  const [before, hit] = met.log.segments.map(({ path }) => path);
  const damaged = blockAt(met.disk, [...payloads.keys()].find((each) => blockAt(met.disk, each).path === hit)!);
  flipIn(met.disk, damaged);
  for (const round of [1, 2]) {
    assert.throws(() => met.pass(), (failure) => {
      return failure instanceof StorageFailed && failure.reason === "corrupt" && failure.path === hit;
    }, `pass ${round}`);
  }
  assert(met.disk.exists(hit!), "the segment stays");
  assert.equal(met.disk.contents(before!).length > 0, true, "and so does what was to go with it");
  const found = await met.crash("kill");
  const owed = [...found.recovered.owed.values()].flat();
  for (const { position } of owed) found.store.retain(position);
  found.store.setOwedWalk({
    *walkOwed(first, end, visit) {
      yield;
      for (const [number, entries] of found.recovered.owed) {
        for (const entry of entries) if (entry.position >= first && entry.position < end) visit(number, entry);
      }
    },
  });
  found.pass();
  assert(!found.disk.exists(hit!), "now it goes");
  assert.deepEqual(found.disk.list(WAL).filter((name) => name.includes(".quarantine")), [
    `${hit!.slice(WAL.length + 1)}.quarantine`,
  ]);
  const whole = [...payloads.keys()].filter((each) => each < damaged.firstLsn || each >= damaged.endLsn);
  assert.deepEqual(owed.map(({ position }) => position), whole);
  for (const position of whole) assert.equal(payloadAt(found.store, position), payloads.get(position));
  found.abandon();
});
