/**
 * `$SYS`: what stands there is the broker's own word, whatever clients try.
 */
import assert from "node:assert/strict";
import { publishSysTopics } from "../../src/broker/sys_topics.ts";
import { scenario, type World } from "./harness.ts";
import type { TestClient } from "./test_client.ts";

const VERSION_TOPIC = "$SYS/broker/version";

/** A client that sees everything below `$SYS`, and what is retained there. */
function watch(world: World, clientId = "watcher"): TestClient {
  const watcher = world.client(clientId);
  watcher.subscribe(1, "$SYS/#", 2);
  return watcher;
}

function publishAsBroker(world: World): void {
  publishSysTopics(
    world.core,
    { version: "1.2.3", startedMs: world.nowMs, wallOffsetMs: 0, memoryBytes: 1 },
    world.nowMs,
  );
}

function versions(client: TestClient): string[] {
  return client.read().filter(({ topic }) => topic === VERSION_TOPIC).map(({ payload }) => String(payload));
}

Deno.test(
  "PUBLISH to $SYS is refused with 0x87 at QoS 1 and 2, and dropped and counted at QoS 0 [MQTT-3.4.2-1] [MQTT-3.5.2-1]",
  scenario({}, (world) => {
    const watcher = watch(world);
    assert.deepEqual(watcher.heard(), ["suback #1 2"]);
    const client = world.client("c");
    client.publish(VERSION_TOPIC, "0");
    client.publish(VERSION_TOPIC, "1", { qos: 1, messageId: 1 });
    client.publish("$SYS/mine", "2", { qos: 2, messageId: 2 });
    assert.deepEqual(client.heard(), ["puback #1 0x87", "pubrec #2 0x87"]);
    assert.deepEqual(watcher.heard(), []);
    assert.equal(world.counters.messagesDropped.not_authorized, 3);
    assert.deepEqual(world.store.records, []);
  }),
);

Deno.test(
  "a Topic Alias is no way to publish to $SYS",
  scenario({}, (world) => {
    const watcher = watch(world);
    assert.deepEqual(watcher.heard(), ["suback #1 2"]);
    const client = world.client("c");
    client.publish("$SYS/mine", "1", { qos: 1, messageId: 1, properties: { topicAlias: 1 } });
    client.publish("", "2", { qos: 1, messageId: 2, properties: { topicAlias: 1 } });
    assert.deepEqual(client.heard(), ["puback #1 0x87", "puback #2 0x87"]);
    assert.deepEqual(watcher.heard(), []);
  }),
);

Deno.test(
  "PUBLISH to $SYS from a v3.1.1 client is acknowledged and goes nowhere [3.1.1:MQTT-3.3.5-2]",
  scenario({}, (world) => {
    const watcher = watch(world);
    assert.deepEqual(watcher.heard(), ["suback #1 2"]);
    const client = world.client("v3", { protocolVersion: 4 });
    client.publish(VERSION_TOPIC, "0");
    client.publish(VERSION_TOPIC, "1", { qos: 1, messageId: 1 });
    client.publish(VERSION_TOPIC, "2", { qos: 2, messageId: 2 }).pubrel(2);
    assert.deepEqual(client.heard(), ["puback #1", "pubrec #2", "pubcomp #2"]);
    assert.deepEqual(watcher.heard(), []);
    assert.equal(world.counters.messagesDropped.not_authorized, 3);
    assert.deepEqual(world.store.records, []);
  }),
);

Deno.test(
  "what the broker says in $SYS is neither replaced nor cleared by a client",
  scenario({}, (world) => {
    const watcher = watch(world);
    assert.deepEqual(watcher.heard(), ["suback #1 2"]);
    publishAsBroker(world);
    assert.deepEqual(versions(watcher), ["promptmq 1.2.3"]);
    const client = world.client("c");
    client.publish(VERSION_TOPIC, "forged", { retain: true }).publish(VERSION_TOPIC, "", { retain: true });
    assert.deepEqual(versions(watcher), []);
    assert.deepEqual(versions(watch(world, "late")), ["promptmq 1.2.3"]);
  }),
);

Deno.test(
  "topics that only look like $SYS are anybody's",
  scenario({}, (world) => {
    const watcher = world.client("watcher");
    const names = ["$SYS", "$SYSTEM/a", "$sys/a", "a/$SYS/b"];
    watcher.subscribe(1, names.map((topic) => ({ topic, qos: 0 as const })));
    assert.deepEqual(watcher.heard(), ["suback #1 0,0,0,0"]);
    const client = world.client("c");
    for (const name of names) client.publish(name, "x");
    assert.deepEqual(watcher.heard().toSorted(), names.map((name) => `publish ${name} 'x' q0`).toSorted());
  }),
);

Deno.test(
  "$SYS/broker/durability says what a loss of power would cost now",
  scenario({}, (world) => {
    const watcher = world.client("watcher");
    watcher.subscribe(1, "$SYS/broker/durability/+", 0);
    assert.deepEqual(watcher.heard(), ["suback #1 0"]);
    const { storage } = world.counters;
    storage.walUnsyncedBytes = 4096;
    storage.readLossWindowSeconds = () => 0.0126;
    storage.walFsyncDurationSeconds.observeMany(0.0009, 99);
    storage.walFsyncDurationSeconds.observe(2);
    publishAsBroker(world);
    assert.deepEqual(watcher.heard(), [
      "publish $SYS/broker/durability/loss_window_ms '13' q0",
      "publish $SYS/broker/durability/unsynced_bytes '4096' q0",
      "publish $SYS/broker/durability/fsync_p99_us '1000' q0",
    ]);
  }),
);

Deno.test(
  "$SYS tells wall time, of the start as well",
  scenario({}, (world) => {
    const watcher = world.client("watcher");
    watcher.subscribe(1, "$SYS/broker/+", 0);
    watcher.read();
    const facts = { version: "1.2.3", startedMs: world.nowMs - 90_000, wallOffsetMs: -world.nowMs, memoryBytes: 1 };
    publishSysTopics(world.core, facts, world.nowMs);
    const told = new Map(watcher.read().map(({ topic, payload }) => [topic, String(payload)]));
    assert.equal(told.get("$SYS/broker/time"), "1970-01-01T00:00:00.000Z");
    assert.equal(told.get("$SYS/broker/started"), "1969-12-31T23:58:30.000Z");
    assert.equal(told.get("$SYS/broker/uptime"), "90");
  }),
);
