/**
 * The properties of MQTT 5.0 section 2.2.2.2: which exist, the type of each, and the packets that may carry it.
 *
 * One row per property; the typed arrays below the table are the same facts by identifier, for readers that look at
 * every byte of a PUBLISH, and `PROPERTY_IDS` is the order in which properties are written. Identifiers are Variable Byte Integers, but all that exist fit in one byte.
 */

import { PacketType } from "./packets.ts";

/** Property identifiers by their specification name. [MQTT 5.0, 2.2.2.2] */
export const PropertyId = {
  PAYLOAD_FORMAT_INDICATOR: 0x01,
  MESSAGE_EXPIRY_INTERVAL: 0x02,
  CONTENT_TYPE: 0x03,
  RESPONSE_TOPIC: 0x08,
  CORRELATION_DATA: 0x09,
  SUBSCRIPTION_IDENTIFIER: 0x0b,
  SESSION_EXPIRY_INTERVAL: 0x11,
  ASSIGNED_CLIENT_IDENTIFIER: 0x12,
  SERVER_KEEP_ALIVE: 0x13,
  AUTHENTICATION_METHOD: 0x15,
  AUTHENTICATION_DATA: 0x16,
  REQUEST_PROBLEM_INFORMATION: 0x17,
  WILL_DELAY_INTERVAL: 0x18,
  REQUEST_RESPONSE_INFORMATION: 0x19,
  RESPONSE_INFORMATION: 0x1a,
  SERVER_REFERENCE: 0x1c,
  REASON_STRING: 0x1f,
  RECEIVE_MAXIMUM: 0x21,
  TOPIC_ALIAS_MAXIMUM: 0x22,
  TOPIC_ALIAS: 0x23,
  MAXIMUM_QOS: 0x24,
  RETAIN_AVAILABLE: 0x25,
  USER_PROPERTY: 0x26,
  MAXIMUM_PACKET_SIZE: 0x27,
  WILDCARD_SUBSCRIPTION_AVAILABLE: 0x28,
  SUBSCRIPTION_IDENTIFIERS_AVAILABLE: 0x29,
  SHARED_SUBSCRIPTION_AVAILABLE: 0x2a,
} as const;

/** How the value of a property is laid out. Every one-byte property of the specification is 0 or 1. */
export const PropertyType = { NONE: 0, FLAG: 1, UINT16: 2, UINT32: 3, VARINT: 4, TEXT: 5, BINARY: 6, PAIR: 7 } as const;

/** Owner of the properties inside a Will Message; the other owners are the values of `PacketType`. */
export const WILL_OWNER = 0;

/** One past the highest property identifier. */
export const PROPERTY_ID_END = 0x2b;

interface Row {
  readonly id: number;
  /** Field name in a decoded object. */
  readonly name: string;
  readonly type: number;
  /** True where the specification makes 0 an error. */
  readonly isNonZero?: true;
  readonly owners: readonly number[];
}

const I = PropertyId;
const T = PropertyType;
const P = PacketType;
const WILL = WILL_OWNER;
const EVERY_OWNER = [
  WILL,
  ...Object.values(P).filter((type) => type !== P.PINGREQ && type !== P.PINGRESP),
];
const ACKNOWLEDGEMENTS = [P.CONNACK, P.PUBACK, P.PUBREC, P.PUBREL, P.PUBCOMP, P.SUBACK, P.UNSUBACK];

const ROWS: readonly Row[] = [
  { id: I.PAYLOAD_FORMAT_INDICATOR, name: "payloadFormatIndicator", type: T.FLAG, owners: [P.PUBLISH, WILL] },
  { id: I.MESSAGE_EXPIRY_INTERVAL, name: "messageExpiryInterval", type: T.UINT32, owners: [P.PUBLISH, WILL] },
  { id: I.CONTENT_TYPE, name: "contentType", type: T.TEXT, owners: [P.PUBLISH, WILL] },
  { id: I.RESPONSE_TOPIC, name: "responseTopic", type: T.TEXT, owners: [P.PUBLISH, WILL] },
  { id: I.CORRELATION_DATA, name: "correlationData", type: T.BINARY, owners: [P.PUBLISH, WILL] },
  {
    id: I.SUBSCRIPTION_IDENTIFIER,
    name: "subscriptionIdentifiers",
    type: T.VARINT,
    isNonZero: true,
    owners: [P.PUBLISH, P.SUBSCRIBE],
  },
  {
    id: I.SESSION_EXPIRY_INTERVAL,
    name: "sessionExpiryInterval",
    type: T.UINT32,
    owners: [P.CONNECT, P.CONNACK, P.DISCONNECT],
  },
  { id: I.ASSIGNED_CLIENT_IDENTIFIER, name: "assignedClientIdentifier", type: T.TEXT, owners: [P.CONNACK] },
  { id: I.SERVER_KEEP_ALIVE, name: "serverKeepAlive", type: T.UINT16, owners: [P.CONNACK] },
  { id: I.AUTHENTICATION_METHOD, name: "authenticationMethod", type: T.TEXT, owners: [P.CONNECT, P.CONNACK, P.AUTH] },
  { id: I.AUTHENTICATION_DATA, name: "authenticationData", type: T.BINARY, owners: [P.CONNECT, P.CONNACK, P.AUTH] },
  { id: I.REQUEST_PROBLEM_INFORMATION, name: "requestProblemInformation", type: T.FLAG, owners: [P.CONNECT] },
  { id: I.WILL_DELAY_INTERVAL, name: "willDelayInterval", type: T.UINT32, owners: [WILL] },
  { id: I.REQUEST_RESPONSE_INFORMATION, name: "requestResponseInformation", type: T.FLAG, owners: [P.CONNECT] },
  { id: I.RESPONSE_INFORMATION, name: "responseInformation", type: T.TEXT, owners: [P.CONNACK] },
  { id: I.SERVER_REFERENCE, name: "serverReference", type: T.TEXT, owners: [P.CONNACK, P.DISCONNECT] },
  { id: I.REASON_STRING, name: "reasonString", type: T.TEXT, owners: [...ACKNOWLEDGEMENTS, P.DISCONNECT, P.AUTH] },
  { id: I.RECEIVE_MAXIMUM, name: "receiveMaximum", type: T.UINT16, isNonZero: true, owners: [P.CONNECT, P.CONNACK] },
  { id: I.TOPIC_ALIAS_MAXIMUM, name: "topicAliasMaximum", type: T.UINT16, owners: [P.CONNECT, P.CONNACK] },
  { id: I.TOPIC_ALIAS, name: "topicAlias", type: T.UINT16, isNonZero: true, owners: [P.PUBLISH] },
  { id: I.MAXIMUM_QOS, name: "maximumQoS", type: T.FLAG, owners: [P.CONNACK] },
  { id: I.RETAIN_AVAILABLE, name: "retainAvailable", type: T.FLAG, owners: [P.CONNACK] },
  { id: I.USER_PROPERTY, name: "userProperties", type: T.PAIR, owners: EVERY_OWNER },
  {
    id: I.MAXIMUM_PACKET_SIZE,
    name: "maximumPacketSize",
    type: T.UINT32,
    isNonZero: true,
    owners: [P.CONNECT, P.CONNACK],
  },
  { id: I.WILDCARD_SUBSCRIPTION_AVAILABLE, name: "wildcardSubscriptionAvailable", type: T.FLAG, owners: [P.CONNACK] },
  {
    id: I.SUBSCRIPTION_IDENTIFIERS_AVAILABLE,
    name: "subscriptionIdentifiersAvailable",
    type: T.FLAG,
    owners: [P.CONNACK],
  },
  { id: I.SHARED_SUBSCRIPTION_AVAILABLE, name: "sharedSubscriptionAvailable", type: T.FLAG, owners: [P.CONNACK] },
];

/** The identifiers that exist, ascending. */
export const PROPERTY_IDS: readonly number[] = ROWS.map((row) => row.id);

/** `PropertyType` by identifier; `NONE` for identifiers that do not exist. */
export const PROPERTY_TYPES: Uint8Array = new Uint8Array(PROPERTY_ID_END);

/** By identifier: bit n is set when owner n (a `PacketType` or `WILL_OWNER`) may carry the property. */
export const PROPERTY_OWNERS: Uint16Array = new Uint16Array(PROPERTY_ID_END);

/** By identifier: one distinct bit per property, so that a 32-bit mask remembers which ones were seen. */
export const PROPERTY_BITS: Int32Array = new Int32Array(PROPERTY_ID_END);

/** By identifier: 1 where the value 0 is an error. */
export const PROPERTY_NON_ZERO: Uint8Array = new Uint8Array(PROPERTY_ID_END);

/** Field name in a decoded object by identifier; empty for identifiers that do not exist. */
export const PROPERTY_NAMES: readonly string[] = indexRows();

function indexRows(): string[] {
  const names = new Array<string>(PROPERTY_ID_END).fill("");
  ROWS.forEach((row, index) => {
    PROPERTY_TYPES[row.id] = row.type;
    PROPERTY_BITS[row.id] = 1 << index;
    PROPERTY_NON_ZERO[row.id] = row.isNonZero ? 1 : 0;
    PROPERTY_OWNERS[row.id] = row.owners.reduce((mask, owner) => mask | (1 << owner), 0);
    names[row.id] = row.name;
  });
  return names;
}
