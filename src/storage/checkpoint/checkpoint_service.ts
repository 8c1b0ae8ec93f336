/**
 * The data directory as a service: its locks, and the database in it. Whoever holds this service is the only process that
 * changes what is in those directories.
 */
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { dirname } from "node:path";
import { ConfigStore } from "../../config/reload.ts";
import { Metrics } from "../../metrics/metrics.ts";
import { monotonicMs } from "../../system/clock.ts";
import type { Disk } from "../disk/disk.ts";
import { DiskService } from "../disk/disk_service.ts";
import { attemptStorage, type StorageFailed } from "../model/errors.ts";
import { Checkpoint } from "./checkpoint.ts";
import { SqliteWatch } from "./sqlite_watch.ts";

/** The database in the data directory. */
export const DATABASE_NAME = "promptmq.db";

/** The directories of a store and its database; both are locked for as long as the service lives. */
export class CheckpointService extends Context.Service<CheckpointService, {
  readonly checkpoint: Checkpoint;
  /** Where the database is. */
  readonly dataDirectory: string;
  /** Where the segments of the log are. */
  readonly logDirectory: string;
}>()("promptmq/storage/CheckpointService") {
  /**
   * Makes and locks the directories of the configuration and opens the database; the end of the scope closes it and lets
   * go of the locks. Fails with StorageFailed: `locked`, `permission`, `pragma`, `format`, or what disk and SQLite say.
   */
  static readonly layer = Layer.effect(CheckpointService, Effect.suspend(() => open()));
}

const open = Effect.fnUntraced(function* () {
  const disk = yield* DiskService;
  const { counters } = yield* Metrics;
  const { storage } = (yield* ConfigStore).current();
  const { dataDir: dataDirectory } = storage;
  const logDirectory = storage.walDir ?? `${dataDirectory}/wal`;
  yield* makeDirectory(disk, dataDirectory);
  yield* makeDirectory(disk, logDirectory);
  // Both: two brokers may have been given one of them in common.
  for (const locked of [dataDirectory, logDirectory]) {
    yield* Effect.acquireRelease(
      attemptStorage(() => disk.lock(`${locked}/promptmq.lock`)),
      (lock) => Effect.sync(() => lock.close()),
    );
  }
  const path = `${dataDirectory}/${DATABASE_NAME}`;
  // With the rights of the other files: SQLite would let everybody read it.
  yield* attemptStorage(() => disk.exists(path) || disk.open(path, "create").close());
  const checkpoint = yield* Effect.acquireRelease(
    attemptStorage(() => Checkpoint.open(path, storage.sqlite, new SqliteWatch(counters.storage, monotonicMs))),
    closeDatabase,
  );
  for (const weakness of checkpoint.weaknesses) {
    yield* Effect.logWarning("a setting of SQLite is weaker than safe", { weakness });
  }
  return { checkpoint, dataDirectory, logDirectory };
});

/** Makes a directory unless it exists. What is synced in it later must not go with its name, or that of a parent. */
const makeDirectory = Effect.fnUntraced(function* (disk: Disk, path: string) {
  const parents: string[] = [];
  yield* attemptStorage(() => {
    for (let missing = path; !disk.exists(missing); missing = dirname(missing)) parents.push(dirname(missing));
    disk.makeDirectory(path);
  });
  yield* Effect.tryPromise({
    try: async () => {
      for (const parent of parents) await disk.syncDirectory(parent);
    },
    catch: (failure) => failure as StorageFailed,
  });
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
