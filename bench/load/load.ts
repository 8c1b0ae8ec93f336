/**
 * The load generator's command line: one run against one broker, one line of JSON.
 *
 *     deno run -A bench/load/load.ts --port 1883 --pubs 50 --subs 50 --topics 50 --qos 1 --window 20
 *
 * Exit codes: 0 everything arrived once and in order; 5 something did not, or the run stalled; 64 unusable options;
 * 69 the broker could not be reached or refused the set-up. Options are described in options.ts.
 */

import { runConnect } from "./connect_run.ts";
import { runLive } from "./live_run.ts";
import { type LoadOptions, OptionsError, parseLoadOptions } from "./options.ts";
import { EXIT_INCOMPLETE, isWhole, type LoadReport, roundReport } from "./report.ts";

const EXIT_USAGE = 64;
const EXIT_UNAVAILABLE = 69;

/**
 * Runs the load generator.
 *
 * @returns The exit code.
 */
export async function runLoad(args: readonly string[]): Promise<number> {
  let options: LoadOptions;
  try {
    options = parseLoadOptions(args);
  } catch (cause) {
    if (!(cause instanceof OptionsError)) throw cause;
    printError(cause.message);
    return EXIT_USAGE;
  }
  try {
    const report = options.mode === "connect" ? await connectAndHold(options) : await runAndPrint(options);
    return isWhole(report) ? 0 : EXIT_INCOMPLETE;
  } catch (cause) {
    printError(cause instanceof Error ? cause.message : String(cause));
    return EXIT_UNAVAILABLE;
  }
}

async function runAndPrint(options: LoadOptions): Promise<LoadReport> {
  const report = await runLive(options);
  printReport(report);
  return report;
}

async function connectAndHold(options: LoadOptions): Promise<LoadReport> {
  const held = await runConnect(options);
  printReport(held.report);
  if (options.hold) await untilInputEnds();
  held.close();
  return held.report;
}

async function untilInputEnds(): Promise<void> {
  const bytes = new Uint8Array(64);
  while (await Deno.stdin.read(bytes) !== null);
}

function printReport(report: LoadReport): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(roundReport(report))}\n`));
}

function printError(message: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${message}\n`));
}

if (import.meta.main) Deno.exit(await runLoad(Deno.args));
