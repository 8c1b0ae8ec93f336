/**
 * What may not be deleted of the log: whoever reads sealed segments holds the LSN from which on it needs them, and every
 * deletion of a segment passes here first.
 *
 * A hold never comes too late in silence: what was let through before is being deleted, so the hold begins behind it and
 * says where. Holds are of this process alone: the next start removes what the database knows all of.
 *
 * Only segments that are safe are meant. After a failure the log gives up what was not safe, whoever holds it.
 */

/** Keeps segments from being deleted until it is released. */
export interface DeletionHold {
  /** Segments that end above it stay: the LSN asked for, or where the log begins when that was deleted already. */
  readonly fromLsn: number;
  /** Ends the hold; what it kept goes with the next pass of the compactor. May be called again. */
  release(): void;
}

/** See the head of this file. */
export class DeletionGate {
  readonly #holds = new Set<DeletionHold>();
  #goneLsn = 0;

  /** Segments that end at or below are deleted, or about to be. */
  get goneLsn(): number {
    return this.#goneLsn;
  }

  /** Holds there are now. */
  get holds(): number {
    return this.#holds.size;
  }

  /** The lowest LSN that is held; Infinity = nothing is. */
  get heldLsn(): number {
    let lowest = Infinity;
    for (const { fromLsn } of this.#holds) if (fromLsn < lowest) lowest = fromLsn;
    return lowest;
  }

  /** Keeps every segment that ends above an LSN. */
  hold(fromLsn: number): DeletionHold {
    const hold: DeletionHold = {
      fromLsn: Math.max(fromLsn, this.#goneLsn),
      release: () => void this.#holds.delete(hold),
    };
    this.#holds.add(hold);
    return hold;
  }

  /** Asked before a segment is emptied or deleted; true = it may be, and nobody can hold it any more. */
  letThrough(endLsn: number): boolean {
    if (endLsn > this.heldLsn) return false;
    if (endLsn > this.#goneLsn) this.#goneLsn = endLsn;
    return true;
  }
}
