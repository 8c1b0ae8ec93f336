/**
 * Deliveries that wait until a step of theirs is safe: a PUBLISH for the record of its Packet Identifier, a PUBREL for the
 * one that PUBREC came. One line for all Sessions, beside that of the acknowledgements: a publisher who is refused while
 * the log cannot be written must hear of it.
 *
 * A ring of positions and Packet Identifiers, so waiting allocates nothing. It grows by doubling; what bounds it is the
 * in-flight windows of the Sessions.
 */
import type { PacketId } from "../protocol/distinct_number.ts";
import type { Position } from "../storage/model/stored.ts";

/** Whose delivery waits. Implemented by `Outbox`. */
export interface ProgressWaiter {
  /**
   * The step is safe, and the delivery may go on.
   *
   * @param packetId As it was given to `push`.
   */
  progressSafe(packetId: PacketId, nowMs: number): void;
}

/** See the head of this file. */
export class ProgressLine {
  readonly #schedule: () => void;
  #head = 0;
  #count = 0;
  #positions = new Float64Array(CAPACITY_MIN);
  #packetIds = new Uint16Array(CAPACITY_MIN);
  #waiters = new Array<ProgressWaiter | null>(CAPACITY_MIN).fill(null);

  /** @param schedule Makes sure that the turn ends, so that what was appended is committed. */
  constructor(schedule: () => void) {
    this.#schedule = schedule;
  }

  /**
   * Waits until `position` is committed.
   *
   * @param position Not below that of the call before, or 0: nothing but the line is waited for.
   * @param packetId 0 = the waiter only wants to be called, when nothing else is being delivered.
   */
  push(position: Position, waiter: ProgressWaiter, packetId: PacketId): void {
    if (this.#count === this.#positions.length) this.#grow();
    const index = (this.#head + this.#count++) & (this.#positions.length - 1);
    this.#positions[index] = position;
    this.#packetIds[index] = packetId;
    this.#waiters[index] = waiter;
    this.#schedule();
  }

  /** True when somebody is to be told. */
  isDue(committed: Position): boolean {
    return this.#count > 0 && this.#positions[this.#head]! <= committed;
  }

  /** Tells all whose position is committed, in their order. */
  settleUpTo(committed: Position, nowMs: number): void {
    while (this.isDue(committed)) {
      const head = this.#head;
      const waiter = this.#waiters[head]!;
      const packetId = this.#packetIds[head]!;
      this.#waiters[head] = null;
      this.#head = (head + 1) & (this.#positions.length - 1);
      this.#count--;
      waiter.progressSafe(packetId, nowMs);
    }
  }

  #grow(): void {
    const old = this.#positions.length;
    const positions = new Float64Array(old * 2);
    const packetIds = new Uint16Array(old * 2);
    const waiters = new Array<ProgressWaiter | null>(old * 2).fill(null);
    for (let i = 0; i < old; i++) {
      const from = (this.#head + i) & (old - 1);
      positions[i] = this.#positions[from]!;
      packetIds[i] = this.#packetIds[from]!;
      waiters[i] = this.#waiters[from]!;
    }
    this.#positions = positions;
    this.#packetIds = packetIds;
    this.#waiters = waiters;
    this.#head = 0;
  }
}

/** A power of two, as every later capacity. */
const CAPACITY_MIN = 1_024;
