/**
 * Known attacks on tokens, one by one: each is shown to a provider that has a public key in a file, a shared secret and
 * a key server, and has to be refused with a reason of its own. None may reach a server of the attacker's choice.
 */
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import assert from "node:assert/strict";
import { createHmac, createSign, generateKeyPairSync } from "node:crypto";
import { JSON_RULES_MAX } from "../../../src/auth/acl/rule_json.ts";
import {
  CLAIMS,
  type Issuer,
  makeIssuer,
  NOW_SECONDS,
  openJwt,
  signWithSecret,
  startKeyServer,
  temporaryFile,
  tokenPart,
} from "./jwt_rig.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const ADMIN = { ...CLAIMS, sub: "admin" };

/** What an attacker has: a genuine token, everything that is public, and a server. */
interface Surroundings {
  readonly file: Issuer;
  readonly remote: Issuer;
  readonly token: string;
  readonly evilUrl: string;
}

interface Attack {
  readonly title: string;
  readonly make: (on: Surroundings) => string | Promise<string>;
  readonly expected: string;
}

function unsigned(header: unknown, claims: unknown = ADMIN): string {
  return `${tokenPart(header)}.${tokenPart(claims)}`;
}

/** Signs with anything as the secret of an HMAC. */
function hmac(header: Record<string, unknown>, secret: string | Uint8Array): string {
  const input = unsigned({ alg: "HS256", ...header });
  return `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
}

/** Exchanges one part of a genuine token. */
function exchange(token: string, index: number, part: string): string {
  return token.split(".").map((old, i) => i === index ? part : old).join(".");
}

/** Signs with a key of the attacker and says so in the header. */
async function ownKey(header: (jwk: unknown) => Record<string, unknown>): Promise<string> {
  const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
  const parameters = { alg: "ES256", ...header(await exportJWK(publicKey)) };
  return await new SignJWT(ADMIN).setProtectedHeader(parameters).sign(privateKey);
}

const ATTACKS: readonly Attack[] = [
  ...["none", "None", "NONE", "nOnE", ""].map((alg): Attack => ({
    title: `algorithm ${JSON.stringify(alg)} without a signature`,
    make: () => `${unsigned({ alg })}.`,
    expected: "refuse 0x86 token_algorithm",
  })),
  {
    title: "algorithm none with the signature of another token",
    make: ({ token }) => exchange(token, 0, tokenPart({ alg: "none" })),
    expected: "refuse 0x86 token_algorithm",
  },
  {
    title: "no algorithm at all",
    make: ({ token }) => exchange(token, 0, tokenPart({ typ: "JWT" })),
    expected: "refuse 0x86 token_algorithm",
  },
  {
    title: "algorithm with the name of what objects inherit",
    make: ({ token }) => exchange(token, 0, tokenPart({ alg: "constructor" })),
    expected: "refuse 0x86 token_algorithm",
  },
  {
    title: "algorithm that the key server's keys do not have, of the secret's kind",
    make: () => signWithSecret(SECRET.repeat(2), "HS512", ADMIN),
    expected: "refuse 0x86 token_algorithm",
  },
  {
    title: "public key of the file as the secret of an HMAC",
    make: ({ file }) => hmac({}, file.pem),
    expected: "refuse 0x86 token_signature",
  },
  {
    title: "public key of the file without its last line break as the secret of an HMAC",
    make: ({ file }) => hmac({}, file.pem.trimEnd()),
    expected: "refuse 0x86 token_signature",
  },
  {
    title: "public key of the server, by name, as the secret of an HMAC",
    make: ({ remote }) => hmac({ kid: "remote" }, JSON.stringify(remote.jwk)),
    expected: "refuse 0x86 token_signature",
  },
  { title: "empty secret", make: () => hmac({}, new Uint8Array()), expected: "refuse 0x86 token_signature" },
  {
    title: "kid that names a file as the secret",
    make: () => hmac({ kid: "/dev/null" }, new Uint8Array()),
    expected: "refuse 0x86 token_signature",
  },
  {
    title: "kid with the name of what objects inherit",
    make: async ({ file }) => await file.sign(ADMIN, { kid: "__proto__" }).then((token) => `${token}AAAA`),
    expected: "refuse 0x86 token_signature",
  },
  {
    title: "key in the header",
    make: () => ownKey((jwk) => ({ jwk, kid: "remote" })),
    expected: "refuse 0x86 token_signature",
  },
  {
    title: "address of keys in the header",
    make: ({ evilUrl }) => ownKey(() => ({ jku: evilUrl, x5u: evilUrl, kid: "evil" })),
    expected: "refuse 0x86 token_key_unknown",
  },
  {
    title: "certificate in the header",
    make: () => ownKey(() => ({ x5c: ["MIIB"], kid: "evil" })),
    expected: "refuse 0x86 token_key_unknown",
  },
  {
    title: "other claims under a genuine signature",
    make: ({ token }) => exchange(token, 1, tokenPart(ADMIN)),
    expected: "refuse 0x86 token_signature",
  },
  {
    title: "other header under a genuine signature",
    make: ({ token }) => exchange(token, 0, tokenPart({ alg: "RS256", typ: "JWT" })),
    expected: "refuse 0x86 token_signature",
  },
  {
    title: "no signature",
    make: ({ token }) => exchange(token, 2, ""),
    expected: "refuse 0x86 token_signature",
  },
  {
    title: "signature cut short",
    make: ({ token }) => token.slice(0, -8),
    expected: "refuse 0x86 token_signature",
  },
  {
    title: "ECDSA signature of zeros",
    make: () => `${unsigned({ alg: "ES256", kid: "remote" })}.${"A".repeat(86)}`,
    expected: "refuse 0x86 token_signature",
  },
  {
    title: "ECDSA signature in DER",
    make: () => {
      const input = unsigned({ alg: "ES256", kid: "remote" });
      const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      return `${input}.${createSign("sha256").update(input).sign(privateKey, "base64url")}`;
    },
    expected: "refuse 0x86 token_signature",
  },
  {
    title: "RSA key of the attacker with the name of an EC key",
    make: async () => (await makeIssuer("RS256", "remote")).sign(ADMIN),
    expected: "refuse 0x86 token_signature",
  },
  {
    title: "payload that is not encoded",
    make: ({ token }) => exchange(token, 0, tokenPart({ alg: "RS256", b64: false, crit: ["b64"] })),
    expected: "refuse 0x86 token_malformed",
  },
  {
    title: "critical extension that nobody knows",
    make: ({ file }) => file.sign(ADMIN).then((t) => exchange(t, 0, tokenPart({ alg: "RS256", crit: ["x"], x: 1 }))),
    expected: "refuse 0x86 token_malformed",
  },
  {
    title: "compressed payload",
    make: ({ file }) => file.sign(ADMIN, { zip: "DEF" }),
    expected: "refuse 0x86 token_malformed",
  },
  {
    title: "encrypted token",
    make: () => `${tokenPart({ alg: "RSA-OAEP", enc: "A256GCM" })}.a2V5.aXY.Y2lwaGVy.dGFn`,
    expected: "refuse 0x86 token_algorithm",
  },
  {
    title: "token that is too long to be read",
    make: ({ file }) => file.sign({ ...ADMIN, filler: "x".repeat(16_384) }),
    expected: "refuse 0x86 token_too_long",
  },
  {
    title: "genuine token with a payload that is no JSON",
    make: () => {
      const input = `${tokenPart({ alg: "HS256" })}.${tokenPart("not json")}`;
      return `${input}.${createHmac("sha256", SECRET).update(input).digest("base64url")}`;
    },
    expected: "refuse 0x86 token_claims",
  },
  {
    title: "genuine token that ends beyond all times",
    make: ({ file }) => file.sign({ ...ADMIN, exp: 1e300 }),
    expected: "refuse 0x86 token_claims",
  },
  {
    title: "genuine token that ended",
    make: ({ file }) => file.sign({ ...ADMIN, exp: NOW_SECONDS - 60 }),
    expected: "refuse 0x86 token_expired",
  },
  {
    title: "genuine token without an end",
    make: ({ file }) => file.sign({ sub: "admin" }),
    expected: "refuse 0x86 token_claims",
  },
  {
    title: "genuine token whose name breaks a line of the log",
    make: ({ file }) => file.sign({ ...ADMIN, sub: "a\nadmin" }),
    expected: "refuse 0x86 token_claims",
  },
  {
    title: "genuine token whose prohibition is spelt wrongly",
    make: ({ file }) => file.sign({ ...ADMIN, acl: [{ effect: "deny", action: "all", topic: ["a/#"] }] }),
    expected: "refuse 0x86 token_claims",
  },
  {
    title: "genuine token with too many rules",
    make: ({ file }) => file.sign({ ...ADMIN, acl: Array(JSON_RULES_MAX + 1).fill(0) }),
    expected: "refuse 0x86 token_claims",
  },
  {
    title: "something before the token",
    make: ({ token }) => ` ${token}`,
    expected: "pass",
  },
  {
    title: "token that was encoded otherwise",
    make: ({ token }) => `${token}==`,
    expected: "pass",
  },
];

for (const { title, make, expected } of ATTACKS) {
  Deno.test(`jwt provider withstands: ${title}`, async () => {
    const [file, remote] = await Promise.all([makeIssuer("RS256"), makeIssuer("ES256", "remote")]);
    using keyFile = temporaryFile(file.pem);
    using secretFile = temporaryFile(SECRET);
    await using server = startKeyServer(remote.jwk);
    await using evil = startKeyServer();
    await using jwt = await openJwt({ keyFile: keyFile.path, secretFile: secretFile.path, jwksUrl: server.url });
    const token = await file.sign();
    assert.equal(await jwt.ask(token), "accept gateway-7");
    const attack = await make({ file, remote, token, evilUrl: evil.url });
    assert.equal(await jwt.ask(attack), expected);
    assert.equal(evil.requestCount, 0);
    const lines = JSON.stringify(jwt.log);
    for (const part of [SECRET, attack, ...attack.split(".").filter((text) => text.length > 8)]) {
      assert(!lines.includes(part), "the log repeats a part of the token");
    }
  });
}

Deno.test("jwt provider without a secret has no algorithm for one", async () => {
  const issuer = await makeIssuer("RS256");
  using keyFile = temporaryFile(issuer.pem);
  await using jwt = await openJwt({ keyFile: keyFile.path });
  assert.equal(await jwt.ask(hmac({}, issuer.pem)), "refuse 0x86 token_algorithm");
  // Not even when the configuration names one.
  await using listed = await openJwt({ keyFile: keyFile.path, algorithms: ["RS256", "HS256", "none"] });
  assert.equal(await listed.ask(hmac({}, issuer.pem)), "refuse 0x86 token_algorithm");
  assert.equal(await listed.ask(`${unsigned({ alg: "none" })}.`), "refuse 0x86 token_algorithm");
});
