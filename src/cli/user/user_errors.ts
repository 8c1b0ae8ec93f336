/**
 * How the commands that edit password files fail, with the exit codes of sysexits where there is one.
 */
import * as Data from "effect/Data";
import * as Runtime from "effect/Runtime";

/** A username, a group or a way to give a password that cannot be. */
export class UserUsageWrong extends Data.TaggedError("UserUsageWrong")<{ readonly reason: string }> {
  override get message(): string {
    return this.reason;
  }

  /** EX_USAGE. */
  override readonly [Runtime.errorExitCode] = 64;
}

/** The password that was given cannot be used. */
export class PasswordUnusable extends Data.TaggedError("PasswordUnusable")<{ readonly reason: string }> {
  override get message(): string {
    return this.reason;
  }

  /** EX_DATAERR. */
  override readonly [Runtime.errorExitCode] = 65;
}

/** The file cannot be read as text. */
export class UserFileUnreadable extends Data.TaggedError("UserFileUnreadable")<{
  readonly path: string;
  readonly reason: string;
  readonly cause?: unknown;
}> {
  override get message(): string {
    return `cannot read the password file ${this.path}: ${this.reason}`;
  }

  /** EX_NOINPUT. */
  override readonly [Runtime.errorExitCode] = 66;
}

/** There is no such user in the file. */
export class UserUnknown extends Data.TaggedError("UserUnknown")<{
  readonly path: string;
  readonly username: string;
  readonly exitCode: number;
}> {
  override get message(): string {
    return `no user ${JSON.stringify(this.username)} in ${this.path}`;
  }

  override get [Runtime.errorExitCode](): number {
    return this.exitCode;
  }
}

/** The new file cannot take the place of the old one, which is as it was. */
export class UserFileUnwritable extends Data.TaggedError("UserFileUnwritable")<{
  readonly path: string;
  readonly reason: string;
  readonly cause: unknown;
}> {
  override get message(): string {
    return `cannot write the password file ${this.path}: ${this.reason}`;
  }

  /** EX_CANTCREAT. */
  override readonly [Runtime.errorExitCode] = 73;
}

/** The password is not that of the user. */
export class PasswordWrong extends Data.TaggedError("PasswordWrong")<{ readonly username: string }> {
  override get message(): string {
    return `wrong password for ${JSON.stringify(this.username)}`;
  }

  override readonly [Runtime.errorExitCode] = 1;
}

/** Ctrl-C where a password was asked for. */
export class PromptCancelled extends Data.TaggedError("PromptCancelled") {
  override get message(): string {
    return "cancelled";
  }

  /** As of a process that SIGINT ended. */
  override readonly [Runtime.errorExitCode] = 130;
}
