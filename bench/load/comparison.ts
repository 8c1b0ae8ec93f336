/**
 * Measures rows of a comparison: brokers side by side under the same load, and the facts that the figures depend on.
 */

import { type BrokerKind, BrokerUnavailable, DURABILITY_MODE, readVersion } from "./brokers.ts";
import type { Cell } from "./cells.ts";
import { measureCell, type Measurement, MeasurementFailed, type MeasureOptions, medianOf } from "./measure.ts";
import { readCpuModel } from "./process_stats.ts";
import type { Outcome, Row } from "./table.ts";

/** What all rows of a comparison have in common. */
export interface ComparisonOptions {
  /** Columns, ours first. */
  readonly brokers: readonly BrokerKind[];
  /** Measured part of a run, seconds. */
  readonly seconds: number;
  /** Full load before it, seconds. */
  readonly warmup: number;
  /** Runs per cell and broker. */
  readonly repeat: number;
}

/**
 * Measures a cell on all brokers, taking turns, and keeps each broker's median, or the first run that was not whole.
 *
 * @param say Gets one line of progress before each run.
 */
export async function measureRow(
  cell: Cell,
  options: ComparisonOptions,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<Row> {
  const measurements: Measurement[][] = options.brokers.map(() => []);
  const skipped: (string | undefined)[] = options.brokers.map((broker) => {
    const lacking = cell.needs.filter((feature) => broker.lacks.includes(feature));
    return lacking.length > 0 ? `${broker.name} does not offer ${lacking.join(", ")}` : undefined;
  });
  for (let turn = 0; turn < options.repeat; turn++) {
    for (const [column, broker] of options.brokers.entries()) {
      if (signal.aborted) skipped[column] ??= "interrupted";
      if (skipped[column] !== undefined) continue;
      say(`${cell.name}: ${broker.name}, run ${turn + 1} of ${options.repeat}`);
      const outcome = await measureOrSkip(broker, cell, { seconds: options.seconds, warmup: options.warmup, signal });
      if ("skipped" in outcome) skipped[column] = outcome.skipped;
      else measurements[column]!.push(outcome);
    }
  }
  const outcomes = measurements.map((all, column): Outcome => {
    // A run that lost or doubled messages is the one to show, whatever the others reached.
    const broken = all.find((measurement) => !measurement.whole);
    return broken ?? (all.length > 0 ? medianOf(all) : { skipped: skipped[column] ?? "not measured" });
  });
  return { cell, outcomes };
}

async function measureOrSkip(broker: BrokerKind, cell: Cell, options: MeasureOptions): Promise<Outcome> {
  try {
    return await measureCell(broker, cell, options);
  } catch (cause) {
    if (cause instanceof BrokerUnavailable || cause instanceof MeasurementFailed) return { skipped: cause.message };
    throw cause;
  }
}

/** Collects what the figures depend on: machine, versions, settings. */
export async function describeRun(options: ComparisonOptions): Promise<[name: string, value: string][]> {
  const facts: [string, string][] = [
    ["machine", `${readCpuModel()}, ${navigator.hardwareConcurrency} cores`],
    ["system", `${Deno.build.os} ${Deno.osRelease()} ${Deno.build.arch}`],
    ["deno", Deno.version.deno],
    ["commit", await readCommit()],
    ["durability", `${DURABILITY_MODE} (nothing is synced to disk)`],
    ["disk", Deno.env.get("TMPDIR") ?? "/tmp"],
    ["run", `${options.seconds} s after ${options.warmup} s warm-up, median of ${options.repeat}`],
  ];
  for (const broker of options.brokers) facts.push([broker.name, await readVersion(broker) ?? "not installed"]);
  return facts;
}

async function readCommit(): Promise<string> {
  try {
    const git = new Deno.Command("git", { args: ["describe", "--always", "--dirty", "--abbrev=12"], stderr: "null" });
    return new TextDecoder().decode((await git.output()).stdout).trim() || "unknown";
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return "unknown";
    throw cause;
  }
}
