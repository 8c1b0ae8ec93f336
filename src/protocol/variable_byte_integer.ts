/**
 * Variable Byte Integers: 1 to 4 bytes of 7 value bits, least significant first, top bit = "more follow".
 *
 *     value                 bytes on the wire
 *     0 .. 127              0x00 .. 0x7F
 *     128 .. 16 383         0x80 0x01 .. 0xFF 0x7F
 *     16 384 .. 2 097 151   0x80 0x80 0x01 .. 0xFF 0xFF 0x7F
 *     2 097 152 .. max      0x80 0x80 0x80 0x01 .. 0xFF 0xFF 0xFF 0x7F
 *
 * Example: 321 = 2·128 + 65 is 0xC1 0x02. The shortest form is the only legal one [MQTT-1.5.5-1], therefore the
 * number of bytes read follows from the value and `variableByteIntegerSize` gives it without a second result.
 */

/** The largest value four bytes carry. [MQTT 5.0, 1.5.5] */
export const VARIABLE_BYTE_INTEGER_MAX = 268_435_455;

/** The bytes end before the integer does. */
export const INTEGER_INCOMPLETE = -1;

/** Five or more bytes, or more bytes than the value needs. [MQTT-1.5.5-1] */
export const INTEGER_MALFORMED = -2;

/**
 * Reads a Variable Byte Integer.
 *
 * @param end One past the last byte that may be read.
 * @returns The value, `INTEGER_INCOMPLETE` or `INTEGER_MALFORMED`. It took `variableByteIntegerSize(value)` bytes.
 */
export function readVariableByteInteger(bytes: Uint8Array, start: number, end: number): number {
  let value = 0;
  for (let index = 0; index < 4; index++) {
    if (start + index >= end) return INTEGER_INCOMPLETE;
    const byte = bytes[start + index]!;
    value |= (byte & 0x7f) << (7 * index);
    if (byte < 0x80) return byte === 0 && index > 0 ? INTEGER_MALFORMED : value;
  }
  return INTEGER_MALFORMED;
}

/** The number of bytes (1 to 4) that a value from 0 to `VARIABLE_BYTE_INTEGER_MAX` takes on the wire. */
export function variableByteIntegerSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  return value < 0x200000 ? 3 : 4;
}

/**
 * Writes a Variable Byte Integer in its shortest form.
 *
 * @param value 0 to `VARIABLE_BYTE_INTEGER_MAX`.
 * @param target Has room for `variableByteIntegerSize(value)` bytes at `offset`.
 * @returns The offset after the last byte written.
 */
export function writeVariableByteInteger(target: Uint8Array, offset: number, value: number): number {
  let rest = value;
  while (rest >= 0x80) {
    target[offset++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[offset++] = rest;
  return offset;
}
