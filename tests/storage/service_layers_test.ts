/**
 * The services of the store as Layers, each built with no more than it needs over a faulty disk: what it hands out, what it
 * fails with, and what its end leaves. The database is a real file, beside which the disk of the test stands.
 */
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Logger from "effect/Logger";
import type * as Scope from "effect/Scope";
import assert from "node:assert/strict";
import { load, type Sources } from "../../src/config/load.ts";
import { ConfigStore } from "../../src/config/reload.ts";
import { Log, type LogWriter } from "../../src/logging/log.ts";
import { Supervisor } from "../../src/logging/supervisor.ts";
import { Metrics } from "../../src/metrics/metrics.ts";
import { Readiness } from "../../src/metrics/readiness.ts";
import { CheckpointService } from "../../src/storage/checkpoint/checkpoint_service.ts";
import { writeClockNote } from "../../src/storage/clock_note.ts";
import { CompactionService } from "../../src/storage/compaction_service.ts";
import type { Disk } from "../../src/storage/disk/disk.ts";
import { DiskService } from "../../src/storage/disk/disk_service.ts";
import { layerMessageStore, layerOverDisk } from "../../src/storage/durable_layer.ts";
import { MessageStore } from "../../src/storage/message_store.ts";
import type { StorageFailed } from "../../src/storage/model/errors.ts";
import { StorageHealthService } from "../../src/storage/storage_health.ts";
import { WriteAheadLogService } from "../../src/storage/write_ahead_log_service.ts";
import { BrokerClock } from "../../src/system/clock.ts";
import { FaultyDisk } from "./disk/faulty_disk.ts";
import { HandleWatch } from "./disk/handle_watch.ts";
import { messageOf, payloadAt } from "./store_rig.ts";

/** What every Layer of the store may ask for, with a disk that can be broken. */
interface World {
  readonly disk: FaultyDisk;
  readonly watch: HandleWatch;
  readonly directory: string;
  readonly lines: string[];
  readonly env: Record<string, string>;
  /** Builds, runs and closes. */
  run<A, E, R extends Given>(program: Effect.Effect<A, E, R | Scope.Scope>): Promise<A>;
}

type Given = BrokerClock | ConfigStore | DiskService | Log | Metrics | Readiness | StorageHealthService | Supervisor;

function worldTest(title: string, test: (world: World) => Promise<void>): void {
  Deno.test(title, async () => {
    const directory = Deno.makeTempDirSync({ prefix: "promptmq-services-" });
    const lines: string[] = [];
    const env: Record<string, string> = {
      PROMPTMQ_STORAGE_DATA_DIR: directory,
      PROMPTMQ_STORAGE_MIN_FREE_SPACE: "0",
    };
    const disk = new FaultyDisk({ seed: 1 });
    const watch = new HandleWatch(disk);
    try {
      await test({ disk, watch, directory, lines, env, run: (program) => runIn(watch, env, lines, program) });
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
}

function runIn<A, E, R extends Given>(
  disk: Disk,
  env: Readonly<Record<string, string>>,
  lines: string[],
  program: Effect.Effect<A, E, R | Scope.Scope>,
): Promise<A> {
  const sources: Sources = { configPath: undefined, searchPaths: [], readEnv: () => env, flags: new Map() };
  const write = (_level: string, message: string) => void lines.push(message);
  const writer: LogWriter = { level: 0, write, limited: (_key, level, message) => write(level, message) };
  const noted = Logger.make(({ message }) => void lines.push(String([message].flat()[0])));
  const given = StorageHealthService.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(
      ConfigStore.layer(Effect.runSync(load(sources)), sources),
      Layer.succeed(DiskService, disk),
      Layer.succeed(Log, writer),
      Logger.layer([noted]),
      Metrics.layer,
      Readiness.layer,
      BrokerClock.layer,
      Supervisor.layer,
    )),
  );
  return Effect.runPromise(Effect.scoped(Effect.provide(program, given)) as Effect.Effect<A, E>);
}

/** Locks, database and log; what needs no more than these. */
const logLayer = Layer.provideMerge(WriteAheadLogService.layer, CheckpointService.layer);

worldTest("DiskService is the file system of the host", async ({ directory }) => {
  const path = `${directory}/file`;
  await Effect.runPromise(Effect.provide(
    Effect.gen(function* () {
      const disk = yield* DiskService;
      disk.open(path, "create").close();
      assert(disk.exists(path));
    }),
    DiskService.layer,
  ));
  assert(Deno.statSync(path).isFile);
});

worldTest("CheckpointService holds locks and database until its scope ends", async ({ disk, directory, run }) => {
  await run(
    Effect.gen(function* () {
      const { checkpoint, dataDirectory, logDirectory } = yield* CheckpointService;
      assert.deepEqual([dataDirectory, logDirectory], [directory, `${directory}/wal`]);
      assert(Deno.statSync(`${directory}/promptmq.db`).isFile);
      assert.equal(checkpoint.load().messages.positions.length, 0);
      const { counters } = yield* Metrics;
      checkpoint.discardFrom(0);
      assert.deepEqual(counters.storage.persistenceOperations.entries(), [["open", "ok", 1], ["load", "ok", 1]]);
      assert.equal(counters.storage.sqliteWriteLatencyMicroseconds.count, 1);
      for (const locked of [dataDirectory, logDirectory]) {
        assert.throws(
          () => disk.lock(`${locked}/promptmq.lock`),
          (failure: StorageFailed) => failure.reason === "locked",
        );
      }
    }).pipe(Effect.provide(CheckpointService.layer)),
  );
  for (const free of [directory, `${directory}/wal`]) disk.lock(`${free}/promptmq.lock`).close();
});

worldTest("CheckpointService makes the names of new directories safe, parents included", async (world) => {
  const { disk, directory, env, run } = world;
  env["PROMPTMQ_STORAGE_WAL_DIR"] = "/other/place/wal";
  await run(Effect.provide(CheckpointService, CheckpointService.layer));
  const found = disk.crash({ below: () => 0 }, "power");
  assert(found.exists(directory));
  assert(found.exists("/other/place/wal"));
});

worldTest(
  "CheckpointService does not open a store whose new directories cannot be made safe",
  async ({ disk, run }) => {
    disk.fail("syncDirectory", 1, "io");
    const failure = await run(Effect.flip(Effect.provide(CheckpointService, CheckpointService.layer)));
    assert.equal((failure as StorageFailed).reason, "io");
  },
);

worldTest("CheckpointService that cannot have both locks lets go of the first", async ({ disk, directory, run }) => {
  disk.makeDirectory(`${directory}/wal`);
  const other = disk.lock(`${directory}/wal/promptmq.lock`);
  const failure = await run(Effect.flip(Effect.provide(CheckpointService, CheckpointService.layer)));
  assert.equal((failure as StorageFailed).reason, "locked");
  disk.lock(`${directory}/promptmq.lock`).close();
  other.close();
});

worldTest("CheckpointService names settings that are weaker than safe", async ({ env, lines, run }) => {
  env["PROMPTMQ_STORAGE_SQLITE_JOURNAL_MODE"] = "OFF";
  await run(Effect.provide(CheckpointService, CheckpointService.layer));
  assert(lines.includes("a setting of SQLite is weaker than safe"));
});

worldTest("WriteAheadLogService writes and syncs at its end what nobody asked for", async ({ watch, lines, run }) => {
  const append = Effect.gen(function* () {
    const { log } = yield* WriteAheadLogService;
    return log.appendPublish(messageOf({ payload: "kept" }), 0, 0, 0);
  });
  const position = await run(Effect.provide(append, logLayer));
  assert.deepEqual(lines, ["storage is recovered"]);
  assert.equal(watch.openCount, 0);
  await run(Effect.provide(
    Effect.gen(function* () {
      const { report, log } = yield* WriteAheadLogService;
      assert.deepEqual([report.messages, report.tornBytes], [1, 0]);
      assert(log.endLsn > position);
    }),
    logLayer,
  ));
});

worldTest(
  "WriteAheadLogService fails to start when what it found cannot be made safe",
  async ({ disk, run, directory }) => {
    await run(Effect.provide(Effect.map(WriteAheadLogService, ({ log }) => log.appendRelease(1, 1)), logLayer));
    disk.failSyncForever("io");
    const failure = await run(Effect.flip(Effect.provide(WriteAheadLogService, logLayer)));
    assert.equal((failure as StorageFailed).reason, "io");
    disk.lock(`${directory}/promptmq.lock`).close();
  },
);

worldTest("WriteAheadLogService ends a segment, and lists and holds what is sealed", async ({ run }) => {
  await run(Effect.provide(
    Effect.gen(function* () {
      const { log, sealed, endSegment, hold } = yield* WriteAheadLogService;
      assert.deepEqual(sealed(), []);
      assert.equal(yield* endSegment, log.endLsn, "nothing to end");
      log.appendPublish(messageOf(), 0, 0, 0);
      assert.deepEqual(sealed(), []);
      const firstEnd = yield* endSegment;
      log.appendPublish(messageOf(), 0, 0, 0);
      const secondEnd = yield* endSegment;
      assert.deepEqual(sealed().map(({ firstLsn, endLsn }) => [firstLsn, endLsn]), [[64, firstEnd], [
        firstEnd,
        secondEnd,
      ]]);
      assert.equal(yield* endSegment, secondEnd, "ended already");
      yield* Effect.scoped(Effect.gen(function* () {
        assert.equal(yield* hold(firstEnd), firstEnd);
        log.removeSegments(secondEnd);
        assert.deepEqual(sealed().map(({ endLsn }) => endLsn), [secondEnd]);
        assert.equal(yield* hold(64), firstEnd, "the first one is gone");
      }));
      log.removeSegments(secondEnd);
      assert.deepEqual(sealed(), []);
    }),
    logLayer,
  ));
});

worldTest("a segment that is not synced yet is not sealed", async ({ disk, run }) => {
  await run(Effect.provide(
    Effect.gen(function* () {
      const { log, group, sealed, endSegment } = yield* WriteAheadLogService;
      disk.holdSyncs();
      log.appendPublish(messageOf(), 0, 0, 0);
      const ended = yield* Deferred.make<number>();
      yield* Effect.forkChild(Deferred.into(endSegment, ended), { startImmediately: true });
      assert.equal(log.sealedSegments.length, 1);
      assert.deepEqual(sealed(), []);
      assert.equal(group.unsyncedBytes, log.endLsn - 64);
      disk.releaseSyncs();
      assert.equal(yield* Deferred.await(ended), log.endLsn);
      assert.equal(sealed().length, 1);
    }),
    logLayer,
  ));
});

worldTest("a log that dies is told to the supervisor and to readiness", async ({ disk, lines, run }) => {
  await run(Effect.provide(
    Effect.gen(function* () {
      const { log, group } = yield* WriteAheadLogService;
      const { awaitDeath } = yield* Supervisor;
      disk.failSyncForever("io");
      log.appendPublish(messageOf(), 0, 0, 0);
      group.askForSync();
      const { fiber, cause } = yield* Effect.flip(awaitDeath);
      assert.equal(fiber, "write-ahead log");
      assert.equal((cause as StorageFailed).reason, "io");
      const readiness = yield* Readiness;
      readiness.set(undefined);
      assert.match(readiness.reason()!, /could not be written/);
    }),
    logLayer,
  ));
  assert(lines.some((line) => line.startsWith("the log could not be written")));
});

worldTest(
  "CompactionService compacts once the broker can say what is owed, and not while it is paused",
  async ({ run }) => {
    const layers = Layer.provideMerge(CompactionService.layer, logLayer);
    await run(Effect.provide(
      Effect.gen(function* () {
        const { compactor, compactNow, paused } = yield* CompactionService;
        const { log, endSegment, sealed } = yield* WriteAheadLogService;
        log.references.release(log.appendPublish(messageOf(), 0, 0, 0));
        yield* endSegment;
        assert.equal(yield* compactNow, "done");
        assert.equal(sealed().length, 1, "nobody can say yet what is owed");
        compactor.owedWalk = { *walkOwed() {} };
        yield* Effect.scoped(Effect.andThen(
          paused,
          Effect.gen(function* () {
            assert.equal(yield* compactNow, "paused");
            assert.equal(sealed().length, 1);
          }),
        ));
        assert.equal(yield* compactNow, "done");
        assert.deepEqual(sealed(), []);
      }),
      layers,
    ));
  },
);

worldTest(
  "CompactionService takes age by broker time, however far that is from the clock of the host",
  async (world) => {
    world.disk.makeDirectory(`${world.directory}/wal`);
    const brokerMs = Date.now() - 100 * 86_400_000;
    await writeClockNote(world.disk, `${world.directory}/wal`, { brokerMs, offsetMs: Date.now() - brokerMs });
    await world.run(Effect.provide(
      Effect.gen(function* () {
        const { compactor, compactNow } = yield* CompactionService;
        const { log, endSegment, sealed } = yield* WriteAheadLogService;
        compactor.owedWalk = { *walkOwed() {} };
        log.appendPublish(messageOf(), 0, 0, 0);
        yield* endSegment;
        assert.equal(yield* compactNow, "done");
        assert.equal(sealed().length, 1, "it was written a moment ago");
      }),
      Layer.provideMerge(CompactionService.layer, logLayer),
    ));
  },
);

worldTest("MessageStore and the four services share one log", async ({ watch, run }) => {
  const layers = layerMessageStore.pipe(
    Layer.provideMerge(CompactionService.layer),
    Layer.provideMerge(logLayer),
  );
  const write = Effect.gen(function* () {
    const store = yield* MessageStore;
    const { log } = yield* WriteAheadLogService;
    store.takeRecovered();
    const position = store.append(messageOf({ payload: "shared" }), 0, 0, 0);
    assert.equal(log.lastPosition, position);
    const committed = yield* Deferred.make<void>();
    store.whenCommitted((reached) => reached >= position && Deferred.doneUnsafe(committed, Effect.void));
    store.commit();
    yield* Deferred.await(committed);
    assert.equal(payloadAt(store, position), "shared");
  });
  await run(Effect.provide(write, layers));
  assert.equal(watch.openCount, 0);
  const report = await run(Effect.provide(Effect.map(WriteAheadLogService, (opened) => opened.report), layerOverDisk));
  assert.equal(report.messages, 1);
});
