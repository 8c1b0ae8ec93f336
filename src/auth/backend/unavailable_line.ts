/**
 * What the log says of a backend that gave no answer: one line for many, since every client that connects meanwhile asks
 * anew.
 */
import * as Effect from "effect/Effect";
import type { LogWriter } from "../../logging/log.ts";
import { type BackendBusy, BackendUnavailable } from "../identity/errors.ts";

/** Tells the log of an identity backend that is unavailable; that it is busy is told by the counter of refusals. */
export const tellUnavailable =
  (log: LogWriter) => <A, E extends BackendUnavailable | BackendBusy>(asking: Effect.Effect<A, E>) =>
    Effect.tapError(asking, (error) =>
      Effect.sync(() => {
        if (!(error instanceof BackendUnavailable)) return;
        const { backend, message } = error;
        log.limited(`${backend}_unavailable`, "warn", "identity backend unavailable", { backend, error: message });
      }));
