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
  /** At least 1. */
  readonly waitingMax: number;
  /** Longest wait; undefined = as long as it takes. */
  readonly waitMs?: number;
}

/** Does work as soon as there is a place for it. */
export type WaitingLine = <A, E>(work: Effect.Effect<A, E>) => Effect.Effect<A, E | BackendBusy>;

/** Makes a line. */
export function makeWaitingLine({ backend, atWorkMax, waitingMax, waitMs }: LineBounds): WaitingLine {
  const places = Semaphore.makeUnsafe(atWorkMax);
  const busy = Effect.suspend(() => new BackendBusy({ backend }));
  let waiting = 0;
  const place = places.takeScoped(1);
  const inTime = waitMs === undefined ? place : Effect.timeoutOrElse(place, { duration: waitMs, orElse: () => busy });
  const enter = Effect.flatMap(Standing, (standing) => {
    if (waiting >= waitingMax) return busy;
    standing.isWaiting = true;
    waiting++;
    const left = Effect.sync(() => {
      standing.isWaiting = false;
      waiting--;
    });
    return Effect.ensuring(inTime, left);
  });
  return (work) => Effect.scoped(Effect.andThen(enter, work));
}
