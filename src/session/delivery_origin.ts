/**
 * Why a queued or unacknowledged message is owed to a Session, where that must be remembered with it.
 */
import { NO_IDENTIFIERS } from "../protocol/publish_encoder.ts";
import type { OwedGroup } from "../storage/model/durable_state.ts";
import type { GroupOrdinal, Position } from "../storage/model/stored.ts";
import type { SharedGroup } from "../topics/shared_subscriptions.ts";
import type { Subscriber } from "../topics/subscription.ts";

/** Kept beside a queued or in-flight message; most have none (null). */
export interface DeliveryOrigin {
  /** Subscription Identifiers to send with it, also when it is sent again. */
  readonly identifiers: readonly number[];
  /** The Shared Subscription whose member the Session is, or null. */
  readonly group: SharedGroup<Subscriber> | null;
  /** 0, or 1 + index of the group in the match result, and so in the ROUTE record, of the message. */
  readonly ordinal: GroupOrdinal;
}

/** Finds the group that a message was owed to; undefined when nobody is subscribed to it any more. */
export type GroupOf = (owed: OwedGroup) => SharedGroup<Subscriber> | undefined;

/** Of a `Surrender`: the message stays where it is, and no other is wanted. */
export const ENOUGH = "enough";

/** Takes over one reference with each call that returns true; false leaves the message where it is. */
export type Surrender = (position: Position, origin: DeliveryOrigin) => boolean | typeof ENOUGH;

/** The Subscription Identifiers of an origin. */
export function identifiersOf(origin: DeliveryOrigin | null): readonly number[] {
  return origin === null ? NO_IDENTIFIERS : origin.identifiers;
}

/** True when the message would go to a recorded member of its group after a crash. */
export function isOwedToRecorded(origin: DeliveryOrigin): boolean {
  return origin.ordinal > 0 && origin.group !== null && origin.group.hasRecordedMember;
}
