/**
 * The shape of a row in the golden packet tables, and what the tables share.
 *
 * `bytes` is the packet as it stands on the wire, in hexadecimal; blanks separate the fields. Titles end with the
 * statements that the row proves.
 */

import {
  type ConnectPacket,
  Fault,
  PacketType,
  type ProtocolVersion,
  type Will,
} from "../../../src/protocol/packets.ts";
import { ConnectFault } from "../../../src/protocol/codec_connect.ts";

/** A packet from a client and what the decoder makes of it. */
export interface ClientRow {
  readonly title: string;
  readonly version: ProtocolVersion;
  readonly bytes: string;
  /** The value, or the fault by Reason Code and statement (its text is not part of the contract). */
  readonly expected: unknown;
  /** Sizes at which the body, cut there and with its length repaired, is another legal packet. */
  readonly legalBodySizes?: readonly number[];
}

/** A packet from the server: what is encoded, and the bytes it becomes. */
export interface ServerRow {
  readonly title: string;
  readonly encode: () => Uint8Array;
  readonly bytes: string;
}

/** A CONNECT of MQTT 5 with nothing but defaults; rows spread it and say what differs. */
export const CONNECT_V5: ConnectPacket = {
  type: PacketType.CONNECT,
  version: 5,
  cleanStart: true,
  keepAliveSeconds: 60,
  clientId: "c",
  username: undefined,
  password: undefined,
  will: undefined,
  sessionExpiryInterval: 0,
  receiveMaximum: 65_535,
  maximumPacketSize: 268_435_460,
  topicAliasMaximum: 0,
  requestResponseInformation: false,
  requestProblemInformation: true,
  userProperties: [],
  authenticationMethod: undefined,
  authenticationData: undefined,
};

/** The same in MQTT 3.1.1. */
export const CONNECT_V4: ConnectPacket = { ...CONNECT_V5, version: 4 };

/** A Will Message of QoS 0 without properties. */
export const WILL: Will = {
  topic: "w",
  payload: Uint8Array.of(0x68, 0x69),
  qos: 0,
  retain: false,
  willDelayInterval: 0,
  messageExpiryInterval: undefined,
  properties: new Uint8Array(0),
  isUtf8: false,
};

/** A fault that closes the connection, or is told in a DISCONNECT. */
export function fault(reasonCode: number, statement: string): Fault {
  return new Fault(reasonCode, statement, "");
}

/** A fault that is told in a CONNACK of the given version. */
export function connectFault(reasonCode: number, statement: string, connackVersion: ProtocolVersion): ConnectFault {
  return new ConnectFault(reasonCode, statement, "", connackVersion);
}

/** Turns the hexadecimal of a row into bytes. */
export function bytesOf(hex: string): Uint8Array {
  const digits = hex.replaceAll(" ", "");
  return Uint8Array.from(
    { length: digits.length / 2 },
    (_, index) => parseInt(digits.slice(2 * index, 2 * index + 2), 16),
  );
}
