/**
 * Puts the durable store together from what is on disk: recovery, then log and group commit, compactor, store.
 *
 * Plain, so that tests build it over a disk of theirs. The services beside it (`write_ahead_log_service.ts`,
 * `compaction_service.ts`, `durable_layer.ts`) each take one step of it and give it the real disk, time and configuration.
 */
import type { StorageCounters } from "../metrics/storage_counters.ts";
import { Archive } from "./checkpoint/archive.ts";
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import { type ArchivedRange, type CompactionPolicy, Compactor, rangesOf } from "./compaction/compactor.ts";
import type { Disk } from "./disk/disk.ts";
import { DurableMessageStore } from "./durable_store.ts";
import { type CommitPolicy, type CommitSurroundings, GroupCommit } from "./log/group_commit.ts";
import { FIRST_LSN } from "./log/segment.ts";
import { WriteAheadLog } from "./log/write_ahead_log.ts";
import type { RecoveredState } from "./model/durable_state.ts";
import type { StorageFailed } from "./model/errors.ts";
import { SessionNumbers } from "./model/session_numbers.ts";
import type { Position } from "./model/stored.ts";
import { recover, type RecoveryReport, type SegmentInfo } from "./recovery/recovery.ts";
import { MemoryLog } from "./volatile/memory_log.ts";

/** What the log is opened with. */
export interface OpenLogOptions {
  readonly disk: Disk;
  /** Of the segments; exists. */
  readonly directory: string;
  readonly checkpoint: Checkpoint;
  /** How thoroughly the log is checked: every record, or the checksums of blocks alone. */
  readonly validation: "checksum" | "records";
  readonly onCorruption: "quarantine" | "refuse";
  readonly memoryBytesMax: number;
  readonly segmentBytes: number;
  readonly commitPolicy: CommitPolicy;
  readonly counters: StorageCounters;
  /** Broker time in milliseconds; may have fractions. */
  readonly clock: () => number;
  /** Told once, before `clock` is read for what is written: the latest broker time in the log, 0 when there is none. */
  readonly foundTime?: (lastWrittenMs: number) => void;
  readonly later: CommitSurroundings["later"];
  /** What becomes of failures. */
  readonly failures: Pick<CommitSurroundings, "slowSync" | "outOfSpace" | "recovered" | "poisoned" | "fatal">;
}

/** What the store is built from. */
export interface StoreOptions extends OpenLogOptions {
  readonly compactionPolicy: CompactionPolicy;
  /** Told of every message that cannot be read back. */
  readonly unreadable: (position: Position, cause: StorageFailed) => void;
}

/** The log after recovery, and what the rest of the store goes on from. */
export interface OpenedLog {
  readonly log: WriteAheadLog;
  readonly group: GroupCommit;
  /** What has left the log. */
  readonly archive: Archive;
  /** Stretches of messages in it. */
  readonly archived: readonly ArchivedRange[];
  readonly numbers: SessionNumbers;
  /** Gives away what was found, once, so that nothing keeps it. */
  readonly takeRecovered: () => RecoveredState | undefined;
  readonly report: RecoveryReport;
  /**
   * Makes what was found safe, before anybody hears of it: a process that was killed leaves records that are in the hands
   * of the operating system alone, and from now on they count as committed. Fails with StorageFailed.
   */
  readonly makeSafe: () => Promise<void>;
}

/** The parts of an open store that its surroundings need. */
export interface OpenedStore extends OpenedLog {
  readonly store: DurableMessageStore;
  readonly compactor: Compactor;
  readonly volatile: MemoryLog;
}

/**
 * Opens a store.
 *
 * @throws StorageFailed when what is there cannot be used as it is.
 */
export function openStore(options: StoreOptions): OpenedStore {
  const opened = openLog(options);
  const compactor = openCompactor(opened, options);
  const volatile = new MemoryLog(options.memoryBytesMax);
  const { unreadable } = options;
  const store = new DurableMessageStore({ ...opened, compactor, volatile, unreadable });
  return { ...opened, compactor, volatile, store };
}

/**
 * Recovers the log and opens it.
 *
 * @throws StorageFailed when what is there cannot be used as it is.
 */
export function openLog(options: OpenLogOptions): OpenedLog {
  const { disk, directory, checkpoint, counters, clock } = options;
  const startedMs = clock();
  const loaded = checkpoint.load();
  const { segments, endLsn, latestMs, nextSession, report, ...recovered } = recover(disk, directory, loaded, options);
  checkpoint.discardFrom(loaded.appliedLsn);
  counters.walRecoveryDurationSeconds.observe((clock() - startedMs) / 1000);
  options.foundTime?.(latestMs);
  const log = new WriteAheadLog({
    disk,
    directory,
    segments: segments.map((segment) => ({ ...segment, hasState: true })),
    endLsn,
    memoryBytesMax: options.memoryBytesMax,
    segmentBytes: options.segmentBytes,
    clock,
  });
  if (log.segments.length === 0 && log.endLsn > FIRST_LSN) log.keepPlace();
  const surroundings = { policy: options.commitPolicy, counters, clock, later: options.later, ...options.failures };
  let state: RecoveredState | undefined = recovered.state;
  return {
    log,
    group: new GroupCommit(log, surroundings),
    archive: new Archive(checkpoint, loaded.appliedLsn),
    archived: rangesOf(loaded.messages.positions),
    numbers: new SessionNumbers(nextSession),
    takeRecovered: () => {
      const taken = state;
      state = undefined;
      return taken;
    },
    report,
    makeSafe: () => syncSegments(disk, directory, segments),
  };
}

/** The compactor of an open log; it does nothing by itself. */
export function openCompactor(
  { log, group, archive, archived, numbers }: OpenedLog,
  { disk, checkpoint, counters, compactionPolicy }: Pick<
    StoreOptions,
    "disk" | "checkpoint" | "counters" | "compactionPolicy"
  >,
): Compactor {
  return new Compactor({
    disk,
    log,
    checkpoint,
    archive,
    counters,
    policy: compactionPolicy,
    nextSession: () => numbers.next,
    askForSync: () => group.askForSync(),
  }, archived);
}

/** Costs next to nothing for segments that are safe already. */
async function syncSegments(disk: Disk, directory: string, segments: readonly SegmentInfo[]): Promise<void> {
  for (const { path } of segments) {
    const file = disk.open(path, "write");
    try {
      await file.sync();
    } finally {
      file.close();
    }
  }
  await disk.syncDirectory(directory);
}
