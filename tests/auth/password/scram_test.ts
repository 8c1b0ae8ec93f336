/**
 * The server of SCRAM-SHA-256 against a client of our own and the example of RFC 7677, section 3.
 */
import * as Effect from "effect/Effect";
import assert from "node:assert/strict";
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import {
  AuthenticationExchange,
  type Conversation,
  type ExchangeStep,
} from "../../../src/auth/identity/enhanced_authentication.ts";
import { parsePasswordEntries } from "../../../src/auth/password/password_entries.ts";
import { formatPasswordHash } from "../../../src/auth/password/password_hash.ts";
import { makeScramVerifier } from "../../../src/auth/password/password_hasher.ts";
import { PasswordUsers } from "../../../src/auth/password/password_users.ts";
import { ScramAuthenticator } from "../../../src/auth/password/scram.ts";
import { ReasonCode } from "../../../src/protocol/reason_codes.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const PENCIL = "$scram-sha-256$i=4096$W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=$" +
  "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
const SCRYPT = `$scrypt$ln=10,r=8,p=1$dHdlbHZlIGJ5dGVz$${"A".repeat(43)}`;

function usersOf(text: string): PasswordUsers {
  const users = Effect.runSync(PasswordUsers.make(() => assert.fail("SCRAM hashes no passwords"), () => 0));
  const entries = parsePasswordEntries("users", text);
  assert.deepEqual(entries.problems, []);
  users.replace(entries);
  return users;
}

async function say(conversation: Conversation, message: string): Promise<ExchangeStep> {
  return await conversation.next(encoder.encode(message));
}

/** The challenge as the client reads it. */
interface ServerFirst {
  readonly text: string;
  readonly nonce: string;
  readonly salt: Uint8Array;
  readonly iterations: number;
}

function serverFirstOf(step: ExchangeStep): ServerFirst {
  assert(step.kind === "continue");
  const text = decoder.decode(step.data);
  const parts = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/=]+),i=(\d+)$/.exec(text);
  assert(parts !== null, text);
  return { text, nonce: parts[1]!, salt: Uint8Array.fromBase64(parts[2]!), iterations: Number(parts[3]) };
}

/** What a client computes from the password: its last message, and what the server must answer. */
function clientFinal(bare: string, { text, nonce, salt, iterations }: ServerFirst, password: string, header = "n,,") {
  const hmac = (key: Uint8Array, data: string) => createHmac("sha256", key).update(data).digest();
  const salted = pbkdf2Sync(password, salt, iterations, 32, "sha256");
  const clientKey = hmac(salted, "Client Key");
  const withoutProof = `c=${btoa(header)},r=${nonce}`;
  const signed = `${bare},${text},${withoutProof}`;
  const signature = hmac(createHash("sha256").update(clientKey).digest(), signed);
  const proof = clientKey.map((byte, i) => byte ^ signature[i]!);
  return {
    message: `${withoutProof},p=${Uint8Array.from(proof).toBase64()}`,
    serverFinal: `v=${hmac(hmac(salted, "Server Key"), signed).toString("base64")}`,
  };
}

const FAILED: ExchangeStep = { kind: "failure", reasonCode: ReasonCode.NOT_AUTHORIZED, reason: "bad_password" };

Deno.test("scram server says what it says in the example of RFC 7677", async () => {
  const authenticator = new ScramAuthenticator(
    usersOf(`user:${PENCIL}:admins`),
    () => "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
  );
  assert.equal(authenticator.method, "SCRAM-SHA-256");
  const conversation = authenticator.begin("client");
  const first = await say(conversation, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  assert(first.kind === "continue");
  assert.equal(
    decoder.decode(first.data),
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
  );
  const last = await say(
    conversation,
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
  );
  assert(last.kind === "success");
  assert.equal(decoder.decode(last.data), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
  assert.deepEqual(last.identity, { username: "user", groups: ["admins"], rules: undefined, expiresAtMs: undefined });
});

Deno.test("scram server and a client prove the password to each other, with a nonce of its own each time", async () => {
  const verifier = await Effect.runPromise(makeScramVerifier(encoder.encode("I\u00ADX"), 4096));
  const authenticator = new ScramAuthenticator(usersOf(`a,b=c:${formatPasswordHash(verifier!)}`));
  const nonces = new Set<string>();
  for (const header of ["n,,", "y,,", "n,a=a=2Cb=3Dc,"]) {
    const conversation = authenticator.begin("client");
    const bare = "n=a=2Cb=3Dc,r=nonce";
    const first = serverFirstOf(await say(conversation, header + bare));
    assert(first.nonce.startsWith("nonce") && first.nonce.length >= "nonce".length + 18);
    nonces.add(first.nonce);
    const { message, serverFinal } = clientFinal(bare, first, "IX", header);
    const last = await say(conversation, message);
    assert(last.kind === "success");
    assert.equal(decoder.decode(last.data), serverFinal);
    assert.equal(last.identity.username, "a,b=c");
  }
  assert.equal(nonces.size, 3);
});

Deno.test("scram server refuses a wrong password, and a right proof of an earlier exchange", async () => {
  const authenticator = new ScramAuthenticator(usersOf(`user:${PENCIL}`));
  const bare = "n=user,r=nonce";
  const conversation = authenticator.begin("client");
  const first = serverFirstOf(await say(conversation, `n,,${bare}`));
  assert.deepEqual(await say(conversation, clientFinal(bare, first, "pencils").message), FAILED);
  const { message } = clientFinal(bare, first, "pencil");
  const replayed = authenticator.begin("client");
  const second = serverFirstOf(await say(replayed, `n,,${bare}`));
  assert.equal((await say(replayed, message)).kind, "failure", "another nonce");
  const patched = authenticator.begin("client");
  const third = serverFirstOf(await say(patched, `n,,${bare}`));
  assert.deepEqual(await say(patched, message.replace(first.nonce, third.nonce)), FAILED);
  assert.notEqual(second.nonce, third.nonce);
});

Deno.test("scram server shows of unknown users, and of those with another hash, what known ones look like", async () => {
  const authenticator = new ScramAuthenticator(usersOf(`user:${PENCIL}\nplain:${SCRYPT}`));
  const known = serverFirstOf(await say(authenticator.begin("c"), "n,,n=user,r=x"));
  const salts = new Set([known.salt.toHex()]);
  for (const username of ["eve", "mallory", "plain"]) {
    const bare = `n=${username},r=x`;
    const conversation = authenticator.begin("c");
    const first = serverFirstOf(await say(conversation, `n,,${bare}`));
    assert.equal(first.iterations, known.iterations);
    assert.equal(first.salt.length, known.salt.length);
    assert.equal(first.text.length, known.text.length);
    const again = serverFirstOf(await say(authenticator.begin("c"), `n,,${bare}`));
    assert.deepEqual(again.salt, first.salt, "the same whenever it is asked for");
    salts.add(first.salt.toHex());
    assert.deepEqual(await say(conversation, clientFinal(bare, first, "pencil").message), FAILED);
  }
  assert.equal(salts.size, 4);
  const stranger = new ScramAuthenticator(usersOf(`user:${PENCIL}`));
  const elsewhere = serverFirstOf(await say(stranger.begin("c"), "n,,n=eve,r=x"));
  assert(!salts.has(elsewhere.salt.toHex()), "made from a secret of one's own");
});

Deno.test("scram server without users that it can serve goes on to the end all the same", async () => {
  const authenticator = new ScramAuthenticator(usersOf(""));
  const conversation = authenticator.begin("c");
  const first = serverFirstOf(await say(conversation, "n,,n=eve,r=x"));
  assert.deepEqual(await say(conversation, clientFinal("n=eve,r=x", first, "pencil").message), FAILED);
});

Deno.test("scram server lets in nobody who was removed or changed during the exchange", async () => {
  const other = formatPasswordHash((await Effect.runPromise(makeScramVerifier(encoder.encode("pencil"), 4096)))!);
  for (const text of ["", `user:${other}`, `user:${SCRYPT}`]) {
    const users = usersOf(`user:${PENCIL}`);
    const conversation = new ScramAuthenticator(users).begin("c");
    const first = serverFirstOf(await say(conversation, "n,,n=user,r=x"));
    users.replace(parsePasswordEntries("users", text));
    assert.deepEqual(await say(conversation, clientFinal("n=user,r=x", first, "pencil").message), FAILED);
  }
});

Deno.test("scram server ends the exchange at a message that it cannot use, with the reason for the log", async () => {
  const authenticator = new ScramAuthenticator(usersOf(`user:${PENCIL}`));
  const reasons: string[] = [];
  for (const message of ["", "p=tls-exporter,,n=user,r=x", "n,,m=x,n=user,r=x", "n,a=root,n=user,r=x"]) {
    const step = await say(authenticator.begin("c"), message);
    assert(step.kind === "failure");
    assert.equal(step.reasonCode, ReasonCode.NOT_AUTHORIZED);
    reasons.push(step.reason);
  }
  const conversation = authenticator.begin("c");
  await say(conversation, "n,,n=user,r=x");
  const step = await conversation.next(undefined);
  assert(step.kind === "failure");
  reasons.push(step.reason);
  assert.deepEqual(reasons, [
    "scram_malformed",
    "scram_channel_binding",
    "scram_extension",
    "scram_authzid",
    "scram_malformed",
  ]);
});

Deno.test("scram runs in an authentication exchange, and again for a re-authentication", () => {
  const exchange = new AuthenticationExchange(new ScramAuthenticator(usersOf(`user:${PENCIL}`)), "c");
  for (const nonce of ["one", "two"]) {
    const heard: ExchangeStep[] = [];
    const bare = `n=user,r=${nonce}`;
    exchange.start(encoder.encode(`n,,${bare}`), (step) => heard.push(step));
    assert.equal(exchange.isWaiting, true);
    const { message } = clientFinal(bare, serverFirstOf(heard[0]!), "pencil");
    exchange.answer(encoder.encode(message), (step) => heard.push(step));
    assert.equal(heard[1]!.kind, "success");
    assert.equal(exchange.isRunning, false);
  }
});
