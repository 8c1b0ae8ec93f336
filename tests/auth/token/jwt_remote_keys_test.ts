/**
 * Keys from a server: when it is asked, and what happens when it does not answer as it should.
 */
import assert from "node:assert/strict";
import {
  ANSWER_BYTES_MAX,
  RETRY_MS,
  STALE_KEYS_MAX_MS,
  UNKNOWN_KEY_COOLDOWN_MS,
} from "../../../src/auth/token/jwt_remote_keys.ts";
import { within } from "../../support/event_queue.ts";
import { CLAIMS, type JwtRig, makeIssuer, openJwt, startKeyServer } from "./jwt_rig.ts";

const CACHE_MS = 60_000;
/** For tests that let hours pass: the keys are what may grow old, not the token. */
const ENDLESS = { sub: CLAIMS.sub! };
const UNAVAILABLE = "refuse 0x88 jwt_unavailable";

async function issuerAndServer() {
  const issuer = await makeIssuer("ES256", "a");
  return { issuer, server: startKeyServer(issuer.jwk), token: await issuer.sign(ENDLESS) };
}

function open(url: string, timeoutMs = 60_000): Promise<JwtRig> {
  return openJwt({ jwksUrl: url, jwksCacheMs: CACHE_MS, timeoutMs, requireExpiry: false });
}

Deno.test("remote keys are asked for once while they are fresh, also by many at once", async () => {
  const { token, ...made } = await issuerAndServer();
  await using server = made.server;
  await using jwt = await open(server.url);
  assert.equal(server.requestCount, 0);
  assert.deepEqual(await Promise.all([1, 2, 3].map(() => jwt.ask(token))), Array(3).fill("accept gateway-7"));
  await jwt.adjust(CACHE_MS);
  assert.equal(await jwt.ask(token), "accept gateway-7");
  assert.equal(server.requestCount, 1);
  await jwt.adjust(1);
  assert.equal(await jwt.ask(token), "accept gateway-7");
  assert.equal(server.requestCount, 2);
});

Deno.test("remote keys that were replaced are found with their first token, and old ones are forgotten", async () => {
  const { token, ...made } = await issuerAndServer();
  await using server = made.server;
  await using jwt = await open(server.url);
  assert.equal(await jwt.ask(token), "accept gateway-7");
  const next = await makeIssuer("ES256", "b");
  server.answer = () => Response.json({ keys: [next.jwk] });
  await jwt.adjust(UNKNOWN_KEY_COOLDOWN_MS);
  assert.equal(await jwt.ask(await next.sign()), "accept gateway-7");
  assert.equal(await jwt.ask(token), "refuse 0x86 token_key_unknown");
  assert.equal(server.requestCount, 2);
});

Deno.test("remote keys are not asked for by invented names before the cooldown is over", async () => {
  const { issuer, token, ...made } = await issuerAndServer();
  await using server = made.server;
  await using jwt = await open(server.url);
  assert.equal(await jwt.ask(token), "accept gateway-7");
  for (let i = 0; i < 20; i++) {
    assert.equal(await jwt.ask(await issuer.sign(ENDLESS, { kid: `k${i}` })), "refuse 0x86 token_key_unknown");
  }
  assert.equal(server.requestCount, 1);
  await jwt.adjust(UNKNOWN_KEY_COOLDOWN_MS - 1);
  assert.equal(await jwt.ask(await issuer.sign(ENDLESS, { kid: "x" })), "refuse 0x86 token_key_unknown");
  assert.equal(server.requestCount, 1);
  await jwt.adjust(1);
  assert.equal(await jwt.ask(await issuer.sign(ENDLESS, { kid: "x" })), "refuse 0x86 token_key_unknown");
  assert.equal(server.requestCount, 2);
});

Deno.test("remote keys that never came make tokens undecidable, and the server is left alone for a while", async () => {
  const { issuer, token, ...made } = await issuerAndServer();
  await using server = made.server;
  server.answer = () => new Response("no", { status: 503 });
  await using jwt = await open(server.url);
  assert.equal(await jwt.ask(token), UNAVAILABLE);
  assert.equal(await jwt.ask(token), UNAVAILABLE);
  assert.equal(server.requestCount, 1);
  server.answer = () => Response.json({ keys: [issuer.jwk] });
  await jwt.adjust(RETRY_MS);
  assert.equal(await jwt.ask(token), "accept gateway-7");
  assert.deepEqual(jwt.log.map(({ message, fields }) => [message, fields?.["error"]]), [
    ["cannot get the keys of tokens", "jwt is unavailable: cannot get the keys: the answer has status 503"],
    ["got the keys of tokens", undefined],
  ]);
});

Deno.test("remote keys are used beyond their time while the server is down, but not for ever", async () => {
  const { issuer, token, ...made } = await issuerAndServer();
  await using server = made.server;
  await using jwt = await open(server.url);
  assert.equal(await jwt.ask(token), "accept gateway-7");
  server.answer = () => new Response("no", { status: 500 });
  await jwt.adjust(CACHE_MS + STALE_KEYS_MAX_MS);
  assert.equal(await jwt.ask(token), "accept gateway-7");
  assert.equal(server.requestCount, 2);
  assert.equal(await jwt.ask(await issuer.sign(ENDLESS, { kid: "b" })), UNAVAILABLE);
  await jwt.adjust(1);
  assert.equal(await jwt.ask(token), UNAVAILABLE);
});

Deno.test("remote keys of a server that is gone are unavailable, and the log names the address without password", async () => {
  const { token, ...made } = await issuerAndServer();
  await made.server[Symbol.asyncDispose]();
  const url = new URL(made.server.url);
  url.username = "broker";
  url.password = "hunter2";
  url.search = "?token=hunter3";
  await using jwt = await open(url.href);
  assert.equal(await jwt.ask(token), UNAVAILABLE);
  assert.equal(jwt.log[0]?.fields?.["url"], made.server.url);
  assert.match(String(jwt.log[0]?.fields?.["error"]), /^jwt is unavailable: cannot get the keys: .*refused/);
  assert.doesNotMatch(JSON.stringify(jwt.log), /hunter/);
});

Deno.test("remote keys of a server that never answers are given up after the timeout", async () => {
  const { token, ...made } = await issuerAndServer();
  await using server = made.server;
  const [asked, release] = [Promise.withResolvers<void>(), Promise.withResolvers<Response>()];
  server.answer = () => {
    asked.resolve();
    return release.promise;
  };
  await using jwt = await open(server.url, 50);
  const answer = jwt.ask(token);
  await asked.promise;
  await jwt.adjust(50);
  assert.equal(await answer, UNAVAILABLE);
  assert.match(String(jwt.log[0]?.fields?.["error"]), /no answer within 50 ms$/);
  release.resolve(new Response());
});

Deno.test("remote keys of a server that stops in the middle are given up after the timeout", async () => {
  const { token, ...made } = await issuerAndServer();
  await using server = made.server;
  const asked = Promise.withResolvers<void>();
  server.answer = () => {
    asked.resolve();
    return new Response(new ReadableStream({ start: (body) => body.enqueue(new Uint8Array(10)) }));
  };
  await using jwt = await open(server.url, 50);
  const answer = jwt.ask(token);
  await asked.promise;
  await jwt.adjust(50);
  assert.equal(await answer, UNAVAILABLE);
  assert.match(String(jwt.log[0]?.fields?.["error"]), /no answer within 50 ms$/);
});

Deno.test("remote keys are given up when the broker stops", async () => {
  const { token, ...made } = await issuerAndServer();
  await using server = made.server;
  const [asked, release] = [Promise.withResolvers<void>(), Promise.withResolvers<Response>()];
  const gone = Promise.withResolvers<void>();
  server.answer = (request) => {
    request.signal.addEventListener("abort", () => gone.resolve());
    asked.resolve();
    return release.promise;
  };
  const jwt = await open(server.url);
  let isAnswered = false;
  jwt.ask(token).then(() => isAnswered = true);
  await asked.promise;
  await jwt[Symbol.asyncDispose]();
  await within(gone.promise, "the end of the request");
  assert.deepEqual([isAnswered, jwt.log], [false, []]);
  release.resolve(new Response());
});

Deno.test("remote keys are taken from no answer that is too large, redirected or no key set", async () => {
  const { issuer, token, ...made } = await issuerAndServer();
  await using server = made.server;
  const keys = JSON.stringify({ keys: [issuer.jwk] });
  const answers: readonly (readonly [() => Response, RegExp])[] = [
    [() => new Response(keys + " ".repeat(ANSWER_BYTES_MAX)), /larger than 524288 bytes$/],
    [() => new Response(null, { status: 302, headers: { location: "/jwks" } }), /status 302$/],
    [() => new Response("<html>"), /not a JSON Web Key Set$/],
    [() => Response.json({ keys: [] }), /no public key for signatures$/],
    [() => Response.json({ keys: [{ kty: "oct", k: "c2VjcmV0", kid: "a" }] }), /no public key for signatures$/],
  ];
  for (const [answer, expected] of answers) {
    server.answer = answer;
    await using jwt = await open(server.url);
    assert.equal(await jwt.ask(token), UNAVAILABLE);
    assert.match(String(jwt.log[0]?.fields?.["error"]), expected);
  }
  server.answer = () => new Response(keys.padEnd(ANSWER_BYTES_MAX));
  await using jwt = await open(server.url);
  assert.equal(await jwt.ask(token), "accept gateway-7");
});
