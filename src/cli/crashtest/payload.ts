/**
 * The payload of a crash test: who sent it, its number, and filling that makes sizes differ.
 */

/** Makes the payload of a message. */
export function encodePayload(publisher: string, sequence: number, fillingBytes: number): string {
  return `${publisher} ${sequence} ${"x".repeat(fillingBytes)}`;
}

/** The number in a payload, NaN when there is none. */
export function sequenceOf(payload: Uint8Array): number {
  const match = /^\S+ ([1-9][0-9]*) x*$/.exec(TEXT.decode(payload));
  return match === null ? NaN : Number(match[1]);
}

const TEXT = new TextDecoder();
