/**
 * The trie against the naive model. Goal: whatever is subscribed and removed, in whatever order, with cached results in
 * between, a match says what a plain list of subscriptions says, and no result that was handed out ever changes.
 *
 * Method: random steps on a trie and a Map. Topics come from a cache of four slots, so that most are evicted; all the
 * evicted objects stay in use, as Topic Aliases keep them in use. After every step all topics are matched.
 */

import * as assert from "node:assert/strict";
import * as fc from "fast-check";
import type { Subscription } from "../../src/topics/subscription.ts";
import { type MatchResult, SubscriptionTrie } from "../../src/topics/subscription_trie.ts";
import { type Topic, TopicCache } from "../../src/topics/topic.ts";
import {
  factsOf,
  matchesNaively,
  receiversNaively,
  subscriptionOf,
  TestSubscriber,
  topicFilter,
  topicName,
} from "./topic_model.ts";

const step = fc.record({
  isRemoval: fc.boolean(),
  client: fc.nat(3),
  filter: fc.nat(),
  group: fc.constantFrom("", "", "", "g", "h"),
  qos: fc.constantFrom(0, 1, 2),
  noLocal: fc.boolean(),
  retainAsPublished: fc.boolean(),
  subscriptionIdentifier: fc.nat(3),
});

const scenario = fc.record({
  // Names serve as exact filters too.
  names: fc.array(topicName, { minLength: 1, maxLength: 6 }),
  wildcards: fc.array(topicFilter, { minLength: 1, maxLength: 6 }),
  steps: fc.array(step, { maxLength: 30 }),
  cachedUnitsMax: fc.constantFrom(1, 150, 1_000_000),
});

type Model = Map<string, Subscription<TestSubscriber>>;

Deno.test("SubscriptionTrie says what a list of subscriptions says [MQTT-3.3.4-2] [MQTT-3.3.4-4] [MQTT-4.7.2-1]", () => {
  fc.assert(
    fc.property(scenario, ({ names, wildcards, steps, cachedUnitsMax }) => {
      const trie = new SubscriptionTrie<TestSubscriber>(cachedUnitsMax);
      const clients = Array.from({ length: 4 }, (_, index) => new TestSubscriber(`c${index}`));
      const filters = [...names, ...wildcards];
      const topics = internTwice(names);
      const model: Model = new Map();
      const handedOut: [result: MatchResult<TestSubscriber>, said: string][] = [];
      for (const { isRemoval, client, filter, ...options } of steps) {
        const subscription = subscriptionOf(clients[client]!, filters[filter % filters.length]!, {
          ...options,
          noLocal: options.noLocal && options.group === "",
        });
        applyToBoth(trie, model, subscription, isRemoval);
        for (const topic of topics) {
          const result = trie.match(topic);
          assertSays(result, model, topic.name);
          handedOut.push([result, spell(result)]);
        }
      }
      for (const [result, said] of handedOut) assert.equal(spell(result), said, "a handed out result changed");
    }),
    { numRuns: 300 },
  );
});

/** Interns all names, pushes them out of the cache, and interns them again: two live objects per name. */
function internTwice(names: readonly string[]): Topic[] {
  const cache = new TopicCache(4);
  const topics = names.map((name) => cache.intern(name)!);
  for (let count = 0; count < 20; count++) cache.intern(`passing/${count}`);
  return [...topics, ...names.map((name) => cache.intern(name)!)];
}

function applyToBoth(
  trie: SubscriptionTrie<TestSubscriber>,
  model: Model,
  subscription: Subscription<TestSubscriber>,
  isRemoval: boolean,
): void {
  const { subscriber, filter, group } = subscription;
  const key = JSON.stringify([subscriber.clientId, filter, group]);
  const known = model.get(key);
  if (isRemoval) {
    assert.equal(trie.remove(subscriber, filter, group), known);
    model.delete(key);
  } else {
    assert.equal(trie.add(subscription), known);
    model.set(key, subscription);
  }
  assert.equal(trie.size, model.size);
  assert.equal(trie.sharedSize, [...model.values()].filter((each) => each.group !== "").length);
}

function assertSays(result: MatchResult<TestSubscriber>, model: Model, name: string): void {
  const subscriptions = [...model.values()];
  const receivers = result.receivers.map(factsOf).sort((a, b) => a.clientId < b.clientId ? -1 : 1);
  assert.deepEqual(receivers, receiversNaively(subscriptions, name));
  const shared = subscriptions.filter((each) => each.group !== "" && matchesNaively(each.filter, name));
  const expected = shared.map((each) => [each.group, each.filter, each.subscriber.clientId].join(" ")).sort();
  const actual: string[] = [];
  for (const group of result.groups) {
    group.forEach((member) => actual.push([group.group, group.filter, member.subscriber.clientId].join(" ")));
  }
  assert.deepEqual(actual.sort(), expected);
}

/** Everything of a result that must stay as it was handed out; the members of groups are live. */
function spell(result: MatchResult<TestSubscriber>): string {
  return JSON.stringify([result.receivers.map(factsOf), result.groups.map((group) => [group.group, group.filter])]);
}
