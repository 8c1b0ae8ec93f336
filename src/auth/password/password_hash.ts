/**
 * The forms in which a password file keeps passwords: texts to values and back. Computing them is `password_hasher.ts`.
 *
 *   $scrypt$ln=15,r=8,p=1$SALT$HASH                        ours; N is 2^ln. RFC 7914
 *   $scram-sha-256$i=16384$SALT$STOREDKEY$SERVERKEY        ours; what a SCRAM server keeps. RFC 5802, RFC 7677
 *   $6$SALT$HASH                                           mosquitto_passwd: SHA-512 of password and salt
 *   $7$ITERATIONS$SALT$HASH                                mosquitto_passwd: PBKDF2 with HMAC-SHA-512
 *
 * Binary parts are Base64. Ours are written without padding; all are read with or without it.
 *
 * Every cost is bounded, because whoever writes the file decides what a CONNECT costs the broker: an entry that would
 * take more than `SCRYPT_MEMORY_BYTES_MAX` of memory or more rounds than `PBKDF2_ITERATIONS_MAX` is refused when the
 * file is read. `$6$` costs an attacker who gets hold of the file next to nothing; it is read for the sake of those who
 * move here, and never written.
 */
import { decodeBase64, encodeBase64, encodeBase64Unpadded } from "./base64.ts";

/** Cost of scrypt as in RFC 7914; N is 2^logN. */
export interface ScryptCost {
  readonly logN: number;
  readonly blockSize: number;
  readonly parallelism: number;
}

/** `$scrypt$` */
export interface ScryptHash {
  readonly kind: "scrypt";
  readonly cost: ScryptCost;
  readonly salt: Uint8Array;
  readonly hash: Uint8Array;
}

/** `$scram-sha-256$` */
export interface ScramVerifier {
  readonly kind: "scram-sha-256";
  readonly iterations: number;
  readonly salt: Uint8Array;
  readonly storedKey: Uint8Array;
  readonly serverKey: Uint8Array;
}

/** `$6$` */
export interface Sha512Hash {
  readonly kind: "sha512";
  readonly salt: Uint8Array;
  readonly hash: Uint8Array;
}

/** `$7$` */
export interface Pbkdf2Hash {
  readonly kind: "pbkdf2-sha512";
  readonly iterations: number;
  readonly salt: Uint8Array;
  readonly hash: Uint8Array;
}

/** A password as kept. */
export type PasswordHash = ScryptHash | ScramVerifier | Sha512Hash | Pbkdf2Hash;

/** Why a text is no hash; fit to be shown, since it quotes nothing. */
export class HashProblem {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Memory that one scrypt may take, about 128 * N * r. */
export const SCRYPT_MEMORY_BYTES_MAX = 128 * 1024 * 1024;

/** Rounds that one PBKDF2 may take: below a second on the hardware of 2025. */
export const PBKDF2_ITERATIONS_MAX = 1_000_000;

/** Least rounds of a SCRAM verifier. [RFC 7677, 4] */
export const SCRAM_ITERATIONS_MIN = 4096;

/** Reads one hash. O(length); call with bounded texts. */
export function parsePasswordHash(text: string): PasswordHash | HashProblem {
  const [before, kind, ...parts] = text.split("$");
  if (before !== "" || kind === undefined) return NOT_HASHED;
  switch (kind) {
    case "scrypt":
      return parseScrypt(parts);
    case "scram-sha-256":
      return parseScram(parts);
    case "6":
      return parseSha512(parts);
    case "7":
      return parsePbkdf2(parts);
    default:
      return UNKNOWN_KIND;
  }
}

/** Writes one hash as `parsePasswordHash` reads it. */
export function formatPasswordHash(hash: PasswordHash): string {
  switch (hash.kind) {
    case "scrypt": {
      const { logN, blockSize, parallelism } = hash.cost;
      return joined(`scrypt$ln=${logN},r=${blockSize},p=${parallelism}`, hash.salt, hash.hash);
    }
    case "scram-sha-256":
      return joined(`scram-sha-256$i=${hash.iterations}`, hash.salt, hash.storedKey, hash.serverKey);
    case "sha512":
      return `$6$${encodeBase64(hash.salt)}$${encodeBase64(hash.hash)}`;
    case "pbkdf2-sha512":
      return `$7$${hash.iterations}$${encodeBase64(hash.salt)}$${encodeBase64(hash.hash)}`;
  }
}

function joined(start: string, ...binary: readonly Uint8Array[]): string {
  return `$${[start, ...binary.map(encodeBase64Unpadded)].join("$")}`;
}

function parseScrypt(parts: readonly string[]): ScryptHash | HashProblem {
  const [costText, saltText, hashText] = parts;
  if (parts.length !== 3) return new HashProblem("a scrypt hash has three parts: costs, salt and hash");
  const numbers = /^ln=([1-9]\d?),r=([1-9]\d?),p=([1-9]\d?)$/.exec(costText!)?.slice(1).map(Number);
  if (numbers === undefined) return new HashProblem("the costs of scrypt are written ln=15,r=8,p=1");
  const cost = { logN: numbers[0]!, blockSize: numbers[1]!, parallelism: numbers[2]! };
  const problem = problemOfCost(cost);
  if (problem !== undefined) return new HashProblem(problem);
  const salt = parseBytes(saltText!, SALT_BYTES);
  const hash = parseBytes(hashText!, SCRYPT_HASH_BYTES);
  if (salt === undefined) return BAD_SALT;
  return hash === undefined ? BAD_HASH : { kind: "scrypt", cost, salt, hash };
}

function problemOfCost({ logN, blockSize, parallelism }: ScryptCost): string | undefined {
  if (logN < SCRYPT_LOG_N_MIN) return `ln of scrypt is at least ${SCRYPT_LOG_N_MIN}`;
  if (parallelism > SCRYPT_PARALLELISM_MAX) return `p of scrypt is at most ${SCRYPT_PARALLELISM_MAX}`;
  if (128 * 2 ** logN * blockSize <= SCRYPT_MEMORY_BYTES_MAX) return undefined;
  return `scrypt with these ln and r takes more than ${SCRYPT_MEMORY_BYTES_MAX / 1024 / 1024} MiB of memory`;
}

function parseScram(parts: readonly string[]): ScramVerifier | HashProblem {
  const [iterationsText, saltText, storedKeyText, serverKeyText] = parts;
  if (parts.length !== 4) {
    return new HashProblem("a SCRAM verifier has four parts: iterations, salt, stored key and server key");
  }
  const iterations = parseIterations(iterationsText!.startsWith("i=") ? iterationsText!.slice(2) : "");
  if (iterations === undefined || iterations < SCRAM_ITERATIONS_MIN) {
    return new HashProblem(
      `the iterations of SCRAM are written i=N, from ${SCRAM_ITERATIONS_MIN} to ${PBKDF2_ITERATIONS_MAX}`,
    );
  }
  const salt = parseBytes(saltText!, SALT_BYTES);
  const storedKey = parseBytes(storedKeyText!, SHA256_BYTES);
  const serverKey = parseBytes(serverKeyText!, SHA256_BYTES);
  if (salt === undefined) return BAD_SALT;
  if (storedKey === undefined || serverKey === undefined) {
    return new HashProblem("the keys of SCRAM are not 32 bytes of Base64");
  }
  return { kind: "scram-sha-256", iterations, salt, storedKey, serverKey };
}

function parseSha512(parts: readonly string[]): Sha512Hash | HashProblem {
  if (parts.length !== 2) return new HashProblem("a hash that begins with $6$ has two parts: salt and hash");
  const salt = parseBytes(parts[0]!, SALT_BYTES);
  const hash = parseBytes(parts[1]!, SHA512_BYTES);
  if (salt === undefined) return BAD_SALT;
  return hash === undefined ? BAD_HASH : { kind: "sha512", salt, hash };
}

function parsePbkdf2(parts: readonly string[]): Pbkdf2Hash | HashProblem {
  if (parts.length !== 3) {
    return new HashProblem("a hash that begins with $7$ has three parts: iterations, salt and hash");
  }
  const iterations = parseIterations(parts[0]!);
  if (iterations === undefined) return new HashProblem(`iterations are from 1 to ${PBKDF2_ITERATIONS_MAX}`);
  const salt = parseBytes(parts[1]!, SALT_BYTES);
  const hash = parseBytes(parts[2]!, SHA512_BYTES);
  if (salt === undefined) return BAD_SALT;
  return hash === undefined ? BAD_HASH : { kind: "pbkdf2-sha512", iterations, salt, hash };
}

function parseIterations(text: string): number | undefined {
  if (!/^[1-9]\d{0,6}$/.test(text)) return undefined;
  const iterations = Number(text);
  return iterations <= PBKDF2_ITERATIONS_MAX ? iterations : undefined;
}

function parseBytes(text: string, { min, max }: { min: number; max: number }): Uint8Array | undefined {
  const bytes = decodeBase64(text);
  return bytes !== undefined && bytes.length >= min && bytes.length <= max ? bytes : undefined;
}

/** Less makes scrypt a fast hash. */
const SCRYPT_LOG_N_MIN = 10;
/** Multiplies the time and not the memory. */
const SCRYPT_PARALLELISM_MAX = 4;
const SALT_BYTES = { min: 8, max: 64 };
const SCRYPT_HASH_BYTES = { min: 16, max: 64 };
const SHA256_BYTES = { min: 32, max: 32 };
const SHA512_BYTES = { min: 64, max: 64 };

const NOT_HASHED = new HashProblem("the password is not hashed; set it again with promptmq user add");
const UNKNOWN_KIND = new HashProblem("unknown kind of hash; known are $scrypt$, $scram-sha-256$, $6$ and $7$");
const BAD_SALT = new HashProblem(`the salt is not Base64 of ${SALT_BYTES.min} to ${SALT_BYTES.max} bytes`);
const BAD_HASH = new HashProblem("the hash is not Base64 of the length that belongs to its kind");
