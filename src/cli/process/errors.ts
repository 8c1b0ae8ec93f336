/**
 * Failures of the command line itself, with the exit codes of sysexits.
 */

import * as Data from "effect/Data";
import * as Runtime from "effect/Runtime";

/** The command line was not understood. The presenter has printed why. */
export class UsageError extends Data.TaggedError("UsageError")<{ readonly exitCode: number }> {
  override get message(): string {
    return "wrong usage";
  }

  override get [Runtime.errorExitCode](): number {
    return this.exitCode;
  }

  override readonly [Runtime.errorReported] = false;
}

/** The PID file cannot be taken: another broker holds it, or the file cannot be written. */
export class PidFileUnavailable extends Data.TaggedError("PidFileUnavailable")<{
  readonly path: string;
  readonly reason: string;
  readonly cause?: unknown;
}> {
  override get message(): string {
    return `cannot take the PID file ${this.path}: ${this.reason}`;
  }

  /** EX_CANTCREAT. */
  override readonly [Runtime.errorExitCode] = 73;
}

/** The background process cannot be started. */
export class DaemonFailed extends Data.TaggedError("DaemonFailed")<{
  readonly reason: string;
  readonly cause?: unknown;
}> {
  override get message(): string {
    return `cannot start in the background: ${this.reason}`;
  }

  /** EX_OSERR. */
  override readonly [Runtime.errorExitCode] = 71;
}
