/**
 * Sessions by Client Identifier: who gets which, how long it stays, and what takes it over.
 */
import assert from "node:assert/strict";
import { scenario } from "./harness.ts";

Deno.test(
  "Session Present tells whether a Session was resumed, and Clean Start discards it [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.2.2-2] [MQTT-3.2.2-3]",
  scenario({}, (world) => {
    const properties = { sessionExpiryInterval: 60 };
    const connect = (clean: boolean) => {
      const client = world.open();
      const connack = client.connect({ clientId: "c", clean, properties });
      client.lose();
      return connack;
    };
    assert.equal(connect(false), "connack 0");
    assert.equal(connect(false), "connack 0 present");
    assert.equal(connect(true), "connack 0");
    assert.equal(connect(false), "connack 0 present");
  }),
);

Deno.test(
  "a v3.1.1 Session without Clean Session never expires and says so; v3.1 has no Session Present [3.1.1:MQTT-3.2.2-2]",
  scenario({}, (world) => {
    const connect = (protocolVersion: 3 | 4, clean: boolean) => {
      const client = world.open();
      const connack = client.connect({ clientId: "c", clean, protocolVersion });
      client.lose();
      return connack;
    };
    assert.equal(connect(4, false), "connack 0");
    world.pass(100 * 86_400_000);
    assert.equal(connect(4, false), "connack 0 present");
    assert.equal(connect(3, false), "connack 0");
    assert.equal(connect(4, true), "connack 0");
    assert.equal(connect(4, false), "connack 0");
  }),
);

Deno.test(
  "a Session is discarded when its Session Expiry Interval has passed, not before [MQTT-4.1.0-2] [MQTT-3.1.2-23]",
  scenario({}, (world) => {
    const client = world.durable("c", { properties: { sessionExpiryInterval: 10 } });
    client.subscribe(1, "t", 1);
    assert.deepEqual(client.heard(), ["suback #1 1"]);
    client.lose();
    world.pass(9_900);
    assert.equal(world.counters.sessionsOffline, 1);
    world.client("publisher").publish("t", "x", { qos: 1, messageId: 1 });
    world.settle();
    assert.equal(world.counters.messagesQueued, 1);
    world.pass(200);
    assert.equal(world.counters.sessionsOffline, 0);
    assert.equal(world.counters.subscriptions, 0);
    assert.equal(world.counters.messagesDropped.session_ended, 1);
    assert.equal(world.store.records.filter((record) => record === "end c").length, 1);
  }),
);

Deno.test(
  "a reconnect stops the expiry of the Session",
  scenario({}, (world) => {
    const properties = { sessionExpiryInterval: 10 };
    world.durable("c", { properties }).lose();
    world.pass(9_000);
    const back = world.open();
    assert.equal(back.connect({ clientId: "c", clean: false, properties }), "connack 0 present");
    world.pass(20_000);
    back.lose();
    world.pass(9_000);
    assert.equal(world.open().connect({ clientId: "c", clean: false, properties }), "connack 0 present");
  }),
);

Deno.test(
  "DISCONNECT may change the Session Expiry Interval",
  scenario({}, (world) => {
    const properties = { sessionExpiryInterval: 10 };
    world.durable("longer", { properties }).disconnect(0, 100);
    world.durable("never", { properties }).disconnect(0, 0xffff_ffff);
    world.durable("at-once", { properties }).disconnect(0, 0);
    world.pass(50_000);
    assert.deepEqual([...world.core.sessions.sessions.keys()], ["longer", "never"]);
    world.pass(51_000);
    assert.deepEqual([...world.core.sessions.sessions.keys()], ["never"]);
    // What the store was told is what happened: a Session that is over must not come back with it.
    assert.deepEqual(world.store.records, [
      "open longer 10",
      "open longer 100",
      "open never 10",
      "open never 4294967295",
      "open at-once 10",
      "end at-once",
      "end longer",
    ]);
  }),
);

Deno.test(
  "DISCONNECT must not raise a Session Expiry Interval of 0: Protocol Error, and the Will Message is sent",
  scenario({}, (world) => {
    const watcher = world.client("watcher");
    watcher.subscribe(1, "will", 0);
    assert.deepEqual(watcher.heard(), ["suback #1 0"]);
    const client = world.client("c", { will: { topic: "will", payload: "gone" } });
    client.disconnect(0, 10);
    assert.deepEqual(client.heard(), ["disconnect 0x82", "closed"]);
    assert.deepEqual(watcher.heard(), ["publish will 'gone' q0"]);
    assert.equal(world.core.sessions.sessions.has("c"), false);
  }),
);

Deno.test(
  "a Session that is resumed without expiry ends with its connection, in the store as well",
  scenario({}, (world) => {
    world.durable("c").lose();
    const client = world.open();
    assert.equal(client.connect({ clientId: "c", clean: false }), "connack 0 present");
    client.lose();
    world.settle();
    assert.equal(world.core.sessions.sessions.size, 0);
    assert.deepEqual(world.store.records.filter((record) => !record.startsWith("open")), ["end c"]);
  }),
);

Deno.test(
  "session-expiry-max shortens what a client asks for, and CONNACK says so",
  scenario({ limits: { sessionExpirySecondsMax: 30 } }, (world) => {
    const client = world.open();
    client.sendConnect({ clientId: "c", properties: { sessionExpiryInterval: 0xffff_ffff } });
    assert.equal(client.read()[0]?.properties?.["sessionExpiryInterval"], 30);
    const modest = world.open();
    modest.sendConnect({ clientId: "modest", properties: { sessionExpiryInterval: 20 } });
    assert.equal(modest.read()[0]?.properties?.["sessionExpiryInterval"], undefined);
    client.lose();
    modest.disconnect(0, 1_000);
    world.pass(29_000);
    assert.equal(world.core.sessions.sessions.size, 2);
    world.pass(2_000);
    assert.equal(world.core.sessions.sessions.size, 0);
  }),
);

Deno.test(
  "a second connection takes the Session over, and the first hears 0x8E [MQTT-3.1.4-3]",
  scenario({}, (world) => {
    const first = world.durable("c");
    first.subscribe(1, "t", 1);
    assert.deepEqual(first.heard(), ["suback #1 1"]);
    const second = world.open();
    assert.equal(second.connect({ clientId: "c", clean: false }), "connack 0 present");
    assert.deepEqual(first.heard(), ["disconnect 0x8e", "closed"]);
    second.publish("t", "x", { qos: 1, messageId: 1 });
    assert.deepEqual(second.heard(), ["puback #1", "publish t 'x' q1 #1"]);
    assert.equal(world.counters.sessionsOnline, 1);
  }),
);

Deno.test(
  "a v3 client that is taken over is closed without a word",
  scenario({}, (world) => {
    const first = world.client("c", { protocolVersion: 4 });
    assert.equal(world.open().connect({ clientId: "c" }), "connack 0");
    assert.deepEqual(first.heard(), ["closed"]);
  }),
);

Deno.test(
  "of two CONNECT with one Client Identifier in one turn the later one wins [MQTT-3.1.4-3]",
  scenario({}, (world) => {
    const first = world.open().sendConnect({ clientId: "c" });
    const second = world.open().sendConnect({ clientId: "c" });
    assert.deepEqual(first.heard(), ["connack 0", "disconnect 0x8e", "closed"]);
    assert.deepEqual(second.heard(), ["connack 0"]);
    second.send({ cmd: "pingreq" });
    assert.deepEqual(second.heard(), ["pingresp"]);
  }),
);

const DURABLE = { clientId: "c", clean: false, properties: { sessionExpiryInterval: 60 } };

Deno.test(
  "of two CONNECT that wait for one commit the later one wins, and resumes the Session",
  scenario({}, (world) => {
    world.store.isSlow = true;
    const first = world.open().sendConnect(DURABLE);
    const second = world.open().sendConnect(DURABLE);
    world.commit();
    assert.deepEqual(first.heard(), ["connack 0", "disconnect 0x8e", "closed"]);
    assert.deepEqual(second.heard(), ["connack 0 present"]);
  }),
);

Deno.test(
  "of two CONNECT with Clean Start that wait for one commit the earlier one is refused with a code CONNACK knows [MQTT-3.2.2-8]",
  scenario({}, (world) => {
    world.store.isSlow = true;
    const first = world.open().sendConnect({ ...DURABLE, clean: true });
    const second = world.open().sendConnect({ ...DURABLE, clean: true });
    world.commit();
    assert.deepEqual(first.heard(), ["connack 0x83", "closed"]);
    assert.deepEqual(second.heard(), ["connack 0"]);
    assert.equal(world.core.sessions.sessions.size, 1);
  }),
);

Deno.test(
  "a client whose CONNECT waits for its commit is not hurt by another one that gave up",
  scenario({}, (world) => {
    world.store.isSlow = true;
    const first = world.open().sendConnect(DURABLE);
    const second = world.open().sendConnect(DURABLE);
    world.settle();
    first.lose();
    world.commit();
    world.commit();
    assert.deepEqual(second.heard(), ["connack 0"]);
    assert.equal(world.counters.sessionsOnline, 1);
  }),
);

Deno.test(
  "a Session that expires while the CONNECT that resumes it waits for its commit is opened anew",
  scenario({}, (world) => {
    world.durable("c", { properties: { sessionExpiryInterval: 10 } }).lose();
    world.store.isSlow = true;
    const client = world.open().sendConnect(DURABLE);
    world.pass(11_000);
    world.commit();
    world.commit();
    assert.deepEqual(client.heard(), ["connack 0"]);
    assert.equal(world.core.sessions.sessions.size, 1);
    assert.deepEqual(world.store.records, ["open c 10", "open c 60", "end c", "open c 60"]);
  }),
);

Deno.test(
  "a client that goes away before its CONNACK leaves no new Session, in the store neither, and an old one as it was",
  scenario({}, (world) => {
    world.durable("old").lose();
    world.store.isSlow = true;
    const old = world.open().sendConnect({ ...DURABLE, clientId: "old" });
    const fresh = world.open().sendConnect(DURABLE);
    world.settle();
    old.lose();
    fresh.lose();
    world.commit();
    world.commit();
    assert.deepEqual([...world.core.sessions.sessions.keys()], ["old"]);
    assert.deepEqual(world.store.records, [
      "open old 3600",
      "open old 60",
      "open c 60",
      "open old 3600",
      "end c",
    ]);
    assert.equal(world.counters.sessionsOffline, 1);
    world.pass(3_601_000);
    assert.equal(world.core.sessions.sessions.size, 0);
  }),
);

Deno.test(
  "an empty Client Identifier is replaced by one that CONNACK names [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]",
  scenario({}, (world) => {
    const names = [1, 2].map(() => {
      const client = world.open().sendConnect({ clientId: "" });
      return client.read()[0]?.properties?.["assignedClientIdentifier"];
    });
    assert.deepEqual(names, ["assigned-1", "assigned-2"]);
    assert.deepEqual([...world.core.sessions.sessions.keys()], names);
  }),
);

Deno.test(
  "an empty Client Identifier is refused in v3.1, and in v3.1.1 without Clean Session [3.1.1:MQTT-3.1.3-8]",
  scenario({}, (world) => {
    const connect = (protocolVersion: 3 | 4, clean: boolean) => {
      const client = world.open();
      client.sendBytes(
        Uint8Array.of(
          ...(protocolVersion === 3 ? [0x10, 14, 0, 6, ...text("MQIsdp")] : [0x10, 12, 0, 4, ...text("MQTT")]),
          ...[protocolVersion, clean ? 2 : 0, 0, 0, 0, 0],
        ),
      );
      return client.heard();
    };
    assert.deepEqual(connect(3, true), ["connack 2", "closed"]);
    assert.deepEqual(connect(4, false), ["connack 2", "closed"]);
    assert.deepEqual(connect(4, true), ["connack 0"]);
  }),
);

Deno.test(
  "a Client Identifier longer than configured is refused with 0x85, counted in bytes [MQTT-3.1.3-8] [MQTT-3.2.2-6]",
  scenario({ limits: { clientIdBytesMax: 23 } }, (world) => {
    assert.equal(world.open().connect({ clientId: "a".repeat(23) }), "connack 0");
    const long = world.open().sendConnect({ clientId: "é".repeat(12) });
    assert.deepEqual(long.heard(), ["connack 0x85", "closed"]);
  }),
);

Deno.test(
  "the Keep Alive of a v5 client is bounded by Server Keep Alive, that of a v3 client is its own [MQTT-3.2.2-22]",
  scenario({ limits: { keepAliveSecondsMax: 60 } }, (world) => {
    const serverKeepAlive = (keepalive: number) =>
      world.open().sendConnect({ keepalive }).read()[0]?.properties?.["serverKeepAlive"];
    assert.deepEqual([serverKeepAlive(30), serverKeepAlive(61), serverKeepAlive(0)], [undefined, 60, 60]);
    const v3 = world.client("v3", { protocolVersion: 4, keepalive: 600 });
    world.pass(800_000);
    assert.deepEqual(v3.heard(), []);
    world.pass(101_000);
    assert.deepEqual(v3.heard(), ["closed"]);
  }),
);

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

Deno.test(
  "max-connections counts clients: who is silent, refused or on the way out takes no place",
  scenario({ connectionsMax: 2, anonymous: "loopback" }, (world) => {
    const silent = [world.open(), world.open(), world.open()];
    const stranger = world.open(false);
    assert.match(stranger.connect({ clientId: "stranger" }), /^connack 0x87/);
    const first = world.client("first");
    world.client("second");
    assert.match(world.open().connect({ clientId: "third" }), /^connack 0x97/);
    assert.match(silent[0]!.connect({ clientId: "fourth" }), /^connack 0x97/);
    first.disconnect();
    assert.match(silent[1]!.connect({ clientId: "fifth" }), /^connack 0/);
  }),
);

Deno.test(
  "a client that takes its Session over is let in at max-connections, and its user's alone",
  scenario({ connectionsMax: 1 }, (world) => {
    const first = world.durable("c", { username: "alice" });
    assert.match(world.open().connect({ clientId: "c", username: "mallory" }), /^connack 0x85/);
    const second = world.durable("c", { username: "alice" });
    assert.deepEqual(first.heard(), ["disconnect 0x8e", "closed"]);
    assert.match(world.open().connect({ clientId: "other" }), /^connack 0x97/);
    second.lose();
    world.client("other");
    assert.match(world.open().connect({ clientId: "c", username: "alice" }), /^connack 0x97/);
  }),
);

Deno.test(
  "a client whose record is under way has its place, and gives it back when it goes",
  scenario({ connectionsMax: 2 }, (world) => {
    world.store.isSlow = true;
    const properties = { sessionExpiryInterval: 3_600 };
    const clients = ["a", "b", "c"].map((clientId) => {
      const client = world.open();
      client.sendConnect({ clientId, clean: false, properties });
      return client;
    });
    const again = world.open();
    again.sendConnect({ clientId: "b", clean: false, properties });
    world.settle();
    assert.deepEqual(clients.map((client) => client.heard().length), [0, 0, 2]);
    clients[0]!.lose();
    world.commit();
    assert.deepEqual(again.heard(), ["connack 0 present"]);
    assert.equal(world.core.sessions.places.taken, 1);
    const late = world.open();
    late.sendConnect({ clientId: "late" });
    world.settle();
    assert.deepEqual(late.heard(), ["connack 0"]);
  }),
);
