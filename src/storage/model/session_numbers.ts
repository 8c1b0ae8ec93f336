/**
 * The numbers of recorded Sessions: none is ever given out twice, also after a crash, so what is stored says which is next.
 * A record holds 32 bits of one; beyond that there are none left, rather than those of other Sessions.
 */
import assert from "node:assert/strict";
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

  /** False once every number that a record can hold was used. */
  get isLeft(): boolean {
    return this.#next <= SESSION_NUMBER_MAX;
  }

  /** Gives one out, while `isLeft`. */
  take(): SessionNumber {
    assert(this.isLeft, "a record can hold the number");
    return this.#next++;
  }
}

const SESSION_NUMBER_MAX = 0xffff_ffff;
