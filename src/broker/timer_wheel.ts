/**
 * One timer wheel for everything that happens later: keep-alive, CONNECT and write timeouts, Will Delay, session
 * expiry.
 *
 * A hashed wheel: a timer hangs in the slot of its tick; timers further away than one round stay in their slot and are
 * passed over until their round comes. Scheduling and cancelling are O(1) and allocate nothing, since a timer is an
 * object its owner keeps. Time is an argument. A timer never fires early, and at most one tick late after `advance`.
 */

/** Told when its timer fires. */
export interface TimerOwner {
  /** @param nowMs Clock reading of the advance. May schedule any timer, the one that fired included. */
  timedOut(nowMs: number): void;
}

/** Something to do later. Owned by whoever schedules it; one timer is in the wheel at most once. */
export class Timer {
  /** Tick at which it fires; meaningless while idle. */
  tick = 0;
  next: Timer | null = null;
  previous: Timer | null = null;
  isScheduled = false;

  constructor(readonly owner: TimerOwner) {}
}

/** See the head of this file. */
export class TimerWheel {
  readonly #slots: (Timer | null)[] = new Array<Timer | null>(SLOTS).fill(null);
  #tick: number;

  /** @param nowMs Clock reading at the start. */
  constructor(nowMs: number) {
    this.#tick = Math.floor(nowMs / TICK_MS);
  }

  /** Schedules a timer, or moves it. A time in the past fires with the next tick. */
  schedule(timer: Timer, atMs: number): void {
    if (timer.isScheduled) this.cancel(timer);
    timer.tick = Math.max(Math.ceil(atMs / TICK_MS), this.#tick + 1);
    const slot = timer.tick % SLOTS;
    const first = this.#slots[slot]!;
    timer.next = first;
    timer.previous = null;
    if (first !== null) first.previous = timer;
    this.#slots[slot] = timer;
    timer.isScheduled = true;
  }

  /** Takes a timer out; nothing happens when it is idle. */
  cancel(timer: Timer): void {
    if (!timer.isScheduled) return;
    timer.isScheduled = false;
    if (timer.previous !== null) timer.previous.next = timer.next;
    else this.#slots[timer.tick % SLOTS] = timer.next;
    if (timer.next !== null) timer.next.previous = timer.previous;
    timer.next = timer.previous = null;
  }

  /** Fires every timer that is due. O(ticks passed, one round at most + timers in those slots). */
  advance(nowMs: number): void {
    const now = Math.floor(nowMs / TICK_MS);
    if (now <= this.#tick) return;
    const slotsToVisit = Math.min(now - this.#tick, SLOTS);
    const first = this.#tick + 1;
    this.#tick = now;
    const due: Timer[] = [];
    for (let i = 0; i < slotsToVisit; i++) {
      let timer: Timer | null = this.#slots[(first + i) % SLOTS]!;
      for (; timer !== null; timer = timer.next) if (timer.tick <= now) due.push(timer);
    }
    due.sort((a, b) => a.tick - b.tick);
    for (const timer of due) {
      // An earlier one may have cancelled or moved it.
      if (!timer.isScheduled || timer.tick > now) continue;
      this.cancel(timer);
      timer.owner.timedOut(nowMs);
    }
  }
}

/** Milliseconds of one tick; the broker advances the wheel this often. */
export const TICK_MS = 100;
const SLOTS = 1_024;
