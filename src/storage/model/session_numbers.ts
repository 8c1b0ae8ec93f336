/**
 * The numbers of recorded Sessions: none is ever given out twice, also after a crash, so what is stored says which is next.
 */
import type { SessionNumber } from "./stored.ts";

/** See the head of this file. */
export class SessionNumbers {
  #next: SessionNumber;

  /** @param next The first to be given out. */
  constructor(next: SessionNumber) {
    this.#next = next;
  }

  /** The number that is given out next. */
  get next(): SessionNumber {
    return this.#next;
  }

  /** Gives one out. */
  take(): SessionNumber {
    return this.#next++;
  }
}
