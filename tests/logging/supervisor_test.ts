/**
 * Supervision: a fiber that dies stops everything, in order; one that ends or is interrupted does not.
 */

import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as Layer from "effect/Layer";
import * as Logger from "effect/Logger";
import assert from "node:assert/strict";
import { FiberDied, launchSupervised, Supervisor } from "../../src/logging/supervisor.ts";

/** A layer that runs `effect` as a supervised fiber and notes when it is closed. */
function supervisedLayer<E>(effect: Effect.Effect<unknown, E>, closed: string[]) {
  return Layer.effectDiscard(Effect.gen(function* () {
    yield* Effect.addFinalizer(() => Effect.sync(() => closed.push("closed")));
    yield* Supervisor.fork("worker", effect);
  }));
}

for (const [kind, effect] of [["defect", Effect.die(new Error("boom"))], ["failure", Effect.fail("boom")]] as const) {
  Deno.test(`launchSupervised ends with the ${kind} of a supervised fiber, logged, after closing the layers`, async () => {
    const closed: string[] = [];
    const logged: string[] = [];
    const logger = Logger.make<unknown, void>(({ message }) => void logged.push(JSON.stringify(message)));
    const launched = launchSupervised(supervisedLayer(effect, closed));
    const error = await Effect.runPromise(Effect.flip(launched).pipe(Effect.provide(Logger.layer([logger]))));
    assert.ok(error instanceof FiberDied);
    assert.equal(error.fiber, "worker");
    assert.deepEqual(closed, ["closed"]);
    assert.equal(logged.length, 1);
    assert.match(logged[0] ?? "", /^\["supervised fiber died",\{"fiber":"worker","cause":".*boom/);
  });
}

Deno.test("launchSupervised goes on when a supervised fiber ends, until it is interrupted", async () => {
  const closed: string[] = [];
  const exit = await Effect.runPromise(Effect.gen(function* () {
    const ended = yield* Deferred.make<void>();
    const worker = Deferred.succeed(ended, undefined);
    const fiber = yield* Effect.forkChild(launchSupervised(supervisedLayer(worker, closed)));
    yield* Deferred.await(ended);
    assert.deepEqual(closed, []);
    yield* Fiber.interrupt(fiber);
    return yield* Fiber.await(fiber);
  }));
  assert.ok(Exit.hasInterrupts(exit));
  assert.deepEqual(closed, ["closed"]);
});

Deno.test("running counts supervised fibers from fork to end, however they end", async () => {
  const counts = await Effect.runPromise(
    Effect.gen(function* () {
      const supervisor = yield* Supervisor;
      const gate = yield* Deferred.make<void>();
      const seen = [supervisor.running()];
      yield* Effect.scoped(Effect.gen(function* () {
        const ending = yield* Supervisor.fork("ending", Deferred.await(gate));
        yield* Supervisor.fork("interrupted before it ran", Effect.never);
        seen.push(supervisor.running());
        yield* Deferred.succeed(gate, undefined);
        yield* Fiber.await(ending);
        seen.push(supervisor.running());
        const dying = yield* Supervisor.fork("dying", Effect.die("boom"));
        yield* Fiber.await(dying);
        seen.push(supervisor.running());
      }));
      return [...seen, supervisor.running()];
    }).pipe(Effect.provide(Supervisor.layer), Effect.provide(Logger.layer([]))),
  );
  assert.deepEqual(counts, [0, 2, 1, 1, 0]);
});

Deno.test("reportDeath from plain code stops the broker as a dying fiber does", async () => {
  const layer = Layer.effectDiscard(Effect.gen(function* () {
    const supervisor = yield* Supervisor;
    const exit = yield* Effect.exit(Effect.fail("poisoned"));
    if (Exit.isFailure(exit)) yield* supervisor.reportDeath("log segment", exit.cause);
  }));
  const error = await Effect.runPromise(
    Effect.flip(launchSupervised(layer)).pipe(Effect.provide(Logger.layer([]))),
  );
  assert.ok(error instanceof FiberDied);
  assert.equal(error.message, "log segment died");
  assert.equal(error.cause, "poisoned");
});
