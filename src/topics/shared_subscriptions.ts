/**
 * Shared Subscriptions: one ShareName on one Topic Filter, and whose turn it is. [MQTT 5.0, 4.8.2]
 *
 * Messages go round robin to the members that are online. Members live in two lists:
 *
 *     online    candidates in turn order, `#turn` points at the next one
 *     offline   members known to have no connection
 *
 * Going offline needs no notice: `pick` looks at `isOnline` of the candidate whose turn it is and moves a stale one to
 * the offline list. Each such move is paid for by one connection that ended, so `pick` is O(1) amortised however many
 * members are away. Coming back does need notice, `memberOnline`, because nobody looks at the offline list.
 *
 * Leaving a list moves its last member into the gap, so the turn order of a round in which somebody leaves is not
 * strict; no member is passed over for longer than that round.
 *
 * A group knows nothing of messages or of acknowledgements; handing over the unacknowledged messages of a member that
 * left is the caller's work, with `pickExcept`.
 */

import type { Receiver } from "./receiver.ts";
import { receiverOf } from "./receiver.ts";
import type { Subscriber, Subscription } from "./subscription.ts";

/** The members of one shared subscription. A match result hands out the live object: members may change, it stays. */
export class SharedGroup<S extends Subscriber> {
  /** Weak for its speed when one member comes and goes, see `vacancy_ring.ts`; the lists hold the members. */
  readonly #members = new WeakMap<S, Member<S>>();
  readonly #online: Member<S>[] = [];
  readonly #offline: Member<S>[] = [];
  #turn = 0;
  #offlineTurn = 0;
  #recordedCount = 0;

  /**
   * @param group The ShareName.
   * @param filter The Topic Filter without the `$share/group/` prefix.
   */
  constructor(readonly group: string, readonly filter: string) {}

  /** Members, online or not. */
  get size(): number {
    return this.#online.length + this.#offline.length;
  }

  /** Members that may be online: how often `pick` need be asked to have seen them all. */
  get onlineSize(): number {
    return this.#online.length;
  }

  /** Members that are known to be away. */
  get offlineSize(): number {
    return this.#offline.length;
  }

  /** What a member gets of a message; undefined when it is none. */
  receiverOf(subscriber: S): Receiver<S> | undefined {
    return this.#members.get(subscriber)?.receiver;
  }

  /** False once the last member left: the group delivers to nobody any more. */
  get hasMembers(): boolean {
    return this.size > 0;
  }

  /** True while a member is recorded: what the group is owed must then survive a crash. O(1). */
  get hasRecordedMember(): boolean {
    return this.#recordedCount > 0;
  }

  /**
   * Adds a member, or replaces the subscription of one; a replacement keeps its turn.
   *
   * @returns The subscription that was replaced.
   */
  add(subscription: Subscription<S>): Subscription<S> | undefined {
    const known = this.#members.get(subscription.subscriber);
    if (known !== undefined) {
      const replaced = known.subscription;
      known.subscription = subscription;
      known.receiver = receiverOf(subscription);
      return replaced;
    }
    const member = new Member(subscription);
    this.#members.set(subscription.subscriber, member);
    if (member.isRecorded) this.#recordedCount++;
    enter(subscription.subscriber.isOnline ? this.#online : this.#offline, member);
    return undefined;
  }

  /** Removes a member and returns its subscription, or undefined when it was none. */
  remove(subscriber: S): Subscription<S> | undefined {
    const member = this.#members.get(subscriber);
    if (member === undefined) return undefined;
    this.#members.delete(subscriber);
    if (member.isRecorded) this.#recordedCount--;
    leave(member);
    return member.subscription;
  }

  /** Puts a member whose connection is back among the candidates. Call it when `isOnline` turned true. */
  memberOnline(subscriber: S): void {
    const member = this.#members.get(subscriber);
    if (member === undefined || member.list === this.#online) return;
    leave(member);
    enter(this.#online, member);
  }

  /** Chooses the online member whose turn it is, or undefined when nobody is online. Allocates nothing. */
  pick(): Receiver<S> | undefined {
    return this.#pickOther(undefined);
  }

  /** Like `pick`, but never the given subscriber: for messages that it refused or left unacknowledged. */
  pickExcept(subscriber: S): Receiver<S> | undefined {
    return this.#pickOther(subscriber);
  }

  /**
   * Chooses in turn among the members that are away, whose sessions may store the message. For when `pick` found
   * nobody, so that an acknowledged message of a group of durable sessions is not lost.
   */
  pickOffline(): Receiver<S> | undefined {
    if (this.#offline.length === 0) return undefined;
    if (this.#offlineTurn >= this.#offline.length) this.#offlineTurn = 0;
    return this.#offline[this.#offlineTurn++]!.receiver;
  }

  /** Visits every member's subscription, in no particular order. */
  forEach(visit: (subscription: Subscription<S>) => void): void {
    for (const member of this.#online) visit(member.subscription);
    for (const member of this.#offline) visit(member.subscription);
  }

  /** Asks `isIt` about members, online ones first, until it says yes. @returns False when it never did. */
  some(isIt: (receiver: Receiver<S>) => boolean): boolean {
    return this.#online.some((member) => isIt(member.receiver)) ||
      this.#offline.some((member) => isIt(member.receiver));
  }

  #pickOther(excluded: S | undefined): Receiver<S> | undefined {
    const online = this.#online;
    while (online.length > 0) {
      if (this.#turn >= online.length) this.#turn = 0;
      const member = online[this.#turn]!;
      const subscriber = member.subscription.subscriber;
      if (!subscriber.isOnline) {
        leave(member);
        enter(this.#offline, member);
      } else if (subscriber !== excluded) {
        this.#turn++;
        return member.receiver;
      } else if (online.length === 1) {
        return undefined;
      } else {
        this.#turn++;
      }
    }
    return undefined;
  }
}

class Member<S extends Subscriber> {
  receiver: Receiver<S>;
  /** As it was counted when the member came. */
  readonly isRecorded: boolean;
  list: Member<S>[] | undefined = undefined;
  /** Index in `list`. */
  position = 0;

  constructor(public subscription: Subscription<S>) {
    this.receiver = receiverOf(subscription);
    this.isRecorded = subscription.subscriber.isRecorded;
  }
}

function enter<S extends Subscriber>(list: Member<S>[], member: Member<S>): void {
  member.list = list;
  member.position = list.length;
  list.push(member);
}

function leave<S extends Subscriber>(member: Member<S>): void {
  const list = member.list!;
  const last = list.pop()!;
  if (last === member) return;
  list[member.position] = last;
  last.position = member.position;
}
