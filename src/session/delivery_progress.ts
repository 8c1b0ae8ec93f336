/**
 * Which steps of a delivery are written to the log, so that a restart goes on where the client was.
 *
 *   SENT       a QoS 1 or 2 PUBLISH left for the first time; from now on its Packet Identifier belongs to it
 *   RECEIVED   a good PUBREC came: PUBREL is owed, the message is not
 *   DONE       the delivery is complete or given up; what is still queued when the Session ends needs no DONE
 *
 * That matters for Sessions that outlive a crash, and for messages of a Shared Subscription that such a Session has a
 * part in: whoever takes one of these, it must not come to the others once more. All other deliveries leave no trace.
 */
import type { MessageStore } from "../storage/message_store.ts";
import type { DeliveryOrigin } from "./delivery_origin.ts";

/**
 * Appends a step, if it matters.
 *
 * @param kind One of `ProgressKind`.
 * @param recordNumber Of the Session, 0 = not recorded.
 * @param packetId It was sent with, 0 = never sent.
 */
export function appendProgress(
  store: MessageStore["Service"],
  kind: number,
  recordNumber: number,
  position: number,
  packetId: number,
  origin: DeliveryOrigin | null,
): void {
  if (recordNumber === 0 && (origin === null || !isOwedToRecorded(origin))) return;
  store.appendProgress(kind, recordNumber, position, packetId, origin === null ? 0 : origin.ordinal);
}

/** True when the message would go to a recorded member of its group after a crash. */
export function isOwedToRecorded(origin: DeliveryOrigin): boolean {
  return origin.ordinal > 0 && origin.group !== null && origin.group.hasRecordedMember;
}
