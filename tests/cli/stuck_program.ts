/**
 * A program for the tests of `runMain`: it says `ready`, waits for a signal, says `stopping`, and never gets done.
 * The first argument is the deadline in milliseconds.
 */

import * as Effect from "effect/Effect";
import { runMain } from "../../src/cli/run_main.ts";

function say(word: string): Effect.Effect<void> {
  return Effect.sync(() => void Deno.stdout.writeSync(new TextEncoder().encode(`${word}\n`)));
}

if (import.meta.main) {
  const finalizer = Effect.andThen(say("stopping"), Effect.never);
  const program = Effect.onInterrupt(Effect.andThen(say("ready"), Effect.never), () => finalizer);
  runMain(program, { ms: Number(Deno.args[0]) });
}
