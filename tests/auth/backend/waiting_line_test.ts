/** The bound on what is done at once. */
import assert from "node:assert/strict";
import { WaitingLine } from "../../../src/auth/backend/waiting_line.ts";

/** Longer than a test. */
const LONG_MS = 60_000;

Deno.test("a waiting line lets in as many as may work, and the next when one leaves, in order", async () => {
  const line = new WaitingLine(2, 10);
  const order: string[] = [];
  const enter = (name: string) => line.enter(LONG_MS).then((mayBegin) => order.push(`${name} ${mayBegin}`));
  const early = [enter("a"), enter("b")];
  const late = [enter("c"), enter("d")];
  await Promise.all(early);
  assert.deepEqual(order, ["a true", "b true"]);
  assert.equal(line.waiting, 2);
  line.leave();
  await late[0];
  assert.deepEqual(order, ["a true", "b true", "c true"]);
  line.leave();
  await late[1];
  assert.deepEqual(order.at(-1), "d true");
});

Deno.test("a waiting line that is full turns away at once", async () => {
  const line = new WaitingLine(1, 1);
  assert.equal(await line.enter(LONG_MS), true);
  const waiting = line.enter(LONG_MS);
  assert.equal(await line.enter(LONG_MS), false);
  line.leave();
  assert.equal(await waiting, true);
});

Deno.test("a place in a waiting line that was given back can be taken again", async () => {
  const line = new WaitingLine(1, 0);
  for (let round = 0; round < 3; round++) {
    assert.equal(await line.enter(LONG_MS), true);
    assert.equal(await line.enter(LONG_MS), false);
    line.leave();
  }
});

Deno.test("whoever waited for too long is turned away and takes nobody's place", async () => {
  const line = new WaitingLine(1, 10);
  await line.enter(LONG_MS);
  assert.equal(await line.enter(1), false);
  assert.equal(line.waiting, 0);
  const next = line.enter(LONG_MS);
  line.leave();
  assert.equal(await next, true);
});

Deno.test("a closed waiting line turns away those who wait and those who come", async () => {
  const line = new WaitingLine(1, 10);
  await line.enter(LONG_MS);
  const waiting = line.enter(LONG_MS);
  line.close();
  assert.equal(await waiting, false);
  assert.equal(await line.enter(LONG_MS), false);
});
