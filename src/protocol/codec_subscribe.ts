/**
 * SUBSCRIBE and UNSUBSCRIBE: from bytes to values. [MQTT 5.0, 3.8 and 3.10]
 *
 *   SUBSCRIBE     Packet Identifier | [v5 Properties] | (Topic Filter, Subscription Options)+
 *   UNSUBSCRIBE   Packet Identifier | [v5 Properties] | (Topic Filter)+
 *
 * Filters are legal UTF-8 here and no more: whether one is a valid Topic Filter is answered per filter in the
 * acknowledgement, by those who know topics.
 */

import {
  Fault,
  PacketType,
  type ProtocolVersion,
  type QoS,
  type SubscribePacket,
  type SubscriptionRequest,
  type UnsubscribePacket,
} from "./packets.ts";
import { PacketReader } from "./packet_reader.ts";
import { ReasonCode } from "./reason_codes.ts";
import { validatePacketId, validateSubscriptionOptions } from "./validate.ts";

/**
 * Decodes the body of a SUBSCRIBE.
 *
 * @param start Offset of the variable header.
 * @param end Offset after the packet, which bounds the number of subscriptions.
 */
export function decodeSubscribe(
  bytes: Uint8Array,
  start: number,
  end: number,
  version: ProtocolVersion,
): SubscribePacket | Fault {
  const reader = new PacketReader(bytes, start, end);
  const packetId = readPacketId(reader);
  const properties = version === 5 ? reader.properties(PacketType.SUBSCRIBE) : {};
  const subscriptions: SubscriptionRequest[] = [];
  while (reader.remaining > 0) {
    const filter = reader.text("Topic Filter");
    const options = reader.uint8("Subscription Options");
    const fault = validateSubscriptionOptions(options, filter, version);
    if (fault !== undefined) reader.fail(fault);
    subscriptions.push({
      filter,
      qos: (options & 0x03) as QoS,
      noLocal: (options & 0x04) !== 0,
      retainAsPublished: (options & 0x08) !== 0,
      retainHandling: ((options >> 4) & 0x03) as 0 | 1 | 2,
    });
  }
  if (subscriptions.length === 0) {
    reader.fail(new Fault(ReasonCode.PROTOCOL_ERROR, "MQTT-3.8.3-2", "SUBSCRIBE has no Topic Filter"));
  }
  if (reader.fault !== undefined) return reader.fault;
  return {
    type: PacketType.SUBSCRIBE,
    packetId,
    subscriptions,
    subscriptionIdentifier: properties.subscriptionIdentifiers?.[0] ?? 0,
    userProperties: properties.userProperties ?? [],
  };
}

/**
 * Decodes the body of an UNSUBSCRIBE.
 *
 * @param start Offset of the variable header.
 * @param end Offset after the packet, which bounds the number of filters.
 */
export function decodeUnsubscribe(
  bytes: Uint8Array,
  start: number,
  end: number,
  version: ProtocolVersion,
): UnsubscribePacket | Fault {
  const reader = new PacketReader(bytes, start, end);
  const packetId = readPacketId(reader);
  const properties = version === 5 ? reader.properties(PacketType.UNSUBSCRIBE) : {};
  const filters: string[] = [];
  while (reader.remaining > 0) filters.push(reader.text("Topic Filter"));
  if (filters.length === 0) {
    reader.fail(new Fault(ReasonCode.PROTOCOL_ERROR, "MQTT-3.10.3-2", "UNSUBSCRIBE has no Topic Filter"));
  }
  if (reader.fault !== undefined) return reader.fault;
  return { type: PacketType.UNSUBSCRIBE, packetId, filters, userProperties: properties.userProperties ?? [] };
}

function readPacketId(reader: PacketReader): number {
  const packetId = reader.uint16("Packet Identifier");
  const fault = validatePacketId(packetId);
  if (fault !== undefined) reader.fail(fault);
  return packetId;
}
