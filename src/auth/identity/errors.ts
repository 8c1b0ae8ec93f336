/** Operating failures of identity and permissions. */
import * as Data from "effect/Data";
import * as Runtime from "effect/Runtime";
import { CONFIG_EXIT_CODE } from "../../system/system_failure.ts";

/**
 * A file of users, rules, keys or bans says something that cannot be meant. At the start the broker stops; later it keeps
 * what it had.
 *
 * `problems` is never empty; each is one line with its place, `file:line: …`, and without secrets.
 */
export class AuthFileInvalid extends Data.TaggedError("AuthFileInvalid")<{
  readonly path: string;
  readonly problems: readonly string[];
}> {
  override get message(): string {
    return this.problems.join("\n");
  }

  override readonly [Runtime.errorExitCode] = CONFIG_EXIT_CODE;
}

/** What is asked about clients and may fail, as in `auth.chain`. */
export type Backend = "password-file" | "jwt" | "ldap" | "http";

/**
 * A directory, an HTTP server or a key server gave no usable answer, or a hash could not be computed. The client it was
 * asked for is refused.
 */
export class BackendUnavailable extends Data.TaggedError("BackendUnavailable")<{
  readonly backend: Backend;
  /** What was wanted of it, such as `bind`. */
  readonly operation: string;
  /** One sentence without secrets: what came instead of an answer. */
  readonly detail: string;
  readonly cause?: unknown;
}> {
  override get message(): string {
    return `${this.backend} is unavailable: cannot ${this.operation}: ${this.detail}`;
  }
}

/** More clients wait than can be asked about. The client is refused, and may come back. */
export class BackendBusy extends Data.TaggedError("BackendBusy")<{
  readonly backend: Exclude<Backend, "jwt">;
}> {
  override get message(): string {
    return `${this.backend} is busy: more clients wait than can be asked about`;
  }
}

/** Settings of a backend that cannot work. The broker does not start. */
export class BackendSettingsInvalid extends Data.TaggedError("BackendSettingsInvalid")<{
  /** As in `auth.chain`, such as `ldap`. */
  readonly backend: string;
  /** Never empty; each one sentence without secrets. */
  readonly problems: readonly string[];
}> {
  override get message(): string {
    return this.problems.map((problem) => `${this.backend}: ${problem}`).join("\n");
  }

  override readonly [Runtime.errorExitCode] = CONFIG_EXIT_CODE;
}
