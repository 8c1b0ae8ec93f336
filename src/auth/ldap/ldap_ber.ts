/**
 * The Basic Encoding Rules as far as LDAP uses them: definite lengths, tags of one byte. [RFC 4511, 5.1]
 *
 *     tag (1 byte) | length: 0..127 in one byte, else 0x80 + count and 1..4 bytes, most significant first | content
 *
 *     02 01 05              INTEGER 5
 *     04 03 75 69 64        OCTET STRING "uid"
 *     30 08 …               SEQUENCE with 8 bytes of elements in it
 *
 * Writing is plain concatenation: requests are small and rare. Reading trusts nobody: every length is checked against
 * what is there, and each read goes forward or throws `MalformedLdap`, so that no answer can keep a loop turning.
 */

/** Tags of the universal types that LDAP uses. */
export const Tag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  OCTET_STRING: 0x04,
  ENUMERATED: 0x0a,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const;

/** Bytes of the other side that are no LDAP. Caught where a conversation ends; never leaves the folder. */
export class MalformedLdap extends Error {
  override readonly name = "MalformedLdap";
}

/** One element around its contents, which are joined in their order. */
export function element(tag: number, ...contents: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const length = contents.reduce((sum, content) => sum + content.length, 0);
  const header = [tag, ...lengthBytes(length)];
  const bytes = new Uint8Array(header.length + length);
  bytes.set(header);
  let at = header.length;
  for (const content of contents) {
    bytes.set(content, at);
    at += content.length;
  }
  return bytes;
}

/** A number from 0 to 2^31 - 1. */
export function numberElement(tag: number, value: number): Uint8Array<ArrayBuffer> {
  const bytes = [value & 0xff];
  // The topmost bit is the sign, so a number that would set it gets a zero byte in front.
  for (let rest = value >>> 8, last = value & 0xff; rest > 0 || last >= 0x80; rest >>>= 8) {
    last = rest & 0xff;
    bytes.unshift(last);
  }
  return element(tag, Uint8Array.from(bytes));
}

/** A text in UTF-8. */
export function textElement(tag: number, value: string): Uint8Array<ArrayBuffer> {
  return element(tag, ENCODER.encode(value));
}

/**
 * How many bytes the element at the start of `bytes` has in all, its header included.
 *
 * @returns undefined when the header is not complete yet.
 * @throws MalformedLdap when the length is none that LDAP allows.
 */
export function elementLength(bytes: Uint8Array): number | undefined {
  if (bytes.length < 2) return undefined;
  const first = bytes[1]!;
  if (first < 0x80) return 2 + first;
  const count = first & 0x7f;
  if (count === 0 || count > LENGTH_BYTES_MAX) throw new MalformedLdap("a length is not definite or too long");
  if (bytes.length < 2 + count) return undefined;
  let length = 0;
  for (let i = 0; i < count; i++) length = length * 256 + bytes[2 + i]!;
  return 2 + count + length;
}

/** Reads the elements in some bytes, one after the other. What it returns are views of these bytes. */
export class BerReader {
  #rest: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#rest = bytes;
  }

  /** True when nothing is left. */
  get isAtEnd(): boolean {
    return this.#rest.length === 0;
  }

  /** Tag of the next element, or undefined at the end. */
  get nextTag(): number | undefined {
    return this.#rest[0];
  }

  /** Takes the next element, which must have this tag, and returns its content. */
  content(tag: number): Uint8Array {
    if (this.nextTag !== tag) throw new MalformedLdap("an element is not the one expected");
    const length = elementLength(this.#rest);
    if (length === undefined || length > this.#rest.length) throw new MalformedLdap("an element is cut off");
    const headerLength = this.#rest[1]! < 0x80 ? 2 : 2 + (this.#rest[1]! & 0x7f);
    const content = this.#rest.subarray(headerLength, length);
    this.#rest = this.#rest.subarray(length);
    return content;
  }

  /** Takes a constructed element and returns a reader of what is in it. */
  inside(tag: number): BerReader {
    return new BerReader(this.content(tag));
  }

  /** Takes a number from 0 to 2^31 - 1, which covers message numbers and result codes. */
  number(tag: number): number {
    const content = this.content(tag);
    if (content.length === 0 || content.length > 4 || content[0]! >= 0x80) throw new MalformedLdap("a number is wrong");
    return content.reduce((value, byte) => value * 256 + byte, 0);
  }

  /** Takes an OCTET STRING that must be UTF-8. */
  text(): string {
    const text = textOf(this.content(Tag.OCTET_STRING));
    if (text === undefined) throw new MalformedLdap("a text is not UTF-8");
    return text;
  }
}

/** Decodes UTF-8; undefined when it is none. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    return DECODER.decode(bytes);
  } catch {
    return undefined;
  }
}

const LENGTH_BYTES_MAX = 4;
const ENCODER = new TextEncoder();
const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function lengthBytes(length: number): number[] {
  if (length < 0x80) return [length];
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest >>>= 8) bytes.unshift(rest & 0xff);
  return [0x80 + bytes.length, ...bytes];
}
