/**
 * Shared Subscriptions: who of the group gets a message, and what happens to the messages of a member that goes.
 * [MQTT 5.0, 4.8.2]
 *
 * A message goes to one online member, in turn. While nobody is online it waits in the queue of a member whose Session
 * outlives its connection, and moves on to whoever comes online first. A member that goes leaves what it has not
 * acknowledged at QoS 1, and what it was never sent, to the others who are online; when its Session ends, also to
 * those who are away.
 */
import { Message } from "../protocol/message.ts";
import type { QoS } from "../protocol/packets.ts";
import type { Session } from "../session/session.ts";
import type { SessionContext } from "../session/session_context.ts";
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
   * @param position Where the message is stored; 0 at QoS 0.
   */
  deliver(group: SharedGroup<Session>, message: Message, position: number): void {
    const online = group.pick();
    const receiver = online ?? group.pickOffline();
    if (receiver === undefined || (online === undefined && !this.#canWait(receiver, message))) {
      this.#context.counters.messagesDropped.no_member++;
      return;
    }
    this.#hand(receiver, group, message, position);
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
    const { store, encoder, counters } = this.#context;
    const message = this.#handedOn;
    member.surrenderShared((position, origin) => {
      const group = origin.group!;
      const receiver = pick(group);
      if (receiver === undefined) return false;
      store.read(position, message);
      if (!receiver.subscriber.isOnline && !this.#canWait(receiver, message)) return false;
      if (message.isExpired(nowMs)) counters.messagesDropped.expired++;
      else {
        encoder.begin(message, nowMs, 1);
        this.#hand(receiver, group, message, position);
      }
      store.release(position);
      return true;
    });
  }

  #canWait(receiver: Receiver<Session>, message: Message): boolean {
    return receiver.subscriber.isDurable && message.qos > 0 && receiver.qos > 0;
  }

  #hand(receiver: Receiver<Session>, group: SharedGroup<Session>, message: Message, position: number): void {
    const session = receiver.subscriber;
    const retain = message.retain && receiver.retainAsPublished;
    const qos = (message.qos < receiver.qos ? message.qos : receiver.qos) as QoS;
    if (qos === 0) session.deliverOnce(message, retain, receiver.identifiers);
    else session.deliverStored(message, position, qos, retain, { identifiers: receiver.identifiers, group });
  }
}
