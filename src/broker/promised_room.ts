/**
 * Room in the queues of Sessions that is promised to messages between their arrival and their commit.
 *
 * With `mqtt.queue-full: reject` a publisher is refused when a receiver's queue is full. The answer is given when the
 * message arrives, the queue is filled when it is committed, and many messages may arrive in between: without a promise
 * they would all be accepted for the same last place. Whether a message will be sent at once instead of being queued
 * is not known yet, so every one counts. Only a message that no queue could ever hold is let through when nothing else
 * is on its way to the receiver and it can be sent at once: refusing it would mean never.
 *
 * For a Shared Subscription one member promises. Another one may get the message, and then the room of the first is free:
 * what is promised is never more than what there is.
 */
import type { Message } from "../protocol/message.ts";
import type { Session } from "../session/session.ts";
import type { SessionLimits } from "../session/session_limits.ts";
import type { SharedGroup } from "../topics/shared_subscriptions.ts";
import type { MatchResult } from "../topics/subscription_trie.ts";
import { canGet } from "./shared_member.ts";

/** See the head of this file. */
export class PromisedRoom {
  readonly #limits: SessionLimits;
  readonly #promised = new Map<Session, { messages: number; bytes: number }>();

  constructor(limits: SessionLimits) {
    this.#limits = limits;
  }

  /**
   * Promises room for a message to every receiver that would queue it.
   *
   * @param size Stored bytes of the message.
   * @returns Who promised; undefined when one of them has none left, and then nothing is promised. O(receivers), and for
   *   groups whose members are full O(members).
   */
  promise({ receivers, groups }: MatchResult<Session>, size: number): readonly Session[] | undefined {
    const promising: Session[] = [];
    for (const { qos, subscriber } of receivers) {
      if (qos === 0) continue;
      if (this.#lacksRoom(subscriber, size)) return this.#takeBack(promising, size);
      this.#add(subscriber, size);
      promising.push(subscriber);
    }
    for (const group of groups) {
      const member = this.#memberWithRoom(group, size);
      if (member === undefined) return this.#takeBack(promising, size);
      if (member === null) continue;
      this.#add(member, size);
      promising.push(member);
    }
    return promising;
  }

  /** Takes a promise back, right before the message is delivered. */
  fulfil(promising: readonly Session[], size: number): void {
    for (const session of promising) {
      const promised = this.#promised.get(session)!;
      promised.messages--;
      promised.bytes -= size;
      if (promised.messages === 0) this.#promised.delete(session);
    }
  }

  /** True when a Session can take a message that it did not promise room for. */
  hasRoomFor(session: Session, size: number): boolean {
    return this.#promised.has(session) ? !this.#lacksRoom(session, size) : !session.outbox.isQueueFullFor(size);
  }

  /** The member that promises; null when one gets the message without a queue, or nobody gets it at all. */
  #memberWithRoom(group: SharedGroup<Session>, size: number): Session | null | undefined {
    let found: Session | null | undefined = null;
    group.some((receiver) => {
      if (!canGet(receiver)) return false;
      if (receiver.qos === 0) found = null;
      else found = this.#lacksRoom(receiver.subscriber, size) ? undefined : receiver.subscriber;
      return found !== undefined;
    });
    return found;
  }

  #add(session: Session, size: number): void {
    const promised = this.#promised.get(session);
    if (promised === undefined) this.#promised.set(session, { messages: 1, bytes: size });
    else {
      promised.messages++;
      promised.bytes += size;
    }
  }

  #takeBack(promising: readonly Session[], size: number): undefined {
    this.fulfil(promising, size);
    return undefined;
  }

  #lacksRoom(session: Session, size: number): boolean {
    const { queuedMax, queuedBytesMax } = this.#limits;
    const promised = this.#promised.get(session);
    const messages = promised === undefined ? 1 : promised.messages + 1;
    const bytes = promised === undefined ? size : promised.bytes + size;
    if (queuedMax > 0 && session.outbox.queuedCount + messages > queuedMax) return true;
    if (session.outbox.isQueueFullFor(bytes)) return true;
    return promised !== undefined && queuedBytesMax > 0 && bytes > queuedBytesMax;
  }
}

/** Bytes of a message as the store counts them. */
export function storedSizeOf(message: Message): number {
  const propertiesSize = message.propertiesEnd - message.propertiesStart;
  return message.topicEnd - message.topicStart + propertiesSize + message.payloadSize;
}
