/**
 * Hostile byte strings: legal packets of all kinds, damaged in the ways that decoders are most often wrong about, and
 * plain noise. Pure: everything comes from the generator passed in.
 */
import type { Random } from "../support/random.ts";
import { concatBytes } from "../support/wire_bytes.ts";
import { encodeWire, type WireFields, type WireType } from "../support/wire_packets.ts";
import type { WireProperty } from "../support/wire_properties.ts";

const PUBLISH_PROPERTIES: readonly WireProperty[] = [
  ["payloadFormatIndicator", 1],
  ["messageExpiryInterval", 10],
  ["contentType", "text/plain"],
  ["responseTopic", "fuzz/answer"],
  ["correlationData", "0badf00d"],
  ["userProperty", ["name", "value"]],
  ["topicAlias", 3],
];

const CONNECT_PROPERTIES: readonly WireProperty[] = [
  ["sessionExpiryInterval", 1],
  ["receiveMaximum", 5],
  ["maximumPacketSize", 2000],
  ["topicAliasMaximum", 9],
  ["requestProblemInformation", 1],
  ["userProperty", ["name", "value"]],
];

const SEEDS: ReadonlyArray<readonly [WireType, WireFields]> = [
  ["publish", { topic: "fuzz/a", payload: "x" }],
  ["publish", { topic: "fuzz/a", payload: "x", qos: 1, id: 1, retain: true }],
  ["publish", { topic: "fuzz/b", payload: "text", qos: 2, id: 2, properties: PUBLISH_PROPERTIES }],
  ["puback", { id: 1 }],
  ["puback", { id: 1, reasonCode: 0x80, properties: [["reasonString", "no"]] }],
  ["pubrec", { id: 2 }],
  ["pubrel", { id: 2 }],
  ["pubcomp", { id: 2, reasonCode: 0x92 }],
  ["subscribe", { id: 3, subscriptions: [{ filter: "fuzz/#", qos: 2 }, { filter: "$share/g/fuzz/+", qos: 1 }] }],
  ["subscribe", { id: 4, subscriptions: [{ filter: "fuzz/a", noLocal: true, retainHandling: 1 }] }],
  ["subscribe", { id: 5, properties: [["subscriptionIdentifier", 7]], subscriptions: [{ filter: "+/a" }] }],
  ["unsubscribe", { id: 6, filters: ["fuzz/#", "fuzz/none"] }],
  ["pingreq", {}],
  ["disconnect", { reasonCode: 4, properties: [["sessionExpiryInterval", 0]] }],
  ["auth", { reasonCode: 0x19, properties: [["authenticationMethod", "m"]] }],
];

/** So few that cases take over and resume each other's sessions, and stored ones stay bounded. */
const CLIENT_IDENTIFIERS = 211;

/** A CONNECT of the given version; `number` chooses one of {@link CLIENT_IDENTIFIERS}. */
export function connectSeed(version: number, number: number, random: Random): Uint8Array<ArrayBuffer> {
  return encodeWire("connect", {
    clientId: `fuzz${number % CLIENT_IDENTIFIERS}`,
    cleanStart: !random.oneIn(8),
    keepAlive: random.below(60),
    ...(random.oneIn(2) ? { username: "user", password: "word" } : {}),
    ...(random.oneIn(3) ? { will: { topic: "fuzz/will", payload: "gone", qos: random.below(3) } } : {}),
    ...(version === 5 ? { properties: CONNECT_PROPERTIES.slice(random.below(CONNECT_PROPERTIES.length)) } : {}),
  }, version);
}

/** Any of the legal packets other than CONNECT. */
export function packetSeed(version: number, random: Random): Uint8Array<ArrayBuffer> {
  const [type, fields] = random.pick(SEEDS);
  return encodeWire(type, fields, version);
}

/** Damages a packet; about one in ten comes back whole. */
export function mutate(packet: Uint8Array, random: Random): Uint8Array<ArrayBuffer> {
  const bytes = Uint8Array.from(packet);
  const at = random.below(Math.max(bytes.length, 1));
  switch (random.below(10)) {
    case 0:
      return bytes;
    case 1: // One bit.
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
      return bytes;
    case 2: // One byte, often a limit.
      bytes[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)]);
      return bytes;
    case 3: // Cut short.
      return bytes.slice(0, at);
    case 4: // Something in between.
      return concatBytes(bytes.subarray(0, at), random.bytes(1 + random.below(8)), bytes.subarray(at));
    case 5: // Something missing.
      return concatBytes(bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(4)));
    case 6: // A remaining length that lies.
      bytes[1] = random.below(256);
      return bytes;
    case 7: // A remaining length of the largest kind.
      return concatBytes(bytes.subarray(0, 1), Uint8Array.of(0xff, 0xff, 0xff, random.oneIn(2) ? 0x7f : 0xff), bytes);
    case 8: // Another type with the same body.
      bytes[0] = random.below(256);
      return bytes;
    default:
      return random.bytes(1 + random.below(64));
  }
}
