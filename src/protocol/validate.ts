/**
 * The rules about flags and codes of the packets a client sends, one function per field.
 *
 * Each takes the raw value and answers with a fault or nothing. Text, lengths and properties are checked where they
 * are read (`packet_reader.ts`, `property_check.ts`); topic rules belong to `topics/`.
 *
 * Statement ids are those of MQTT 5.0. Where only MQTT 3.1.1 has the rule, the id is followed by `(3.1.1)`.
 */

import type { PacketId } from "./distinct_number.ts";
import { Fault, PacketType, type ProtocolVersion } from "./packets.ts";
import { ReasonCode } from "./reason_codes.ts";

/** Bits of the Connect Flags. [MQTT 5.0, 3.1.2.3] */
export const ConnectFlag = {
  RESERVED: 0x01,
  CLEAN_START: 0x02,
  WILL: 0x04,
  WILL_QOS: 0x18,
  WILL_RETAIN: 0x20,
  PASSWORD: 0x40,
  USER_NAME: 0x80,
} as const;

/**
 * Checks the low nibble of the first byte of a packet other than PUBLISH. [MQTT-2.1.3-1]
 *
 * MQTT 3.1 gives SUBSCRIBE and UNSUBSCRIBE a DUP flag for their repetition. [MQTT 3.1, 2.1]
 */
export function validateHeaderFlags(type: number, flags: number, version: ProtocolVersion): Fault | undefined {
  const isRequest = type === PacketType.SUBSCRIBE || type === PacketType.UNSUBSCRIBE;
  const relevant = isRequest && version === 3 ? flags & 0x07 : flags;
  if (relevant === (isRequest ? 2 : 0)) return undefined;
  return new Fault(
    ReasonCode.MALFORMED_PACKET,
    "MQTT-2.1.3-1",
    "Reserved flags of the fixed header are not as required",
  );
}

/** Checks the Connect Flags of a CONNECT. [MQTT 5.0, 3.1.2.3] */
export function validateConnectFlags(flags: number, version: ProtocolVersion): Fault | undefined {
  // MQTT 3.1 has no meaning for the bit and no rule about it.
  if (version !== 3 && (flags & ConnectFlag.RESERVED) !== 0) {
    return malformed("MQTT-3.1.2-3", "Reserved Connect Flag is set");
  }
  const willQoS = (flags & ConnectFlag.WILL_QOS) >> 3;
  if ((flags & ConnectFlag.WILL) === 0) {
    if (willQoS !== 0) return malformed("MQTT-3.1.2-11", "Will QoS is set without Will Flag");
    if ((flags & ConnectFlag.WILL_RETAIN) !== 0) {
      return malformed("MQTT-3.1.2-13", "Will Retain is set without Will Flag");
    }
  }
  if (willQoS === 3) return malformed("MQTT-3.1.2-12", "Will QoS is 3");
  // MQTT 5 allows a Password alone, for credentials that are not a password.
  if (version !== 5 && (flags & ConnectFlag.PASSWORD) !== 0 && (flags & ConnectFlag.USER_NAME) === 0) {
    return malformed("MQTT-3.1.2-22 (3.1.1)", "Password Flag is set without User Name Flag");
  }
  return undefined;
}

/** Checks the Packet Identifier of a SUBSCRIBE or UNSUBSCRIBE. [MQTT-2.2.1-3] */
export function validatePacketId(packetId: PacketId): Fault | undefined {
  return packetId === 0 ? protocolError("MQTT-2.2.1-3", "Packet Identifier is 0") : undefined;
}

/**
 * Checks one Subscription Options byte together with the filter it belongs to. [MQTT 5.0, 3.8.3.1]
 *
 * In v3 the byte is a QoS and its six high bits are reserved.
 */
export function validateSubscriptionOptions(
  options: number,
  filter: string,
  version: ProtocolVersion,
): Fault | undefined {
  if (version !== 5) {
    return options > 2 ? malformed("MQTT-3-8.3-4 (3.1.1)", "Requested QoS is neither 0, 1 nor 2") : undefined;
  }
  if ((options & 0xc0) !== 0) return malformed("MQTT-3.8.3-5", "Reserved bits of the Subscription Options are set");
  if ((options & 0x03) === 3) return protocolError("3.8.3.1", "Maximum QoS of a subscription is 3");
  if ((options & 0x30) === 0x30) return protocolError("3.8.3.1", "Retain Handling is 3");
  if ((options & 0x04) !== 0 && filter.startsWith("$share/")) {
    return protocolError("MQTT-3.8.3-4", "No Local is set on a Shared Subscription");
  }
  return undefined;
}

/** Checks that a client may send this Reason Code in a DISCONNECT. [MQTT-3.14.2-1] */
export function validateDisconnectReason(reasonCode: number): Fault | undefined {
  if (CLIENT_DISCONNECT_REASONS.has(reasonCode)) return undefined;
  return protocolError("MQTT-3.14.2-1", "DISCONNECT has a Reason Code that a client does not send");
}

/** Checks that a client may send this Reason Code in an AUTH: Success is the server's. [MQTT-3.15.2-1] */
export function validateAuthReason(reasonCode: number): Fault | undefined {
  if (reasonCode === ReasonCode.CONTINUE_AUTHENTICATION || reasonCode === ReasonCode.RE_AUTHENTICATE) return undefined;
  return protocolError("MQTT-3.15.2-1", "AUTH has a Reason Code that a client does not send");
}

/** The Reason Codes whose sender column names the client. [MQTT 5.0, 3.14.2.1] */
const CLIENT_DISCONNECT_REASONS: ReadonlySet<number> = new Set([
  ReasonCode.SUCCESS,
  ReasonCode.DISCONNECT_WITH_WILL_MESSAGE,
  ReasonCode.UNSPECIFIED_ERROR,
  ReasonCode.MALFORMED_PACKET,
  ReasonCode.PROTOCOL_ERROR,
  ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
  ReasonCode.TOPIC_NAME_INVALID,
  ReasonCode.RECEIVE_MAXIMUM_EXCEEDED,
  ReasonCode.TOPIC_ALIAS_INVALID,
  ReasonCode.PACKET_TOO_LARGE,
  ReasonCode.MESSAGE_RATE_TOO_HIGH,
  ReasonCode.QUOTA_EXCEEDED,
  ReasonCode.ADMINISTRATIVE_ACTION,
  ReasonCode.PAYLOAD_FORMAT_INVALID,
]);

function malformed(statement: string, text: string): Fault {
  return new Fault(ReasonCode.MALFORMED_PACKET, statement, text);
}

function protocolError(statement: string, text: string): Fault {
  return new Fault(ReasonCode.PROTOCOL_ERROR, statement, text);
}
