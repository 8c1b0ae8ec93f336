/**
 * The words in which promises are stored: positions in the total order, and what a log, a database and the broker tell
 * each other of Sessions, subscriptions, Will Messages and routes. Plain data; this file knows nobody who keeps it.
 */
import type { DistinctNumber } from "../../protocol/distinct_number.ts";
import type { QoS } from "../../protocol/packets.ts";

/** A place in the total order: a whole number that fits a double exactly and never decreases. A message's is not 0. */
export type Position = DistinctNumber<"position">;

/** Number of a recorded Session, never used again; 0 stands for all others. */
export type SessionNumber = DistinctNumber<"Session">;

/** Place of a Shared Subscription in the route of a message: 1 + its index; 0 = none. */
export type GroupOrdinal = DistinctNumber<"group">;

/** Opening a Session, or changing its Session Expiry Interval: the last one counts. The Session is connected. */
export interface OpenChange {
  readonly kind: "open";
  readonly session: SessionNumber;
  readonly clientId: string;
  /** Seconds; 0xFFFFFFFF = never. */
  readonly sessionExpiryInterval: number;
  readonly username?: string;
}

/** A subscription as it was granted. */
export interface StoredSubscription {
  /** Topic Filter as the client wrote it, `$share/…` included. */
  readonly filter: string;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
  /** 0 = none. */
  readonly subscriptionIdentifier: number;
}

/** A Will Message, ready for JSON. */
export interface StoredWill {
  readonly topic: string;
  readonly qos: QoS;
  readonly retain: boolean;
  /** Base64. */
  readonly payload: string;
  /** Base64 of the properties that travel with the message, in v5 wire form without length. */
  readonly properties: string;
  /** Seconds. */
  readonly willDelayInterval: number;
  /** Seconds; absent = never expires. */
  readonly messageExpiryInterval?: number;
}

/** Something that happened to a recorded Session, or to a Will Message, and has to survive. JSON in the log. */
export type SessionChange =
  | OpenChange
  | { readonly kind: "offline"; readonly session: SessionNumber; readonly atMs: number }
  | { readonly kind: "subscribe"; readonly session: SessionNumber; readonly subscription: StoredSubscription }
  | { readonly kind: "unsubscribe"; readonly session: SessionNumber; readonly filter: string }
  | { readonly kind: "end"; readonly session: SessionNumber }
  /** The present connection of a client, recorded or not, has a Will Message. */
  | { readonly kind: "will"; readonly clientId: string; readonly will: StoredWill }
  /** The connection ended, the Will Message waits for its delay. */
  | { readonly kind: "will-delayed"; readonly clientId: string; readonly will: StoredWill; readonly dueMs: number }
  /** The Will Message was published or taken back. */
  | { readonly kind: "will-over"; readonly clientId: string }
  /** A Session is owed a message that no route gave it: a Retained Message. */
  | {
    readonly kind: "owe";
    readonly session: SessionNumber;
    readonly position: Position;
    /** Granted QoS in bits 0 and 1, RETAIN in bit 2. */
    readonly flags: number;
    readonly identifiers: readonly number[];
  };

/** What one recorded Session gets of the messages of a route. Only recorded Sessions stand in routes. */
export interface RouteReceiver {
  readonly session: SessionNumber;
  /** Granted QoS, not limited by the message's. */
  readonly qos: QoS;
  readonly retainAsPublished: boolean;
  readonly identifiers: readonly number[];
  /** What it gets of its own messages: absent = the same (No Local not set), `null` = nothing. */
  readonly local?:
    | { readonly qos: QoS; readonly retainAsPublished: boolean; readonly identifiers: readonly number[] }
    | null;
}

/** The routing result of a topic. JSON in the log. */
export interface Route {
  readonly receivers: readonly RouteReceiver[];
  /** All matching Shared Subscriptions. */
  readonly groups: readonly { readonly name: string; readonly filter: string }[];
}

/** Flags of a message of which nobody knows QoS and RETAIN: what a subscription grants counts. */
export const MESSAGE_FLAGS_UNKNOWN = 2;
