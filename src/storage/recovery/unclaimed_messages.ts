/**
 * Messages of Shared Subscriptions that nobody recorded was subscribed to when they came.
 *
 * After a crash they are nobody's: those who could get them are gone with the process. But a recorded Session that
 * subscribes later may be sent one, and is owed it from then on. Most are delivered without ever being named in a record,
 * and the log may be full of them, so this keeps numbers and no objects.
 */
import type { GroupOrdinal, Position } from "../model/stored.ts";
import type { RoutedGroup } from "./replayed_group.ts";

/** See the head of this file. `find` leaves its result in `routed`, `size` and `messageFlags`. */
export class UnclaimedMessages {
  /** Result of `find`. */
  routed: RoutedGroup | undefined = undefined;
  /** Result of `find`: stored bytes of the message. */
  size = 0;
  /** Result of `find`: QoS (bits 0 and 1) and RETAIN (bit 2) of the message, as far as they are known. */
  messageFlags = 0;
  readonly #routed: RoutedGroup[] = [];
  #positions = new Float64Array(CAPACITY_MIN);
  #sizes = new Float64Array(CAPACITY_MIN);
  #flags = new Uint8Array(CAPACITY_MIN);

  /** Adds a message of one group. Positions never go down. Amortised O(1). */
  add(routed: RoutedGroup, position: Position, size: number, messageFlags: number): void {
    const index = this.#routed.length;
    if (index === this.#positions.length) {
      this.#positions = doubled(this.#positions, new Float64Array(index * 2));
      this.#sizes = doubled(this.#sizes, new Float64Array(index * 2));
      this.#flags = doubled(this.#flags, new Uint8Array(index * 2));
    }
    this.#positions[index] = position;
    this.#sizes[index] = size;
    this.#flags[index] = messageFlags;
    this.#routed.push(routed);
  }

  /** Finds what a record names. O(log messages). */
  find(position: Position, ordinal: GroupOrdinal): boolean {
    const positions = this.#positions;
    const count = this.#routed.length;
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (positions[middle]! < position) low = middle + 1;
      else high = middle;
    }
    while (low < count && positions[low] === position && this.#routed[low]!.owed.ordinal !== ordinal) low++;
    if (low === count || positions[low] !== position) return false;
    this.routed = this.#routed[low];
    this.size = this.#sizes[low]!;
    this.messageFlags = this.#flags[low]!;
    return true;
  }
}

function doubled<A extends Float64Array | Uint8Array>(array: A, larger: A): A {
  larger.set(array);
  return larger;
}

const CAPACITY_MIN = 64;
