/**
 * A set of Packet Identifiers as a bitmap of 8 KiB, made when the first one is added and kept until `trim` or `clear`.
 *
 * A Set of numbers would do, but adding and deleting beside tens of thousands of open identifiers costs it over ten
 * microseconds a pair, and a v3 client may open as many as it likes.
 */
import type { PacketId } from "../protocol/distinct_number.ts";

/** Packet Identifiers from 1 to 65535. */
export class PacketIdSet {
  /** Identifiers in the set. */
  size = 0;
  #bits: Uint8Array | undefined = undefined;

  /** Memory of the bitmap. */
  get bytesHeld(): number {
    return this.#bits === undefined ? 0 : BITMAP_BYTES;
  }

  has(packetId: PacketId): boolean {
    return this.#bits !== undefined && (this.#bits[packetId >> 3]! & (1 << (packetId & 7))) !== 0;
  }

  /** Adds an identifier; one that is in the set already stays. */
  add(packetId: PacketId): void {
    if (this.has(packetId)) return;
    this.#bits ??= new Uint8Array(BITMAP_BYTES);
    this.#bits[packetId >> 3]! |= 1 << (packetId & 7);
    this.size++;
  }

  /** Gives the memory back if nothing is in the set. */
  trim(): void {
    if (this.size === 0) this.#bits = undefined;
  }

  /** Removes all and gives the memory back. */
  clear(): void {
    this.#bits = undefined;
    this.size = 0;
  }

  /** Removes an identifier; false when it was not in the set. */
  delete(packetId: PacketId): boolean {
    if (!this.has(packetId)) return false;
    this.#bits![packetId >> 3]! &= ~(1 << (packetId & 7));
    this.size--;
    return true;
  }
}

const BITMAP_BYTES = 8_192;
