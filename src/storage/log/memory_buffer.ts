/**
 * The newest part of the log in memory: chunks of the very bytes that are written to segments.
 *
 * Records are built in place in the current chunk, blocks are written from it, and later reads are answered from it.
 * A chunk goes when nobody needs its messages, or, oldest first, when all chunks together pass the bound; but never
 * before its bytes are safe, because they may have to be written again. What is gone is read from the segments.
 *
 * Chunks follow each other without gaps in LSNs, except where chunks between them are gone.
 */
import { LogBuffer } from "./log_buffer.ts";

/** One piece of the log. */
export class Chunk {
  readonly buffer: LogBuffer;
  /** LSN of its first byte. */
  firstLsn = 0;
  /** Bytes in use. */
  used = 0;

  constructor(capacity: number) {
    this.buffer = new LogBuffer(capacity);
  }

  /** LSN behind its last byte. */
  get endLsn(): number {
    return this.firstLsn + this.used;
  }
}

/** See the head of this file. */
export class MemoryBuffer {
  /** Most bytes held, apart from bytes that are not safe yet. */
  bytesMax: number;
  /** Bytes of all chunks, spare ones included. */
  bytesHeld = 0;
  /** The chunk that records are appended to. */
  current: Chunk;
  /** By LSN, the current one last. */
  readonly #chunks: Chunk[] = [];
  readonly #spare: Chunk[] = [];
  #found: Chunk;

  /** @param firstLsn Where the log goes on. */
  constructor(bytesMax: number, firstLsn: number) {
    this.bytesMax = bytesMax;
    this.current = this.#found = this.#open(firstLsn, CHUNK_BYTES);
  }

  /**
   * Starts a new current chunk behind the present one.
   *
   * @param bytes Room that it must have at least.
   */
  advance(bytes: number): Chunk {
    const full = this.current;
    if (full.used === 0) this.#remove(this.#chunks.length - 1);
    return this.current = this.#open(full.endLsn, Math.max(bytes, CHUNK_BYTES));
  }

  /** The chunk that holds the byte at an LSN, or undefined when it is not in memory. */
  find(lsn: number): Chunk | undefined {
    const { current } = this;
    if (lsn >= current.firstLsn) return current;
    const found = this.#found;
    if (lsn >= found.firstLsn && lsn < found.endLsn) return found;
    const chunk = this.#chunks[this.#indexOf(lsn)];
    if (chunk === undefined || lsn >= chunk.endLsn) return undefined;
    return this.#found = chunk;
  }

  /**
   * Lets go of what is not needed.
   *
   * @param safeLsn Bytes below are safe.
   * @param isFree Whether nobody needs the messages of a stretch.
   */
  trim(safeLsn: number, isFree: (first: number, end: number) => boolean): void {
    const chunks = this.#chunks;
    for (let index = 0; index < chunks.length - 1;) {
      const chunk = chunks[index]!;
      if (chunk.endLsn > safeLsn) break;
      if (this.bytesHeld > this.bytesMax || isFree(chunk.firstLsn, chunk.endLsn)) this.#remove(index);
      else index++;
    }
    while (this.#spare.length > 0 && this.bytesHeld > this.bytesMax) {
      this.bytesHeld -= this.#spare.pop()!.buffer.bytes.length;
    }
  }

  /** Lets go of the chunk of an LSN if nobody needs it; for the moment when the last reference to a page went. */
  trimAt(lsn: number, safeLsn: number, isFree: (first: number, end: number) => boolean): void {
    const { current } = this;
    if (lsn >= current.firstLsn) return;
    const index = this.#indexOf(lsn);
    const chunk = this.#chunks[index];
    if (chunk === undefined || chunk.endLsn > safeLsn || !isFree(chunk.firstLsn, chunk.endLsn)) return;
    this.#remove(index);
  }

  /** Visits the bytes from an LSN to the end; all of them must be in memory. */
  forEachFrom(lsn: number, visit: (chunk: Chunk, start: number, end: number) => void): void {
    const chunks = this.#chunks;
    for (let index = Math.max(0, this.#indexOf(lsn)); index < chunks.length; index++) {
      const chunk = chunks[index]!;
      const start = Math.max(0, lsn - chunk.firstLsn);
      if (start < chunk.used) visit(chunk, start, chunk.used);
    }
  }

  /** Index of the last chunk that starts at or below an LSN, or -1. */
  #indexOf(lsn: number): number {
    const chunks = this.#chunks;
    let low = 0;
    let high = chunks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (chunks[middle]!.firstLsn <= lsn) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #open(firstLsn: number, capacity: number): Chunk {
    let chunk = capacity === CHUNK_BYTES ? this.#spare.pop() : undefined;
    if (chunk === undefined) {
      chunk = new Chunk(capacity);
      this.bytesHeld += capacity;
    }
    chunk.firstLsn = firstLsn;
    chunk.used = 0;
    this.#chunks.push(chunk);
    return chunk;
  }

  #remove(index: number): void {
    const chunk = this.#chunks[index]!;
    this.#chunks.splice(index, 1);
    if (this.#found === chunk) this.#found = this.current;
    const capacity = chunk.buffer.bytes.length;
    if (capacity === CHUNK_BYTES && this.#spare.length < SPARE_CHUNKS_MAX && this.bytesHeld <= this.bytesMax) {
      this.#spare.push(chunk);
    } else this.bytesHeld -= capacity;
  }
}

/** Capacity of a chunk; a larger record gets one of its own. */
export const CHUNK_BYTES = 1_048_576;
/** Chunks kept for the next ones: what is in the processor's caches is written again soonest. */
const SPARE_CHUNKS_MAX = 8;
