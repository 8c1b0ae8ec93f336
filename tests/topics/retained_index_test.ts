import * as assert from "node:assert/strict";
import * as fc from "fast-check";
import { RetainedIndex } from "../../src/topics/retained_index.ts";
import { matchesNaively, topicFilter, topicName } from "./topic_model.ts";

function indexOf(...names: string[]): RetainedIndex<string> {
  const index = new RetainedIndex<string>();
  for (const name of names) index.set(name, `value of ${name}`);
  return index;
}

function matched(index: RetainedIndex<string>, filter: string): string[] {
  const names: string[] = [];
  index.match(filter, (name, value) => {
    assert.equal(value, index.get(name));
    names.push(name);
  });
  return names.sort();
}

Deno.test("RetainedIndex.set keeps one value per name and returns the replaced one [MQTT-3.3.1-5]", () => {
  const index = new RetainedIndex<number>();
  assert.equal(index.set("a/b", 1), undefined);
  assert.equal(index.set("a/b", 2), 1);
  assert.equal(index.set("a", 3), undefined);
  assert.deepEqual([index.get("a/b"), index.get("a"), index.get("a/"), index.size], [2, 3, undefined, 2]);
});

Deno.test("RetainedIndex.delete removes one name and leaves names above and below it [MQTT-3.3.1-6]", () => {
  const index = indexOf("a", "a/b", "a/b/c");
  assert.equal(index.delete("a/b"), "value of a/b");
  assert.equal(index.delete("a/b"), undefined);
  assert.deepEqual(matched(index, "#"), ["a", "a/b/c"]);
  assert.equal(index.delete("a/b/c"), "value of a/b/c");
  assert.deepEqual([matched(index, "a/#"), matched(index, "a/+"), index.size], [["a"], [], 1]);
});

Deno.test("RetainedIndex.match finds by name, by + and by #, the parent level included", () => {
  const index = indexOf("a", "a/b", "a/b/c", "b", "a/", "/");
  assert.deepEqual(matched(index, "a/b"), ["a/b"]);
  assert.deepEqual(matched(index, "a/+"), ["a/", "a/b"]);
  assert.deepEqual(matched(index, "a/#"), ["a", "a/", "a/b", "a/b/c"]);
  assert.deepEqual(matched(index, "+/+"), ["/", "a/", "a/b"]);
  assert.deepEqual(matched(index, "x/#"), []);
});

Deno.test("RetainedIndex.match keeps first-level wildcards away from `$` names [MQTT-4.7.2-1]", () => {
  const index = indexOf("$SYS/uptime", "a/$x", "$");
  assert.deepEqual(matched(index, "#"), ["a/$x"]);
  assert.deepEqual(matched(index, "+/uptime"), []);
  assert.deepEqual(matched(index, "+"), []);
  assert.deepEqual(matched(index, "$SYS/#"), ["$SYS/uptime"]);
  assert.deepEqual(matched(index, "a/+"), ["a/$x"]);
  assert.deepEqual(matched(index, "$SYS/uptime"), ["$SYS/uptime"]);
});

Deno.test("RetainedIndex.match goes through while its visitor deletes what it sees", () => {
  const index = indexOf(...Array.from({ length: 50 }, (_, at) => `a/${at % 7}/${at}`), "a", "a/3");
  const seen: string[] = [];
  index.match("a/#", (name) => {
    seen.push(name);
    index.delete(name);
  });
  assert.deepEqual([seen.length, new Set(seen).size, index.size, matched(index, "#")], [52, 52, 0, []]);
});

Deno.test("RetainedIndex holds a name of 30 000 levels without recursion", () => {
  const deep = "a/".repeat(29_999) + "a";
  const index = indexOf(deep, "b");
  assert.deepEqual(matched(index, "a/#"), [deep]);
  assert.equal(index.delete(deep), `value of ${deep}`);
  assert.deepEqual(matched(index, "#"), ["b"]);
});

Deno.test("RetainedIndex.match below a literal prefix reads nothing of its neighbours", () => {
  const index = new RetainedIndex<string>();
  for (let site = 0; site < 200; site++) {
    for (let device = 0; device < 10; device++) index.set(`site/${site}/${device}`, "v");
  }
  const iterations = countMapIterations(() => assert.equal(matched(index, "site/7/#").length, 10));
  assert.ok(iterations <= 11, `${iterations} child lists were walked`);
});

/** Runs an action and counts how many Maps it began to iterate. */
function countMapIterations(action: () => void): number {
  const original = Map.prototype[Symbol.iterator];
  let count = 0;
  Map.prototype[Symbol.iterator] = function (this: Map<unknown, unknown>) {
    count++;
    return original.call(this);
  };
  try {
    action();
  } finally {
    Map.prototype[Symbol.iterator] = original;
  }
  return count;
}

Deno.test("RetainedIndex agrees with a list of names, after any sets and deletes", () => {
  const change = fc.tuple(fc.boolean(), topicName);
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), fc.array(topicFilter, { maxLength: 8 }), (changes, filters) => {
      const index = new RetainedIndex<string>();
      const model = new Map<string, string>();
      changes.forEach(([isSet, name], at) => {
        const before = model.get(name);
        if (isSet) {
          assert.equal(index.set(name, `${at}`), before);
          model.set(name, `${at}`);
        } else {
          assert.equal(index.delete(name), before);
          model.delete(name);
        }
      });
      assert.equal(index.size, model.size);
      assert.deepEqual([...index].sort(), [...model].sort());
      for (const filter of [...filters, ...model.keys(), "#", "+/#"]) {
        const expected = [...model.keys()].filter((name) => matchesNaively(filter, name)).sort();
        assert.deepEqual(matched(index, filter), expected);
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("RetainedIndex.hasRoomFor bounds the levels of all names; removed names make room again", () => {
  const index = new RetainedIndex<number>(300);
  for (let i = 0; i < 298; i++) index.set(`n${i}`, i);
  assert.equal(index.hasRoomFor("a/b"), true);
  assert.equal(index.hasRoomFor("a/b/c"), false);
  assert.equal(index.hasRoomFor("n7"), true, "a known name");
  // 256 cleared names wait in the ring; the others are gone.
  for (let i = 0; i < 298; i++) index.delete(`n${i}`);
  assert.equal(index.hasRoomFor(new Array(44).fill("l").join("/")), true);
  assert.equal(index.hasRoomFor(new Array(45).fill("l").join("/")), false);
});

Deno.test("RetainedIndex counts the levels of its names, after any sets and deletes", () => {
  const change = fc.tuple(fc.boolean(), topicName);
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      const index = new RetainedIndex<number>(1000);
      const model = new Set<string>();
      for (const [isSet, name] of changes) {
        if (isSet) index.set(name, 1);
        else index.delete(name);
        if (isSet) model.add(name);
        else model.delete(name);
      }
      // These take the places of all that wait in the ring, so that they alone wait, with one level each.
      for (let count = 0; count < 256; count++) index.set(`waiting${count}`, 1);
      for (let count = 0; count < 256; count++) index.delete(`waiting${count}`);
      const levels = [...model].reduce((sum, name) => sum + name.split("/").length, 256);
      assert.equal(index.hasRoomFor(new Array(1000 - levels).fill("new").join("/")), true);
      assert.equal(index.hasRoomFor(new Array(1001 - levels).fill("new").join("/")), false);
    }),
    { numRuns: 100 },
  );
});
