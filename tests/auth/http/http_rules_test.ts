/** Permission rules from an HTTP server. */
import * as Effect from "effect/Effect";
import assert from "node:assert/strict";
import type { HttpAuthSettings } from "../../../src/auth/http/http_backend.ts";
import { HttpRules } from "../../../src/auth/http/http_rules.ts";
import type { AccessRule } from "../../../src/auth/identity/access_rule.ts";
import type { Principal } from "../../../src/auth/identity/authorizer.ts";
import { EventQueue } from "../../support/event_queue.ts";
import { openRig, rawServer, type Rig, silent } from "../backend_rig.ts";
import { answerServer, httpSettings } from "./http_rig.ts";

const ALICE: Principal = {
  clientId: "c",
  username: "alice",
  groups: ["ops"],
  rules: undefined,
  expiresAtMs: undefined,
};
const RULES = [{ effect: "deny", action: "all", topics: ["secret/#"] }, {
  effect: "allow",
  action: "publish",
  topics: ["a/%c"],
}];

function open(aclUrl: string, changes: Partial<HttpAuthSettings> = {}) {
  return openRig(HttpRules, HttpRules.layer(httpSettings({ aclUrl, ...changes })));
}

/** Rules, or undefined where there is no answer. */
function rulesOf(rig: Rig<HttpRules["Service"]>, principal: Principal): Promise<readonly AccessRule[] | undefined> {
  const found = rig.service.rulesFor(principal);
  const answer = Effect.isEffect(found) ? Effect.orElseSucceed(found, () => undefined) : found;
  return new Promise((resolve) => rig.ask(answer, resolve));
}

Deno.test("the rules of a client are asked for with its identity, and read in their order", async () => {
  await using server = answerServer(() => ({ rules: RULES }));
  await using rig = await open(server.url);
  assert.deepEqual(await rulesOf(rig, ALICE), RULES);
  await rulesOf(rig, { ...ALICE, username: undefined, groups: [] });
  assert.deepEqual(server.questions.map((question) => question.body), [
    { clientId: "c", username: "alice", groups: ["ops"] },
    { clientId: "c", groups: [] },
  ]);
});

Deno.test("the short form of rules is read too, and no rules are rules", async () => {
  await using server = answerServer(() => ({ rules: {} }));
  await using rig = await open(server.url);
  assert.deepEqual(await rulesOf(rig, ALICE), []);
});

Deno.test("rules are used again for their time, for the same client, name and groups", async () => {
  await using server = answerServer(() => ({ rules: RULES }));
  await using rig = await open(server.url, { cacheTtlMs: 1000 });
  await rulesOf(rig, ALICE);
  await rig.adjust(999);
  await rulesOf(rig, { ...ALICE, expiresAtMs: 5 });
  assert.equal(server.questions.length, 1);
  await rulesOf(rig, { ...ALICE, clientId: "d" });
  await rulesOf(rig, { ...ALICE, username: "bob" });
  await rulesOf(rig, { ...ALICE, groups: ["ops", "more"] });
  assert.equal(server.questions.length, 4);
  await rig.adjust(1);
  await rulesOf(rig, ALICE);
  assert.equal(server.questions.length, 5);
});

for (
  const [title, answer] of [
    ["no rules", () => ({})],
    ["rules of null", () => ({ rules: null })],
    ["a rule that is wrong", () => ({ rules: [...RULES, { effect: "deny", action: "all", topics: ["#/a"] }] })],
    ["rules outside of an object", () => RULES],
    ["another status", () => Response.json({ rules: RULES }, { status: 500 })],
    ["no JSON", () => new Response("rules")],
  ] as const
) {
  Deno.test(`an answer with ${title} gives no rules, is told in the log, and is not remembered`, async () => {
    await using server = answerServer(answer);
    await using rig = await open(server.url);
    assert.equal(await rulesOf(rig, ALICE), undefined);
    assert.deepEqual(rig.log.map((line) => line.message), ["permission backend unavailable"]);
    assert.equal(await rulesOf(rig, ALICE), undefined);
    assert.equal(server.questions.length, 2);
  });
}

Deno.test("a server that does not answer gives no rules after the timeout", async () => {
  const arrived = new EventQueue<string>();
  await using server = rawServer((conn) => {
    arrived.push("connection");
    return silent(conn);
  });
  await using rig = await open(`http://127.0.0.1:${server.port}/`, { timeoutMs: 50 });
  const asking = rulesOf(rig, ALICE);
  await arrived.next("the connection");
  await rig.adjust(50);
  assert.equal(await asking, undefined);
});
