/**
 * The turn, by itself: it ends once, commits before it flushes, and reads the clock for what no packet set off.
 */
import assert from "node:assert/strict";
import { type Flushable, Turn } from "../../src/broker/turn.ts";

function rig() {
  const events: string[] = [];
  const deferred: (() => void)[] = [];
  const rigged = { nowMs: 0, onCommit: () => {}, events, deferred, turn: undefined as unknown as Turn };
  rigged.turn = new Turn(
    (end) => void deferred.push(end),
    () => {
      events.push("commit");
      rigged.onCommit();
    },
    () => void events.push("ended"),
    () => rigged.nowMs,
  );
  return rigged;
}

function connection(name: string, events: string[]): Flushable {
  return { flush: () => void events.push(`flush ${name}`) };
}

Deno.test("turn commits, then flushes everyone touched, and is deferred once", () => {
  const { turn, events, deferred } = rig();
  turn.schedule(10);
  turn.touch(connection("a", events));
  turn.schedule(20);
  turn.touch(connection("b", events));
  assert.equal(turn.startedMs, 10);
  assert.equal(deferred.length, 1);
  deferred[0]!();
  assert.deepEqual(events, ["commit", "flush a", "flush b", "ended"]);
});

Deno.test("turn flushes at its end who was touched by its commit, and gives what the commit appends a turn of its own", () => {
  const rigged = rig();
  const { turn, events, deferred } = rigged;
  rigged.onCommit = () => {
    rigged.onCommit = () => {};
    turn.touch(connection("acknowledged", events));
    turn.schedule(11);
    turn.touch(connection("late", events));
  };
  turn.schedule(10);
  deferred.shift()!();
  assert.deepEqual(events, ["commit", "flush acknowledged", "flush late", "ended"]);
  assert.equal(deferred.length, 1);
  deferred.shift()!();
  assert.deepEqual(events.slice(4), ["commit", "ended"]);
});

Deno.test("turn that no packet started begins at the time on the clock", () => {
  const rigged = rig();
  const { turn, events, deferred } = rigged;
  turn.schedule(10);
  deferred.shift()!();
  rigged.nowMs = 5_000;
  turn.touch(connection("a", events));
  assert.equal(turn.startedMs, 5_000);
  rigged.nowMs = 6_000;
  turn.scheduleNow();
  assert.equal(turn.startedMs, 5_000);
  assert.equal(deferred.length, 1);
});

Deno.test("turn whose commit throws flushes nobody, and the next one everybody, after its commit", () => {
  const rigged = rig();
  const { turn, events, deferred } = rigged;
  turn.touch(connection("a", events));
  rigged.onCommit = () => {
    throw new Error("a bug");
  };
  assert.throws(() => deferred.shift()!(), /a bug/);
  assert.deepEqual(events, ["commit"]);
  rigged.onCommit = () => {};
  turn.touch(connection("b", events));
  deferred.shift()!();
  assert.deepEqual(events.slice(1), ["commit", "flush a", "flush b", "ended"]);
});
