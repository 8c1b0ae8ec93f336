/**
 * The places of `mqtt.max-connections`: how many clients there are, from the verdict on CONNECT until they leave.
 *
 * Places are counted by Session, because of two connections with one Client Identifier only the later one stays. A client
 * whose Session is still being recorded has its place. Sockets that are no client's are not known here.
 */
import type { Counters } from "../metrics/counters.ts";
import type { Session } from "../session/session.ts";

/** See the head of this file. */
export class ClientPlaces {
  readonly #counters: Counters;
  readonly #connectionsMax: () => number;
  /** CONNECT packets that wait for their record, by Session. */
  readonly #opening = new Map<Session, number>();

  /** @param connectionsMax `mqtt.max-connections`; read with every CONNECT. */
  constructor(counters: Counters, connectionsMax: () => number) {
    this.#counters = counters;
    this.#connectionsMax = connectionsMax;
  }

  /** Places taken. */
  get taken(): number {
    return this.#counters.sessionsOnline + this.#opening.size;
  }

  /** True when an admitted client is one too many. One that takes its Session over gets the place of the other. */
  isFullFor(known: Session | undefined): boolean {
    const hasPlace = known !== undefined && (known.sink !== null || this.#opening.has(known));
    return !hasPlace && this.taken >= this.#connectionsMax();
  }

  /** True while some CONNECT waits for the record of its Session. */
  isOpening(session: Session): boolean {
    return this.#opening.has(session);
  }

  /** A CONNECT waits for the record of its Session from now on. */
  waits(session: Session): void {
    this.#opening.set(session, (this.#opening.get(session) ?? 0) + 1);
  }

  /** A CONNECT waits no more. Does nothing for one that did not. */
  waited(session: Session): void {
    const waiting = this.#opening.get(session) ?? 0;
    if (waiting > 1) this.#opening.set(session, waiting - 1);
    else this.#opening.delete(session);
  }
}
