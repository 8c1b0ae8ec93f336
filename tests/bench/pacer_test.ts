import assert from "node:assert/strict";
import { Pacer } from "../../bench/load/pacer.ts";

function pumpCounter() {
  return {
    pumped: 0,
    pump() {
      this.pumped++;
    },
  };
}

Deno.test("Pacer gives a publisher its window and takes what is under way off it", () => {
  const pacer = new Pacer(32, [pumpCounter()], [2]);
  assert.equal(pacer.room(0), 32);
  pacer.started(0, 32);
  assert.equal(pacer.room(0), 0);
  pacer.delivered(0);
  assert.equal(pacer.room(0), 0, "one of two subscribers has the message");
  pacer.delivered(0);
  assert.equal(pacer.room(0), 1);
});

Deno.test("Pacer wakes a publisher once, when a sixteenth of its window is free", () => {
  const publishers = [pumpCounter(), pumpCounter()];
  const pacer = new Pacer(32, publishers, [1, 1]);
  pacer.started(0, 32);
  pacer.started(1, 32);
  pacer.delivered(0);
  pacer.release();
  assert.deepEqual(publishers.map((publisher) => publisher.pumped), [0, 0]);
  pacer.delivered(0);
  pacer.delivered(0);
  pacer.release();
  pacer.release();
  assert.deepEqual(publishers.map((publisher) => publisher.pumped), [1, 0]);
  assert.equal(pacer.received, 3);
});

Deno.test("Pacer with window 1 wakes after each delivery, and without subscribers never holds back", () => {
  const publisher = pumpCounter();
  const pacer = new Pacer(1, [publisher], [1]);
  for (let turn = 1; turn <= 3; turn++) {
    pacer.started(0, 1);
    pacer.delivered(0);
    pacer.release();
    assert.equal(publisher.pumped, turn);
  }
  const unpaced = new Pacer(10, [publisher], [0]);
  unpaced.started(0, 10);
  assert.equal(unpaced.room(0), 10);
});
