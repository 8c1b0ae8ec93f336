/** Permission rules from an HTTP server. */
import assert from "node:assert/strict";
import type { HttpAuthSettings } from "../../../src/auth/http/http_backend.ts";
import { HttpRules } from "../../../src/auth/http/http_rules.ts";
import type { Principal } from "../../../src/auth/identity/authorizer.ts";
import { openRig, rawServer, silent } from "../backend_rig.ts";
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

Deno.test("the rules of a client are asked for with its identity, and read in their order", async () => {
  await using server = answerServer(() => ({ rules: RULES }));
  await using rig = await open(server.url);
  assert.deepEqual(await rig.service.rulesFor(ALICE), RULES);
  await rig.service.rulesFor({ ...ALICE, username: undefined, groups: [] });
  assert.deepEqual(server.questions.map((question) => question.body), [
    { clientId: "c", username: "alice", groups: ["ops"] },
    { clientId: "c", groups: [] },
  ]);
});

Deno.test("the short form of rules is read too, and no rules are rules", async () => {
  await using server = answerServer(() => ({ rules: {} }));
  await using rig = await open(server.url);
  assert.deepEqual(await rig.service.rulesFor(ALICE), []);
});

Deno.test("rules are used again for their time, for the same client, name and groups", async () => {
  await using server = answerServer(() => ({ rules: RULES }));
  await using rig = await open(server.url, { cacheTtlMs: 1000 });
  await rig.service.rulesFor(ALICE);
  await rig.adjust(999);
  await rig.service.rulesFor({ ...ALICE, expiresAtMs: 5 });
  assert.equal(server.questions.length, 1);
  await rig.service.rulesFor({ ...ALICE, clientId: "d" });
  await rig.service.rulesFor({ ...ALICE, username: "bob" });
  await rig.service.rulesFor({ ...ALICE, groups: ["ops", "more"] });
  assert.equal(server.questions.length, 4);
  await rig.adjust(1);
  await rig.service.rulesFor(ALICE);
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
    assert.equal(await rig.service.rulesFor(ALICE), undefined);
    assert.deepEqual(rig.log.map((line) => line.message), ["permission backend unavailable"]);
    assert.equal(await rig.service.rulesFor(ALICE), undefined);
    assert.equal(server.questions.length, 2);
  });
}

Deno.test("a server that does not answer gives no rules after the timeout", async () => {
  await using server = rawServer(silent);
  await using rig = await open(`http://127.0.0.1:${server.port}/`, { timeoutMs: 50 });
  assert.equal(await rig.service.rulesFor(ALICE), undefined);
});
