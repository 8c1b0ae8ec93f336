/**
 * Puts the durable store together from what is on disk: recovery, then log, archive, compactor and group commit.
 *
 * Plain, so that tests build it over a disk of theirs; `durable_layer.ts` gives it the real one, time and configuration.
 */
import type { StorageCounters } from "../metrics/storage_counters.ts";
import { Archive } from "./checkpoint/archive.ts";
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import { type CompactionPolicy, Compactor } from "./compaction/compactor.ts";
import type { Disk } from "./disk/disk.ts";
import { DurableMessageStore } from "./durable_store.ts";
import { type CommitPolicy, type CommitSurroundings, GroupCommit } from "./log/group_commit.ts";
import { FIRST_LSN } from "./log/segment.ts";
import { WriteAheadLog } from "./log/write_ahead_log.ts";
import { recover, type RecoveryReport, type SegmentInfo } from "./recovery/recovery.ts";
import { MemoryLog } from "./volatile/memory_log.ts";

/** What the store is built from. */
export interface StoreOptions {
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
  readonly compactionPolicy: CompactionPolicy;
  readonly counters: StorageCounters;
  /** Broker time in milliseconds; may have fractions. */
  readonly clock: () => number;
  /** Told once, before `clock` is read for what is written: the latest broker time in the log, 0 when there is none. */
  readonly foundTime?: (lastWrittenMs: number) => void;
  readonly later: CommitSurroundings["later"];
  /** What becomes of failures. */
  readonly failures: Pick<CommitSurroundings, "slowSync" | "outOfSpace" | "recovered" | "poisoned" | "fatal">;
}

/** The parts of an open store that its surroundings need. */
export interface OpenedStore {
  readonly store: DurableMessageStore;
  readonly log: WriteAheadLog;
  readonly group: GroupCommit;
  readonly compactor: Compactor;
  readonly volatile: MemoryLog;
  readonly report: RecoveryReport;
  /**
   * Makes what was found safe, before anybody hears of it: a process that was killed leaves records that are in the hands
   * of the operating system alone, and from now on they count as committed. Fails with StorageFailed.
   */
  readonly makeSafe: () => Promise<void>;
}

/**
 * Opens a store.
 *
 * @throws StorageFailed when what is there cannot be used as it is.
 */
export function openStore(options: StoreOptions): OpenedStore {
  const { disk, directory, checkpoint, counters, clock } = options;
  const startedMs = clock();
  const loaded = checkpoint.load();
  const recovered = recover(disk, directory, loaded, options);
  checkpoint.discardFrom(loaded.appliedLsn);
  counters.walRecoveryDurationSeconds.observe((clock() - startedMs) / 1000);
  options.foundTime?.(recovered.segments.reduce((latest, { lastWrittenMs }) => Math.max(latest, lastWrittenMs), 0));
  const log = new WriteAheadLog({
    disk,
    directory,
    segments: recovered.segments.map((segment) => ({ ...segment, hasState: true })),
    endLsn: recovered.endLsn,
    memoryBytesMax: options.memoryBytesMax,
    segmentBytes: options.segmentBytes,
    clock,
  });
  if (log.segments.length === 0 && log.endLsn > FIRST_LSN) log.keepPlace();
  const archive = new Archive(checkpoint, loaded.appliedLsn);
  const volatile = new MemoryLog(options.memoryBytesMax);
  const compactor = new Compactor({
    disk,
    log,
    checkpoint,
    archive,
    counters,
    policy: options.compactionPolicy,
    nextSession: () => store.nextSession,
    askForSync: () => {
      group.hasPromise = true;
      group.commit();
    },
    clock,
  }, loaded.messages.positions);
  const store: DurableMessageStore = new DurableMessageStore({
    log,
    archive,
    compactor,
    volatile,
    recovered: recovered.state,
    nextSession: recovered.nextSession,
  });
  const group: GroupCommit = new GroupCommit(log, {
    policy: options.commitPolicy,
    counters,
    clock,
    later: options.later,
    committed: (position) => store.heardCommit(position),
    ...options.failures,
  });
  store.group = group;
  const makeSafe = () => syncSegments(disk, directory, recovered.segments);
  return { store, log, group, compactor, volatile, report: recovered.report, makeSafe };
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
