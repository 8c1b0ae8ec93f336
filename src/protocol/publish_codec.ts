/**
 * The fast path: PUBLISH, PUBACK, PUBREC, PUBREL and PUBCOMP, read in place and written in place.
 *
 * No packet object exists for these. A PUBLISH is decoded into a reusable `PublishFrame`, an acknowledgement into a
 * reusable `AckFrame`, and both directions work on the bytes of the read and write buffers.
 *
 *   PUBLISH   0011 DQQR | Remaining Length | Topic Name | [Packet Identifier] | [v5 Properties] | Payload
 *   PUBACK..  type flags| Remaining Length | Packet Identifier | [v5 Reason Code [Properties]]
 */
import type { PacketId } from "./distinct_number.ts";
import { Fault, PacketType, type QoS } from "./packets.ts";
import { PublishProperties, scanAckProperties, scanPublishProperties } from "./properties.ts";
import { ReasonCode } from "./reason_codes.ts";
import { isWellFormedUtf8 } from "./utf8.ts";
import { readVariableByteInteger, variableByteIntegerSize } from "./variable_byte_integer.ts";
import type { WriteBuffer } from "./write_buffer.ts";

/** A PUBLISH as offsets into the packet's bytes; valid until the next decode into the same frame. */
export class PublishFrame {
  qos: QoS = 0;
  retain = false;
  dup = false;
  /** 0 for QoS 0. */
  packetId: PacketId = 0;
  /** Topic Name without its length prefix, which stands in the two bytes before. Empty: a Topic Alias is used. */
  topicStart = 0;
  topicEnd = 0;
  propertiesStart = 0;
  propertiesEnd = 0;
  payloadStart = 0;
  payloadEnd = 0;
  /** What the properties said; only written for v5 packets. */
  readonly properties = new PublishProperties();
}

/** An acknowledgement; valid until the next decode into the same frame. */
export class AckFrame {
  packetId: PacketId = 0;
  reasonCode = 0;
}

/**
 * Decodes a PUBLISH. The Topic Name is not looked at: topic rules belong to the topic cache.
 *
 * @param bytes Holds the whole packet.
 * @param first The first byte of the packet.
 * @param start Offset of the variable header.
 * @param end Offset after the packet.
 * @returns undefined, or the rule that was broken. [MQTT-3.3]
 */
export function decodePublish(
  bytes: Uint8Array,
  first: number,
  start: number,
  end: number,
  isV5: boolean,
  frame: PublishFrame,
): Fault | undefined {
  const qos = (first >> 1) & 3;
  if (qos === 3) return QOS_3;
  frame.qos = qos as QoS;
  frame.retain = (first & 1) !== 0;
  frame.dup = (first & 8) !== 0;
  if (qos === 0 && frame.dup) return DUP_ON_QOS_0;
  if (end - start < 2) return TRUNCATED;
  let offset = start + 2;
  frame.topicStart = offset;
  offset += (bytes[start]! << 8) | bytes[start + 1]!;
  frame.topicEnd = offset;
  frame.packetId = 0;
  if (qos !== 0) {
    offset += 2;
    if (offset > end) return TRUNCATED;
    const packetId = (bytes[offset - 2]! << 8) | bytes[offset - 1]!;
    if (packetId === 0) return PACKET_ID_0;
    frame.packetId = packetId;
  } else if (offset > end) return TRUNCATED;
  if (isV5) {
    const fault = decodePublishProperties(bytes, offset, end, frame);
    if (fault !== undefined) return fault;
  } else {
    frame.propertiesStart = frame.propertiesEnd = frame.payloadStart = offset;
  }
  frame.payloadEnd = end;
  return undefined;
}

function decodePublishProperties(
  bytes: Uint8Array,
  start: number,
  end: number,
  frame: PublishFrame,
): Fault | undefined {
  const size = readVariableByteInteger(bytes, start, end);
  if (size < 0) return TRUNCATED;
  frame.propertiesStart = start + variableByteIntegerSize(size);
  frame.propertiesEnd = frame.payloadStart = frame.propertiesStart + size;
  if (frame.propertiesEnd > end) return TRUNCATED;
  const fault = scanPublishProperties(bytes, frame.propertiesStart, frame.propertiesEnd, frame.properties);
  if (fault !== undefined) return fault;
  // [MQTT-3.3.4-6] Subscription Identifiers travel from the Server only.
  if (frame.properties.subscriptionIdentifierSeen) return SUBSCRIPTION_IDENTIFIER_FROM_CLIENT;
  return undefined;
}

/** True when the payload keeps the promise of its Payload Format Indicator. [MQTT-3.3.2-4] */
export function isPayloadFormatValid(bytes: Uint8Array, frame: PublishFrame): boolean {
  return !frame.properties.payloadFormatUtf8 || isWellFormedUtf8(bytes, frame.payloadStart, frame.payloadEnd);
}

/**
 * Decodes PUBACK, PUBREC, PUBREL or PUBCOMP.
 *
 * @param type Packet type, see `PacketType`.
 * @param first The first byte of the packet; its reserved flags are checked. [MQTT-2.1.3-1]
 * @returns undefined, or the rule that was broken.
 */
export function decodeAck(
  bytes: Uint8Array,
  first: number,
  start: number,
  end: number,
  isV5: boolean,
  frame: AckFrame,
): Fault | undefined {
  const type = first >> 4;
  if ((first & 15) !== (type === PacketType.PUBREL ? 2 : 0)) return RESERVED_FLAGS;
  const length = end - start;
  if (length < 2 || (!isV5 && length > 2)) return ACK_LENGTH;
  frame.packetId = (bytes[start]! << 8) | bytes[start + 1]!;
  if (frame.packetId === 0) return PACKET_ID_0;
  frame.reasonCode = 0;
  if (length === 2) return undefined;
  frame.reasonCode = bytes[start + 2]!;
  if (!isAckReasonCode(type, frame.reasonCode)) return ACK_REASON_CODE;
  if (length === 3) return undefined;
  const size = readVariableByteInteger(bytes, start + 3, end);
  if (size < 0) return ACK_LENGTH;
  const propertiesStart = start + 3 + variableByteIntegerSize(size);
  return propertiesStart + size === end ? scanAckProperties(bytes, propertiesStart, end) : ACK_LENGTH;
}

function isAckReasonCode(type: number, code: number): boolean {
  if (type === PacketType.PUBREL || type === PacketType.PUBCOMP) {
    return code === 0 || code === ReasonCode.PACKET_IDENTIFIER_NOT_FOUND;
  }
  switch (code) {
    case ReasonCode.SUCCESS:
    case ReasonCode.NO_MATCHING_SUBSCRIBERS:
    case ReasonCode.UNSPECIFIED_ERROR:
    case ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR:
    case ReasonCode.NOT_AUTHORIZED:
    case ReasonCode.TOPIC_NAME_INVALID:
    case ReasonCode.PACKET_IDENTIFIER_IN_USE:
    case ReasonCode.QUOTA_EXCEEDED:
    case ReasonCode.PAYLOAD_FORMAT_INVALID:
      return true;
    default:
      return false;
  }
}

/** First bytes of the acknowledgements. [MQTT 5.0, 3.4 to 3.7] */
export const AckHeader = { PUBACK: 0x40, PUBREC: 0x50, PUBREL: 0x62, PUBCOMP: 0x70 } as const;

/**
 * Writes an acknowledgement: 4 bytes, or 5 with a Reason Code other than Success to a v5 peer.
 *
 * @param header One of `AckHeader`.
 * @param reasonCode 0 towards a v3 peer, which has no place for it.
 */
export function writeAck(out: WriteBuffer, header: number, packetId: PacketId, reasonCode: number): void {
  out.reserve(5);
  const bytes = out.bytes;
  const offset = out.length;
  bytes[offset] = header;
  bytes[offset + 2] = packetId >> 8;
  bytes[offset + 3] = packetId & 0xff;
  if (reasonCode === 0) {
    bytes[offset + 1] = 2;
    out.length = offset + 4;
  } else {
    bytes[offset + 1] = 3;
    bytes[offset + 4] = reasonCode;
    out.length = offset + 5;
  }
}

const QOS_3 = new Fault(ReasonCode.MALFORMED_PACKET, "MQTT-3.3.1-4", "PUBLISH with both QoS bits set");
const DUP_ON_QOS_0 = new Fault(ReasonCode.MALFORMED_PACKET, "MQTT-3.3.1-2", "PUBLISH with DUP set at QoS 0");
const TRUNCATED = new Fault(ReasonCode.MALFORMED_PACKET, "MQTT-3.3", "PUBLISH shorter than its fields");
const PACKET_ID_0 = new Fault(ReasonCode.PROTOCOL_ERROR, "MQTT-2.2.1-3", "Packet Identifier is 0");
const SUBSCRIPTION_IDENTIFIER_FROM_CLIENT = new Fault(
  ReasonCode.PROTOCOL_ERROR,
  "MQTT-3.3.4-6",
  "PUBLISH from a client carries a Subscription Identifier",
);
const RESERVED_FLAGS = new Fault(ReasonCode.MALFORMED_PACKET, "MQTT-2.1.3-1", "reserved flags are not as required");
const ACK_LENGTH = new Fault(ReasonCode.MALFORMED_PACKET, "MQTT-3.4", "acknowledgement with a wrong length");
const ACK_REASON_CODE = new Fault(ReasonCode.PROTOCOL_ERROR, "MQTT-3.4.2-1", "Reason Code not allowed in this packet");
