/**
 * The records of the log. This file knows their bytes; what they mean together is known to `recovery.ts`.
 *
 * Every record starts at a multiple of 8 and is padded to one with zeros. All numbers are little-endian; "f64" is an
 * IEEE 754 double, which holds every position exactly.
 *
 *   offset size  common to all
 *        0    4  record bytes, this field and the padding included
 *        4    1  type: 1 PUBLISH, 2 PROGRESS, 3 RELEASE, 4 ROUTE, 5 CHANGE
 *
 *   PUBLISH: an Application Message, with its routing result
 *        5    1  QoS (bits 0 and 1), RETAIN (bit 2)
 *        6    2  Packet Identifier of an inbound QoS 2 message, 0 = not recorded
 *        8    4  session number of the publisher, 0 = a Session that is not recorded
 *       12    4  topic bytes, two-byte length prefix included
 *       16    8  f64 expiresAtMs, 0 = never
 *       24    8  f64 position of the ROUTE record that says who is owed the message, 0 = nobody
 *       32    4  properties bytes
 *       36    4  payload bytes
 *       40       topic, properties, payload
 *
 *   PROGRESS: how far the delivery of one message to one Session has come
 *        5    1  kind: 1 SENT, 2 RECEIVED (PUBREC came), 3 DONE (completed, or given up)
 *        6    2  Packet Identifier, 0 = it was never sent
 *        8    4  session number, 0 = a Session that is not recorded took a message of a shared group
 *       12    4  0, or 1 + index of the group in the message's ROUTE record
 *       16    8  f64 position of the message
 *
 *   RELEASE: PUBREL released an inbound QoS 2 Packet Identifier
 *        6    2  Packet Identifier
 *        8    4  session number
 *       12    4  0
 *
 *   ROUTE and CHANGE: JSON, see `Route` and `SessionChange` in `message_store.ts`
 *        8    4  bytes of UTF-8
 *       12       JSON text
 *
 * Example: topic `a/b`, payload `hi`, QoS 1, from a Session that is not recorded, owed to nobody:
 *
 *   30 00 00 00  01 01 00 00  00 00 00 00  05 00 00 00    48 bytes, PUBLISH, QoS 1; topic of 5 bytes
 *   00 × 8       00 × 8       00 00 00 00  02 00 00 00    never expires, no route; no properties, payload of 2
 *   00 03 61 2f 62  68 69  00                             "a/b", "hi", padding
 */
import { copyBytes } from "../../protocol/copy_bytes.ts";
import type { PacketId } from "../../protocol/distinct_number.ts";
import type { Message } from "../../protocol/message.ts";
import type { QoS } from "../../protocol/packets.ts";
import type { GroupOrdinal, Position, SessionNumber } from "../model/stored.ts";
import type { LogBuffer } from "./log_buffer.ts";

/** Type of a record. */
export const RecordType = { PUBLISH: 1, PROGRESS: 2, RELEASE: 3, ROUTE: 4, CHANGE: 5 } as const;

/**
 * Kind of a PROGRESS record.
 *
 *   SENT       a QoS 1 or 2 PUBLISH left for the first time; from now on its Packet Identifier belongs to it
 *   RECEIVED   a good PUBREC came: PUBREL is owed, the message is not
 *   DONE       the delivery is complete or given up
 */
export const ProgressKind = { SENT: 1, RECEIVED: 2, DONE: 3 } as const;
export type ProgressKind = (typeof ProgressKind)[keyof typeof ProgressKind];

/** Bytes of a PUBLISH record before its topic. */
export const PUBLISH_HEADER_BYTES = 40;
/** Bytes of a PROGRESS record. */
export const PROGRESS_BYTES = 24;
/** Bytes of a RELEASE record. */
export const RELEASE_BYTES = 16;
/** Least bytes of any record. */
export const RECORD_BYTES_MIN = 16;
/** Bytes of a ROUTE or CHANGE record before its text. */
const TEXT_HEADER_BYTES = 12;

/** Bytes that a message takes in the log. */
export function publishBytes(message: Message): number {
  const size = PUBLISH_HEADER_BYTES + message.topicEnd - message.topicStart + message.propertiesEnd -
    message.propertiesStart + message.payloadEnd - message.payloadStart;
  return (size + 7) & ~7;
}

/**
 * Writes a PUBLISH record of `size` bytes (`publishBytes`) at `start`.
 *
 * @param packetId Of an inbound QoS 2 message of a recorded Session, else 0.
 */
export function writePublish(
  into: LogBuffer,
  start: number,
  size: number,
  message: Message,
  publisher: SessionNumber,
  packetId: PacketId,
  route: Position,
): void {
  const { words, bytes } = into;
  const word = start >> 2;
  const topicSize = message.topicEnd - message.topicStart;
  const propertiesSize = message.propertiesEnd - message.propertiesStart;
  const payloadSize = message.payloadEnd - message.payloadStart;
  // The last word first: what the text does not cover of it is padding.
  words[word + (size >> 2) - 1] = 0;
  words[word + (size >> 2) - 2] = 0;
  words[word] = size;
  words[word + 1] = RecordType.PUBLISH | (message.qos << 8) | (message.retain ? 0x400 : 0) | (packetId << 16);
  words[word + 2] = publisher;
  words[word + 3] = topicSize;
  into.doubles[(start >> 3) + 2] = message.expiresAtMs;
  into.doubles[(start >> 3) + 3] = route;
  words[word + 8] = propertiesSize;
  words[word + 9] = payloadSize;
  let offset = start + PUBLISH_HEADER_BYTES;
  offset = copyBytes(message.topicBytes, message.topicStart, message.topicEnd, bytes, offset);
  if (propertiesSize > 0) {
    offset = copyBytes(message.propertiesBytes, message.propertiesStart, message.propertiesEnd, bytes, offset);
  }
  copyBytes(message.payloadBytes, message.payloadStart, message.payloadEnd, bytes, offset);
}

/** Fills `into` with the message of the PUBLISH record at `start`: a view of `from`. */
export function readMessage(from: LogBuffer, start: number, into: Message): void {
  const { words, bytes } = from;
  const word = start >> 2;
  const topicEnd = start + PUBLISH_HEADER_BYTES + words[word + 3]!;
  const propertiesEnd = topicEnd + words[word + 8]!;
  const flags = words[word + 1]! >> 8;
  into.topicBytes = into.propertiesBytes = into.payloadBytes = bytes;
  into.topicStart = start + PUBLISH_HEADER_BYTES;
  into.topicEnd = into.propertiesStart = topicEnd;
  into.propertiesEnd = into.payloadStart = propertiesEnd;
  into.payloadEnd = propertiesEnd + words[word + 9]!;
  into.qos = (flags & 3) as QoS;
  into.retain = (flags & 4) !== 0;
  into.expiresAtMs = from.doubles[(start >> 3) + 2]!;
}

/** Bytes of topic, properties and payload of the PUBLISH record at `start`. */
export function messageSize(from: LogBuffer, start: number): number {
  const word = start >> 2;
  return from.words[word + 3]! + from.words[word + 8]! + from.words[word + 9]!;
}

/** What a PUBLISH record says besides its message. Reused by its reader. */
export class PublishRecord {
  publisher: SessionNumber = 0;
  packetId: PacketId = 0;
  route: Position = 0;

  /** Fills itself from the record at `start`. */
  read(from: LogBuffer, start: number): void {
    const word = start >> 2;
    this.packetId = from.words[word + 1]! >>> 16;
    this.publisher = from.words[word + 2]!;
    this.route = from.doubles[(start >> 3) + 3]!;
  }
}

/**
 * Writes a PROGRESS record at `start`.
 *
 * @param group 0, or 1 + index of the group in the message's ROUTE record.
 */
export function writeProgress(
  into: LogBuffer,
  start: number,
  kind: ProgressKind,
  session: SessionNumber,
  position: Position,
  packetId: PacketId,
  group: GroupOrdinal,
): void {
  const word = start >> 2;
  const { words } = into;
  words[word] = PROGRESS_BYTES;
  words[word + 1] = RecordType.PROGRESS | (kind << 8) | (packetId << 16);
  words[word + 2] = session;
  words[word + 3] = group;
  into.doubles[(start >> 3) + 2] = position;
}

/** A PROGRESS record. Reused by its reader. */
export class ProgressRecord {
  kind: ProgressKind = ProgressKind.SENT;
  packetId: PacketId = 0;
  session: SessionNumber = 0;
  /** 0, or 1 + index of the group in the message's ROUTE record. */
  group: GroupOrdinal = 0;
  position: Position = 0;

  /** Fills itself from the record at `start`. */
  read(from: LogBuffer, start: number): void {
    const word = start >> 2;
    const head = from.words[word + 1]!;
    this.kind = (head >>> 8 & 0xff) as ProgressKind;
    this.packetId = head >>> 16;
    this.session = from.words[word + 2]!;
    this.group = from.words[word + 3]!;
    this.position = from.doubles[(start >> 3) + 2]!;
  }
}

/** Writes a RELEASE record at `start`. */
export function writeRelease(into: LogBuffer, start: number, session: SessionNumber, packetId: PacketId): void {
  const word = start >> 2;
  into.words[word] = RELEASE_BYTES;
  into.words[word + 1] = RecordType.RELEASE | (packetId << 16);
  into.words[word + 2] = session;
  into.words[word + 3] = 0;
}

/** Session number and Packet Identifier of the RELEASE record at `start`. */
export function readRelease(
  from: LogBuffer,
  start: number,
): { readonly session: SessionNumber; readonly packetId: PacketId } {
  const word = start >> 2;
  return { session: from.words[word + 2]!, packetId: from.words[word + 1]! >>> 16 };
}

/** Bytes of a ROUTE or CHANGE record with a text of `textBytes`. */
export function textRecordBytes(textBytes: number): number {
  return Math.max(RECORD_BYTES_MIN, (TEXT_HEADER_BYTES + textBytes + 7) & ~7);
}

/** Writes a ROUTE or CHANGE record of `textRecordBytes` at `start`. */
export function writeText(into: LogBuffer, start: number, type: number, text: Uint8Array): void {
  const size = textRecordBytes(text.length);
  const word = start >> 2;
  into.words[word + (size >> 2) - 1] = 0;
  into.words[word + (size >> 2) - 2] = 0;
  into.words[word] = size;
  into.words[word + 1] = type;
  into.words[word + 2] = text.length;
  into.bytes.set(text, start + TEXT_HEADER_BYTES);
}

/** The text of the ROUTE or CHANGE record at `start`: a view of `from`. */
export function readText(from: LogBuffer, start: number): Uint8Array {
  const textStart = start + TEXT_HEADER_BYTES;
  return from.bytes.subarray(textStart, textStart + from.words[(start >> 2) + 2]!);
}

/** Bytes of the record at `start`, padding included. */
export function recordBytes(from: LogBuffer, start: number): number {
  return from.words[start >> 2]!;
}

/** Type of the record at `start`. */
export function recordType(from: LogBuffer, start: number): number {
  return from.bytes[start + 4]!;
}

/**
 * Says what is wrong with the record at `start`, or undefined when every length in it fits.
 *
 * @param end Where the block ends.
 */
export function validateRecord(from: LogBuffer, start: number, end: number): string | undefined {
  if (end - start < RECORD_BYTES_MIN) return "the block ends within the header of a record";
  const size = recordBytes(from, start);
  if (size < RECORD_BYTES_MIN || size % 8 !== 0 || start + size > end) {
    return "the length of a record is impossible or reaches beyond its block";
  }
  const word = start >> 2;
  switch (recordType(from, start)) {
    case RecordType.PUBLISH: {
      if (size < PUBLISH_HEADER_BYTES) return "a PUBLISH record is shorter than its header";
      const used = PUBLISH_HEADER_BYTES + messageSize(from, start);
      if (((used + 7) & ~7) !== size || from.words[word + 3]! < 2) {
        return "the lengths in a PUBLISH record do not add up to its size";
      }
      return (from.words[word + 1]! >> 8 & 3) === 3 ? "a PUBLISH record has QoS 3, which does not exist" : undefined;
    }
    case RecordType.PROGRESS: {
      const kind = from.bytes[start + 5]!;
      const isKnown = kind >= ProgressKind.SENT && kind <= ProgressKind.DONE;
      return size === PROGRESS_BYTES && isKnown ? undefined : "a PROGRESS record has the wrong size or an unknown kind";
    }
    case RecordType.RELEASE:
      return size === RELEASE_BYTES ? undefined : "a RELEASE record has the wrong size";
    case RecordType.ROUTE:
    case RecordType.CHANGE:
      return textRecordBytes(from.words[word + 2]!) === size
        ? undefined
        : "the length of the text in a ROUTE or CHANGE record does not match its size";
    default:
      return `a record has the unknown type ${recordType(from, start)}`;
  }
}
