/**
 * The outbound bytes of one connection: an append-only buffer that is taken whole by the writer.
 *
 * Encoders call `reserve(n)`, write at `bytes[length]` and advance `length`. The owner of the socket calls `take()`,
 * writes what it got, and gives the storage back with `recycle()`. An empty buffer holds no storage, so an idle
 * connection costs nothing here: storage circulates through one pool of a few sizes, bounded in bytes.
 *
 * Invariant: `length <= bytes.length`. Storage handed out by `take()` belongs to the taker until `recycle()`.
 */

/** Growable outbound buffer. Encoders write into it in place. */
export class WriteBuffer {
  /** Storage; replaced when it grows, so never keep a reference across `reserve`. */
  bytes: Uint8Array = NO_BYTES;
  /** Bytes waiting to be taken. */
  length = 0;
  readonly #sizeMin: number;

  /** @param sizeMin Bytes of storage a connection starts with when it has something to send. */
  constructor(sizeMin: number) {
    this.#sizeMin = sizeMin;
  }

  /**
   * Makes room for `count` more bytes after `length`.
   *
   * Cost O(1) amortised: storage grows fourfold up to 1 MiB and doubles after that.
   */
  reserve(count: number): void {
    if (this.length + count > this.bytes.length) this.#grow(this.length + count);
  }

  /** Appends a copy of `source`. */
  append(source: Uint8Array): void {
    this.reserve(source.length);
    this.bytes.set(source, this.length);
    this.length += source.length;
  }

  /**
   * Hands out the storage with everything written so far and starts empty.
   *
   * @returns The storage; the caller remembers `length` from before the call and gives it back with `recycle`.
   */
  take(): Uint8Array {
    const taken = this.bytes;
    this.bytes = NO_BYTES;
    this.length = 0;
    return taken;
  }

  #grow(needed: number): void {
    const grown = allocate(Math.max(needed, this.#sizeMin, this.bytes.length * 2));
    if (this.length > 0) grown.set(this.bytes.subarray(0, this.length));
    recycle(this.bytes);
    this.bytes = grown;
  }
}

/** Takes storage back into the pool, or leaves it to the garbage collector when the pool is full. */
export function recycle(storage: Uint8Array): void {
  const size = storage.length;
  if (pooledBytes + size > POOLED_BYTES_MAX) return;
  const stack = POOL.get(size);
  if (stack === undefined) return;
  pooledBytes += size;
  stack.push(storage);
}

/** Storage of at least `needed` bytes, from the pool where it has some. */
function allocate(needed: number): Uint8Array {
  for (const size of POOLED_SIZES) {
    if (needed > size) continue;
    const pooled = POOL.get(size)!.pop();
    if (pooled === undefined) return new Uint8Array(size);
    pooledBytes -= size;
    return pooled;
  }
  return new Uint8Array(needed);
}

const NO_BYTES = new Uint8Array(0);
const POOLED_SIZES = [4_096, 16_384, 65_536, 262_144, 1_048_576] as const;
const POOL: ReadonlyMap<number, Uint8Array[]> = new Map(POOLED_SIZES.map((size) => [size, []]));
const POOLED_BYTES_MAX = 67_108_864;
let pooledBytes = 0;
