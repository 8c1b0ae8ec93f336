/**
 * Growable byte writer and bounds-checked reader for the packets that tests build and take apart by hand.
 *
 * Deliberately independent of the code under test: the broker's own codec never vouches for itself here.
 */

const UTF8_ENCODER = new TextEncoder();
const UTF8_DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Collects bytes of one packet body. */
export class ByteWriter {
  readonly #bytes: number[] = [];

  /** Appends one byte; larger values are cut to eight bits, as a broken peer might. */
  byte(value: number): this {
    this.#bytes.push(value & 0xff);
    return this;
  }

  /** Appends a Two Byte Integer. [MQTT 5.0, 1.5.2] */
  uint16(value: number): this {
    return this.byte(value >>> 8).byte(value);
  }

  /** Appends a Four Byte Integer. [MQTT 5.0, 1.5.3] */
  uint32(value: number): this {
    return this.uint16(value >>> 16).uint16(value & 0xffff);
  }

  /** Appends a Variable Byte Integer in its shortest form. [MQTT-1.5.5-1] */
  variable(value: number): this {
    let rest = value;
    do {
      const digit = rest % 128;
      rest = Math.floor(rest / 128);
      this.byte(rest > 0 ? digit | 0x80 : digit);
    } while (rest > 0);
    return this;
  }

  /** Appends bytes as they are. */
  raw(bytes: Uint8Array): this {
    for (const byte of bytes) this.#bytes.push(byte);
    return this;
  }

  /** Appends Binary Data: a Two Byte Integer length, then the bytes. [MQTT 5.0, 1.5.6] */
  binary(bytes: Uint8Array): this {
    return this.uint16(bytes.length).raw(bytes);
  }

  /** Appends a UTF-8 Encoded String. [MQTT 5.0, 1.5.4] */
  text(value: string): this {
    return this.binary(UTF8_ENCODER.encode(value));
  }

  /** Returns a copy of everything appended so far. */
  finish(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.#bytes);
  }
}

/** Takes one packet body apart; every read past the end throws, which fails the test that asked for it. */
export class ByteReader {
  #position = 0;

  /** @param bytes Not copied; must not change while the reader is in use. */
  constructor(readonly bytes: Uint8Array) {}

  /** How many bytes are left. */
  get remaining(): number {
    return this.bytes.length - this.#position;
  }

  /** Reads one byte. */
  byte(): number {
    const value = this.bytes[this.#position];
    if (value === undefined) throw new Error(`packet ends early at byte ${this.#position}`);
    this.#position += 1;
    return value;
  }

  /** Reads a Two Byte Integer. */
  uint16(): number {
    return (this.byte() << 8) | this.byte();
  }

  /** Reads a Four Byte Integer. */
  uint32(): number {
    return this.uint16() * 0x10000 + this.uint16();
  }

  /** Reads a Variable Byte Integer of at most four bytes, and insists on its shortest form. [MQTT-1.5.5-1] */
  variable(): number {
    let value = 0;
    for (let index = 0; index < 4; index += 1) {
      const digit = this.byte();
      value += (digit & 0x7f) * 128 ** index;
      if ((digit & 0x80) !== 0) continue;
      if (index > 0 && digit === 0) throw new Error("variable byte integer is not in its shortest form");
      return value;
    }
    throw new Error("variable byte integer is longer than four bytes");
  }

  /** Reads `count` bytes as a view. */
  raw(count: number): Uint8Array {
    if (count > this.remaining) throw new Error(`packet ends early: ${count} wanted, ${this.remaining} left`);
    const view = this.bytes.subarray(this.#position, this.#position + count);
    this.#position += count;
    return view;
  }

  /** Reads Binary Data as a view. */
  binary(): Uint8Array {
    return this.raw(this.uint16());
  }

  /** Reads a UTF-8 Encoded String; ill-formed UTF-8 throws. [MQTT-1.5.4-1] */
  text(): string {
    return UTF8_DECODER.decode(this.binary());
  }
}

/** Puts the fixed header in front of a packet body. */
export function frame(firstByte: number, body: Uint8Array): Uint8Array<ArrayBuffer> {
  return new ByteWriter().byte(firstByte).variable(body.length).raw(body).finish();
}

/**
 * Reads pairs of hexadecimal digits; blanks are for the reader and skipped.
 *
 * @example `fromHex("c0 00")` is a PINGREQ.
 */
export function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  const digits = hex.replaceAll(/\s+/g, "");
  if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new Error(`not hexadecimal: ${hex}`);
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** Writes bytes as hexadecimal digits, two per byte, for failure messages and golden files. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Joins byte arrays into one write. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let position = 0;
  for (const part of parts) {
    whole.set(part, position);
    position += part.length;
  }
  return whole;
}
