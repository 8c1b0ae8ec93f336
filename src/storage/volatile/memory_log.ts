/**
 * The log of Application Messages in memory: chunks of records, addressed by position, with a reference count in each
 * record. Storing and forgetting a message allocates nothing.
 *
 * A position is `chunk sequence × CHUNK_BYTES + offset in the chunk + 1`, so it grows with every append and is never
 * 0. A record starts at a multiple of 8:
 *
 *   offset  size  field
 *        0     4  references
 *        4     4  bytes to the next record, this header included
 *        8     8  expiresAtMs as a double, 0 = never
 *       16     4  topic bytes, two-byte length prefix included
 *       20     4  properties bytes
 *       24     4  payload bytes
 *       28     4  QoS (bits 0 and 1), RETAIN (bit 2)
 *       32        topic, properties, payload, padding
 *
 * Example: topic `a/b`, no properties, payload `hi`, QoS 1 is 32 + 5 + 0 + 2 = 39 bytes, padded to 40.
 *
 * A chunk whose records have all been released is used again. One that is mostly released but not quite would pin a
 * chunk for a few messages, so it is evacuated: its live records move to buffers of their own size and the chunk is
 * free. That is worth it only while few records are live, because each then costs more than its bytes. A record larger
 * than a chunk gets a chunk of its own. At the bound, spare chunks are given up and sparse ones evacuated at any age
 * before an append is refused.
 */
import assert from "node:assert/strict";
import { copyBytes } from "../../protocol/copy_bytes.ts";
import type { Message } from "../../protocol/message.ts";
import type { QoS } from "../../protocol/packets.ts";

/** Answer of `append` when the bound is reached. */
const FULL = -1;

/** See the head of this file. */
export class MemoryLog {
  /** Most bytes held; an append that would pass it is refused. */
  bytesMax: number;
  /** Bytes of memory in use: chunks, evacuated records and spare chunks. */
  bytesHeld = 0;
  /** The position handed out last. */
  lastPosition = 0;
  readonly #chunks = new Map<number, Chunk>();
  readonly #evacuated = new Map<number, Chunk>();
  readonly #spare: Chunk[] = [];
  #current: Chunk;
  #sequence = 0;
  /** The chunk found by the last `#locate`, and the record's offset in it. */
  #found: Chunk;
  #foundOffset = 0;
  /** The chunk that the last `read` gave a view of: its storage is not used again while the view may be looked at. */
  #viewed: Chunk | undefined;

  /** @param bytesMax Bytes of memory that messages may take. */
  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
    this.#current = this.#found = this.#open(CHUNK_BYTES);
  }

  /**
   * Stores a copy of a message with one reference.
   *
   * @returns Its position, or -1 when `bytesMax` is reached.
   */
  append(message: Message): number {
    const topicSize = message.topicEnd - message.topicStart;
    const propertiesSize = message.propertiesEnd - message.propertiesStart;
    const payloadSize = message.payloadEnd - message.payloadStart;
    const size = (HEADER_BYTES + topicSize + propertiesSize + payloadSize + 7) & ~7;
    if (this.#current.used + size > this.#current.bytes.length && !this.#advance(size)) return FULL;
    const chunk = this.#current;
    const start = chunk.used;
    const word = start >> 2;
    const words = chunk.words;
    words[word] = 1;
    words[word + 1] = size;
    chunk.doubles[(start >> 3) + 1] = message.expiresAtMs;
    words[word + 4] = topicSize;
    words[word + 5] = propertiesSize;
    words[word + 6] = payloadSize;
    words[word + 7] = message.qos | (message.retain ? 4 : 0);
    const bytes = chunk.bytes;
    let offset = start + HEADER_BYTES;
    offset = copyBytes(message.topicBytes, message.topicStart, message.topicEnd, bytes, offset);
    if (propertiesSize > 0) {
      offset = copyBytes(message.propertiesBytes, message.propertiesStart, message.propertiesEnd, bytes, offset);
    }
    copyBytes(message.payloadBytes, message.payloadStart, message.payloadEnd, bytes, offset);
    chunk.used = start + size;
    chunk.liveCost += size + EVACUATED_COST;
    return this.lastPosition = chunk.sequence * CHUNK_BYTES + start + 1;
  }

  /** Fills `into` with the message at `position`: a view until the next `read`, as long as the reference stays. */
  read(position: number, into: Message): void {
    this.#locate(position);
    const chunk = this.#viewed = this.#found;
    const start = this.#foundOffset;
    const word = start >> 2;
    const words = chunk.words;
    const bytes = chunk.bytes;
    const topicEnd = start + HEADER_BYTES + words[word + 4]!;
    const propertiesEnd = topicEnd + words[word + 5]!;
    const flags = words[word + 7]!;
    into.topicBytes = into.propertiesBytes = into.payloadBytes = bytes;
    into.topicStart = start + HEADER_BYTES;
    into.topicEnd = into.propertiesStart = topicEnd;
    into.propertiesEnd = into.payloadStart = propertiesEnd;
    into.payloadEnd = propertiesEnd + words[word + 6]!;
    into.qos = (flags & 3) as QoS;
    into.retain = (flags & 4) !== 0;
    into.expiresAtMs = chunk.doubles[(start >> 3) + 1]!;
  }

  /** Bytes of topic, properties and payload at `position`. */
  sizeOf(position: number): number {
    this.#locate(position);
    const word = this.#foundOffset >> 2;
    const words = this.#found.words;
    return words[word + 4]! + words[word + 5]! + words[word + 6]!;
  }

  /** Adds a reference. */
  retain(position: number): void {
    this.#locate(position);
    this.#found.words[this.#foundOffset >> 2]! += 1;
  }

  /** Removes a reference; the storage is free with the last one. */
  release(position: number): void {
    this.#locate(position);
    const chunk = this.#found;
    const word = this.#foundOffset >> 2;
    const words = chunk.words;
    const references = words[word]!;
    if (references !== 1) {
      // Not `assert`: a call per acknowledged message shows in the profile.
      if (references === 0) throw new Error("a message was released more often than retained");
      words[word] = references - 1;
      return;
    }
    words[word] = 0;
    chunk.liveCost -= words[word + 1]! + EVACUATED_COST;
    if (chunk.liveCost === 0) this.#free(chunk, position);
  }

  #locate(position: number): void {
    const index = position - 1;
    const current = this.#current;
    const offset = index - current.sequence * CHUNK_BYTES;
    if (offset >= 0) {
      this.#found = current;
      this.#foundOffset = offset;
      return;
    }
    const sequence = Math.floor(index / CHUNK_BYTES);
    const chunk = this.#chunks.get(sequence);
    if (chunk !== undefined) {
      this.#found = chunk;
      this.#foundOffset = index - sequence * CHUNK_BYTES;
      return;
    }
    const evacuated = this.#evacuated.get(position);
    assert(evacuated !== undefined, "a position without a reference was used");
    this.#found = evacuated;
    this.#foundOffset = 0;
  }

  /** Starts a new current chunk; false when the bound does not allow one for the record. */
  #advance(recordBytes: number): boolean {
    const full = this.#current;
    const isIdle = full.liveCost === 0;
    if (isIdle) {
      this.#chunks.delete(full.sequence);
      this.#shelve(full);
    }
    const size = Math.max(recordBytes, CHUNK_BYTES);
    const hasRoom = this.#hasRoom(size) || this.#makeRoom(size);
    // A shelved chunk is not current any more; its place is free, so a new one never passes the bound.
    if (hasRoom || isIdle) this.#current = this.#open(hasRoom ? size : CHUNK_BYTES);
    if (hasRoom && !isIdle) this.#evacuateOldest();
    return hasRoom;
  }

  #hasRoom(size: number): boolean {
    return (size === CHUNK_BYTES && this.#spare.length > 0) || this.bytesHeld + size <= this.bytesMax;
  }

  /** Evacuates sparse chunks and gives up spare ones until a chunk of `size` fits; O(chunks), only at the bound. */
  #makeRoom(size: number): boolean {
    for (const chunk of this.#chunks.values()) {
      if (chunk !== this.#current && isSparse(chunk)) this.#evacuate(chunk);
      this.#dropSpares(size);
      if (this.#hasRoom(size)) return true;
    }
    this.#dropSpares(size);
    return this.#hasRoom(size);
  }

  #dropSpares(size: number): void {
    while (!this.#hasRoom(size) && this.#spare.length > 0) this.bytesHeld -= this.#spare.pop()!.bytes.length;
  }

  #open(size: number): Chunk {
    let chunk = size === CHUNK_BYTES ? this.#spare.pop() : undefined;
    if (chunk === undefined) {
      chunk = new Chunk(size);
      this.bytesHeld += size;
    }
    chunk.sequence = this.#sequence++;
    chunk.used = 0;
    chunk.liveCost = 0;
    this.#chunks.set(chunk.sequence, chunk);
    return chunk;
  }

  #free(chunk: Chunk, position: number): void {
    if (chunk === this.#current) {
      // Nothing in it is owed, but its positions must keep growing: it goes on where it is.
      return;
    }
    if (chunk.sequence === EVACUATED) {
      this.#evacuated.delete(position);
      this.bytesHeld -= chunk.bytes.length + EVACUATED_COST;
      return;
    }
    this.#chunks.delete(chunk.sequence);
    this.#shelve(chunk);
  }

  #shelve(chunk: Chunk): void {
    if (chunk.bytes.length === CHUNK_BYTES && this.#spare.length < SPARE_CHUNKS_MAX) this.#spare.push(chunk);
    else this.bytesHeld -= chunk.bytes.length;
  }

  /** Looks at the oldest chunks, one per new chunk, and evacuates those that are mostly released. */
  #evacuateOldest(): void {
    let looked = 0;
    const youngest = this.#sequence - EVACUATION_AGE_MIN;
    for (const chunk of this.#chunks.values()) {
      if (++looked > EVACUATION_LOOKS_MAX || chunk.sequence >= youngest) return;
      if (!isSparse(chunk)) {
        // Mostly live: to the end of the line, so that the looks reach every chunk in time.
        this.#chunks.delete(chunk.sequence);
        this.#chunks.set(chunk.sequence, chunk);
        continue;
      }
      this.#evacuate(chunk);
      return;
    }
  }

  #evacuate(chunk: Chunk): void {
    for (let start = 0; start < chunk.used;) {
      const word = start >> 2;
      const size = chunk.words[word + 1]!;
      if (chunk.words[word]! > 0) {
        const record = new Chunk(size);
        record.bytes.set(chunk.bytes.subarray(start, start + size));
        record.sequence = EVACUATED;
        record.used = size;
        record.liveCost = size + EVACUATED_COST;
        this.bytesHeld += record.liveCost;
        this.#evacuated.set(chunk.sequence * CHUNK_BYTES + start + 1, record);
      }
      start += size;
    }
    this.#chunks.delete(chunk.sequence);
    if (this.bytesHeld > this.bytesMax || chunk === this.#viewed) this.bytesHeld -= chunk.bytes.length;
    else this.#shelve(chunk);
  }
}

/** One piece of storage, seen as bytes, as 32-bit words and as doubles. */
class Chunk {
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly doubles: Float64Array;
  sequence = 0;
  used = 0;
  /** What its live records would take if each had storage of its own. */
  liveCost = 0;

  constructor(size: number) {
    const buffer = new ArrayBuffer(size);
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer);
    this.doubles = new Float64Array(buffer);
  }
}

function isSparse(chunk: Chunk): boolean {
  return chunk.liveCost * EVACUATION_RATIO <= chunk.used;
}

const HEADER_BYTES = 32;
const CHUNK_BYTES = 1_048_576;
/** Sequence of an evacuated record's chunk, which is found by position instead. */
const EVACUATED = -1;
/** Released chunks kept for the next append. */
const SPARE_CHUNKS_MAX = 8;
/** What an evacuated record takes besides its bytes: measured 570 of heap, more of process memory. */
const EVACUATED_COST = 640;
/** A chunk is evacuated when its live records would take no more than a quarter of it. */
const EVACUATION_RATIO = 4;
/** Younger chunks are left alone: what is in them is mostly on its way and released soon. */
const EVACUATION_AGE_MIN = 32;
/** Chunks looked at whenever a new one starts, which bounds the work of an append. */
const EVACUATION_LOOKS_MAX = 4;
