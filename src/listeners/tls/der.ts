/**
 * DER as far as certificates need it: one value after another, each a tag, a length and a content. [X.690, 8 and 10]
 *
 * Every length is checked against what is there, so nothing a stranger sends makes it read elsewhere; depth is that of
 * the callers, since nothing here descends by itself.
 */

/** One value. The arrays are views of what was read. */
export interface DerValue {
  /** Identifier octet: class, constructed or not, number. Numbers above 30 do not occur in certificates. */
  readonly tag: number;
  readonly content: Uint8Array;
  /** With tag and length. */
  readonly whole: Uint8Array;
}

/** Reads exactly one value; undefined when it is cut off, or when something follows. */
export function readDer(bytes: Uint8Array): DerValue | undefined {
  const value = readValue(bytes, 0);
  return value?.whole.length === bytes.length ? value : undefined;
}

/** The values inside a constructed one; undefined when it is absent, is not constructed, or cannot be read. */
export function childrenOf(value: DerValue | undefined): readonly DerValue[] | undefined {
  if (value === undefined || (value.tag & CONSTRUCTED) === 0) return undefined;
  const children: DerValue[] = [];
  for (let offset = 0; offset < value.content.length;) {
    const child = readValue(value.content, offset);
    if (child === undefined) return undefined;
    children.push(child);
    offset += child.whole.length;
  }
  return children;
}

/** An object identifier in numbers and dots; undefined when the value is none. */
export function objectIdentifierOf({ tag, content }: DerValue): string | undefined {
  if (tag !== TAG_OBJECT_IDENTIFIER || content.length === 0 || content.at(-1)! > 0x7f) return undefined;
  const arcs: bigint[] = [];
  let arc = 0n;
  for (const byte of content) {
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    if (byte > 0x7f) continue;
    arcs.push(arc);
    arc = 0n;
  }
  const first = arcs[0]! < 80n ? arcs[0]! / 40n : 2n;
  return [first, arcs[0]! - first * 40n, ...arcs.slice(1)].join(".");
}

/** The text of a string of any of the usual types; undefined when the value is no string, or a broken one. */
export function textOf({ tag, content }: DerValue): string | undefined {
  const encoding = ENCODINGS.get(tag);
  if (encoding === undefined) return undefined;
  try {
    return new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(content);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

function readValue(bytes: Uint8Array, start: number): DerValue | undefined {
  const tag = bytes[start];
  const short = bytes[start + 1];
  if (tag === undefined || short === undefined || (tag & 0x1f) === 0x1f) return undefined;
  let contentStart = start + 2;
  let length = short;
  if (short > 0x7f) {
    const lengthBytes = short & 0x7f;
    // None is the indefinite length, which DER has not; four are more than any certificate takes.
    if (lengthBytes === 0 || lengthBytes > 4 || contentStart + lengthBytes > bytes.length) return undefined;
    length = 0;
    for (let i = 0; i < lengthBytes; i++) length = length * 256 + bytes[contentStart + i]!;
    contentStart += lengthBytes;
  }
  const end = contentStart + length;
  if (end > bytes.length) return undefined;
  return { tag, content: bytes.subarray(contentStart, end), whole: bytes.subarray(start, end) };
}

const CONSTRUCTED = 0x20;
const TAG_OBJECT_IDENTIFIER = 6;
/** UTF8String, NumericString, PrintableString, IA5String, and BMPString; others are not written any more. */
const ENCODINGS: ReadonlyMap<number, string> = new Map([
  [12, "utf-8"],
  [18, "utf-8"],
  [19, "utf-8"],
  [22, "utf-8"],
  [30, "utf-16be"],
]);
