/**
 * Why a queued or unacknowledged message is owed to a Session, where that must be remembered with it.
 */
import { NO_IDENTIFIERS } from "../protocol/publish_encoder.ts";
import type { SharedGroup } from "../topics/shared_subscriptions.ts";
import type { Session } from "./session.ts";

/** Kept beside a queued or in-flight message; most have none (null). */
export interface DeliveryOrigin {
  /** Subscription Identifiers to send with it, also when it is sent again. */
  readonly identifiers: readonly number[];
  /** The Shared Subscription whose member the Session is, or null. */
  readonly group: SharedGroup<Session> | null;
}

/** The Subscription Identifiers of an origin. */
export function identifiersOf(origin: DeliveryOrigin | null): readonly number[] {
  return origin === null ? NO_IDENTIFIERS : origin.identifiers;
}
