/**
 * The durable store as Layers: four services, and the message store on top of them.
 *
 *   DiskService            the file system
 *   CheckpointService      locks of the data directory, SQLite
 *   WriteAheadLogService   recovery, log, group commit; a supervised fiber hears of the log's death
 *   CompactionService      passes of the compactor
 *   MessageStore           what the broker sees; a supervised fiber looks after free space, gauges and compaction
 *
 * A service has the name of the plain thing it is about, and `Service` where that thing has the name already.
 *
 * Each is closed before the ones above it here: first the fibers end, then everything appended is written and synced, then
 * SQLite is checkpointed, files and locks are closed.
 */
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { ConfigStore } from "../config/reload.ts";
import { Supervisor } from "../logging/supervisor.ts";
import { Metrics } from "../metrics/metrics.ts";
import { CheckpointService } from "./checkpoint/checkpoint_service.ts";
import { CompactionService } from "./compaction_service.ts";
import { DiskService } from "./disk/disk_service.ts";
import { asMessageStore, DurableMessageStore } from "./durable_store.ts";
import { MessageStore } from "./message_store.ts";
import { attemptStorage } from "./model/errors.ts";
import { StorageHealthService } from "./storage_health.ts";
import { checkSpace, type WatchedStore, watchStore } from "./storage_watch.ts";
import { MemoryLog } from "./volatile/memory_log.ts";
import { WriteAheadLogService } from "./write_ahead_log_service.ts";

/** The durable `MessageStore` over services that are there. Fails with StorageFailed. */
export const layerMessageStore = Layer.effect(MessageStore, Effect.suspend(() => open()));

/** The durable store with all its services, over any disk. Fails with StorageFailed when the data cannot be used as it is. */
export const layerOverDisk = layerMessageStore.pipe(
  Layer.provideMerge(CompactionService.layer),
  Layer.provideMerge(WriteAheadLogService.layer),
  Layer.provideMerge(CheckpointService.layer),
  Layer.provideMerge(StorageHealthService.layer),
);

/** The same on the file system of the host. */
export const layerDurable = Layer.provideMerge(layerOverDisk, DiskService.layer);

const open = Effect.fnUntraced(function* () {
  const disk = yield* DiskService;
  const { checkpoint, dataDirectory, logDirectory } = yield* CheckpointService;
  const opened = yield* WriteAheadLogService;
  const compaction = yield* CompactionService;
  const configStore = yield* ConfigStore;
  const { counters } = yield* Metrics;
  const health = yield* StorageHealthService;
  const { storage } = configStore.current();
  const volatile = new MemoryLog(storage.memoryBufferBytes);
  const store = new DurableMessageStore({
    ...opened,
    volatile,
    compactor: compaction.compactor,
    unreadable: (position, cause) => health.unreadable(position, cause),
  });
  store.record = storage.wal.record;
  yield* configStore.subscribe(({ storage: { memoryBufferBytes, wal } }) => {
    volatile.bytesMax = memoryBufferBytes;
    store.record = wal.record;
  });
  const watched: WatchedStore = {
    disk,
    directories: [logDirectory, dataDirectory],
    store,
    log: opened.log,
    group: opened.group,
    checkpoint,
    compaction,
    counters: counters.storage,
    health,
    config: () => configStore.current(),
  };
  yield* attemptStorage(() => disk.freeBytes(logDirectory)).pipe(
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
