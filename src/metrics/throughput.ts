/**
 * A rate from a total that only grows, taken over the time between two readings.
 *
 * Two scrapers, or a scrape and a person with curl, may read within the same moment. A rate over a few milliseconds
 * would be noise, so a reading less than `WINDOW_MS_MIN` after the last one repeats the last rate.
 */

/** Shortest time a rate is taken over, in milliseconds. */
export const WINDOW_MS_MIN = 1000;

/** The rate of one total. */
export class Throughput {
  #total = 0;
  #atMs: number;
  #perSecond = 0;

  /** @param nowMs When the total was 0, on any clock that never goes back. */
  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  /**
   * Reads the rate since the previous reading.
   *
   * @param total The total now, never less than before.
   * @param nowMs The same clock as at construction.
   * @returns Units per second.
   */
  read(total: number, nowMs: number): number {
    const elapsedMs = nowMs - this.#atMs;
    if (elapsedMs < WINDOW_MS_MIN) return this.#perSecond;
    this.#perSecond = (total - this.#total) * 1000 / elapsedMs;
    this.#total = total;
    this.#atMs = nowMs;
    return this.#perSecond;
  }
}
