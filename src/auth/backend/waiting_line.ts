/**
 * A bound on what is done at once: a few at work, a line of others that wait, and nobody beyond it.
 *
 * A server that is asked about thousands of clients after a restart is kept at work and not run over; a client that
 * would wait for longer than a client waits is told at once to come back later.
 */

/** See the head of this file. */
export class WaitingLine {
  #atWork = 0;
  #isClosed = false;
  /** In the order in which they came. */
  readonly #waiting = new Set<(mayBegin: boolean) => void>();
  readonly #atWorkMax: number;
  readonly #waitingMax: number;

  constructor(atWorkMax: number, waitingMax: number) {
    this.#atWorkMax = atWorkMax;
    this.#waitingMax = waitingMax;
  }

  /**
   * Waits for a place, at most `waitMs`.
   *
   * @returns True when work may begin, and `leave` must follow it; false when the line is full, or the time is over.
   */
  enter(waitMs: number): Promise<boolean> {
    if (this.#isClosed) return Promise.resolve(false);
    if (this.#atWork < this.#atWorkMax) {
      this.#atWork++;
      return Promise.resolve(true);
    }
    if (this.#waiting.size >= this.#waitingMax) return Promise.resolve(false);
    return new Promise((resolve) => {
      const settle = (mayBegin: boolean) => {
        clearTimeout(timer);
        this.#waiting.delete(settle);
        resolve(mayBegin);
      };
      const timer = setTimeout(() => settle(false), waitMs);
      this.#waiting.add(settle);
    });
  }

  /** Gives a place back, which goes to the first in the line. */
  leave(): void {
    for (const settle of this.#waiting) return settle(true);
    this.#atWork--;
  }

  /** Turns away all who wait and all who will come. */
  close(): void {
    this.#isClosed = true;
    for (const settle of [...this.#waiting]) settle(false);
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.size;
  }
}
