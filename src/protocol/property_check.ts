/**
 * The check of a single property on the wire bytes, shared by every reader of properties.
 *
 * A check answers with an offset or a negative outcome, so that the readers of a PUBLISH allocate nothing; only an
 * outcome that ends the connection is put into words.
 *
 * Reason Codes: what cannot be read, and a property that does not belong to the packet, is malformed (0x81)
 * [MQTT 5.0, 2.2.2.2]; what can be read but is twice there or out of range is a protocol error (0x82); Topic Alias 0
 * has its own code (0x94).
 */

import { Fault, PacketType } from "./packets.ts";
import {
  PROPERTY_BITS,
  PROPERTY_ID_END,
  PROPERTY_NAMES,
  PROPERTY_NON_ZERO,
  PROPERTY_OWNERS,
  PROPERTY_TYPES,
  PropertyId,
  PropertyType,
} from "./property_table.ts";
import { ReasonCode } from "./reason_codes.ts";
import { isValidUtf8String } from "./utf8.ts";
import { INTEGER_INCOMPLETE, readVariableByteInteger, variableByteIntegerSize } from "./variable_byte_integer.ts";

/**
 * Checks the property whose identifier is at `at`.
 *
 * @param end One past the last byte of the property area.
 * @param owner The `PacketType` the area belongs to, or `WILL_OWNER`.
 * @param seen The `PROPERTY_BITS` of the properties before this one.
 * @returns The offset after the property, or a negative outcome for `propertyFault`.
 */
export function checkProperty(
  bytes: Uint8Array,
  at: number,
  end: number,
  owner: number,
  seen: number,
): number {
  const id = bytes[at]!;
  if (id >= PROPERTY_ID_END || ((PROPERTY_OWNERS[id]! >> owner) & 1) === 0) return UNKNOWN;
  if ((seen & PROPERTY_BITS[id]!) !== 0 && !isRepeatable(id, owner)) return REPEATED;
  const type = PROPERTY_TYPES[id]!;
  const start = at + 1;
  const next = valueEnd(type, bytes, start, end);
  if (next < 0) return next;
  switch (type) {
    case PropertyType.FLAG:
      return bytes[start]! > 1 ? BAD_VALUE : next;
    case PropertyType.TEXT:
      return isValidUtf8String(bytes, start + 2, next) ? next : BAD_TEXT;
    case PropertyType.PAIR: {
      const nameEnd = start + 2 + readUint16(bytes, start);
      const isValid = isValidUtf8String(bytes, start + 2, nameEnd) && isValidUtf8String(bytes, nameEnd + 2, next);
      return isValid ? next : BAD_TEXT;
    }
    default:
      return PROPERTY_NON_ZERO[id] === 1 && isAllZero(bytes, start, next) ? BAD_VALUE : next;
  }
}

/**
 * Puts a negative outcome into words.
 *
 * @param id The property identifier that `checkProperty` refused.
 * @returns A fault with 0x81, 0x82 or 0x94.
 */
export function propertyFault(outcome: number, id: number): Fault {
  const name = PROPERTY_NAMES[id] || `0x${id.toString(16).padStart(2, "0")}`;
  switch (outcome) {
    case UNKNOWN:
      return new Fault(ReasonCode.MALFORMED_PACKET, "2.2.2.2", `Property ${name} does not belong to this packet`);
    case REPEATED:
      return new Fault(ReasonCode.PROTOCOL_ERROR, "2.2.2.2", `Property ${name} is there more than once`);
    case BAD_TEXT: {
      const statement = id === PropertyId.USER_PROPERTY ? "MQTT-1.5.7-1" : "MQTT-1.5.4-1";
      return new Fault(ReasonCode.MALFORMED_PACKET, statement, `Property ${name} is not valid UTF-8`);
    }
    case BAD_INTEGER:
      return new Fault(ReasonCode.MALFORMED_PACKET, "MQTT-1.5.5-1", `Property ${name} is not a Variable Byte Integer`);
    case BAD_VALUE:
      if (id === PropertyId.TOPIC_ALIAS) {
        return new Fault(ReasonCode.TOPIC_ALIAS_INVALID, "MQTT-3.3.2-8", "Topic Alias is 0");
      }
      return new Fault(ReasonCode.PROTOCOL_ERROR, "2.2.2.2", `Property ${name} has a value that is not allowed`);
    default:
      return new Fault(ReasonCode.MALFORMED_PACKET, "2.2.2.2", `Property ${name} goes beyond the Property Length`);
  }
}

/**
 * Finds where a property value ends, without looking at its content.
 *
 * @param type A `PropertyType`.
 * @param start First byte after the identifier.
 * @param end One past the last byte of the property area.
 * @returns The offset after the value, or a negative outcome.
 */
export function valueEnd(type: number, bytes: Uint8Array, start: number, end: number): number {
  switch (type) {
    case PropertyType.FLAG:
      return start + 1 <= end ? start + 1 : TRUNCATED;
    case PropertyType.UINT16:
      return start + 2 <= end ? start + 2 : TRUNCATED;
    case PropertyType.UINT32:
      return start + 4 <= end ? start + 4 : TRUNCATED;
    case PropertyType.VARINT: {
      const value = readVariableByteInteger(bytes, start, end);
      if (value >= 0) return start + variableByteIntegerSize(value);
      return value === INTEGER_INCOMPLETE ? TRUNCATED : BAD_INTEGER;
    }
    case PropertyType.PAIR: {
      const nameEnd = lengthPrefixedEnd(bytes, start, end);
      return nameEnd < 0 ? TRUNCATED : lengthPrefixedEnd(bytes, nameEnd, end);
    }
    default:
      return lengthPrefixedEnd(bytes, start, end);
  }
}

/** Reads a Two Byte Integer, big-endian. The caller knows that both bytes exist. [MQTT 5.0, 1.5.2] */
export function readUint16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

/** Reads a Four Byte Integer, big-endian. The caller knows that all four bytes exist. [MQTT 5.0, 1.5.3] */
export function readUint32(bytes: Uint8Array, at: number): number {
  return readUint16(bytes, at) * 0x10000 + readUint16(bytes, at + 2);
}

/** Outcomes of `checkProperty` that are not an offset. */
const TRUNCATED = -1;
const BAD_TEXT = -2;
const BAD_INTEGER = -3;
const BAD_VALUE = -4;
const UNKNOWN = -5;
const REPEATED = -6;

/** A SUBSCRIBE has at most one Subscription Identifier [MQTT 5.0, 3.8.2.1.2]; a PUBLISH may have several. */
function isRepeatable(id: number, owner: number): boolean {
  return id === PropertyId.USER_PROPERTY ||
    (id === PropertyId.SUBSCRIPTION_IDENTIFIER && owner === PacketType.PUBLISH);
}

function lengthPrefixedEnd(bytes: Uint8Array, start: number, end: number): number {
  if (start + 2 > end) return TRUNCATED;
  const next = start + 2 + readUint16(bytes, start);
  return next <= end ? next : TRUNCATED;
}

function isAllZero(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (bytes[at] !== 0) return false;
  return true;
}
