/** Operating failures of the admin HTTP server. */
import * as Runtime from "effect/Runtime";
import * as Schema from "effect/Schema";
import { describeListenFailure, listenReason, UNAVAILABLE_EXIT_CODE } from "../system/system_failure.ts";

/** The admin HTTP server could not open its listener; the broker does not start. */
export class AdminListenError extends Schema.TaggedError<AdminListenError>()("AdminListenError", {
  operation: Schema.Literal("listen"),
  reason: Schema.Literals(["address_in_use", "address_not_available", "permission_denied", "other"]),
  hostname: Schema.String,
  port: Schema.Number,
  cause: Schema.Defect(),
}) {
  /** Where nothing can be listened on, why, and what to do about it. */
  override get message(): string {
    return describeListenFailure("serve metrics and health", this, "--metrics-bind", this.cause);
  }

  override readonly [Runtime.errorExitCode] = UNAVAILABLE_EXIT_CODE;
}

/**
 * Wraps what the runtime threw when the listener was opened.
 *
 * @param cause The thrown value.
 */
export function adminListenError(hostname: string, port: number, cause: unknown): AdminListenError {
  return new AdminListenError({ operation: "listen", reason: listenReason(cause), hostname, port, cause });
}
