/**
 * Those who hear of commits, told in the order in which they came. Telling allocates nothing: it happens at every commit.
 */
import type { Position } from "../model/stored.ts";

/** Hears that everything at or below a position is committed. */
export type CommitListener = (committed: Position) => void;

/** See the head of this file. */
export class CommitListeners {
  /** Never changed, only replaced, so that a listener may come or go while they are told. */
  #listeners: readonly CommitListener[] = [];
  #committed: Position = 0;

  /**
   * Adds a listener.
   *
   * @returns Takes it away again; a commit that is being told at that moment may still reach it.
   */
  add(listener: CommitListener): () => void {
    // An entry of its own, so that a listener may be added twice.
    const entry: CommitListener = (committed) => listener(committed);
    this.#listeners = [...this.#listeners, entry];
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== entry);
    };
  }

  /** Tells everybody. No listener ever hears of a lower position than before, also when one of them commits more. */
  tell(committed: Position): void {
    this.#committed = committed;
    for (const listener of this.#listeners) listener(this.#committed);
  }
}
