/**
 * Keys that verify tokens, and which algorithms each of them may be used with.
 *
 * | key                     | from                                 | algorithms                            |
 * | ----------------------- | ------------------------------------ | ------------------------------------- |
 * | RSA, 2048 bits or more  | PEM, certificate, JSON Web Key       | RS256 RS384 RS512 PS256 PS384 PS512   |
 * | EC P-256, P-384, P-521  | PEM, certificate, JSON Web Key       | ES256, ES384, ES512                   |
 * | Ed25519                 | PEM, certificate, JSON Web Key       | EdDSA, also called Ed25519            |
 * | shared secret           | secret file, and from nowhere else   | HS256 HS384 HS512, as its size allows |
 *
 * A key is bound to its algorithms when it is read, and not when a token asks for one: this is why the text of a public
 * key can never become the secret of an HMAC, whatever a token says. Private keys are refused, since a broker that
 * could issue tokens would be a better target than it has to be.
 *
 * A certificate stands for its public key; its dates and its issuer are not looked at. Every certificate in a file
 * counts, so a file must not hold a chain.
 */
import { createPublicKey, type KeyObject } from "node:crypto";
import { AuthFileInvalid } from "../identity/errors.ts";

/** One key. */
export interface VerificationKey {
  /** Name given by the issuer; undefined when the key has none, as in a PEM file. */
  readonly kid: string | undefined;
  readonly algorithms: readonly string[];
  /** A public key, or the bytes of a shared secret. */
  readonly material: KeyObject | Uint8Array;
}

/** Keys in the order in which they are tried. */
export type KeySet = readonly VerificationKey[];

/** Keys of one set. A token without `kid` is tried with each that fits, so this bounds the work it can cause. */
export const KEYS_MAX = 64;

/** Bytes of the shortest secret: the size of the hash of HS256. [RFC 7518, 3.2] */
export const SECRET_BYTES_MIN = 32;

/** Algorithms of public keys. */
export const PUBLIC_KEY_ALGORITHMS: ReadonlySet<string> = new Set(
  "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519".split(" "),
);

/** The same algorithm has two names since RFC 9864; configuration and keys that name one mean both. */
export function canonicalAlgorithm(algorithm: string): string {
  return algorithm === "Ed25519" ? "EdDSA" : algorithm;
}

/**
 * The keys a token may be verified with: those it names, else those without a name.
 *
 * @param kid Undefined when the token names none: then every key that fits the algorithm.
 */
export function keysFor(keys: KeySet, algorithm: string, kid: string | undefined): KeySet {
  const fitting = keys.filter((key) => key.algorithms.includes(algorithm));
  if (kid === undefined) return fitting;
  const wanted = fitting.some((key) => key.kid === kid) ? kid : undefined;
  return fitting.filter((key) => key.kid === wanted);
}

/** Reads a file of PEM public keys and certificates, or of one JSON Web Key or a JSON Web Key Set. */
export function parseKeyFile(path: string, text: string): KeySet | AuthFileInvalid {
  const { keys, problems } = text.trimStart().startsWith("{") ? parseJson(path, text) : parsePem(path, text);
  if (problems.length === 0 && keys.length === 0) problems.push(`${path}:1: holds no public key for signatures`);
  if (keys.length > KEYS_MAX) problems.push(`${path}:1: holds ${keys.length} keys, at most ${KEYS_MAX} are taken`);
  return problems.length === 0 ? keys : new AuthFileInvalid({ path, problems });
}

/**
 * Reads a file with the secret of HS256, HS384 and HS512: all of its text but a line break at the end.
 *
 * @param algorithms Those that the configuration names; empty = those the secret is long enough for.
 */
export function parseSecretFile(path: string, text: string, algorithms: readonly string[]): KeySet | AuthFileInvalid {
  const secret = text.replace(/\r?\n$/, "");
  // Bytes that are no UTF-8 were all read as this character, so that different secrets would be the same.
  if (secret.includes("\uFFFD")) {
    const problem = `${path}:1: the secret is not text in UTF-8; write it in hexadecimal or base64`;
    return new AuthFileInvalid({ path, problems: [problem] });
  }
  const material = new TextEncoder().encode(secret);
  const problems = SECRET_SIZES.filter(([name, bytesMin]) => {
    return material.length < bytesMin && (bytesMin === SECRET_BYTES_MIN || algorithms.includes(name));
  }).map(([name, bytesMin]) =>
    `${path}:1: the secret has ${material.length} bytes, ${name} takes at least ${bytesMin}`
  );
  if (problems.length > 0) return new AuthFileInvalid({ path, problems });
  const fitting = SECRET_SIZES.filter(([, bytesMin]) => material.length >= bytesMin).map(([name]) => name);
  return [{ kid: undefined, algorithms: fitting, material }];
}

const SECRET_SIZES: readonly (readonly [string, number])[] = [["HS256", SECRET_BYTES_MIN], ["HS384", 48], [
  "HS512",
  64,
]];

/**
 * Reads what a key server answered. Keys of other kinds and uses are left out, as the standard wants it; so are keys
 * that are broken or private. [RFC 7517, 5]
 *
 * @returns The keys, or one sentence about what is wrong with the answer as a whole.
 */
export function parseKeySet(text: string): KeySet | string {
  const members = readMembers(text);
  if (members === undefined) return "the answer is not a JSON Web Key Set";
  if (members.length > KEYS_MAX) return `the answer holds ${members.length} keys, at most ${KEYS_MAX} are taken`;
  const keys = members.map(readJsonWebKey).filter((key) => key !== undefined && typeof key !== "string");
  return keys.length > 0 ? keys : "the answer holds no public key for signatures";
}

interface Parsed {
  readonly keys: VerificationKey[];
  readonly problems: string[];
}

function parsePem(path: string, text: string): Parsed {
  const parsed: Parsed = { keys: [], problems: [] };
  for (const { index, 0: begin, 1: label } of text.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----/g)) {
    const end = `-----END ${label}-----`;
    const endsAt = text.indexOf(end, index);
    const key = endsAt === -1 ? `${begin} has no end` : readPublicKey(label!, text.slice(index, endsAt + end.length));
    if (typeof key === "string") parsed.problems.push(`${path}:${text.slice(0, index).split("\n").length}: ${key}`);
    else parsed.keys.push(key);
  }
  return parsed;
}

function readPublicKey(label: string, pem: string): VerificationKey | string {
  if (label.endsWith("PRIVATE KEY")) return "this is a private key; only the public key belongs here";
  if (!PEM_LABELS.has(label)) return `${label} is neither a public key nor a certificate`;
  const material = importKey(() => createPublicKey(pem));
  return typeof material === "string" ? material : bind(material, undefined, undefined);
}

const PEM_LABELS: ReadonlySet<string> = new Set(["PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE"]);

function parseJson(path: string, text: string): Parsed {
  const members = readMembers(text);
  if (members === undefined) {
    return { keys: [], problems: [`${path}:1: is neither a JSON Web Key nor a JSON Web Key Set`] };
  }
  const parsed: Parsed = { keys: [], problems: [] };
  for (const [index, member] of members.entries()) {
    const key = readJsonWebKey(member);
    if (typeof key === "string") parsed.problems.push(`${path}: key ${index + 1}: ${key}`);
    else if (key !== undefined) parsed.keys.push(key);
  }
  return parsed;
}

/** The members of a set, or a key by itself. */
function readMembers(text: string): readonly unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (!isRecord(value)) return undefined;
    if (Array.isArray(value["keys"])) return value["keys"];
    return typeof value["kty"] === "string" ? [value] : undefined;
  } catch {
    return undefined;
  }
}

/** One key, undefined when it is meant for something else than verifying signatures, or what is wrong with it. */
function readJsonWebKey(value: unknown): VerificationKey | string | undefined {
  if (!isRecord(value)) return "is not an object";
  const { kty, use, key_ops: operations, kid, alg } = value;
  if (kty === "oct") return "is a shared secret, which belongs into a secret file";
  if ("d" in value || "priv" in value) return "is a private key; only the public key belongs here";
  if (use !== undefined && use !== "sig") return undefined;
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes("verify"))) return undefined;
  if (kid !== undefined && typeof kid !== "string") return "kid is not a string";
  if (alg !== undefined && typeof alg !== "string") return "alg is not a string";
  const material = importKey(() =>
    createPublicKey({ key: value, format: "jwk" } as Parameters<typeof createPublicKey>[0])
  );
  return typeof material === "string" ? material : bind(material, kid, alg);
}

function importKey(create: () => KeyObject): KeyObject | string {
  try {
    return create();
  } catch {
    // The runtime's words may repeat what it was given.
    return "cannot be read as a public key";
  }
}

/** @param algorithm The only one that the key is for, if it says so. */
function bind(material: KeyObject, kid: string | undefined, algorithm: string | undefined): VerificationKey | string {
  const fitting = algorithmsOf(material);
  if (typeof fitting === "string") return fitting;
  if (algorithm === undefined) return { kid, algorithms: fitting, material };
  const algorithms = fitting.filter((name) => canonicalAlgorithm(name) === canonicalAlgorithm(algorithm));
  return algorithms.length > 0 ? { kid, algorithms, material } : "alg does not fit the kind of key";
}

function algorithmsOf(
  { asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject,
): readonly string[] | string {
  if (type === "ed25519") return ["EdDSA", "Ed25519"];
  if (type === "rsa") {
    const bits = details?.modulusLength ?? 0;
    return bits >= RSA_BITS_MIN ? RSA_ALGORITHMS : `is an RSA key of ${bits} bits, at least ${RSA_BITS_MIN} are needed`;
  }
  const ofCurve = type === "ec" ? EC_ALGORITHMS.get(details?.namedCurve ?? "") : undefined;
  return ofCurve === undefined ? "is of a kind that no supported algorithm uses" : [ofCurve];
}

const RSA_BITS_MIN = 2048;
const RSA_ALGORITHMS = "RS256 RS384 RS512 PS256 PS384 PS512".split(" ");
const EC_ALGORITHMS: ReadonlyMap<string, string> = new Map([
  ["prime256v1", "ES256"],
  ["secp384r1", "ES384"],
  ["secp521r1", "ES512"],
]);

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
