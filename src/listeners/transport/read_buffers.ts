/**
 * Read buffers of idle connections, cut from slabs: a connection holds one until it has traffic and gives it back when
 * it grows or ends. One allocation serves many connections, which is what a storm of connects is made of.
 *
 * Slabs are kept: the memory is that of the most connections there ever were at once.
 */

/** One per listener. */
export class ReadBufferPool {
  /** Size of every buffer in bytes. */
  readonly size: number;
  /** Size to grow to with the first traffic; `server.read-buffer`. */
  readonly sizeBusy: number;
  readonly #free: Uint8Array<ArrayBuffer>[] = [];

  /** @param sizeBusy `server.read-buffer`. */
  constructor(sizeBusy: number) {
    this.size = Math.min(IDLE_BYTES, sizeBusy);
    this.sizeBusy = sizeBusy;
  }

  /** A buffer whose content is undefined. */
  take(): Uint8Array<ArrayBuffer> {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const count = Math.max(1, Math.floor(SLAB_BYTES / this.size));
    const slab = new ArrayBuffer(count * this.size);
    for (let i = 1; i < count; i++) this.#free.push(new Uint8Array(slab, i * this.size, this.size));
    return new Uint8Array(slab, 0, this.size);
  }

  /** Takes a buffer of this pool back. */
  give(buffer: Uint8Array<ArrayBuffer>): void {
    this.#free.push(buffer);
  }
}

/** Enough for CONNECT, SUBSCRIBE and PINGREQ; a bigger packet makes the buffer grow. */
const IDLE_BYTES = 512;
const SLAB_BYTES = 262_144;
