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
 *   RESERVED             nothing yet     its record    AWAITING_PUBREC
 *   AWAITING_PUBREC      PUBLISH QoS 2   PUBREC        RELEASING or AWAITING_PUBCOMP, or free when it refuses
 *   RELEASING            PUBLISH QoS 2   its record    AWAITING_PUBCOMP
 *   AWAITING_PUBCOMP     PUBREL          PUBCOMP       free
 *
 * RESERVED and RELEASING are for Sessions whose steps must be safe before the client sees them; "its record" is the one of
 * the Packet Identifier and of PUBREC, and `confirm` tells that it is safe.
 *
 * The ring has up to three parts: what was sent on this connection, what an earlier connection left to be sent again, and
 * what was reserved for this one and not sent yet. The last two are never there together, but for what was left RESERVED.
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
export const InflightState = {
  FREE: 0,
  AWAITING_PUBACK: 1,
  AWAITING_PUBREC: 2,
  AWAITING_PUBCOMP: 3,
  RESERVED: 4,
  RELEASING: 5,
} as const;

/** The ring. Slots are indices returned by `find` and the like, valid until the next entry. */
export class InflightWindow {
  /** Entries not completed. */
  count = 0;
  /** Entries that use up send quota on this connection: reserved for it or sent, and not completed. [MQTT-4.9.0-1] */
  onWire = 0;
  /** Bytes of the entries that count in `onWire`, of those whose size was given. */
  onWireBytes = 0;
  #first = 0;
  #next = 0;
  /** The next PUBLISH to send; everything before it was sent on this connection. */
  #resend = 0;
  /** Entries from here on were made on this connection: they use send quota already, and are sent for the first time. */
  #reserved = 0;
  /** Entries that are RELEASING: they use send quota on every connection, as nothing delays their PUBREL but the record. */
  #releasing = 0;
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
    return this.#resend < this.#reserved;
  }

  /** True while entries have not been sent on this connection, of whichever one. */
  get hasUnsent(): boolean {
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
   * Adds an entry that is being sent now. The window must not be exhausted and have nothing unsent.
   *
   * @param size Stored bytes of its message as of `boundedSize`.
   * @returns Its Packet Identifier.
   */
  add(position: Position, state: number, retain: boolean, origin: DeliveryOrigin | null, size = 0): PacketId {
    const packetId = this.reserve(position, state, retain, origin, size);
    this.#resend = this.#next;
    return packetId;
  }

  /** Adds an entry that is to be sent later, as `add` otherwise. The window must not be exhausted and have no resends left. */
  reserve(position: Position, state: number, retain: boolean, origin: DeliveryOrigin | null, size = 0): PacketId {
    if (this.#first === this.#next) this.#first = this.#next = this.#resend = this.#next % PACKET_IDS;
    if (this.#resend === this.#next) this.#reserved = this.#next;
    const packetId = this.#next % PACKET_IDS + 1;
    this.#put(position, state, retain, origin);
    if (size > 0) this.#setSize((this.#next - 1) & (this.#positions.length - 1), size);
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
    this.#reserved = this.#next;
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

  /** Slot of a Packet Identifier that waits for something from the client on this connection, or -1. */
  find(packetId: PacketId): number {
    const slot = this.slotOf(packetId);
    if (slot === -1 || !isPublish(this.#states[slot]!)) return slot;
    // A PUBLISH that was not sent on this connection cannot be acknowledged on it.
    return this.#sequenceOf(slot) < this.#resend ? slot : -1;
  }

  /** Slot of a Packet Identifier that is in use, or -1. */
  slotOf(packetId: PacketId): number {
    let distance = packetId - 1 - this.#first % PACKET_IDS;
    if (distance < 0) distance += PACKET_IDS;
    if (distance >= this.#next - this.#first) return -1;
    const slot = (this.#first + distance) & (this.#positions.length - 1);
    return this.#states[slot] === InflightState.FREE ? -1 : slot;
  }

  /** Slot of the RESERVED entry of a message that no group was owed, or -1. O(what is not sent), and mostly the first. */
  reservedSlotOf(position: Position): number {
    const mask = this.#positions.length - 1;
    for (let sequence = this.#resend; sequence < this.#next; sequence++) {
      const slot = sequence & mask;
      if (this.#positions[slot] !== position || this.#states[slot] !== InflightState.RESERVED) continue;
      if ((this.originOf(slot)?.group ?? null) === null) return slot;
    }
    return -1;
  }

  #sequenceOf(slot: number): number {
    return this.#first + ((slot - this.#first) & (this.#positions.length - 1));
  }

  /** State of a slot. */
  stateOf(slot: number): number {
    return this.#states[slot]!;
  }

  /** Packet Identifier of a slot. */
  packetIdOf(slot: number): PacketId {
    return this.#sequenceOf(slot) % PACKET_IDS + 1;
  }

  /** True once PUBREC came: only a Packet Identifier is left of the delivery. */
  isReceived(slot: number): boolean {
    const state = this.#states[slot]!;
    return state === InflightState.AWAITING_PUBCOMP || state === InflightState.RELEASING;
  }

  /** Position of a slot's message; once PUBREC came a number only, whose message may be gone. */
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

  /** Marks that PUBREC came; PUBREL waits for the record of that. */
  setReleasing(slot: number): void {
    this.#states[slot] = InflightState.RELEASING;
    this.#releasing++;
  }

  /** The record that a RESERVED or RELEASING entry waited for is safe. */
  confirm(slot: number): void {
    if (this.#states[slot] === InflightState.RESERVED) this.#states[slot] = InflightState.AWAITING_PUBREC;
    else {
      this.#states[slot] = InflightState.AWAITING_PUBCOMP;
      this.#releasing--;
    }
  }

  /** Completes an entry that was sent on this connection. */
  complete(slot: number): void {
    this.onWire--;
    this.#free(slot);
  }

  /** Drops an entry whose PUBLISH was not sent on this connection. */
  drop(slot: number): void {
    if (this.#sequenceOf(slot) >= this.#reserved) this.onWire--;
    this.#free(slot);
  }

  #free(slot: number): void {
    const mask = this.#positions.length - 1;
    if (this.#states[slot] === InflightState.RELEASING) this.#releasing--;
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
    this.onWire = this.#releasing;
    this.onWireBytes = 0;
    this.#sizes = undefined;
    this.#resend = this.#release = this.#first;
    this.#reserved = this.#next;
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

  /** Slot of the next PUBLISH to send, or -1 when there is none or it is RESERVED: no later one may overtake it. */
  slotToSend(): number {
    const mask = this.#positions.length - 1;
    while (this.#resend < this.#next && !isPublish(this.#states[this.#resend & mask]!)) this.#resend++;
    if (this.#resend === this.#next) return -1;
    const slot = this.#resend & mask;
    return this.#states[slot] === InflightState.RESERVED ? -1 : slot;
  }

  /**
   * Notes that the entry found by `slotToSend` was sent.
   *
   * @param size As for `add`, if it is one of an earlier connection.
   */
  noteSent(size = 0): void {
    if (this.hasResends) {
      if (size > 0) this.#setSize(this.#resend & (this.#positions.length - 1), size);
      this.onWire++;
    }
    this.#resend++;
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
  return state === InflightState.AWAITING_PUBACK || state === InflightState.AWAITING_PUBREC ||
    state === InflightState.RESERVED;
}

/** Packet Identifiers that exist: 1 to 65535. [MQTT-2.2.1-3] */
const PACKET_IDS = 65_535;
/** A power of two, as every later capacity. */
const CAPACITY_MIN = 16;
