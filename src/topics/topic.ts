/**
 * Topic Names as interned objects, and the bounded cache that turns the bytes of a PUBLISH into one.
 *
 * A publisher names the same few topics again and again. The cache answers them with the same `Topic`, found by
 * hashing and comparing bytes in the read buffer: no string is built and nothing is allocated on a hit. What others
 * learn about a topic (the trie's match, the metrics' counters) hangs on that object, so a later hit finds it too.
 *
 * The cache is set-associative:
 *
 *     hash -> set of WAYS slots -> compare hash, then length and bytes
 *
 * A new topic takes a free slot of its set or the place of one that was not looked up since the set's hand last passed
 * (second chance). Memory is bounded: `capacity` slots, and names longer than CACHED_BYTES_MAX are never kept. An
 * evicted Topic stays valid for whoever holds it (a Topic Alias, a stored message), so two objects may exist for one
 * name: compare names, not objects.
 *
 * Nothing here knows subscriptions; `matched*` belongs to the trie alone.
 */

import { decodeUtf8 } from "../protocol/utf8.ts";
import { explainTopicName, isReservedTopic, type TopicLimits } from "./topic_rules.ts";

/** A valid Topic Name. Created by `TopicCache` only. */
export class Topic {
  /** True for the broker's own topics, which clients only read. */
  readonly isReserved: boolean;
  /** Application Messages published to this topic, since it was interned. Counted by the router. */
  messages = 0;
  /** Their payload bytes. */
  bytes = 0;
  /** The trie's cached result, owned by `matchedBy`. */
  matched: object | undefined = undefined;
  /** The trie that `matched` belongs to. */
  matchedBy: object | undefined = undefined;
  /** The state of that trie when the result was computed. */
  matchedVersion = 0;

  /**
   * @param name The Topic Name.
   * @param utf8 The name as a packet carries it: two length bytes, big-endian, then the UTF-8 text. Do not change.
   * @param hash `hashTopicName` of the text.
   */
  constructor(readonly name: string, readonly utf8: Uint8Array, readonly hash: number) {
    this.isReserved = isReservedTopic(name);
  }
}

/** Slots of a cache when the constructor is not told otherwise: up to 45 MB with the longest names, 5 MB with usual. */
export const TOPIC_CACHE_CAPACITY = 16_384;

const WAYS = 4;
/** Longer names are interned for the one publication and not kept, so that names cannot fill the memory. */
const CACHED_BYTES_MAX = 1024;
const LENGTH_PREFIX_BYTES = 2;
const NAME_BYTES_MAX = 0xffff;
const ENCODER = new TextEncoder();

/** The bounded set of known Topics. */
export class TopicCache implements TopicLimits {
  readonly #setMask: number;
  readonly #topics: (Topic | undefined)[];
  readonly #hashes: Int32Array;
  /** 1 = looked up since the hand of its set passed. */
  readonly #referenced: Uint8Array;
  /** Per set: the way that is considered next for eviction. */
  readonly #hands: Uint8Array;
  #last: Topic | undefined = undefined;
  #size = 0;
  #maxTopicLength = NAME_BYTES_MAX;
  #maxTopicLevels = 128;

  /** @param capacity Slots; rounded up to a power of two, at least one set. */
  constructor(capacity: number = TOPIC_CACHE_CAPACITY) {
    let sets = 1;
    while (sets * WAYS < capacity) sets *= 2;
    this.#setMask = sets - 1;
    this.#topics = new Array<Topic | undefined>(sets * WAYS).fill(undefined);
    this.#hashes = new Int32Array(sets * WAYS);
    this.#referenced = new Uint8Array(sets * WAYS);
    this.#hands = new Uint8Array(sets);
  }

  /** Topics kept now. */
  get size(): number {
    return this.#size;
  }

  /** Most topics that can be kept. */
  get capacity(): number {
    return this.#topics.length;
  }

  /** Longest Topic Name accepted, in bytes of UTF-8. Changing it forgets all topics, so that it binds at once. */
  get maxTopicLength(): number {
    return this.#maxTopicLength;
  }

  set maxTopicLength(bytes: number) {
    this.#maxTopicLength = Math.min(bytes, NAME_BYTES_MAX);
    this.#clear();
  }

  /** Most levels accepted in a Topic Name. Changing it forgets all topics, so that it binds at once. */
  get maxTopicLevels(): number {
    return this.#maxTopicLevels;
  }

  set maxTopicLevels(levels: number) {
    this.#maxTopicLevels = levels;
    this.#clear();
  }

  /**
   * Finds or makes the Topic of a name on the wire. A hit allocates nothing.
   *
   * @param start First byte of the UTF-8 text, after its length prefix.
   * @param end One past the last byte. Nothing of `bytes` is kept.
   * @returns undefined when the name is not a legal Topic Name within the limits; `explainTopicName` tells why.
   */
  lookup(bytes: Uint8Array, start: number, end: number): Topic | undefined {
    // A chunk of a connection mostly holds one topic many times.
    const last = this.#last;
    if (last !== undefined && hasText(last, bytes, start, end)) return last;
    const hash = hashTopicName(bytes, start, end);
    const firstWay = (hash & this.#setMask) * WAYS;
    for (let slot = firstWay; slot < firstWay + WAYS; slot++) {
      if (this.#hashes[slot] !== hash) continue;
      const topic = this.#topics[slot];
      if (topic === undefined || !hasText(topic, bytes, start, end)) continue;
      this.#referenced[slot] = 1;
      this.#last = topic;
      return topic;
    }
    if (explainTopicName(bytes, start, end, this) !== undefined) return undefined;
    return this.#insert(bytes, start, end, hash);
  }

  /**
   * Finds or makes the Topic of a name that comes as a string: `$SYS`, a Will Message, the admin API.
   *
   * @returns undefined when it is not a legal Topic Name within the limits.
   */
  intern(name: string): Topic | undefined {
    // The encoder would silently replace a lone surrogate. [MQTT-1.5.4-1]
    if (!name.isWellFormed()) return undefined;
    const text = ENCODER.encode(name);
    return this.lookup(text, 0, text.length);
  }

  /** Visits every kept Topic, O(capacity); for counters at scrape time. */
  forEach(visit: (topic: Topic) => void): void {
    for (const topic of this.#topics) {
      if (topic !== undefined) visit(topic);
    }
  }

  #insert(bytes: Uint8Array, start: number, end: number, hash: number): Topic {
    const topic = createTopic(bytes, start, end, hash);
    this.#last = topic;
    if (end - start > CACHED_BYTES_MAX) return topic;
    const slot = this.#freeSlot(hash & this.#setMask);
    if (this.#topics[slot] === undefined) this.#size++;
    this.#topics[slot] = topic;
    this.#hashes[slot] = hash;
    this.#referenced[slot] = 0;
    return topic;
  }

  #freeSlot(set: number): number {
    const firstWay = set * WAYS;
    // At most one round clears all marks, so the second finds a slot.
    for (;;) {
      const slot = firstWay + this.#hands[set]!;
      this.#hands[set] = (this.#hands[set]! + 1) % WAYS;
      if (this.#referenced[slot] === 0) return slot;
      this.#referenced[slot] = 0;
    }
  }

  #clear(): void {
    this.#topics.fill(undefined);
    this.#referenced.fill(0);
    this.#last = undefined;
    this.#size = 0;
  }
}

const HASHED_HEAD_BYTES = 32;
const HASHED_TAIL_BYTES = 64;

/**
 * Hashes the text of a Topic Name to 32 bits, four bytes a step. Of a long name only the head and the tail are read;
 * whoever relies on the hash compares the whole text or, like the trie's versions, survives collisions.
 *
 * @returns A signed integer whose low bits are well mixed.
 */
export function hashTopicName(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  if (length <= HASHED_HEAD_BYTES + HASHED_TAIL_BYTES) return mix(hashRange(bytes, start, end, length));
  const head = hashRange(bytes, start, start + HASHED_HEAD_BYTES, length);
  return mix(hashRange(bytes, end - HASHED_TAIL_BYTES, end, head));
}

function hashRange(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let hash = seed;
  let at = start;
  for (; at + 4 <= end; at += 4) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    hash = Math.imul(hash ^ word, 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  for (; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
  return hash;
}

function mix(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return hash ^ (hash >>> 13);
}

/** Compares from the end: topics of one site differ in their last levels. */
function hasText(topic: Topic, bytes: Uint8Array, start: number, end: number): boolean {
  const utf8 = topic.utf8;
  if (utf8.length - LENGTH_PREFIX_BYTES !== end - start) return false;
  for (let at = utf8.length - 1, other = end - 1; other >= start; at--, other--) {
    if (utf8[at] !== bytes[other]) return false;
  }
  return true;
}

function createTopic(bytes: Uint8Array, start: number, end: number, hash: number): Topic {
  const length = end - start;
  const utf8 = new Uint8Array(LENGTH_PREFIX_BYTES + length);
  utf8[0] = length >>> 8;
  utf8[1] = length & 0xff;
  for (let at = 0; at < length; at++) utf8[LENGTH_PREFIX_BYTES + at] = bytes[start + at]!;
  return new Topic(decodeUtf8(bytes, start, end), utf8, hash);
}
