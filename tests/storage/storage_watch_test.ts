/**
 * The look at the store once a second: free space, gauges, and the compactor when it is due, with the clock of tests.
 */
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import * as TestClock from "effect/testing/TestClock";
import assert from "node:assert/strict";
import { load } from "../../src/config/load.ts";
import type { Config } from "../../src/config/options/schema.ts";
import type { LevelName, LogWriter } from "../../src/logging/log.ts";
import { makeCompaction } from "../../src/storage/compaction_service.ts";
import { StorageHealth } from "../../src/storage/storage_health.ts";
import { checkSpace, type WatchedStore, watchStore } from "../../src/storage/storage_watch.ts";
import { ModelBroker } from "./model_broker.ts";
import { type StoreRig, storeTest, WAL } from "./store_rig.ts";

const MIB = 1_048_576;
const DEFAULTS: Config = Effect.runSync(load({
  configPath: undefined,
  searchPaths: [],
  readEnv: () => ({}),
  flags: new Map(),
})).config;

interface Watching {
  readonly watched: WatchedStore;
  readonly lines: string[];
  readonly reason: () => string | undefined;
}

function watching(rig: StoreRig, storage: { readonly minFreeSpaceBytes?: number } = {}): Watching {
  const lines: string[] = [];
  let reason: string | undefined;
  const write = (level: LevelName, message: string) => void lines.push(`${level} ${message}`);
  const logger: LogWriter = { level: 0, write, limited: (_key, level, message) => write(level, message) };
  const readiness = { reason: () => reason, set: (given: string | undefined) => void (reason = given) };
  const config: Config = { ...DEFAULTS, storage: { ...DEFAULTS.storage, minFreeSpaceBytes: 0, ...storage } };
  const health = new StorageHealth(logger, readiness);
  const watched: WatchedStore = {
    ...rig.opened,
    disk: rig.disk,
    directories: [WAL, "/data"],
    checkpoint: rig.checkpoint,
    compaction: makeCompaction({
      ...rig.opened,
      counters: rig.counters,
      health,
      checkIntervalMs: () => config.storage.compaction.checkIntervalMs,
      clock: rig.time.clock,
    }),
    counters: rig.counters,
    health,
    config: () => config,
  };
  return { watched, lines, reason: () => reason };
}

storeTest("too little free space refuses messages until it is back", {}, (rig) => {
  const { watched, lines, reason } = watching(rig, { minFreeSpaceBytes: 10 * MIB });
  checkSpace(watched);
  assert.equal(rig.store.isFull, false);
  assert.deepEqual(lines, []);
  rig.disk.capacityBytes = 10 * MIB - 1;
  checkSpace(watched);
  checkSpace(watched);
  assert.equal(rig.store.isFull, true);
  assert.equal(lines.length, 1);
  assert.match(reason()!, /^storage: too little free space/);
  rig.disk.capacityBytes = 10 * MIB;
  checkSpace(watched);
  assert.equal(rig.store.isFull, false);
  assert.equal(lines.length, 2);
  assert.equal(reason(), undefined);
});

storeTest("a file system that cannot say how much is free refuses nothing", {}, (rig) => {
  const { watched } = watching(rig, { minFreeSpaceBytes: 10 * MIB });
  rig.disk.fail("freeBytes", 1, "io");
  checkSpace(watched);
  assert.equal(rig.store.isFull, false);
});

storeTest("looks once a second: gauges follow, and what is too large is compacted", {
  segmentBytes: 500,
  compaction: { maxWalBytes: 2_000 },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  for (let count = 0; count < 10; count++) {
    broker.publish([session], 200);
    await broker.settle();
  }
  const { watched } = watching(rig);
  const before = rig.log.fileBytes;
  const program = Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(watchStore(watched));
    yield* TestClock.adjust("999 millis");
    assert.equal(rig.counters.walBytes, 0);
    yield* TestClock.adjust("1 millis");
    assert.equal(rig.counters.walBytes, before);
    assert.equal(rig.counters.walBufferBytes, rig.store.bytesHeld);
    assert.equal(rig.counters.compactionRuns, 1);
    yield* TestClock.adjust("1 seconds");
    assert.equal(rig.counters.walBytes, rig.log.fileBytes);
    assert(rig.counters.walBytes < before);
    assert.equal(rig.counters.walSegments, rig.log.segments.length);
    assert(rig.counters.storageUsageBytes > rig.counters.walBytes);
    yield* Fiber.interrupt(fiber);
  });
  await Effect.runPromise(Effect.scoped(Effect.provide(program, TestClock.layer())));
  broker.checkReads();
});
