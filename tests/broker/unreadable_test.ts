/**
 * A message that the store cannot read any more costs itself, wherever the broker comes across it: nobody gets it, each of
 * its receivers is counted, and everything else goes on.
 */
import assert from "node:assert/strict";
import { scenario, type World } from "./harness.ts";
import type { TestClient } from "./test_client.ts";

function member(world: World, clientId: string, filter: string): TestClient {
  const client = world.durable(clientId);
  client.subscribe(1, filter, 1);
  assert.deepEqual(client.heard(), ["suback #1 1"]);
  return client;
}

function assertUnreadable(world: World, count: number): void {
  assert.equal(world.counters.messagesDropped.unreadable, count);
  assert.equal(world.counters.messagesDroppedTotal(), count, "and nothing else was dropped");
}

Deno.test(
  "a message that cannot be read when it is committed is acknowledged, and comes to nobody",
  scenario({}, (world) => {
    const single = member(world, "single", "+");
    const shared = member(world, "shared", "$share/group/+");
    const publisher = world.client("publisher");
    world.store.unreadable.add("lost");
    publisher.publish("lost", "1", { qos: 1, messageId: 1 });
    publisher.publish("whole", "2", { qos: 1, messageId: 2 });
    publisher.publish("lost", "3", { qos: 0, retain: true });
    publisher.publish("lost", "4", { qos: 0 });
    world.settle();
    assert.deepEqual(publisher.heard(), ["puback #1", "puback #2"]);
    assert.deepEqual([single.heard(), shared.heard()], [["publish whole '2' q1 #1"], ["publish whole '2' q1 #1"]]);
    // The last one was stored as well, as it must not overtake; one that comes now need not be.
    assertUnreadable(world, 6);
    publisher.publish("lost", "5", { qos: 0 });
    assert.deepEqual([single.heard(), shared.heard()], [["publish lost '5' q0"], ["publish lost '5' q0"]]);
    for (const client of [single, shared]) client.puback(1);
    world.settle();
    world.store.unreadable.clear();
    world.restart("written");
    assert.equal(world.counters.messagesQueued + world.counters.messagesInflight, 0, "nobody is owed it any more");
  }),
);

Deno.test(
  "a Retained Message that cannot be read is missing from those that follow SUBACK",
  scenario({}, (world) => {
    const publisher = world.client("publisher");
    for (const topic of ["kept", "lost"]) publisher.publish(topic, "1", { retain: true });
    world.settle();
    world.store.unreadable.add("lost");
    const client = world.client("c");
    client.subscribe(1, "#", 1);
    assert.deepEqual(client.heard(), ["suback #1 1", "publish kept '1' q0 retain"]);
    assertUnreadable(world, 1);
    world.restart("written");
    assert.equal(world.counters.retainedMessages, 2, "it is kept: a later start may read it");
    world.store.unreadable.clear();
    const again = world.client("c");
    again.subscribe(1, "lost", 1);
    assert.deepEqual(again.heard(), ["suback #1 1", "publish lost '1' q0 retain"]);
  }),
);

Deno.test(
  "a message of a Shared Subscription that cannot be read is handed on to nobody",
  scenario({}, (world) => {
    for (const clientId of ["a", "b"]) member(world, clientId, "$share/group/#").lose();
    const publisher = world.client("publisher");
    ["lost", "whole"].forEach((topic, index) => publisher.publish(topic, "1", { qos: 1, messageId: index + 1 }));
    world.settle();
    world.store.unreadable.add("lost");
    const taker = world.durable("c");
    taker.subscribe(1, "$share/group/#", 1);
    assert.deepEqual(taker.heard(), ["suback #1 1", "publish whole '1' q1 #1"]);
    assertUnreadable(world, 1);
    taker.puback(1);
    world.settle();
    world.store.unreadable.clear();
    world.restart("written");
    assert.equal(world.counters.messagesQueued + world.counters.messagesInflight, 0);
  }),
);

Deno.test(
  "a message that waited for a Shared Subscription and cannot be read after a restart is given up",
  scenario({}, (world) => {
    for (const clientId of ["a", "b"]) member(world, clientId, "$share/group/#").lose();
    const publisher = world.client("publisher");
    ["lost", "whole"].forEach((topic, index) => publisher.publish(topic, "1", { qos: 1, messageId: index + 1 }));
    world.settle();
    world.store.unreadable.add("lost");
    world.restart("committed");
    assertUnreadable(world, 1);
    assert.equal(world.counters.messagesQueued, 1);
    world.store.unreadable.clear();
    // So that something is committed.
    world.durable("other");
    world.restart("written");
    assert.equal(world.counters.messagesQueued, 1, "also at the next start");
  }),
);
