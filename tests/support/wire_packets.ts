/**
 * Readable packets ↔ bytes for tests: what a client may send (and what it must not), and all a broker answers.
 *
 * Writing is permissive on purpose: `flags`, `connectFlags`, `options` and `hex` let a test break one rule at a time.
 * Reading is strict: every byte must belong to a field, or the packet is refused.
 */
import { ByteReader, ByteWriter, frame, fromHex, toHex } from "./wire_bytes.ts";
import { readProperties, type WireProperty, writeProperties } from "./wire_properties.ts";

/** Protocol Level: 3, 4 or 5; other numbers only to provoke a refusal. */
export type WireVersion = number;

/** Bytes as text, or as hexadecimal digits where they are not UTF-8. */
export type WireBytes = string | { readonly hex: string };

/** A Will Message in a CONNECT. */
export interface WireWill {
  readonly topic: WireBytes;
  readonly payload?: WireBytes;
  readonly qos?: number;
  readonly retain?: boolean;
  readonly properties?: readonly WireProperty[];
}

/** One filter of a SUBSCRIBE; `options` overrides the whole option byte. */
export interface WireSubscription {
  readonly filter: WireBytes;
  readonly qos?: number;
  readonly noLocal?: boolean;
  readonly retainAsPublished?: boolean;
  readonly retainHandling?: number;
  readonly options?: number;
}

/** The fields of all packets in one shape; which of them count depends on the type. */
export interface WireFields {
  /** Overrides the low nibble of the first byte. */
  readonly flags?: number;
  readonly protocolName?: string;
  readonly version?: WireVersion;
  readonly cleanStart?: boolean;
  readonly keepAlive?: number;
  readonly clientId?: WireBytes;
  readonly username?: WireBytes;
  readonly password?: WireBytes;
  readonly will?: WireWill;
  /** Overrides the Connect Flags byte. */
  readonly connectFlags?: number;
  readonly id?: number;
  readonly sessionPresent?: boolean;
  readonly reasonCode?: number;
  readonly reasonCodes?: readonly number[];
  readonly topic?: WireBytes;
  readonly payload?: WireBytes;
  readonly qos?: number;
  readonly retain?: boolean;
  readonly dup?: boolean;
  readonly subscriptions?: readonly WireSubscription[];
  readonly filters?: readonly WireBytes[];
  readonly properties?: readonly WireProperty[];
}

/** Packet types by their numbers. [MQTT 5.0, 2.1.2] */
export const WIRE_TYPES = [
  "reserved",
  "connect",
  "connack",
  "publish",
  "puback",
  "pubrec",
  "pubrel",
  "pubcomp",
  "subscribe",
  "suback",
  "unsubscribe",
  "unsuback",
  "pingreq",
  "pingresp",
  "disconnect",
  "auth",
] as const;

/** Name of a packet type in lower case. */
export type WireType = (typeof WIRE_TYPES)[number];

/** A packet read from the broker: its type and only the fields that its bytes hold. */
export interface WirePacket extends WireFields {
  readonly type: WireType;
}

/** Encodes a packet a client sends, legal or not, for a connection of the given version. */
export function encodeWire(type: WireType, fields: WireFields, version: WireVersion): Uint8Array<ArrayBuffer> {
  const number = WIRE_TYPES.indexOf(type);
  const writer = new ByteWriter();
  let flags = type === "pubrel" || type === "subscribe" || type === "unsubscribe" ? 2 : 0;
  switch (type) {
    case "connect":
      writeConnect(writer, fields, version);
      break;
    case "publish":
      flags = publishFlags(fields);
      writePublish(writer, fields, version);
      break;
    case "subscribe":
    case "unsubscribe":
      writeFilters(writer, fields, version);
      break;
    case "disconnect":
    case "auth":
      writeReason(writer, fields, version);
      break;
    case "pingreq":
      break;
    default:
      writer.uint16(fields.id ?? 0);
      writeReason(writer, fields, version);
  }
  return frame((number << 4) | (fields.flags ?? flags), writer.finish());
}

/** Decodes one whole packet a broker sent; throws with the place where its bytes stop making sense. */
export function decodeWire(bytes: Uint8Array, version: WireVersion): WirePacket {
  const header = new ByteReader(bytes);
  const first = header.byte();
  const reader = new ByteReader(header.raw(header.variable()));
  if (header.remaining !== 0) throw new Error("more than one packet");
  const type = WIRE_TYPES[first >> 4] ?? "reserved";
  const packet = { type, ...readFields(type, first & 15, reader, version) };
  if (reader.remaining !== 0) throw new Error(`${type} has ${reader.remaining} bytes too many: ${toHex(bytes)}`);
  return packet;
}

/** Turns a readable value into its bytes. */
export function wireBytes(value: WireBytes): Uint8Array {
  return typeof value === "string" ? new TextEncoder().encode(value) : fromHex(value.hex);
}

function publishFlags(fields: WireFields): number {
  return (fields.dup === true ? 8 : 0) | ((fields.qos ?? 0) << 1) | (fields.retain === true ? 1 : 0);
}

function writeConnect(writer: ByteWriter, fields: WireFields, version: WireVersion): void {
  const will = fields.will;
  const flags = (fields.cleanStart === false ? 0 : 2) |
    (will === undefined ? 0 : 4 | ((will.qos ?? 0) << 3) | (will.retain === true ? 0x20 : 0)) |
    (fields.password === undefined ? 0 : 0x40) | (fields.username === undefined ? 0 : 0x80);
  writer.text(fields.protocolName ?? (version === 3 ? "MQIsdp" : "MQTT")).byte(version);
  writer.byte(fields.connectFlags ?? flags).uint16(fields.keepAlive ?? 30);
  if (version === 5) writeProperties(writer, fields.properties ?? []);
  writer.binary(wireBytes(fields.clientId ?? ""));
  if (will !== undefined) {
    if (version === 5) writeProperties(writer, will.properties ?? []);
    writer.binary(wireBytes(will.topic)).binary(wireBytes(will.payload ?? ""));
  }
  if (fields.username !== undefined) writer.binary(wireBytes(fields.username));
  if (fields.password !== undefined) writer.binary(wireBytes(fields.password));
}

function writePublish(writer: ByteWriter, fields: WireFields, version: WireVersion): void {
  writer.binary(wireBytes(fields.topic ?? ""));
  if ((fields.qos ?? 0) > 0) writer.uint16(fields.id ?? 0);
  if (version === 5) writeProperties(writer, fields.properties ?? []);
  writer.raw(wireBytes(fields.payload ?? ""));
}

function writeFilters(writer: ByteWriter, fields: WireFields, version: WireVersion): void {
  writer.uint16(fields.id ?? 0);
  if (version === 5) writeProperties(writer, fields.properties ?? []);
  for (const filter of fields.filters ?? []) writer.binary(wireBytes(filter));
  for (const entry of fields.subscriptions ?? []) {
    const options = (entry.qos ?? 0) | (entry.noLocal === true ? 4 : 0) | (entry.retainAsPublished === true ? 8 : 0) |
      ((entry.retainHandling ?? 0) << 4);
    writer.binary(wireBytes(entry.filter)).byte(entry.options ?? options);
  }
}

function writeReason(writer: ByteWriter, fields: WireFields, version: WireVersion): void {
  if (version !== 5) return;
  const properties = fields.properties;
  if (fields.reasonCode === undefined && properties === undefined) return;
  writer.byte(fields.reasonCode ?? 0);
  if (properties !== undefined) writeProperties(writer, properties);
}

function readFields(type: WireType, flags: number, reader: ByteReader, version: WireVersion): WireFields {
  if (type === "publish") return readPublish(flags, reader, version);
  const expectedFlags = type === "pubrel" ? 2 : 0;
  if (flags !== expectedFlags) throw new Error(`${type} has reserved flags ${flags}`);
  switch (type) {
    case "connack":
      return readConnack(reader, version);
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp":
      return { id: reader.uint16(), ...readReason(reader, version) };
    case "suback":
    case "unsuback": {
      const id = reader.uint16();
      const properties = version === 5 ? { properties: readProperties(reader) } : {};
      const reasonCodes = Array.from(reader.raw(reader.remaining));
      return type === "unsuback" && version !== 5 ? { id } : { id, ...properties, reasonCodes };
    }
    case "disconnect":
    case "auth":
      return readReason(reader, version);
    case "pingresp":
      return {};
    default:
      throw new Error(`a broker must not send ${type}`);
  }
}

function readConnack(reader: ByteReader, version: WireVersion): WireFields {
  const flags = reader.byte();
  if (flags > 1) throw new Error(`CONNACK has reserved flags ${flags}`);
  const reasonCode = reader.byte();
  const properties = version === 5 ? { properties: readProperties(reader) } : {};
  return { sessionPresent: flags === 1, reasonCode, ...properties };
}

function readReason(reader: ByteReader, version: WireVersion): WireFields {
  if (version !== 5) return {};
  const reasonCode = reader.remaining > 0 ? reader.byte() : 0;
  return { reasonCode, properties: reader.remaining > 0 ? readProperties(reader) : [] };
}

function readPublish(flags: number, reader: ByteReader, version: WireVersion): WireFields {
  const qos = (flags >> 1) & 3;
  const topic = reader.text();
  const id = qos > 0 ? { id: reader.uint16() } : {};
  const properties = version === 5 ? { properties: readProperties(reader) } : {};
  const payload = readableBytes(reader.raw(reader.remaining));
  return { topic, payload, qos, retain: (flags & 1) === 1, dup: (flags & 8) === 8, ...id, ...properties };
}

function readableBytes(bytes: Uint8Array): WireBytes {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return { hex: toHex(bytes) };
  }
}
