/**
 * Passes of the compactor as the service runs them: one at a time, when due or asked for, not while somebody holds `paused`,
 * on a faulty disk and with the clock of tests. The clock of slices stands still unless a test moves it, so a pass is one
 * slice; where it moves with every look, each step is a slice.
 */
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as Scope from "effect/Scope";
import * as TestClock from "effect/testing/TestClock";
import assert from "node:assert/strict";
import type { LevelName, LogWriter } from "../../src/logging/log.ts";
import { type CompactionService, makeCompaction } from "../../src/storage/compaction_service.ts";
import { StorageFailed } from "../../src/storage/model/errors.ts";
import { StorageHealth } from "../../src/storage/storage_health.ts";
import { ModelBroker } from "./model_broker.ts";
import { type StoreRig, storeTest, WAL } from "./store_rig.ts";

const SMALL = { segmentBytes: 500, compaction: { maxWalBytes: 0 } };
const CHECK_INTERVAL_MS = 60_000;
/** More than any slice. */
const SLICE_OVER_MS = 10;
const FAILURE = new StorageFailed({
  operation: "write to",
  path: "/data/promptmq.db",
  reason: "sqlite",
  detail: "no",
});

interface Subject {
  readonly compaction: CompactionService["Service"];
  readonly broker: ModelBroker;
  readonly lines: string[];
  readonly reason: () => string | undefined;
}

/** @param msPerLook How far the clock of slices moves when it is read; 0 makes one slice of a pass. */
async function subjectOf(rig: StoreRig, msPerLook = 0): Promise<Subject> {
  const lines: string[] = [];
  let reason: string | undefined;
  let passedMs = 0;
  const write = (level: LevelName, message: string) => void lines.push(`${level} ${message}`);
  const logger: LogWriter = { level: 0, write, limited: (_key, level, message) => write(level, message) };
  const compaction = makeCompaction({
    ...rig.opened,
    counters: rig.counters,
    health: new StorageHealth(logger, { reason: () => reason, set: (given) => void (reason = given) }),
    checkIntervalMs: () => CHECK_INTERVAL_MS,
    clock: () => rig.time.nowMs + (passedMs += msPerLook),
  });
  const broker = new ModelBroker(rig);
  await publish(broker, broker.open(), 6);
  return { compaction, broker, lines, reason: () => reason };
}

async function publish(broker: ModelBroker, session: number, count: number): Promise<void> {
  for (let sent = 0; sent < count; sent++) {
    broker.publish([session], 200);
    await broker.settle();
  }
}

/** Runs with the clock of tests. */
function run<A, E>(program: Effect.Effect<A, E, Scope.Scope>): Promise<A> {
  return Effect.runPromise(Effect.scoped(Effect.provide(program, TestClock.layer())));
}

/** All bytes of the log's files. */
function bytesOf(rig: StoreRig): string {
  return rig.segmentNames.map((name) => `${name} ${rig.disk.contents(`${WAL}/${name}`)}`).join("\n");
}

storeTest("a pass that fails is told once, and so is the one that works again", SMALL, async (rig) => {
  const { compaction, broker, lines, reason } = await subjectOf(rig);
  for (let count = 0; count < 2; count++) {
    rig.failCheckpoint("apply", 1, FAILURE);
    await run(compaction.passWhenDue);
  }
  assert.equal(lines.length, 1);
  assert.deepEqual(rig.counters.persistenceOperations.entries(), [["compact", "error", 2]]);
  assert.match(reason()!, /cannot be compacted/);
  await run(compaction.passWhenDue);
  assert.equal(lines.length, 2);
  assert.equal(reason(), undefined);
  assert.equal(rig.blockBytes, 0);
  broker.checkReads();
});

storeTest("compactNow does a pass that is not due, and says how it ended", {
  ...SMALL,
  compaction: { maxWalBytes: Infinity, maxMessageAgeMs: 1_000 },
}, async (rig) => {
  const { compaction, broker } = await subjectOf(rig);
  await rig.advance(2_000);
  await run(compaction.passWhenDue);
  assert.equal(rig.counters.compactionRuns, 0, "not due");
  assert.equal(await run(compaction.compactNow), "done");
  assert.equal(rig.blockBytes, 0);
  broker.checkReads();
});

storeTest("compactNow fails with what the pass failed with, and tells the operator", SMALL, async (rig) => {
  const { compaction, reason } = await subjectOf(rig);
  rig.failCheckpoint("apply", 1, FAILURE);
  assert.equal(await run(Effect.flip(compaction.compactNow)), FAILURE);
  assert.match(reason()!, /cannot be compacted/);
  assert.deepEqual(rig.counters.persistenceOperations.entries(), [["compact", "error", 1]]);
});

storeTest("while paused no pass runs, and afterwards it does", SMALL, async (rig) => {
  const { compaction, broker } = await subjectOf(rig);
  const before = bytesOf(rig);
  await run(Effect.gen(function* () {
    yield* Effect.scoped(Effect.gen(function* () {
      yield* compaction.paused;
      assert.equal(rig.log.deletionGate.holds, 1);
      yield* compaction.passWhenDue;
      assert.equal(yield* compaction.compactNow, "paused");
      assert.equal(bytesOf(rig), before);
      assert.equal(rig.counters.compactionRuns, 0);
    }));
    assert.equal(rig.log.deletionGate.holds, 0);
    yield* compaction.passWhenDue;
    assert.equal(rig.blockBytes, 0);
  }));
  broker.checkReads();
});

storeTest("with two holders the last one to leave lets compaction go on", SMALL, async (rig) => {
  const { compaction } = await subjectOf(rig);
  await run(Effect.gen(function* () {
    const first = yield* Scope.make();
    const second = yield* Scope.make();
    yield* Scope.provide(compaction.paused, first);
    yield* Scope.provide(compaction.paused, second);
    yield* Scope.close(first, Exit.void);
    assert.equal(yield* compaction.compactNow, "paused");
    yield* Scope.close(second, Exit.void);
    assert.equal(yield* compaction.compactNow, "done");
  }));
  assert.equal(rig.blockBytes, 0);
});

storeTest("a pass under way is given up before paused holds, at any step, and nothing is lost", SMALL, async (rig) => {
  const { compaction, broker } = await subjectOf(rig, SLICE_OVER_MS);
  const session = broker.open();
  await broker.settle();
  let stopped = 0;
  for (let slices = 0, isOver = false; !isOver; slices++) {
    await publish(broker, session, 4);
    await run(Effect.gen(function* () {
      const pass = yield* Effect.forkChild(compaction.compactNow, { startImmediately: true });
      for (let slice = 0; slice < slices; slice++) yield* TestClock.adjust("1 millis");
      if (pass.pollUnsafe() !== undefined) {
        isOver = true;
        return;
      }
      const pausing = yield* Effect.forkChild(Effect.scoped(Effect.gen(function* () {
        yield* compaction.paused;
        assert.equal(yield* Fiber.join(pass), "paused");
        const before = bytesOf(rig);
        assert.equal(yield* compaction.compactNow, "paused");
        assert.equal(bytesOf(rig), before);
        broker.checkReads();
        stopped++;
      })));
      yield* TestClock.adjust("1 millis");
      yield* Fiber.join(pausing);
    }));
    rig.pass();
    assert.deepEqual(rig.log.sealedSegments, []);
    broker.checkReads();
  }
  assert(stopped > 5, `${stopped} passes were given up`);
});

storeTest("a stop in the middle of a pass leaves what the next start goes on from", SMALL, async (rig) => {
  const { compaction, broker } = await subjectOf(rig, SLICE_OVER_MS);
  await run(Effect.gen(function* () {
    const pass = yield* Effect.forkChild(compaction.compactNow, { startImmediately: true });
    yield* TestClock.adjust("3 millis");
    assert.equal(pass.pollUnsafe(), undefined, "still under way");
    yield* Fiber.interrupt(pass);
    // Nobody is left in the way of the next.
    const next = yield* Effect.forkChild(compaction.compactNow, { startImmediately: true });
    yield* TestClock.adjust("1 seconds");
    assert.equal(yield* Fiber.join(next), "done");
  }));
  const found = await rig.crash("kill");
  broker.check(found, Infinity);
  found.abandon();
});

storeTest("a stop in the middle of a paused scope lets go", SMALL, async (rig) => {
  const { compaction } = await subjectOf(rig);
  await run(Effect.gen(function* () {
    const holder = yield* Effect.forkChild(
      Effect.scoped(Effect.andThen(compaction.paused, Effect.never)),
      { startImmediately: true },
    );
    assert.equal(yield* compaction.compactNow, "paused");
    yield* Fiber.interrupt(holder);
    assert.equal(yield* compaction.compactNow, "done");
  }));
});

storeTest(
  "a device that fails while paused: what was sealed stays, and the log goes on beside it",
  SMALL,
  async (rig) => {
    const { compaction, broker } = await subjectOf(rig);
    const session = broker.open();
    await broker.settle();
    await run(Effect.gen(function* () {
      yield* compaction.paused;
      const sealed = rig.log.sealedSegments.filter(({ endLsn }) => endLsn <= rig.log.safeLsn);
      const before = sealed.map(({ path }) => rig.disk.contents(path).join());
      assert(sealed.length > 1);
      rig.disk.fail("sync", 1, "io");
      yield* Effect.promise(() => publish(broker, session, 3));
      assert.deepEqual(rig.failures, ["poisoned io", "recovered"]);
      assert.deepEqual(sealed.map(({ path }) => rig.disk.contents(path).join()), before);
      broker.checkReads();
    }));
    await run(compaction.compactNow);
    broker.checkReads();
    const found = await rig.crash("power");
    broker.check(found, Infinity);
    found.abandon();
  },
);
