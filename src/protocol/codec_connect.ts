/**
 * CONNECT: from bytes to a `ConnectPacket` with the defaults of its version filled in. [MQTT 5.0, 3.1]
 *
 *   Protocol Name | Level | Connect Flags | Keep Alive | [v5 Properties]
 *   Client Identifier | [Will: [v5 Properties] Topic, Payload] | [User Name] | [Password]
 *
 * How a CONNECT that breaks a rule is answered depends on the version it speaks:
 *
 * | what is wrong                                | result                                 | the caller                |
 * |----------------------------------------------|----------------------------------------|---------------------------|
 * | Protocol Name, or the Level cannot be read   | `Fault`                                | closes without a word     |
 * | Level is not 3, 4 or 5                       | `ConnectFault` 0x84                    | CONNACK, closes           |
 * | anything in a v5 CONNECT                     | `ConnectFault`, version 5              | CONNACK, closes           |
 * | anything in a v3 CONNECT                     | `Fault`                                | closes [MQTT-3.1.4-1]     |
 *
 * (Reserved flags in the fixed header are refused in `codec.ts`, before the version is known: a plain `Fault`.)
 *
 * Not checked here: the length of the Client Identifier, whether it may be empty, and the topic rules of the Will.
 */

import { type ConnectPacket, Fault, PacketType, type ProtocolVersion, type QoS, type Will } from "./packets.ts";
import { PacketReader } from "./packet_reader.ts";
import { copyForwardableProperties, type Properties } from "./properties.ts";
import { WILL_OWNER } from "./property_table.ts";
import { ReasonCode } from "./reason_codes.ts";
import { ConnectFlag, validateConnectFlags } from "./validate.ts";
import { VARIABLE_BYTE_INTEGER_MAX } from "./variable_byte_integer.ts";

/** A fault in a CONNECT that is answered with a CONNACK before the connection is closed. */
export class ConnectFault extends Fault {
  /** @param connackVersion The version in which the CONNACK is encoded. The other parameters are those of `Fault`. */
  constructor(reasonCode: number, statement: string, text: string, readonly connackVersion: ProtocolVersion) {
    super(reasonCode, statement, text);
  }
}

/**
 * Decodes the body of a CONNECT.
 *
 * @param bytes Holds the packet; nothing in the result refers to it.
 * @param start Offset of the variable header.
 * @param end Offset after the packet.
 * @returns The packet, a `ConnectFault` (answer, then close), or a plain `Fault` (close).
 */
export function decodeConnect(bytes: Uint8Array, start: number, end: number): ConnectPacket | Fault {
  const reader = new PacketReader(bytes, start, end);
  const name = reader.text("Protocol Name");
  const level = reader.uint8("Protocol Level");
  if (reader.fault !== undefined) return reader.fault;
  if (name !== "MQTT" && name !== "MQIsdp") {
    return new Fault(ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, "MQTT-3.1.2-1", "Protocol Name is not MQTT");
  }
  if (name === "MQIsdp" ? level !== 3 : level !== 4 && level !== 5) {
    const text = `Protocol Level ${level} of ${name} is not supported`;
    return new ConnectFault(ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, "MQTT-3.1.2-2", text, connackVersion(level));
  }
  const result = decodeBody(reader, level as ProtocolVersion);
  if (level === 5 && result instanceof Fault) {
    return new ConnectFault(result.reasonCode, result.statement, result.text, 5);
  }
  return result;
}

/** The largest packet that can exist: a fixed header of five bytes and the largest Remaining Length. */
const PACKET_SIZE_MAX = VARIABLE_BYTE_INTEGER_MAX + 5;

const RECEIVE_MAXIMUM_DEFAULT = 65_535;

const NEVER_EXPIRES = 0xffff_ffff;

/**
 * A peer that asks for more than 5 belongs to the v5 family; an older one expects return code 1. [MQTT-3.1.2-2]
 * Bridges of other brokers announce themselves with the top bit of the Level set and retry without it when they
 * are refused in their own version, so that bit does not count.
 */
function connackVersion(level: number): ProtocolVersion {
  const plain = level & 0x7f;
  if (plain === 3) return 3;
  return plain < 5 ? 4 : 5;
}

function decodeBody(reader: PacketReader, version: ProtocolVersion): ConnectPacket | Fault {
  const flags = reader.uint8("Connect Flags");
  const flagsFault = validateConnectFlags(flags, version);
  if (flagsFault !== undefined) reader.fail(flagsFault);
  const keepAliveSeconds = reader.uint16("Keep Alive");
  const properties = version === 5 ? reader.properties(PacketType.CONNECT) : {};
  const clientId = reader.text("Client Identifier");
  const will = (flags & ConnectFlag.WILL) !== 0 ? decodeWill(reader, flags, version) : undefined;
  const hasUsername = (flags & ConnectFlag.USER_NAME) !== 0 && !isLeftOut(reader, version);
  const username = hasUsername ? reader.text("User Name") : undefined;
  const hasPassword = (flags & ConnectFlag.PASSWORD) !== 0 && !isLeftOut(reader, version);
  const password = hasPassword ? reader.binary("Password") : undefined;
  reader.finish();
  if (properties.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    const text = "Authentication Data is there without Authentication Method";
    reader.fail(new Fault(ReasonCode.PROTOCOL_ERROR, "3.1.2.11.10", text));
  }
  if (reader.fault !== undefined) return reader.fault;
  const cleanStart = (flags & ConnectFlag.CLEAN_START) !== 0;
  const sessionExpiryV3 = cleanStart ? 0 : NEVER_EXPIRES;
  return {
    type: PacketType.CONNECT,
    version,
    cleanStart,
    keepAliveSeconds,
    clientId,
    username,
    password,
    will,
    sessionExpiryInterval: version === 5 ? properties.sessionExpiryInterval ?? 0 : sessionExpiryV3,
    receiveMaximum: properties.receiveMaximum ?? RECEIVE_MAXIMUM_DEFAULT,
    maximumPacketSize: properties.maximumPacketSize ?? PACKET_SIZE_MAX,
    topicAliasMaximum: properties.topicAliasMaximum ?? 0,
    requestResponseInformation: properties.requestResponseInformation ?? false,
    requestProblemInformation: properties.requestProblemInformation ?? true,
    userProperties: properties.userProperties ?? [],
    authenticationMethod: properties.authenticationMethod,
    authenticationData: properties.authenticationData,
  };
}

/**
 * MQTT 3.1 lets the Remaining Length win over the User Name and Password flags: a field that would begin after the
 * end of the packet is absent. [MQTT 3.1, 3.1]
 */
function isLeftOut(reader: PacketReader, version: ProtocolVersion): boolean {
  return version === 3 && reader.remaining === 0;
}

function decodeWill(reader: PacketReader, flags: number, version: ProtocolVersion): Will {
  const properties: Properties = version === 5 ? reader.properties(WILL_OWNER) : {};
  const forwarded = version === 5 ? forwardableWillProperties(reader) : NO_BYTES;
  const topic = reader.text("Will Topic");
  const payload = reader.binary("Will Payload");
  if (/[#+]/.test(properties.responseTopic ?? "")) {
    const text = "Response Topic of the Will contains a wildcard character";
    reader.fail(new Fault(ReasonCode.PROTOCOL_ERROR, "MQTT-3.3.2-14", text));
  }
  return {
    topic,
    payload,
    qos: ((flags & ConnectFlag.WILL_QOS) >> 3) as QoS,
    retain: (flags & ConnectFlag.WILL_RETAIN) !== 0,
    willDelayInterval: properties.willDelayInterval ?? 0,
    messageExpiryInterval: properties.messageExpiryInterval,
    properties: forwarded,
    isUtf8: properties.payloadFormatIndicator ?? false,
  };
}

const NO_BYTES = new Uint8Array(0);

function forwardableWillProperties(reader: PacketReader): Uint8Array {
  if (reader.fault !== undefined) return NO_BYTES;
  const { bytes, propertiesStart, propertiesEnd } = reader;
  const target = new Uint8Array(propertiesEnd - propertiesStart);
  return target.slice(0, copyForwardableProperties(bytes, propertiesStart, propertiesEnd, target, 0));
}
