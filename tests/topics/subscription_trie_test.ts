import * as assert from "node:assert/strict";
import type { MatchResult } from "../../src/topics/subscription_trie.ts";
import { SubscriptionTrie } from "../../src/topics/subscription_trie.ts";
import { type Topic, TopicCache } from "../../src/topics/topic.ts";
import { factsOf, subscriptionOf, TestSubscriber } from "./topic_model.ts";

function topicOf(name: string, cache: TopicCache = new TopicCache(4)): Topic {
  const topic = cache.intern(name);
  assert.ok(topic);
  return topic;
}

function clientIds(result: MatchResult<TestSubscriber>): string[] {
  return result.receivers.map((receiver) => receiver.subscriber.clientId).sort();
}

const alice = new TestSubscriber("alice");
const bob = new TestSubscriber("bob");

Deno.test("SubscriptionTrie.match finds exact, single-level and multi-level filters", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  ["a/b", "a/+", "a/#", "+/+", "#", "a", "b/#", "a/b/#"].forEach((filter, at) =>
    trie.add(subscriptionOf(new TestSubscriber(`${at}`), filter))
  );
  assert.deepEqual(clientIds(trie.match(topicOf("a/b"))), ["0", "1", "2", "3", "4", "7"]);
  assert.deepEqual(clientIds(trie.match(topicOf("a"))), ["2", "4", "5"]);
});

Deno.test("SubscriptionTrie.match keeps first-level wildcards away from `$` topics, shared too [MQTT-4.7.2-1]", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  trie.add(subscriptionOf(alice, "#"));
  trie.add(subscriptionOf(alice, "+/x", { group: "g" }));
  trie.add(subscriptionOf(bob, "$SYS/#"));
  const result = trie.match(topicOf("$SYS/x"));
  assert.deepEqual(clientIds(result), ["bob"]);
  assert.equal(result.groups.length, 0);
});

Deno.test("SubscriptionTrie.match merges a subscriber's overlapping subscriptions [MQTT-3.3.4-2] [MQTT-3.3.4-4]", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  trie.add(subscriptionOf(alice, "a/#", { qos: 1, subscriptionIdentifier: 3 }));
  trie.add(subscriptionOf(alice, "a/+", { qos: 0, subscriptionIdentifier: 4, retainAsPublished: true }));
  trie.add(subscriptionOf(alice, "a/b", { qos: 2, noLocal: true }));
  trie.add(subscriptionOf(bob, "a/b"));
  const facts = trie.match(topicOf("a/b")).receivers.map(factsOf);
  const own = { qos: 1, retainAsPublished: true, identifiers: [3, 4] };
  assert.deepEqual(facts.find((each) => each.clientId === "alice"), { clientId: "alice", ...own, qos: 2, own });
  assert.equal(facts.length, 2);
});

Deno.test("SubscriptionTrie.match keeps a shared subscription apart from ordinary ones of the same client", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  trie.add(subscriptionOf(alice, "a", { qos: 0 }));
  trie.add(subscriptionOf(alice, "a", { qos: 2, group: "g" }));
  trie.add(subscriptionOf(bob, "a", { group: "g" }));
  trie.add(subscriptionOf(bob, "a", { group: "h" }));
  const result = trie.match(topicOf("a"));
  assert.deepEqual(result.receivers.map((receiver) => receiver.qos), [0]);
  assert.deepEqual(result.groups.map((group) => [group.group, group.filter, group.size]).sort(), [
    ["g", "a", 2],
    ["h", "a", 1],
  ]);
  assert.deepEqual([trie.size, trie.sharedSize], [4, 3]);
});

Deno.test("SubscriptionTrie.add replaces the subscription of the same client, filter and group [MQTT-3.8.4-3]", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  const topic = topicOf("a/b");
  const first = subscriptionOf(alice, "a/+", { qos: 0 });
  assert.equal(trie.add(first), undefined);
  assert.equal(trie.match(topic).receivers[0]?.qos, 0);
  const second = subscriptionOf(alice, "a/+", { qos: 2, subscriptionIdentifier: 8 });
  assert.equal(trie.add(second), first);
  assert.deepEqual(trie.match(topic).receivers.map((each) => [each.qos, each.identifiers]), [[2, [8]]]);
  assert.equal(trie.size, 1);
  assert.equal(trie.remove(alice, "a/+", ""), second);
});

Deno.test("SubscriptionTrie.add with any one option changed shows in the next match", () => {
  const changes = [{ qos: 1 }, { noLocal: true }, { retainAsPublished: true }, { subscriptionIdentifier: 1 }] as const;
  for (const change of changes) {
    const trie = new SubscriptionTrie<TestSubscriber>();
    const topic = topicOf("a");
    trie.add(subscriptionOf(alice, "a"));
    const before = trie.match(topic).receivers.map(factsOf);
    trie.add(subscriptionOf(alice, "a", change));
    assert.notDeepEqual(trie.match(topic).receivers.map(factsOf), before, JSON.stringify(change));
  }
});

Deno.test("SubscriptionTrie.remove takes exactly the named subscription, or tells there was none", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  const shared = subscriptionOf(alice, "a", { group: "g" });
  trie.add(shared);
  assert.equal(trie.remove(alice, "a", ""), undefined);
  assert.equal(trie.remove(alice, "a", "h"), undefined);
  assert.equal(trie.remove(bob, "a", "g"), undefined);
  assert.equal(trie.remove(alice, "b", "g"), undefined);
  assert.equal(trie.remove(alice, "a", "g"), shared);
  assert.equal(trie.remove(alice, "a", "g"), undefined);
  assert.deepEqual([trie.size, trie.sharedSize, trie.match(topicOf("a")).groups.length], [0, 0, 0]);
});

Deno.test("SubscriptionTrie.match answers from the topic until a filter that concerns it changes", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  trie.add(subscriptionOf(alice, "a/+"));
  const topic = topicOf("a/b");
  const cached = trie.match(topic);
  assert.equal(trie.match(topic), cached);
  trie.add(subscriptionOf(bob, "other/topic"));
  assert.equal(trie.match(topic), cached, "an exact filter of another topic");
  trie.add(subscriptionOf(alice, "a/+", { retainHandling: 2 }));
  assert.equal(trie.match(topic), cached, "a renewed subscription with the same options");
  trie.add(subscriptionOf(bob, "a/b"));
  assert.deepEqual(clientIds(trie.match(topic)), ["alice", "bob"]);
  trie.remove(alice, "a/+", "");
  assert.deepEqual(clientIds(trie.match(topic)), ["bob"]);
});

Deno.test("SubscriptionTrie.match of a topic nobody wants notices the first subscription and the end of the last", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  const topic = topicOf("a/b");
  assert.deepEqual(clientIds(trie.match(topic)), []);
  trie.add(subscriptionOf(alice, "a/b"));
  assert.deepEqual(clientIds(trie.match(topic)), ["alice"]);
  trie.remove(alice, "a/b", "");
  assert.deepEqual(clientIds(trie.match(topic)), []);
});

Deno.test("SubscriptionTrie.match of a Topic that its cache evicted still notices changes", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  const cache = new TopicCache(4);
  const evicted = topicOf("a/b", cache);
  trie.match(evicted);
  for (let count = 0; count < 20; count++) topicOf(`passing/${count}`, cache);
  const successor = topicOf("a/b", cache);
  assert.notEqual(successor, evicted);
  trie.add(subscriptionOf(alice, "a/b"));
  assert.deepEqual(clientIds(trie.match(evicted)), ["alice"]);
  assert.deepEqual(clientIds(trie.match(successor)), ["alice"]);
});

Deno.test("SubscriptionTrie results of two tries on one Topic do not mix", () => {
  const first = new SubscriptionTrie<TestSubscriber>();
  const second = new SubscriptionTrie<TestSubscriber>();
  first.add(subscriptionOf(alice, "a"));
  second.add(subscriptionOf(bob, "a"));
  const topic = topicOf("a");
  for (let turn = 0; turn < 3; turn++) {
    assert.deepEqual(clientIds(first.match(topic)), ["alice"]);
    assert.deepEqual(clientIds(second.match(topic)), ["bob"]);
  }
});

Deno.test("SubscriptionTrie members of a shared group change under a cached result", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  trie.add(subscriptionOf(alice, "a", { group: "g" }));
  const topic = topicOf("a");
  const cached = trie.match(topic);
  trie.add(subscriptionOf(bob, "a", { group: "g" }));
  assert.equal(trie.match(topic), cached);
  const [group] = cached.groups;
  assert.deepEqual([group?.pick()?.subscriber, group?.pick()?.subscriber], [alice, bob]);
  trie.remove(alice, "a", "g");
  assert.equal(group?.pick()?.subscriber, bob);
});

Deno.test("SubscriptionTrie.subscriberOnline makes a client a candidate in all its shared groups", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  const carol = new TestSubscriber("carol");
  carol.isOnline = false;
  trie.add(subscriptionOf(carol, "a", { group: "g" }));
  trie.add(subscriptionOf(carol, "a", { group: "h" }));
  const { groups } = trie.match(topicOf("a"));
  assert.deepEqual(groups.map((group) => group.pick()), [undefined, undefined]);
  carol.isOnline = true;
  trie.subscriberOnline(carol);
  trie.subscriberOnline(bob);
  assert.deepEqual(groups.map((group) => group.pick()?.subscriber), [carol, carol]);
});

Deno.test("SubscriptionTrie finds and removes among many subscribers of one filter", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  const everybody = Array.from({ length: 100 }, (_, index) => new TestSubscriber(`c${index}`));
  for (const each of everybody) trie.add(subscriptionOf(each, "a", { qos: 1 }));
  for (const each of everybody) assert.equal(trie.add(subscriptionOf(each, "a", { qos: 2 }))?.qos, 1);
  const topic = topicOf("a");
  const left = new Set(everybody);
  for (let step = 0; step < 100; step++) {
    const gone = everybody[(step * 37) % 100]!;
    assert.equal(trie.remove(gone, "a", "")?.subscriber, gone);
    left.delete(gone);
    const { receivers } = trie.match(topic);
    assert.deepEqual(new Set(receivers.map((each) => each.subscriber)), left);
    assert.equal(receivers.length, left.size);
  }
});

Deno.test("SubscriptionTrie past its budget forgets cached results and computes them again", () => {
  const trie = new SubscriptionTrie<TestSubscriber>(200);
  const cache = new TopicCache();
  trie.add(subscriptionOf(alice, "#"));
  const topics = Array.from({ length: 10 }, (_, index) => topicOf(`t/${index}`, cache));
  for (const topic of topics) trie.match(topic);
  const kept = topics.filter((topic) => topic.matched !== undefined);
  assert.ok(kept.length > 0 && kept.length <= 6, `${kept.length} results kept`);
  for (const topic of topics) assert.deepEqual(clientIds(trie.match(topic)), ["alice"]);
});

Deno.test("SubscriptionTrie holds filters and names of 30 000 levels without recursion", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  const cache = new TopicCache();
  cache.maxTopicLevels = 32_768;
  const deep = "a/".repeat(29_999);
  trie.add(subscriptionOf(alice, `${deep}+`));
  trie.add(subscriptionOf(bob, `${deep}#`));
  const topic = topicOf(`${deep}a`, cache);
  assert.deepEqual(clientIds(trie.match(topic)), ["alice", "bob"]);
  trie.remove(alice, `${deep}+`, "");
  assert.deepEqual(clientIds(trie.match(topic)), ["bob"]);
});

Deno.test("SubscriptionTrie.forEach visits every subscription once, shared ones too", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  const all = [
    subscriptionOf(alice, "a"),
    subscriptionOf(alice, "a", { group: "g" }),
    subscriptionOf(bob, "a", { group: "g" }),
    subscriptionOf(bob, "+/#"),
  ];
  for (const each of all) trie.add(each);
  const visited: unknown[] = [];
  trie.forEach((subscription) => visited.push(subscription));
  assert.equal(visited.length, 4);
  assert.deepEqual(new Set(visited), new Set(all));
});

Deno.test("SubscriptionTrie.hasRoomFor bounds the levels of all filters; removed filters make room again", () => {
  const trie = new SubscriptionTrie<TestSubscriber>(undefined, 300);
  for (let i = 0; i < 298; i++) trie.add(subscriptionOf(alice, `n${i}`));
  assert.equal(trie.hasRoomFor("a/+"), true);
  assert.equal(trie.hasRoomFor("a/+/c"), false);
  assert.equal(trie.hasRoomFor("n7"), true, "a known filter");
  // 256 emptied filters wait in the ring; the others are gone.
  for (let i = 0; i < 298; i++) trie.remove(alice, `n${i}`, "");
  assert.equal(trie.hasRoomFor(new Array(44).fill("+").join("/")), true);
  assert.equal(trie.hasRoomFor(new Array(45).fill("+").join("/")), false);
});

Deno.test("SubscriptionTrie.match keeps the route that was set on a result until the result changes", () => {
  const trie = new SubscriptionTrie<TestSubscriber>();
  const topic = topicOf("a");
  assert.equal(trie.match(topic).route, -1);
  trie.match(topic).route = 0;
  assert.equal(trie.match(topicOf("b")).route, 0, "one result stands for all topics without subscribers");
  trie.add(subscriptionOf(alice, "a"));
  assert.equal(trie.match(topic).route, -1);
  trie.match(topic).route = 4096;
  trie.add(subscriptionOf(alice, "a"));
  trie.add(subscriptionOf(bob, "b"));
  assert.equal(trie.match(topic).route, 4096);
  trie.add(subscriptionOf(alice, "a", { qos: 1 }));
  assert.equal(trie.match(topic).route, -1);
  trie.match(topic).route = 8192;
  trie.add(subscriptionOf(bob, "a", { group: "g" }));
  assert.equal(trie.match(topic).route, -1);
});
