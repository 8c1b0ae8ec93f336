/**
 * Finds packet boundaries: the fixed header with its Variable Byte Integer. [MQTT 5.0, 1.5.5 and 2.1]
 *
 * Plain and stateless between calls except for the result fields, which are reused so that framing allocates nothing.
 * It knows nothing of packet contents; a length that cannot be right is all it can find wrong.
 */

/** What `Framer.next` found. */
export const Frame = { INCOMPLETE: 0, WHOLE: 1, MALFORMED: 2 } as const;

/** Reusable fixed-header reader. One instance may serve every connection, since results are read at once. */
export class Framer {
  /** Offset of the first byte after the fixed header; valid after WHOLE. */
  bodyStart = 0;
  /** Offset of the first byte after the packet; valid after WHOLE. */
  packetEnd = 0;
  /** After INCOMPLETE: total bytes of the packet, fixed header included, or 0 while the length is not known yet. */
  packetSize = 0;

  /**
   * Looks for one whole packet at `start`.
   *
   * @param bytes Received bytes; valid in `start..end`.
   * @returns WHOLE with `bodyStart` and `packetEnd` set, INCOMPLETE with `packetSize` set, or MALFORMED when the
   *   Remaining Length takes more than four bytes or more than it needs. [MQTT-1.5.5-1]
   */
  next(bytes: Uint8Array, start: number, end: number): number {
    this.packetSize = 0;
    let offset = start + 1;
    if (offset >= end) return Frame.INCOMPLETE;
    let byte = bytes[offset++]!;
    let length = byte & 0x7f;
    if (byte > 0x7f) {
      let multiplier = 128;
      do {
        if (multiplier > 2_097_152) return Frame.MALFORMED;
        if (offset >= end) return Frame.INCOMPLETE;
        byte = bytes[offset++]!;
        length += (byte & 0x7f) * multiplier;
        multiplier *= 128;
      } while (byte > 0x7f);
      // A last byte of 0 adds nothing: the encoding was longer than needed.
      if (byte === 0) return Frame.MALFORMED;
    }
    this.bodyStart = offset;
    this.packetEnd = offset + length;
    if (this.packetEnd <= end) return Frame.WHOLE;
    this.packetSize = this.packetEnd - start;
    return Frame.INCOMPLETE;
  }
}
