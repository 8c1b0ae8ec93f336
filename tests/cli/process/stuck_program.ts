/**
 * A program for the tests of the end of a process: it says `ready`, waits for a signal, says `stopping`, and never gets
 * done. The first two arguments are the deadline and how soon a signal is an echo, in milliseconds; with the third, `throw`,
 * a microtask throws after `ready`.
 */

import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { runMain, StopDeadline } from "../../../src/cli/process/run_main.ts";
import { launchSupervised } from "../../../src/logging/supervisor.ts";

function say(word: string): Effect.Effect<void> {
  return Effect.sync(() => void Deno.stdout.writeSync(new TextEncoder().encode(`${word}\n`)));
}

function fail(): void {
  throw new Error("a bug of the test");
}

if (import.meta.main) {
  const [ms, echoMs, then] = Deno.args;
  const deadline = new StopDeadline(Number(ms));
  const stuck = Layer.effectDiscard(Effect.gen(function* () {
    yield* Effect.addFinalizer(() => Effect.andThen(say("stopping"), Effect.never));
    yield* say("ready");
    if (then === "throw") queueMicrotask(fail);
  }));
  runMain(launchSupervised(stuck, () => deadline.begin()), deadline, Number(echoMs));
}
