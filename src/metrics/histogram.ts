/**
 * A distribution as counts per bucket: observing is a short scan over fixed bounds and never allocates.
 *
 * Knows no unit and no name; both belong to the field that holds it.
 */

/** A histogram with fixed upper bounds; the last bucket has none. */
export class Histogram {
  /** Observations per bucket, not cumulative; one longer than `bounds`. */
  readonly counts: Float64Array;
  /** Sum of all observed values, in the histogram's unit. */
  sum = 0;
  /** Number of observations. */
  count = 0;

  /** @param bounds Inclusive upper bounds in ascending order, in the histogram's unit. */
  constructor(readonly bounds: readonly number[]) {
    this.counts = new Float64Array(bounds.length + 1);
  }

  /**
   * Counts one value. O(bounds), no allocation.
   *
   * @param value In the histogram's unit.
   */
  observe(value: number): void {
    this.observeMany(value, 1);
  }

  /**
   * Counts one value several times: what a whole turn has in common.
   *
   * @param value In the histogram's unit.
   * @param times How often; at least 1.
   */
  observeMany(value: number, times: number): void {
    const bounds = this.bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
    this.counts[bucket]! += times;
    this.sum += value * times;
    this.count += times;
  }

  /**
   * Estimates the value that a share of all observations does not exceed: within its bucket by linear interpolation,
   * and the highest bound when it lies beyond. O(bounds).
   *
   * @param share From 0 to 1, such as 0.99.
   * @returns In the histogram's unit; 0 while nothing was observed.
   */
  quantile(share: number): number {
    const wanted = share * this.count;
    let below = 0;
    let lower = 0;
    for (let bucket = 0; bucket < this.bounds.length; bucket++) {
      const upper = this.bounds[bucket]!;
      const inside = this.counts[bucket]!;
      if (inside > 0 && below + inside >= wanted) return lower + (upper - lower) * (wanted - below) / inside;
      below += inside;
      lower = upper;
    }
    return this.count === 0 ? 0 : lower;
  }
}
