/**
 * The rare packets a server sends: CONNACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT and AUTH, from values to bytes.
 *
 * Reason String and User Properties are a courtesy: when they would make a packet larger than the client's Maximum
 * Packet Size, first the User Properties and then the Reason String are left out [MQTT-3.2.2-19] [MQTT-3.2.2-20]
 * [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.11.2-1] [MQTT-3.11.2-2] [MQTT-3.14.2-3] [MQTT-3.14.2-4] [MQTT-3.15.2-2]
 * [MQTT-3.15.2-3]. What is still too large then is returned nevertheless: whether to send is the caller's decision
 * [MQTT-3.1.2-24].
 */

import type { PacketId } from "./distinct_number.ts";
import { PacketWriter } from "./packet_writer.ts";
import { type ConnackProperties, PacketType, type ProtocolVersion, type UserProperty } from "./packets.ts";
import type { Properties } from "./properties.ts";
import { encodeProperties } from "./property_encoder.ts";
import { connectReturnCode, ReasonCode, SUBACK_FAILURE_V3 } from "./reason_codes.ts";

/** What may accompany an acknowledgement or a DISCONNECT; never sent to a v3 client. */
export interface PacketDetails {
  readonly reasonString?: string | undefined;
  readonly userProperties?: readonly UserProperty[] | undefined;
}

/** What may accompany a DISCONNECT. */
export interface DisconnectDetails extends PacketDetails {
  /** Where to go instead, with 0x9C Use another server or 0x9D Server moved. [MQTT 5.0, 4.11] */
  readonly serverReference?: string | undefined;
}

/** What an AUTH carries. */
export interface AuthDetails extends PacketDetails {
  readonly authenticationMethod: string;
  readonly authenticationData?: Uint8Array | undefined;
}

/**
 * Encodes a CONNACK. [MQTT 5.0, 3.2]
 *
 * @param version What the client speaks; v3 gets the return code that `code` translates to, and no properties.
 * @param sessionPresent Sent only with Success [MQTT-3.2.2-6], and not in MQTT 3.1, which has no such flag.
 * @param code Success or a Reason Code of at least 0x80.
 * @param maxPacketSize The client's Maximum Packet Size in bytes. The same below.
 */
export function encodeConnack(
  version: ProtocolVersion,
  sessionPresent: boolean,
  code: number,
  properties: ConnackProperties,
  maxPacketSize: number = Infinity,
): Uint8Array {
  const flags = sessionPresent && code === ReasonCode.SUCCESS && version !== 3 ? 1 : 0;
  if (version !== 5) {
    const returnCode = code === ReasonCode.SUCCESS ? 0 : connectReturnCode(code);
    return frame(PacketType.CONNACK, Uint8Array.of(flags, returnCode));
  }
  return fit(PacketType.CONNACK, Uint8Array.of(flags, code), properties, NO_BYTES, maxPacketSize);
}

/**
 * Encodes a SUBACK. [MQTT 5.0, 3.9]
 *
 * @param codes One Reason Code per Topic Filter in the order of the SUBSCRIBE [MQTT-3.9.3-1]: the granted QoS or a
 *   failure, which v3 knows only as 0x80.
 */
export function encodeSuback(
  version: ProtocolVersion,
  packetId: PacketId,
  codes: readonly number[],
  details: PacketDetails = {},
  maxPacketSize: number = Infinity,
): Uint8Array {
  if (version === 5) {
    return fit(PacketType.SUBACK, uint16(packetId), details, Uint8Array.from(codes), maxPacketSize);
  }
  const codesV3 = codes.map((code) => code >= 0x80 ? SUBACK_FAILURE_V3 : code);
  return frame(PacketType.SUBACK, uint16(packetId), Uint8Array.from(codesV3));
}

/**
 * Encodes an UNSUBACK. [MQTT 5.0, 3.11]
 *
 * @param codes One Reason Code per Topic Filter in the order of the UNSUBSCRIBE [MQTT-3.11.3-1]; v3 sends none.
 */
export function encodeUnsuback(
  version: ProtocolVersion,
  packetId: PacketId,
  codes: readonly number[],
  details: PacketDetails = {},
  maxPacketSize: number = Infinity,
): Uint8Array {
  if (version !== 5) return frame(PacketType.UNSUBACK, uint16(packetId));
  return fit(PacketType.UNSUBACK, uint16(packetId), details, Uint8Array.from(codes), maxPacketSize);
}

/** Encodes a PINGRESP. [MQTT-3.12.4-1] */
export function encodePingresp(): Uint8Array {
  return frame(PacketType.PINGRESP);
}

/**
 * Encodes a DISCONNECT for a v5 client; a server of v3 closes without one. [MQTT 5.0, 3.14]
 *
 * There is no Session Expiry Interval: a server must not send it [MQTT-3.14.2-2].
 */
export function encodeDisconnect(
  reasonCode: number,
  details: DisconnectDetails = {},
  maxPacketSize: number = Infinity,
): Uint8Array {
  if (hasDetails(details)) {
    return fit(PacketType.DISCONNECT, Uint8Array.of(reasonCode), details, NO_BYTES, maxPacketSize);
  }
  return reasonCode === ReasonCode.SUCCESS
    ? frame(PacketType.DISCONNECT)
    : frame(PacketType.DISCONNECT, Uint8Array.of(reasonCode));
}

/** Encodes an AUTH. [MQTT 5.0, 3.15] */
export function encodeAuth(reasonCode: number, details: AuthDetails, maxPacketSize: number = Infinity): Uint8Array {
  return fit(PacketType.AUTH, Uint8Array.of(reasonCode), details, NO_BYTES, maxPacketSize);
}

const NO_BYTES = new Uint8Array(0);

function hasDetails(details: DisconnectDetails): boolean {
  return details.reasonString !== undefined || details.serverReference !== undefined ||
    (details.userProperties !== undefined && details.userProperties.length > 0);
}

/** Frames `head`, properties and `tail`, leaving out the courtesies that `maxPacketSize` has no room for. */
function fit(
  type: number,
  head: Uint8Array,
  details: ConnackProperties | DisconnectDetails | AuthDetails,
  tail: Uint8Array,
  maxPacketSize: number,
): Uint8Array {
  const properties = details as Properties;
  const whole = frameWithProperties(type, head, properties, tail);
  if (whole.length <= maxPacketSize) return whole;
  const { userProperties: _unsent, ...withReason } = properties;
  const shorter = frameWithProperties(type, head, withReason, tail);
  if (shorter.length <= maxPacketSize) return shorter;
  const { reasonString: _unsaid, ...bare } = withReason;
  return frameWithProperties(type, head, bare, tail);
}

function frameWithProperties(type: number, head: Uint8Array, properties: Properties, tail: Uint8Array): Uint8Array {
  const area = encodeProperties(properties);
  const length = new PacketWriter();
  length.variableByteInteger(area.length);
  return frame(type, head, length.toBytes(), area, tail);
}

/** Every packet here has reserved flags of 0. */
function frame(type: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const writer = new PacketWriter();
  writer.uint8(type << 4);
  writer.variableByteInteger(parts.reduce((total, part) => total + part.length, 0));
  for (const part of parts) writer.raw(part);
  return writer.toBytes();
}

function uint16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}
