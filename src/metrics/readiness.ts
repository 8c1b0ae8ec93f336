/**
 * Whether the broker may be sent clients, and if not, why.
 *
 * A reason belongs to a source, because what one source clears must not hide what another still has to say: the store
 * recovers from a full disk while the broker is already draining. It knows no HTTP; `admin/http_server.ts` turns it
 * into a status.
 *
 * Invariant: a broker is not ready until somebody says so.
 */
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";

/** The reason a new `Readiness` gives until the first `set`. */
export const NOT_READY_STARTING = "starting";

/**
 * Who may have a reason, in the order in which they are heard: `life` for the process, which is starting or draining,
 * and `storage` for the store, which is full or has failed.
 */
export const READINESS_SOURCES = ["life", "storage"] as const;

/** One of `READINESS_SOURCES`. */
export type ReadinessSource = typeof READINESS_SOURCES[number];

/** The broker's readiness; plain methods, because setting it must work in any finalizer. */
export class Readiness extends Context.Service<Readiness, {
  /** Why the broker is not ready, or undefined while it is: the reason of the first source that has one. */
  reason(): string | undefined;
  /**
   * Replaces the reason of one source.
   *
   * @param reason A few words for an operator without line breaks, or undefined when the source has none.
   * @param source `life` unless given.
   */
  set(reason: string | undefined, source?: ReadinessSource): void;
}>()("promptmq/metrics/Readiness") {
  static readonly layer = Layer.effect(
    Readiness,
    Effect.sync(() => {
      const reasons: Record<ReadinessSource, string | undefined> = { life: NOT_READY_STARTING, storage: undefined };
      return Readiness.of({
        reason: () => {
          const source = READINESS_SOURCES.find((candidate) => reasons[candidate] !== undefined);
          return source === undefined ? undefined : reasons[source];
        },
        set: (reason, source = "life") => {
          reasons[source] = reason;
        },
      });
    }),
  );
}
