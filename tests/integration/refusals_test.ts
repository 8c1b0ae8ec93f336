/**
 * Every way to be refused, against a whole broker: the code on the wire in both families of versions is the one that
 * `docs/refusals.md` promises, the counter has each refusal, and the log says why without saying too much.
 */
import assert from "node:assert/strict";
import { LABELS_MAX } from "../../src/metrics/labelled_counter.ts";
import { answerServer } from "../auth/http/http_rig.ts";
import { makeIssuer } from "../auth/token/jwt_rig.ts";
import { connectCode, connectedFrom, proxyHeader } from "../support/connect_attempt.ts";
import { RawClient, type Received } from "../support/raw_client.ts";
import {
  limitReasonsInCode,
  readRefusalDocument,
  refusalReasonsInCode,
  unknownRefusingFiles,
} from "../support/refusal_reasons.ts";
import { type Refusal, RefusalTries, rowOf } from "../support/refusal_tries.ts";
import { assertKeeps } from "../support/secrecy.ts";
import { quickUserFile, runCommand } from "../support/user_file.ts";
import { WatchedBroker } from "../support/watched_broker.ts";
import { toHex } from "../support/wire_bytes.ts";
import type { WireProperty } from "../support/wire_properties.ts";

const DOCUMENT = readRefusalDocument();
const PASSWORD = "alice-Pa55word";
const WRONG = "wr0ng-Pa55word";
const SECRET = "a secret of at least thirty-two bytes, shared with the issuer";
const TOKEN = "t0ken-of-the-broker";

Deno.test("refusals: the document has a row for every reason in the code, and no other", () => {
  assert.deepEqual(unknownRefusingFiles(), []);
  const refused = refusalReasonsInCode();
  assert.deepEqual([...DOCUMENT.connects_refused.keys()], [...refused].sort());
  assert.deepEqual([...DOCUMENT.clients_limited.keys()], [...limitReasonsInCode()].sort());
  assert.ok(refused.size <= LABELS_MAX, "more reasons than the counter tells apart");
});

const GATES = [
  "{name: strict, allow-anonymous: false}",
  "{name: everybody, allow-anonymous: true}",
  "{name: five, allow-anonymous: true, protocol-versions: [5]}",
  "{name: four, allow-anonymous: true, protocol-versions: [3.1.1]}",
  "{name: small, allow-anonymous: true, max-connections: 1}",
].map((gate) => gate.replace("{", "{type: tcp, bind: '127.0.0.1:0', proxy-protocol: true, "));

/** Everything that can refuse by itself, and an HTTP server that says what a test wants to hear. */
async function openWorld() {
  const stack = new AsyncDisposableStack();
  const issuer = await makeIssuer("ES256", "key");
  const server = stack.use(answerServer(({ body, path }) => answerOf(body as Record<string, unknown>, path)));
  const jwt = "{key-file: keys.json, secret-file: secret, issuer: us, audience: broker, leeway: 0s}";
  const http = `{url: "${server.url}", acl-url: "${server.url}/rules", token-file: token, cache-ttl: 0s}`;
  const config = [
    `auth: {password-file: users, jwt: ${jwt}, http: ${http}, ban-file: bans,`,
    "  failures-free: 0, failure-delay: 1h, failure-delay-max: 1h}",
    "mqtt: {max-qos: 1, retain-available: false, max-client-id-len: 64}",
    `listeners: [${GATES.join(", ")}]`,
    "limits: {connections-per-address: 20}",
  ].join("\n");
  const files = {
    "keys.json": JSON.stringify({ keys: [issuer.jwk] }),
    secret: SECRET,
    token: TOKEN,
    users: await quickUserFile({ alice: PASSWORD }),
    bans: "client banned-client\nuser bob\naddress 203.0.113.0/24\n",
  };
  const broker = stack.use(await WatchedBroker.start({ config, files }));
  return { broker, issuer, config, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

function answerOf({ username, clientId }: Record<string, unknown>, path: string): unknown {
  if (path.endsWith("/rules")) {
    if (clientId === "no-rules") return new Response("", { status: 503 });
    return { rules: clientId === "no-will" ? {} : { publish: ["#"], subscribe: ["#"] } };
  }
  if (username === "denied") return { result: "deny" };
  return username === "broken" ? "nonsense" : { result: "ignore" };
}

function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

Deno.test("refusals: by identity, rules, bans and the CONNECT itself; told as promised, counted, logged, and no secret in it", async () => {
  await using world = await openWorld();
  const { broker } = world;
  const tries = new RefusalTries(broker);
  const alice = { username: "alice", password: PASSWORD };
  await using owner = await connectedFrom(broker.endpoint("strict"), { clientId: "owned", ...alice }, "192.0.2.1");
  const tokens = await refusedTokens(world.issuer);
  const ways: readonly Refusal[] = [
    { reason: "anonymous", listener: "strict", fields: {} },
    { reason: "unknown_user", fields: { username: "nobody", password: WRONG } },
    { reason: "bad_password", fields: { username: "alice", password: WRONG } },
    { reason: "http_denied", fields: { username: "denied", password: WRONG } },
    { reason: "http_unavailable", fields: { username: "broken", password: WRONG } },
    ...tokens.map(([reason, password]) => ({ reason, fields: { username: "", password } })),
    { reason: "username_mismatch", fields: { username: "other", password: await goodToken(world.issuer) } },
    { reason: "banned", fields: { clientId: "banned-client" } },
    { reason: "permissions_unavailable", fields: { clientId: "no-rules" } },
    { reason: "will_not_authorized", fields: { clientId: "no-will", will: { topic: "will" } } },
    { reason: "session_of_another_user", fields: { clientId: "owned" } },
    { reason: "client_identifier_not_valid", fields: { clientId: "x".repeat(65) } },
    { reason: "qos_not_supported", fields: { will: { topic: "will", qos: 2 } } },
    { reason: "retain_not_supported", fields: { will: { topic: "will", retain: true } } },
    { reason: "not_authorized", fields: { will: { topic: "$SYS/will" } } },
    { reason: "topic_name_invalid", fields: { will: { topic: "will/+" } } },
    { reason: "payload_format_invalid", fields: { will: UNTRUE_WILL } },
    { reason: "malformed_packet", fields: { connectFlags: 3 } },
    { reason: "protocol_error", fields: { properties: [["receiveMaximum", 1], ["receiveMaximum", 2]] } },
    { reason: "bad_authentication_method", fields: { properties: [["authenticationMethod", "PLAIN"]] } },
    ...SCRAM_FIRST.map(([reason, message]) => ({ reason, fields: { properties: scram(message) } })),
  ];
  for (const way of ways) await tries.refused(way);
  await refusedInBurst(broker, tries);
  await refusedVersions(broker, tries);
  await refusedNonce(broker, tries);
  await refusedDoors(broker, tries);
  await refusedForFailures(broker, tries);
  await owner.expectQuiet();

  await broker.write("promptmq.yaml", world.config.replace("limits: {", "limits: {memory-high-water: 1B, "));
  broker.reload();
  await broker.logged(
    "memory is high, connects are refused and publishers wait until clients have taken what waits for them",
  );
  await tries.refused({ reason: "memory_high", fields: {} });

  const shown = await runCommand(["config", "show", "--config", `${broker.directory}/promptmq.yaml`]);
  const metrics = await broker.metrics();
  const log = await broker.stop();
  tries.checkLog(log);
  const secrets = [PASSWORD, WRONG, SECRET, TOKEN, ...tokens.flatMap(([, token]) => [token, token.split(".")[1]!])];
  for (const [where, text] of Object.entries({ metrics, log: JSON.stringify(log), "config show": shown })) {
    assertKeeps(secrets, text, where);
  }
});

const UNTRUE_WILL = { topic: "w", payload: { hex: "ff" }, properties: [["payloadFormatIndicator", 1]] } as const;

const SCRAM_FIRST: readonly (readonly [reason: string, message: string])[] = [
  ["scram_malformed", "let me in"],
  ["scram_channel_binding", "p=tls-unique,,n=alice,r=nonce"],
  ["scram_extension", "n,,m=more,n=alice,r=nonce"],
  ["scram_authzid", "n,a=bob,n=alice,r=nonce"],
];

function scram(message: string): readonly WireProperty[] {
  const data = toHex(new TextEncoder().encode(message));
  return [["authenticationMethod", "SCRAM-SHA-256"], ["authenticationData", data]];
}

type Issuer = Awaited<ReturnType<typeof makeIssuer>>;

function claims(more: Record<string, unknown> = {}) {
  return { sub: "gateway-7", iss: "us", aud: "broker", exp: nowSeconds() + 600, ...more };
}

async function goodToken(issuer: Issuer): Promise<string> {
  return await issuer.sign(claims());
}

/** A token for every reason that tokens are refused for. */
async function refusedTokens(issuer: Issuer): Promise<(readonly [reason: string, token: string])[]> {
  const stranger = await makeIssuer("ES256", "key");
  const none = btoa(JSON.stringify({ alg: "none" })).replaceAll("=", "");
  return [
    ["token_algorithm", `${none}.${(await issuer.sign(claims())).split(".")[1]}.`],
    ["token_audience", await issuer.sign(claims({ aud: "another" }))],
    ["token_claims", await issuer.sign(claims({ groups: 7 }))],
    ["token_expired", await issuer.sign(claims({ exp: nowSeconds() - 60 }))],
    ["token_issuer", await issuer.sign(claims({ iss: "them" }))],
    ["token_key_unknown", await issuer.sign(claims(), { kid: "another" })],
    ["token_malformed", await issuer.sign(claims(), { zip: "DEF" })],
    ["token_not_yet_valid", await issuer.sign(claims({ nbf: nowSeconds() + 600 }))],
    ["token_signature", await stranger.sign(claims())],
    ["token_too_long", await issuer.sign(claims({ padding: "x".repeat(16_384) }))],
  ];
}

/** So many of one kind that the log must sum them up. */
async function refusedInBurst(broker: WatchedBroker, tries: RefusalTries): Promise<void> {
  for (let count = 0; count < 100; count++) {
    const address = tries.freshAddress();
    tries.note("anonymous", address);
    assert.equal(await connectCode(broker.endpoint("strict"), { clientId: `burst-${count}` }, address), 0x87);
  }
  await tries.counted("anonymous");
}

/** A version that a listener does not serve. */
async function refusedVersions(broker: WatchedBroker, tries: RefusalTries): Promise<void> {
  const reason = "unsupported_protocol_version";
  const { reasonCode, returnCode } = rowOf(reason);
  for (const [listener, version, code] of [["four", 5, reasonCode], ["five", 4, returnCode]] as const) {
    const address = tries.freshAddress();
    tries.note(reason, address);
    assert.equal(await connectCode(broker.endpoint(listener), { clientId: "v", version }, address), code);
  }
  await tries.counted(reason);
}

/** The last message of one exchange of SCRAM in another. */
async function refusedNonce(broker: WatchedBroker, tries: RefusalTries): Promise<void> {
  const address = tries.freshAddress();
  tries.note("scram_nonce", address);
  await using client = await RawClient.open(broker.endpoint("everybody"));
  await client.send(proxyHeader(address));
  await client.sendPacket("connect", { clientId: "n", properties: scram("n,,n=alice,r=nonce") });
  await client.expect("auth");
  await client.sendPacket("auth", { reasonCode: 0x18, properties: scram(`c=biws,r=another,p=${"A".repeat(43)}=`) });
  const { wire } = await client.expect("connack");
  assert.equal(wire.reasonCode, rowOf("scram_nonce").reasonCode);
  await tries.counted("scram_nonce");
}

/** What is closed before a CONNECT was read. */
async function refusedDoors(broker: WatchedBroker, tries: RefusalTries): Promise<void> {
  const closed = async (listener: string, reason: string, address: string) => {
    await using client = await RawClient.open(broker.endpoint(listener));
    await client.send(proxyHeader(address));
    await client.expectClose();
    tries.note(reason, address);
    await tries.counted(reason);
  };
  await using first = await connectedFrom(broker.endpoint("small"), { clientId: "first" }, tries.freshAddress());
  await closed("small", "listener_full", tries.freshAddress());
  await first.expectQuiet();

  await using crowd = new AsyncDisposableStack();
  const address = tries.freshAddress();
  for (let count = 0; count < 20; count++) {
    crowd.use(await connectedFrom(broker.endpoint("everybody"), { clientId: `crowd-${count}` }, address));
  }
  await closed("everybody", "address_connections", address);

  await using headless = await RawClient.open(broker.endpoint("everybody"));
  await headless.sendPacket("connect", { clientId: "c" });
  await headless.expectClose();
  tries.note("proxy_header", "127.0.0.1");
  await tries.counted("proxy_header");
}

/** One failure makes the next attempts of an address wait for an hour; as many as may wait do, and one more does not. */
async function refusedForFailures(broker: WatchedBroker, tries: RefusalTries): Promise<void> {
  const { reasonCode, returnCode } = rowOf("too_many_failures");
  const address = tries.freshAddress();
  const wrong = { username: "alice", password: WRONG };
  assert.equal(await connectCode(broker.endpoint("strict"), { clientId: "w", ...wrong }, address), 0x86);
  tries.note("bad_password", address);
  await using clients = new AsyncDisposableStack();
  const answers: Promise<Received>[] = [];
  for (let count = 0; count <= WAITING_MAX; count++) {
    const client = clients.use(await RawClient.open(broker.endpoint("strict")));
    await client.send(proxyHeader(address));
    await client.sendPacket("connect", { clientId: `w-${count}`, ...wrong });
    const answer = client.expect("connack");
    // Those that wait hear nothing until the end of the test.
    answer.catch(() => {});
    answers.push(answer);
  }
  assert.equal((await Promise.race(answers)).wire.reasonCode, reasonCode);
  const code = await connectCode(broker.endpoint("strict"), { version: 4, clientId: "w-4", ...wrong }, address);
  assert.equal(code, returnCode);
  for (let count = 0; count < 2; count++) tries.note("too_many_failures", address);
  await tries.counted("too_many_failures");
}

/** Attempts of one address that may wait for their turn. */
const WAITING_MAX = 16;
