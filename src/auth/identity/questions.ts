/**
 * Where plain code has its questions answered: one that can be answered at once is, and one that is an effect is asked
 * in a fiber of its own, whose answer is heard by a callback.
 *
 * Whoever asked may take the question back while it only waits for its turn. Once a backend has been asked the answer
 * is heard even if nobody is there any more: otherwise leaving early would be a way to try passwords that are not
 * counted. All fibers end with the scope, and nobody hears of them; one that dies is a bug, which stops the broker.
 */
import * as Cause from "effect/Cause";
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import type * as Fiber from "effect/Fiber";
import * as FiberSet from "effect/FiberSet";
import { Supervisor } from "../../logging/supervisor.ts";

/** An answer that is known, or how to find it. */
export type Answer<A, E = never> = A | Effect.Effect<A, E>;

/** Takes a question back, if it still waits for its turn. */
export type TakeBack = () => void;

/**
 * Asks; `heard` is called once, before the return when nobody has to be waited for.
 *
 * @returns undefined when there is nothing left to take back.
 */
export type Ask = <A>(question: Answer<A>, heard: (answer: A) => void) => TakeBack | undefined;

/** Where a question stands, for its own fiber to say. */
export const Standing = Context.Reference<{ isWaiting: boolean }>("promptmq/auth/Standing", {
  defaultValue: () => ({ isWaiting: false }),
});

/** Asks by fibers that `fork` starts. */
export function askBy(fork: (question: Effect.Effect<void>) => Fiber.Fiber<void>): Ask {
  return (question, heard) => {
    if (!Effect.isEffect(question)) {
      heard(question);
      return undefined;
    }
    const standing = { isWaiting: false };
    const fiber = fork(Effect.map(question, heard).pipe(Effect.provideService(Standing, standing)));
    if (fiber.pollUnsafe() !== undefined) return undefined;
    return () => {
      if (standing.isWaiting) fiber.interruptUnsafe();
    };
  };
}

/** Opens the place for a scope. It must close before what the questions use. */
export const openQuestions = Effect.gen(function* () {
  const { reportDeath } = yield* Supervisor;
  const fork = yield* FiberSet.makeRuntime();
  return askBy((question) =>
    fork(
      Effect.onExit(question, (exit) =>
        exit._tag === "Failure" && !Cause.hasInterruptsOnly(exit.cause)
          ? reportDeath("question about a client", exit.cause)
          : Effect.void),
    )
  );
});
