/** Answers that are used again. */
import * as Effect from "effect/Effect";
import * as ManagedRuntime from "effect/ManagedRuntime";
import * as TestClock from "effect/testing/TestClock";
import assert from "node:assert/strict";
import { type Answered, makeAnswerCache } from "../../../src/auth/http/answer_cache.ts";
import { START_MS } from "../backend_rig.ts";

interface Question {
  readonly name: string;
  readonly keepMs: number;
  readonly part: "good" | "bad";
}

/** A cache whose server answers each question with `name#count`, as soon as `hold` allows. */
async function cacheOf(entriesMax: number, hold?: Promise<unknown>) {
  const runtime = ManagedRuntime.make(TestClock.layer());
  const setTime = (timeMs: number) => runtime.runPromise(TestClock.setTime(timeMs));
  await setTime(START_MS);
  const asked: string[] = [];
  const ask = ({ name, keepMs, part }: Question): Effect.Effect<Answered<string>> =>
    Effect.promise(async () => {
      asked.push(name);
      const answer = `${name}#${asked.length}`;
      await hold;
      return { answer, keepMs, part };
    });
  const answer = await runtime.runPromise(makeAnswerCache(ask, entriesMax));
  const find = async (name: string, keepMs = 100, part: Question["part"] = "good") => {
    const found = answer({ name, keepMs, part });
    return Effect.isEffect(found) ? await runtime.runPromise(found) : found;
  };
  return { asked, find, setTime };
}

Deno.test("an answer is used again until its time is over", async () => {
  const { setTime, find } = await cacheOf(10);
  assert.equal(await find("a"), "a#1");
  await setTime(START_MS + 99);
  assert.equal(await find("a"), "a#1");
  await setTime(START_MS + 100);
  assert.equal(await find("a"), "a#2");
});

Deno.test("an answer for one question only is not used again", async () => {
  const { find } = await cacheOf(10);
  assert.deepEqual([await find("a", 0), await find("a", 0)], ["a#1", "a#2"]);
});

Deno.test("a cache of no entries keeps nothing", async () => {
  const { find } = await cacheOf(0);
  assert.deepEqual([await find("a"), await find("a")], ["a#1", "a#2"]);
});

Deno.test("the answer that was not used for the longest time makes room", async () => {
  const { asked, find } = await cacheOf(2);
  await find("a");
  await find("b");
  await find("a");
  await find("c");
  asked.length = 0;
  await find("a");
  await find("c");
  assert.deepEqual(asked, []);
  await find("b");
  assert.deepEqual(asked, ["b"]);
});

Deno.test("bad answers push no good ones out", async () => {
  const { asked, find } = await cacheOf(2);
  await find("good");
  for (let i = 0; i < 10; i++) await find(`guess ${i}`, 100, "bad");
  asked.length = 0;
  await find("good");
  await find("guess 9", 100, "bad");
  assert.deepEqual(asked, []);
  await find("guess 0", 100, "bad");
  assert.deepEqual(asked, ["guess 0"]);
});

Deno.test("an answer holds for its time and no longer when the wall clock is set back", async () => {
  const { setTime, find } = await cacheOf(10);
  await find("a");
  await setTime(START_MS - 1000);
  await setTime(START_MS - 901);
  assert.equal(await find("a"), "a#1");
  await setTime(START_MS - 900);
  assert.equal(await find("a"), "a#2");
});

Deno.test("those who ask the same at the same time share one question, and others do not", async () => {
  const hold = Promise.withResolvers<void>();
  const { asked, find } = await cacheOf(10, hold.promise);
  const waiting = [find("a", 0), find("a", 0), find("b", 0), find("a", 0)];
  assert.deepEqual(asked, ["a", "b"]);
  hold.resolve();
  assert.deepEqual(await Promise.all(waiting), ["a#1", "a#1", "b#2", "a#1"]);
  await find("a", 0);
  assert.equal(asked.length, 3);
});
