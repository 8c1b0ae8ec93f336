/**
 * QoS 1 and 2 messages sent to a client and not yet completed, in the order they were sent. [MQTT 5.0, 4.3 and 4.4]
 *
 * Packet Identifiers are given out in sequence, so an entry is found by arithmetic: sequence number `s` has Packet
 * Identifier `s mod 65535 + 1` and lives in slot `s & mask` of a ring. Entries are completed in any order; the ring
 * moves on when its oldest one is. A client that leaves its oldest message unacknowledged while acknowledging 65 534
 * later ones gets nothing new until it does, which the specification allows (a client must acknowledge in order).
 *
 *   state                packet sent     waiting for   then
 *   AWAITING_PUBACK      PUBLISH QoS 1   PUBACK        free
 *   AWAITING_PUBREC      PUBLISH QoS 2   PUBREC        AWAITING_PUBCOMP, or free when it refuses
 *   AWAITING_PUBCOMP     PUBREL          PUBCOMP       free
 *
 * After a reconnect every entry is sent again before anything new: first all PUBRELs, which no window may delay, then
 * the PUBLISHes, as the window allows. Each goes in the order above. [MQTT-4.4.0-1] [MQTT-3.3.4-10]
 *
 * The bytes of what was sent can be bounded as well. They are kept only for entries that are added with a size, so an
 * unbounded window does not pay for them; an entry keeps its bytes until it is complete, as it does its send quota.
 *
 * After a restart of the broker the ring is rebuilt with `restore`, which leaves free slots for the Packet Identifiers
 * that were completed in between.
 */
import assert from "node:assert/strict";
import type { PacketId } from "../protocol/distinct_number.ts";
import type { Position } from "../storage/model/stored.ts";
import type { DeliveryOrigin } from "./delivery_origin.ts";
import type { SessionContext } from "./session_context.ts";
import type { SessionLimits } from "./session_limits.ts";

/** What an entry waits for. */
export const InflightState = { FREE: 0, AWAITING_PUBACK: 1, AWAITING_PUBREC: 2, AWAITING_PUBCOMP: 3 } as const;

/** The ring. Slots are indices returned by `add`, `find` and `slotAt`, valid until the next `add`. */
export class InflightWindow {
  /** Entries not completed. */
  count = 0;
  /** Entries that use up send quota on this connection: sent, and not completed. [MQTT-4.9.0-1] */
  onWire = 0;
  /** Bytes of the entries that count in `onWire`, of those whose size was given. */
  onWireBytes = 0;
  #first = 0;
  #next = 0;
  /** The next PUBLISH to send again; everything before it was sent on this connection. */
  #resend = 0;
  /** Where the search for PUBRELs to send again goes on. */
  #release = 0;
  #positions = new Float64Array(CAPACITY_MIN);
  #states = new Uint8Array(CAPACITY_MIN);
  #retains = new Uint8Array(CAPACITY_MIN);
  #origins: (DeliveryOrigin | null)[] | undefined;
  /** Allocated with the first size that is not 0. */
  #sizes: Uint32Array | undefined;

  /** True when no Packet Identifier is free. */
  get isExhausted(): boolean {
    return this.#next - this.#first >= PACKET_IDS;
  }

  /** True while entries of an earlier connection have not been sent again. */
  get hasResends(): boolean {
    return this.#resend < this.#next;
  }

  /**
   * True when a message may be sent without more being on the wire than the client and the broker allow. One that is too
   * large by itself may be sent alone.
   *
   * @param size As for `add`.
   * @param countMax Send quota of the client.
   */
  hasRoomFor(size: number, countMax: number, limits: SessionLimits): boolean {
    const { inflightMax, inflightBytesMax } = limits;
    return this.onWire < countMax && this.onWire < inflightMax &&
      (inflightBytesMax === 0 || this.onWireBytes === 0 || this.onWireBytes + size <= inflightBytesMax);
  }

  /**
   * Adds an entry that is being sent now. The window must not be exhausted and have no resends left.
   *
   * @param size Stored bytes of its message as of `boundedSize`.
   * @returns Its Packet Identifier.
   */
  add(position: Position, state: number, retain: boolean, origin: DeliveryOrigin | null, size = 0): PacketId {
    if (this.#first === this.#next) this.#first = this.#next = this.#next % PACKET_IDS;
    const packetId = this.#next % PACKET_IDS + 1;
    this.#put(position, state, retain, origin);
    if (size > 0) this.#setSize((this.#next - 1) & (this.#positions.length - 1), size);
    this.#resend = this.#next;
    this.onWire++;
    return packetId;
  }

  /**
   * Puts back an entry from before a restart of the broker: it is to be sent again. Later `add`s follow the last one.
   *
   * Only on a window that never had an `add`, and in the order in which the entries were sent: each Packet Identifier
   * follows the one before, with or without a gap, and comes once.
   */
  restore(packetId: PacketId, position: Position, state: number, retain: boolean, origin: DeliveryOrigin | null): void {
    if (this.#first === this.#next) {
      this.#first = this.#next = packetId - 1;
      this.restart();
    }
    const gap = (packetId - 1 - this.#next % PACKET_IDS + PACKET_IDS) % PACKET_IDS;
    assert(this.#next + gap - this.#first < PACKET_IDS, "a Packet Identifier was restored twice or out of order");
    // Grown first: growing copies what lies before `#next`. The slots of the gap are FREE, as all that were never used.
    while (this.#next + gap - this.#first >= this.#positions.length) this.#grow();
    this.#next += gap;
    this.#put(position, state, retain, origin);
  }

  #put(position: Position, state: number, retain: boolean, origin: DeliveryOrigin | null): void {
    if (this.#next - this.#first === this.#positions.length) this.#grow();
    const slot = this.#next & (this.#positions.length - 1);
    this.#positions[slot] = position;
    this.#states[slot] = state;
    this.#retains[slot] = retain ? 1 : 0;
    if (origin !== null && this.#origins === undefined) {
      this.#origins = new Array<DeliveryOrigin | null>(this.#positions.length).fill(null);
    }
    if (this.#origins !== undefined) this.#origins[slot] = origin;
    this.#next++;
    this.count++;
  }

  #setSize(slot: number, size: number): void {
    this.#sizes ??= new Uint32Array(this.#positions.length);
    this.#sizes[slot] = size;
    this.onWireBytes += size;
  }

  /** Slot of a Packet Identifier that waits for something on this connection, or -1. */
  find(packetId: PacketId): number {
    let distance = packetId - 1 - this.#first % PACKET_IDS;
    if (distance < 0) distance += PACKET_IDS;
    if (distance >= this.#next - this.#first) return -1;
    const slot = (this.#first + distance) & (this.#positions.length - 1);
    const state = this.#states[slot];
    if (state === InflightState.FREE) return -1;
    // A PUBLISH that was not sent on this connection cannot be acknowledged on it.
    const isSent = state === InflightState.AWAITING_PUBCOMP || distance < this.#resend - this.#first;
    return isSent ? slot : -1;
  }

  /** State of a slot. */
  stateOf(slot: number): number {
    return this.#states[slot]!;
  }

  /** Position of a slot's message; once it waits for PUBCOMP a number only, whose message may be gone. */
  positionOf(slot: number): Position {
    return this.#positions[slot]!;
  }

  /** RETAIN flag of a slot's message. */
  retainOf(slot: number): boolean {
    return this.#retains[slot] === 1;
  }

  /** Origin of a slot's message. */
  originOf(slot: number): DeliveryOrigin | null {
    return this.#origins === undefined ? null : this.#origins[slot]!;
  }

  /** Marks that PUBREC came and PUBREL was sent. */
  setAwaitingPubcomp(slot: number): void {
    this.#states[slot] = InflightState.AWAITING_PUBCOMP;
  }

  /** Completes an entry that was sent on this connection. */
  complete(slot: number): void {
    this.onWire--;
    this.#free(slot);
  }

  #free(slot: number): void {
    const mask = this.#positions.length - 1;
    this.#states[slot] = InflightState.FREE;
    if (this.#origins !== undefined) this.#origins[slot] = null;
    if (this.#sizes !== undefined) {
      this.onWireBytes -= this.#sizes[slot]!;
      this.#sizes[slot] = 0;
    }
    this.count--;
    while (this.#first < this.#next && this.#states[this.#first & mask] === InflightState.FREE) this.#first++;
    if (this.#resend < this.#first) this.#resend = this.#first;
  }

  /** Forgets what was sent on the connection that ended: everything is to be sent again. */
  restart(): void {
    this.onWire = this.onWireBytes = 0;
    this.#sizes = undefined;
    this.#resend = this.#release = this.#first;
  }

  /** Packet Identifier of the next PUBREL to send again, which counts as sent from now on; 0 when none is left. */
  nextRelease(): PacketId {
    const mask = this.#positions.length - 1;
    while (this.#release < this.#next) {
      const sequence = this.#release++;
      if (this.#states[sequence & mask] !== InflightState.AWAITING_PUBCOMP) continue;
      this.onWire++;
      return sequence % PACKET_IDS + 1;
    }
    return 0;
  }

  /** Slot of the next PUBLISH to send again, or -1; `packetIdToResend` is its Packet Identifier. */
  slotToResend(): number {
    const mask = this.#positions.length - 1;
    while (this.#resend < this.#next && !isPublish(this.#states[this.#resend & mask]!)) this.#resend++;
    return this.#resend < this.#next ? this.#resend & mask : -1;
  }

  /** Packet Identifier of the entry that `slotToResend` found. */
  get packetIdToResend(): PacketId {
    return this.#resend % PACKET_IDS + 1;
  }

  /**
   * Notes that the entry found by `slotToResend` was sent again.
   *
   * @param size As for `add`.
   */
  noteResent(size = 0): void {
    if (size > 0) this.#setSize(this.#resend & (this.#positions.length - 1), size);
    this.#resend++;
    this.onWire++;
  }

  /** Drops the entry found by `slotToResend` instead of sending it again. */
  dropResend(): void {
    this.#free(this.#resend & (this.#positions.length - 1));
  }

  /**
   * Visits every entry, oldest first. The visitor returns true to remove the entry, which it may only while no
   * connection serves the Session. O(window).
   */
  sweep(visit: (slot: number, packetId: PacketId) => boolean): void {
    const mask = this.#positions.length - 1;
    for (let sequence = this.#first; sequence < this.#next; sequence++) {
      const slot = sequence & mask;
      if (this.#states[slot] !== InflightState.FREE && visit(slot, sequence % PACKET_IDS + 1)) this.#free(slot);
    }
  }

  #grow(): void {
    const old = this.#positions.length;
    const positions = new Float64Array(old * 2);
    const states = new Uint8Array(old * 2);
    const retains = new Uint8Array(old * 2);
    const origins = this.#origins === undefined ? undefined : new Array<DeliveryOrigin | null>(old * 2).fill(null);
    const sizes = this.#sizes === undefined ? undefined : new Uint32Array(old * 2);
    for (let sequence = this.#first; sequence < this.#next; sequence++) {
      const from = sequence & (old - 1);
      const to = sequence & (old * 2 - 1);
      positions[to] = this.#positions[from]!;
      states[to] = this.#states[from]!;
      retains[to] = this.#retains[from]!;
      if (origins !== undefined) origins[to] = this.#origins![from]!;
      if (sizes !== undefined) sizes[to] = this.#sizes![from]!;
    }
    this.#positions = positions;
    this.#states = states;
    this.#retains = retains;
    this.#origins = origins;
    this.#sizes = sizes;
  }
}

/** Stored size of a message for a window that is bounded in bytes; 0 for one that is not, and nothing is looked up. */
export function boundedSize(position: Position, { limits, store }: SessionContext): number {
  return limits.inflightBytesMax === 0 ? 0 : store.sizeOf(position);
}

function isPublish(state: number): boolean {
  return state === InflightState.AWAITING_PUBACK || state === InflightState.AWAITING_PUBREC;
}

/** Packet Identifiers that exist: 1 to 65535. [MQTT-2.2.1-3] */
const PACKET_IDS = 65_535;
/** A power of two, as every later capacity. */
const CAPACITY_MIN = 16;
