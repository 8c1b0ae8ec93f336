/**
 * A piece of the log in memory, seen as bytes, as 32-bit words and as doubles.
 *
 * Log Sequence Numbers and the places of records in a buffer are both multiples of 8, so every field of a record is
 * aligned in all three views. Fields are little-endian, as on every processor the runtime supports.
 */

/** See the head of this file. */
export class LogBuffer {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: Uint32Array;
  readonly doubles: Float64Array;

  /** @param capacity In bytes, a multiple of 8. */
  constructor(capacity: number) {
    const buffer = new ArrayBuffer(capacity);
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer);
    this.doubles = new Float64Array(buffer);
  }
}
