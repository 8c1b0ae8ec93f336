/** The bound on what is done at once, in virtual time. */
import * as Cause from "effect/Cause";
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as TestClock from "effect/testing/TestClock";
import assert from "node:assert/strict";
import { makeWaitingLine } from "../../../src/auth/backend/waiting_line.ts";

const WAIT_MS = 1000;

/** A line, and work in it that ends when the test says so. */
function worldOf(atWorkMax: number, waitingMax: number) {
  const line = makeWaitingLine({ backend: "http", atWorkMax, waitingMax, waitMs: WAIT_MS });
  const begun: string[] = [];
  const ends = new Map<string, Deferred.Deferred<string, Error>>();
  const come = (name: string) => {
    const end = Deferred.makeUnsafe<string, Error>();
    ends.set(name, end);
    const work = Effect.suspend(() => {
      begun.push(name);
      return Deferred.await(end);
    });
    return Effect.forkChild(line(work), { startImmediately: true });
  };
  const end = (name: string) => Deferred.succeed(ends.get(name)!, name);
  const fail = (name: string) => Deferred.fail(ends.get(name)!, new Error(name));
  return { begun, come, end, fail };
}

function inVirtualTime(body: () => Effect.gen.Return<void, unknown>): () => Promise<void> {
  return () => Effect.runPromise(Effect.gen(body).pipe(Effect.provide(TestClock.layer()), Effect.scoped));
}

const isBusy = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) && String(Cause.squash(exit.cause)).includes("http is busy");

Deno.test(
  "a waiting line lets in as many as may work, the others in order, and turns away at once what is too much",
  inVirtualTime(function* () {
    const { begun, come, end } = worldOf(2, 2);
    const [a, b, c, d] = [yield* come("a"), yield* come("b"), yield* come("c"), yield* come("d")];
    assert.ok(isBusy(yield* Fiber.await(yield* come("e"))));
    assert.deepEqual(begun, ["a", "b"]);
    yield* end("b");
    assert.equal(yield* Fiber.join(b), "b");
    yield* end("c");
    assert.equal(yield* Fiber.join(c), "c");
    yield* end("a");
    yield* end("d");
    assert.deepEqual([yield* Fiber.join(a), yield* Fiber.join(d)], ["a", "d"]);
    assert.deepEqual(begun, ["a", "b", "c", "d"]);
  }),
);

Deno.test(
  "a waiting line goes on after work that failed or was interrupted",
  inVirtualTime(function* () {
    const { begun, come, end, fail } = worldOf(1, 2);
    const [a, b, c] = [yield* come("a"), yield* come("b"), yield* come("c")];
    yield* fail("a");
    assert.ok(Exit.isFailure(yield* Fiber.await(a)));
    yield* Effect.yieldNow;
    yield* Fiber.interrupt(b);
    yield* end("c");
    assert.equal(yield* Fiber.join(c), "c");
    assert.deepEqual(begun, ["a", "b", "c"]);
  }),
);

Deno.test(
  "whoever waited for too long is turned away and takes nobody's place",
  inVirtualTime(function* () {
    const { begun, come, end } = worldOf(1, 1);
    const a = yield* come("a");
    const late = yield* come("late");
    yield* TestClock.adjust(WAIT_MS - 1);
    assert.equal(late.pollUnsafe(), undefined);
    yield* TestClock.adjust(1);
    assert.ok(isBusy(yield* Fiber.await(late)));
    const b = yield* come("b");
    yield* end("a");
    yield* end("b");
    assert.deepEqual([yield* Fiber.join(a), yield* Fiber.join(b)], ["a", "b"]);
    // The time is for waiting: work takes as long as it takes.
    const c = yield* come("c");
    yield* TestClock.adjust(10 * WAIT_MS);
    yield* end("c");
    assert.equal(yield* Fiber.join(c), "c");
    assert.deepEqual(begun, ["a", "b", "c"]);
  }),
);

Deno.test(
  "whoever is interrupted while it waits leaves the line",
  inVirtualTime(function* () {
    const { begun, come, end } = worldOf(1, 1);
    const a = yield* come("a");
    yield* Fiber.interrupt(yield* come("b"));
    const c = yield* come("c");
    yield* end("a");
    yield* end("c");
    assert.deepEqual([yield* Fiber.join(a), yield* Fiber.join(c)], ["a", "c"]);
    assert.deepEqual(begun, ["a", "c"]);
  }),
);
