/**
 * What a name must look like that a token or a certificate gives to a client, and when what the client says of itself
 * contradicts it.
 */
import type { Credentials } from "./identity.ts";

/** Bytes of the longest string that a CONNECT could carry. [MQTT 5.0, 1.5.4] */
const USERNAME_BYTES_MAX = 65_535;

/**
 * True for a name that a client may have: not empty, well-formed Unicode, no longer than a User Name in CONNECT, and
 * without control characters, which could forge lines of a log.
 */
export function isUsername(value: unknown): value is string {
  if (typeof value !== "string" || value === "" || value.length > USERNAME_BYTES_MAX) return false;
  if (!value.isWellFormed() || /\p{Cc}/u.test(value)) return false;
  return value.length * 3 <= USERNAME_BYTES_MAX || new TextEncoder().encode(value).length <= USERNAME_BYTES_MAX;
}

/**
 * True when CONNECT names somebody else than the one who was proven. An empty User Name names nobody: MQTT 3.1.1 allows
 * a password only together with one. [MQTT-3.1.2-22]
 */
export function contradictsUsername(credentials: Credentials, username: string): boolean {
  return credentials.username !== undefined && credentials.username !== "" && credentials.username !== username;
}
