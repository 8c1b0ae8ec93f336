/**
 * Keys that verify tokens: where they come from, what they are good for, and what is refused.
 */
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { AuthFileInvalid } from "../../../src/auth/identity/errors.ts";
import {
  KEYS_MAX,
  type KeySet,
  keysFor,
  parseKeyFile,
  parseKeySet,
  parseSecretFile,
} from "../../../src/auth/token/jwt_keys.ts";
import { findTool, runTool, testWithTools } from "../../support/tools.ts";
import { makeIssuer } from "./jwt_rig.ts";

const PATH = "keys.pem";
const RSA = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];

function algorithmsIn(keys: KeySet | AuthFileInvalid | string): readonly (readonly string[])[] {
  assert(Array.isArray(keys), String(keys));
  return (keys as KeySet).map((key) => key.algorithms);
}

function problemsIn(keys: KeySet | AuthFileInvalid): readonly string[] {
  assert(keys instanceof AuthFileInvalid);
  assert.equal(keys.path, PATH);
  return keys.problems;
}

Deno.test("parseKeyFile binds each PEM key to the algorithms of its kind", async () => {
  const issuers = await Promise.all(["RS256", "ES256", "ES384", "ES512", "EdDSA"].map((name) => makeIssuer(name)));
  const text = `# keys of the issuer\n${issuers.map((issuer) => issuer.pem).join("\n\n")}`;
  const keys = parseKeyFile(PATH, text);
  assert.deepEqual(algorithmsIn(keys), [RSA, ["ES256"], ["ES384"], ["ES512"], ["EdDSA", "Ed25519"]]);
});

Deno.test("parseKeyFile reads the older form of RSA public keys", () => {
  const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  assert.deepEqual(algorithmsIn(parseKeyFile(PATH, publicKey.export({ type: "pkcs1", format: "pem" }) as string)), [
    RSA,
  ]);
});

testWithTools("parseKeyFile takes a certificate for its public key", [findTool("openssl")], async () => {
  const directory = Deno.makeTempDirSync();
  try {
    const openssl = findTool("openssl");
    const made = await runTool(openssl, [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=issuer"],
      ...["-days", "1", "-keyout", `${directory}/key.pem`, "-out", `${directory}/cert.pem`],
    ]);
    assert.equal(made.code, 0, made.stderr);
    const certificate = Deno.readTextFileSync(`${directory}/cert.pem`);
    assert.deepEqual(algorithmsIn(parseKeyFile(PATH, certificate)), [["ES256"]]);
    const both = `${certificate}${Deno.readTextFileSync(`${directory}/key.pem`)}`;
    assert.match(problemsIn(parseKeyFile(PATH, both)).join(), /private key/);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("parseKeyFile reads a JSON Web Key and a set of them, as their kid, use and alg say", async () => {
  const [rsa, ec] = await Promise.all([makeIssuer("RS256", "r"), makeIssuer("ES256", "e")]);
  assert.deepEqual(algorithmsIn(parseKeyFile(PATH, JSON.stringify(ec.jwk))), [["ES256"]]);
  const encryption = { ...rsa.jwk, kid: "enc", use: "enc" };
  const wrapping = { ...rsa.jwk, kid: "wrap", key_ops: ["wrapKey"] };
  const text = JSON.stringify({ keys: [{ ...rsa.jwk, alg: "PS256", use: "sig" }, encryption, wrapping, ec.jwk] });
  const keys = parseKeyFile(PATH, `\n${text}`);
  assert.deepEqual(algorithmsIn(keys), [["PS256"], ["ES256"]]);
  assert.deepEqual((keys as KeySet).map((key) => key.kid), ["r", "e"]);
});

Deno.test("parseKeyFile tells every problem with its place and without what it read", async () => {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const issuer = await makeIssuer("ES256");
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey.export({ type: "spki", format: "pem" });
  const dh = generateKeyPairSync("x25519").publicKey.export({ type: "spki", format: "pem" });
  const secret = privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  const pem = [issuer.pem.trim(), secret.trim(), String(weak).trim(), String(dh).trim()].join("\n");
  const problems = problemsIn(parseKeyFile(PATH, pem));
  assert.equal(problems.length, 3);
  assert.match(problems[0]!, /^keys\.pem:5: this is a private key/);
  assert.match(problems[1]!, /^keys\.pem:\d+: is an RSA key of 1024 bits, at least 2048/);
  assert.match(problems[2]!, /^keys\.pem:\d+: is of a kind/);
  assert(!problems.join().includes(secret.split("\n")[1]!));

  const of = (keys: readonly unknown[]) => problemsIn(parseKeyFile(PATH, JSON.stringify({ keys })));
  assert.match(of([issuer.jwk, privateKey.export({ format: "jwk" })])[0]!, /^keys\.pem: key 2: is a private key/);
  assert.match(of([{ kty: "oct", k: "c2VjcmV0" }])[0]!, /key 1: is a shared secret/);
  assert.match(of([{ ...issuer.jwk, alg: "HS256" }])[0]!, /alg does not fit/);
  assert.match(of([{ ...issuer.jwk, x: "AAAA" }])[0]!, /cannot be read/);
  assert.match(of([{ ...issuer.jwk, kid: 7 }])[0]!, /kid is not a string/);
  assert.match(of([7])[0]!, /is not an object/);
  assert.match(of([])[0]!, /holds no public key/);
  assert.match(of(Array.from({ length: KEYS_MAX + 1 }, () => publicKey.export({ format: "jwk" })))[0]!, /at most/);
});

Deno.test("parseKeyFile refuses files that hold no whole key", async () => {
  const { pem } = await makeIssuer("ES256");
  const of = (text: string) => problemsIn(parseKeyFile(PATH, text)).join();
  for (const text of ["", "hello", "{", "{}", "[]", '{"keys":7}']) assert.match(of(text), /^keys\.pem:1: /);
  assert.match(of(`${pem}\n-----BEGIN PUBLIC KEY-----\nMFkw`), /^keys\.pem:\d+: -----BEGIN PUBLIC KEY----- has no end/);
  assert.match(of(pem.replace(/\n.{20}/, "\n")), /cannot be read as a public key/);
  assert.match(of("-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----"), /neither a public key nor/);
});

Deno.test("parseSecretFile takes the text without its last line break, for the algorithms it is long enough for", () => {
  const keys = parseSecretFile(PATH, `${"s".repeat(32)}\n`, []);
  assert.deepEqual(algorithmsIn(keys), [["HS256"]]);
  assert.deepEqual((keys as KeySet)[0]!.material, new TextEncoder().encode("s".repeat(32)));
  assert.deepEqual(algorithmsIn(parseSecretFile(PATH, `${"s".repeat(48)}\r\n`, ["HS384"])), [["HS256", "HS384"]]);
  assert.deepEqual(algorithmsIn(parseSecretFile(PATH, "s".repeat(64), [])), [["HS256", "HS384", "HS512"]]);
  const spaced = parseSecretFile(PATH, ` ${"s".repeat(30)} \n\n`, []);
  assert.deepEqual((spaced as KeySet)[0]!.material, new TextEncoder().encode(` ${"s".repeat(30)} \n`));
});

Deno.test("parseSecretFile refuses short secrets and bytes that are no text, without repeating them", () => {
  for (
    const [text, algorithms, expected] of [
      ["", [], /the secret has 0 bytes, HS256 takes at least 32/],
      ["x".repeat(31) + "\n", [], /the secret has 31 bytes, HS256 takes at least 32/],
      ["x".repeat(40), ["HS256", "HS512"], /the secret has 40 bytes, HS512 takes at least 64/],
      ["x".repeat(40) + "\uFFFD", [], /not text in UTF-8/],
    ] as const
  ) {
    const problems = problemsIn(parseSecretFile(PATH, text, algorithms)).join();
    assert.match(problems, expected);
    assert(!problems.includes("xx"));
  }
});

Deno.test("parseKeySet leaves out what it cannot use and says when nothing is left", async () => {
  const { jwk } = await makeIssuer("ES256", "e");
  const privateKey = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
  const keys = [{ kty: "oct", k: "c2VjcmV0", kid: "s" }, privateKey, { kty: "XYZ" }, 7, { ...jwk, use: "enc" }, jwk];
  assert.deepEqual(algorithmsIn(parseKeySet(JSON.stringify({ keys }))), [["ES256"]]);
  assert.equal(
    parseKeySet(JSON.stringify({ keys: keys.slice(0, 5) })),
    "the answer holds no public key for signatures",
  );
  assert.equal(parseKeySet("<html>"), "the answer is not a JSON Web Key Set");
  const many = JSON.stringify({ keys: Array.from({ length: KEYS_MAX + 1 }, () => jwk) });
  assert.equal(parseKeySet(many), `the answer holds ${KEYS_MAX + 1} keys, at most ${KEYS_MAX} are taken`);
});

Deno.test("keysFor prefers the key that a token names, then those without a name", async () => {
  const [a, b, unnamed] = await Promise.all([makeIssuer("ES256", "a"), makeIssuer("ES256", "b"), makeIssuer("ES256")]);
  const rsa = await makeIssuer("RS256", "a");
  const text = JSON.stringify({ keys: [a.jwk, b.jwk, unnamed.jwk, rsa.jwk] });
  const keys = parseKeySet(text) as KeySet;
  const found = (algorithm: string, kid: string | undefined) =>
    keysFor(keys, algorithm, kid).map((key) => keys.indexOf(key));
  assert.deepEqual(found("ES256", "a"), [0]);
  assert.deepEqual(found("RS256", "a"), [3]);
  assert.deepEqual(found("ES256", "c"), [2]);
  assert.deepEqual(found("RS256", "c"), []);
  assert.deepEqual(found("ES256", undefined), [0, 1, 2]);
  assert.deepEqual(found("HS256", undefined), []);
});
