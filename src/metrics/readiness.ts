/**
 * Whether the broker may be sent clients, and if not, why.
 *
 * One value with many writers in time, one after the other: recovery while starting, storage after a failure, the
 * shutdown while draining. It knows no HTTP; `admin/http_server.ts` turns it into a status.
 *
 * Invariant: a broker is not ready until somebody says so.
 */
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";

/** The reason a new `Readiness` gives until the first `set`. */
export const NOT_READY_STARTING = "starting";

/** The broker's readiness; plain methods, because setting it must work in any finalizer. */
export class Readiness extends Context.Service<Readiness, {
  /** Why the broker is not ready, or undefined while it is. */
  reason(): string | undefined;
  /**
   * Replaces the reason.
   *
   * @param reason A few words for an operator without line breaks, or undefined for ready.
   */
  set(reason: string | undefined): void;
}>()("promptmq/metrics/Readiness") {
  static readonly layer = Layer.effect(
    Readiness,
    Effect.sync(() => {
      let current: string | undefined = NOT_READY_STARTING;
      return Readiness.of({
        reason: () => current,
        set: (reason) => {
          current = reason;
        },
      });
    }),
  );
}
