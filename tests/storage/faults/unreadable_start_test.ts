/**
 * Goal: a stretch of the log that the device cannot read is damage like any other: with `quarantine` the broker starts,
 * tells what is lost, exactly, and leaves the file where it is; with `refuse` it does not start.
 *
 * Method: a page of a sealed segment answers every read with EIO from some moment on; the store is opened over it.
 */
import assert from "node:assert/strict";
import { StorageFailed } from "../../../src/storage/model/errors.ts";
import { Random } from "../../support/random.ts";
import type { FaultyDisk } from "../disk/faulty_disk.ts";
import { ModelBroker } from "../model_broker.ts";
import { payloadAt, type RigOptions, type StoreRig, storeTest } from "../store_rig.ts";
import { type BlockPlace, blocksOf } from "./blocks.ts";

const OPTIONS: RigOptions = { segmentBytes: 20_000 };

/** A page in the middle of the first segment, in its file. */
const FROM = 8_192;
const TO = 12_288;

/** Fills some segments; returns the positions of the messages, and the blocks of which some part is on the page. */
async function fill(rig: StoreRig): Promise<{ readonly positions: number[]; readonly hit: BlockPlace[] }> {
  const broker = new ModelBroker(rig);
  const session = broker.open("keep/#");
  await broker.settle();
  const positions: number[] = [];
  while (rig.log.sealedSegments.length < 2) {
    positions.push(broker.publish([session], 700));
    await broker.settle();
  }
  const hit = blocksOf(rig.disk, rig.log.segments[0]!.path).filter(({ offset, firstLsn, endLsn }) =>
    offset < TO && offset + endLsn - firstLsn > FROM
  );
  return { positions, hit };
}

function broken(rig: StoreRig, path: string): FaultyDisk {
  const disk = rig.disk.image(new Random(1), "kill");
  disk.breakRange(path, FROM, TO);
  return disk;
}

storeTest("a start passes over a page that the device cannot read, and tells what is lost", {
  ...OPTIONS,
  onCorruption: "quarantine",
}, async (rig) => {
  const { positions, hit } = await fill(rig);
  const { path, firstLsn } = hit[0]!;
  const { endLsn } = hit.at(-1)!;
  const disk = broken(rig, path);
  const found = rig.openOver(disk);
  const owed = [...found.recovered.owed.values()].flat().map(({ position }) => position);
  const whole = positions.filter((position) => position < firstLsn || position >= endLsn);
  assert.deepEqual(owed, whole, "everything else is owed");
  for (const position of whole) assert.match(payloadAt(found.store, position), /^message \d+ x+$/);
  const { losses } = found.opened.report;
  assert.deepEqual(losses.map((loss) => [loss.firstLsn, loss.endLsn]), [[firstLsn, endLsn]]);
  assert(disk.exists(path) || disk.exists(`${path}.quarantine`), "the file stays");
  found.abandon();
});

storeTest("a start refuses a page that the device cannot read, when told to", {
  ...OPTIONS,
  onCorruption: "refuse",
}, async (rig) => {
  const { hit } = await fill(rig);
  const disk = broken(rig, hit[0]!.path);
  assert.throws(() => rig.openOver(disk), (failure) => failure instanceof StorageFailed);
});
