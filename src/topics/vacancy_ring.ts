/**
 * A bounded delay between "this Map entry became empty" and its removal from the Map.
 *
 * V8 keeps deleted Map entries in their hash chain until the Map is rehashed. Setting and deleting one key over and
 * over in a Map of 10 000 other keys therefore costs some 13 µs a turn instead of 30 ns, more in larger Maps: a client
 * that subscribes and unsubscribes one filter, or sets and clears one Retained Message, would slow everybody down.
 * Entries that became empty wait here instead. One that is filled again in time was never removed; the others are
 * removed in the order in which they became empty, CAPACITY later.
 */

/** What can wait in a ring. */
export interface Vacatable {
  /** True while the entry holds nothing. */
  readonly isEmpty: boolean;
  /** Written by the ring alone: true while the entry waits in it. Starts false. */
  isWaiting: boolean;
}

/** Bounded, because a waiting entry may keep a name of 64 KiB. */
const CAPACITY = 256;

/** Delays the removal of empty entries. */
export class VacancyRing<T extends Vacatable> {
  readonly #entries: (T | undefined)[] = new Array(CAPACITY).fill(undefined);
  readonly #remove: (entry: T) => void;
  #next = 0;

  /** @param remove Removes an entry for good; called for entries that are still empty when their wait is over. */
  constructor(remove: (entry: T) => void) {
    this.#remove = remove;
  }

  /** Takes an entry that just became empty. O(1) plus at most one removal. */
  push(entry: T): void {
    if (entry.isWaiting) return;
    const oldest = this.#entries[this.#next];
    this.#entries[this.#next] = entry;
    entry.isWaiting = true;
    this.#next = (this.#next + 1) % CAPACITY;
    if (oldest === undefined) return;
    oldest.isWaiting = false;
    if (oldest.isEmpty) this.#remove(oldest);
  }
}
