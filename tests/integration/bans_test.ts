/**
 * Bans against a whole broker: those of the file, at CONNECT and for clients that are connected, and those of clients
 * that connect too often.
 */
import assert from "node:assert/strict";
import { attempt, connectCode, connectedFrom, proxyHeader } from "../support/connect_attempt.ts";
import { RawClient } from "../support/raw_client.ts";
import { quickUserFile } from "../support/user_file.ts";
import { WatchedBroker } from "../support/watched_broker.ts";

const BANNED = 0x8a;
const BANNED_V3 = 5;
const ADMINISTRATIVE_ACTION = 0x98;
const PASSWORD = "alice-Pa55word";
const ANYWHERE = "listeners: [{name: anywhere, type: tcp, bind: '127.0.0.1:0', proxy-protocol: true}]\n";

/** A broker with the users alice and bob, open to everybody else, with a ban file. */
async function openBroker(bans: string): Promise<WatchedBroker> {
  const users = await quickUserFile({ alice: PASSWORD, bob: PASSWORD });
  const config = `auth: {allow-anonymous: true, password-file: users, ban-file: bans}\n${ANYWHERE}`;
  return await WatchedBroker.start({ config, files: { bans, users } });
}

function as(username: string, password = PASSWORD) {
  return { clientId: `client of ${username}`, username, password };
}

/** A banned address costs the broker nothing: no CONNECT is waited for, and none is answered. */
async function closedAtOnce(broker: WatchedBroker, address: string): Promise<void> {
  await using client = await RawClient.open(broker.endpoint("anywhere"));
  await client.send(proxyHeader(address));
  await client.expectClose();
}

Deno.test("ban file: clients and users are refused with 0x8A, addresses and networks are cut, and bans end", async () => {
  const bans = [
    "# who may not come in",
    "client  meter 17",
    "user    alice until 2100-01-01",
    "user    bob until 2020-01-01T00:00:00Z",
    "address 198.51.100.0/24",
    "address 2001:db8:1::/48 until 2100-01-01",
    "address 192.0.2.7",
  ].join("\n");
  await using broker = await openBroker(bans);
  const from = (address: string, fields: object) => connectCode(broker.endpoint("anywhere"), fields, address);
  assert.equal(await from("192.0.2.1", { clientId: "meter 17" }), BANNED);
  assert.equal(await from("192.0.2.1", { version: 4, clientId: "meter 17" }), BANNED_V3);
  assert.equal(await from("192.0.2.1", { version: 3, clientId: "meter 17" }), BANNED_V3);
  assert.equal(await from("192.0.2.1", { clientId: "meter 18" }), 0);
  assert.equal(await from("192.0.2.1", as("alice")), BANNED);
  assert.equal(await from("192.0.2.1", as("bob")), 0);
  for (const address of ["198.51.100.9", "2001:db8:1:2::3", "192.0.2.7", "::ffff:192.0.2.7"]) {
    await closedAtOnce(broker, address);
  }
  for (const address of ["198.51.101.9", "2001:db8:2::1", "192.0.2.8"]) {
    assert.equal(await from(address, { clientId: "c" }), 0, address);
  }
  assert.equal(await broker.count("connects_refused", "banned"), 8);
  assert.equal(await from("192.0.2.2", as("alice", "wrong")), 0x86, "whoever is not alice learns nothing of her ban");
  assert.equal(await broker.count("connects_refused", "bad_password"), 1);
  const line = await broker.logged("connect refused", { reason: "banned", clientId: "meter 17" });
  assert.deepEqual([line["remoteAddress"], line["listener"]], ["192.0.2.1", "anywhere"]);
});

Deno.test("ban file: a new ban disconnects connected clients with 0x98, and ends when its line is gone", async () => {
  await using broker = await openBroker("");
  const anywhere = broker.endpoint("anywhere");
  const will = { topic: "wills", payload: "banned" };
  await using client = await connectedFrom(anywhere, { clientId: "c", will }, "192.0.2.1");
  await using old = await connectedFrom(anywhere, { version: 4, clientId: "old" }, "192.0.2.1");
  await using alice = await connectedFrom(anywhere, as("alice"), "192.0.2.2");
  await using neighbour = await connectedFrom(anywhere, { clientId: "n" }, "198.51.100.9");
  await using bob = await connectedFrom(anywhere, as("bob"), "192.0.2.3");
  await bob.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "wills" }] });
  await bob.expect("suback");

  await broker.write("bans", "client c\nclient old\nuser alice\naddress 198.51.100.0/24\n");
  await broker.logged("bans replaced", { bans: 4 });
  for (const banned of [client, alice, neighbour]) {
    assert.equal((await banned.expect("disconnect")).wire.reasonCode, ADMINISTRATIVE_ACTION);
    await banned.expectClose();
  }
  await old.expectClose();
  assert.equal((await bob.expect("publish")).wire.payload, "banned", "a ban is no goodbye of the client");
  await bob.expectQuiet();
  assert.equal(await connectCode(anywhere, { clientId: "c" }, "192.0.2.4"), BANNED);

  await broker.write("bans", "client bob\nuser\nadress 192.0.2.3\n");
  for (const line of [2, 3]) {
    assert.match(String((await broker.logged("bans refused"))["problem"]), new RegExp(`:${line}: `));
  }
  await bob.expectQuiet();
  assert.equal(await connectCode(anywhere, { clientId: "c" }, "192.0.2.4"), BANNED, "the bans before stay");

  await broker.write("bans", "user alice\n");
  await broker.logged("bans replaced", { bans: 1 });
  assert.equal(await connectCode(anywhere, { clientId: "c" }, "192.0.2.4"), 0);
  assert.equal(await connectCode(anywhere, { clientId: "x" }, "198.51.100.9"), 0);
  assert.equal(await connectCode(anywhere, as("alice"), "192.0.2.4"), BANNED);
});

Deno.test("flapping: a client that connects too often is banned for a while, and nobody else is", async () => {
  const config = "limits: {flapping-count: 3, flapping-window: 1m, flapping-ban: 1s}\nauth: {password-file: users}\n";
  const users = await quickUserFile({ bob: PASSWORD });
  await using broker = await WatchedBroker.start({ config, files: { users } });
  await using watcher = await RawClient.connect(broker.endpoint(), { clientId: "watcher" });
  await watcher.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "later" }] });
  await watcher.expect("suback");
  const connects = (fields: object = {}) => connectCode(broker.endpoint(), { clientId: "restless", ...fields });
  for (let count = 0; count < 3; count++) assert.equal(await connects(), 0);
  assert.equal(await connects(), BANNED);
  const line = await broker.logged("client banned, it connects again and again", { clientId: "restless" });
  assert.ok(Date.parse(String(line["until"])) - Date.parse(String(line["ts"])) <= 2_000);
  assert.equal(await connects({ clientId: "calm" }), 0);
  assert.equal(await connects({ ...as("bob"), clientId: "restless" }), 0, "the name is free, and bob is another");

  // Its Will Message comes two seconds from now by the broker's clock, so after the end of the ban.
  await using clock = await attempt(broker.endpoint(), {
    clientId: "clock",
    properties: [["sessionExpiryInterval", 60]],
    will: { topic: "later", properties: [["willDelayInterval", 2]] },
  });
  await clock.client.close();
  await watcher.expect("publish");
  assert.equal(await connects(), 0);
  assert.ok(await broker.count("connects_refused", "banned") >= 1);
});
