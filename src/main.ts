/**
 * Entry of the program. Nothing happens on import.
 */

import { runBroker } from "./app.ts";
import { runCommandLine } from "./cli/command_line.ts";
import { runMain, StopDeadline } from "./cli/process/run_main.ts";

/** Runs one command line and ends the process with its exit code. */
export function main(args: readonly string[]): void {
  // Until a broker has said otherwise, an interrupted command gets little time.
  const deadline = new StopDeadline(2000);
  runMain(runCommandLine(args, (loaded, sources) => runBroker(loaded, sources, deadline)), deadline);
}

if (import.meta.main) main(Deno.args);
