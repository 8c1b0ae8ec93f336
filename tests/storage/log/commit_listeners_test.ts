/**
 * Who hears of commits while listeners come, go, and commit more.
 */
import assert from "node:assert/strict";
import { CommitListeners } from "../../../src/storage/log/commit_listeners.ts";

Deno.test("CommitListeners never tell a position that is lower than before, also when a listener commits more", () => {
  const listeners = new CommitListeners();
  const first: number[] = [];
  const second: number[] = [];
  listeners.add((committed) => {
    first.push(committed);
    if (committed === 10) listeners.tell(20);
  });
  listeners.add((committed) => second.push(committed));
  listeners.tell(10);
  assert.deepEqual(first, [10, 20]);
  assert.deepEqual(second, [20, 20]);
});

Deno.test("CommitListeners may be added twice, and each is taken away alone", () => {
  const listeners = new CommitListeners();
  let heard = 0;
  const hear = () => void heard++;
  const stop = listeners.add(hear);
  listeners.add(hear);
  stop();
  listeners.tell(1);
  assert.equal(heard, 1);
});

Deno.test("CommitListeners: one that leaves while it is told does not hide another", () => {
  const listeners = new CommitListeners();
  const heard: string[] = [];
  const stop = listeners.add(() => {
    heard.push("leaves");
    stop();
  });
  listeners.add(() => heard.push("stays"));
  listeners.tell(1);
  listeners.tell(2);
  assert.deepEqual(heard, ["leaves", "stays", "stays"]);
});
