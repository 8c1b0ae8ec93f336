/**
 * What the durable store needs once a second: a look at free space, gauges, and compaction when it is due.
 */
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import type { Config } from "../config/options/schema.ts";
import type { StorageCounters } from "../metrics/storage_counters.ts";
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import type { CompactionService } from "./compaction_service.ts";
import type { Disk } from "./disk/disk.ts";
import type { DurableMessageStore } from "./durable_store.ts";
import type { GroupCommit } from "./log/group_commit.ts";
import type { WriteAheadLog } from "./log/write_ahead_log.ts";
import { StorageFailed } from "./model/errors.ts";
import type { StorageHealth } from "./storage_health.ts";

/** What is looked after. */
export interface WatchedStore {
  readonly disk: Disk;
  /** Where files of the store are. */
  readonly directories: readonly string[];
  readonly store: DurableMessageStore;
  readonly log: WriteAheadLog;
  readonly group: GroupCommit;
  readonly checkpoint: Checkpoint;
  readonly compaction: CompactionService["Service"];
  readonly counters: StorageCounters;
  readonly health: StorageHealth;
  readonly config: () => Config;
}

/** Watches until interrupted. */
export function watchStore(watched: WatchedStore): Effect.Effect<never> {
  const { store, compaction } = watched;
  return Effect.gen(function* () {
    yield* Effect.sleep(Duration.millis(LOOK_MS));
    checkSpace(watched);
    readGauges(watched);
    compaction.compactor.isSpaceShort = store.isFull;
    yield* compaction.passWhenDue;
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

const LOOK_MS = 1_000;
