/** Operating failures of the admin HTTP server. */
import * as Schema from "effect/Schema";

/** Why a listener could not be opened. None is worth a retry: an operator has to change something. */
export type ListenReason = "address_in_use" | "address_not_available" | "permission_denied" | "other";

/** The admin HTTP server could not open its listener; the broker does not start. */
export class AdminListenError extends Schema.TaggedError<AdminListenError>()("AdminListenError", {
  operation: Schema.Literal("listen"),
  reason: Schema.Literals(["address_in_use", "address_not_available", "permission_denied", "other"]),
  hostname: Schema.String,
  port: Schema.Number,
  cause: Schema.Defect(),
}) {
  /** What could not be done, where, and what the system said. */
  override get message(): string {
    const why = this.cause instanceof Error ? this.cause.message : String(this.cause);
    return `Cannot serve metrics and health on ${this.hostname}:${this.port}: ${why} (${this.reason})`;
  }
}

/**
 * Wraps what the runtime threw when the listener was opened.
 *
 * @param cause The thrown value.
 */
export function adminListenError(hostname: string, port: number, cause: unknown): AdminListenError {
  return new AdminListenError({ operation: "listen", reason: listenReason(cause), hostname, port, cause });
}

function listenReason(cause: unknown): ListenReason {
  if (cause instanceof Deno.errors.AddrInUse) return "address_in_use";
  if (cause instanceof Deno.errors.AddrNotAvailable) return "address_not_available";
  if (cause instanceof Deno.errors.PermissionDenied || cause instanceof Deno.errors.NotCapable) {
    return "permission_denied";
  }
  return "other";
}
