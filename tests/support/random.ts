/**
 * A small seeded generator of pseudo-random numbers: the same seed gives the same attack on every machine.
 */

/** Xorshift over 32 bits; not for secrets. */
export class Random {
  #state: number;

  /** @param seed Any 32-bit integer; 0 is replaced, since it would only ever give 0. */
  constructor(seed: number) {
    this.#state = (seed >>> 0) || 0x9e3779b9;
  }

  /** Returns an integer from 0 up to but not including `limit`. */
  below(limit: number): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state >>> 0;
    return this.#state % limit;
  }

  /** Tells true once in `count` times on average. */
  oneIn(count: number): boolean {
    return this.below(count) === 0;
  }

  /** Picks one item of a list that is not empty. */
  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }

  /** Returns `count` random bytes. */
  bytes(count: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length: count }, () => this.below(256));
  }
}
