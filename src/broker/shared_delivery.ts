/**
 * Shared Subscriptions: who of the group gets a message, and what happens to the messages of a member that goes.
 * [MQTT 5.0, 4.8.2]
 *
 * A message goes to one online member, in turn; one that has no room for it, or may not have it, is passed over. When
 * nobody online can take it, it waits in the queue of a member that is away and whose Session outlives its connection;
 * only when that has no room in any either, `mqtt.queue-full` decides.
 *
 * What waits with a member that is away stays there until another one can be sent it: a member that comes online takes
 * as much as its window lets it, and more whenever it has acknowledged and nothing waits in its own queue. So a backlog
 * never moves at once, and never into a queue that cannot hold it. This goes for what a member that goes away has not
 * acknowledged at QoS 1, too. Only when its Session ends, others have to take all of it, into their queues.
 *
 * The store keeps a message for a group with a recorded member until it hears that somebody was sent it, or that it is
 * done (`session/outbox.ts`). What never becomes a delivery of a Session is told from here.
 */
import { Message } from "../protocol/message.ts";
import type { QoS } from "../protocol/packets.ts";
import { type DeliveryOrigin, ENOUGH } from "../session/delivery_origin.ts";
import type { RoomListener, Session } from "../session/session.ts";
import type { SessionContext } from "../session/session_context.ts";
import { ProgressKind } from "../storage/log/record.ts";
import type { GroupBacklogEntry } from "../storage/model/durable_state.ts";
import type { GroupOrdinal, Position } from "../storage/model/stored.ts";
import type { Receiver } from "../topics/receiver.ts";
import type { SharedGroup } from "../topics/shared_subscriptions.ts";
import type { SubscriptionTrie } from "../topics/subscription_trie.ts";
import { type PromisedRoom, storedSizeOf } from "./promised_room.ts";
import { canWaitWith } from "./shared_member.ts";
import { Timer, type TimerOwner, type TimerWheel } from "./timer_wheel.ts";

/** See the head of this file. */
export class SharedDelivery implements RoomListener, TimerOwner {
  readonly #context: SessionContext;
  readonly #trie: SubscriptionTrie<Session>;
  readonly #promised: PromisedRoom;
  readonly #wheel: TimerWheel;
  readonly #handedOn = new Message();
  /** Members that are away and may hold messages of their group that others can have. Weak: a group ends unseen. */
  readonly #holders = new WeakMap<SharedGroup<Session>, Set<Session>>();
  /** Members that could take more when their share of a turn was over. */
  readonly #unfinished = new Set<Session>();
  readonly #timer = new Timer(this);

  constructor(context: SessionContext, trie: SubscriptionTrie<Session>, promised: PromisedRoom, wheel: TimerWheel) {
    this.#context = context;
    this.#trie = trie;
    this.#promised = promised;
    this.#wheel = wheel;
  }

  /**
   * Delivers the encoder's present message to one member.
   *
   * @param ordinal 1 + index of the group in the match result.
   * @param position Where the message is stored; 0 when it is not.
   */
  deliver(group: SharedGroup<Session>, ordinal: GroupOrdinal, message: Message, position: Position): void {
    const receiver = this.#pickWithRoom(group, message) ?? group.pick() ?? pickWaiting(group, message);
    if (receiver === undefined) {
      this.#context.events.dropped("no_member", "");
      this.#giveUp(group, ordinal, message, position);
    } else this.#hand(receiver, group, ordinal, message, position);
  }

  /** Gives a message that waited for its group before a restart to an absent member. Nobody is online yet. */
  restore({ position, group: { ordinal } }: GroupBacklogEntry, group: SharedGroup<Session>, nowMs: number): void {
    const { store, events } = this.#context;
    const message = this.#handedOn;
    store.retain(position);
    if (!store.read(position, message)) {
      this.lose(group, ordinal, position);
      store.release(position);
      return;
    }
    const isExpired = message.isExpired(nowMs);
    const receiver = isExpired ? undefined : this.#pickWithRoom(group, message) ?? pickWaiting(group, message);
    if (receiver === undefined) {
      events.dropped(isExpired ? "expired" : "no_member", "");
      this.#giveUp(group, ordinal, message, position);
    } else this.#hand(receiver, group, ordinal, message, position);
    store.release(position);
  }

  /** Takes up a member from before a restart, with what it is owed. */
  memberRestored(session: Session): void {
    this.#leaveWith(session, this.#trie.sharedGroupsOf(session));
  }

  /** Gives a client that came online the messages that wait for its groups with absent members, as far as it has room. */
  memberOnline(session: Session, nowMs: number): void {
    this.#trie.subscriberOnline(session);
    for (const group of this.#trie.sharedGroupsOf(session)) this.#holders.get(group)?.delete(session);
    this.memberHasRoom(session, nowMs);
  }

  memberHasRoom(session: Session, nowMs: number): void {
    if (session.isEnded || !session.isOnline) return;
    let left = HANDED_ON_AT_ONCE_MAX;
    for (const group of this.#trie.sharedGroupsOf(session)) {
      left = this.#handFromHolders(group, nowMs, left, (message) => this.#ifReady(group, session, message));
      if (left === 0) return this.#goOnLater(session, nowMs);
    }
  }

  timedOut(nowMs: number): void {
    const sessions = [...this.#unfinished];
    this.#unfinished.clear();
    for (const session of sessions) this.memberHasRoom(session, nowMs);
  }

  /**
   * A recorded Session is about to leave a group, or to change its subscription to it: what waits in its queue stays
   * there as it is, so that is put on record. Before the record of the change.
   */
  memberChanges(session: Session, group: string, filter: string): void {
    if (!session.isRecorded || session.outbox.queuedCount === 0) return;
    const { store } = this.#context;
    session.outbox.walkOwed(0, Infinity, ({ position, packetId, group: of }) => {
      if (of === undefined || packetId > 0 || of.name !== group || of.filter !== filter) return;
      store.appendProgress(ProgressKind.SENT, session.recordNumber, position, 0, of.ordinal);
    });
  }

  /** Hands on what a client that went away leaves, where another member can be sent it. */
  memberOffline(session: Session, nowMs: number): void {
    // One that is not kept ends with its connection: `memberEnded` follows.
    if (!session.isDurable) return;
    const groups = this.#trie.sharedGroupsOf(session);
    this.#leaveWith(session, groups);
    let left = HANDED_ON_AT_ONCE_MAX;
    for (const group of groups) {
      left = this.#handFromHolders(group, nowMs, left, (message) => this.#pickReady(group, message));
      for (let others = left > 0 ? 0 : group.onlineSize; others > 0; others--) {
        const next = group.pick();
        if (next !== undefined) this.#goOnLater(next.subscriber, nowMs);
      }
    }
  }

  /** Hands on what a Session that ends leaves, to whoever has room; it must have left its groups. */
  memberEnded(session: Session, nowMs: number): void {
    session.outbox.surrenderShared((position, origin) => {
      const group = groupOf(origin);
      this.#holders.get(group)?.delete(session);
      if (!group.hasMembers) return false;
      const message = this.#handedOn;
      if (this.#dropIfUseless(group, origin.ordinal, message, position, nowMs)) return true;
      const receiver = this.#pickWithRoom(group, message);
      if (receiver === undefined) return false;
      this.#handOn(receiver, group, origin.ordinal, message, position, nowMs);
      return true;
    });
  }

  /** From now on others can have what an absent member holds of its groups. */
  #leaveWith(session: Session, groups: readonly SharedGroup<Session>[]): void {
    if (session.outbox.inflightCount + session.outbox.queuedCount === 0) return;
    for (const group of groups) this.#noteHolder(group, session);
  }

  #noteHolder(group: SharedGroup<Session>, session: Session): void {
    const holders = this.#holders.get(group);
    if (holders === undefined) this.#holders.set(group, new Set([session]));
    else holders.add(session);
  }

  /**
   * Hands on what absent members hold of a group, while `ready` finds somebody who is sent it at once.
   *
   * @param left How many messages may be looked at.
   * @returns What is left of that; 0 = there may be more.
   */
  #handFromHolders(
    group: SharedGroup<Session>,
    nowMs: number,
    left: number,
    ready: (message?: Message) => Receiver<Session> | undefined,
  ): number {
    const holders = this.#holders.get(group);
    if (holders === undefined) return left;
    const message = this.#handedOn;
    for (const holder of holders) {
      const isAll = holder.isEnded || group.receiverOf(holder) === undefined ||
        holder.outbox.surrenderShared((position, origin) => {
          if (groupOf(origin) !== group) return false;
          // Before the message is read, which may be on disk.
          const next = left === 0 ? undefined : ready();
          if (next === undefined) return ENOUGH;
          left--;
          if (this.#dropIfUseless(group, origin.ordinal, message, position, nowMs)) return true;
          const receiver = this.#ifReady(group, next.subscriber, message) ?? ready(message);
          if (receiver === undefined) return ENOUGH;
          this.#handOn(receiver, group, origin.ordinal, message, position, nowMs);
          return true;
        });
      if (!isAll) return left;
      holders.delete(holder);
    }
    return left;
  }

  /** What a member gets, if it can be sent the message, or anything, at once; else it will tell when it can. */
  #ifReady(group: SharedGroup<Session>, session: Session, message?: Message): Receiver<Session> | undefined {
    const receiver = group.receiverOf(session);
    if (receiver === undefined || !session.isOnline) return undefined;
    if (message !== undefined && !session.isPermitted(message)) return undefined;
    const size = message === undefined ? 0 : storedSizeOf(message);
    if (receiver.qos === 0 ? session.hasRoom : session.outbox.canSendAtOnce(size)) return receiver;
    session.askWhenRoom(this);
    return undefined;
  }

  /** The online member whose turn it is among those that can be sent the message, or anything, at once. */
  #pickReady(group: SharedGroup<Session>, message?: Message): Receiver<Session> | undefined {
    for (let tried = group.onlineSize; tried > 0; tried--) {
      const next = group.pick();
      const ready = next === undefined ? undefined : this.#ifReady(group, next.subscriber, message);
      if (ready !== undefined) return ready;
    }
    return undefined;
  }

  /** The member whose turn it is among those that can take the message without loss: online ones first. */
  #pickWithRoom(group: SharedGroup<Session>, message: Message): Receiver<Session> | undefined {
    const size = storedSizeOf(message);
    for (let tried = group.onlineSize; tried > 0; tried--) {
      const receiver = group.pick();
      if (receiver === undefined) break;
      const { subscriber } = receiver;
      const isDirect = message.qos === 0 || receiver.qos === 0;
      const hasRoom = isDirect ? subscriber.hasRoom : this.#promised.hasRoomFor(subscriber, size);
      if (hasRoom && subscriber.isPermitted(message)) return receiver;
      // Somebody else may get it to keep.
      if (!hasRoom && message.qos > 0) subscriber.askWhenRoom(this);
    }
    if (message.qos === 0) return undefined;
    for (let tried = group.offlineSize; tried > 0; tried--) {
      const receiver = group.pickOffline();
      if (receiver === undefined) return undefined;
      if (canWaitWith(receiver) && this.#promised.hasRoomFor(receiver.subscriber, size)) return receiver;
    }
    return undefined;
  }

  #goOnLater(session: Session, nowMs: number): void {
    this.#unfinished.add(session);
    if (!this.#timer.isScheduled) this.#wheel.schedule(this.#timer, nowMs);
  }

  /** Fills `message`. True for one that cannot be read or has expired: it is dropped, with its reference. */
  #dropIfUseless(
    group: SharedGroup<Session>,
    ordinal: GroupOrdinal,
    message: Message,
    position: Position,
    nowMs: number,
  ): boolean {
    const { store, events } = this.#context;
    if (!store.read(position, message)) this.lose(group, ordinal, position);
    else if (message.isExpired(nowMs)) {
      events.dropped("expired", "");
      this.#giveUp(group, ordinal, message, position);
    } else return false;
    store.release(position);
    return true;
  }

  /** Nobody of the group gets a message that cannot be read. */
  lose(group: SharedGroup<Session>, ordinal: GroupOrdinal, position: Position): void {
    this.#context.events.dropped("unreadable", "");
    this.#note(ProgressKind.DONE, group, ordinal, position);
  }

  /** Hands on a message with its reference. */
  #handOn(
    receiver: Receiver<Session>,
    group: SharedGroup<Session>,
    ordinal: GroupOrdinal,
    message: Message,
    position: Position,
    nowMs: number,
  ): void {
    const { outbox } = receiver.subscriber;
    this.#context.encoder.begin(message, nowMs, 1);
    const queuedBefore = outbox.queuedCount;
    this.#hand(receiver, group, ordinal, message, position);
    // The record may say that it was sent to the member that leaves it; it is the group's again until it is sent.
    if (outbox.queuedCount > queuedBefore) this.#note(ProgressKind.SENT, group, ordinal, position);
    this.#context.store.release(position);
  }

  #hand(
    receiver: Receiver<Session>,
    group: SharedGroup<Session>,
    ordinal: GroupOrdinal,
    message: Message,
    position: Position,
  ): void {
    const session = receiver.subscriber;
    const { identifiers } = receiver;
    const retain = message.retain && receiver.retainAsPublished;
    const qos = (message.qos < receiver.qos ? message.qos : receiver.qos) as QoS;
    if (qos === 0) {
      session.deliverOnce(message, retain, identifiers);
      this.#giveUp(group, ordinal, message, position);
      return;
    }
    session.outbox.deliverStored(message, position, qos, retain, { identifiers, group, ordinal });
    if (!session.isOnline) this.#noteHolder(group, session);
  }

  /** The group is not owed the message any more, although no Session took it to be acknowledged. */
  #giveUp(group: SharedGroup<Session>, ordinal: GroupOrdinal, message: Message, position: Position): void {
    if (message.qos > 0) this.#note(ProgressKind.DONE, group, ordinal, position);
  }

  #note(kind: ProgressKind, group: SharedGroup<Session>, ordinal: GroupOrdinal, position: Position): void {
    if (ordinal === 0 || !group.hasRecordedMember) return;
    this.#context.store.appendProgress(kind, 0, position, 0, ordinal);
  }
}

/** The absent member whose turn it is among those in whose queue the message may wait, room or not. */
function pickWaiting(group: SharedGroup<Session>, message: Message): Receiver<Session> | undefined {
  if (message.qos === 0) return undefined;
  for (let tried = group.offlineSize; tried > 0; tried--) {
    const receiver = group.pickOffline();
    if (receiver === undefined || canWaitWith(receiver)) return receiver;
  }
  return undefined;
}

/** Every group that a Session is told of is one of Sessions. */
function groupOf(origin: DeliveryOrigin): SharedGroup<Session> {
  return origin.group as SharedGroup<Session>;
}

/** Messages of absent members that are looked at in one go for one that has come, gone or acknowledged. */
const HANDED_ON_AT_ONCE_MAX = 256;
