/**
 * Permissions asked once more when a message is about to be sent, with `auth.recheck-on-deliver`.
 *
 * What was granted at SUBSCRIBE may have been taken back since, and a rule may forbid a part of what a wildcard covers.
 * It is asked at the last moment, so it also holds for what waited in a queue. For the queue of a Session that is resumed
 * it is asked in any case: its client may have come back with fewer rights than it had.
 */
import type { Message } from "../protocol/message.ts";
import { decodeUtf8 } from "../protocol/utf8.ts";
import type { Session } from "./session.ts";
import type { SessionContext } from "./session_context.ts";

/** True when the client may be sent the message; counts it as dropped otherwise. */
export function mayReceive(session: Session, message: Message, context: SessionContext): boolean {
  if (!context.limits.isRecheckedOnDeliver && !session.isQueueRechecked) return true;
  const { topicBytes, topicStart, topicEnd } = message;
  const topicName = decodeUtf8(topicBytes, topicStart + LENGTH_PREFIX_BYTES, topicEnd);
  if (session.permissions.mayReceive(topicName)) return true;
  context.counters.messagesDropped.not_authorized++;
  return false;
}

const LENGTH_PREFIX_BYTES = 2;
