/**
 * `mqtt-packet` as the reference of the codec tests, and the fast-check arbitraries for the fields of packets.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { generate, type Packet, parser } from "mqtt-packet";
import type { ProtocolVersion, QoS, UserProperty } from "../../src/protocol/packets.ts";

/** Protocol versions. */
export const version = fc.constantFrom<ProtocolVersion>(3, 4, 5);

/** QoS levels. */
export const qos = fc.constantFrom<QoS>(0, 1, 2);

/** Legal text, from all of Unicode. */
export const text = fc.string({ unit: "binary", maxLength: 24 }).map((value) => value.replaceAll("\0", "0"));

/** Binary Data. */
export const binary = fc.uint8Array({ maxLength: 24 });

/** Two Byte Integers. */
export const uint16 = fc.nat(0xffff);

/** Four Byte Integers. */
export const uint32 = fc.nat(0xffff_ffff);

/** Packet Identifiers. */
export const packetId = fc.integer({ min: 1, max: 0xffff });

/** User Properties with distinct names: the reference groups them by name. */
export const userProperties = fc.uniqueArray(fc.tuple(text.map((name) => `k${name}`), text), {
  maxLength: 4,
  selector: ([name]) => name,
});

/** Makes a field that may be absent. */
export function maybe<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.option(arbitrary, { nil: undefined });
}

/** The fields of a packet from the server that `mqtt-packet` fills in. */
export interface ParsedPacket {
  readonly cmd?: string;
  readonly messageId?: number;
  readonly sessionPresent?: boolean;
  readonly reasonCode?: number;
  readonly granted?: readonly number[];
  readonly properties?: { readonly [name: string]: unknown; readonly userProperties?: object };
}

/** Encodes a packet with the reference. */
export function reference(packet: Packet, protocolVersion: ProtocolVersion): Uint8Array {
  return new Uint8Array(generate(packet, { protocolVersion }));
}

/** Decodes exactly one packet with the reference. */
export function parse(bytes: Uint8Array, protocolVersion: ProtocolVersion): ParsedPacket {
  const packets: Packet[] = [];
  const reader = parser({ protocolVersion });
  reader.on("packet", (packet) => packets.push(packet));
  reader.on("error", (error) => assert.fail(String(error)));
  assert.equal(reader.parse(Buffer.from(bytes)), 0);
  assert.equal(packets.length, 1);
  return packets[0] as ParsedPacket;
}

/** User Properties as the reference holds them; it cannot write an empty group. */
export function grouped(list: readonly UserProperty[]): Record<string, string> | undefined {
  return list.length === 0 ? undefined : Object.fromEntries(list);
}

/** The properties of a parsed packet as plain objects: the reference makes the group without a prototype. */
export function propertiesOf(packet: ParsedPacket): Record<string, unknown> {
  const { userProperties, ...others } = { ...packet.properties };
  return userProperties === undefined ? others : { ...others, userProperties: { ...userProperties } };
}

/** Copies bytes to the type that the reference wants. */
export function buffer(bytes: Uint8Array | undefined): Buffer | undefined {
  return bytes && Buffer.from(bytes);
}

/** An object type without the fields that are undefined. */
export type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Leaves out the fields that are undefined. */
export function defined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>;
}
