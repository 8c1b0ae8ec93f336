/**
 * Writes one Application Message to many receivers: encoded once per wire variant, patched per receiver.
 *
 * A variant is (v5 or v3) × (with or without Packet Identifier). Its template is encoded at the second receiver that
 * needs it and copied from then on; header flags and Packet Identifier are patched in the copy. What depends on the
 * receiver alone (Subscription Identifiers, Topic Alias) is encoded in place.
 *
 * `begin` starts a message, any number of `write` calls follow in the same synchronous stretch.
 */
import { copyBytes } from "./copy_bytes.ts";
import type { PacketId } from "./distinct_number.ts";
import type { Message } from "./message.ts";
import { decodeUtf8 } from "./utf8.ts";
import {
  VARIABLE_BYTE_INTEGER_MAX,
  variableByteIntegerSize,
  writeVariableByteInteger,
} from "./variable_byte_integer.ts";
import { WriteBuffer } from "./write_buffer.ts";

/** No Subscription Identifiers. */
export const NO_IDENTIFIERS: readonly number[] = [];

/** Encoder shared by all connections of a broker. */
export class PublishEncoder {
  #message!: Message;
  #expirySeconds = NO_EXPIRY;
  #hasManyReceivers = false;
  readonly #templates: Template[] = [new Template(), new Template(), new Template(), new Template()];

  /**
   * Starts a message.
   *
   * @param message Must stay as it is until the next `begin`.
   * @param nowMs Clock reading that the remaining Message Expiry Interval is counted from. [MQTT-3.3.2-6]
   * @param receivers How many `write` calls to expect; a hint that decides whether templates pay.
   */
  begin(message: Message, nowMs: number, receivers: number): void {
    this.#message = message;
    this.#expirySeconds = message.expiresAtMs === 0
      ? NO_EXPIRY
      : Math.max(0, Math.ceil((message.expiresAtMs - nowMs) / 1000));
    this.#hasManyReceivers = receivers > 1;
    if (this.#hasManyReceivers) { for (let i = 0; i < 4; i++) this.#templates[i]!.isValid = false; }
  }

  /**
   * Writes the message as a PUBLISH.
   *
   * @param flags Low nibble of the first byte: DUP 8, QoS 2 or 4, RETAIN 1.
   * @param packetId 0 at QoS 0.
   * @param identifiers Subscription Identifiers; empty towards v3.
   * @param sizeMax Maximum Packet Size of the receiver in bytes.
   * @returns Bytes written, or 0 when the packet would be larger than `sizeMax`. [MQTT-3.1.2-24]
   */
  write(
    out: WriteBuffer,
    isV5: boolean,
    flags: number,
    packetId: PacketId,
    identifiers: readonly number[],
    sizeMax: number,
  ): number {
    if (!this.#hasManyReceivers || identifiers.length !== 0) {
      return encode(out, this.#message, this.#expirySeconds, isV5, flags, packetId, identifiers, 0, false, sizeMax);
    }
    const template = this.#templates[(isV5 ? 2 : 0) | (packetId === 0 ? 0 : 1)]!;
    if (!template.isValid) template.fill(this.#message, this.#expirySeconds, isV5, packetId !== 0);
    const source = template.packet;
    const size = source.length;
    if (size === 0 || size > sizeMax) return 0;
    out.reserve(size);
    const bytes = out.bytes;
    const offset = out.length;
    bytes.set(source, offset);
    bytes[offset] = 0x30 | flags;
    if (packetId !== 0) {
      const at = offset + template.packetIdOffset;
      bytes[at] = packetId >> 8;
      bytes[at + 1] = packetId & 0xff;
    }
    out.length = offset + size;
    return size;
  }

  /**
   * Writes the message with a Topic Alias: by number alone when the receiver knows it, else introducing it.
   *
   * @param aliases The receiver's table.
   * @returns As `write`.
   */
  writeAliased(
    out: WriteBuffer,
    aliases: AliasTable,
    flags: number,
    packetId: PacketId,
    identifiers: readonly number[],
    sizeMax: number,
  ): number {
    const message = this.#message;
    const expiry = this.#expirySeconds;
    const name = decodeUtf8(message.topicBytes, message.topicStart + 2, message.topicEnd);
    const known = aliases.find(name);
    const alias = known === 0 ? aliases.next : known;
    const size = encode(out, message, expiry, true, flags, packetId, identifiers, alias, known !== 0, sizeMax);
    // Near the limit the plain packet may fit where the alias property does not.
    if (size === 0) return encode(out, message, expiry, true, flags, packetId, identifiers, 0, false, sizeMax);
    if (known === 0) aliases.assign(name);
    return size;
  }
}

/** The Topic Aliases one receiver has been told. [MQTT 5.0, 3.3.2.3.4] */
export interface AliasTable {
  /** Alias that `assign` will give. */
  readonly next: number;
  /** The alias of a Topic Name, or 0. */
  find(name: string): number;
  /** Gives `next` to a Topic Name. */
  assign(name: string): void;
}

/** One encoded packet, reused for every receiver of its variant. */
class Template {
  isValid = false;
  packet: Uint8Array = new Uint8Array(0);
  packetIdOffset = 0;
  readonly #out = new WriteBuffer(TEMPLATE_BYTES_MIN);

  fill(message: Message, expirySeconds: number, isV5: boolean, hasPacketId: boolean): void {
    this.#out.length = 0;
    if (this.#out.bytes.length > TEMPLATE_BYTES_MAX) this.#out.take();
    const qosFlag = hasPacketId ? 2 : 0;
    const packetId = hasPacketId ? 1 : 0;
    encode(this.#out, message, expirySeconds, isV5, qosFlag, packetId, NO_IDENTIFIERS, 0, false, Infinity);
    this.packet = this.#out.bytes.subarray(0, this.#out.length);
    let headerEnd = 1;
    while (this.packet[headerEnd]! > 0x7f) headerEnd++;
    this.packetIdOffset = headerEnd + 1 + (message.topicEnd - message.topicStart);
    this.isValid = true;
  }
}

function encode(
  out: WriteBuffer,
  message: Message,
  expirySeconds: number,
  isV5: boolean,
  flags: number,
  packetId: PacketId,
  identifiers: readonly number[],
  alias: number,
  isAliasKnown: boolean,
  sizeMax: number,
): number {
  const topicSize = isAliasKnown ? 2 : message.topicEnd - message.topicStart;
  const payloadSize = message.payloadEnd - message.payloadStart;
  let propertiesSize = 0;
  let remaining = topicSize + payloadSize + (packetId === 0 ? 0 : 2);
  if (isV5) {
    propertiesSize = propertiesSizeOf(message, expirySeconds, identifiers, alias);
    remaining += variableByteIntegerSize(propertiesSize) + propertiesSize;
  }
  const size = 1 + variableByteIntegerSize(remaining) + remaining;
  // Properties of the broker's own can lift the largest packet over what a Remaining Length can say.
  if (size > sizeMax || remaining > VARIABLE_BYTE_INTEGER_MAX) return 0;
  out.reserve(size);
  const bytes = out.bytes;
  let offset = out.length;
  bytes[offset++] = 0x30 | flags;
  offset = writeVariableByteInteger(bytes, offset, remaining);
  if (isAliasKnown) {
    bytes[offset++] = 0;
    bytes[offset++] = 0;
  } else {
    offset = copyBytes(message.topicBytes, message.topicStart, message.topicEnd, bytes, offset);
  }
  if (packetId !== 0) {
    bytes[offset++] = packetId >> 8;
    bytes[offset++] = packetId & 0xff;
  }
  if (isV5) {
    offset = writeVariableByteInteger(bytes, offset, propertiesSize);
    if (propertiesSize > 0) offset = writeProperties(bytes, offset, message, expirySeconds, identifiers, alias);
  }
  out.length = copyBytes(message.payloadBytes, message.payloadStart, message.payloadEnd, bytes, offset);
  return size;
}

function propertiesSizeOf(
  message: Message,
  expirySeconds: number,
  identifiers: readonly number[],
  alias: number,
): number {
  let size = message.propertiesEnd - message.propertiesStart;
  if (expirySeconds !== NO_EXPIRY) size += 5;
  if (alias !== 0) size += 3;
  for (let i = 0; i < identifiers.length; i++) size += 1 + variableByteIntegerSize(identifiers[i]!);
  return size;
}

function writeProperties(
  bytes: Uint8Array,
  start: number,
  message: Message,
  expirySeconds: number,
  identifiers: readonly number[],
  alias: number,
): number {
  let offset = copyBytes(message.propertiesBytes, message.propertiesStart, message.propertiesEnd, bytes, start);
  if (expirySeconds !== NO_EXPIRY) {
    bytes[offset++] = 0x02; // Message Expiry Interval
    bytes[offset++] = expirySeconds >>> 24;
    bytes[offset++] = (expirySeconds >>> 16) & 0xff;
    bytes[offset++] = (expirySeconds >>> 8) & 0xff;
    bytes[offset++] = expirySeconds & 0xff;
  }
  if (alias !== 0) {
    bytes[offset++] = 0x23; // Topic Alias
    bytes[offset++] = alias >> 8;
    bytes[offset++] = alias & 0xff;
  }
  for (let i = 0; i < identifiers.length; i++) {
    bytes[offset++] = 0x0b; // Subscription Identifier
    offset = writeVariableByteInteger(bytes, offset, identifiers[i]!);
  }
  return offset;
}

const NO_EXPIRY = -1;
const TEMPLATE_BYTES_MIN = 4_096;
/** A template that grew beyond this for one large message is given up with it. */
const TEMPLATE_BYTES_MAX = 1_048_576;
