/**
 * Proof that nothing was lost, doubled or reordered: the ledgers every subscriber writes its deliveries into.
 *
 * A ledger knows publishers only by index and messages only by sequence number (from 0, without holes). It does not
 * know topics, sockets or time. After the run it is told how many messages each publisher sent *to it* and answers
 * with what differs.
 *
 * Words: a **gap** is a message that never came. A **duplicate** came more than once. A **late** one came after a
 * later one of the same publisher. A **misrouted** one came from a publisher whose topic was not subscribed.
 */

/** What is wrong with the deliveries of one ledger; all zero when nothing is. */
export interface DeliveryFaults {
  readonly gaps: number;
  readonly dups: number;
  readonly late: number;
  readonly misrouted: number;
}

/** Obligations of a ledger: `record` once per delivered PUBLISH, O(1); `summarize` once, after the last one. */
export interface DeliveryLedger {
  /**
   * Notes one delivery. Any number is accepted; what no publisher can have sent is counted as misrouted.
   *
   * @returns True when this message had not come before.
   */
  record(publisher: number, sequence: number): boolean;
  /**
   * Compares what came with what was sent.
   *
   * @param sent Messages per publisher that had to come here; 0 for publishers of other topics.
   */
  summarize(sent: ArrayLike<number>): DeliveryFaults;
}

/** How many skipped sequence numbers a ledger remembers one by one, to tell a late message from a second one. */
const SKIPPED_MAX = 100_000;

/**
 * Ledger of one ordinary subscription: per publisher the next sequence number expected.
 *
 * In-order traffic costs one compare and one store. A skipped number stays a gap until it arrives after all; past
 * {@link SKIPPED_MAX} open gaps, a late message is reported as a duplicate (and its gap stays).
 */
export class OrderedLedger implements DeliveryLedger {
  readonly #next: Uint32Array;
  readonly #skipped = new Set<number>();
  #gaps = 0;
  #dups = 0;
  #late = 0;
  #misrouted = 0;

  /** @param publishers Number of publishers of the run. */
  constructor(publishers: number) {
    this.#next = new Uint32Array(publishers);
  }

  record(publisher: number, sequence: number): boolean {
    if (this.#next[publisher] === sequence) {
      this.#next[publisher] = sequence + 1;
      return true;
    }
    return this.#recordOutOfOrder(publisher, sequence);
  }

  #recordOutOfOrder(publisher: number, sequence: number): boolean {
    const next = this.#next[publisher];
    if (next === undefined) {
      this.#misrouted++;
      return false;
    }
    if (sequence > next) {
      this.#gaps += sequence - next;
      for (let skipped = next; skipped < sequence && this.#skipped.size < SKIPPED_MAX; skipped++) {
        this.#skipped.add(keyOf(publisher, skipped));
      }
      this.#next[publisher] = sequence + 1;
      return true;
    }
    if (this.#skipped.delete(keyOf(publisher, sequence))) {
      this.#gaps--;
      this.#late++;
      return true;
    }
    this.#dups++;
    return false;
  }

  summarize(sent: ArrayLike<number>): DeliveryFaults {
    let gaps = this.#gaps;
    let misrouted = this.#misrouted;
    for (let publisher = 0; publisher < this.#next.length; publisher++) {
      const due = sent[publisher] ?? 0;
      const next = this.#next[publisher]!;
      if (next > due) misrouted += next - due;
      else gaps += due - next;
    }
    return { gaps, dups: this.#dups, late: this.#late, misrouted };
  }
}

/**
 * Ledger of a whole shared-subscription group: every message once, at any member, in any order.
 *
 * The members of a group write into one ledger. Memory is one bit per message. [MQTT 5.0, 4.8.2]
 */
export class SharedLedger implements DeliveryLedger {
  readonly #seen: Uint32Array[];
  readonly #count: Uint32Array;
  readonly #end: Uint32Array;
  #dups = 0;
  #misrouted = 0;

  /** @param publishers Number of publishers of the run. */
  constructor(publishers: number) {
    this.#seen = Array.from({ length: publishers }, () => new Uint32Array(1024));
    this.#count = new Uint32Array(publishers);
    this.#end = new Uint32Array(publishers);
  }

  record(publisher: number, sequence: number): boolean {
    let words = this.#seen[publisher];
    if (words === undefined || sequence > SEQUENCE_MAX) {
      this.#misrouted++;
      return false;
    }
    const word = sequence >>> 5;
    if (word >= words.length) {
      const grown = new Uint32Array(Math.max(word + 1, words.length * 2));
      grown.set(words);
      this.#seen[publisher] = words = grown;
    }
    const bit = 1 << (sequence & 31);
    if ((words[word]! & bit) !== 0) {
      this.#dups++;
      return false;
    }
    words[word] = words[word]! | bit;
    this.#count[publisher] = this.#count[publisher]! + 1;
    if (sequence >= this.#end[publisher]!) this.#end[publisher] = sequence + 1;
    return true;
  }

  summarize(sent: ArrayLike<number>): DeliveryFaults {
    let gaps = 0;
    let misrouted = this.#misrouted;
    for (let publisher = 0; publisher < this.#seen.length; publisher++) {
      const due = sent[publisher] ?? 0;
      const beyond = this.#countFrom(publisher, due);
      misrouted += beyond;
      gaps += due - (this.#count[publisher]! - beyond);
    }
    return { gaps, dups: this.#dups, late: 0, misrouted };
  }

  /** Counts the messages seen at or after a sequence number that was never sent. */
  #countFrom(publisher: number, first: number): number {
    const words = this.#seen[publisher]!;
    let count = 0;
    for (let sequence = first; sequence < this.#end[publisher]!; sequence++) {
      if ((words[sequence >>> 5]! & (1 << (sequence & 31))) !== 0) count++;
    }
    return count;
  }
}

/** Largest sequence number a shared ledger follows (128 MiB of bits); no run sends as many messages. */
const SEQUENCE_MAX = 2 ** 30;

/** Adds up the faults of several ledgers. */
export function addFaults(all: Iterable<DeliveryFaults>): DeliveryFaults {
  let gaps = 0;
  let dups = 0;
  let late = 0;
  let misrouted = 0;
  for (const faults of all) {
    gaps += faults.gaps;
    dups += faults.dups;
    late += faults.late;
    misrouted += faults.misrouted;
  }
  return { gaps, dups, late, misrouted };
}

function keyOf(publisher: number, sequence: number): number {
  return publisher * 2 ** 32 + sequence;
}
