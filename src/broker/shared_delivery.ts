/**
 * Shared Subscriptions: who of the group gets a message, and what happens to the messages of a member that goes.
 * [MQTT 5.0, 4.8.2]
 *
 * A message goes to one online member, in turn. While nobody is online it waits in the queue of a member whose Session
 * outlives its connection, and moves on to whoever comes online first. A member that goes leaves what it has not
 * acknowledged at QoS 1, and what it was never sent, to the others who are online; when its Session ends, also to
 * those who are away.
 *
 * The store keeps a message for a group with a recorded member until it hears that somebody was sent it, or that it is
 * done (`session/outbox.ts`). What never becomes a delivery of a Session is told from here.
 */
import { Message } from "../protocol/message.ts";
import type { QoS } from "../protocol/packets.ts";
import type { Session } from "../session/session.ts";
import type { SessionContext } from "../session/session_context.ts";
import { ProgressKind } from "../storage/log/record.ts";
import type { GroupBacklogEntry } from "../storage/model/durable_state.ts";
import type { GroupOrdinal, Position } from "../storage/model/stored.ts";
import type { Receiver } from "../topics/receiver.ts";
import type { SharedGroup } from "../topics/shared_subscriptions.ts";
import type { SubscriptionTrie } from "../topics/subscription_trie.ts";

/** See the head of this file. */
export class SharedDelivery {
  readonly #context: SessionContext;
  readonly #trie: SubscriptionTrie<Session>;
  readonly #handedOn = new Message();

  constructor(context: SessionContext, trie: SubscriptionTrie<Session>) {
    this.#context = context;
    this.#trie = trie;
  }

  /**
   * Delivers the encoder's present message to one member.
   *
   * @param ordinal 1 + index of the group in the match result.
   * @param position Where the message is stored; 0 when it is not.
   */
  deliver(group: SharedGroup<Session>, ordinal: GroupOrdinal, message: Message, position: Position): void {
    const receiver = group.pick() ?? this.#pickWaiting(group, message);
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
    store.read(position, message);
    const receiver = message.isExpired(nowMs) ? undefined : this.#pickWaiting(group, message);
    if (receiver === undefined) {
      events.dropped(message.isExpired(nowMs) ? "expired" : "no_member", "");
      this.#giveUp(group, ordinal, message, position);
    } else this.#hand(receiver, group, ordinal, message, position);
    store.release(position);
  }

  /** Gives a client that came online the messages that wait for its groups in the queues of absent members. */
  memberOnline(session: Session, nowMs: number): void {
    this.#trie.subscriberOnline(session);
    for (const group of this.#trie.sharedGroupsOf(session)) {
      const absent: Session[] = [];
      group.forEach((subscription) => {
        if (!subscription.subscriber.isOnline) absent.push(subscription.subscriber);
      });
      for (const member of absent) {
        this.#handOn(member, nowMs, (of) => of === group ? group.pickExcept(member) : undefined);
      }
    }
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

  /** Hands on what a client that went away leaves, where another member is online. */
  memberOffline(session: Session, nowMs: number): void {
    if (this.#trie.sharedGroupsOf(session).length === 0) return;
    this.#handOn(session, nowMs, (group) => group.pickExcept(session));
  }

  /** Hands on what a Session that ends leaves; it must have left its groups. */
  memberEnded(session: Session, nowMs: number): void {
    this.#handOn(session, nowMs, (group) => group.pick() ?? group.pickOffline());
  }

  #handOn(member: Session, nowMs: number, pick: (group: SharedGroup<Session>) => Receiver<Session> | undefined): void {
    const { store, encoder, events } = this.#context;
    const message = this.#handedOn;
    member.outbox.surrenderShared((position, origin) => {
      // Every group that a Session is told of is one of Sessions.
      const group = origin.group as SharedGroup<Session>;
      const receiver = pick(group);
      if (receiver === undefined) return false;
      store.read(position, message);
      if (!receiver.subscriber.isOnline && !canWait(receiver, message)) return false;
      if (message.isExpired(nowMs)) {
        events.dropped("expired", "");
        this.#giveUp(group, origin.ordinal, message, position);
      } else {
        encoder.begin(message, nowMs, 1);
        const { subscriber } = receiver;
        const sentBefore = subscriber.outbox.inflightCount;
        this.#hand(receiver, group, origin.ordinal, message, position);
        // The record may say that it was sent to the member that leaves it; it is the group's again until it is sent.
        if (subscriber.outbox.inflightCount === sentBefore) {
          this.#note(ProgressKind.SENT, group, origin.ordinal, position);
        }
      }
      store.release(position);
      return true;
    });
  }

  /** The absent member whose turn it is among those in whose queue the message can wait. */
  #pickWaiting(group: SharedGroup<Session>, message: Message): Receiver<Session> | undefined {
    if (message.qos === 0) return undefined;
    for (let tried = group.size; tried > 0; tried--) {
      const receiver = group.pickOffline();
      if (receiver === undefined || canWait(receiver, message)) return receiver;
    }
    return undefined;
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
    } else session.outbox.deliverStored(message, position, qos, retain, { identifiers, group, ordinal });
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

function canWait(receiver: Receiver<Session>, message: Message): boolean {
  return receiver.subscriber.isDurable && message.qos > 0 && receiver.qos > 0;
}
