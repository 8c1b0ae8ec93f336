/**
 * Passwords that were found right a short while ago, so that thousands of clients that reconnect at the same time, as
 * after a restart of a gateway, do not have to wait for thousands of hashes.
 *
 * What this means: for `VERIFIED_FOR_MS` after a success, the same username and password are accepted without hashing.
 * Neither is kept. What is kept is their HMAC under a random key that only this process knows; a password cannot be
 * told from it without the key, but whoever can read the memory of the broker has the key and can try passwords faster
 * than the hashes of the file allow. Any change of the file empties the cache, so it never lets in who was removed.
 * Failures are not remembered: every wrong password costs a hash.
 */
import { createHmac, randomBytes } from "node:crypto";

/** How long a success counts, in milliseconds; successes that needed no hash do not prolong it. */
export const VERIFIED_FOR_MS = 5 * 60_000;

/** Successes remembered; beyond it the oldest is forgotten. */
export const VERIFIED_MAX = 10_000;

/** See the head of this file. */
export class VerifiedPasswords {
  /** By digest; the order of insertion is the order of expiry. */
  readonly #expiresAtMs = new Map<string, number>();
  readonly #key = randomBytes(32);
  readonly #entriesMax: number;

  constructor(entriesMax = VERIFIED_MAX) {
    this.#entriesMax = entriesMax;
  }

  /** What stands for a username with a password here. */
  digestOf(username: string, password: Uint8Array): string {
    // The length keeps ("a", "bc") and ("ab", "c") apart.
    return createHmac("sha256", this.#key).update(`${username.length}:${username}`).update(password).digest("base64");
  }

  /** True when the pair was found right, and not too long ago. */
  has(digest: string, nowMs: number): boolean {
    const expiresAtMs = this.#expiresAtMs.get(digest);
    if (expiresAtMs === undefined) return false;
    if (nowMs < expiresAtMs) return true;
    this.#expiresAtMs.delete(digest);
    return false;
  }

  /** The pair was found right by its hash. */
  add(digest: string, nowMs: number): void {
    this.#expiresAtMs.delete(digest);
    this.#expiresAtMs.set(digest, nowMs + VERIFIED_FOR_MS);
    if (this.#expiresAtMs.size <= this.#entriesMax) return;
    for (const oldest of this.#expiresAtMs.keys()) {
      this.#expiresAtMs.delete(oldest);
      return;
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.#expiresAtMs.clear();
  }
}
