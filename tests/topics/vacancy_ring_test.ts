import * as assert from "node:assert/strict";
import { RetainedIndex } from "../../src/topics/retained_index.ts";
import { SubscriptionTrie } from "../../src/topics/subscription_trie.ts";
import { VacancyRing, type Vacatable } from "../../src/topics/vacancy_ring.ts";
import { subscriptionOf, TestSubscriber } from "./topic_model.ts";

class Entry implements Vacatable {
  isEmpty = true;
  isWaiting = false;

  constructor(readonly name: string) {}
}

Deno.test("VacancyRing removes entries in the order in which they became empty, 256 later", () => {
  const removed: string[] = [];
  const ring = new VacancyRing<Entry>((entry) => removed.push(entry.name));
  for (let count = 0; count < 256; count++) ring.push(new Entry(`${count}`));
  assert.deepEqual(removed, []);
  ring.push(new Entry("next"));
  ring.push(new Entry("after"));
  assert.deepEqual(removed, ["0", "1"]);
});

Deno.test("VacancyRing keeps an entry that was filled again, and takes it anew when it is empty again", () => {
  const removed: Entry[] = [];
  const ring = new VacancyRing<Entry>((entry) => removed.push(entry));
  const entry = new Entry("e");
  for (let count = 0; count < 1000; count++) ring.push(entry);
  assert.deepEqual([removed.length, entry.isWaiting], [0, true]);
  entry.isEmpty = false;
  for (let count = 0; count < 256; count++) ring.push(new Entry(`${count}`));
  assert.deepEqual([removed.length, entry.isWaiting], [0, false]);
  entry.isEmpty = true;
  ring.push(entry);
  for (let count = 0; count < 256; count++) ring.push(new Entry(`${count}`));
  assert.ok(removed.includes(entry));
});

Deno.test("toggling one key deletes nothing from the Maps of the trie and of the retained index", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  const retained = new RetainedIndex<number>();
  const subscriber = new TestSubscriber("c");
  const { deletions } = countMapChanges(() => {
    for (let count = 0; count < 1000; count++) {
      trie.add(subscriptionOf(subscriber, "a/+"));
      trie.remove(subscriber, "a/+", "");
      retained.set("a/b", count);
      retained.delete("a/b");
    }
  });
  assert.equal(deletions, 0);
});

Deno.test("SubscriptionTrie keeps of 2000 filters that came and went only the 256 that wait, nodes included", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  const subscriber = new TestSubscriber("c");
  const { insertions, deletions } = countMapChanges(() => {
    for (let count = 0; count < 2000; count++) {
      const filter = `device/${count}/+/#`;
      trie.add(subscriptionOf(subscriber, filter));
      trie.remove(subscriber, filter, "");
    }
  });
  // Per filter its entry and the node of its number, which goes only when nothing is left below it. An only child such
  // as "device" is in no Map.
  assert.equal(insertions, 2000 * 2);
  assert.equal(insertions - deletions, 256 * 2);
});

Deno.test("RetainedIndex keeps of 2000 names that came and went only the 256 that wait, nodes included", () => {
  const retained = new RetainedIndex<number>();
  const { insertions, deletions } = countMapChanges(() => {
    for (let count = 0; count < 2000; count++) {
      retained.set(`device/${count}/state`, count);
      retained.delete(`device/${count}/state`);
    }
  });
  assert.equal(insertions, 2000 * 2);
  assert.equal(insertions - deletions, 256 * 2);
});

/** Runs an action and counts the entries that it puts into Maps and deletes from Maps. */
function countMapChanges(action: () => void): { insertions: number; deletions: number } {
  const { set, delete: remove } = Map.prototype;
  let insertions = 0;
  let deletions = 0;
  Map.prototype.set = function (this: Map<unknown, unknown>, key: unknown, value: unknown) {
    if (!this.has(key)) insertions++;
    return set.call(this, key, value);
  };
  Map.prototype.delete = function (this: Map<unknown, unknown>, key: unknown) {
    const isDeleted = remove.call(this, key);
    if (isDeleted) deletions++;
    return isDeleted;
  };
  try {
    action();
  } finally {
    Map.prototype.set = set;
    Map.prototype.delete = remove;
  }
  return { insertions, deletions };
}
