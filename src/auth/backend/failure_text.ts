/**
 * What an operator is told of a backend that gave no answer.
 */
import * as Effect from "effect/Effect";
import type { LogWriter } from "../../logging/log.ts";
import { type BackendBusy, BackendUnavailable } from "../identity/errors.ts";

/**
 * Tells the log of an identity backend that is unavailable, one line for many, since every client that connects
 * meanwhile asks anew. That it is busy is told by the counter of refusals.
 */
export const tellUnavailable =
  (log: LogWriter) => <A, E extends BackendUnavailable | BackendBusy>(asking: Effect.Effect<A, E>) =>
    Effect.tapError(asking, (error) =>
      Effect.sync(() => {
        if (!(error instanceof BackendUnavailable)) return;
        const { backend, message } = error;
        log.limited(`${backend}_unavailable`, "warn", "identity backend unavailable", { backend, error: message });
      }));

/** Causes in causes that are looked into. */
const DEPTH_MAX = 5;

/**
 * What the runtime says of a network that failed: the innermost cause in one line, because the outer ones only say that
 * something failed, and without the number that the runtime adds. It may name the address that was asked.
 */
export function failureText(cause: unknown): string {
  let innermost = cause;
  for (let depth = 0; depth < DEPTH_MAX && innermost instanceof Error && innermost.cause !== undefined; depth++) {
    innermost = innermost.cause;
  }
  const text = innermost instanceof Error ? innermost.message : String(innermost);
  return (text.split("\n")[0] ?? "").replace(/ \(os error \d+\)/, "");
}
