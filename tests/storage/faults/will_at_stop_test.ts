/**
 * Goal: an orderly stop of the broker announces no client as gone and forgets none: the Will Messages of those that were
 * connected are published at the next start, or taken back by a client that returns before its delay is over.
 * [MQTT 5.0, 3.1.2.5]
 *
 * Method: a world whose broker drains and starts again from what its store kept; an absent durable Session watches.
 */
import assert from "node:assert/strict";
import { scenario, type World } from "../../broker/harness.ts";

const WILL = { topic: "will", payload: "gone" as never, qos: 1 as const, retain: false };
const HOUR = 3_600;

function watch(world: World): void {
  const watcher = world.durable("watcher");
  watcher.subscribe(1, "will", 1);
  watcher.read();
  watcher.lose();
}

/** What the watcher has to hear now. */
function heardByWatcher(world: World): string[] {
  const watcher = world.durable("watcher");
  const heard = watcher.heard();
  watcher.lose();
  return heard;
}

function stopAndStart(world: World): void {
  world.core.sessions.drain();
  world.settle();
  world.restart("committed");
  world.settle();
}

Deno.test(
  "the Will Message of a client that an orderly stop disconnected is published at the next start",
  scenario({}, (world) => {
    watch(world);
    world.client("c", { will: WILL });
    stopAndStart(world);
    assert.deepEqual(heardByWatcher(world), ["publish will 'gone' q1 #1"]);
  }),
);

Deno.test(
  "the Will Message of a durable Session that an orderly stop disconnected is published at the next start",
  scenario({}, (world) => {
    watch(world);
    world.durable("c", { will: WILL });
    stopAndStart(world);
    assert.deepEqual(heardByWatcher(world), ["publish will 'gone' q1 #1"]);
  }),
);

Deno.test(
  "a client that returns within its Will Delay Interval after an orderly stop is not announced as gone",
  scenario({}, (world) => {
    watch(world);
    const will = { ...WILL, properties: { willDelayInterval: 60 } };
    world.durable("c", { will });
    stopAndStart(world);
    const back = world.durable("c");
    world.pass(120_000);
    assert.deepEqual(heardByWatcher(world), []);
    back.lose();
  }),
);

Deno.test(
  "a client that stays away after an orderly stop is announced when its Will Delay Interval is over",
  scenario({}, (world) => {
    watch(world);
    const will = { ...WILL, properties: { willDelayInterval: 60 } };
    world.durable("c", { will, properties: { sessionExpiryInterval: HOUR } });
    stopAndStart(world);
    assert.deepEqual(heardByWatcher(world), []);
    world.pass(61_000);
    assert.deepEqual(heardByWatcher(world), ["publish will 'gone' q1 #1"]);
  }),
);

Deno.test(
  "an orderly stop itself publishes no Will Message",
  scenario({}, (world) => {
    const watcher = world.durable("watcher");
    watcher.subscribe(1, "will", 1);
    watcher.read();
    world.client("c", { will: WILL });
    world.core.sessions.drain();
    assert.deepEqual(watcher.heard(), ["disconnect 0x8b", "closed"]);
    assert.equal(world.counters.messagesQueued, 0);
  }),
);

Deno.test(
  "a client that said goodbye before an orderly stop is not announced as gone",
  scenario({}, (world) => {
    watch(world);
    world.client("c", { will: WILL }).disconnect(0);
    world.settle();
    stopAndStart(world);
    assert.deepEqual(heardByWatcher(world), []);
  }),
);
