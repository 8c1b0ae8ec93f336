/**
 * Identities and rules from an HTTP server against a whole broker, the order of the providers, and what becomes of
 * clients while a server is down.
 */
import assert from "node:assert/strict";
import { rawServer, silent } from "../auth/backend_rig.ts";
import { type AnswerServer, answerServer, type Question } from "../auth/http/http_rig.ts";
import { makeIssuer } from "../auth/token/jwt_rig.ts";
import { attempt, connectCode } from "../support/connect_attempt.ts";
import { EventQueue } from "../support/event_queue.ts";
import { RawClient } from "../support/raw_client.ts";
import { assertKeeps } from "../support/secrecy.ts";
import { quickUserFile } from "../support/user_file.ts";
import { WatchedBroker } from "../support/watched_broker.ts";

const BAD_USER_NAME_OR_PASSWORD = 0x86;
const NOT_AUTHORIZED = 0x87;
const SERVER_UNAVAILABLE = 0x88;
const PASSWORD = "alice-Pa55word";
const TOKEN = "t0ken-of-the-broker";
const ANYWHERE = "listeners: [{name: anywhere, type: tcp, bind: '127.0.0.1:0', proxy-protocol: true}]\n";

/** What the server was asked, as far as tests look at it. */
function asked({ body }: Question): Record<string, unknown> {
  return body as Record<string, unknown>;
}

/** Answers about clients by their username; whoever is not listed is denied. */
function verdictServer(answers: Readonly<Record<string, () => unknown>>): AnswerServer {
  return answerServer((question) => answers[String(asked(question)["username"])]?.() ?? { result: "deny" });
}

function broken(): Response {
  return new Response("out of order", { status: 500 });
}

Deno.test("HTTP server: it says who a client is, its groups, its rules and its end", async () => {
  await using server = verdictServer({
    alice: () => ({ result: "allow", username: "Alice", groups: ["operators"] }),
    ruled: () => ({ result: "allow", acl: { publish: ["own/%u"], subscribe: [] } }),
    late: () => ({ result: "allow", expiresAt: 1_000_000_000 }),
    brief: () => ({ result: "allow", expiresAt: Math.floor(Date.now() / 1000) + 3 }),
    unknown: () => ({ result: "ignore" }),
  });
  const acl = "default: deny\nrules:\n  - {allow: all, groups: operators, topics: 'plant/%u'}\n";
  await using broker = await WatchedBroker.start({
    config: `auth: {allow-anonymous: false, acl-file: acl.yaml, http: {url: "${server.url}", token-file: token}}\n` +
      ANYWHERE,
    files: { "acl.yaml": acl, token: TOKEN },
  });
  const as = (username: string, host: number) =>
    attempt(broker.endpoint("anywhere"), { clientId: username, username, password: PASSWORD }, `192.0.2.${host}`);
  const publish = async ({ client }: Awaited<ReturnType<typeof as>>, topic: string) => {
    await client.sendPacket("publish", { topic, qos: 1, id: 1 });
    return (await client.expect("puback")).wire.reasonCode;
  };
  await using brief = await as("brief", 1);
  assert.equal(brief.code, 0);
  await using alice = await as("alice", 2);
  assert.equal(await publish(alice, "plant/Alice"), 0x10);
  assert.equal(await publish(alice, "plant/alice"), NOT_AUTHORIZED);
  await using ruled = await as("ruled", 3);
  assert.equal(await publish(ruled, "own/ruled"), 0x10);
  assert.equal(await publish(ruled, "plant/ruled"), NOT_AUTHORIZED);
  for (const [username, host] of [["late", 4], ["unknown", 5], ["stranger", 6]] as const) {
    await using refused = await as(username, host);
    assert.equal(refused.code, BAD_USER_NAME_OR_PASSWORD, username);
  }
  const questions = server.questions.length;
  assert.equal(await connectCode(broker.endpoint("anywhere"), { clientId: "n" }, "192.0.2.7"), NOT_AUTHORIZED);
  assert.equal(server.questions.length, questions, "a client that claims nothing is not asked about");
  assert.equal(await broker.count("connects_refused", "http_denied"), 2);
  assert.equal(await broker.count("connects_refused", "unknown_user"), 1);
  assert.equal(await broker.count("connects_refused", "anonymous"), 1);
  assert.deepEqual(server.questions[1]!.authorization, `Bearer ${TOKEN}`);
  const expected = { clientId: "alice", username: "alice", password: PASSWORD, remoteAddress: "192.0.2.2" };
  assert.deepEqual(server.questions[1]!.body, expected);
  assert.equal((await brief.client.expect("disconnect")).wire.reasonCode, 0xa0);
  await brief.client.expectClose();
  const told = [await broker.metrics(), JSON.stringify(await broker.stop())].join();
  assertKeeps([PASSWORD, TOKEN], told, "log or /metrics");
});

Deno.test("HTTP rules: they hold per client, and without them a client is refused with 0x88", async () => {
  let isBroken = false;
  await using server = answerServer((question) =>
    isBroken ? broken() : { rules: { publish: [`for/${asked(question)["clientId"]}`] } }
  );
  const config = `auth: {http: {acl-url: "${server.url}", cache-ttl: 0s}}\n`;
  await using broker = await WatchedBroker.start({ config });
  await using one = await attempt(broker.endpoint(), { clientId: "one" });
  for (const [topic, reasonCode] of [["for/one", 0x10], ["for/two", NOT_AUTHORIZED]] as const) {
    await one.client.sendPacket("publish", { topic, qos: 1, id: 1 });
    assert.equal((await one.client.expect("puback")).wire.reasonCode, reasonCode);
  }
  assert.deepEqual(server.questions[0]!.body, { clientId: "one", groups: [] });
  isBroken = true;
  assert.equal(await connectCode(broker.endpoint(), { clientId: "two" }), SERVER_UNAVAILABLE);
  assert.equal(await connectCode(broker.endpoint(), { version: 4, clientId: "two" }), 3);
  assert.equal(await broker.count("connects_refused", "permissions_unavailable"), 2);
  const line = await broker.logged("permission backend unavailable");
  assert.match(String(line["error"]), /status 500/);
  isBroken = false;
  assert.equal(await connectCode(broker.endpoint(), { clientId: "two" }), 0);
});

Deno.test("chain: a server that is down refuses its clients with 0x88 and passes nobody on", async () => {
  let answer: () => unknown = broken;
  await using server = answerServer(() => answer());
  const auth = "chain: [http, password-file], password-file: users";
  const config = `auth: {allow-anonymous: true, ${auth}, http: {url: "${server.url}", cache-ttl: 0s}}\n`;
  await using broker = await WatchedBroker.start({
    config,
    files: { users: await quickUserFile({ alice: PASSWORD }) },
  });
  const alice = { clientId: "a", username: "alice", password: PASSWORD };
  for (
    const failure of [
      broken,
      () => "nonsense",
      () => ({ result: "perhaps" }),
      () => ({ result: "allow", acl: 7 }),
    ]
  ) {
    answer = failure;
    assert.equal(await connectCode(broker.endpoint(), alice), SERVER_UNAVAILABLE);
  }
  assert.equal(await connectCode(broker.endpoint(), { ...alice, version: 4 }), 3);
  assert.equal(await broker.count("connects_refused", "http_unavailable"), 5);
  answer = () => ({ result: "ignore" });
  assert.equal(await connectCode(broker.endpoint(), alice), 0, "the next in the chain knows the client");
  answer = () => ({ result: "deny" });
  assert.equal(await connectCode(broker.endpoint(), alice), BAD_USER_NAME_OR_PASSWORD);
  await server[Symbol.asyncDispose]();
  assert.equal(await connectCode(broker.endpoint(), alice), SERVER_UNAVAILABLE, "nobody listens there any more");
});

Deno.test("chain: the first provider that knows a client decides, and the next ones are not asked", async () => {
  await using server = verdictServer({ alice: () => ({ result: "allow" }), bob: () => ({ result: "allow" }) });
  // Nobody listens at the address of the keys: tokens can be judged by nobody.
  const jwt = "jwt: {jwks-url: 'http://127.0.0.1:1/keys'}";
  const config = `auth: {password-file: users, ${jwt}, http: {url: "${server.url}"}}\n${ANYWHERE}`;
  await using broker = await WatchedBroker.start({
    config,
    files: { users: await quickUserFile({ alice: PASSWORD }) },
  });
  const as = (username: string, password: string, host: number) =>
    connectCode(broker.endpoint("anywhere"), { clientId: "c", username, password }, `192.0.2.${host}`);
  assert.equal(await as("alice", PASSWORD, 1), 0);
  assert.equal(await as("alice", "wrong", 2), BAD_USER_NAME_OR_PASSWORD);
  assert.deepEqual(server.questions, [], "the password file knows alice");
  assert.equal(await as("bob", "whatever", 3), 0);
  assert.equal(server.questions.length, 1);
  const token = await (await makeIssuer("ES256")).sign({ sub: "bob", exp: Math.floor(Date.now() / 1000) + 600 });
  assert.equal(await as("bob", token, 4), SERVER_UNAVAILABLE);
  assert.equal(server.questions.length, 1, "a token that nobody could judge is shown to nobody else");
  assert.equal(await broker.count("connects_refused", "jwt_unavailable"), 1);
});

Deno.test("a broker that stops cuts off what it asks a directory, a web service and a key server, and says nothing of it", async () => {
  const seen = new EventQueue<string>();
  await using stack = new AsyncDisposableStack();
  const [jwks, ldap, http] = ["jwks", "ldap", "http"].map((name) =>
    stack.use(rawServer(async (conn) => {
      seen.push(`${name} asked`);
      await silent(conn);
      seen.push(`${name} left`);
    }))
  );
  const timeout = "timeout: 60s";
  const broker = stack.use(
    await WatchedBroker.start({
      config: [
        `auth: {chain: [jwt, ldap, http], jwt: {jwks-url: "http://127.0.0.1:${jwks!.port}/keys", ${timeout}},`,
        `  ldap: {url: "ldap://127.0.0.1:${ldap!.port}", user-dn: "uid={username},dc=x", ${timeout}},`,
        `  http: {url: "http://127.0.0.1:${http!.port}/", ${timeout}}}`,
        "listeners: [{name: anywhere, type: tcp, bind: '127.0.0.1:0'}]",
      ].join("\n"),
    }),
  );
  const token = await (await makeIssuer("ES256")).sign({ sub: "a", exp: Math.floor(Date.now() / 1000) + 600 });
  const ways = [
    ["jwks asked", { username: "", password: token }],
    ["ldap asked", { username: "alice", password: PASSWORD }],
    ["http asked", { username: "", password: PASSWORD }],
  ] as const;
  for (const [event, login] of ways) {
    const client = stack.use(await RawClient.open(broker.endpoint("anywhere")));
    await client.sendPacket("connect", { clientId: event, ...login });
    assert.equal(await seen.next(event), event);
  }
  const log = await broker.stop();
  const left = [await seen.next("a server is left"), await seen.next("another"), await seen.next("the last")];
  assert.deepEqual(left.sort(), ["http left", "jwks left", "ldap left"]);
  assert.deepEqual(log.filter(({ msg }) => /unavailable|cannot get the keys|died/.test(String(msg))), []);
});
