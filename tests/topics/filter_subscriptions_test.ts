import * as assert from "node:assert/strict";
import { FilterSubscriptions, Holder } from "../../src/topics/filter_subscriptions.ts";
import { subscriptionOf, TestSubscriber } from "./topic_model.ts";

/** Below and above the number of entries from which the list is indexed. */
for (const count of [1, 5, 40]) {
  Deno.test(`FilterSubscriptions finds and removes each of ${count} without leaving gaps`, () => {
    const subscriptions = new FilterSubscriptions<TestSubscriber>("a");
    const holders = Array.from({ length: count }, (_, index) => new Holder(new TestSubscriber(`c${index}`)));
    for (const holder of holders) subscriptions.append(subscriptionOf(holder.subscriber, "a"), holder);
    while (holders.length > 0) {
      for (const holder of holders) assert.equal(subscriptions.find(holder)?.holder, holder);
      const [gone] = holders.splice(Math.floor(holders.length / 3), 1);
      subscriptions.removeLeaf(subscriptions.find(gone!)!);
      assert.equal(subscriptions.find(gone!), undefined);
      assert.equal(subscriptions.leaves.length, holders.length);
      subscriptions.leaves.forEach((leaf, index) => assert.equal(leaf.position, index));
    }
    assert.equal(subscriptions.isEmpty, true);
  });
}

Deno.test("FilterSubscriptions is not empty while a shared group is open", () => {
  const subscriptions = new FilterSubscriptions<TestSubscriber>("a");
  const group = subscriptions.groupFor("g");
  assert.equal(subscriptions.groupFor("g"), group);
  assert.notEqual(subscriptions.groupFor("h"), group);
  subscriptions.removeGroup("g");
  assert.equal(subscriptions.isEmpty, false);
  subscriptions.removeGroup("h");
  assert.equal(subscriptions.isEmpty, true);
});
