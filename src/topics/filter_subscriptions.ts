/**
 * Everything that is subscribed under one Topic Filter: ordinary subscriptions in a dense list, shared ones by group.
 *
 * The list is what matching walks, so it is an array without gaps; removal moves the last entry into the hole. Finding
 * one subscriber in it is a scan while the list is short and an index from INDEX_FROM entries on: a filter with one
 * subscriber, the usual case, costs one array. The index is a WeakMap because that reuses the place of a deleted key; a
 * Map grows slow when one key comes and goes (`vacancy_ring.ts`).
 *
 * `Holder` is the trie's note about one subscriber, shared by all its subscriptions. Its mark tells in O(1) during a
 * match whether the subscriber was met already, without a Set per match.
 */

import { receiverOf, type ReceiverRecord } from "./receiver.ts";
import { SharedGroup } from "./shared_subscriptions.ts";
import type { Subscriber, Subscription } from "./subscription.ts";
import type { Vacatable } from "./vacancy_ring.ts";

/** What the trie knows of one subscriber. */
export class Holder<S extends Subscriber> {
  /** Serial of the match that met this subscriber last. */
  markedBy = 0;
  /** Where that match put its receiver. */
  receiverIndex = 0;
  /** Shared groups the subscriber is a member of. */
  groups: Set<SharedGroup<S>> | undefined = undefined;

  constructor(readonly subscriber: S) {}
}

/** An ordinary subscription at its place in the list. */
export class Leaf<S extends Subscriber> {
  receiver: ReceiverRecord<S>;

  constructor(public subscription: Subscription<S>, readonly holder: Holder<S>, public position: number) {
    this.receiver = receiverOf(subscription);
  }
}

const INDEX_FROM = 16;

/** The subscriptions of one Topic Filter. */
export class FilterSubscriptions<S extends Subscriber> implements Vacatable {
  /** Ordinary subscriptions, in no particular order. */
  readonly leaves: Leaf<S>[] = [];
  /** Shared subscriptions by ShareName. */
  groups: Map<string, SharedGroup<S>> | undefined = undefined;
  isWaiting = false;
  #index: WeakMap<Holder<S>, Leaf<S>> | undefined = undefined;

  constructor(readonly filter: string) {}

  /** True when nothing is subscribed here any more. */
  get isEmpty(): boolean {
    return this.leaves.length === 0 && this.groups === undefined;
  }

  /** Finds the ordinary subscription of a subscriber. */
  find(holder: Holder<S>): Leaf<S> | undefined {
    if (this.#index !== undefined) return this.#index.get(holder);
    for (const leaf of this.leaves) {
      if (leaf.holder === holder) return leaf;
    }
    return undefined;
  }

  /** Appends an ordinary subscription of a subscriber that has none here. */
  append(subscription: Subscription<S>, holder: Holder<S>): void {
    const leaf = new Leaf(subscription, holder, this.leaves.length);
    this.leaves.push(leaf);
    if (this.#index !== undefined) this.#index.set(holder, leaf);
    else if (this.leaves.length >= INDEX_FROM) {
      this.#index = new WeakMap(this.leaves.map((each) => [each.holder, each]));
    }
  }

  /** Takes an ordinary subscription out. */
  removeLeaf(leaf: Leaf<S>): void {
    const last = this.leaves.pop()!;
    if (last !== leaf) {
      this.leaves[leaf.position] = last;
      last.position = leaf.position;
    }
    if (this.leaves.length < INDEX_FROM / 2) this.#index = undefined;
    else this.#index?.delete(leaf.holder);
  }

  /** Finds or opens a shared group. */
  groupFor(group: string): SharedGroup<S> {
    this.groups ??= new Map();
    let found = this.groups.get(group);
    if (found === undefined) {
      found = new SharedGroup<S>(group, this.filter);
      this.groups.set(group, found);
    }
    return found;
  }

  /** Drops a shared group that lost its last member. */
  removeGroup(group: string): void {
    this.groups?.delete(group);
    if (this.groups?.size === 0) this.groups = undefined;
  }
}
