/**
 * Permissions asked once more when a message is about to be sent, with `auth.recheck-on-deliver`.
 *
 * What was granted at SUBSCRIBE may have been taken back since, and a rule may forbid a part of what a wildcard covers.
 * It is asked at the last moment, so it also holds for what waited in a queue.
 */
import type { Message } from "../protocol/message.ts";
import { decodeUtf8 } from "../protocol/utf8.ts";
import type { Permissions } from "../topics/permissions.ts";
import type { SessionContext } from "./session_context.ts";

/** True when the client may be sent the message; counts it as dropped otherwise. */
export function mayReceive(permissions: Permissions, message: Message, context: SessionContext): boolean {
  if (!context.limits.isRecheckedOnDeliver) return true;
  const { topicBytes, topicStart, topicEnd } = message;
  const topicName = decodeUtf8(topicBytes, topicStart + LENGTH_PREFIX_BYTES, topicEnd);
  if (permissions.mayReceive(topicName)) return true;
  context.counters.messagesDropped.not_authorized++;
  return false;
}

const LENGTH_PREFIX_BYTES = 2;
