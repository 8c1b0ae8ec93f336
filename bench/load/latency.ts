/**
 * A histogram of latencies with a fixed size and a relative error below one percent.
 *
 * Values are tenths of a microsecond. Below 256 each value has its own bucket; above, every power of two is cut into
 * 128 buckets. Bucket of a value `v` with highest set bit `e`: `shift = max(0, e - 7)`, `index = shift * 128 + (v >> shift)`.
 * Example: 1000 (100 µs) has e = 9, shift = 2, index = 256 + 250 = 506, which stands for 1000..1003.
 */

const SUB_BUCKETS = 128;
const SUB_BITS = 7;
const BUCKETS = SUB_BUCKETS * 26;
const TENTHS_MAX = 2 ** 31 - 1;

/** Latency percentiles in microseconds; all 0 when nothing was recorded. */
export interface LatencySummary {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** Records latencies in O(1) without allocating. */
export class LatencyHistogram {
  readonly #counts = new Uint32Array(BUCKETS);
  #total = 0;
  #maxTenths = 0;

  /** Number of recorded values. */
  get total(): number {
    return this.#total;
  }

  /** Adds one latency in milliseconds; negative ones count as 0, ones above 214 s as 214 s. */
  recordMs(latencyMs: number): void {
    const tenths = latencyMs <= 0 ? 0 : Math.min(TENTHS_MAX, latencyMs * 10_000) | 0;
    const shift = tenths < 2 * SUB_BUCKETS ? 0 : 31 - Math.clz32(tenths) - SUB_BITS;
    const index = shift * SUB_BUCKETS + (tenths >> shift);
    this.#counts[index] = this.#counts[index]! + 1;
    this.#total++;
    if (tenths > this.#maxTenths) this.#maxTenths = tenths;
  }

  /** Forgets everything recorded so far. */
  reset(): void {
    this.#counts.fill(0);
    this.#total = 0;
    this.#maxTenths = 0;
  }

  /** Computes the percentiles in microseconds: each is the lower bound of its bucket, `max` is exact. */
  summarize(): LatencySummary {
    return { p50: this.#at(0.5), p95: this.#at(0.95), p99: this.#at(0.99), max: this.#maxTenths / 10 };
  }

  #at(fraction: number): number {
    const rank = Math.ceil(this.#total * fraction);
    if (rank === 0) return 0;
    let seen = 0;
    for (let index = 0; index < BUCKETS; index++) {
      seen += this.#counts[index]!;
      if (seen >= rank) return lowerBoundTenths(index) / 10;
    }
    return this.#maxTenths / 10;
  }
}

function lowerBoundTenths(index: number): number {
  if (index < 2 * SUB_BUCKETS) return index;
  const shift = Math.floor(index / SUB_BUCKETS) - 1;
  return (index - shift * SUB_BUCKETS) * 2 ** shift;
}
