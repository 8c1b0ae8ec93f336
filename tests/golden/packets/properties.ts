/**
 * Golden facts about properties: which packet carries which (read from the specification by packet, where the source
 * has them by property), a legal value of each, and the areas of a PUBLISH that break a rule.
 */

import { PacketType } from "../../../src/protocol/packets.ts";
import { WILL_OWNER } from "../../../src/protocol/property_table.ts";

/** Every owner with the identifiers it may carry. [MQTT 5.0, 3.1.2.11 to 3.15.2.2] */
export const PROPERTY_OWNERS_GOLDEN: readonly [name: string, owner: number, allowed: readonly number[]][] = [
  ["CONNECT", PacketType.CONNECT, [0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27]],
  ["a Will Message", WILL_OWNER, [0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26]],
  [
    "CONNACK",
    PacketType.CONNACK,
    [0x11, 0x12, 0x13, 0x15, 0x16, 0x1a, 0x1c, 0x1f, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a],
  ],
  ["PUBLISH", PacketType.PUBLISH, [0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x23, 0x26]],
  ["PUBACK", PacketType.PUBACK, [0x1f, 0x26]],
  ["PUBREC", PacketType.PUBREC, [0x1f, 0x26]],
  ["PUBREL", PacketType.PUBREL, [0x1f, 0x26]],
  ["PUBCOMP", PacketType.PUBCOMP, [0x1f, 0x26]],
  ["SUBSCRIBE", PacketType.SUBSCRIBE, [0x0b, 0x26]],
  ["SUBACK", PacketType.SUBACK, [0x1f, 0x26]],
  ["UNSUBSCRIBE", PacketType.UNSUBSCRIBE, [0x26]],
  ["UNSUBACK", PacketType.UNSUBACK, [0x1f, 0x26]],
  ["PINGREQ", PacketType.PINGREQ, []],
  ["DISCONNECT", PacketType.DISCONNECT, [0x11, 0x1c, 0x1f, 0x26]],
  ["AUTH", PacketType.AUTH, [0x15, 0x16, 0x1f, 0x26]],
];

/** A legal value of every property, as it stands on the wire after the identifier. */
export const PROPERTY_SAMPLES: ReadonlyMap<number, string> = new Map([
  [0x01, "01"],
  [0x02, "00000001"],
  [0x03, "0001 61"],
  [0x08, "0001 61"],
  [0x09, "0001 00"],
  [0x0b, "8001"],
  [0x11, "00000001"],
  [0x12, "0001 61"],
  [0x13, "0001"],
  [0x15, "0001 61"],
  [0x16, "0001 00"],
  [0x17, "01"],
  [0x18, "00000001"],
  [0x19, "01"],
  [0x1a, "0001 61"],
  [0x1c, "0001 61"],
  [0x1f, "0001 61"],
  [0x21, "0001"],
  [0x22, "0001"],
  [0x23, "0001"],
  [0x24, "01"],
  [0x25, "01"],
  [0x26, "0001 61 0001 62"],
  [0x27, "00000001"],
  [0x28, "01"],
  [0x29, "01"],
  [0x2a, "01"],
]);

/** Property areas that a PUBLISH must not have. */
export const PUBLISH_PROPERTY_FAULTS: readonly {
  readonly title: string;
  readonly bytes: string;
  readonly reasonCode: number;
  readonly statement: string;
}[] = [
  { title: "Topic Alias 0 [MQTT-3.3.2-8]", bytes: "23 0000", reasonCode: 0x94, statement: "MQTT-3.3.2-8" },
  { title: "two Topic Aliases", bytes: "23 0001 23 0002", reasonCode: 0x82, statement: "2.2.2.2" },
  { title: "Payload Format Indicator 2", bytes: "01 02", reasonCode: 0x82, statement: "2.2.2.2" },
  { title: "two Payload Format Indicators", bytes: "01 00 01 00", reasonCode: 0x82, statement: "2.2.2.2" },
  { title: "Subscription Identifier 0", bytes: "0b 00", reasonCode: 0x82, statement: "2.2.2.2" },
  {
    title: "a Subscription Identifier of five bytes [MQTT-1.5.5-1]",
    bytes: "0b 8080808001",
    reasonCode: 0x81,
    statement: "MQTT-1.5.5-1",
  },
  {
    title: "a Response Topic with # [MQTT-3.3.2-14]",
    bytes: "08 0003 612f23",
    reasonCode: 0x82,
    statement: "MQTT-3.3.2-14",
  },
  {
    title: "a Response Topic with + [MQTT-3.3.2-14]",
    bytes: "08 0003 2b2f61",
    reasonCode: 0x82,
    statement: "MQTT-3.3.2-14",
  },
  {
    title: "a Response Topic that is not UTF-8 [MQTT-3.3.2-13]",
    bytes: "08 0001 ff",
    reasonCode: 0x81,
    statement: "MQTT-1.5.4-1",
  },
  {
    title: "a Content Type that is not UTF-8 [MQTT-3.3.2-19]",
    bytes: "03 0002 c328",
    reasonCode: 0x81,
    statement: "MQTT-1.5.4-1",
  },
  {
    title: "a Content Type with U+0000 [MQTT-1.5.4-2]",
    bytes: "03 0001 00",
    reasonCode: 0x81,
    statement: "MQTT-1.5.4-1",
  },
  {
    title: "a User Property whose name is not UTF-8 [MQTT-1.5.7-1]",
    bytes: "26 0001 80 0001 61",
    reasonCode: 0x81,
    statement: "MQTT-1.5.7-1",
  },
  {
    title: "a User Property whose value is not UTF-8 [MQTT-1.5.7-1]",
    bytes: "26 0001 61 0001 80",
    reasonCode: 0x81,
    statement: "MQTT-1.5.7-1",
  },
  { title: "a User Property without a value", bytes: "26 0001 61", reasonCode: 0x81, statement: "2.2.2.2" },
  { title: "a property of CONNECT", bytes: "11 00000001", reasonCode: 0x81, statement: "2.2.2.2" },
  { title: "a Will Delay Interval", bytes: "18 00000001", reasonCode: 0x81, statement: "2.2.2.2" },
  { title: "an identifier of two bytes", bytes: "8101 00", reasonCode: 0x81, statement: "2.2.2.2" },
];
