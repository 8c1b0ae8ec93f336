/**
 * What the system refused, in words an operator can act on: a file that cannot be read, an address that cannot be
 * listened on. The configuration names both, and both messages point back to it.
 *
 * Judges by the class of the error and never by its text, which differs between systems.
 */

import { type BindAddress, formatBindAddress } from "./bind_address.ts";

/** Exit code of a process that was started with a configuration it cannot use: EX_CONFIG of sysexits. */
export const CONFIG_EXIT_CODE = 78;

/** Exit code of a process that could not get what it needs to serve: EX_UNAVAILABLE of sysexits. */
export const UNAVAILABLE_EXIT_CODE = 69;

/** Why an address cannot be listened on. None is worth a retry: an operator has to change something. */
export type ListenReason = "address_in_use" | "address_not_available" | "permission_denied" | "other";

/** Sorts what the runtime threw when a listener was opened. */
export function listenReason(cause: unknown): ListenReason {
  if (cause instanceof Deno.errors.AddrInUse) return "address_in_use";
  if (cause instanceof Deno.errors.AddrNotAvailable) return "address_not_available";
  const isDenied = cause instanceof Deno.errors.PermissionDenied || cause instanceof Deno.errors.NotCapable;
  return isDenied ? "permission_denied" : "other";
}

/**
 * Says on one line where nothing can be listened on, why, and what to do.
 *
 * @param what Completes "Cannot …", such as `listen for MQTT over TCP`.
 * @param flag The flag that chooses the address, such as `--bind`.
 * @param cause What the runtime threw.
 */
export function describeListenFailure(what: string, address: BindAddress, flag: string, cause: unknown): string {
  return `Cannot ${what} on ${formatBindAddress(address)}: ${describeListenReason(address, flag, cause)}`;
}

function describeListenReason(address: BindAddress, flag: string, cause: unknown): string {
  const another = `choose another with ${flag}`;
  switch (listenReason(cause)) {
    case "address_in_use":
      return `the address is in use; stop the other process or ${another}`;
    case "address_not_available":
      return `the address is not available, no network interface of this host has it; ${another}`;
    case "permission_denied":
      if (cause instanceof Deno.errors.NotCapable) return "the program may not listen; run it with --allow-net";
      return address.port > 0 && address.port < PRIVILEGED_PORTS_END
        ? `permission denied, ports below ${PRIVILEGED_PORTS_END} need rights; grant them or ${another}`
        : `permission denied; ${another}`;
    case "other":
      return `${systemText(cause)}; ${another}`;
  }
}

/** First port that every user may listen on. */
const PRIVILEGED_PORTS_END = 1024;

/** Why a file cannot be used, completing "cannot read …:". One line that does not name the file again. */
export function describeFileFailure(cause: unknown): string {
  if (cause instanceof Deno.errors.NotFound) return "not found";
  if (cause instanceof Deno.errors.PermissionDenied) return "permission denied";
  if (cause instanceof Deno.errors.NotCapable) return "the program may not use files; run it with --allow-read";
  if (cause instanceof Deno.errors.IsADirectory) return "is a directory";
  if (cause instanceof Deno.errors.NotADirectory) return "a part of its path is not a directory";
  return systemText(cause);
}

/** The text of the system itself, without its number and the operation that the runtime adds. */
function systemText(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  return (text.split("\n")[0] ?? "").replace(/ \(os error \d+\).*$/, "");
}
