/**
 * A growing byte string with the data types of MQTT, for packets that are too rare to be written in place.
 *
 * The counterpart of `PacketReader`. A value that does not fit its type is a bug of the caller and throws.
 */

import assert from "node:assert/strict";
import {
  VARIABLE_BYTE_INTEGER_MAX,
  variableByteIntegerSize,
  writeVariableByteInteger,
} from "./variable_byte_integer.ts";

/** Bytes that text and Binary Data may have: their length is a Two Byte Integer. [MQTT 5.0, 1.5.4 and 1.5.6] */
const TEXT_SIZE_MAX = 65_535;

/** Appends fields to a packet or a part of one. */
export class PacketWriter {
  #bytes = new Uint8Array(64);
  #length = 0;

  /** Returns a copy of everything written. */
  toBytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** Appends one byte. */
  uint8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  /** Appends a Two Byte Integer. [MQTT 5.0, 1.5.2] */
  uint16(value: number): void {
    assert(value >= 0 && value <= 0xffff, "PacketWriter: a Two Byte Integer is out of range");
    this.uint8(value >> 8);
    this.uint8(value & 0xff);
  }

  /** Appends a Four Byte Integer. [MQTT 5.0, 1.5.3] */
  uint32(value: number): void {
    this.uint16(Math.floor(value / 0x10000));
    this.uint16(value % 0x10000);
  }

  /** Appends a Variable Byte Integer. [MQTT 5.0, 1.5.5] */
  variableByteInteger(value: number): void {
    assert(value >= 0 && value <= VARIABLE_BYTE_INTEGER_MAX, "PacketWriter: a Variable Byte Integer is out of range");
    this.#reserve(variableByteIntegerSize(value));
    this.#length = writeVariableByteInteger(this.#bytes, this.#length, value);
  }

  /** Appends a UTF-8 Encoded String of at most 65 535 bytes. [MQTT 5.0, 1.5.4] */
  text(value: string): void {
    this.binary(ENCODER.encode(value));
  }

  /** Appends Binary Data of at most 65 535 bytes. [MQTT 5.0, 1.5.6] */
  binary(value: Uint8Array): void {
    assert(value.length <= TEXT_SIZE_MAX, "PacketWriter: text or Binary Data is longer than its length field can say");
    this.uint16(value.length);
    this.raw(value);
  }

  /** Appends bytes as they are. */
  raw(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

const ENCODER = new TextEncoder();
