/**
 * Crashes by name: the process dies (`kill`) or the power goes (`power`) at a certain point of the store's life, the store
 * is opened again, and `ModelBroker` says whether what was found is what had been promised. Then the store goes on, and
 * crashes once more.
 */
import assert from "node:assert/strict";
import { SEGMENT_HEADER_BYTES } from "../../src/storage/log/segment.ts";
import { Random } from "../support/random.ts";
import type { CrashKind, FaultyDisk } from "./disk/faulty_disk.ts";
import { ModelBroker } from "./model_broker.ts";
import { type RigOptions, StoreRig, storeTest, WAL } from "./store_rig.ts";
import { jobsDone } from "./virtual_time.ts";

const KINDS = ["kill", "power"] as const;
const SEEDS = [1, 2, 3, 4, 5];
/** Small segments, so that a few messages are several of them. */
const OPTIONS: RigOptions = { segmentBytes: 1_500, compaction: { maxWalBytes: 0, batchSize: 5, workers: 2 } };

/** The LSN below which everything must be found. */
function safeLsnOf(rig: StoreRig, kind: CrashKind): number {
  return kind === "kill" ? rig.log.writtenLsn : rig.safeLsn;
}

/** Sessions, retained topics and deliveries in all states, over several segments, all of it safe. */
async function live(broker: ModelBroker): Promise<number[]> {
  const sessions = [broker.open("a/#", "b"), broker.open("c"), broker.open()];
  await broker.settle();
  for (let round = 0; round < 14; round++) {
    broker.publish(sessions.filter((_, index) => (round + index) % 2 === 0), 100 + round);
    const session = sessions[round % 3]!;
    broker.send(session);
    if (round % 3 === 1) broker.receive(session);
    if (round % 4 === 2) broker.finish(session);
    if (round % 5 === 0) broker.retain(`topic ${round % 2}`, `value ${round}`);
    await broker.settle();
  }
  broker.unsubscribe(sessions[0]!, "b");
  const over = broker.open("gone");
  broker.publish([over, sessions[1]!]);
  broker.end(over);
  await broker.settle();
  return sessions;
}

/** Crashes, checks what is found, works on a little and closes properly, and checks again. */
async function crashAndGoOn(rig: StoreRig, broker: ModelBroker, kind: CrashKind, seed: number): Promise<void> {
  const safeLsn = safeLsnOf(rig, kind);
  const found = await rig.crash(kind, seed);
  broker.check(found, safeLsn);
  broker.resume(found);
  assert.deepEqual(found.opened.report.losses, []);
  const session = broker.open("later");
  broker.publish([session]);
  await broker.settle();
  found.pass();
  broker.checkReads();
  broker.publish([session]);
  await broker.settle();
  await found.advance(found.commitPolicy.syncIntervalMs);
  assert.equal(found.safeLsn, found.log.endLsn);
  const again = await found.crash("power", seed + 1);
  broker.check(again, Infinity);
  const last = await again.restart();
  broker.check(last, Infinity);
  last.abandon();
}

for (const kind of KINDS) {
  for (const seed of SEEDS) {
    const at = (point: string) => `${kind} ${point}, seed ${seed}`;

    storeTest(at("before the turn was written"), OPTIONS, async (rig) => {
      const broker = new ModelBroker(rig);
      const [session] = await live(broker);
      broker.publish([session!]);
      broker.subscribe(session!, "never");
      await crashAndGoOn(rig, broker, kind, seed);
    });

    storeTest(at("after a write, before its sync"), OPTIONS, async (rig) => {
      const broker = new ModelBroker(rig);
      const sessions = await live(broker);
      rig.disk.holdSyncs("all");
      for (let count = 0; count < 12; count++) {
        broker.publish(sessions, 150);
        broker.finish(sessions[count % 3]!);
        broker.commit();
      }
      await crashAndGoOn(rig, broker, kind, seed);
    });

    storeTest(at("after one sync of several"), OPTIONS, async (rig) => {
      const broker = new ModelBroker(rig);
      const sessions = await live(broker);
      rig.disk.holdSyncs("all");
      for (let count = 0; count < 12; count++) {
        broker.publish(sessions, 150);
        broker.commit();
      }
      for (let count = 0; count < seed; count++) {
        if (rig.disk.heldSyncs.length > 0) rig.disk.finishSync();
        await jobsDone();
      }
      await crashAndGoOn(rig, broker, kind, seed);
    });

    storeTest(at("after a sync"), OPTIONS, async (rig) => {
      const broker = new ModelBroker(rig);
      await live(broker);
      assert.equal(rig.safeLsn, rig.log.endLsn);
      await crashAndGoOn(rig, broker, kind, seed);
    });

    storeTest(at("after a failed sync, in the fresh segment"), OPTIONS, async (rig) => {
      const broker = new ModelBroker(rig);
      const sessions = await live(broker);
      rig.disk.failSync(1, "io");
      broker.publish(sessions);
      broker.commit();
      await rig.advance();
      if (seed % 2 === 0) await broker.settle();
      broker.publish(sessions);
      rig.disk.holdSyncs("all");
      broker.commit();
      await crashAndGoOn(rig, broker, kind, seed);
    });

    storeTest(at("while there is no space"), OPTIONS, async (rig) => {
      const broker = new ModelBroker(rig);
      const sessions = await live(broker);
      rig.disk.capacityBytes = rig.disk.usedBytes() + 64 * seed;
      broker.publish(sessions);
      broker.commit();
      assert.equal(rig.store.isFull, true);
      await rig.advance(2_000);
      const safeLsn = safeLsnOf(rig, kind);
      rig.disk.capacityBytes = 2 ** 40;
      const found = await rig.crash(kind, seed);
      broker.check(found, safeLsn);
      found.abandon();
    });

    storeTest(at("after flush"), OPTIONS, async (rig) => {
      const broker = new ModelBroker(rig);
      const sessions = await live(broker);
      broker.publish(sessions);
      await rig.group.flush();
      const found = await rig.crash(kind, seed);
      broker.check(found, Infinity);
      found.abandon();
    });

    for (const syncMode of ["batch", "periodic"] as const) {
      storeTest(at(`in mode ${syncMode}: what is older than the window is there`), {
        ...OPTIONS,
        commit: { syncMode, batchSyncSize: 20, syncIntervalMs: 100 },
      }, async (rig) => {
        const broker = new ModelBroker(rig);
        const sessions = await live(broker);
        await rig.advance(100);
        for (let count = 0; count < 9; count++) {
          broker.publish(sessions);
          broker.commit();
          assert(rig.store.committed >= rig.store.lastPosition);
        }
        await crashAndGoOn(rig, broker, kind, seed);
      });
    }
  }

  Deno.test(`${kind} during compaction, at each of its steps`, async () => {
    let steps = 1;
    for (let cut = 0; cut <= steps; cut++) {
      const rig = await StoreRig.open(OPTIONS);
      try {
        const broker = new ModelBroker(rig);
        await live(broker);
        const pass = rig.compactor.pass(rig.time.nowMs);
        let done = 0;
        while (done < cut && pass.next().done !== true) done++;
        // A pass that was not cut short says how many steps there are.
        if (done === cut) steps = Math.max(steps, cut + 1);
        broker.checkReads();
        await crashAndGoOn(rig, broker, kind, cut + 1);
      } finally {
        rig.close();
      }
    }
    assert(steps > 10, `only ${steps} steps`);
  });

  Deno.test(`${kind} during compaction, at each change of the disk, with appends between steps`, async () => {
    let changes = 0;
    for (let isCut = true; isCut; changes++) {
      const cut = changes + 1;
      const rig = await StoreRig.open(OPTIONS);
      try {
        const broker = new ModelBroker(rig);
        const sessions = await live(broker);
        let seen = 0;
        let image: FaultyDisk | undefined;
        let safeLsn = 0;
        rig.disk.onChange = () => {
          if (++seen !== cut) return;
          image = rig.disk.image(new Random(cut), kind);
          safeLsn = safeLsnOf(rig, kind);
        };
        let found: StoreRig | undefined;
        for (const _ of rig.compactor.pass(rig.time.nowMs)) {
          broker.publish(sessions);
          broker.send(sessions[1]!);
          broker.finish(sessions[0]!);
          await broker.settle();
          // The database as it was after the same step.
          if (image !== undefined) found ??= await rig.openImage(image);
          if (found !== undefined) break;
        }
        isCut = found !== undefined && cut < 60;
        if (found === undefined) continue;
        broker.check(found, safeLsn);
        found.abandon();
      } finally {
        rig.close();
      }
    }
    assert(changes > 20, `only ${changes} changes`);
  });

  Deno.test(`${kind} during the checkpoint of the database at the end`, async () => {
    for (const isBefore of [true, false]) {
      const rig = await StoreRig.open(OPTIONS);
      try {
        const broker = new ModelBroker(rig);
        await live(broker);
        rig.pass();
        if (!isBefore) rig.checkpoint.flush();
        await crashAndGoOn(rig, broker, kind, 1);
      } finally {
        rig.close();
      }
    }
  });

  Deno.test(`${kind} during recovery, at each change of the disk`, async () => {
    let found = 0;
    for (const seed of SEEDS) {
      const rig = await StoreRig.open(OPTIONS);
      try {
        const broker = new ModelBroker(rig);
        const sessions = await live(broker);
        // A pass that is cut where the files of moved segments are removed, and a tail that is torn.
        const pass = rig.compactor.pass(rig.time.nowMs);
        for (let count = 0; count < 4 * seed; count++) pass.next();
        rig.disk.holdSyncs("all");
        broker.publish(sessions, 500);
        broker.commit();
        const safeLsn = rig.safeLsn;
        const crashed = rig.disk.image(new Random(seed), "power");
        tear(crashed, seed);
        const images: FaultyDisk[] = [];
        crashed.onChange = () => images.push(crashed.image(new Random(images.length + 1), kind));
        const first = rig.openOver(crashed);
        await first.opened.makeSafe();
        broker.check(first, safeLsn);
        first.abandon();
        found += images.length;
        for (const image of images) {
          const again = await rig.openImage(image);
          broker.check(again, safeLsn);
          again.abandon();
        }
      } finally {
        rig.close();
      }
    }
    assert(found > 5, `only ${found} changes`);
  });
}

storeTest("killed, found, promised on, and then the power goes: what was found is safe", OPTIONS, async (rig) => {
  const broker = new ModelBroker(rig);
  const sessions = await live(broker);
  rig.disk.holdSyncs("all");
  broker.publish(sessions);
  broker.commit();
  const killed = await rig.crash("kill");
  broker.check(killed, Infinity);
  broker.resume(killed);
  assert(killed.store.committed >= killed.store.lastPosition, "counts as committed from now on");
  for (const seed of SEEDS) {
    const found = await killed.openImage(killed.disk.image(new Random(seed), "power"));
    broker.check(found, Infinity);
    assert.deepEqual(found.opened.report.losses, []);
    found.abandon();
  }
});

storeTest("a broker that is stopped finds everything again, any number of times", OPTIONS, async (rig) => {
  const broker = new ModelBroker(rig);
  const sessions = await live(broker);
  let now = rig;
  for (let round = 0; round < 4; round++) {
    broker.publish(sessions);
    now.pass();
    now = await now.restart();
    broker.check(now, Infinity);
    broker.resume(now);
    assert.equal(now.opened.report.tornBytes, 0);
  }
});

/** Appends a piece of a block to the youngest segment, as a write that was cut off leaves it. */
function tear(disk: FaultyDisk, seed: number): void {
  const name = disk.list(WAL).filter((each) => each.endsWith(".wal")).at(-1)!;
  const file = disk.open(`${WAL}/${name}`, "write");
  const size = file.size();
  if (size >= SEGMENT_HEADER_BYTES) file.write(new TextEncoder().encode("BLOK torn"), 0, 5 + seed % 4, size);
  file.close();
  disk.settle();
}
