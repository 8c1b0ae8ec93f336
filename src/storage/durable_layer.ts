/**
 * The durable store as a Layer: opens the data directory, recovers, and keeps log, SQLite and compactor going.
 *
 * Opening: lock, SQLite, recovery, log. Closing backwards: everything appended is written and synced, SQLite is checkpointed,
 * files and lock are closed. In between two supervised fibers work: one hears of the log's death, one looks after
 * free space, gauges and compaction.
 */
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import type { Config } from "../config/options/schema.ts";
import { ConfigStore } from "../config/reload.ts";
import { Log as Logger, type LogWriter } from "../logging/log.ts";
import { Supervisor } from "../logging/supervisor.ts";
import { Metrics } from "../metrics/metrics.ts";
import { Readiness } from "../metrics/readiness.ts";
import { monotonicMs } from "../system/clock.ts";
import { Checkpoint } from "./checkpoint/checkpoint.ts";
import { takeUpClock } from "./clock_note.ts";
import type { CompactionPolicy } from "./compaction/compactor.ts";
import type { Disk } from "./disk/disk.ts";
import { openNodeDisk } from "./disk/node_disk.ts";
import { asMessageStore } from "./durable_store.ts";
import type { CommitPolicy } from "./log/group_commit.ts";
import { MessageStore } from "./message_store.ts";
import { attemptStorage, type StorageFailed } from "./model/errors.ts";
import { type OpenedStore, openStore } from "./open_store.ts";
import type { RecoveryReport } from "./recovery/recovery.ts";
import { StorageHealth } from "./storage_health.ts";
import { checkSpace, type WatchedStore, watchStore } from "./storage_watch.ts";

/** Provides the durable `MessageStore`. Fails with StorageFailed when the data cannot be used as it is. */
export const layerDurable = Layer.effect(MessageStore, Effect.suspend(() => openLayer(openNodeDisk())));

const openLayer = Effect.fnUntraced(function* (disk: Disk) {
  const configStore = yield* ConfigStore;
  const { counters } = yield* Metrics;
  const logger = yield* Logger;
  const health = new StorageHealth(logger, yield* Readiness);
  const config = configStore.current();
  const directory = config.storage.walDir ?? `${config.storage.dataDir}/wal`;
  const checkpoint = yield* openDirectories(disk, config, directory);
  const death = yield* Deferred.make<never, StorageFailed>();
  const policies = { commitPolicy: commitPolicy(config), compactionPolicy: compactionPolicy(config) };
  const startedMs = monotonicMs();
  const { clock, foundTime, keepNote } = yield* takeUpClock(disk, directory);
  const opened = yield* attemptStorage(() =>
    openStore({
      disk,
      directory,
      checkpoint,
      validation: config.storage.wal.crashRecoveryValidation ? "records" : "checksum",
      onCorruption: config.storage.wal.onCorruption,
      memoryBytesMax: config.storage.memoryBufferBytes,
      segmentBytes: config.storage.wal.segmentBytes,
      ...policies,
      counters: counters.storage,
      clock: clock.nowMs,
      foundTime,
      later,
      failures: {
        slowSync: (milliseconds) => health.slowSync(milliseconds),
        outOfSpace: (cause) => health.outOfSpace(cause),
        recovered: () => health.recovered(),
        poisoned: (cause) => health.poisoned(cause),
        fatal: (cause) => Deferred.doneUnsafe(death, Effect.fail(cause)),
      },
    })
  );
  yield* Effect.tryPromise({ try: () => opened.makeSafe(), catch: (cause) => cause as StorageFailed });
  yield* logRecovery(opened.report, monotonicMs() - startedMs);
  yield* keepNote;
  const { store, log, group } = opened;
  yield* Effect.addFinalizer(() =>
    Effect.promise(() => group.flush()).pipe(Effect.andThen(Effect.sync(() => log.close())))
  );
  store.record = config.storage.wal.record;
  counters.storage.readLossWindowSeconds = () => group.lossWindowSeconds;
  yield* followConfig(configStore, opened, policies, logger);
  yield* Supervisor.fork("write-ahead log", Deferred.await(death));
  const watched: WatchedStore = {
    ...opened,
    disk,
    directories: [directory, config.storage.dataDir],
    checkpoint,
    counters: counters.storage,
    health,
    config: () => configStore.current(),
    clock: clock.nowMs,
  };
  yield* attemptStorage(() => disk.freeBytes(directory)).pipe(
    Effect.catchTag(
      "StorageFailed",
      ({ message }) =>
        Effect.logWarning("free space cannot be measured: storage.min-free-space has no effect", { error: message }),
    ),
  );
  checkSpace(watched);
  store.checkSpace = () => checkSpace(watched);
  yield* Supervisor.fork("storage watch", watchStore(watched));
  return asMessageStore(store);
});

/** Locks the directories and opens the database in them. */
const openDirectories = Effect.fnUntraced(function* (disk: Disk, { storage }: Config, directory: string) {
  yield* attemptStorage(() => {
    disk.makeDirectory(storage.dataDir);
    disk.makeDirectory(directory);
  });
  // Both: two brokers may have been given one of them in common.
  for (const locked of [storage.dataDir, directory]) {
    yield* Effect.acquireRelease(
      attemptStorage(() => disk.lock(`${locked}/promptmq.lock`)),
      (lock) => Effect.sync(() => lock.close()),
    );
  }
  const path = `${storage.dataDir}/promptmq.db`;
  // With the rights of the other files: SQLite would let everybody read it.
  yield* attemptStorage(() => disk.exists(path) || disk.open(path, "create").close());
  const checkpoint = yield* Effect.acquireRelease(
    attemptStorage(() => Checkpoint.open(path, storage.sqlite)),
    closeDatabase,
  );
  for (const weakness of checkpoint.weaknesses) {
    yield* Effect.logWarning("a setting of SQLite is weaker than safe", { weakness });
  }
  return checkpoint;
});

/** What cannot be moved from the WAL of SQLite now is moved by the next start: the stop is as orderly as without it. */
function closeDatabase(checkpoint: Checkpoint): Effect.Effect<void> {
  return attemptStorage(() => checkpoint.close()).pipe(
    Effect.catchTag(
      "StorageFailed",
      ({ message }) => Effect.logWarning("the database was closed as after a crash", { error: message }),
    ),
  );
}

/** Applies the `live` options, now and with every reload. */
const followConfig = Effect.fnUntraced(function* (
  configStore: ConfigStore["Service"],
  { store, log, group, volatile }: OpenedStore,
  policies: { readonly commitPolicy: CommitPolicy; readonly compactionPolicy: CompactionPolicy },
  logger: LogWriter,
) {
  warnOfPolicy(logger, policies.commitPolicy);
  yield* configStore.subscribe((config) => {
    const { memoryBufferBytes, wal } = config.storage;
    Object.assign(policies.commitPolicy, commitPolicy(config));
    Object.assign(policies.compactionPolicy, compactionPolicy(config));
    log.segmentBytes = wal.segmentBytes;
    log.memory.bytesMax = volatile.bytesMax = memoryBufferBytes;
    store.record = wal.record;
    group.policyChanged();
    warnOfPolicy(logger, policies.commitPolicy);
  });
});

function later(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
}

function commitPolicy({ storage: { wal } }: Config): CommitPolicy {
  const { syncMode, syncIntervalMs, batchSyncSize, forceFsync, noSync } = wal;
  return { syncMode, syncIntervalMs, batchSyncSize, forceFsync, noSync };
}

function compactionPolicy({ storage: { compaction } }: Config): CompactionPolicy {
  const { maxMessageAgeMs, maxWalBytes, concurrentWorkers, batchSize } = compaction;
  return { maxMessageAgeMs, maxWalBytes, workers: concurrentWorkers, batchSize };
}

function warnOfPolicy(logger: LogWriter, { noSync, forceFsync }: CommitPolicy): void {
  if (!noSync || forceFsync) return;
  logger.write(
    "warn",
    "the log is never synced (storage.wal-no-sync): a power cut loses what the system has not written",
  );
}

/** One line for a start, and one for each loss. */
const logRecovery = Effect.fnUntraced(function* (report: RecoveryReport, milliseconds: number) {
  const { losses, ...counts } = report;
  for (const { isKnown, ...loss } of losses) {
    if (isKnown) yield* Effect.logInfo("a part of the log is known to be lost", loss);
    else yield* Effect.logError("a part of the log is lost", loss);
  }
  if (report.tornBytes > 0) {
    yield* Effect.logWarning("the end of the log was torn and cut; nothing in it was synced", {
      bytes: report.tornBytes,
    });
  }
  yield* Effect.logInfo("storage is recovered", { ...counts, seconds: Math.round(milliseconds) / 1000 });
});
