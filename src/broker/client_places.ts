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
  readonly #openings: ReadonlyMap<Session, unknown>;
  readonly #connectionsMax: () => number;

  /**
   * @param openings Sessions for which a CONNECT waits.
   * @param connectionsMax `mqtt.max-connections`; read with every CONNECT.
   */
  constructor(counters: Counters, openings: ReadonlyMap<Session, unknown>, connectionsMax: () => number) {
    this.#counters = counters;
    this.#openings = openings;
    this.#connectionsMax = connectionsMax;
  }

  /** Places taken. */
  get taken(): number {
    return this.#counters.sessionsOnline + this.#openings.size;
  }

  /** True when an admitted client is one too many. One that takes its Session over gets the place of the other. */
  isFullFor(known: Session | undefined): boolean {
    const hasPlace = known !== undefined && (known.sink !== null || this.#openings.has(known));
    return !hasPlace && this.taken >= this.#connectionsMax();
  }
}
