/**
 * Refusals that need a broker at its bounds or with backends that do not answer: connections, time, hashes, servers that
 * are down, TLS. Codes as in `docs/refusals.md`, counted and logged.
 */
import assert from "node:assert/strict";
import { temporaryDirectory } from "../auth/backend_rig.ts";
import { answerServer } from "../auth/http/http_rig.ts";
import { makeIssuer } from "../auth/token/jwt_rig.ts";
import { OPENSSL, TestAuthority } from "../support/certificates.ts";
import { connectedFrom, proxyHeader } from "../support/connect_attempt.ts";
import { EventQueue } from "../support/event_queue.ts";
import { RawClient } from "../support/raw_client.ts";
import { RefusalTries, rowOf } from "../support/refusal_tries.ts";
import { sayConnect, tlsOptions } from "../support/secure_broker.ts";
import { testWithTools } from "../support/tools.ts";
import { addUser } from "../support/user_file.ts";
import { WatchedBroker } from "../support/watched_broker.ts";
import { encodeWire, type WireFields } from "../support/wire_packets.ts";

const PASSWORD = "alice-Pa55word";
const EVERYBODY = "listeners: [{name: everybody, type: tcp, bind: '127.0.0.1:0', proxy-protocol: true}]";

/** A Protocol Level and a code of CONNACK. */
type Answer = readonly [version: number, code: number];

/** Sends a CONNECT that is answered later. */
async function connectLater(
  broker: WatchedBroker,
  fields: WireFields & { readonly version: number },
  address: string,
  codes: EventQueue<Answer>,
): Promise<RawClient> {
  const client = await RawClient.open(broker.endpoint("everybody"), fields.version);
  await client.send(proxyHeader(address), encodeWire("connect", fields, fields.version));
  client.expect("connack").then(
    ({ wire }) => codes.push([fields.version, wire.reasonCode!]),
    // The test was over before it was answered.
    () => {},
  );
  return client;
}

Deno.test("refusals: backends that are down or busy, and more passwords than can be hashed", async () => {
  await using directory = await temporaryDirectory();
  const users = `${directory.path}/users`;
  await addUser(users, "alice", PASSWORD);
  const ended = Promise.withResolvers<unknown>();
  await using server = answerServer(({ body }) =>
    (body as Record<string, unknown>)["username"] === "slow" ? ended.promise : { result: "ignore" }
  );
  const nobody = "127.0.0.1:1";
  const config = [
    `auth: {chain: [jwt, password-file, http, ldap], password-file: "${users}", failures-free: 1000,`,
    `  jwt: {jwks-url: "http://${nobody}/keys"}, ldap: {url: "ldap://${nobody}", user-dn: "uid={username},dc=x"},`,
    `  http: {url: "${server.url}", timeout: 200ms, concurrency: 1, cache-ttl: 0s}}`,
    EVERYBODY,
  ].join("\n");
  await using broker = await WatchedBroker.start({ config });
  const tries = new RefusalTries(broker);
  const token = await (await makeIssuer("ES256")).sign({ sub: "a", exp: Math.floor(Date.now() / 1000) + 600 });
  await tries.refused({ reason: "jwt_unavailable", fields: { username: "", password: token } });
  await tries.refused({ reason: "ldap_unavailable", fields: { username: "bob", password: PASSWORD } });
  await refusedForBusyServer(broker, tries);
  ended.resolve({ result: "deny" });
  await refusedForHashes(broker);
  const log = await broker.stop();
  tries.checkLog(log);
  for (const [backend, reason] of [["ldap", "ldap_unavailable"], ["http", "http_busy"]] as const) {
    const line = log.find((entry) => entry.msg === "identity backend unavailable" && entry["backend"] === backend);
    assert.equal(typeof line?.["error"], "string", reason);
  }
  assert.ok(log.some(({ msg, url }) => msg === "cannot get the keys of tokens" && url === `http://${nobody}/keys`));
});

/** The server says nothing, and one request is made at a time: one client hears that it is down, most never get to it. */
async function refusedForBusyServer(broker: WatchedBroker, tries: RefusalTries): Promise<void> {
  const address = tries.freshAddress();
  await using clients = new AsyncDisposableStack();
  const codes = new EventQueue<Answer>();
  const versions = [4, 4, 5, 5, 5, 5, 5, 5];
  for (const [index, version] of versions.entries()) {
    clients.use(await connectLater(broker, { version, clientId: `slow-${index}`, username: "slow" }, address, codes));
  }
  const answers: string[] = [];
  for (let count = 0; count < versions.length; count++) {
    answers.push((await codes.next("an answer about a slow server"))!.join(" "));
  }
  const busy = rowOf("http_busy");
  const unavailable = rowOf("http_unavailable");
  const expected = [busy, unavailable].flatMap((row) => [`5 ${row.reasonCode}`, `4 ${row.returnCode}`]);
  assert.deepEqual(answers.filter((answer) => !expected.includes(answer)), []);
  assert.ok(answers.includes(`5 ${busy.reasonCode}`));
  const busyCount = await broker.count("connects_refused", "http_busy");
  for (let count = 0; count < versions.length; count++) {
    tries.note(count < busyCount ? "http_busy" : "http_unavailable", address);
  }
  await tries.counted("http_busy");
  await tries.counted("http_unavailable");
}

/** Many more passwords at once than are hashed and may wait; each is another, so that no answer serves twice. */
async function refusedForHashes(broker: WatchedBroker): Promise<void> {
  const { reasonCode, returnCode } = rowOf("hash_queue_full");
  await using clients = new AsyncDisposableStack();
  const codes = new EventQueue<Answer>();
  for (let index = 0; index < 400; index++) {
    const version = 4 + index % 2;
    const fields = { version, clientId: `h-${index}`, username: "alice", password: `wrong-${index}` };
    clients.use(await connectLater(broker, fields, "192.0.2.1", codes));
  }
  const missing = new Set([`5 ${reasonCode}`, `4 ${returnCode}`]);
  while (missing.size > 0) missing.delete((await codes.next("a refusal for too many hashes"))!.join(" "));
  assert.ok(await broker.count("connects_refused", "hash_queue_full") >= 2);
  const line = await broker.logged("connect refused", { reason: "hash_queue_full" });
  assert.equal(line["remoteAddress"], "192.0.2.1");
}

Deno.test("refusals: above mqtt.max-connections clients are told so, and with too many other sockets nobody is", async () => {
  await using broker = await WatchedBroker.start({
    config: `mqtt: {max-connections: 1}\nauth: {allow-anonymous: true}\n${EVERYBODY}\n`,
  });
  const tries = new RefusalTries(broker);
  await using first = await connectedFrom(broker.endpoint(), { clientId: "first" });
  await tries.refused({ reason: "quota_exceeded", fields: {} });
  await using crowd = new AsyncDisposableStack();
  const closed: Promise<void>[] = [];
  for (let count = 0; count < 1_100; count++) {
    const client = crowd.use(await RawClient.open(broker.endpoint()));
    closed.push(client.expectClose());
  }
  await Promise.race(closed);
  assert.ok(await broker.count("connects_refused", "too_many_connections") >= 1);
  await broker.logged("connection refused", { reason: "too_many_connections", listener: "tcp" });
  await first.expectQuiet();
  await crowd.disposeAsync();
  await Promise.all(closed);
  await first.close();
  const log = await broker.stop();
  tries.checkLog(log);
});

testWithTools(
  "refusals: handshakes that fail or take too long, and clients that do not say who they are",
  [OPENSSL],
  async () => {
    await using authority = await TestAuthority.create();
    const { cert, key } = await authority.server();
    const doors = [
      "{name: slow, type: tls, bind: '127.0.0.1:0', connect-rate: 1}",
      "{name: proxied, type: tcp, bind: '127.0.0.1:0', proxy-protocol: true}",
    ].join(", ");
    const tls =
      `tls: true, tls-bind: '127.0.0.1:0', tls-cert: "${cert}", tls-key: "${key}", tls-ca: "${authority.cert}"`;
    const config = `server: {read-timeout: 2s, trusted-proxies: 192.0.2.0/24, ${tls}, tls-client-auth: require}\n` +
      `listeners: [${doors}]\n`;
    await using broker = await WatchedBroker.start({ config });
    const counts = (reason: string) => broker.count("connects_refused", reason);

    await using silent = await RawClient.open(broker.endpoint());
    await using shy = await RawClient.open(broker.endpoint("tls"));
    await using plain = await RawClient.open(broker.endpoint("tls"));
    await plain.sendPacket("connect", { clientId: "c" });
    assert.deepEqual((await plain.next("the end of a handshake").catch(() => undefined))?.wire, undefined);
    const failed = await broker.logged("TLS handshake failed", { listener: "tls", remoteAddress: "127.0.0.1" });
    assert.equal(typeof failed["detail"], "string");
    assert.equal(await counts("tls_handshake"), 1);

    await using untrusted = await RawClient.open(broker.endpoint("proxied"));
    await untrusted.expectClose();
    assert.equal(await counts("proxy_untrusted"), 1);
    await broker.logged("connection refused", { reason: "proxy_untrusted", listener: "proxied" });

    const nameless = await authority.issue("nameless", { subject: "/O=Example" });
    const { client, reasonCode } = await sayConnect(broker.endpoint("tls"), tlsOptions(authority, nameless), {});
    assert.equal(reasonCode, rowOf("certificate_name").reasonCode);
    await client.close();
    assert.equal(await counts("certificate_name"), 1);
    await broker.logged("connect refused", { reason: "certificate_name", listener: "tls" });

    await using crowd = new AsyncDisposableStack();
    const closed: Promise<void>[] = [];
    for (let count = 0; count < 20; count++) {
      closed.push(crowd.use(await RawClient.open(broker.endpoint("slow"))).expectClose());
    }
    await Promise.race(closed);
    assert.ok(await counts("connect_rate") >= 1);
    await broker.logged("connection refused", { reason: "connect_rate", listener: "slow" });
    await crowd.disposeAsync();
    await Promise.all(closed);

    await silent.expectClose();
    assert.equal(await counts("connect_timeout"), 1);
    await broker.logged("no CONNECT in time", { remoteAddress: "127.0.0.1", listener: "tcp" });
    await shy.expectClose();
    await broker.logged("TLS handshake failed", { listener: "tls", detail: "not finished in time" });
    assert.equal(await counts("tls_handshake_timeout"), 1);
  },
);
