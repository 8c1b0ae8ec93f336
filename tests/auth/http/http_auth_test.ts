/** An HTTP server as identity provider: questions, answers, what is remembered of them, and what is no answer. */
import assert from "node:assert/strict";
import { BAD_ANSWER_KEEP_MS, HttpAuth } from "../../../src/auth/http/http_auth.ts";
import {
  HTTP_ANSWER_BYTES_MAX,
  HTTP_WAITING_MAX,
  type HttpAuthSettings,
  problemsOfHttp,
} from "../../../src/auth/http/http_backend.ts";
import { AuthFileInvalid, BackendSettingsInvalid } from "../../../src/auth/identity/errors.ts";
import { EventQueue } from "../../support/event_queue.ts";
import {
  ask,
  credentials,
  NOTICE_MS,
  openRig,
  rawServer,
  silent,
  START_MS,
  temporaryDirectory,
  verdictOf,
} from "../backend_rig.ts";
import { answerServer, httpSettings } from "./http_rig.ts";

const UNAVAILABLE = "refuse 0x88 http_unavailable";
const DENIED = "refuse 0x86 http_denied";
const ALLOW = { result: "allow" };

function open(url: string, changes: Partial<HttpAuthSettings> = {}) {
  return openRig(HttpAuth, HttpAuth.layer(httpSettings({ url, ...changes })));
}

Deno.test("a question has what the client gave, and nothing of what it did not give", async () => {
  await using server = answerServer(() => ALLOW);
  await using rig = await open(server.url);
  assert.equal(rig.service.name, "http");
  await ask(rig, "alice", "pässword");
  await ask(rig, "alice", Uint8Array.of(0xff, 0x00));
  await ask(rig, "token-1");
  await ask(rig, undefined, "");
  const common = { clientId: "c", remoteAddress: "192.0.2.1" };
  assert.deepEqual(server.questions.map((question) => question.body), [
    { ...common, username: "alice", password: "pässword" },
    { ...common, username: "alice", passwordBase64: "/wA=" },
    { ...common, username: "token-1" },
    { ...common, password: "" },
  ]);
  const [{ method, path, contentType, authorization }] = server.questions as [typeof server.questions[0]];
  assert.deepEqual([method, path, contentType, authorization], ["POST", "/auth", "application/json", null]);
});

Deno.test("a client that gives neither name nor password is not asked about", async () => {
  await using server = answerServer(() => ALLOW);
  await using rig = await open(server.url);
  assert.equal(await ask(rig), "pass");
  assert.deepEqual(server.questions, []);
});

Deno.test("allow, deny and ignore mean what they say", async () => {
  await using server = answerServer(({ body }) => ({ result: (body as { password: string }).password }));
  await using rig = await open(server.url);
  assert.equal(await ask(rig, "alice", "allow"), "accept alice");
  assert.equal(await ask(rig, "alice", "deny"), DENIED);
  assert.equal(await ask(rig, "alice", "ignore"), "pass");
  assert.equal(await ask(rig, undefined, "deny"), "refuse 0x87 http_denied");
  assert.deepEqual(rig.log, []);
});

Deno.test("an answer names the client, its groups, its rules and its end", async () => {
  const expiresAt = START_MS / 1000 + 5;
  const acl = [{ effect: "allow", action: "publish", topics: ["a/#"], "max-qos": 1 }];
  await using server = answerServer(() => ({ ...ALLOW, username: "bob", groups: ["ops"], acl, expiresAt, more: 1 }));
  await using rig = await open(server.url);
  assert.deepEqual(await verdictOf(rig.service, rig.ask, credentials("token-1", "x")), {
    kind: "accept",
    identity: {
      username: "bob",
      groups: ["ops"],
      rules: [{ effect: "allow", action: "publish", topics: ["a/#"], qosMax: 1 }],
      expiresAtMs: START_MS + 5000,
    },
  });
});

Deno.test("an identity without a name in question and answer has none, and an empty name is none", async () => {
  await using server = answerServer(() => ALLOW);
  await using rig = await open(server.url);
  assert.equal(await ask(rig, undefined, "x"), "accept undefined");
  assert.equal(await ask(rig, "", "x"), "accept undefined");
});

const huge = JSON.stringify({ ...ALLOW, filler: "x".repeat(HTTP_ANSWER_BYTES_MAX) });

/** What is no answer, and what the log says of it. */
const NO_ANSWERS: readonly (readonly [title: string, answer: () => unknown, detail: RegExp])[] = [
  ["a list", () => [ALLOW], /no object/],
  ["null", () => null, /no object/],
  ["no result", () => ({}), /neither allow nor deny nor ignore/],
  ["another result", () => ({ result: "Allow" }), /neither allow nor deny nor ignore/],
  ["a result of true", () => ({ result: true }), /neither allow nor deny nor ignore/],
  ["an empty username", () => ({ ...ALLOW, username: "" }), /username is none/],
  ["a username of null", () => ({ ...ALLOW, username: null }), /username is none/],
  ["a username with a line feed", () => ({ ...ALLOW, username: "a\nb" }), /username is none/],
  ["groups that are a text", () => ({ ...ALLOW, groups: "ops" }), /groups/],
  ["a group that is a number", () => ({ ...ALLOW, groups: [1] }), /groups/],
  ["too many groups", () => ({ ...ALLOW, groups: Array.from({ length: 1001 }, (_, i) => `g${i}`) }), /groups/],
  ["rules of null", () => ({ ...ALLOW, acl: null }), /acl is no list/],
  ["a rule that is wrong", () => ({ ...ALLOW, acl: [{ effect: "deny", action: "all", topics: ["a/#/b"] }] }), /acl/],
  ["an end that is a text", () => ({ ...ALLOW, expiresAt: "2030-01-01" }), /expiresAt is no time/],
  ["an end before all time", () => ({ ...ALLOW, expiresAt: -1 }), /expiresAt is no time/],
  ["an end beyond all time", () => ({ ...ALLOW, expiresAt: 1e300 }), /expiresAt is no time/],
  ["no JSON", () => new Response("allow"), /is no JSON/],
  ["nothing", () => new Response(null), /is no JSON/],
  ["bytes that are no UTF-8", () => new Response(Uint8Array.of(0x22, 0xff, 0x22)), /is no JSON/],
  ["too much", () => new Response(huge), /is larger than 1048576 bytes/],
  ["status 201", () => Response.json(ALLOW, { status: 201 }), /has status 201/],
  ["status 204", () => new Response(null, { status: 204 }), /has status 204/],
  ["status 401", () => Response.json({ result: "deny" }, { status: 401 }), /has status 401/],
  ["status 500", () => Response.json(ALLOW, { status: 500 }), /has status 500/],
];

for (const [title, answer, detail] of NO_ANSWERS) {
  Deno.test(`an answer with ${title} refuses the client as if the server were down`, async () => {
    await using server = answerServer(answer);
    await using rig = await open(server.url);
    assert.equal(await ask(rig, "alice", "hunter2"), UNAVAILABLE);
    assert.equal(rig.log.length, 1);
    assert.match(String(rig.log[0]!.fields!["error"]), detail);
    assert(!JSON.stringify(rig.log).includes("hunter2"));
    // And is not remembered.
    assert.equal(await ask(rig, "alice", "hunter2"), UNAVAILABLE);
    assert.equal(server.questions.length, 2);
  });
}

Deno.test("a redirection is not followed", async () => {
  await using other = answerServer(() => ALLOW);
  await using server = answerServer(() => Response.redirect(other.url, 307));
  await using rig = await open(server.url);
  assert.equal(await ask(rig, "alice", "secret"), UNAVAILABLE);
  assert.deepEqual(other.questions, []);
});

Deno.test("a server that does not answer is left after the timeout, before and in its answer", async () => {
  const beginning = new TextEncoder().encode("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{");
  for (const said of [new Uint8Array(0), beginning]) {
    const arrived = new EventQueue<string>();
    await using server = rawServer(async (conn) => {
      await conn.write(said);
      arrived.push("connection");
      await silent(conn);
    });
    await using rig = await open(`http://127.0.0.1:${server.port}/?key=hunter2`, { timeoutMs: 50 });
    const asking = ask(rig, "alice", "secret");
    await arrived.next("the connection");
    await rig.adjust(50);
    assert.equal(await asking, UNAVAILABLE);
    const error = "http is unavailable: cannot identify a client: no answer within 50 ms";
    assert.deepEqual(rig.log, [{ message: "identity backend unavailable", fields: { backend: "http", error } }]);
  }
});

Deno.test("a server that is not there refuses the client, and the log has nothing of the query", async () => {
  const server = rawServer(silent);
  await server[Symbol.asyncDispose]();
  await using rig = await open(`http://127.0.0.1:${server.port}/?key=hunter2`);
  assert.equal(await ask(rig, "alice", "secret"), UNAVAILABLE);
  const error = String(rig.log[0]!.fields!["error"]);
  assert(error.includes(`http://127.0.0.1:${server.port})`) && error.endsWith("Connection refused"), error);
  assert(!JSON.stringify(rig.log).includes("hunter2"));
});

Deno.test("the token goes with every question, also a new one, and a broken file keeps the old", async () => {
  await using files = await temporaryDirectory();
  const tokenFile = `${files.path}/token`;
  await Deno.writeTextFile(tokenFile, "first-token\n");
  await using server = answerServer(() => ALLOW);
  await using rig = await open(server.url, { tokenFile, cacheTtlMs: 0 });
  await ask(rig, "alice", "x");
  await Deno.writeTextFile(tokenFile, "second-token");
  await rig.adjust(NOTICE_MS);
  await ask(rig, "alice", "x");
  await Deno.writeTextFile(tokenFile, "third token");
  await rig.adjust(NOTICE_MS);
  await ask(rig, "alice", "x");
  await Deno.remove(tokenFile);
  await rig.adjust(NOTICE_MS);
  await ask(rig, "alice", "x");
  const expected = ["first-token", "second-token", "second-token", "second-token"].map((token) => `Bearer ${token}`);
  assert.deepEqual(server.questions.map((question) => question.authorization), expected);
  assert.equal(rig.log.filter((line) => line.message.startsWith("changed file refused")).length, 2);
  assert(!/(first|second|third).token/.test(JSON.stringify(rig.log)));
});

Deno.test("allow is remembered for its time, for exactly the same credentials", async () => {
  await using server = answerServer(() => ALLOW);
  await using rig = await open(server.url, { cacheTtlMs: 60_000 });
  const same = credentials("alice", "x");
  const others = [
    { ...same, clientId: "d" },
    { ...same, username: "alicf" },
    { ...same, username: undefined },
    { ...same, password: new TextEncoder().encode("y") },
    { ...same, password: undefined },
    { ...same, remoteAddress: "192.0.2.2" },
  ];
  await verdictOf(rig.service, rig.ask, same);
  await rig.adjust(59_999);
  await verdictOf(rig.service, rig.ask, same);
  assert.equal(server.questions.length, 1);
  for (const other of others) await verdictOf(rig.service, rig.ask, other);
  assert.equal(server.questions.length, 1 + others.length);
  await rig.adjust(1);
  await verdictOf(rig.service, rig.ask, same);
  assert.equal(server.questions.length, 2 + others.length);
});

Deno.test("allow is not remembered beyond the end it says, and refused when that is over", async () => {
  const expiresAt = START_MS / 1000 + 10;
  await using server = answerServer(() => ({ ...ALLOW, expiresAt }));
  await using rig = await open(server.url, { cacheTtlMs: 60_000 });
  assert.equal(await ask(rig, "alice", "x"), "accept alice");
  await rig.adjust(9_999);
  assert.equal(await ask(rig, "alice", "x"), "accept alice");
  assert.equal(server.questions.length, 1);
  await rig.adjust(1);
  assert.equal(await ask(rig, "alice", "x"), DENIED);
  assert.equal(server.questions.length, 2);
});

Deno.test("deny and ignore are remembered for a short time", async () => {
  for (const [result, verdict] of [["deny", DENIED], ["ignore", "pass"]] as const) {
    await using server = answerServer(() => ({ result }));
    await using rig = await open(server.url, { cacheTtlMs: 60_000 });
    assert.equal(await ask(rig, "alice", "x"), verdict);
    await rig.adjust(BAD_ANSWER_KEEP_MS - 1);
    assert.equal(await ask(rig, "alice", "x"), verdict);
    assert.equal(server.questions.length, 1);
    await rig.adjust(1);
    assert.equal(await ask(rig, "alice", "x"), verdict);
    assert.equal(server.questions.length, 2);
  }
});

Deno.test("without a time to remember, every question is asked", async () => {
  await using server = answerServer(() => ALLOW);
  await using rig = await open(server.url, { cacheTtlMs: 0 });
  await ask(rig, "alice", "x");
  await ask(rig, "alice", "x");
  assert.equal(server.questions.length, 2);
});

Deno.test("the same question is asked once for all who ask it at the same time", async () => {
  const arrived = new EventQueue<string>();
  const hold = Promise.withResolvers<unknown>();
  await using server = answerServer(() => {
    arrived.push("question");
    return hold.promise;
  });
  await using rig = await open(server.url, { cacheTtlMs: 0 });
  const asking = Array.from({ length: 10 }, () => ask(rig, "alice", "x"));
  await arrived.next("the question");
  hold.resolve(ALLOW);
  assert.deepEqual(new Set(await Promise.all(asking)), new Set(["accept alice"]));
  assert.equal(server.questions.length, 1);
});

Deno.test("requests at once are bounded, others wait, and beyond the line clients are told that it is busy", async () => {
  const arrived = new EventQueue<string>();
  const hold = Promise.withResolvers<unknown>();
  let atOnce = 0;
  let atOnceMax = 0;
  await using server = answerServer(async () => {
    atOnceMax = Math.max(atOnceMax, ++atOnce);
    arrived.push("question");
    await hold.promise;
    atOnce--;
    return ALLOW;
  });
  await using rig = await open(server.url, { concurrency: 3 });
  const asking = Array.from({ length: HTTP_WAITING_MAX + 3 }, (_, i) => ask(rig, `user${i}`, "x"));
  for (let i = 0; i < 3; i++) await arrived.next("a question");
  assert.equal(await ask(rig, "late", "x"), "refuse 0x89 http_busy");
  hold.resolve(undefined);
  assert.deepEqual(await Promise.all(asking), Array.from(asking, (_, i) => `accept user${i}`));
  assert.equal(atOnceMax, 3);
});

Deno.test("closing cuts off the question that is under way", async () => {
  const seen = new EventQueue<string>();
  await using server = rawServer(async (conn) => {
    seen.push("connection");
    await silent(conn);
    seen.push("its end");
  });
  const rig = await open(`http://127.0.0.1:${server.port}/`);
  let isAnswered = false;
  ask(rig, "alice", "x").then(() => isAnswered = true);
  await seen.next("the connection");
  await rig[Symbol.asyncDispose]();
  assert.equal(await seen.next("its end"), "its end");
  assert.deepEqual([isAnswered, rig.log], [false, []]);
});

Deno.test("settings that make no sense are told all at once", () => {
  const url = "ftp://x";
  assert.deepEqual(problemsOfHttp(url, httpSettings({ url, timeoutMs: 0, concurrency: 0 })), [
    "the address is not of the form http://host/path or https://host/path",
    "the timeout is not above 0",
    "the number of requests at once is not above 0",
  ]);
  assert.match(problemsOfHttp("http://u:p@h/", httpSettings({}))[0]!, /token file/);
  assert.equal(problemsOfHttp(undefined, httpSettings({})).length, 1);
  assert.deepEqual(problemsOfHttp("https://h/path?x=1", httpSettings({})), []);
});

Deno.test("the layer fails with settings or a token that cannot be used, and shows no secret", async () => {
  await using files = await temporaryDirectory();
  const tokenFile = `${files.path}/token`;
  await Deno.writeTextFile(tokenFile, "hunter2 hunter3");
  await assert.rejects(open("nonsense"), BackendSettingsInvalid);
  await assert.rejects(
    open("http://127.0.0.1:1/", { tokenFile }),
    (error: unknown) => error instanceof AuthFileInvalid && !error.message.includes("hunter"),
  );
});

Deno.test("a server elsewhere without TLS is warned of, one on this host is not", async () => {
  await using elsewhere = await open("http://192.0.2.7/");
  assert.deepEqual(elsewhere.log.map((line) => line.message), ["credentials go to the backend in the clear"]);
  await using here = await open("http://127.0.0.1:1/");
  assert.deepEqual(here.log, []);
});
