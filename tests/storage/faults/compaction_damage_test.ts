/**
 * Goal: the compactor never destroys what it cannot read. Damage in a sealed segment costs at most the damaged block: it is
 * healed from memory, or the file stays, the rest goes on being delivered, and the next start tells the loss exactly.
 *
 * Method: a model broker fills a few segments, a byte of one block is inverted on the device, the compactor does a pass
 * that would move the segment to SQLite, then the process is killed and the store opened again.
 */
import assert from "node:assert/strict";
import { StorageFailed } from "../../../src/storage/model/errors.ts";
import { ModelBroker } from "../model_broker.ts";
import { payloadAt, type RigOptions, type StoreRig, storeTest, WAL } from "../store_rig.ts";
import { blockAt, type BlockPlace, blocksOf, flipIn } from "./blocks.ts";

const OPTIONS: RigOptions = { segmentBytes: 2_000, compaction: { maxWalBytes: 0 }, onCorruption: "quarantine" };

/** A Session that is owed messages in two segments, each message in a block of its own. */
async function fill(rig: StoreRig, broker: ModelBroker): Promise<Map<number, string>> {
  const session = broker.open("keep/#");
  await broker.settle();
  const payloads = new Map<number, string>();
  while (rig.log.sealedSegments.length < 2) {
    const position = broker.publish([session], 200);
    await broker.settle();
    payloads.set(position, payloadAt(rig.store, position));
  }
  return payloads;
}

/** A pass that meets damage may end early; it has to say so as a failure of the store then. */
function passOver(rig: StoreRig): void {
  try {
    rig.pass();
  } catch (failure) {
    if (!(failure instanceof StorageFailed)) throw failure;
  }
}

/** The segment with the damage, or its copy, is still there. */
function assertKept(rig: StoreRig, { path }: BlockPlace): void {
  const kept = rig.disk.list(WAL).map((name) => `${WAL}/${name}`);
  assert(kept.includes(path) || kept.includes(`${path}.quarantine`), `nothing is left of ${path}: ${kept.join()}`);
}

/** What of the payloads can be read; whatever is read is right. */
function readable(rig: StoreRig, payloads: ReadonlyMap<number, string>): number[] {
  const found: number[] = [];
  for (const [position, payload] of payloads) {
    let text: string;
    try {
      text = payloadAt(rig.store, position);
    } catch (failure) {
      if (!(failure instanceof StorageFailed)) throw failure;
      continue;
    }
    assert.equal(text, payload, `position ${position}`);
    found.push(position);
  }
  return found;
}

/** After a start: everything but what stands in the damaged block is owed and readable, and that block is told as lost. */
function assertLossIsExact(found: StoreRig, payloads: ReadonlyMap<number, string>, damaged: BlockPlace): void {
  const owed = [...found.recovered.owed.values()].flat().map(({ position }) => position);
  const { firstLsn, endLsn } = damaged;
  const elsewhere = [...payloads.keys()].filter((position) => position < firstLsn || position >= endLsn);
  assert.deepEqual(owed.filter((position) => elsewhere.includes(position)), elsewhere, "all other messages are owed");
  assert.deepEqual(readable(found, payloads).filter((position) => elsewhere.includes(position)), elsewhere);
  const losses = found.opened.report.losses.map((loss) => [loss.firstLsn, loss.endLsn]);
  const isHealed = owed.length === payloads.size;
  assert.deepEqual(losses, isHealed ? [] : [[firstLsn, endLsn]], "the loss, exactly");
}

storeTest("compaction of a damaged segment loses nothing that is still in memory", OPTIONS, async (rig) => {
  const broker = new ModelBroker(rig);
  const payloads = await fill(rig, broker);
  const damaged = blockAt(rig.disk, [...payloads.keys()][2]!);
  flipIn(rig.disk, damaged);
  passOver(rig);
  broker.checkReads();
  const found = await rig.crash("kill");
  assertLossIsExact(found, payloads, damaged);
  found.abandon();
});

storeTest(
  "compaction keeps a segment that it cannot read, and the loss is told at the next start",
  OPTIONS,
  async (rig) => {
    const broker = new ModelBroker(rig);
    const payloads = await fill(rig, broker);
    // The messages are not in memory any more.
    const restarted = await rig.restart();
    broker.resume(restarted);
    const damaged = blockAt(restarted.disk, [...payloads.keys()][2]!);
    flipIn(restarted.disk, damaged);
    passOver(restarted);
    assertKept(restarted, damaged);
    const elsewhere = [...payloads.keys()].filter((each) => each < damaged.firstLsn || each >= damaged.endLsn);
    assert.deepEqual(readable(restarted, payloads), elsewhere, "the others are delivered meanwhile");
    const found = await restarted.crash("kill");
    assertLossIsExact(found, payloads, damaged);
    assertKept(found, damaged);
    found.abandon();
  },
);

storeTest("compaction does not end a Session whose record it cannot read", OPTIONS, async (rig) => {
  const broker = new ModelBroker(rig);
  await fill(rig, broker);
  const restarted = await rig.restart();
  broker.resume(restarted);
  // The first block of the log opens the Session.
  const damaged = blocksOf(restarted.disk, restarted.log.segments[0]!.path)[0]!;
  flipIn(restarted.disk, damaged);
  passOver(restarted);
  assertKept(restarted, damaged);
  const found = await restarted.crash("kill");
  const { losses, shortfall } = found.opened.report;
  assert.deepEqual(losses.map((loss) => [loss.firstLsn, loss.endLsn]), [[damaged.firstLsn, damaged.endLsn]]);
  assert.equal(shortfall.sessions, 1, "that a Session is missing is told");
  found.abandon();
});

storeTest(
  "compaction of a segment whose file was cut keeps what is left, and the loss is told",
  OPTIONS,
  async (rig) => {
    const broker = new ModelBroker(rig);
    const payloads = await fill(rig, broker);
    const restarted = await rig.restart();
    broker.resume(restarted);
    const last = blocksOf(restarted.disk, restarted.log.segments[0]!.path).at(-1)!;
    restarted.disk.shrink(last.path, last.offset);
    passOver(restarted);
    assertKept(restarted, last);
    const found = await restarted.crash("kill");
    assertLossIsExact(found, payloads, last);
    found.abandon();
  },
);
