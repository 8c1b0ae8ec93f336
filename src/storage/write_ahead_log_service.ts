/**
 * The log as a service: recovered, opened, and committed to in groups. Building it takes what a start takes; the end of its
 * scope writes and syncs everything appended and closes the files.
 *
 * Besides the plain parts for the store it gives readers of whole segments (a backup, an archive, a replica) what they need
 * to find and keep them.
 */
import * as Context from "effect/Context";
import * as Deferred from "effect/Deferred";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import type * as Scope from "effect/Scope";
import type { Config } from "../config/options/schema.ts";
import { ConfigStore } from "../config/reload.ts";
import { Log as Logger, type LogWriter } from "../logging/log.ts";
import { Supervisor } from "../logging/supervisor.ts";
import { Metrics } from "../metrics/metrics.ts";
import { monotonicMs } from "../system/clock.ts";
import { CheckpointService } from "./checkpoint/checkpoint_service.ts";
import { takeUpClock } from "./clock_note.ts";
import { DiskService } from "./disk/disk_service.ts";
import type { CommitPolicy } from "./log/group_commit.ts";
import { attemptStorage, attemptStorageAsync, type StorageFailed } from "./model/errors.ts";
import { type OpenedLog, openLog } from "./open_store.ts";
import type { RecoveryReport } from "./recovery/recovery.ts";
import { type StorageHealth, StorageHealthService } from "./storage_health.ts";

/** A segment that is complete: nothing is written to it any more, and all of it is synced. */
export interface SealedSegment {
  readonly path: string;
  readonly firstLsn: number;
  /** LSN behind its last byte. */
  readonly endLsn: number;
}

/** The log after recovery. */
export class WriteAheadLogService extends Context.Service<WriteAheadLogService, OpenedLog & SegmentAccess>()(
  "promptmq/storage/WriteAheadLogService",
) {
  /** Recovers and opens the log. Fails with StorageFailed when what is there cannot be used as it is. */
  static readonly layer = Layer.effect(WriteAheadLogService, Effect.suspend(() => open()));
}

/** What readers of whole segments hold on to. */
export interface SegmentAccess {
  /** The segments that are complete, oldest first. One that is not held may be deleted as soon as this returns. */
  readonly sealed: () => readonly SealedSegment[];
  /**
   * Completes the segment that is written to: waits until everything appended before is in `sealed`, or was deleted. A disk
   * that is full is waited for.
   *
   * @returns The LSN up to which that is so.
   */
  readonly endSegment: Effect.Effect<number>;
  /**
   * Keeps segments that end above an LSN from being moved to SQLite and deleted, while the scope lasts.
   *
   * @returns Where what is kept begins: higher than asked for when that is deleted already.
   */
  readonly hold: (fromLsn: number) => Effect.Effect<number, never, Scope.Scope>;
}

const open = Effect.fnUntraced(function* () {
  const disk = yield* DiskService;
  const { checkpoint, logDirectory: directory } = yield* CheckpointService;
  const configStore = yield* ConfigStore;
  const { counters: { storage: counters } } = yield* Metrics;
  const logger = yield* Logger;
  const health = yield* StorageHealthService;
  const config = configStore.current();
  const { wal } = config.storage;
  const death = yield* Deferred.make<never, StorageFailed>();
  const policy = commitPolicy(config);
  const startedMs = monotonicMs();
  const { clock, foundTime, keepNote } = yield* takeUpClock(disk, directory);
  const opened = yield* attemptStorage(() =>
    openLog({
      disk,
      directory,
      checkpoint,
      validation: wal.crashRecoveryValidation ? "records" : "checksum",
      onCorruption: wal.onCorruption,
      memoryBytesMax: config.storage.memoryBufferBytes,
      segmentBytes: wal.segmentBytes,
      commitPolicy: policy,
      counters,
      clock: clock.nowMs,
      foundTime,
      later,
      failures: failuresTo(health, (cause) => Deferred.doneUnsafe(death, Effect.fail(cause))),
    })
  );
  yield* attemptStorageAsync(opened.makeSafe);
  yield* logRecovery(opened.report, monotonicMs() - startedMs);
  yield* keepNote;
  const { log, group } = opened;
  yield* Effect.addFinalizer(() =>
    Effect.promise(() => group.flush()).pipe(Effect.andThen(Effect.sync(() => log.close())))
  );
  counters.readLossWindowSeconds = () => group.lossWindowSeconds;
  yield* followConfig(configStore, opened, policy, logger);
  yield* Supervisor.fork("write-ahead log", Deferred.await(death));
  return { ...opened, ...segmentAccess(opened) };
});

/** What readers of whole segments get of an open log. */
export function segmentAccess({ log, group }: Pick<OpenedLog, "log" | "group">): SegmentAccess {
  const isSealed = (lsn: number) => {
    const last = log.segments.at(-1);
    return last === undefined || last.firstLsn >= lsn || last === log.sealedSegments.at(-1);
  };
  return {
    sealed: () =>
      log.sealedSegments
        .filter(({ firstLsn, endLsn }) => firstLsn >= log.deletionGate.goneLsn && endLsn <= log.safeLsn)
        .map(({ path, firstLsn, endLsn }) => ({ path, firstLsn, endLsn })),
    endSegment: Effect.gen(function* () {
      const { endLsn } = log;
      while (true) {
        if (log.safeLsn < endLsn) group.askForSync();
        if (!isSealed(endLsn)) log.endSegment();
        if (log.safeLsn >= endLsn && isSealed(endLsn)) return endLsn;
        yield* Effect.sleep(Duration.millis(SEAL_LOOK_MS));
      }
    }),
    hold: (fromLsn) =>
      Effect.acquireRelease(
        Effect.sync(() => log.deletionGate.hold(fromLsn)),
        (hold) => Effect.sync(() => hold.release()),
      ).pipe(Effect.map((hold) => hold.fromLsn)),
  };
}

/** Applies the `live` options, now and with every reload. */
const followConfig = Effect.fnUntraced(function* (
  configStore: ConfigStore["Service"],
  { log, group }: OpenedLog,
  policy: CommitPolicy,
  logger: LogWriter,
) {
  warnOfPolicy(logger, policy);
  yield* configStore.subscribe((config) => {
    const { memoryBufferBytes, wal } = config.storage;
    Object.assign(policy, commitPolicy(config));
    log.segmentBytes = wal.segmentBytes;
    log.memory.bytesMax = memoryBufferBytes;
    group.policyChanged();
    warnOfPolicy(logger, policy);
  });
});

function failuresTo(health: StorageHealth, fatal: (cause: StorageFailed) => void) {
  return {
    slowSync: (milliseconds: number) => health.slowSync(milliseconds),
    outOfSpace: (cause: StorageFailed) => health.outOfSpace(cause),
    recovered: () => health.recovered(),
    poisoned: (cause: StorageFailed) => health.poisoned(cause),
    fatal,
  };
}

function later(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
}

function commitPolicy({ storage: { wal } }: Config): CommitPolicy {
  const { syncMode, syncIntervalMs, batchSyncSize, forceFsync, noSync } = wal;
  return { syncMode, syncIntervalMs, batchSyncSize, forceFsync, noSync };
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

/** Time between two looks whether a segment is synced. */
const SEAL_LOOK_MS = 5;
