/**
 * The control packets as values, and the fault that stands in for one that breaks the rules.
 *
 * PUBLISH and its four acknowledgements never take this shape: they are read in place by `publish_codec.ts`.
 * Everything here is rare (a few per connection), so plain objects are fine.
 */
import type { PacketId } from "./distinct_number.ts";

/** Protocol Level of the connection: 3 = MQTT 3.1, 4 = 3.1.1, 5 = 5.0. [MQTT-3.1.2-1] */
export type ProtocolVersion = 3 | 4 | 5;

/** Quality of Service level. [MQTT 5.0, 4.3] */
export type QoS = 0 | 1 | 2;

/** Control Packet types, the high nibble of the first byte. [MQTT 5.0, 2.1.2] */
export const PacketType = {
  CONNECT: 1,
  CONNACK: 2,
  PUBLISH: 3,
  PUBACK: 4,
  PUBREC: 5,
  PUBREL: 6,
  PUBCOMP: 7,
  SUBSCRIBE: 8,
  SUBACK: 9,
  UNSUBSCRIBE: 10,
  UNSUBACK: 11,
  PINGREQ: 12,
  PINGRESP: 13,
  DISCONNECT: 14,
  AUTH: 15,
} as const;

/** A User Property; the list keeps the order of the wire, names may repeat. [MQTT-3.1.3-10] */
export type UserProperty = readonly [name: string, value: string];

/** Will Message of a CONNECT. [MQTT 5.0, 3.1.2.5 and 3.1.3.2] */
export interface Will {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  /** Seconds between the end of the connection and the publication; 0 in v3. */
  readonly willDelayInterval: number;
  /** Seconds, or undefined when the message never expires. */
  readonly messageExpiryInterval: number | undefined;
  /**
   * The properties to publish with the message in v5 wire form, without length prefix, Will Delay Interval and
   * Message Expiry Interval: Payload Format Indicator, Content Type, Response Topic, Correlation Data, User
   * Properties in their order. Empty in v3.
   */
  readonly properties: Uint8Array;
  /** True when the Payload Format Indicator says UTF-8. */
  readonly isUtf8: boolean;
}

/** CONNECT with all defaults of its version filled in. [MQTT 5.0, 3.1] */
export interface ConnectPacket {
  readonly type: typeof PacketType.CONNECT;
  readonly version: ProtocolVersion;
  /** Clean Start (v5) or Clean Session (v3). */
  readonly cleanStart: boolean;
  readonly keepAliveSeconds: number;
  /** Empty when the client asks for an Assigned Client Identifier. */
  readonly clientId: string;
  readonly username: string | undefined;
  readonly password: Uint8Array | undefined;
  readonly will: Will | undefined;
  /** Seconds; 0xFFFFFFFF = never expires. v3: 0 with Clean Session, 0xFFFFFFFF without. */
  readonly sessionExpiryInterval: number;
  /** 65535 when absent. */
  readonly receiveMaximum: number;
  /** Bytes; 268 435 460 (the largest packet that exists) when absent. */
  readonly maximumPacketSize: number;
  /** 0 when absent. */
  readonly topicAliasMaximum: number;
  readonly requestResponseInformation: boolean;
  /** True when absent. */
  readonly requestProblemInformation: boolean;
  readonly userProperties: readonly UserProperty[];
  readonly authenticationMethod: string | undefined;
  readonly authenticationData: Uint8Array | undefined;
}

/** One Topic Filter of a SUBSCRIBE with its Subscription Options. [MQTT 5.0, 3.8.3] */
export interface SubscriptionRequest {
  readonly filter: string;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
}

/** SUBSCRIBE. Filters are well-formed UTF-8 but not yet checked against the topic rules. */
export interface SubscribePacket {
  readonly type: typeof PacketType.SUBSCRIBE;
  readonly packetId: PacketId;
  readonly subscriptions: readonly SubscriptionRequest[];
  /** 0 when absent: 0 is never a legal identifier. [MQTT 5.0, 3.8.2.1.2] */
  readonly subscriptionIdentifier: number;
  readonly userProperties: readonly UserProperty[];
}

/** UNSUBSCRIBE. */
export interface UnsubscribePacket {
  readonly type: typeof PacketType.UNSUBSCRIBE;
  readonly packetId: PacketId;
  readonly filters: readonly string[];
  readonly userProperties: readonly UserProperty[];
}

/** PINGREQ. */
export interface PingreqPacket {
  readonly type: typeof PacketType.PINGREQ;
}

/** DISCONNECT from a client. v3 always reads as Reason Code 0. */
export interface DisconnectPacket {
  readonly type: typeof PacketType.DISCONNECT;
  readonly reasonCode: number;
  /** Seconds, or undefined when the packet leaves the session's value alone. */
  readonly sessionExpiryInterval: number | undefined;
  readonly reasonString: string | undefined;
  readonly userProperties: readonly UserProperty[];
}

/** AUTH. [MQTT 5.0, 3.15] */
export interface AuthPacket {
  readonly type: typeof PacketType.AUTH;
  readonly reasonCode: number;
  readonly authenticationMethod: string | undefined;
  readonly authenticationData: Uint8Array | undefined;
  readonly reasonString: string | undefined;
  readonly userProperties: readonly UserProperty[];
}

/** A packet a client may send that is not PUBLISH or one of its acknowledgements. */
export type ClientPacket =
  | ConnectPacket
  | SubscribePacket
  | UnsubscribePacket
  | PingreqPacket
  | DisconnectPacket
  | AuthPacket;

/**
 * What a decoder returns instead of a packet: the peer broke a rule and the connection ends.
 * A fault is a value, created rarely, never thrown.
 */
export class Fault {
  /**
   * @param reasonCode What a v5 peer is told.
   * @param statement The normative statement that was broken, e.g. `MQTT-3.1.0-2`, or a section number where the
   *   specification gives the rule no id.
   * @param text One sentence for a Reason String and for the debug log; never contains payload or credentials.
   */
  constructor(readonly reasonCode: number, readonly statement: string, readonly text: string) {}
}

/** Properties of a CONNACK that the broker sends; absent ones are left out of the packet. [MQTT 5.0, 3.2.2.3] */
export interface ConnackProperties {
  sessionExpiryInterval?: number;
  receiveMaximum?: number;
  maximumQoS?: 0 | 1;
  retainAvailable?: boolean;
  maximumPacketSize?: number;
  assignedClientIdentifier?: string;
  topicAliasMaximum?: number;
  reasonString?: string;
  userProperties?: readonly UserProperty[];
  wildcardSubscriptionAvailable?: boolean;
  subscriptionIdentifiersAvailable?: boolean;
  sharedSubscriptionAvailable?: boolean;
  serverKeepAlive?: number;
  responseInformation?: string;
  serverReference?: string;
  authenticationMethod?: string;
  authenticationData?: Uint8Array;
}
