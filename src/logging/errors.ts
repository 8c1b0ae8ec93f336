/**
 * What can fail in logging. Only opening the output: later failures fall back to standard error.
 */

import * as Data from "effect/Data";
import * as Runtime from "effect/Runtime";

/** The log file cannot be opened; the broker does not start without the log it was told to keep. */
export class LogFileUnavailable extends Data.TaggedError("LogFileUnavailable")<{
  readonly path: string;
  readonly cause: unknown;
}> {
  override get message(): string {
    return `cannot open the log file ${this.path}: ${this.cause instanceof Error ? this.cause.message : this.cause}`;
  }

  /** EX_CANTCREAT of sysexits. */
  override readonly [Runtime.errorExitCode] = 73;
}
