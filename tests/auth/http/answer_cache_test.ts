/** Answers that are used again. */
import assert from "node:assert/strict";
import { AnswerCache, type Answered } from "../../../src/auth/http/answer_cache.ts";

/** A cache whose server answers each question with `question#count`. */
function cacheOf(entriesMax: number, keepMs = 100, part: "good" | "bad" = "good") {
  const world = { nowMs: 1000, asked: [] as string[] };
  const cache = new AnswerCache<string>(entriesMax, () => world.nowMs);
  const find = async (question: string, keep = keepMs, into = part) =>
    await cache.find(question, (): Promise<Answered<string>> => {
      world.asked.push(question);
      return Promise.resolve({ answer: `${question}#${world.asked.length}`, keepMs: keep, part: into });
    });
  return { world, find };
}

Deno.test("an answer is used again until its time is over", async () => {
  const { world, find } = cacheOf(10);
  assert.equal(await find("a"), "a#1");
  world.nowMs += 99;
  assert.equal(await find("a"), "a#1");
  world.nowMs += 1;
  assert.equal(await find("a"), "a#2");
});

Deno.test("an answer for one question only is not used again", async () => {
  const { find } = cacheOf(10, 0);
  assert.deepEqual([await find("a"), await find("a")], ["a#1", "a#2"]);
});

Deno.test("a cache of no entries keeps nothing", async () => {
  const { find } = cacheOf(0);
  assert.deepEqual([await find("a"), await find("a")], ["a#1", "a#2"]);
});

Deno.test("the answer that was not used for the longest time makes room", async () => {
  const { world, find } = cacheOf(2);
  await find("a");
  await find("b");
  await find("a");
  await find("c");
  world.asked.length = 0;
  await find("a");
  await find("c");
  assert.deepEqual(world.asked, []);
  await find("b");
  assert.deepEqual(world.asked, ["b"]);
});

Deno.test("bad answers push no good ones out", async () => {
  const { world, find } = cacheOf(2);
  await find("good");
  for (let i = 0; i < 10; i++) await find(`guess ${i}`, 100, "bad");
  world.asked.length = 0;
  await find("good");
  await find("guess 9", 100, "bad");
  assert.deepEqual(world.asked, []);
  await find("guess 0", 100, "bad");
  assert.deepEqual(world.asked, ["guess 0"]);
});

Deno.test("a clock that is set back makes an answer old", async () => {
  const { world, find } = cacheOf(10);
  await find("a");
  world.nowMs -= 1;
  assert.equal(await find("a"), "a#2");
});

Deno.test("those who ask the same at the same time share one question, and others do not", async () => {
  const cache = new AnswerCache<number>(10, () => 0);
  const answers = Promise.withResolvers<Answered<number>>();
  let asked = 0;
  const find = (question: string) =>
    cache.find(question, () => {
      asked++;
      return answers.promise;
    });
  const waiting = [find("a"), find("a"), find("b"), find("a")];
  assert.equal(asked, 2);
  answers.resolve({ answer: 7, keepMs: 0, part: "good" });
  assert.deepEqual(await Promise.all(waiting), [7, 7, 7, 7]);
  await find("a");
  assert.equal(asked, 3);
});
