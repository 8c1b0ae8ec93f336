/**
 * A bound on what is done at once: a few at work, a line of others that wait, and nobody beyond it.
 *
 * A server that is asked about thousands of clients after a restart is kept at work and not run over; a client that
 * would wait for longer than a client waits is told at once to come back later. Effect's semaphore gives out the places
 * in the order in which they were asked for; that few wait, and not for long, is added here.
 */
import * as Effect from "effect/Effect";
import * as Semaphore from "effect/Semaphore";
import { BackendBusy } from "../identity/errors.ts";
import { Standing } from "../identity/questions.ts";

/** How many, and how long. */
export interface LineBounds {
  /** For whom the line is. */
  readonly backend: BackendBusy["backend"];
  readonly atWorkMax: number;
  readonly waitingMax: number;
  /** Longest wait; undefined = as long as it takes. */
  readonly waitMs?: number;
}

/** See the head of this file. */
export class WaitingLine {
  readonly #bounds: LineBounds;
  readonly #places: Semaphore.Semaphore;
  #waiting = 0;

  constructor(bounds: LineBounds) {
    this.#bounds = bounds;
    this.#places = Semaphore.makeUnsafe(bounds.atWorkMax);
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Does the work as soon as there is a place for it. */
  run<A, E>(work: Effect.Effect<A, E>): Effect.Effect<A, E | BackendBusy> {
    return Effect.scoped(Effect.andThen(this.#enter, work));
  }

  /** A place for the scope around it. */
  readonly #enter = Effect.suspend(() => {
    const { backend, waitingMax, waitMs } = this.#bounds;
    const busy = new BackendBusy({ backend });
    if (this.#waiting >= waitingMax) return busy;
    const place = this.#places.takeScoped(1);
    const inTime = waitMs === undefined ? place : Effect.timeoutOrElse(place, { duration: waitMs, orElse: () => busy });
    return Effect.flatMap(Standing, (standing) => {
      standing.isWaiting = true;
      this.#waiting++;
      return Effect.ensuring(
        inTime,
        Effect.sync(() => {
          standing.isWaiting = false;
          this.#waiting--;
        }),
      );
    });
  });
}
