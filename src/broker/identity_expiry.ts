/**
 * Ends connections whose identity has an end, such as that of a token. [MQTT 5.0, 3.14.2.1: 0xA0]
 */
import { ReasonCode } from "../protocol/reason_codes.ts";
import type { Session } from "../session/session.ts";
import { Timer, type TimerWheel } from "./timer_wheel.ts";

/** At most one timer per connected Session. */
export class IdentityExpiry {
  readonly #wheel: TimerWheel;
  readonly #timers = new Map<Session, Timer>();

  constructor(wheel: TimerWheel) {
    this.#wheel = wheel;
  }

  /** @param atMs When the present connection of the Session ends at the latest; undefined = no end. */
  set(session: Session, atMs: number | undefined): void {
    this.forget(session);
    if (atMs === undefined) return;
    const timer = new Timer({
      timedOut: () => {
        this.#timers.delete(session);
        session.sink?.disconnect(ReasonCode.MAXIMUM_CONNECT_TIME, "the identity of the client has expired");
      },
    });
    this.#timers.set(session, timer);
    this.#wheel.schedule(timer, atMs);
  }

  /** The connection of the Session ended. */
  forget(session: Session): void {
    const timer = this.#timers.get(session);
    if (timer === undefined) return;
    this.#timers.delete(session);
    this.#wheel.cancel(timer);
  }
}
