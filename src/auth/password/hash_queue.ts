/**
 * How many passwords are hashed at once, and how many wait for it.
 *
 * A hash takes a tenth of a second of a core and tens of megabytes, for whoever can send a CONNECT. So few run at the
 * same time, which leaves cores to the broker, and few wait, which keeps the wait below what clients put up with. What
 * comes on top is turned away at once.
 */

/**
 * Hashes that run at the same time: on half of the cores. With hashes on both cores of a machine that has two, a flood of
 * wrong passwords raised the 99th percentile of other clients' round trips from 0.8 to 156 ms; with one, to 12 ms.
 */
export const HASHES_AT_ONCE = Math.max(1, Math.floor(navigator.hardwareConcurrency / 2));

/** Hashes that wait for their turn: 7 to 13 s with the scrypt of `promptmq user add` and one at a time. */
export const HASHES_WAITING_MAX = 128;

/** Work in the order in which it came. */
export class HashQueue {
  readonly #waiting: (() => void)[] = [];
  readonly #atOnce: number;
  readonly #waitingMax: number;
  #running = 0;

  constructor(atOnce = HASHES_AT_ONCE, waitingMax = HASHES_WAITING_MAX) {
    this.#atOnce = atOnce;
    this.#waitingMax = waitingMax;
  }

  /** Work under way. */
  get running(): number {
    return this.#running;
  }

  /** Work that has not begun. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Does the work now or when its turn comes.
   *
   * @returns undefined when too much waits already; the work is not done then.
   */
  run<A>(work: () => Promise<A>): Promise<A> | undefined {
    if (this.#running < this.#atOnce) return this.#start(work);
    if (this.#waiting.length >= this.#waitingMax) return undefined;
    const { promise, resolve } = Promise.withResolvers<A>();
    this.#waiting.push(() => resolve(this.#start(work)));
    return promise;
  }

  async #start<A>(work: () => Promise<A>): Promise<A> {
    this.#running++;
    try {
      return await work();
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }
}
