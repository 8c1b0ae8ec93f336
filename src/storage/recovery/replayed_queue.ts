/**
 * What one Session is owed while the log is replayed: entries by position, because that is how PROGRESS records name
 * them.
 *
 * Messages come in the order of positions and are mostly completed in it, so the queue is an array with a head, in which
 * a guess is nearly always right and a binary search finds the rest. What comes out of order (a Retained Message is as
 * old as it is) stands beside it in a map. A completed entry is marked and leaves the array when it reaches the head, or
 * when half of the array is marked.
 *
 * One Session may be owed a message twice, when it subscribes again before the Retained Message of the first time is
 * acknowledged. Then the Packet Identifier tells the two apart: no record of one is ever applied to the other.
 */
import type { PacketId } from "../../protocol/distinct_number.ts";
import { ProgressKind } from "../log/record.ts";
import type { OwedGroup, OwedMessage } from "../model/durable_state.ts";
import type { Position } from "../model/stored.ts";

/** A message that is owed to a Session; becomes an `OwedMessage` of the result as it is. */
export class ReplayedEntry implements OwedMessage {
  readonly position: Position;
  /** `SIZE_UNKNOWN` when the message is not there any more. */
  size: number;
  flags: number;
  identifiers: readonly number[];
  packetId: PacketId = 0;
  isReceived = false;
  group: OwedGroup | undefined = undefined;
  /** Entries are owed in this order; being sent counts as the latest news of one. */
  sequence: number;
  isDone = false;
  /** True for an entry from the database that no `owe` of the log was recognised as yet. */
  isArchived = false;

  constructor(position: Position, size: number, flags: number, identifiers: readonly number[], sequence: number) {
    this.position = position;
    this.size = size;
    this.flags = flags;
    this.identifiers = identifiers;
    this.sequence = sequence;
  }
}

/** Size of a message that is not stored any more; it may still wait for PUBCOMP. */
export const SIZE_UNKNOWN = -1;

/** See the head of this file. */
export class ReplayedQueue {
  #entries: ReplayedEntry[] = [];
  /** Everything before it is done. */
  #head = 0;
  /** Where the next SENT is expected. */
  #unsent = 0;
  #doneBehindHead = 0;
  #strays: Map<Position, ReplayedEntry[]> | undefined = undefined;

  /** Adds an entry behind all others. */
  add(entry: ReplayedEntry): void {
    const entries = this.#entries;
    if (entries.length === 0 || entries[entries.length - 1]!.position < entry.position) {
      entries.push(entry);
      return;
    }
    const strays = this.#strays ??= new Map();
    const twins = strays.get(entry.position);
    if (twins === undefined) strays.set(entry.position, [entry]);
    else twins.push(entry);
  }

  /**
   * Applies one PROGRESS record; nothing happens when the message is not owed.
   *
   * @param sequence Of the record among everything that was replayed.
   */
  progress(kind: ProgressKind, position: Position, packetId: PacketId, sequence: number): void {
    const index = this.#indexOf(position, kind === ProgressKind.SENT ? this.#unsent : this.#head);
    const inOrder = index === -1 ? undefined : this.#entries[index];
    const entry = this.#strays === undefined ? inOrder : this.#select(position, packetId, inOrder);
    if (entry === undefined || rank(entry, packetId) === RANK_OTHER) return;
    if (kind === ProgressKind.SENT) {
      entry.packetId = packetId;
      entry.sequence = sequence;
      if (entry === inOrder) this.#unsent = index + 1;
    } else if (kind === ProgressKind.RECEIVED) {
      entry.isReceived = true;
      if (packetId !== 0) entry.packetId = packetId;
    } else {
      entry.isDone = true;
      if (entry === inOrder) this.#leave(index);
      else this.#removeStray(entry);
    }
  }

  /** The first entry for a position that came from the database and was not recognised yet, if any. */
  archivedEntry(position: Position): ReplayedEntry | undefined {
    const index = this.#indexOf(position, this.#head);
    const entry = index === -1 ? undefined : this.#entries[index]!;
    if (entry !== undefined && entry.isArchived) return entry;
    return this.#strays?.get(position)?.find((stray) => stray.isArchived);
  }

  /** Everything that is still owed, in no order. */
  owed(): ReplayedEntry[] {
    const owed: ReplayedEntry[] = [];
    for (let index = this.#head; index < this.#entries.length; index++) {
      if (!this.#entries[index]!.isDone) owed.push(this.#entries[index]!);
    }
    for (const twins of this.#strays?.values() ?? []) for (const stray of twins) owed.push(stray);
    return owed;
  }

  /** Forgets everything. */
  clear(): void {
    this.#entries = [];
    this.#head = this.#unsent = this.#doneBehindHead = 0;
    this.#strays = undefined;
  }

  /** Index of the entry for a position that is not done, or -1. */
  #indexOf(position: Position, guess: number): number {
    const entries = this.#entries;
    if (guess < entries.length && entries[guess]!.position === position && !entries[guess]!.isDone) return guess;
    let low = this.#head;
    let high = entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (entries[middle]!.position < position) low = middle + 1;
      else high = middle;
    }
    return low < entries.length && entries[low]!.position === position && !entries[low]!.isDone ? low : -1;
  }

  /** Of all entries for a position the one with the Packet Identifier, or else one that was not sent. */
  #select(position: Position, packetId: PacketId, inOrder: ReplayedEntry | undefined): ReplayedEntry | undefined {
    let best = inOrder;
    for (const entry of this.#strays!.get(position) ?? []) {
      const lead = best === undefined ? -1 : rank(entry, packetId) - rank(best, packetId);
      if (lead < 0 || (lead === 0 && entry.sequence < best!.sequence)) best = entry;
    }
    return best;
  }

  #removeStray(entry: ReplayedEntry): void {
    const twins = this.#strays!.get(entry.position)!;
    if (twins.length > 1) twins.splice(twins.indexOf(entry), 1);
    else this.#strays!.delete(entry.position);
  }

  /** An entry of the array is done. */
  #leave(index: number): void {
    const entries = this.#entries;
    if (index !== this.#head) {
      if (++this.#doneBehindHead > entries.length >> 1 && entries.length > ENTRIES_KEPT_MIN) this.#compact();
      return;
    }
    let head = index + 1;
    for (; head < entries.length && entries[head]!.isDone; head++) this.#doneBehindHead--;
    this.#head = head;
    if (head > entries.length >> 1 && head > ENTRIES_KEPT_MIN) this.#compact();
  }

  #compact(): void {
    const unsent = this.#entries[this.#unsent];
    this.#entries = this.#entries.filter((entry) => !entry.isDone);
    this.#head = this.#doneBehindHead = 0;
    this.#unsent = unsent === undefined ? this.#entries.length : Math.max(0, this.#entries.indexOf(unsent));
  }
}

function rank(entry: ReplayedEntry, packetId: PacketId): number {
  if (entry.packetId === packetId) return 0;
  return entry.packetId === 0 ? 1 : RANK_OTHER;
}

/** Of an entry that was sent with another Packet Identifier. */
const RANK_OTHER = 2;

/** Shorter arrays are left as they are. */
const ENTRIES_KEPT_MIN = 1024;
