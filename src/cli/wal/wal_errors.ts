/**
 * How the commands that look at a log fail, with the exit codes of sysexits where there is one.
 */

import * as Data from "effect/Data";
import * as Runtime from "effect/Runtime";

/** There is no log to look at. */
export class WalNotFound extends Data.TaggedError("WalNotFound")<{ readonly directory: string }> {
  override get message(): string {
    return `no log in ${this.directory}: expected a data directory, or a directory with segments in it`;
  }

  /** EX_NOINPUT. */
  override readonly [Runtime.errorExitCode] = 66;
}

/** A file of the log cannot be read. */
export class WalUnreadable extends Data.TaggedError("WalUnreadable")<{
  readonly directory: string;
  readonly reason: string;
  readonly cause: unknown;
}> {
  override get message(): string {
    return `cannot read the log in ${this.directory}: ${this.reason}`;
  }

  /** EX_NOINPUT. */
  override readonly [Runtime.errorExitCode] = 66;
}

/** The log is damaged. Standard output says where. */
export class WalDamaged extends Data.TaggedError("WalDamaged")<{ readonly places: number }> {
  override get message(): string {
    return `${this.places} places of the log are damaged`;
  }

  override readonly [Runtime.errorReported] = false;
  override readonly [Runtime.errorExitCode] = 1;
}

/** The Topic Filter of `wal tail` is none. */
export class FilterInvalid extends Data.TaggedError("FilterInvalid")<{ readonly reason: string }> {
  override get message(): string {
    return `--filter: ${this.reason}`;
  }

  /** EX_USAGE. */
  override readonly [Runtime.errorExitCode] = 64;
}
