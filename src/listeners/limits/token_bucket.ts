/**
 * A token bucket: how much of something may happen per second, with bursts of one second's worth.
 *
 * Tokens come back continuously and not once per second, so the long-term rate is exact whatever the times of the calls
 * are. The bucket may be overdrawn: what has happened is taken in full, and `waitMs` tells when the debt is paid off.
 * Time is an argument and may have fractions; the rate is asked for with every call, so that a reload takes effect at
 * once.
 */

/** See the head of this file. Starts full. */
export class TokenBucket {
  readonly #ratePerSecond: () => number;
  /** Negative while overdrawn. Infinity while there is no limit, which becomes a full bucket once there is one. */
  #tokens = Infinity;
  #refilledMs: number;

  /** @param ratePerSecond Tokens that come back per second, and the size of the bucket, at least 1. 0 = no limit. */
  constructor(ratePerSecond: () => number, nowMs: number) {
    this.#ratePerSecond = ratePerSecond;
    this.#refilledMs = nowMs;
  }

  /** Takes tokens, whether they are there or not. */
  take(count: number, nowMs: number): void {
    this.#refill(nowMs);
    this.#tokens -= count;
  }

  /** Takes one token if a whole one is there. */
  tryTake(nowMs: number): boolean {
    this.#refill(nowMs);
    if (this.#tokens < 1 - ROUNDING) return false;
    this.#tokens--;
    return true;
  }

  /** Milliseconds until nothing is owed any more; 0 when nothing is. May have fractions. */
  waitMs(nowMs: number): number {
    const rate = this.#refill(nowMs);
    return this.#tokens >= -ROUNDING ? 0 : -this.#tokens * 1000 / rate;
  }

  /** Tokens that are there, negative when it is overdrawn; the largest exact integer without a limit. */
  available(nowMs: number): number {
    this.#refill(nowMs);
    return Math.min(Number.MAX_SAFE_INTEGER, this.#tokens);
  }

  /** True when nothing is missing, so that a new bucket would be the same. */
  isFull(nowMs: number): boolean {
    const rate = this.#refill(nowMs);
    return rate === 0 || this.#tokens >= burstOf(rate) - ROUNDING;
  }

  /** @returns The rate in force. */
  #refill(nowMs: number): number {
    const rate = this.#ratePerSecond();
    if (rate === 0) {
      // Debts of a limit that was lifted are forgotten with it.
      this.#tokens = Infinity;
      this.#refilledMs = nowMs;
    } else {
      const elapsedMs = Math.max(0, nowMs - this.#refilledMs);
      this.#tokens = Math.min(burstOf(rate), this.#tokens + elapsedMs * rate / 1000);
      this.#refilledMs = Math.max(this.#refilledMs, nowMs);
    }
    return rate;
  }
}

/** Less than this much of a token comes from adding fractions up. */
const ROUNDING = 1e-6;

/** One second's worth; a rate below one per second must still let one through. */
function burstOf(ratePerSecond: number): number {
  return Math.max(1, ratePerSecond);
}
