/**
 * Topics: from the bytes of a Topic Name to the receivers.
 *
 * Targets: a lookup of a 10–20 byte name below 40 ns, a cached match below 5 ns. The hot cases repeat REPEAT times per
 * timed call, because the timer is coarser than one of them: divide by 100.
 */

import type { Subscription } from "../src/topics/subscription.ts";
import { SubscriptionTrie } from "../src/topics/subscription_trie.ts";
import { type Topic, TopicCache } from "../src/topics/topic.ts";
import { RetainedIndex } from "../src/topics/retained_index.ts";

const REPEAT = 100;
const ENCODER = new TextEncoder();

interface Client {
  readonly clientId: string;
  readonly isOnline: boolean;
  readonly isRecorded: boolean;
}

/** Topic Names as they lie in a read buffer. */
class Wire {
  readonly bytes: Uint8Array;
  readonly starts: number[] = [];
  readonly ends: number[] = [];

  constructor(names: readonly string[]) {
    const texts = names.map((name) => ENCODER.encode(name));
    this.bytes = new Uint8Array(texts.reduce((sum, text) => sum + text.length, 0));
    let at = 0;
    for (const text of texts) {
      this.bytes.set(text, at);
      this.starts.push(at);
      at += text.length;
      this.ends.push(at);
    }
  }
}

function subscriptionOf(subscriber: Client, filter: string, group = ""): Subscription<Client> {
  return {
    subscriber,
    filter,
    group,
    qos: 1,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    subscriptionIdentifier: 0,
  };
}

function clientOf(index: number): Client {
  return { clientId: `client-${index}`, isOnline: true, isRecorded: false };
}

function trieOf(filters: readonly string[]): SubscriptionTrie<Client> {
  const trie = new SubscriptionTrie<Client>();
  filters.forEach((filter, index) => trie.add(subscriptionOf(clientOf(index), filter)));
  return trie;
}

function numbered(count: number, name: (index: number) => string): string[] {
  return Array.from({ length: count }, (_, index) => name(index));
}

function benchLookup(name: string, names: readonly string[], isBaseline = false): void {
  const cache = new TopicCache();
  const wire = new Wire(names);
  Deno.bench({ name: `lookup ×${REPEAT}: ${name}`, group: "lookup", baseline: isBaseline }, () => {
    for (let count = 0; count < REPEAT; count++) {
      const index = count % names.length;
      if (cache.lookup(wire.bytes, wire.starts[index]!, wire.ends[index]!) === undefined) throw new Error("no topic");
    }
  });
}

benchLookup("20 bytes, the same again", ["bench/topic/00000001"], true);
benchLookup("10 bytes, 100 topics in turn", numbered(100, (index) => `t/${10_000_000 + index}`));
benchLookup("20 bytes, 100 topics in turn", numbered(100, (index) => `bench/topic/${10_000_000 + index}`));
benchLookup("200 bytes, 100 topics in turn", numbered(100, (index) => `${"level/".repeat(32)}${10_000_000 + index}`));

{
  const cache = new TopicCache(1024);
  const wire = new Wire(numbered(65_536, (index) => `bench/topic/${10_000_000 + index}`));
  let next = 0;
  Deno.bench({ name: `lookup ×${REPEAT}: 20 bytes, never cached`, group: "lookup" }, () => {
    for (let count = 0; count < REPEAT; count++) {
      next = (next + 1) & 0xffff;
      if (cache.lookup(wire.bytes, wire.starts[next]!, wire.ends[next]!) === undefined) throw new Error("no topic");
    }
  });
}

{
  const trie = trieOf(["bench/#", "bench/topic/+", "other/#"]);
  const cache = new TopicCache();
  const topics = numbered(REPEAT, (index) => `bench/topic/${index}`).map((name) => cache.intern(name)!);
  Deno.bench({ name: `match ×${REPEAT}: cached`, group: "match", baseline: true }, () => {
    for (let count = 0; count < REPEAT; count++) {
      if (trie.match(topics[count]!).receivers.length !== 2) throw new Error("wrong match");
    }
  });
}

/** Matches Topics whose cached result is taken away before every turn. */
function benchUncached(name: string, filters: readonly string[], topicName: string): void {
  const trie = trieOf(filters);
  const topic: Topic = new TopicCache().intern(topicName)!;
  const expected = trie.match(topic).receivers.length;
  Deno.bench({ name: `match: ${name}`, group: "match" }, () => {
    topic.matchedBy = undefined;
    if (trie.match(topic).receivers.length !== expected) throw new Error("wrong match");
  });
}

const SITE_TOPIC = "site/7/device/77/temperature";
const siteFilters = (count: number) =>
  numbered(count, (index) => `site/${index % 100}/device/${Math.floor(index / 100)}/${index % 2 === 0 ? "#" : "+"}`);

benchUncached("10 subscriptions, 1 receiver", [...siteFilters(9), "site/7/device/77/+"], SITE_TOPIC);
benchUncached("10 000 subscriptions, 2 receivers", [...siteFilters(9999), "site/+/device/+/temperature"], SITE_TOPIC);
benchUncached("10 000 exact subscriptions, 1 receiver", numbered(10_000, (index) => `t/${index}`), "t/77");
benchUncached("10 000 receivers of #", numbered(10_000, () => "#"), SITE_TOPIC);
benchUncached(
  "storm, 8191 filters of + and a over 13 levels",
  numbered(8191, (mask) => numbered(13, (level) => ((mask + 1) >> level) & 1 ? "+" : "a").join("/")),
  numbered(13, () => "a").join("/"),
);
benchUncached("name of 128 levels, filter a/#", ["a/#"], numbered(128, () => "a").join("/"));

/** One client comes, subscribes, and goes again, beside the subscriptions that stay. */
function benchChurn(name: string, filter: string, group: string, staying: readonly string[]): void {
  const trie = trieOf(staying);
  if (group !== "") trie.add(subscriptionOf(clientOf(-2), filter, group));
  const subscription = subscriptionOf(clientOf(-1), filter, group);
  Deno.bench({ name: `subscribe and unsubscribe: ${name}`, group: "churn" }, () => {
    trie.add(subscription);
    if (trie.remove(subscription.subscriber, filter, group) !== subscription) throw new Error("not removed");
  });
}

benchChurn("exact filter beside 10 000", "t/new", "", numbered(10_000, (index) => `t/${index}`));
benchChurn("wildcard filter beside 10 000", "site/7/device/77/new/#", "", siteFilters(10_000));
benchChurn("the filter of 10 000 others", "#", "", numbered(10_000, () => "#"));
benchChurn("shared group", "site/#", "workers", siteFilters(10));

{
  const trie = new SubscriptionTrie<Client>();
  for (let index = 0; index < 10; index++) trie.add(subscriptionOf(clientOf(index), "jobs/#", "workers"));
  const [group] = trie.match(new TopicCache().intern("jobs/1")!).groups;
  Deno.bench({ name: `pick ×${REPEAT}: 10 online members`, group: "shared" }, () => {
    for (let count = 0; count < REPEAT; count++) {
      if (group!.pick() === undefined) throw new Error("nobody picked");
    }
  });
}

{
  const index = new RetainedIndex<number>();
  for (let count = 0; count < 100_000; count++) index.set(`site/${count % 100}/device/${count}`, count);
  let sum = 0;
  Deno.bench({ name: "retained: replace one of 100 000", group: "retained" }, () => {
    index.set("site/7/device/7", 1);
  });
  Deno.bench({ name: "retained: 1000 of 100 000 by prefix", group: "retained" }, () => {
    index.match("site/7/#", (_, value) => sum += value);
  });
  Deno.bench({ name: "retained: 1 of 100 000 by +", group: "retained" }, () => {
    index.match("site/7/+/777", (_, value) => sum += value);
    index.match("+/+/device/777", (_, value) => sum += value);
  });
}
