/**
 * Ends connections whose identity has an end, such as that of a token. [MQTT 5.0, 3.14.2.1: 0xA0]
 *
 * That end is wall time, timers are broker time: they are set again when the wall clock was.
 */
import { ReasonCode } from "../protocol/reason_codes.ts";
import type { Session } from "../session/session.ts";
import { Timer, type TimerWheel } from "./timer_wheel.ts";

/** At most one timer per connected Session. */
export class IdentityExpiry {
  readonly #wheel: TimerWheel;
  readonly #wallOffsetMs: () => number;
  readonly #ends = new Map<Session, { readonly atMs: number; readonly timer: Timer }>();

  /** @param wallOffsetMs Wall time minus broker time in milliseconds. */
  constructor(wheel: TimerWheel, wallOffsetMs: () => number) {
    this.#wheel = wheel;
    this.#wallOffsetMs = wallOffsetMs;
  }

  /** @param atMs Wall time at which the present connection of the Session ends at the latest; undefined = no end. */
  set(session: Session, atMs: number | undefined): void {
    this.forget(session);
    if (atMs === undefined) return;
    const timer = new Timer({
      timedOut: () => {
        this.#ends.delete(session);
        session.sink?.disconnect(ReasonCode.MAXIMUM_CONNECT_TIME, "the identity of the client has expired");
      },
    });
    this.#ends.set(session, { atMs, timer });
    this.#wheel.schedule(timer, atMs - this.#wallOffsetMs());
  }

  /** Every timer takes its new place; what is over by now ends with the next tick. */
  wallClockSet(): void {
    for (const { atMs, timer } of this.#ends.values()) this.#wheel.schedule(timer, atMs - this.#wallOffsetMs());
  }

  /** The connection of the Session ended. */
  forget(session: Session): void {
    const end = this.#ends.get(session);
    if (end === undefined) return;
    this.#ends.delete(session);
    this.#wheel.cancel(end.timer);
  }
}
