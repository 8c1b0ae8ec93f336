/**
 * The clock of the broker: what is written down with a time, and every timer, goes by it.
 */

/** Milliseconds since the epoch as the process began to count them, with fractions: steady when the wall clock is set. */
export function monotonicMs(): number {
  return performance.timeOrigin + performance.now();
}
