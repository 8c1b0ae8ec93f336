/**
 * Messages a Session is owed and has not been sent: a ring of positions in the message store, never of payloads.
 *
 * The ring grows by doubling as needed; what gives way at its bound (`mqtt.queue-full`) is the Outbox's decision, which is
 * why this file drops nothing by itself. References into the message store belong to whoever pushes
 * and shifts.
 *
 * A message that is taken out of the middle leaves a gap, which goes when it comes to the head: the ring has `#length`
 * entries from `#head` on, of which `count` are messages. The first one is always a message.
 */
import type { Position } from "../storage/model/stored.ts";
import { type DeliveryOrigin, ENOUGH, type Surrender } from "./delivery_origin.ts";
import type { SessionLimits } from "./session_limits.ts";

/** First in, first out. `shift` leaves its result in `position`, `flags`, `size`, `origin`: nothing is allocated. */
export class OutboundQueue {
  /** Messages waiting. */
  count = 0;
  /** Stored bytes of the messages waiting. */
  bytes = 0;
  /** Result of `shift`: position in the message store. */
  position: Position = 0;
  /** Result of `shift`: granted QoS in bits 0 and 1, RETAIN in bit 2. */
  flags = 0;
  /** Result of `shift`: stored bytes of the message. */
  size = 0;
  /** Result of `shift`. */
  origin: DeliveryOrigin | null = null;
  #head = 0;
  /** Entries of the ring, gaps included. */
  #length = 0;
  /** Entries from the head on that come from no group. */
  #ungrouped = 0;
  /** False once a message was pushed behind one of a higher position, until the queue is empty. */
  #isAscending = true;
  #lastPushed = 0;
  #positions = new Float64Array(CAPACITY_MIN);
  #sizes = new Uint32Array(CAPACITY_MIN);
  #flags = new Uint8Array(CAPACITY_MIN);
  /** Allocated with the first origin that is not null. */
  #origins: (DeliveryOrigin | null)[] | undefined;

  /** False when no message ever had an origin, so that none need be looked for. */
  get hasOrigins(): boolean {
    return this.#origins !== undefined;
  }

  /** True when a message of `size` stored bytes would be above `mqtt.max-queued` or `mqtt.max-queued-bytes`. */
  isFullFor(size: number, { queuedMax, queuedBytesMax }: SessionLimits): boolean {
    return (queuedMax > 0 && this.count >= queuedMax) || (queuedBytesMax > 0 && this.bytes + size > queuedBytesMax);
  }

  /**
   * Adds a message at the end.
   *
   * @param flags Granted QoS in bits 0 and 1, RETAIN in bit 2.
   * @param size Stored bytes of the message.
   */
  push(position: Position, flags: number, size: number, origin: DeliveryOrigin | null): void {
    if (this.#length === this.#positions.length) this.#grow();
    if (this.count === 0) this.#isAscending = true;
    else if (position < this.#lastPushed) this.#isAscending = false;
    this.#lastPushed = position;
    const index = (this.#head + this.#length++) & (this.#positions.length - 1);
    this.#positions[index] = position;
    this.#sizes[index] = size;
    this.#flags[index] = flags;
    if (origin !== null && this.#origins === undefined) {
      this.#origins = new Array<DeliveryOrigin | null>(this.#positions.length).fill(null);
    }
    if (this.#origins !== undefined) this.#origins[index] = origin;
    this.count++;
    this.bytes += size;
  }

  /** Looks at the oldest message: sets the result fields without removing it. False when the queue is empty. */
  peek(): boolean {
    if (this.count === 0) return false;
    const index = this.#head;
    this.position = this.#positions[index]!;
    this.flags = this.#flags[index]!;
    this.size = this.#sizes[index]!;
    this.origin = this.#origins === undefined ? null : this.#origins[index]!;
    return true;
  }

  /** Removes the oldest message into the result fields. False when the queue is empty. */
  shift(): boolean {
    if (!this.peek()) return false;
    const index = this.#head;
    this.bytes -= this.size;
    if (this.#origins !== undefined) this.#origins[index] = null;
    this.count--;
    this.#flags[index] = GAP;
    this.#passGaps();
    return true;
  }

  /**
   * Offers the messages of groups, oldest first, and removes those that are taken.
   *
   * @returns False when it was told that it is enough. O(queue), without what stands before the first message of a group.
   */
  surrender(give: Surrender): boolean {
    const origins = this.#origins;
    if (origins === undefined) return true;
    const mask = this.#positions.length - 1;
    let isEnough = false;
    for (let at = this.#ungrouped; at < this.#length && !isEnough; at++) {
      const index = (this.#head + at) & mask;
      const origin = origins[index]!;
      const isOffered = origin !== null && origin.group !== null;
      const answer = isOffered && give(this.#positions[index]!, origin);
      isEnough = answer === ENOUGH;
      if (answer === true) this.#removeAt(index);
      if ((!isOffered || answer === true) && at === this.#ungrouped) this.#ungrouped++;
    }
    this.#passGaps();
    return !isEnough;
  }

  #removeAt(index: number): void {
    this.count--;
    this.bytes -= this.#sizes[index]!;
    this.#flags[index] = GAP;
    this.#origins![index] = null;
  }

  #passGaps(): void {
    const mask = this.#positions.length - 1;
    while (this.#length > 0 && this.#flags[this.#head] === GAP) {
      this.#head = (this.#head + 1) & mask;
      this.#length--;
      if (this.#ungrouped > 0) this.#ungrouped--;
    }
    if (this.count === 0 && this.#positions.length > CAPACITY_KEPT_MAX) this.#shrink();
  }

  /**
   * Visits every message from position `first` to below `end`, oldest first; the visitor must leave the queue alone.
   *
   * O(log queue + messages visited) while positions ascend, as they do but for Retained Messages and handed on ones.
   */
  forEachBetween(
    first: Position,
    end: Position,
    visit: (position: Position, flags: number, size: number, origin: DeliveryOrigin | null) => void,
  ): void {
    const mask = this.#positions.length - 1;
    const origins = this.#origins;
    for (let i = this.#isAscending ? this.#indexFrom(first) : 0; i < this.#length; i++) {
      const index = (this.#head + i) & mask;
      if (this.#flags[index] === GAP) continue;
      const position = this.#positions[index]!;
      if (position < first) continue;
      if (position >= end) {
        if (this.#isAscending) return;
        continue;
      }
      const origin = origins === undefined ? null : origins[index]!;
      visit(position, this.#flags[index]!, this.#sizes[index]!, origin);
    }
  }

  /** How many entries stand below a position, when positions ascend. */
  #indexFrom(position: Position): number {
    const mask = this.#positions.length - 1;
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#positions[(this.#head + middle) & mask]! < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** A backlog that is gone gives its memory back. */
  #shrink(): void {
    this.#positions = new Float64Array(CAPACITY_MIN);
    this.#sizes = new Uint32Array(CAPACITY_MIN);
    this.#flags = new Uint8Array(CAPACITY_MIN);
    this.#origins = undefined;
    this.#head = 0;
  }

  #grow(): void {
    const old = this.#positions.length;
    const positions = new Float64Array(old * 2);
    const sizes = new Uint32Array(old * 2);
    const flags = new Uint8Array(old * 2);
    const origins = this.#origins === undefined ? undefined : new Array<DeliveryOrigin | null>(old * 2).fill(null);
    for (let i = 0; i < this.#length; i++) {
      const index = (this.#head + i) & (old - 1);
      positions[i] = this.#positions[index]!;
      sizes[i] = this.#sizes[index]!;
      flags[i] = this.#flags[index]!;
      if (origins !== undefined) origins[i] = this.#origins![index]!;
    }
    this.#positions = positions;
    this.#sizes = sizes;
    this.#flags = flags;
    this.#origins = origins;
    this.#head = 0;
  }
}

/** In place of the flags of a message that was taken out. */
const GAP = 0xff;
/** A power of two, as every later capacity. */
const CAPACITY_MIN = 16;
/** An empty queue keeps room for this many messages. */
const CAPACITY_KEPT_MAX = 1_024;
