/**
 * Tokens as identities: which are accepted with which keys, and keys that change while the broker runs.
 */
import assert from "node:assert/strict";
import { AuthFileInvalid } from "../../../src/auth/identity/errors.ts";
import { FileUnreadable } from "../../../src/system/watched_file.ts";
import { NOTICE_MS } from "../backend_rig.ts";
import {
  CLAIMS,
  credentialsWith,
  makeIssuer,
  NOW_SECONDS,
  openJwt,
  signWithSecret,
  startKeyServer,
  temporaryFile,
} from "./jwt_rig.ts";

const SECRET = "0123456789abcdef0123456789abcdef";

Deno.test("jwt provider accepts tokens of every kind of public key", async () => {
  for (const algorithm of ["RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]) {
    const issuer = await makeIssuer(algorithm);
    using file = temporaryFile(issuer.pem);
    await using jwt = await openJwt({ keyFile: file.path });
    assert.equal(jwt.provider.name, "jwt");
    assert.equal(await jwt.ask(await issuer.sign()), "accept gateway-7", algorithm);
  }
});

Deno.test("jwt provider accepts tokens of a shared secret, without the line break of its file", async () => {
  using file = temporaryFile(`${SECRET}\n`);
  await using jwt = await openJwt({ secretFile: file.path });
  assert.equal(await jwt.ask(await signWithSecret(SECRET)), "accept gateway-7");
  assert.equal(await jwt.ask(await signWithSecret(`${SECRET}\n`)), "refuse 0x86 token_signature");
  assert.equal(await jwt.ask(await signWithSecret(SECRET.repeat(2), "HS512")), "refuse 0x86 token_algorithm");
});

Deno.test("jwt provider uses all its keys: several of a file, a secret and a server", async () => {
  const [a, b, c] = await Promise.all([makeIssuer("RS256"), makeIssuer("RS256", "b"), makeIssuer("RS256", "c")]);
  using file = temporaryFile(JSON.stringify({ keys: [a.jwk, b.jwk] }));
  using secretFile = temporaryFile(SECRET);
  await using server = startKeyServer(c.jwk);
  await using jwt = await openJwt({ keyFile: file.path, secretFile: secretFile.path, jwksUrl: server.url });
  assert.equal(await jwt.ask(await a.sign()), "accept gateway-7");
  assert.equal(await jwt.ask(await b.sign()), "accept gateway-7");
  assert.equal(await jwt.ask(await signWithSecret(SECRET)), "accept gateway-7");
  assert.equal(await jwt.ask(await signWithSecret("wrong".repeat(7))), "refuse 0x86 token_signature");
  assert.equal(server.requestCount, 0);
  assert.equal(await jwt.ask(await c.sign()), "accept gateway-7");
  assert.equal(await jwt.ask(await c.sign(CLAIMS, { kid: undefined })), "accept gateway-7");
  assert.equal(await jwt.ask(await a.sign(CLAIMS, { kid: "b" })), "refuse 0x86 token_signature");
});

Deno.test("jwt provider gives the identity that the claims describe, up to their end", async () => {
  const issuer = await makeIssuer("ES256");
  using file = temporaryFile(issuer.pem);
  await using jwt = await openJwt({ keyFile: file.path });
  const acl = { publish: ["a/%c"], subscribe: ["b/#"] };
  const token = await issuer.sign({ ...CLAIMS, groups: "ops dev", acl });
  assert.deepEqual(await jwt.verdict(token), {
    kind: "accept",
    identity: {
      username: "gateway-7",
      groups: ["ops", "dev"],
      rules: [
        { effect: "allow", action: "publish", topics: ["a/%c"] },
        { effect: "allow", action: "subscribe", topics: ["b/#"] },
      ],
      expiresAtMs: (NOW_SECONDS + 65) * 1000,
    },
  });
  await jwt.adjust(64_999);
  assert.equal(await jwt.ask(token), "accept gateway-7 [dev ops]");
  await jwt.adjust(1);
  assert.equal(await jwt.ask(token), "refuse 0x86 token_expired");
});

Deno.test("jwt provider refuses claims that do not fit", async () => {
  const issuer = await makeIssuer("ES256");
  using file = temporaryFile(issuer.pem);
  await using jwt = await openJwt({ keyFile: file.path, issuer: "i", audience: "promptmq" });
  const ask = async (claims: Record<string, unknown>) =>
    await jwt.ask(await issuer.sign({ ...CLAIMS, iss: "i", aud: "promptmq", ...claims }));
  assert.equal(await ask({}), "accept gateway-7");
  assert.equal(await ask({ exp: NOW_SECONDS - 5 }), "refuse 0x86 token_expired");
  assert.equal(await ask({ nbf: NOW_SECONDS + 60 }), "refuse 0x86 token_not_yet_valid");
  assert.equal(await ask({ iat: NOW_SECONDS + 60 }), "refuse 0x86 token_not_yet_valid");
  assert.equal(await ask({ iss: "other" }), "refuse 0x86 token_issuer");
  assert.equal(await ask({ aud: "other" }), "refuse 0x86 token_audience");
  assert.equal(await ask({ sub: undefined }), "refuse 0x86 token_claims");
  assert.equal(await ask({ exp: undefined }), "refuse 0x86 token_claims");
  assert.equal(await ask({ groups: [7] }), "refuse 0x86 token_claims");
  assert.equal(await ask({ acl: [{ effect: "deny" }] }), "refuse 0x86 token_claims");
});

Deno.test("jwt provider refuses a username that is not the token's", async () => {
  const issuer = await makeIssuer("ES256");
  using file = temporaryFile(issuer.pem);
  await using jwt = await openJwt({ keyFile: file.path });
  const token = await issuer.sign();
  assert.equal(await jwt.ask(token, "gateway-7"), "accept gateway-7");
  assert.equal(await jwt.ask(token, ""), "accept gateway-7");
  assert.equal(await jwt.ask(token, "admin"), "refuse 0x86 username_mismatch");
});

Deno.test("jwt provider passes on what is no token", async () => {
  using file = temporaryFile(SECRET);
  await using jwt = await openJwt({ secretFile: file.path });
  assert.equal(await jwt.ask("correct.horse.battery", "u"), "pass");
  assert.equal(await jwt.ask(SECRET, "u"), "pass");
  assert.equal(jwt.provider.verify(credentialsWith({ username: "u" })), undefined);
});

Deno.test("jwt provider accepts only the algorithms that are configured, by either name", async () => {
  const [rsa, ed] = await Promise.all([makeIssuer("RS256"), makeIssuer("Ed25519")]);
  using file = temporaryFile(rsa.pem + ed.pem);
  await using jwt = await openJwt({ keyFile: file.path, algorithms: ["PS256", "EdDSA"] });
  assert.equal(await jwt.ask(await rsa.sign()), "refuse 0x86 token_algorithm");
  assert.equal(await jwt.ask(await ed.sign()), "accept gateway-7");
});

Deno.test("jwt provider follows its files and keeps the keys when a change cannot be used", async () => {
  const [before, after] = await Promise.all([makeIssuer("ES256"), makeIssuer("ES256")]);
  using keyFile = temporaryFile(before.pem);
  using secretFile = temporaryFile(SECRET);
  await using jwt = await openJwt({ keyFile: keyFile.path, secretFile: secretFile.path });
  const [old, next, secret] = [await before.sign(), await after.sign(), await signWithSecret(SECRET)];
  await jwt.adjust(NOTICE_MS);
  assert.equal(await jwt.ask(old), "accept gateway-7");

  keyFile.write("broken");
  secretFile.write("too short");
  await jwt.adjust(NOTICE_MS);
  assert.equal(await jwt.ask(old), "accept gateway-7");
  assert.equal(await jwt.ask(secret), "accept gateway-7");
  const errors = jwt.log.map(({ message, fields }) => `${message}: ${fields?.["error"]}`).sort();
  assert.deepEqual(errors, [
    `cannot use the changed file of token keys, the keys before are kept: ${keyFile.path}:1: holds no public key for ` +
    "signatures",
    `cannot use the changed file with the token secret, the keys before are kept: ${secretFile.path}:1: the secret ` +
    "has 9 bytes, HS256 takes at least 32",
  ]);

  keyFile.write(after.pem);
  await jwt.adjust(NOTICE_MS);
  assert.equal(await jwt.ask(old), "refuse 0x86 token_signature");
  assert.equal(await jwt.ask(next), "accept gateway-7");
});

Deno.test("jwt layer fails with files that cannot be read or used", async () => {
  using file = temporaryFile("too short");
  await assert.rejects(openJwt({ secretFile: file.path }), (error) => {
    assert(error instanceof AuthFileInvalid);
    assert.equal(error.message, `${file.path}:1: the secret has 9 bytes, HS256 takes at least 32`);
    return true;
  });
  await assert.rejects(openJwt({ keyFile: file.path }), AuthFileInvalid);
  await assert.rejects(openJwt({ keyFile: `${file.path}.missing` }), FileUnreadable);
});
