/**
 * The broker with a wall clock that a test sets: the first argument is a file that says by how many milliseconds its wall
 * clock differs from that of the host, the others are the command line.
 */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import { runBroker } from "../../src/app.ts";
import { runCommandLine } from "../../src/cli/command_line.ts";
import { runMain, StopDeadline } from "../../src/cli/process/run_main.ts";

/** A clock whose wall time is set by a file. */
function settableClock(path: string): Clock.Clock {
  const currentTimeMillisUnsafe = () => Date.now() + Number(Deno.readTextFileSync(path));
  return Object.assign(Object.create(Effect.runSync(Effect.map(Clock.Clock, (clock) => clock))), {
    currentTimeMillisUnsafe,
    currentTimeMillis: Effect.sync(currentTimeMillisUnsafe),
  });
}

if (import.meta.main) {
  const [path = "", ...args] = Deno.args;
  const deadline = new StopDeadline(2000);
  const command = runCommandLine(args, (loaded, sources) => runBroker(loaded, sources, deadline));
  runMain(Effect.provideService(command, Clock.Clock, settableClock(path)), deadline);
}
