/**
 * One Network Connection on a transport in memory: what may come when, how long things may take, and how it ends.
 */
import assert from "node:assert/strict";
import { scenario } from "../../broker/harness.ts";
import { publishPacket } from "../../broker/test_client.ts";

const PINGREQ = Uint8Array.of(0xc0, 0x00);

Deno.test(
  "a first packet that is not CONNECT closes the connection without a word [MQTT-3.1.0-1] [MQTT-3.14.0-1]",
  scenario({}, (world) => {
    assert.deepEqual(world.open().sendBytes(PINGREQ).heard(), ["closed"]);
    assert.deepEqual(world.open().sendBytes(Uint8Array.of(0x30, 0xff, 0xff, 0xff)).heard(), ["closed"]);
    assert.deepEqual(world.open().sendBytes(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")).heard(), ["closed"]);
    assert.deepEqual(world.counters.protocolErrors.entries(), [["protocol_error", 3]]);
  }),
);

Deno.test(
  "a second CONNECT is a Protocol Error [MQTT-3.1.0-2]",
  scenario({}, (world) => {
    const client = world.client("c");
    assert.deepEqual(client.sendConnect({ clientId: "c" }).heard(), ["disconnect 0x82", "closed"]);
    const v3 = world.client("v3", { protocolVersion: 4 });
    assert.deepEqual(v3.sendConnect({ clientId: "v3", protocolVersion: 4 }).heard(), ["closed"]);
  }),
);

Deno.test(
  "a CONNECT that cannot be accepted is answered as its version prescribes, then closed [MQTT-3.1.4-1] [MQTT-3.1.2-2] [MQTT-3.2.2-7]",
  scenario({}, (world) => {
    const heard = (...bytes: number[]) => world.open().sendBytes(Uint8Array.of(...bytes)).heard();
    const name = [0, 4, 0x4d, 0x51, 0x54, 0x54];
    assert.deepEqual(heard(0x10, 13, ...name, 6, 2, 0, 0, 0, 0, 0), ["connack 0x84", "closed"]);
    assert.deepEqual(heard(0x10, 13, ...name, 5, 3, 0, 0, 0, 0, 0), ["connack 0x81", "closed"]);
    assert.deepEqual(heard(0x10, 12, ...name, 4, 3, 0, 0, 0, 0), ["closed"]);
    assert.deepEqual(heard(0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x58, 4, 2, 0, 0, 0, 0), ["closed"]);
  }),
);

Deno.test(
  "packets that come together with CONNECT are handled after CONNACK, in their order [MQTT-3.2.0-1]",
  scenario({}, (world) => {
    const client = world.open().sendConnect({ clientId: "c" });
    client.subscribe(1, "t", 1).publish("t", "x", { qos: 1, messageId: 2 }).send({ cmd: "pingreq" });
    const heard = client.heard();
    assert.equal(heard[0], "connack 0");
    assert.deepEqual(heard.filter((line) => line !== "pingresp").slice(1), [
      "suback #1 1",
      "puback #2",
      "publish t 'x' q1 #1",
    ]);
    assert.equal(heard.length, 5);
  }),
);

Deno.test(
  "a client that stays silent for one and a half Keep Alive hears 0x8D [MQTT-3.1.2-22]",
  scenario({}, (world) => {
    const client = world.client("c", { keepalive: 10 });
    world.pass(14_900);
    client.send({ cmd: "pingreq" });
    assert.deepEqual(client.heard(), ["pingresp"]);
    world.pass(14_900);
    assert.deepEqual(client.heard(), []);
    world.pass(200);
    assert.deepEqual(client.heard(), ["disconnect 0x8d", "closed"]);
  }),
);

Deno.test(
  "a Keep Alive of 0 never ends a connection",
  scenario({}, (world) => {
    const client = world.client("c", { keepalive: 0 });
    world.pass(30 * 86_400_000);
    assert.deepEqual(client.send({ cmd: "pingreq" }).heard(), ["pingresp"]);
  }),
);

Deno.test(
  "with mqtt.keep-alive 60 a v5 client that asks for more is cut after 90 s [MQTT-3.1.2-21] [MQTT-3.1.2-22]",
  scenario({ limits: { keepAliveSecondsMax: 60 } }, (world) => {
    const clients = [600, 0].map((keepalive) => world.open().sendConnect({ clientId: `c${keepalive}`, keepalive }));
    for (const client of clients) assert.equal(client.read()[0]?.properties?.["serverKeepAlive"], 60);
    world.pass(89_900);
    assert.deepEqual(clients.map((client) => client.heard()), [[], []]);
    world.pass(200);
    const cut = ["disconnect 0x8d", "closed"];
    assert.deepEqual(clients.map((client) => client.heard()), [cut, cut]);
  }),
);

Deno.test(
  "with mqtt.keep-alive 60 a v3 client keeps the Keep Alive it asked for, 0 included [3.1.1:MQTT-3.1.2-24]",
  scenario({ limits: { keepAliveSecondsMax: 60 } }, (world) => {
    const long = ([3, 4] as const).map((protocolVersion) =>
      world.client(`long${protocolVersion}`, { protocolVersion, keepalive: 600 })
    );
    const none = world.client("none", { protocolVersion: 4, keepalive: 0 });
    const short = world.client("short", { protocolVersion: 4, keepalive: 10 });
    world.pass(90_100);
    assert.deepEqual(short.heard(), ["closed"]);
    assert.deepEqual(long.map((client) => client.heard()), [[], []]);
    world.pass(900_000 - 90_100 - 100);
    assert.deepEqual(long.map((client) => client.heard()), [[], []]);
    world.pass(200);
    assert.deepEqual(long.map((client) => client.heard()), [["closed"], ["closed"]]);
    world.pass(30 * 86_400_000);
    assert.deepEqual(none.send({ cmd: "pingreq" }).heard(), ["pingresp"]);
  }),
);

Deno.test(
  "a client that does not send CONNECT in time is closed, and one that did stays",
  scenario({ settings: { readTimeoutMs: 5_000 } }, (world) => {
    const silent = world.open();
    const slow = world.open().sendBytes(Uint8Array.of(0x10, 0x20, 0, 4));
    const good = world.client("good");
    world.pass(4_900);
    assert.deepEqual([silent.heard(), slow.heard()], [[], []]);
    world.pass(200);
    assert.deepEqual([silent.heard(), slow.heard()], [["closed"], ["closed"]]);
    world.pass(10_000);
    assert.deepEqual(good.heard(), []);
    assert.deepEqual(world.counters.connectsRefused.entries(), [["connect_timeout", 2]]);
  }),
);

Deno.test(
  "a write that makes no progress is cut after the write timeout, a slow one is not",
  scenario({ settings: { writeTimeoutMs: 5_000 } }, (world) => {
    const [stuck, slow] = [world.client("stuck"), world.client("slow")];
    for (const client of [stuck, slow]) client.subscribe(1, "t", 0).read();
    // Time passes before: the write is measured from its own beginning.
    world.pass(60_000);
    stuck.isStalled = slow.isStalled = true;
    world.client("publisher").publish("t", "x".repeat(100));
    for (let second = 0; second < 12; second++) {
      world.pass(1_000);
      slow.takeSome(1);
      if (second === 3) assert.equal(stuck.ending, undefined);
    }
    assert.deepEqual(stuck.heard(), ["cut"]);
    slow.isStalled = false;
    assert.equal(slow.heard().length, 1);
  }),
);

Deno.test(
  "a write that a timer set off is measured from then on, not from the last packet received",
  scenario({ settings: { writeTimeoutMs: 5_000 } }, (world) => {
    const watcher = world.client("watcher");
    watcher.subscribe(1, "will", 0).read();
    const properties = { sessionExpiryInterval: 3_600 };
    const will = { topic: "will", payload: "gone", properties: { willDelayInterval: 62 } };
    world.client("c", { clean: false, will, properties }).lose();
    world.settle();
    watcher.isStalled = true;
    // The watcher's own look at its timeouts comes every 5 s: at 60 s, at 65 s …
    world.pass(66_000);
    assert.deepEqual(watcher.heard(), []);
    watcher.isStalled = false;
    assert.deepEqual(watcher.heard(), ["publish will 'gone' q0"]);
  }),
);

Deno.test(
  "a connection above the maximum is refused with 0x97, in v3 with return code 3",
  scenario({ connectionsMax: 1 }, (world) => {
    world.client("first");
    assert.deepEqual(world.open().sendConnect({ clientId: "second" }).heard(), ["connack 0x97", "closed"]);
    const v3 = world.open().sendConnect({ clientId: "third", protocolVersion: 4 });
    assert.deepEqual(v3.heard(), ["connack 3", "closed"]);
    assert.deepEqual(world.counters.connectsRefused.entries(), [["quota_exceeded", 2]]);
  }),
);

Deno.test(
  "a packet above the Maximum Packet Size ends the connection with 0x95 as soon as its length is known",
  scenario({ limits: { packetBytesMax: 128 } }, (world) => {
    const client = world.open().sendConnect({ clientId: "c" });
    assert.equal(client.read()[0]?.properties?.["maximumPacketSize"], 128);
    client.publish("t", "x".repeat(122));
    assert.deepEqual(client.heard(), []);
    client.sendBytes(Uint8Array.of(0x30, 0xff, 0xff, 0x03));
    assert.deepEqual(client.heard(), ["disconnect 0x95", "closed"]);
    assert.deepEqual(world.open().sendBytes(Uint8Array.of(0x10, 0xff, 0x01)).heard(), ["closed"]);
  }),
);

Deno.test(
  "a Remaining Length of five bytes and an unknown packet type are faults [MQTT-4.13.1-1]",
  scenario({}, (world) => {
    const long = world.client("long").sendBytes(Uint8Array.of(0x30, 0x80, 0x80, 0x80, 0x80, 0x01));
    assert.deepEqual(long.heard(), ["disconnect 0x81", "closed"]);
    const server = world.client("server").sendBytes(Uint8Array.of(0x20, 0x02, 0, 0));
    assert.deepEqual(server.heard().at(-1), "closed");
  }),
);

Deno.test(
  "nothing that follows DISCONNECT is looked at, and nothing is sent after it [MQTT-3.14.4-1] [MQTT-3.14.4-2]",
  scenario({}, (world) => {
    const watcher = world.client("watcher");
    watcher.subscribe(1, "t", 0).read();
    const client = world.client("c");
    client.sendTogether(
      publishPacket("t", "before", { qos: 1, messageId: 1 }),
      { cmd: "disconnect", reasonCode: 0 },
      publishPacket("t", "after"),
    );
    assert.deepEqual(client.heard(), ["closed"]);
    assert.deepEqual(watcher.heard(), ["publish t 'before' q0"]);
  }),
);

Deno.test(
  "what is written before the end leaves first, and a peer that takes none of it is cut",
  scenario({}, (world) => {
    const client = world.client("c");
    client.isStalled = true;
    client.send({ cmd: "pingreq" });
    world.settle();
    client.sendBytes(Uint8Array.of(0x36, 0x00));
    world.settle();
    assert.equal(client.ending, undefined);
    client.isStalled = false;
    assert.deepEqual(client.heard(), ["pingresp", "disconnect 0x81", "closed"]);
    const stuck = world.client("stuck");
    stuck.isStalled = true;
    stuck.sendBytes(Uint8Array.of(0x36, 0x00));
    world.pass(6_000);
    assert.deepEqual(stuck.heard(), ["cut"]);
  }),
);

Deno.test(
  "drain says 0x8B to every v5 client, closes all, and refuses who comes later",
  scenario({}, (world) => {
    const [v5, v3] = [world.client("v5"), world.client("v3", { protocolVersion: 4 })];
    world.core.sessions.drain();
    assert.deepEqual([v5.heard(), v3.heard()], [["disconnect 0x8b", "closed"], ["closed"]]);
    assert.deepEqual(world.open().sendConnect().heard(), ["connack 0x8b", "closed"]);
    assert.deepEqual(world.open().sendConnect({ protocolVersion: 4, clientId: "c" }).heard(), ["connack 3", "closed"]);
  }),
);

Deno.test(
  "a client whose CONNECT waits for its commit when the broker drains is refused",
  scenario({}, (world) => {
    world.store.isSlow = true;
    const client = world.open().sendConnect({ clientId: "c", properties: { sessionExpiryInterval: 60 } });
    world.settle();
    world.core.sessions.drain();
    world.commit();
    assert.deepEqual(client.heard(), ["connack 0x8b", "closed"]);
    assert.equal(world.core.sessions.sessions.size, 0);
  }),
);

Deno.test(
  "a peer that closes its side gets what was under way for it",
  scenario({}, (world) => {
    const client = world.client("c");
    client.send({ cmd: "pingreq" }).end();
    assert.deepEqual(client.heard(), ["pingresp", "closed"]);
  }),
);

Deno.test(
  "a connection that is refused while its bytes are held back lets go of them",
  scenario({ settings: { readTimeoutMs: 5_000 } }, (world) => {
    world.store.isSlow = true;
    const client = world.open().sendConnect({ clientId: "c", properties: { sessionExpiryInterval: 60 } });
    client.send({ cmd: "pingreq" });
    world.settle();
    assert.equal(client.unreadBytes, 2);
    world.pass(5_100);
    assert.deepEqual(client.heard(), ["closed"]);
    assert.equal(client.unreadBytes, 0);
  }),
);

Deno.test(
  "what is sent again goes on as the network takes it, though nothing is queued [MQTT-4.4.0-1]",
  scenario({}, (world) => {
    const first = world.durable("c");
    first.subscribe(1, "t", 1).read();
    const publisher = world.client("publisher");
    for (const messageId of [1, 2, 3, 4, 5]) publisher.publish("t", "x".repeat(60), { qos: 1, messageId });
    assert.equal(first.heard().length, 5);
    first.lose();
    // From here on less than two of the messages wait for the network at a time.
    world.limits.outboundBytesMax = 100;
    const second = world.durable("c");
    const again = [1, 2, 3, 4, 5].map((id) => `publish t '${"x".repeat(60)}' q1 #${id} dup`);
    assert.deepEqual(second.heard(), again);
    assert.equal(world.counters.messagesQueued, 0);
  }),
);
