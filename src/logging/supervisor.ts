/**
 * What the broker cannot do without, and the end of it: a fiber forked here that dies, and whatever is thrown where
 * nobody catches it (a microtask, a timer, the continuation of a promise), is logged with its cause and stops the
 * broker, because half a broker that looks alive is worse than none. A fiber forked the plain way that dies is silent.
 *
 * Of what ends the broker only the first is its death, told at once, since the close after it may take its time. What
 * goes wrong during the close does not interrupt it.
 */

import * as Cause from "effect/Cause";
import * as Context from "effect/Context";
import * as Data from "effect/Data";
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import type * as Fiber from "effect/Fiber";
import * as Layer from "effect/Layer";
import * as Queue from "effect/Queue";
import * as Runtime from "effect/Runtime";
import { failureFields } from "./failure_fields.ts";

/** A supervised fiber, or plain code, ended with a failure or a defect, which has been logged already. */
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
  /** The same without waiting: succeeds while nothing has died. */
  readonly checkLife: Effect.Effect<void, FiberDied>;
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
        checkLife: Effect.flatMap(Deferred.isDone(death), (isDone) => isDone ? Deferred.await(death) : Effect.void),
        reportDeath: Effect.fnUntraced(function* (name, cause) {
          yield* logDeath(name, cause, yield* Deferred.isDone(death));
          yield* Deferred.fail(death, new FiberDied({ fiber: name, cause: Cause.squash(cause) }));
        }),
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
 * Builds the layers under supervision and keeps them until interrupted, or until something dies, be it meanwhile.
 *
 * @param closing Called when the layers are about to be closed, whatever the reason.
 * @returns Fails with the error of a layer that cannot be built, or with `FiberDied`; all layers are closed by then.
 */
export function launchSupervised<A, E, R>(
  layers: Layer.Layer<A, E, R>,
  closing: () => void,
): Effect.Effect<never, E | FiberDied, Exclude<R, Supervisor>> {
  return Effect.scoped(Effect.gen(function* () {
    const supervision = yield* Layer.build(Supervisor.layer);
    const supervisor = Context.get(supervision, Supervisor);
    // Runs last: a stop that was asked for is not in order when something died during it.
    yield* Effect.addFinalizer((exit) => Exit.hasInterrupts(exit) ? Effect.orDie(supervisor.checkLife) : Effect.void);
    yield* reportUncaught(supervisor);
    const built = Layer.build(Layer.provide(layers, Layer.succeedContext(supervision)));
    // The death first: it is heard, and the close announced, however soon the build ends.
    return yield* Effect.raceFirst(
      Effect.onExit(supervisor.awaitDeath, () => Effect.sync(closing)),
      Effect.andThen(built, Effect.never),
    );
  }));
}

/**
 * Takes what this process throws where nobody catches it, until the scope is closed. What follows the first few is
 * most likely more of the same, and is not told.
 */
const reportUncaught = Effect.fnUntraced(function* (supervisor: Supervisor["Service"]) {
  const uncaught = yield* Queue.dropping<unknown>(UNCAUGHT_TOLD_MAX);
  const heard = (event: ErrorEvent | PromiseRejectionEvent) => {
    // Else the runtime ends the process where it stands.
    event.preventDefault();
    Queue.offerUnsafe(uncaught, "reason" in event ? event.reason : event.error);
  };
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      addEventListener("error", heard);
      addEventListener("unhandledrejection", heard);
    }),
    () =>
      Effect.sync(() => {
        removeEventListener("error", heard);
        removeEventListener("unhandledrejection", heard);
      }),
  );
  const cause = Effect.map(
    Queue.take(uncaught),
    (thrown) => isOperatingFailure(thrown) ? Cause.fail(thrown) : Cause.die(thrown),
  );
  yield* Effect.forkScoped(Effect.gen(function* () {
    for (let told = 0; told < UNCAUGHT_TOLD_MAX; told++) yield* supervisor.reportDeath("plain code", yield* cause);
  }));
});

const UNCAUGHT_TOLD_MAX = 2;

/** Only the first death is fatal. One sentence for what an operator can change, a stack for a bug. */
function logDeath(part: string, cause: Cause.Cause<unknown>, isClosing: boolean): Effect.Effect<void> {
  const fields = failureFields(cause);
  if (isClosing) return Effect.logError("another part of the broker died", { part, ...fields });
  return isOperatingFailure(Cause.squash(cause))
    ? Effect.logFatal("promptmq has failed", fields)
    : Effect.logFatal("a part of the broker died", { part, ...fields });
}

/** True for a failure that says with which exit code it ends the process. */
function isOperatingFailure(cause: unknown): cause is Error & { readonly [Runtime.errorExitCode]: number } {
  return cause instanceof Error && Runtime.errorExitCode in cause;
}
