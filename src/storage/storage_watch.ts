/**
 * What the durable store needs once a second: a look at free space, gauges, and the compactor when it is due.
 *
 * A pass of the compactor is done in slices, so short that a client waits no longer for one than for a sync.
 */
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import type { Config } from "../config/options/schema.ts";
import type { StorageCounters } from "../metrics/storage_counters.ts";
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import type { CompactionStep, Compactor } from "./compaction/compactor.ts";
import type { Disk } from "./disk/disk.ts";
import type { DurableMessageStore } from "./durable_store.ts";
import type { GroupCommit } from "./log/group_commit.ts";
import type { WriteAheadLog } from "./log/write_ahead_log.ts";
import { attemptStorage, StorageFailed } from "./model/errors.ts";
import type { StorageHealth } from "./storage_health.ts";

/** What is looked after. */
export interface WatchedStore {
  readonly disk: Disk;
  /** Where files of the store are. */
  readonly directories: readonly string[];
  readonly store: DurableMessageStore;
  readonly log: WriteAheadLog;
  readonly group: GroupCommit;
  readonly compactor: Compactor;
  readonly checkpoint: Checkpoint;
  readonly counters: StorageCounters;
  readonly health: StorageHealth;
  readonly config: () => Config;
  /** Milliseconds, for slices; may have fractions. */
  readonly clock: () => number;
}

/** Watches until interrupted. */
export function watchStore(watched: WatchedStore): Effect.Effect<never> {
  let checkedMs = watched.clock();
  return Effect.gen(function* () {
    yield* Effect.sleep(Duration.millis(LOOK_MS));
    checkSpace(watched);
    readGauges(watched);
    const { checkIntervalMs } = watched.config().storage.compaction;
    const nowMs = watched.clock();
    const isDue = nowMs - checkedMs >= checkIntervalMs;
    watched.compactor.isSpaceShort = watched.store.isFull;
    if (!isDue && !watched.compactor.isOverSize && !watched.store.isFull) return;
    if (isDue) checkedMs = nowMs;
    yield* compact(watched);
  }).pipe(Effect.forever);
}

/** Refuses new messages in time, while there is room for acknowledgements and for clearing up. */
export function checkSpace({ disk, directories, store, health, config }: WatchedStore): void {
  const { minFreeSpaceBytes } = config().storage;
  let low: { readonly path: string; readonly freeBytes: number } | undefined;
  for (const path of directories) {
    const freeBytes = freeBytesOf(disk, path);
    if (freeBytes < minFreeSpaceBytes) low ??= { path, freeBytes };
  }
  store.isLowOnSpace = low !== undefined;
  if (low === undefined) health.end("low", "there is enough free space again");
  else {
    const message = "too little free space: QoS 1 and 2 messages are refused until there is more";
    health.begin("low", message, { ...low, minFreeSpaceBytes });
  }
}

/** One that cannot be measured is taken for empty; the operator was told at the start. */
function freeBytesOf(disk: Disk, path: string): number {
  try {
    return disk.freeBytes(path);
  } catch (cause) {
    if (cause instanceof StorageFailed) return Infinity;
    throw cause;
  }
}

function readGauges({ log, group, store, checkpoint, counters }: WatchedStore): void {
  counters.walBufferBytes = store.bytesHeld;
  counters.walSegments = log.segments.length;
  counters.walBytes = log.fileBytes;
  counters.walDeletionHolds = log.deletionGate.holds;
  counters.walUnsyncedBytes = group.unsyncedBytes;
  counters.storageUsageBytes = counters.walBytes + checkpoint.sizeBytes;
}

/** One pass, in slices. */
export function compact({ compactor, health, counters, clock }: WatchedStore): Effect.Effect<void> {
  return Effect.suspend(() => {
    const steps = compactor.pass(clock());
    return doInSlices(steps, clock, compactor).pipe(
      Effect.andThen(Effect.sync(() => {
        counters.persistenceOperations.add("compact", "ok");
        health.end("compaction", "compaction works again");
      })),
      Effect.catchTag("StorageFailed", (cause) =>
        Effect.sync(() => {
          // By path: what SQLite says of a device or of space has the reason of a file's own failure.
          if (cause.path.endsWith("/promptmq.db")) counters.sqliteWriteErrors++;
          counters.persistenceOperations.add("compact", "error");
          health.begin("compaction", "the log cannot be compacted and grows", { error: cause.message });
        })),
      Effect.ensuring(Effect.sync(() => steps.return(undefined))),
    );
  });
}

function doInSlices(
  steps: Generator<CompactionStep>,
  clock: () => number,
  compactor: Compactor,
): Effect.Effect<void, StorageFailed> {
  const slice = () => doSlice(steps, clock, compactor.isFarBehind ? SLICE_BEHIND_MS : SLICE_MS);
  return Effect.gen(function* () {
    while (!(yield* attemptStorage(slice))) yield* Effect.sleep(Duration.millis(REST_MS));
  });
}

/** Does steps for a slice of time; true when there are no more. */
function doSlice(steps: Generator<CompactionStep>, clock: () => number, sliceMs: number): boolean {
  const endMs = clock() + sliceMs;
  do {
    const { done, value } = steps.next();
    if (done === true) return true;
    if (value === "waits") return false;
  } while (clock() < endMs);
  return false;
}

const LOOK_MS = 1_000;
/** Longest stretch of compaction work at a time, but for its last step. */
const SLICE_MS = 0.25;
/** The same when the log grows faster than it is compacted: a full disk would be worse than a delay. */
const SLICE_BEHIND_MS = 5;
const REST_MS = 1;
