/**
 * Who holds sealed segments keeps them, whatever the compactor would do, and knows from where on they are there.
 */
import assert from "node:assert/strict";
import { DeletionGate } from "../../../src/storage/log/deletion_gate.ts";
import { ModelBroker } from "../model_broker.ts";
import { type StoreRig, storeTest, WAL } from "../store_rig.ts";

Deno.test("a gate lets through what ends at or below the lowest hold", () => {
  const gate = new DeletionGate();
  assert.equal(gate.heldLsn, Infinity);
  assert(gate.letThrough(100));
  const high = gate.hold(300);
  const low = gate.hold(200);
  assert.deepEqual([gate.holds, gate.heldLsn], [2, 200]);
  assert(gate.letThrough(200));
  assert(!gate.letThrough(208));
  low.release();
  low.release();
  assert.deepEqual([gate.holds, gate.heldLsn], [1, 300]);
  assert(gate.letThrough(300));
  high.release();
  assert.deepEqual([gate.holds, gate.heldLsn], [0, Infinity]);
});

Deno.test("a hold of what is deleted already begins behind it", () => {
  const gate = new DeletionGate();
  assert(gate.letThrough(100));
  assert.equal(gate.hold(64).fromLsn, 100);
  assert.equal(gate.hold(104).fromLsn, 104);
  assert(!gate.letThrough(104 + 8));
  assert.equal(gate.goneLsn, 100);
});

const SMALL = { segmentBytes: 500, compaction: { maxWalBytes: 0 } };

/** Publishes until there are so many sealed segments. */
async function fill(rig: StoreRig, segments: number): Promise<ModelBroker> {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  while (rig.log.sealedSegments.length < segments) {
    broker.publish([session], 200);
    await broker.settle();
  }
  return broker;
}

/** Everything that is in the files from an LSN on. */
function filesFrom(rig: StoreRig, lsn: number): ReadonlyMap<string, string> {
  const held = rig.log.sealedSegments.filter(({ endLsn }) => endLsn > lsn);
  return new Map(held.map(({ path }) => [path, rig.disk.contents(path).join()]));
}

function assertKept(rig: StoreRig, kept: ReadonlyMap<string, string>): void {
  for (const [path, bytes] of kept) assert.equal(rig.disk.contents(path).join(), bytes, path);
}

storeTest(
  "a segment that is held stays as it is, those before it go, and it goes once it is released",
  SMALL,
  async (rig) => {
    const broker = await fill(rig, 6);
    const before = rig.segmentNames;
    const hold = rig.log.deletionGate.hold(rig.log.sealedSegments[3]!.firstLsn);
    const kept = filesFrom(rig, hold.fromLsn);
    rig.pass(() => assertKept(rig, kept));
    rig.pass(() => assertKept(rig, kept));
    assertKept(rig, kept);
    assert.deepEqual(rig.segmentNames, before.slice(3));
    broker.checkReads();
    hold.release();
    rig.pass();
    assert.equal(rig.blockBytes, 0);
    broker.checkReads();
  },
);

storeTest("two holders: the segments stay until the last one lets go", SMALL, async (rig) => {
  await fill(rig, 4);
  const first = rig.log.deletionGate.hold(0);
  const second = rig.log.deletionGate.hold(0);
  const kept = filesFrom(rig, 0);
  first.release();
  rig.pass();
  assertKept(rig, kept);
  second.release();
  rig.pass();
  assert.equal(rig.blockBytes, 0);
});

storeTest("a hold that comes at any step of a pass keeps what it says it keeps", SMALL, async (rig) => {
  const broker = await fill(rig, 3);
  const session = broker.open();
  await broker.settle();
  for (let at = 0;; at++) {
    while (rig.log.sealedSegments.length < 3) {
      broker.publish([session], 200);
      await broker.settle();
    }
    let steps = 0;
    let kept: ReadonlyMap<string, string> | undefined;
    let release = () => {};
    const total = rig.pass(() => {
      if (steps++ === at) {
        const hold = rig.log.deletionGate.hold(0);
        release = () => hold.release();
        kept = filesFrom(rig, hold.fromLsn);
      }
      if (kept !== undefined) assertKept(rig, kept);
    });
    if (kept === undefined) {
      assert(at > 5 && at >= total, "every step was tried");
      return;
    }
    rig.pass();
    assertKept(rig, kept);
    broker.checkReads();
    release();
    // What was held is removed first, and then what came meanwhile is moved.
    rig.pass();
    assert.deepEqual(rig.log.sealedSegments, [], `held at step ${at} of ${total}`);
    broker.checkReads();
  }
});

storeTest("what is held and moved is removed by the next start", SMALL, async (rig) => {
  const broker = await fill(rig, 3);
  let held = false;
  rig.pass(() => {
    if (held || rig.checkpoint.load().appliedLsn <= rig.log.sealedSegments[0]!.firstLsn) return;
    rig.log.deletionGate.hold(0);
    held = true;
  });
  assert(held && rig.segmentNames.length > 1);
  const found = await rig.crash("kill");
  assert.equal(found.disk.list(WAL).filter((name) => name.endsWith(".wal")).length, 1);
  assert.equal(found.opened.report.losses.length, 0);
  broker.check(found, Infinity);
  found.abandon();
});
