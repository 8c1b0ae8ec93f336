/**
 * When a Session's queue is full, and what gives way then: `mqtt.max-queued`, `mqtt.max-queued-bytes` and
 * `mqtt.queue-full`.
 *
 *   drop-oldest   the oldest messages leave until the new one fits; one that could never fit is refused alone
 *   drop-newest   the new message is refused
 *   reject        the new message is refused; the router has told its publisher where it could
 */
import { ProgressKind } from "../storage/log/record.ts";
import { appendProgress } from "./delivery_progress.ts";
import type { OutboundQueue } from "./outbound_queue.ts";
import type { SessionContext } from "./session_context.ts";
import type { SessionLimits } from "./session_limits.ts";

/**
 * True when a message does not fit.
 *
 * @param queue undefined before its first message.
 * @param size Stored bytes of the message.
 */
export function isQueueFull(queue: OutboundQueue | undefined, size: number, limits: SessionLimits): boolean {
  const count = queue === undefined ? 0 : queue.count;
  const bytes = queue === undefined ? 0 : queue.bytes;
  return (limits.queuedMax > 0 && count >= limits.queuedMax) ||
    (limits.queuedBytesMax > 0 && bytes + size > limits.queuedBytesMax);
}

/**
 * Makes room for a message as the policy says; what is dropped is counted, recorded and its reference released.
 *
 * @param size Its stored bytes.
 * @param recordNumber Of the Session.
 * @returns False when the message itself must go: it was counted, and that is all.
 */
export function makeQueueRoom(
  queue: OutboundQueue,
  size: number,
  context: SessionContext,
  recordNumber: number,
): boolean {
  const { store, counters, limits } = context;
  const canEverFit = limits.queuedBytesMax === 0 || size <= limits.queuedBytesMax;
  while (isQueueFull(queue, size, limits)) {
    if (limits.queueFull !== "drop-oldest" || !canEverFit || !queue.shift()) {
      if (limits.queueFull === "reject") counters.messagesDropped.queue_full_rejected++;
      else counters.messagesDropped.queue_full_newest++;
      return false;
    }
    counters.messagesDropped.queue_full_oldest++;
    counters.messagesQueued--;
    appendProgress(store, ProgressKind.DONE, recordNumber, queue.position, 0, queue.origin);
    store.release(queue.position);
  }
  return true;
}
