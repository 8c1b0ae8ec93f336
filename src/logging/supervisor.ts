/**
 * Fibers the broker cannot do without. A fiber forked the plain way that dies is silent; one forked here is logged
 * with its cause and stops the broker, because half a broker that looks alive is worse than none.
 */

import * as Cause from "effect/Cause";
import * as Context from "effect/Context";
import * as Data from "effect/Data";
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import type * as Fiber from "effect/Fiber";
import * as Layer from "effect/Layer";
import * as Runtime from "effect/Runtime";
import { failureFields } from "./failure_fields.ts";

/** A supervised fiber ended with a failure or a defect, which has been logged already. */
export class FiberDied extends Data.TaggedError("FiberDied")<{ readonly fiber: string; readonly cause: unknown }> {
  /** What an operating failure says for itself, as a failure at the start does; the rest is a bug. */
  override get message(): string {
    return isOperatingFailure(this.cause) ? this.cause.message : `${this.fiber} died`;
  }

  /** Of the operating failure, else EX_SOFTWARE of sysexits. */
  override get [Runtime.errorExitCode](): number {
    return isOperatingFailure(this.cause) ? this.cause[Runtime.errorExitCode] : 70;
  }

  override readonly [Runtime.errorReported] = false;
}

/** Watches over fibers. Interruption is an orderly end, and so is success. */
export class Supervisor extends Context.Service<Supervisor, {
  /** Fails when the first supervised fiber has died; never succeeds. */
  readonly awaitDeath: Effect.Effect<never, FiberDied>;
  /** For plain code that finds out: records the death of something as `Supervisor.fork` does. */
  readonly reportDeath: (name: string, cause: Cause.Cause<unknown>) => Effect.Effect<void>;
  /** Counts a fiber among the running ones until it ends. `Supervisor.fork` does it for its own. */
  readonly watch: (fiber: Fiber.Fiber<unknown, unknown>) => void;
  /** Supervised fibers that are alive now. */
  readonly running: () => number;
}>()("promptmq/logging/Supervisor") {
  static readonly layer: Layer.Layer<Supervisor> = Layer.effect(
    Supervisor,
    Effect.gen(function* () {
      const death = yield* Deferred.make<never, FiberDied>();
      let running = 0;
      return Supervisor.of({
        awaitDeath: Deferred.await(death),
        reportDeath: (name, cause) =>
          logDeath(name, cause).pipe(
            Effect.andThen(Deferred.fail(death, new FiberDied({ fiber: name, cause: Cause.squash(cause) }))),
            Effect.asVoid,
          ),
        watch: (fiber) => {
          running++;
          fiber.addObserver(() => running--);
        },
        running: () => running,
      });
    }),
  );

  /**
   * Forks an effect into the current scope under supervision.
   *
   * @param name What to call it in the log, such as `tcp accept loop`.
   */
  static readonly fork = <A, E, R>(
    name: string,
    effect: Effect.Effect<A, E, R>,
  ) =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor;
      const fiber = yield* Effect.forkScoped(Effect.onExit(effect, (exit) =>
        exit._tag === "Failure" && !Cause.hasInterruptsOnly(exit.cause)
          ? supervisor.reportDeath(name, exit.cause)
          : Effect.void));
      supervisor.watch(fiber);
      return fiber;
    });
}

/**
 * Builds the layers under supervision and keeps them until interrupted, or until a supervised fiber dies.
 *
 * @returns Fails with the error of a layer that cannot be built, or with `FiberDied`; all layers are closed by then.
 */
export function launchSupervised<A, E, R>(
  layers: Layer.Layer<A, E, R>,
): Effect.Effect<never, E | FiberDied, Exclude<R, Supervisor>> {
  return Effect.scoped(Effect.gen(function* () {
    const context = yield* Layer.build(Layer.provideMerge(layers, Supervisor.layer));
    return yield* Context.get(context, Supervisor).awaitDeath;
  }));
}

/** An operating failure is told once, by whoever ends the process with it. */
function logDeath(fiber: string, cause: Cause.Cause<unknown>): Effect.Effect<void> {
  if (isOperatingFailure(Cause.squash(cause))) return Effect.void;
  return Effect.logFatal("supervised fiber died", { fiber, ...failureFields(cause) });
}

/** True for a failure that says with which exit code it ends the process. */
function isOperatingFailure(cause: unknown): cause is Error & { readonly [Runtime.errorExitCode]: number } {
  return cause instanceof Error && Runtime.errorExitCode in cause;
}
