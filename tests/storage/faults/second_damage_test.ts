/**
 * Goal: damage that comes to a segment after an earlier start has reported other damage of it is news: it is told as such,
 * and a copy is kept.
 *
 * Method: two starts over one log, with one more block inverted before each.
 */
import assert from "node:assert/strict";
import type { FaultyDisk } from "../disk/faulty_disk.ts";
import { ModelBroker } from "../model_broker.ts";
import { type StoreRig, storeTest, WAL } from "../store_rig.ts";
import { blockAt, flipIn } from "./blocks.ts";

function copies(disk: FaultyDisk): string[] {
  return disk.list(WAL).filter((name) => name.includes(".quarantine"));
}

function lossesOf(rig: StoreRig): (readonly [firstLsn: number, endLsn: number, isKnown: boolean])[] {
  return rig.opened.report.losses.map(({ firstLsn, endLsn, isKnown }) => [firstLsn, endLsn, isKnown] as const);
}

storeTest("a second damage of a segment is told as new, and copied", { onCorruption: "quarantine" }, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open("keep/#");
  await broker.settle();
  const positions: number[] = [];
  for (let count = 0; count < 8; count++) {
    positions.push(broker.publish([session], 200));
    await broker.settle();
  }
  const first = blockAt(rig.disk, positions[2]!);
  const second = blockAt(rig.disk, positions[5]!);
  flipIn(rig.disk, first);
  const once = await rig.restart();
  assert.deepEqual(lossesOf(once), [[first.firstLsn, first.endLsn, false]]);
  assert.equal(copies(once.disk).length, 1);
  flipIn(once.disk, second);
  const twice = await once.restart();
  assert.deepEqual(lossesOf(twice), [
    [first.firstLsn, first.endLsn, true],
    [second.firstLsn, second.endLsn, false],
  ]);
  assert.equal(copies(twice.disk).length, 2, "one copy for each");
  const again = await twice.restart();
  assert.deepEqual(lossesOf(again).map(([, , isKnown]) => isKnown), [true, true], "now both are known");
  assert.equal(copies(again.disk).length, 2);
  again.abandon();
});
