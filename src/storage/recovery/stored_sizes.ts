/**
 * Sizes of the messages that something other than their own record may speak of: those in the database, and the
 * Retained Messages of the log. A message that has no size here is not stored any more.
 */
import type { LoadedMessages } from "../checkpoint/checkpoint_rows.ts";
import type { Position } from "../model/stored.ts";
import { SIZE_UNKNOWN } from "./replayed_queue.ts";

/** See the head of this file. */
export class StoredSizes {
  readonly #archived: LoadedMessages;
  readonly #archiveEndLsn: Position;
  readonly #positions: Position[] = [];
  readonly #sizes: number[] = [];

  /** @param archiveEndLsn Archived messages from here on do not count: the log has them. */
  constructor(archived: LoadedMessages, archiveEndLsn: Position) {
    this.#archived = archived;
    this.#archiveEndLsn = archiveEndLsn;
  }

  /** Adds a message of the log; positions must grow. */
  add(position: Position, size: number): void {
    this.#positions.push(position);
    this.#sizes.push(size);
  }

  /** Size of the message at a position, or `SIZE_UNKNOWN`. */
  of(position: Position): number {
    const isArchived = position < this.#archiveEndLsn;
    const positions = isArchived ? this.#archived.positions : this.#positions;
    const sizes = isArchived ? this.#archived.sizes : this.#sizes;
    const index = indexOf(positions, position);
    return positions[index] === position ? sizes[index]! : SIZE_UNKNOWN;
  }

  /** QoS and RETAIN of the archived message at a position; undefined when it is not archived any more. */
  flagsOf(position: Position): number | undefined {
    const { positions, flags } = this.#archived;
    const index = indexOf(positions, position);
    return positions[index] === position ? flags[index] : undefined;
  }
}

/** Index of the first position that is not below another one. */
function indexOf(positions: ArrayLike<Position>, position: Position): number {
  let low = 0;
  let high = positions.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (positions[middle]! < position) low = middle + 1;
    else high = middle;
  }
  return low;
}
