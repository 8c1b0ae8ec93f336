/**
 * The way in for the rare packets: one whole packet in, a value or a fault out.
 *
 * CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT and AUTH come a few times per connection; they become plain
 * objects. PUBLISH and its acknowledgements are read in place by `publish_codec.ts` and never come here. The encoders
 * of the server's side are in `codec_encode.ts`.
 *
 * The decoders work on the wire bytes themselves: see `docs/decisions/0002-codec.md`.
 *
 * Invariant: a packet is consumed to its last byte or it is a fault; no input throws.
 */

import { decodeConnect } from "./codec_connect.ts";
import { decodeSubscribe, decodeUnsubscribe } from "./codec_subscribe.ts";
import {
  type AuthPacket,
  type ClientPacket,
  type DisconnectPacket,
  Fault,
  PacketType,
  type ProtocolVersion,
} from "./packets.ts";
import { PacketReader } from "./packet_reader.ts";
import { ReasonCode } from "./reason_codes.ts";
import { validateAuthReason, validateDisconnectReason, validateHeaderFlags } from "./validate.ts";
import { readVariableByteInteger, variableByteIntegerSize } from "./variable_byte_integer.ts";

/**
 * Decodes one packet from a client.
 *
 * @param packet Exactly one packet, fixed header included. Nothing in the result refers to it.
 * @param version Protocol version of the connection; a CONNECT says its own, the argument is ignored.
 * @returns The packet, or a fault: 0x81 malformed, 0x82 protocol error, 0x84 unsupported version. For a CONNECT,
 *   a `ConnectFault` is answered with a CONNACK; any other fault of it is not answered. [MQTT 5.0, 4.13]
 */
export function decodeClientPacket(packet: Uint8Array, version: ProtocolVersion): ClientPacket | Fault {
  const remainingLength = readVariableByteInteger(packet, 1, packet.length);
  if (remainingLength < 0) return malformed("MQTT-1.5.5-1", "Remaining Length cannot be read");
  const start = 1 + variableByteIntegerSize(remainingLength);
  const end = packet.length;
  if (start + remainingLength !== end) return malformed("2.1.4", "Remaining Length is not the length of the packet");
  const type = packet[0]! >> 4;
  const flagsFault = validateHeaderFlags(type, packet[0]! & 0x0f, type === PacketType.CONNECT ? 4 : version);
  if (flagsFault !== undefined) return flagsFault;
  switch (type) {
    case PacketType.CONNECT:
      return decodeConnect(packet, start, end);
    case PacketType.SUBSCRIBE:
      return decodeSubscribe(packet, start, end, version);
    case PacketType.UNSUBSCRIBE:
      return decodeUnsubscribe(packet, start, end, version);
    case PacketType.PINGREQ:
      if (start !== end) return malformed("3.12", "PINGREQ has a body");
      return { type: PacketType.PINGREQ };
    case PacketType.DISCONNECT:
      return decodeDisconnect(packet, start, end, version);
    case PacketType.AUTH:
      return decodeAuth(packet, start, end, version);
    default:
      return new Fault(ReasonCode.PROTOCOL_ERROR, "2.1.2", `Packet type ${type} does not come from a client`);
  }
}

function decodeDisconnect(
  bytes: Uint8Array,
  start: number,
  end: number,
  version: ProtocolVersion,
): DisconnectPacket | Fault {
  const reader = new PacketReader(bytes, start, end);
  // Either part may be left out, from the end. [MQTT 5.0, 3.14.2.1 and 3.14.2.2.1]
  const reasonCode = version === 5 && reader.remaining > 0 ? reader.uint8("Reason Code") : ReasonCode.SUCCESS;
  const properties = version === 5 && reader.remaining > 0 ? reader.properties(PacketType.DISCONNECT) : {};
  reader.finish();
  const fault = reader.fault ?? validateDisconnectReason(reasonCode);
  if (fault !== undefined) return fault;
  return {
    type: PacketType.DISCONNECT,
    reasonCode,
    sessionExpiryInterval: properties.sessionExpiryInterval,
    reasonString: properties.reasonString,
    userProperties: properties.userProperties ?? [],
  };
}

function decodeAuth(bytes: Uint8Array, start: number, end: number, version: ProtocolVersion): AuthPacket | Fault {
  if (version !== 5) return new Fault(ReasonCode.PROTOCOL_ERROR, "2.1.2", "AUTH does not exist before MQTT 5");
  const reader = new PacketReader(bytes, start, end);
  // An empty body stands for Success, which a client never sends. [MQTT 5.0, 3.15.2.1]
  const reasonCode = start === end ? ReasonCode.SUCCESS : reader.uint8("Reason Code");
  const properties = start === end ? {} : reader.properties(PacketType.AUTH);
  reader.finish();
  const fault = reader.fault ?? validateAuthReason(reasonCode);
  if (fault !== undefined) return fault;
  if (properties.authenticationMethod === undefined) {
    return new Fault(ReasonCode.PROTOCOL_ERROR, "3.15.2.2.2", "AUTH has no Authentication Method");
  }
  return {
    type: PacketType.AUTH,
    reasonCode,
    authenticationMethod: properties.authenticationMethod,
    authenticationData: properties.authenticationData,
    reasonString: properties.reasonString,
    userProperties: properties.userProperties ?? [],
  };
}

function malformed(statement: string, text: string): Fault {
  return new Fault(ReasonCode.MALFORMED_PACKET, statement, text);
}
