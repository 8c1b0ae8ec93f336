/**
 * The bounds a Session keeps, as plain numbers. One object serves all Sessions of a broker; a configuration reload
 * changes its fields in place, and every Session sees the new value with its next packet.
 */
import type { QoS } from "../protocol/packets.ts";

/**
 * What gives way when a Session's queue is full; `mqtt.queue-full`.
 *
 *   drop-oldest   the oldest messages leave until the new one fits; one that could never fit is refused alone
 *   drop-newest   the new message is refused
 *   reject        the new message is refused; the router has told its publisher where it could
 */
export type QueueFullPolicy = "drop-oldest" | "drop-newest" | "reject";

/** Live bounds. Sizes in bytes, counts in messages. */
export interface SessionLimits {
  /** Largest packet accepted. */
  packetBytesMax: number;
  /** Largest QoS accepted and granted. */
  qosMax: QoS;
  isRetainAvailable: boolean;
  isWildcardAvailable: boolean;
  isSharedAvailable: boolean;
  /** Unacknowledged QoS 1 and 2 messages sent to one client. */
  inflightMax: number;
  /** Stored bytes of those messages, which a single one may exceed; 0 = unbounded. */
  inflightBytesMax: number;
  /** Receive Maximum announced to v5 clients. */
  receiveMaximum: number;
  /** Topic Alias Maximum announced to v5 clients. */
  topicAliasMax: number;
  /** Messages queued for one Session; 0 = unbounded. */
  queuedMax: number;
  /** Stored bytes queued for one Session; 0 = unbounded. */
  queuedBytesMax: number;
  queueFull: QueueFullPolicy;
  /** Bytes waiting for one connection's network before QoS 0 is dropped and QoS 1 and 2 wait in the queue. */
  outboundBytesMax: number;
  /** Longest Session Expiry Interval in seconds; 0 = as asked. */
  sessionExpirySecondsMax: number;
  /** Longest Message Expiry Interval in seconds, also for messages that ask for none; 0 = as asked. */
  messageExpirySecondsMax: number;
  /** Largest Keep Alive in seconds; 0 = as the client wishes. */
  keepAliveSecondsMax: number;
  /** Longest Client Identifier in bytes of UTF-8. */
  clientIdBytesMax: number;
  /** Subscriptions of one Session; 0 = unbounded. */
  subscriptionsMax: number;
  /** Whether permissions are asked again for every message that is about to be sent. */
  isRecheckedOnDeliver: boolean;
}
