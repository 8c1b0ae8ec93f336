/**
 * Room in the queues of Sessions that is promised to messages between their arrival and their commit.
 *
 * With `mqtt.queue-full: reject` a publisher is refused when a receiver's queue is full. The answer is given when the
 * message arrives, the queue is filled when it is committed, and many messages may arrive in between: without a promise
 * they would all be accepted for the same last place. Whether a message will be sent at once instead of being queued
 * is not known yet, so every one counts. Only a message that no queue could ever hold is let through when nothing else
 * is on its way to the receiver and it can be sent at once: refusing it would mean never.
 */
import type { Session } from "../session/session.ts";
import type { SessionLimits } from "../session/session_limits.ts";
import type { MatchResult } from "../topics/subscription_trie.ts";

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
   * @returns False when one of them has none left; then nothing is promised. O(receivers).
   */
  promise(matched: MatchResult<Session>, size: number): boolean {
    for (const { qos, subscriber } of matched.receivers) {
      if (qos === 0) continue;
      if (this.#lacksRoom(subscriber, size)) return false;
    }
    for (const { qos, subscriber } of matched.receivers) {
      if (qos === 0) continue;
      const promised = this.#promised.get(subscriber);
      if (promised === undefined) this.#promised.set(subscriber, { messages: 1, bytes: size });
      else {
        promised.messages++;
        promised.bytes += size;
      }
    }
    return true;
  }

  /** Takes a promise back, right before the message is delivered. */
  fulfil(matched: MatchResult<Session>, size: number): void {
    for (const { qos, subscriber } of matched.receivers) {
      const promised = qos === 0 ? undefined : this.#promised.get(subscriber);
      if (promised === undefined) continue;
      promised.messages--;
      promised.bytes -= size;
      if (promised.messages === 0) this.#promised.delete(subscriber);
    }
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
