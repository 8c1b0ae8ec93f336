/**
 * An Application Message as a view: offsets into bytes that somebody else owns. [MQTT 5.0, 1.2]
 *
 * One `Message` object is filled again and again, by the PUBLISH decoder from a read buffer and by the message store
 * from a stored record, so routing a message allocates nothing. Whoever needs the bytes after the current call copies
 * them; nobody keeps a `Message`.
 */
import type { QoS } from "./packets.ts";

const NO_BYTES = new Uint8Array(0);

/** Reusable view of one Application Message. */
export class Message {
  /** Holds the Topic Name at `topicStart..topicEnd`, its two-byte length prefix included. */
  topicBytes: Uint8Array = NO_BYTES;
  topicStart = 0;
  topicEnd = 0;
  /**
   * Holds the properties that travel with the message in v5 wire form at `propertiesStart..propertiesEnd`, without
   * length prefix and without Topic Alias, Message Expiry Interval and Subscription Identifiers.
   */
  propertiesBytes: Uint8Array = NO_BYTES;
  propertiesStart = 0;
  propertiesEnd = 0;
  /** Holds the payload at `payloadStart..payloadEnd`. */
  payloadBytes: Uint8Array = NO_BYTES;
  payloadStart = 0;
  payloadEnd = 0;
  qos: QoS = 0;
  retain = false;
  /** Broker time in milliseconds after which the message must not be sent any more; 0 = never expires. */
  expiresAtMs = 0;

  /** Payload bytes. */
  get payloadSize(): number {
    return this.payloadEnd - this.payloadStart;
  }

  /** Sets the topic to bytes that carry their two-byte length prefix. */
  setTopic(utf8WithLength: Uint8Array): void {
    this.topicBytes = utf8WithLength;
    this.topicStart = 0;
    this.topicEnd = utf8WithLength.length;
  }

  /** Sets properties in wire form, without length prefix. */
  setProperties(bytes: Uint8Array, start: number, end: number): void {
    this.propertiesBytes = bytes;
    this.propertiesStart = start;
    this.propertiesEnd = end;
  }

  /** Sets the payload. */
  setPayload(bytes: Uint8Array, start: number, end: number): void {
    this.payloadBytes = bytes;
    this.payloadStart = start;
    this.payloadEnd = end;
  }

  /** True when the message has outlived its Message Expiry Interval. [MQTT-3.3.2-5] */
  isExpired(nowMs: number): boolean {
    return this.expiresAtMs !== 0 && this.expiresAtMs <= nowMs;
  }
}
