/**
 * Computing what `password_hash.ts` describes. The slow functions run on threads of the runtime and not on the event
 * loop; who calls bounds how many (`password_users.ts`). They end by themselves or not at all, so they are promises.
 */
import { isUtf8 } from "node:buffer";
import { createHash, createHmac, pbkdf2, randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import {
  type PasswordHash,
  type ScramVerifier,
  SCRYPT_MEMORY_BYTES_MAX,
  type ScryptCost,
  type ScryptHash,
} from "./password_hash.ts";
import { saslPrep } from "./sasl_prep.ts";

/** Tells whether a password is the one that was hashed. The port that tests replace to count. */
export type PasswordCheck = (hash: PasswordHash, password: Uint8Array) => Promise<boolean>;

/**
 * Computes the hash of a password and compares, in a time that does not depend on where they differ.
 *
 * A SCRAM verifier holds what SASLprep made of the password, so the same is done here; bytes that cannot be prepared
 * are hashed as they are, which takes as long and matches no verifier made of a text.
 */
export const checkPassword: PasswordCheck = async (hash, password) => {
  switch (hash.kind) {
    case "scrypt":
      return timingSafeEqual(hash.hash, await deriveScrypt(password, hash.salt, hash.cost, hash.hash.length));
    case "scram-sha-256": {
      const keys = await deriveScramKeys(preparedBytes(password) ?? password, hash.salt, hash.iterations);
      return timingSafeEqual(hash.storedKey, keys.storedKey);
    }
    case "sha512":
      return timingSafeEqual(hash.hash, createHash("sha512").update(password).update(hash.salt).digest());
    case "pbkdf2-sha512":
      return timingSafeEqual(
        hash.hash,
        await derivePbkdf2("sha512", password, hash.salt, hash.iterations, hash.hash.length),
      );
  }
};

/** Makes a new `$scrypt$` entry with a random salt. */
export async function hashWithScrypt(password: Uint8Array, cost = SCRYPT_COST): Promise<ScryptHash> {
  const salt = randomBytes(SALT_BYTES);
  return { kind: "scrypt", cost, salt, hash: await deriveScrypt(password, salt, cost, SCRYPT_HASH_BYTES) };
}

/**
 * Makes a new SCRAM verifier with a random salt.
 *
 * @returns undefined when SASLprep does not accept the password.
 */
export async function makeScramVerifier(
  password: Uint8Array,
  iterations = SCRAM_ITERATIONS,
): Promise<ScramVerifier | undefined> {
  const prepared = preparedBytes(password);
  if (prepared === undefined) return undefined;
  const salt = randomBytes(SALT_BYTES);
  return { kind: "scram-sha-256", iterations, salt, ...await deriveScramKeys(prepared, salt, iterations) };
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
async function deriveScramKeys(
  password: Uint8Array,
  salt: Uint8Array,
  iterations: number,
): Promise<{ storedKey: Uint8Array; serverKey: Uint8Array }> {
  const saltedPassword = await derivePbkdf2("sha256", password, salt, iterations, 32);
  return {
    storedKey: sha256(hmacSha256(saltedPassword, "Client Key")),
    serverKey: hmacSha256(saltedPassword, "Server Key"),
  };
}

function deriveScrypt(password: Uint8Array, salt: Uint8Array, cost: ScryptCost, bytes: number): Promise<Uint8Array> {
  const options = {
    N: 2 ** cost.logN,
    r: cost.blockSize,
    p: cost.parallelism,
    // The runtime's bound counts more than the large table; ours has been checked when the hash was read.
    maxmem: 2 * SCRYPT_MEMORY_BYTES_MAX,
  };
  return new Promise((resolve, reject) =>
    scrypt(password, salt, bytes, options, (error, key) => error ? reject(error) : resolve(key))
  );
}

function derivePbkdf2(
  digest: "sha256" | "sha512",
  password: Uint8Array,
  salt: Uint8Array,
  iterations: number,
  bytes: number,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) =>
    pbkdf2(password, salt, iterations, bytes, digest, (error, key) => error ? reject(error) : resolve(key))
  );
}
