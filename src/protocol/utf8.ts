/**
 * UTF-8 Encoded Strings: the strict check on the wire bytes, and the decoding that follows it.
 *
 * Bytes are checked before they become a string, because a decoder that replaces bad sequences would let two
 * different wire strings become one Client Identifier or Topic Name. Nearly every MQTT string is ASCII, so the check
 * is a byte loop that leaves for the runtime's native validator at the first byte above 0x7F. That validator refuses
 * overlong forms, surrogates (U+D800..U+DFFF) and code points above U+10FFFF; control characters other than U+0000
 * and non-characters are legal MQTT and pass.
 *
 * Nothing here knows what a string means: topic rules live in `topics/`.
 */

import { isUtf8 } from "node:buffer";

/**
 * Tells whether bytes are a legal UTF-8 Encoded String.
 *
 * Well-formed without surrogates [MQTT-1.5.4-1] and without U+0000 [MQTT-1.5.4-2]. O(n), allocates only when a byte
 * is not ASCII.
 *
 * @param start First byte of the text, after the two length bytes.
 * @param end One past the last byte.
 */
export function isValidUtf8String(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte === 0) return false;
    if (byte >= 0x80) return isValidFromNonAscii(bytes, at, end);
  }
  return true;
}

/**
 * Tells whether bytes are well-formed UTF-8, U+0000 allowed: what a payload promises with Payload Format Indicator 1.
 * [MQTT 5.0, 3.3.2.3.2]
 *
 * O(n) in native code: about 150 ns for 4 KiB.
 */
export function isWellFormedUtf8(bytes: Uint8Array, start: number, end: number): boolean {
  return isUtf8(bytes.subarray(start, end));
}

/**
 * Decodes bytes that `isValidUtf8String` accepted.
 *
 * A leading U+FEFF is kept as the character it is. [MQTT-1.5.4-3]
 *
 * @returns The text; ill-formed bytes would become U+FFFD, so check first.
 */
export function decodeUtf8(bytes: Uint8Array, start: number, end: number): string {
  return start === end ? "" : DECODER.decode(bytes.subarray(start, end));
}

/** `ignoreBOM: true` means that a byte order mark is text and stays in the output. */
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });

function isValidFromNonAscii(bytes: Uint8Array, start: number, end: number): boolean {
  const rest = bytes.subarray(start, end);
  return !rest.includes(0) && isUtf8(rest);
}
