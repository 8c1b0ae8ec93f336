/**
 * What goes wrong with the durable store, as one typed error whose `reason` decides what its nearest owner does.
 *
 *   reason           isRetryable   meaning and treatment
 *   no_space         yes           the disk is full, or has less than `storage.min-free-space`: refuse, try again
 *   io               no            the device failed (EIO): the file is poisoned, see `group_commit.ts`
 *   read_only        no            the file system turned read-only: stop
 *   permission       no            an operator has to change rights or flags
 *   not_found        no            a directory or file that must exist does not
 *   locked           no            another process uses the data directory
 *   format           no            a file of a version this program does not know: never touched
 *   corrupt          no            damage that the configuration says to refuse (`storage.wal.on-corruption: refuse`)
 *   sqlite           no            SQLite could not do what it was asked, see `cause`
 *   pragma           no            a setting of SQLite did not take
 */
import * as Data from "effect/Data";
import * as Effect from "effect/Effect";
import * as Runtime from "effect/Runtime";

/** Why a storage operation failed. */
export type StorageReason =
  | "no_space"
  | "io"
  | "read_only"
  | "permission"
  | "not_found"
  | "locked"
  | "format"
  | "corrupt"
  | "sqlite"
  | "pragma";

/** A storage operation failed. The message is one line that names operation, path and reason; never a payload. */
export class StorageFailed extends Data.TaggedError("StorageFailed")<{
  /** Completes "Cannot …", such as `append to` or `sync`. */
  readonly operation: string;
  readonly path: string;
  readonly reason: StorageReason;
  /** What the system or this program says to it, such as `ENOSPC: no space left on device`. */
  readonly detail: string;
  readonly cause?: unknown;
}> {
  override get message(): string {
    return `Cannot ${this.operation} ${this.path}: ${this.detail}`;
  }

  /** True when the same operation may succeed later without anybody changing anything. */
  get isRetryable(): boolean {
    return this.reason === "no_space";
  }

  /** EX_TEMPFAIL for a locked directory, EX_CONFIG for what an operator set, EX_IOERR for the rest, of sysexits. */
  override get [Runtime.errorExitCode](): number {
    if (this.reason === "locked") return 75;
    return this.reason === "pragma" || this.reason === "permission" || this.reason === "not_found" ? 78 : 74;
  }
}

/** Runs plain storage code in an effect: a `StorageFailed` that it throws is the effect's failure, all else a defect. */
export function attemptStorage<A>(run: () => A): Effect.Effect<A, StorageFailed> {
  return Effect.suspend(() => {
    try {
      return Effect.succeed(run());
    } catch (cause) {
      return cause instanceof StorageFailed ? Effect.fail(cause) : Effect.die(cause);
    }
  });
}

/** The same for code that is waited for. */
export function attemptStorageAsync<A>(run: () => Promise<A>): Effect.Effect<A, StorageFailed> {
  return Effect.tryPromise({ try: run, catch: (cause) => cause }).pipe(
    Effect.catch((cause) => cause instanceof StorageFailed ? Effect.fail(cause) : Effect.die(cause)),
  );
}
