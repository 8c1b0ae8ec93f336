/**
 * Supervision: a fiber that dies stops everything, in order; one that ends or is interrupted does not.
 */

import * as Data from "effect/Data";
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as Layer from "effect/Layer";
import * as Logger from "effect/Logger";
import * as Runtime from "effect/Runtime";
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
    const launched = launchSupervised(supervisedLayer(effect, closed), () => closed.push("closing"));
    const error = await Effect.runPromise(Effect.flip(launched).pipe(Effect.provide(Logger.layer([logger]))));
    assert.ok(error instanceof FiberDied);
    assert.equal(error.fiber, "worker");
    assert.deepEqual(closed, ["closing", "closed"]);
    assert.equal(logged.length, 1);
    assert.match(logged[0] ?? "", /^\["a part of the broker died",\{"part":"worker","cause":".*boom/);
  });
}

Deno.test("launchSupervised goes on when a supervised fiber ends, until it is interrupted", async () => {
  const closed: string[] = [];
  const exit = await Effect.runPromise(Effect.gen(function* () {
    const ended = yield* Deferred.make<void>();
    const worker = Deferred.succeed(ended, undefined);
    const fiber = yield* Effect.forkChild(
      launchSupervised(supervisedLayer(worker, closed), () => closed.push("closing")),
    );
    yield* Deferred.await(ended);
    assert.deepEqual(closed, []);
    yield* Fiber.interrupt(fiber);
    return yield* Fiber.await(fiber);
  }));
  assert.ok(Exit.hasInterrupts(exit));
  assert.deepEqual(closed, ["closing", "closed"]);
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
    Effect.flip(launchSupervised(layer, () => {})).pipe(Effect.provide(Logger.layer([]))),
  );
  assert.ok(error instanceof FiberDied);
  assert.equal(error.message, "log segment died");
  assert.equal(error.cause, "poisoned");
});

class DeviceGone extends Data.TaggedError("DeviceGone") {
  override readonly message = "the device is gone";
  override readonly [Runtime.errorExitCode] = 74;
}

/** What `launchSupervised` fails with, what it logged as `[level, message, fields]`, and the order of its end. */
async function launchAndThrow(layer: (closed: string[]) => Layer.Layer<never, never, Supervisor>) {
  const order: string[] = [];
  const logged: [level: string, message: unknown][] = [];
  const logger = Logger.make<unknown, void>(({ logLevel, message }) => void logged.push([logLevel, message]));
  const error = await Effect.runPromise(
    Effect.flip(launchSupervised(layer(order), () => order.push("closing"))).pipe(
      Effect.provide(Logger.layer([logger])),
    ),
  );
  assert.ok(error instanceof FiberDied);
  return { error, logged, order };
}

/** Tells this process what the runtime tells it of a throw; true when somebody saw to it. */
function tellUncaught(error: unknown): boolean {
  return !dispatchEvent(new ErrorEvent("error", { error, cancelable: true }));
}

/** Tells this process what the runtime tells it of a promise that nobody hears; true when somebody saw to it. */
function tellUnhandled(reason: unknown): boolean {
  const promise = Promise.resolve();
  return !dispatchEvent(new PromiseRejectionEvent("unhandledrejection", { promise, reason, cancelable: true }));
}

for (
  const [what, tell] of [["a throw that nobody catches", tellUncaught], [
    "an unhandled rejection",
    tellUnhandled,
  ]] as const
) {
  Deno.test(`launchSupervised ends with ${what}, told once with its stack, after closing the layers`, async () => {
    const { error, logged, order } = await launchAndThrow((closed) =>
      Layer.effectDiscard(Effect.gen(function* () {
        yield* Effect.addFinalizer(() => Effect.sync(() => closed.push("closed")));
        assert.ok(tell(new RangeError("boom")));
      }))
    );
    assert.equal(error[Runtime.errorExitCode], 70);
    assert.deepEqual(order, ["closing", "closed"]);
    assert.equal(logged.length, 1);
    assert.match(
      JSON.stringify(logged[0]),
      /^\["Fatal",\["a part of the broker died",\{"part":"plain code","cause":"RangeError: boom\\n +at /,
    );
    assert.ok(!tell(new Error("nobody is there any more")));
  });
}

Deno.test("launchSupervised ends with the exit code of an operating failure that nobody caught", async () => {
  const { error, logged } = await launchAndThrow(() =>
    Layer.effectDiscard(Effect.sync(() => assert.ok(tellUncaught(new DeviceGone()))))
  );
  assert.equal(error[Runtime.errorExitCode], 74);
  assert.deepEqual(logged, [["Fatal", ["promptmq has failed", { error: "the device is gone" }]]]);
});

Deno.test("launchSupervised hears of a death while its layers are still being built", async () => {
  const { error } = await launchAndThrow(() =>
    Layer.effectDiscard(Effect.andThen(Effect.sync(() => tellUncaught("lost callback")), Effect.never))
  );
  assert.equal(error.cause, "lost callback");
});

Deno.test("launchSupervised closes to the end whatever is thrown meanwhile, and tells one of it", async () => {
  const { error, logged, order } = await launchAndThrow((closed) =>
    Layer.effectDiscard(Effect.gen(function* () {
      yield* Effect.addFinalizer(() => Effect.sync(() => closed.push("closed")));
      yield* Effect.addFinalizer(() =>
        Effect.andThen(
          Effect.sync(() => {
            for (let i = 2; i < 100; i++) assert.ok(tellUncaught(new Error(`throw ${i}`)));
          }),
          Effect.yieldNow,
        )
      );
      tellUncaught(new Error("throw 1"));
    }))
  );
  assert.match(String(error.cause), /throw 1$/);
  assert.deepEqual(order, ["closing", "closed"]);
  assert.deepEqual(logged.map(([level]) => level), ["Fatal", "Error"]);
  assert.match(JSON.stringify(logged[1]), /another part of the broker died.*throw 2/);
});
