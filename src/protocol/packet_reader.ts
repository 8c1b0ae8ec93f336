/**
 * A cursor over the body of one packet, for the packets that are too rare to be worth reading in place.
 *
 * The first thing that goes wrong is kept in `fault`; from then on every read returns an empty value and `remaining`
 * is 0, so a decoder reads its fields in a straight line, its loops end, and it asks for the fault once. Everything
 * returned is a copy: it outlives the read buffer.
 */

import { Fault } from "./packets.ts";
import { decodeProperties, type Properties } from "./properties.ts";
import { readUint16 } from "./property_check.ts";
import { ReasonCode } from "./reason_codes.ts";
import { decodeUtf8, isValidUtf8String } from "./utf8.ts";
import { INTEGER_MALFORMED, readVariableByteInteger, variableByteIntegerSize } from "./variable_byte_integer.ts";

/** Reads fields from `start..end` of a packet, front to back. */
export class PacketReader {
  /** What went wrong first, or undefined. */
  fault: Fault | undefined;
  /** Where the properties read last stand in `bytes`, without their length. */
  propertiesStart = 0;
  propertiesEnd = 0;
  /** The packet. */
  readonly bytes: Uint8Array;
  #at: number;
  #end: number;

  /**
   * @param start First byte to read.
   * @param end One past the last byte; not more than `bytes.length`.
   */
  constructor(bytes: Uint8Array, start: number, end: number) {
    this.bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** Bytes not read yet; 0 after a fault. */
  get remaining(): number {
    return this.#end - this.#at;
  }

  /** Records a fault, unless there is one already, and ends the reading. */
  fail(fault: Fault): void {
    this.fault ??= fault;
    this.#at = this.#end;
  }

  /**
   * Reads one byte.
   *
   * @param field Name of the field for the fault. The same below.
   */
  uint8(field: string): number {
    return this.#has(1, field) ? this.bytes[this.#at++]! : 0;
  }

  /** Reads a Two Byte Integer. [MQTT 5.0, 1.5.2] */
  uint16(field: string): number {
    if (!this.#has(2, field)) return 0;
    this.#at += 2;
    return readUint16(this.bytes, this.#at - 2);
  }

  /** Reads Binary Data. [MQTT 5.0, 1.5.6] */
  binary(field: string): Uint8Array {
    const length = this.uint16(field);
    if (!this.#has(length, field)) return new Uint8Array(0);
    this.#at += length;
    return this.bytes.slice(this.#at - length, this.#at);
  }

  /** Reads a UTF-8 Encoded String, which must be well-formed and without U+0000. [MQTT-1.5.4-1] [MQTT-1.5.4-2] */
  text(field: string): string {
    const length = this.uint16(field);
    if (!this.#has(length, field)) return "";
    const start = this.#at;
    this.#at += length;
    if (isValidUtf8String(this.bytes, start, this.#at)) return decodeUtf8(this.bytes, start, this.#at);
    this.fail(new Fault(ReasonCode.MALFORMED_PACKET, "MQTT-1.5.4-1", `${field} is not valid UTF-8`));
    return "";
  }

  /**
   * Reads a Property Length and the properties it covers.
   *
   * @param owner The `PacketType` they belong to, or `WILL_OWNER`.
   */
  properties(owner: number): Properties {
    const length = readVariableByteInteger(this.bytes, this.#at, this.#end);
    if (length < 0) {
      const statement = length === INTEGER_MALFORMED ? "MQTT-1.5.5-1" : "MQTT-2.2.2-1";
      this.fail(new Fault(ReasonCode.MALFORMED_PACKET, statement, "Property Length cannot be read"));
      return {};
    }
    this.#at += variableByteIntegerSize(length);
    if (!this.#has(length, "Properties")) return {};
    this.propertiesStart = this.#at;
    this.propertiesEnd = this.#at += length;
    const properties = decodeProperties(this.bytes, this.propertiesStart, this.propertiesEnd, owner);
    if (!(properties instanceof Fault)) return properties;
    this.fail(properties);
    return {};
  }

  /** Demands that every byte of the packet was read. */
  finish(): void {
    if (this.remaining === 0) return;
    this.fail(new Fault(ReasonCode.MALFORMED_PACKET, "2.1.4", "Packet has bytes after its last field"));
  }

  #has(count: number, field: string): boolean {
    if (this.fault !== undefined) return false;
    if (this.remaining >= count) return true;
    this.fail(new Fault(ReasonCode.MALFORMED_PACKET, "2.1.4", `Packet ends before its ${field} does`));
    return false;
  }
}
