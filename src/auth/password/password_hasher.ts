/**
 * Computing what `password_hash.ts` describes. The slow functions run on threads of the runtime and not on the event
 * loop; who calls bounds how many (`password_users.ts`). One that was begun cannot be stopped: interruption waits for its
 * end. It fails only where memory is missing.
 */
import * as Effect from "effect/Effect";
import { isUtf8 } from "node:buffer";
import { createHash, createHmac, pbkdf2, randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { failureText } from "../backend/failure_text.ts";
import { BackendUnavailable } from "../identity/errors.ts";
import {
  type PasswordHash,
  type ScramVerifier,
  SCRYPT_MEMORY_BYTES_MAX,
  type ScryptCost,
  type ScryptHash,
} from "./password_hash.ts";
import { saslPrep } from "./sasl_prep.ts";

/** Tells whether a password is the one that was hashed. The port that tests replace to count. */
export type PasswordCheck = (hash: PasswordHash, password: Uint8Array) => Hashing<boolean>;

type Hashing<A> = Effect.Effect<A, BackendUnavailable>;

/**
 * Computes the hash of a password and compares, in a time that does not depend on where they differ.
 *
 * A SCRAM verifier holds what SASLprep made of the password, so the same is done here; bytes that cannot be prepared
 * are hashed as they are, which takes as long and matches no verifier made of a text.
 */
export const checkPassword: PasswordCheck = (hash, password) => {
  const isRight = (derived: Uint8Array) =>
    timingSafeEqual(hash.kind === "scram-sha-256" ? hash.storedKey : hash.hash, derived);
  return Effect.map(deriveAs(hash, password), isRight);
};

/** What a hash keeps, made of another password. */
function deriveAs(hash: PasswordHash, password: Uint8Array): Hashing<Uint8Array> {
  switch (hash.kind) {
    case "scrypt":
      return deriveScrypt(password, hash.salt, hash.cost, hash.hash.length);
    case "scram-sha-256": {
      const keys = deriveScramKeys(preparedBytes(password) ?? password, hash.salt, hash.iterations);
      return Effect.map(keys, ({ storedKey }) => storedKey);
    }
    case "sha512":
      return Effect.sync(() => createHash("sha512").update(password).update(hash.salt).digest());
    case "pbkdf2-sha512":
      return derivePbkdf2("sha512", password, hash.salt, hash.iterations, hash.hash.length);
  }
}

/** Makes a new `$scrypt$` entry with a random salt. */
export function hashWithScrypt(password: Uint8Array, cost = SCRYPT_COST): Hashing<ScryptHash> {
  const salt = randomBytes(SALT_BYTES);
  const derived = deriveScrypt(password, salt, cost, SCRYPT_HASH_BYTES);
  return Effect.map(derived, (hash) => ({ kind: "scrypt", cost, salt, hash }));
}

/**
 * Makes a new SCRAM verifier with a random salt.
 *
 * @returns undefined when SASLprep does not accept the password.
 */
export function makeScramVerifier(
  password: Uint8Array,
  iterations = SCRAM_ITERATIONS,
): Hashing<ScramVerifier | undefined> {
  const prepared = preparedBytes(password);
  if (prepared === undefined) return Effect.undefined;
  const salt = randomBytes(SALT_BYTES);
  const derived = deriveScramKeys(prepared, salt, iterations);
  return Effect.map(derived, (keys) => ({ kind: "scram-sha-256", iterations, salt, ...keys }));
}

/** HMAC-SHA-256. */
export function hmacSha256(key: Uint8Array, data: Uint8Array | string): Uint8Array {
  return createHmac("sha256", key).update(data).digest();
}

/** SHA-256. */
export function sha256(data: Uint8Array): Uint8Array {
  return createHash("sha256").update(data).digest();
}

/** 32 MiB of memory, about 0.1 s. */
const SCRYPT_COST: ScryptCost = { logN: 15, blockSize: 8, parallelism: 1 };
const SCRYPT_HASH_BYTES = 32;
const SALT_BYTES = 16;
/** The client computes as many with every connection, and clients are small. */
export const SCRAM_ITERATIONS = 16_384;

function preparedBytes(password: Uint8Array): Uint8Array | undefined {
  const prepared = isUtf8(password)
    ? saslPrep(new TextDecoder("utf-8", { ignoreBOM: true }).decode(password))
    : undefined;
  return prepared === undefined ? undefined : new TextEncoder().encode(prepared);
}

/** [RFC 5802, 3] */
function deriveScramKeys(password: Uint8Array, salt: Uint8Array, iterations: number) {
  return Effect.map(derivePbkdf2("sha256", password, salt, iterations, 32), (saltedPassword) => ({
    storedKey: sha256(hmacSha256(saltedPassword, "Client Key")),
    serverKey: hmacSha256(saltedPassword, "Server Key"),
  }));
}

function deriveScrypt(password: Uint8Array, salt: Uint8Array, cost: ScryptCost, bytes: number): Hashing<Uint8Array> {
  const options = {
    N: 2 ** cost.logN,
    r: cost.blockSize,
    p: cost.parallelism,
    // The runtime's bound counts more than the large table; ours has been checked when the hash was read.
    maxmem: 2 * SCRYPT_MEMORY_BYTES_MAX,
  };
  return derive((hear) => scrypt(password, salt, bytes, options, hear));
}

function derivePbkdf2(
  digest: "sha256" | "sha512",
  password: Uint8Array,
  salt: Uint8Array,
  iterations: number,
  bytes: number,
): Hashing<Uint8Array> {
  return derive((hear) => pbkdf2(password, salt, iterations, bytes, digest, hear));
}

/** Runs a slow function of the runtime to its end. */
function derive(begin: (hear: (failure: Error | null, key: Uint8Array) => void) => void): Hashing<Uint8Array> {
  return Effect.uninterruptible(Effect.tryPromise({
    try: () =>
      new Promise<Uint8Array>((resolve, reject) =>
        begin((failure, key) => failure === null ? resolve(key) : reject(failure))
      ),
    catch: (cause) => {
      const detail = failureText(cause);
      return new BackendUnavailable({ backend: "password-file", operation: "compute a hash", detail, cause });
    },
  }));
}
