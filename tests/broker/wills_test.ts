/**
 * Will Messages: when they are published, and when not.
 */
import assert from "node:assert/strict";
import { scenario, type World } from "./harness.ts";
import type { ConnectOptions, TestClient } from "./test_client.ts";

type Will = NonNullable<ConnectOptions["will"]>;

const WILL: Will = { topic: "will", payload: "gone", qos: 1 };
const GONE = "publish will 'gone' q1 #1";

function watch(world: World): TestClient {
  const watcher = world.client("watcher");
  watcher.subscribe(1, "will", 1);
  assert.deepEqual(watcher.heard(), ["suback #1 1"]);
  return watcher;
}

function delayed(seconds: number, sessionExpiryInterval: number): ConnectOptions {
  const will = { ...WILL, properties: { willDelayInterval: seconds } };
  return { clientId: "c", clean: false, will, properties: { sessionExpiryInterval } };
}

Deno.test(
  "a Will Message is published when the network is lost, and only once [MQTT-3.1.2-8] [MQTT-3.1.2-10]",
  scenario({}, (world) => {
    const watcher = watch(world);
    world.client("c", { will: WILL }).lose();
    assert.deepEqual(watcher.heard(), [GONE]);
    watcher.puback(1);
    world.client("c").lose();
    assert.deepEqual(watcher.heard(), []);
  }),
);

Deno.test(
  "a Will Message is published when the client closes without DISCONNECT or breaks a rule [MQTT-3.1.2-8]",
  scenario({}, (world) => {
    const watcher = watch(world);
    world.client("ends", { will: { ...WILL, qos: 0 } }).end();
    assert.deepEqual(watcher.heard(), ["publish will 'gone' q0"]);
    const client = world.client("breaks", { will: { ...WILL, qos: 0 } });
    client.sendBytes(Uint8Array.of(0x36, 0x00));
    assert.deepEqual(client.heard(), ["disconnect 0x81", "closed"]);
    assert.deepEqual(watcher.heard(), ["publish will 'gone' q0"]);
  }),
);

Deno.test(
  "DISCONNECT 0x00 takes the Will Message back, 0x04 does not [MQTT-3.14.4-3] [MQTT-3.1.2-10]",
  scenario({}, (world) => {
    const watcher = watch(world);
    world.client("c", { will: WILL }).disconnect(0);
    world.client("v3", { will: WILL, protocolVersion: 4 }).disconnect();
    assert.deepEqual(watcher.heard(), []);
    world.client("c", { will: WILL }).disconnect(4);
    assert.deepEqual(watcher.heard(), [GONE]);
  }),
);

Deno.test(
  "a delayed Will Message waits for its delay and no longer [MQTT-3.1.2-8]",
  scenario({}, (world) => {
    const watcher = watch(world);
    world.client("c", delayed(10, 60)).lose();
    world.pass(9_900);
    assert.deepEqual(watcher.heard(), []);
    world.pass(200);
    assert.deepEqual(watcher.heard(), [GONE]);
    world.pass(60_000);
    watcher.puback(1);
    assert.deepEqual(watcher.heard(), []);
  }),
);

Deno.test(
  "a reconnect within the delay cancels the Will Message [MQTT-3.1.3-9]",
  scenario({}, (world) => {
    const watcher = watch(world);
    world.client("c", delayed(10, 60)).lose();
    world.pass(9_000);
    const back = world.client("c", { clean: false, properties: { sessionExpiryInterval: 60 } });
    world.pass(20_000);
    back.disconnect();
    world.pass(100_000);
    assert.deepEqual(watcher.heard(), []);
  }),
);

Deno.test(
  "a Will Message is not delayed beyond the end of the Session [MQTT-3.1.2-8]",
  scenario({}, (world) => {
    const watcher = watch(world);
    world.client("c", delayed(60, 0)).lose();
    assert.deepEqual(watcher.heard(), [GONE]);
    watcher.puback(1);
    world.client("c", delayed(60, 5)).lose();
    world.pass(4_900);
    assert.deepEqual(watcher.heard(), []);
    world.pass(200);
    assert.deepEqual(watcher.heard(), ["publish will 'gone' q1 #2"]);
    watcher.puback(2);
    world.pass(100_000);
    assert.deepEqual(watcher.heard(), []);
  }),
);

Deno.test(
  "Clean Start within the delay ends the Session, and so publishes the Will Message [MQTT-3.1.2-8]",
  scenario({}, (world) => {
    const watcher = watch(world);
    world.client("c", delayed(60, 600)).lose();
    world.client("c", { clean: true });
    assert.deepEqual(watcher.heard(), [GONE]);
  }),
);

Deno.test(
  "DISCONNECT with Will keeps the delay, and Session Expiry Interval 0 ends it",
  scenario({}, (world) => {
    const watcher = watch(world);
    world.client("c", delayed(60, 600)).disconnect(4, 0);
    assert.deepEqual(watcher.heard(), [GONE]);
  }),
);

Deno.test(
  "a takeover publishes the Will Message at once, a delayed one not at all [MQTT-3.1.3-9]",
  scenario({}, (world) => {
    const watcher = watch(world);
    world.client("c", delayed(0, 60));
    const second = world.client("c", delayed(10, 60));
    assert.deepEqual(watcher.heard(), [GONE]);
    watcher.puback(1);
    world.client("c", { clean: false, properties: { sessionExpiryInterval: 60 } });
    assert.deepEqual(second.heard(), ["disconnect 0x8e", "closed"]);
    world.pass(30_000);
    assert.deepEqual(watcher.heard(), []);
  }),
);

Deno.test(
  "a Will Message carries its properties, and expires after its interval [MQTT-3.3.2-5] [MQTT-3.1.3-10]",
  scenario({}, (world) => {
    const watcher = world.durable("watcher");
    watcher.subscribe(1, "will", 1);
    assert.deepEqual(watcher.heard(), ["suback #1 1"]);
    const properties = { messageExpiryInterval: 10, contentType: "text", userProperties: { a: ["1", "2"] } };
    world.client("c", { will: { ...WILL, properties } }).lose();
    const received = watcher.read()[0];
    assert.equal(received?.properties?.["contentType"], "text");
    assert.equal(received?.properties?.["messageExpiryInterval"], 10);
    assert.deepEqual({ ...received?.properties?.["userProperties"] as object }, { a: ["1", "2"] });
    watcher.puback(1).lose();
    world.client("c", { will: { ...WILL, properties } }).lose();
    world.pass(11_000);
    const back = world.durable("watcher");
    assert.deepEqual(back.heard(), []);
    assert.equal(world.counters.messagesDropped.expired, 1);
  }),
);

Deno.test(
  "a Will Message with Will Retain is retained, one without is not [MQTT-3.1.2-14] [MQTT-3.1.2-15]",
  scenario({}, (world) => {
    world.client("c", { will: { ...WILL, payload: "kept", retain: true } }).lose();
    world.client("c", { will: WILL }).lose();
    world.settle();
    const late = world.client("late");
    late.subscribe(1, "will", 1);
    assert.deepEqual(late.heard(), ["suback #1 1", "publish will 'kept' q1 #1 retain"]);
  }),
);

Deno.test(
  "CONNECT with a Will the broker cannot publish is refused [MQTT-3.2.2-12] [MQTT-3.2.2-13]",
  scenario({ limits: { qosMax: 1, isRetainAvailable: false } }, (world) => {
    const connack = (will: Will) => world.open().sendConnect({ will }).heard();
    assert.deepEqual(connack({ ...WILL, qos: 2 }), ["connack 0x9b", "closed"]);
    assert.deepEqual(connack({ ...WILL, retain: true }), ["connack 0x9a", "closed"]);
    assert.deepEqual(connack({ ...WILL, topic: "a/#" }), ["connack 0x90", "closed"]);
    const properties = { payloadFormatIndicator: true };
    const payload = "\u00e9";
    assert.deepEqual(connack({ ...WILL, payload, properties }), ["connack 0"]);
  }),
);

Deno.test(
  "CONNECT with a Will Topic the client may not publish to is refused with 0x87",
  scenario(
    { permissions: ({ clientId }) => ({ mayPublish: (topic) => clientId === "boss" || topic.name !== "will" }) },
    (world) => {
      assert.deepEqual(world.open().sendConnect({ will: WILL }).heard(), ["connack 0x87", "closed"]);
      assert.deepEqual(world.open().sendConnect({ will: WILL, protocolVersion: 4, clientId: "c" }).heard(), [
        "connack 5",
        "closed",
      ]);
      assert.deepEqual(world.open().sendConnect({ will: WILL, clientId: "boss" }).heard(), ["connack 0"]);
    },
  ),
);

Deno.test(
  "CONNECT with a Will Topic below $SYS is refused: 0x87 in v5, return code 5 in v3",
  scenario({}, (world) => {
    const will = { ...WILL, topic: "$SYS/broker/version" };
    const connect = (options: ConnectOptions) => world.open().sendConnect({ clientId: "c", will, ...options }).heard();
    assert.deepEqual(connect({}), ["connack 0x87", "closed"]);
    assert.deepEqual(connect({ protocolVersion: 4 }), ["connack 5", "closed"]);
    assert.deepEqual(connect({ protocolVersion: 3 }), ["connack 5", "closed"]);
    assert.deepEqual(world.counters.connectsRefused.entries(), [["not_authorized", 3]]);
    assert.deepEqual(connect({ will: { ...WILL, topic: "$SYS" } }), ["connack 0"]);
  }),
);

Deno.test(
  "a Will Message is not published when the broker drains",
  scenario({}, (world) => {
    const watcher = watch(world);
    const client = world.client("c", { will: WILL });
    world.core.sessions.drain();
    assert.deepEqual(client.heard(), ["disconnect 0x8b", "closed"]);
    assert.deepEqual(watcher.heard(), ["disconnect 0x8b", "closed"]);
    assert.equal(world.store.records.length, 0);
  }),
);
