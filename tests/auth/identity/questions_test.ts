/** Where plain code has its questions answered. */
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Layer from "effect/Layer";
import * as References from "effect/References";
import * as Scope from "effect/Scope";
import assert from "node:assert/strict";
import { type Ask, askBy, openQuestions, Standing } from "../../../src/auth/identity/questions.ts";
import { type FiberDied, Supervisor } from "../../../src/logging/supervisor.ts";

/** Runs a test with a place for questions, which `close` closes. */
function withQuestions(
  body: (ask: Ask, close: Effect.Effect<void>, death: Effect.Effect<never, FiberDied>) => Effect.gen.Return<void>,
): () => Promise<void> {
  return () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const scope = yield* Scope.make();
        const ask = yield* Scope.provide(openQuestions, scope);
        const { awaitDeath } = yield* Supervisor;
        yield* Effect.gen(() => body(ask, Scope.close(scope, Exit.void), awaitDeath));
        yield* Scope.close(scope, Exit.void);
      }).pipe(
        Effect.provide(Layer.merge(Supervisor.layer, Layer.succeed(References.MinimumLogLevel, "None"))),
      ),
    );
}

/** Marks a question as one that waits for its turn, or not. */
const stand = (isWaiting: boolean) =>
  Effect.map(Standing, (standing) => {
    standing.isWaiting = isWaiting;
  });

Deno.test("what is known at once is heard at once, whether it is a value or an effect that waits for nothing", () => {
  const ask = askBy(Effect.runFork);
  const heard: string[] = [];
  assert.equal(ask("a value", (answer) => heard.push(answer)), undefined);
  assert.equal(ask(Effect.succeed("an effect"), (answer) => heard.push(answer)), undefined);
  assert.deepEqual(heard, ["a value", "an effect"]);
});

Deno.test(
  "a question that waits for its turn can be taken back, and one that is being asked is heard",
  withQuestions(function* (ask) {
    const answer = Deferred.makeUnsafe<string>();
    const ended = Deferred.makeUnsafe<void>();
    const heard: string[] = [];
    const question = (isWaiting: boolean) => Effect.andThen(stand(isWaiting), Deferred.await(answer));
    const waiting = Effect.ensuring(question(true), Deferred.succeed(ended, undefined));
    ask(waiting, () => assert.fail("it was taken back"))!();
    yield* Deferred.await(ended);
    ask(question(false), (told) => heard.push(told))!();
    const last = Deferred.makeUnsafe<void>();
    ask(question(true), () => Deferred.doneUnsafe(last, Exit.void));
    yield* Deferred.succeed(answer, "heard");
    yield* Deferred.await(last);
    assert.deepEqual(heard, ["heard"]);
  }),
);

Deno.test(
  "closing ends the questions that are being asked, waits for their end, and lets no other begin",
  withQuestions(function* (ask, close) {
    const ended: string[] = [];
    const cleanUp = Effect.andThen(Effect.yieldNow, Effect.sync(() => ended.push("end")));
    ask(Effect.ensuring(Effect.never, cleanUp), () => assert.fail("nobody hears"));
    yield* close;
    assert.deepEqual(ended, ["end"]);
    ask(Effect.sync(() => assert.fail("it was asked")), () => assert.fail("nobody hears"));
  }),
);

for (
  const [what, question, heard] of [
    ["a question", Effect.die(new TypeError("a bug")), () => assert.fail("nobody hears")],
    ["whoever hears the answer", Effect.void, () => {
      throw new TypeError("a bug");
    }],
  ] as const
) {
  Deno.test(
    `a bug in ${what} is the death of a supervised fiber`,
    withQuestions(function* (ask, _close, death) {
      ask(Effect.andThen(Effect.yieldNow, question), heard);
      const died = yield* Effect.flip(death);
      assert.equal(died.fiber, "question about a client");
      assert.ok(died.cause instanceof TypeError);
    }),
  );
}
