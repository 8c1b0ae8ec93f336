/**
 * Whether the broker holds so much memory that clients must not add to it.
 *
 *   RELIEVED ──used ≥ mark──▶ HIGH ──used < 90 % of the mark──▶ RELIEVED, and whoever was held back reads on
 *
 * While it is high, connections hold back PUBLISH and SUBSCRIBE and go on with everything else, so that what is owed to
 * clients can be delivered and acknowledged. The gap between the two marks keeps it from changing with every sample.
 * Sampling is the owner's; nothing here reads a clock or asks the runtime.
 */
import type { Reader } from "./router.ts";

/** See the head of this file. One per broker. */
export class MemoryPressure {
  /** Read per packet. */
  isHigh = false;
  /** At most one entry per connection. */
  readonly #heldBack = new Set<Reader>();

  /**
   * Takes in a sample.
   *
   * @param markBytes High-water mark; 0 = no limit. May differ from call to call.
   */
  measure(usedBytes: number, markBytes: number): void {
    if (markBytes === 0) this.isHigh = false;
    else this.isHigh = usedBytes >= (this.isHigh ? markBytes * RELIEVED_SHARE : markBytes);
    if (this.isHigh || this.#heldBack.size === 0) return;
    const readers = [...this.#heldBack];
    this.#heldBack.clear();
    for (const reader of readers) reader.relieved();
  }

  /** Resumes a reader that stopped because of `isHigh`, once it is over. */
  whenRelieved(reader: Reader): void {
    this.#heldBack.add(reader);
  }

  /** Forgets a reader that ended: the pressure may last, and ended ones would add to it. */
  forget(reader: Reader): void {
    this.#heldBack.delete(reader);
  }
}

const RELIEVED_SHARE = 0.9;
