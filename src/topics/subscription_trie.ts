/**
 * Who gets a message published to a topic.
 *
 * Subscriptions are kept by Topic Filter in one Map. A filter without wildcards is found there by the Topic Name
 * itself; the ones with wildcards are also hung into a `WildcardTree`. A filter that lost its last subscription is
 * removed a little later (`VacancyRing`).
 *
 * The result of a match is kept on the Topic together with a version, the sum of two counters that only grow:
 *
 *     #wildcardVersion                  changes of filters with wildcards
 *     #exactVersions[hash of the name]  changes of filters without, each of which is the name of one topic
 *
 * so a cached match is two compares, and subscribing to one exact topic does not disturb the others (but for the few
 * that share its slot). It needs no link from here to the topic cache: a Topic that was evicted but is still in use
 * notices changes as well. A change that alters no result (members of an existing shared group, a renewed subscription
 * with the same options) changes no version. The counters wrap at 2^32; a topic would have to miss exactly that many
 * changes to be fooled.
 *
 * Results are immutable: a delivery may walk one while subscriptions change. Cached ones are counted, and forgotten
 * all at once past a budget, so that many topics times many subscribers do not fill the memory.
 */

import { FilterSubscriptions, Holder } from "./filter_subscriptions.ts";
import { mergeReceivers, type Receiver, receiverOf, type ReceiverRecord } from "./receiver.ts";
import type { SharedGroup } from "./shared_subscriptions.ts";
import type { Subscriber, Subscription } from "./subscription.ts";
import { hashTopicName, type Topic } from "./topic.ts";
import { hasWildcard, levelCount, TREE_LEVELS_MAX } from "./topic_rules.ts";
import { VacancyRing } from "./vacancy_ring.ts";
import { WildcardTree } from "./wildcard_tree.ts";

/** Who gets the messages of one topic, at the moment of the match. Never changes, but for `route`. */
export interface MatchResult<S extends Subscriber> {
  /** One entry per subscriber with matching ordinary subscriptions, in no particular order. */
  readonly receivers: readonly Receiver<S>[];
  /** The matching shared subscriptions; each delivers to the member it picks. The groups themselves are live. */
  readonly groups: readonly SharedGroup<S>[];
  /**
   * Kept for whoever records the result: -1 = not known, 0 = no record needed, else the position of the record. The
   * trie sets -1 and never looks at it again.
   */
  route: number;
}

/** Budget of cached results when the constructor is not told otherwise, in units of about 8 bytes: 32 MiB. */
export const CACHED_UNITS_MAX = 4 * 1024 * 1024;

const EXACT_VERSION_SLOTS = 4096;
/** What a cached result costs before its first receiver: the Topic, the result and two arrays. */
const UNITS_PER_RESULT = 32;
/** An absorbed subscription costs a merged record and a Subscription Identifier at most. */
const UNITS_PER_MERGE = 16;
const ENCODER = new TextEncoder();

/** All subscriptions of the broker. Plain and synchronous; one owner. */
export class SubscriptionTrie<S extends Subscriber> {
  readonly #filters = new Map<string, FilterSubscriptions<S>>();
  readonly #wildcards = new WildcardTree<FilterSubscriptions<S>>();
  readonly #vacancies = new VacancyRing<FilterSubscriptions<S>>((empty) => this.#closeFilter(empty.filter));
  /** Weak, so that the note lives as long as its subscriber and needs no removal. */
  readonly #holders = new WeakMap<S, Holder<S>>();
  #size = 0;
  #sharedSize = 0;

  #wildcardVersion = 0;
  readonly #exactVersions = new Int32Array(EXACT_VERSION_SLOTS);
  #matchSerial = 0;
  /** Scratch list of a match, empty between calls. */
  readonly #matching: FilterSubscriptions<S>[] = [];
  readonly #noMatch: MatchResult<S> = { receivers: [], groups: [], route: -1 };

  readonly #cachedUnitsMax: number;
  /** Topics that hold a result of this trie; one that was matched again is listed again. */
  readonly #cachedTopics: Topic[] = [];
  #cachedUnits = 0;

  readonly #levelsMax: number;
  #levels = 0;

  /**
   * @param cachedUnitsMax Budget of cached match results, in units of about 8 bytes.
   * @param levelsMax Levels of all filters together that `hasRoomFor` allows.
   */
  constructor(cachedUnitsMax: number = CACHED_UNITS_MAX, levelsMax: number = TREE_LEVELS_MAX) {
    this.#cachedUnitsMax = cachedUnitsMax;
    this.#levelsMax = levelsMax;
  }

  /** Subscriptions of all kinds. */
  get size(): number {
    return this.#size;
  }

  /** Shared subscriptions among them. */
  get sharedSize(): number {
    return this.#sharedSize;
  }

  /**
   * Adds a subscription, or replaces the one that the subscriber has on the same filter and group. [MQTT-3.8.4-3]
   *
   * @param subscription Its filter must be valid, without `$share` prefix. Kept: do not change it afterwards.
   * @returns The subscription that was replaced, or undefined.
   */
  add(subscription: Subscription<S>): Subscription<S> | undefined {
    const holder = this.#holderOf(subscription.subscriber);
    const subscriptions = this.#filters.get(subscription.filter) ?? this.#openFilter(subscription.filter);
    const replaced = subscription.group === ""
      ? this.#addOrdinary(subscriptions, subscription, holder)
      : this.#addShared(subscriptions, subscription, holder);
    if (replaced === undefined) this.#size++;
    return replaced;
  }

  /**
   * Removes a subscription.
   *
   * @param group The ShareName, "" for an ordinary subscription.
   * @returns What was removed, or undefined when there was none. [MQTT 5.0, 3.11.3: 0x11]
   */
  remove(subscriber: S, filter: string, group: string): Subscription<S> | undefined {
    const holder = this.#holders.get(subscriber);
    const subscriptions = this.#filters.get(filter);
    if (holder === undefined || subscriptions === undefined) return undefined;
    const removed = group === ""
      ? this.#removeOrdinary(subscriptions, holder)
      : this.#removeShared(subscriptions, holder, group);
    if (removed === undefined) return undefined;
    this.#size--;
    if (subscriptions.isEmpty) this.#vacancies.push(subscriptions);
    return removed;
  }

  /** False when a new filter would make the trie larger than it may be; a known filter always has room. O(levels). */
  hasRoomFor(filter: string): boolean {
    return this.#filters.has(filter) || this.#levels + levelCount(filter) <= this.#levelsMax;
  }

  /**
   * Finds who gets a message of a topic. Two compares when the topic's cached result is current; else O(nodes of
   * matching filters + subscriptions found).
   */
  match(topic: Topic): MatchResult<S> {
    const version = (this.#wildcardVersion + this.#exactVersions[topic.hash & (EXACT_VERSION_SLOTS - 1)]!) | 0;
    if (topic.matchedVersion === version && topic.matchedBy === this) return topic.matched as MatchResult<S>;
    return this.#matchAnew(topic, version);
  }

  /**
   * Makes a subscriber a candidate in its shared groups again. Call it when its `isOnline` turned true; going offline
   * needs no call. O(its shared groups).
   */
  subscriberOnline(subscriber: S): void {
    const groups = this.#holders.get(subscriber)?.groups;
    if (groups === undefined) return;
    for (const group of groups) group.memberOnline(subscriber);
  }

  /** The shared groups a subscriber is a member of. */
  sharedGroupsOf(subscriber: S): readonly SharedGroup<S>[] {
    const groups = this.#holders.get(subscriber)?.groups;
    return groups === undefined ? [] : [...groups];
  }

  /** Visits every subscription, in no particular order; for the admin API. Subscriptions must not change meanwhile. */
  forEach(visit: (subscription: Subscription<S>) => void): void {
    for (const subscriptions of this.#filters.values()) {
      for (const leaf of subscriptions.leaves) visit(leaf.subscription);
      if (subscriptions.groups === undefined) continue;
      for (const group of subscriptions.groups.values()) group.forEach(visit);
    }
  }

  #openFilter(filter: string): FilterSubscriptions<S> {
    this.#levels += levelCount(filter);
    const subscriptions = new FilterSubscriptions<S>(filter);
    this.#filters.set(filter, subscriptions);
    if (hasWildcard(filter)) this.#wildcards.set(filter, subscriptions);
    return subscriptions;
  }

  #closeFilter(filter: string): void {
    this.#levels -= levelCount(filter);
    this.#filters.delete(filter);
    if (hasWildcard(filter)) this.#wildcards.delete(filter);
  }

  #holderOf(subscriber: S): Holder<S> {
    let holder = this.#holders.get(subscriber);
    if (holder === undefined) {
      holder = new Holder(subscriber);
      this.#holders.set(subscriber, holder);
    }
    return holder;
  }

  #addOrdinary(
    subscriptions: FilterSubscriptions<S>,
    subscription: Subscription<S>,
    holder: Holder<S>,
  ): Subscription<S> | undefined {
    const leaf = subscriptions.find(holder);
    if (leaf === undefined) {
      subscriptions.append(subscription, holder);
      this.#invalidate(subscription.filter);
      return undefined;
    }
    const replaced = leaf.subscription;
    leaf.subscription = subscription;
    if (!deliversAlike(replaced, subscription)) {
      leaf.receiver = receiverOf(subscription);
      this.#invalidate(subscription.filter);
    }
    return replaced;
  }

  #addShared(
    subscriptions: FilterSubscriptions<S>,
    subscription: Subscription<S>,
    holder: Holder<S>,
  ): Subscription<S> | undefined {
    const group = subscriptions.groupFor(subscription.group);
    if (!group.hasMembers) this.#invalidate(subscription.filter);
    const replaced = group.add(subscription);
    if (replaced === undefined) {
      (holder.groups ??= new Set()).add(group);
      this.#sharedSize++;
    }
    return replaced;
  }

  #removeOrdinary(subscriptions: FilterSubscriptions<S>, holder: Holder<S>): Subscription<S> | undefined {
    const leaf = subscriptions.find(holder);
    if (leaf === undefined) return undefined;
    subscriptions.removeLeaf(leaf);
    this.#invalidate(subscriptions.filter);
    return leaf.subscription;
  }

  #removeShared(
    subscriptions: FilterSubscriptions<S>,
    holder: Holder<S>,
    groupName: string,
  ): Subscription<S> | undefined {
    const group = subscriptions.groups?.get(groupName);
    const removed = group?.remove(holder.subscriber);
    if (group === undefined || removed === undefined) return undefined;
    holder.groups?.delete(group);
    this.#sharedSize--;
    if (!group.hasMembers) {
      subscriptions.removeGroup(groupName);
      this.#invalidate(subscriptions.filter);
    }
    return removed;
  }

  #invalidate(filter: string): void {
    if (hasWildcard(filter)) {
      this.#wildcardVersion = (this.#wildcardVersion + 1) | 0;
      return;
    }
    const text = ENCODER.encode(filter);
    const slot = hashTopicName(text, 0, text.length) & (EXACT_VERSION_SLOTS - 1);
    this.#exactVersions[slot]!++;
  }

  #matchAnew(topic: Topic, version: number): MatchResult<S> {
    const matching = this.#matching;
    const exact = this.#filters.get(topic.name);
    if (exact !== undefined) matching.push(exact);
    if (!this.#wildcards.isEmpty) this.#wildcards.collect(topic.name, matching);
    const result = matching.length === 0 ? this.#noMatch : this.#merge(topic);
    matching.length = 0;
    topic.matched = result;
    topic.matchedBy = this;
    topic.matchedVersion = version;
    return result;
  }

  /** Builds the result of the filters in `#matching` and books what it costs to keep it on the topic. */
  #merge(topic: Topic): MatchResult<S> {
    const receivers: ReceiverRecord<S>[] = [];
    const groups: SharedGroup<S>[] = [];
    const serial = ++this.#matchSerial;
    let merges = 0;
    for (const subscriptions of this.#matching) {
      for (const leaf of subscriptions.leaves) {
        const holder = leaf.holder;
        if (holder.markedBy !== serial) {
          holder.markedBy = serial;
          holder.receiverIndex = receivers.length;
          receivers.push(leaf.receiver);
        } else {
          receivers[holder.receiverIndex] = mergeReceivers(receivers[holder.receiverIndex]!, leaf.receiver);
          merges++;
        }
      }
      if (subscriptions.groups === undefined) continue;
      for (const group of subscriptions.groups.values()) groups.push(group);
    }
    this.#bookCached(topic, receivers.length + groups.length + merges * UNITS_PER_MERGE);
    return { receivers, groups, route: -1 };
  }

  #bookCached(topic: Topic, resultUnits: number): void {
    // The name is held twice, as text and as bytes. It counts because the list keeps evicted topics alive.
    const units = resultUnits + UNITS_PER_RESULT + (topic.utf8.length >>> 2);
    if (this.#cachedUnits + units > this.#cachedUnitsMax) this.#forgetCached();
    this.#cachedTopics.push(topic);
    this.#cachedUnits += units;
  }

  #forgetCached(): void {
    for (const topic of this.#cachedTopics) {
      if (topic.matchedBy !== this) continue;
      topic.matched = undefined;
      topic.matchedBy = undefined;
    }
    this.#cachedTopics.length = 0;
    this.#cachedUnits = 0;
  }
}

/** True when replacing one by the other changes no Receiver; Retain Handling matters to the SUBSCRIBE only. */
function deliversAlike<S extends Subscriber>(a: Subscription<S>, b: Subscription<S>): boolean {
  return a.qos === b.qos && a.noLocal === b.noLocal && a.retainAsPublished === b.retainAsPublished &&
    a.subscriptionIdentifier === b.subscriptionIdentifier;
}
