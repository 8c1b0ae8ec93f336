/**
 * What a member of a Shared Subscription can do with a message, its room apart.
 */
import type { Session } from "../session/session.ts";
import type { Receiver } from "../topics/receiver.ts";

/** True when the member is there, or has a queue that outlives its connection, for a message that may be queued. */
export function canGet(receiver: Receiver<Session>): boolean {
  return receiver.subscriber.isOnline || canWaitWith(receiver);
}

/** True when a message at QoS 1 or 2 may wait in the member's queue while the client is away. */
export function canWaitWith(receiver: Receiver<Session>): boolean {
  return receiver.subscriber.isDurable && receiver.qos > 0;
}
