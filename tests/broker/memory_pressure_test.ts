/**
 * Memory pressure: when it begins and ends, and what connections do meanwhile.
 */
import assert from "node:assert/strict";
import { MemoryPressure } from "../../src/broker/memory_pressure.ts";
import { scenario } from "./harness.ts";
import { publishPacket } from "./test_client.ts";

Deno.test("MemoryPressure begins at the mark and ends below nine tenths of it", () => {
  const memory = new MemoryPressure();
  const states = [999, 1_000, 999, 900, 899, 950, 999, 1_000].map((usedBytes) => {
    memory.measure(usedBytes, 1_000);
    return memory.isHigh;
  });
  assert.deepEqual(states, [false, true, true, true, false, false, false, true]);
});

Deno.test("MemoryPressure follows a mark that changes; 0 is no mark", () => {
  const memory = new MemoryPressure();
  memory.measure(1_000, 1_000);
  memory.measure(1_000, 1_100);
  assert.equal(memory.isHigh, true);
  memory.measure(1_000, 1_200);
  assert.equal(memory.isHigh, false);
  memory.measure(1_000, 500);
  assert.equal(memory.isHigh, true);
  memory.measure(1_000, 0);
  assert.equal(memory.isHigh, false);
});

Deno.test("MemoryPressure resumes each reader once, after it is over, and may hold it back again at once", () => {
  const memory = new MemoryPressure();
  const resumed: string[] = [];
  const reader = (name: string) => ({
    relieved: () => {
      assert.equal(memory.isHigh, false);
      resumed.push(name);
    },
  });
  const [a, b, gone] = [reader("a"), reader("b"), reader("gone")];
  memory.measure(1_000, 1_000);
  for (const each of [a, b, gone, a]) memory.whenRelieved(each);
  memory.forget(gone);
  memory.measure(950, 1_000);
  assert.deepEqual(resumed, []);
  memory.whenRelieved({ relieved: () => memory.whenRelieved(a) });
  memory.measure(0, 1_000);
  assert.deepEqual(resumed, ["a", "b"]);
  memory.measure(0, 1_000);
  assert.deepEqual(resumed, ["a", "b", "a"]);
  memory.measure(0, 1_000);
  assert.equal(resumed.length, 3);
});

Deno.test(
  "while memory is short PUBLISH and SUBSCRIBE wait, and what comes before them is handled",
  scenario({}, (world) => {
    const watcher = world.client("watcher");
    watcher.subscribe(1, "t", 1).heard();
    const publisher = world.client("publisher");
    publisher.publish("t", "before", { qos: 1, messageId: 1 });
    assert.deepEqual(publisher.heard(), ["puback #1"]);
    assert.deepEqual(watcher.heard(), ["publish t 'before' q1 #1"]);
    world.core.memory.measure(100, 100);
    publisher.sendTogether(
      { cmd: "pingreq" },
      publishPacket("t", "after", { qos: 1, messageId: 2 }),
      { cmd: "pingreq" },
    );
    watcher.puback(1).subscribe(2, "u", 1);
    assert.deepEqual(publisher.heard(), ["pingresp"]);
    assert.deepEqual(watcher.heard(), []);
    assert.equal(world.counters.messagesInflight, 0, "the acknowledgement was taken");
    assert.deepEqual([publisher.connection.isPaused, watcher.connection.isPaused], [true, true]);
    world.core.memory.measure(95, 100);
    assert.deepEqual([publisher.heard(), watcher.heard()], [[], []]);
    world.core.memory.measure(80, 100);
    assert.deepEqual(publisher.heard().toSorted(), ["pingresp", "puback #2"]);
    assert.deepEqual(watcher.heard().toSorted(), ["publish t 'after' q1 #2", "suback #2 1"]);
    watcher.puback(2);
  }),
);

Deno.test(
  "while memory is short queues drain: what is acknowledged makes room for what waits",
  scenario({ limits: { inflightMax: 1 } }, (world) => {
    const watcher = world.durable("watcher");
    watcher.subscribe(1, "t", 1).heard();
    const publisher = world.client("publisher");
    for (const messageId of [1, 2, 3]) publisher.publish("t", `${messageId}`, { qos: 1, messageId });
    assert.deepEqual(watcher.heard(), ["publish t '1' q1 #1"]);
    world.core.memory.measure(100, 100);
    watcher.puback(1);
    assert.deepEqual(watcher.heard(), ["publish t '2' q1 #2"]);
    watcher.puback(2);
    assert.deepEqual(watcher.heard(), ["publish t '3' q1 #3"]);
    watcher.puback(3).disconnect();
    assert.deepEqual(watcher.heard(), ["closed"]);
    assert.equal(world.counters.messagesQueued, 0);
    world.core.memory.measure(0, 100);
  }),
);

Deno.test(
  "a large PUBLISH is not read to its end while memory is short",
  scenario({}, (world) => {
    const client = world.client("c");
    client.subscribe(1, "t", 0).heard();
    world.core.memory.measure(100, 100);
    client.sendBytes(Uint8Array.of(0x30, 0xff, 0x7f, 0, 1, 0x74));
    assert.equal(client.connection.isPaused, true);
    world.core.memory.measure(0, 100);
    assert.equal(client.connection.isPaused, false);
    assert.equal(client.unreadBytes, 6);
  }),
);

Deno.test(
  "a client that is held back for want of memory is not cut for its silence, and may leave",
  scenario({}, (world) => {
    const client = world.client("c", { keepalive: 10 });
    const other = world.client("other");
    world.core.memory.measure(100, 100);
    client.publish("t", "x").heard();
    other.publish("t", "x").heard();
    other.lose();
    world.pass(60_000);
    assert.deepEqual(client.heard(), []);
    let resumed = 0;
    other.connection.relieved = () => void resumed++;
    world.core.memory.measure(0, 100);
    assert.equal(resumed, 0, "who has left is forgotten");
    assert.equal(client.unreadBytes, 0);
    world.pass(14_900);
    assert.deepEqual(client.heard(), []);
    world.pass(200);
    assert.deepEqual(client.heard(), ["disconnect 0x8d", "closed"]);
  }),
);
