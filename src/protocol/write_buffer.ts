/**
 * The outbound bytes of one connection: appended at one end, taken in segments at the other.
 *
 * Encoders call `reserve(n)`, write at `bytes[length]` and advance `length`. The owner of the socket takes one segment
 * after the other, writes it, and gives its storage back with `recycle()`. A segment that is full is set aside and
 * never copied again, so a slow receiver costs memory in proportion to what waits and no more. An empty buffer holds
 * no storage: it circulates through one pool of a few sizes, bounded in bytes.
 *
 * Invariant: `length <= bytes.length`. Storage handed out by `take()` belongs to the taker until `recycle()`.
 */

/** Growable outbound buffer. Encoders write into it in place. */
export class WriteBuffer {
  /** Storage of the newest segment; replaced when it grows, so never keep a reference across `reserve`. */
  bytes: Uint8Array = NO_BYTES;
  /** Bytes in the newest segment. */
  length = 0;
  /** Bytes in the segments set aside. */
  sealedBytes = 0;
  /** Result of `take`: bytes in the segment taken. */
  takenLength = 0;
  readonly #sizeMin: number;
  #sealed: Segment[] | undefined = undefined;

  /** @param sizeMin Bytes of storage a connection starts with when it has something to send. */
  constructor(sizeMin: number) {
    this.#sizeMin = sizeMin;
  }

  /** True when nothing waits. */
  get isEmpty(): boolean {
    return this.length === 0 && this.sealedBytes === 0;
  }

  /**
   * Makes room for `count` more bytes after `length`.
   *
   * Cost O(1) amortised: a segment grows fourfold up to its full size, then the next one begins.
   */
  reserve(count: number): void {
    if (this.length + count > this.bytes.length) this.#grow(count);
  }

  /** Appends a copy of `source`. */
  append(source: Uint8Array): void {
    this.reserve(source.length);
    this.bytes.set(source, this.length);
    this.length += source.length;
  }

  /**
   * Hands out the oldest segment; its length is in `takenLength`.
   *
   * @returns Its storage, to be given back with `recycle`.
   */
  take(): Uint8Array {
    if (this.sealedBytes > 0) {
      const segment = this.#sealed!.shift()!;
      this.sealedBytes -= segment.length;
      this.takenLength = segment.length;
      return segment.storage;
    }
    const taken = this.bytes;
    this.takenLength = this.length;
    this.bytes = NO_BYTES;
    this.length = 0;
    return taken;
  }

  #grow(count: number): void {
    const needed = this.length + count;
    if (this.length > 0 && needed > SEGMENT_BYTES_MAX) {
      this.#sealed ??= [];
      this.#sealed.push({ storage: this.bytes, length: this.length });
      this.sealedBytes += this.length;
      this.bytes = allocate(Math.max(count, SEGMENT_BYTES_MAX));
      this.length = 0;
      return;
    }
    const grown = allocate(Math.max(needed, this.#sizeMin, this.bytes.length * 2));
    if (this.length > 0) grown.set(this.bytes.subarray(0, this.length));
    recycle(this.bytes);
    this.bytes = grown;
  }
}

interface Segment {
  readonly storage: Uint8Array;
  readonly length: number;
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
/** Size of a full segment; one packet that is larger gets a segment of its own. */
const SEGMENT_BYTES_MAX = 262_144;
const POOLED_SIZES = [4_096, 16_384, 65_536, SEGMENT_BYTES_MAX] as const;
const POOL: ReadonlyMap<number, Uint8Array[]> = new Map(POOLED_SIZES.map((size) => [size, []]));
const POOLED_BYTES_MAX = 67_108_864;
let pooledBytes = 0;
