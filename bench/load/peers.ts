/**
 * Compares this broker with mosquitto and nats-server: the same loads, the same machine, the same run.
 *
 *     deno task bench:peers                          all cells
 *     deno task bench:peers --cells qos0-1to1,connects --seconds 5 --repeat 3 --json
 *
 * --cells a,b    rows to measure (default all)
 * --brokers a,b  columns to measure (default promptmq,mosquitto,nats)
 * --seconds N    measured part per run (default 3)
 * --warmup N     full load before it (default 1.5)
 * --repeat N     runs per cell and broker, of which the median is shown (default 1)
 * --json         one JSON document instead of the table
 *
 * Progress goes to standard error, results to standard output. Exit code 1 when any run was not whole.
 */

import { type BrokerKind, BROKERS, BrokerUnavailable, DURABILITY_MODE, readVersion } from "./brokers.ts";
import { type Cell, pickCells } from "./cells.ts";
import { measureCell, type Measurement, MeasurementFailed, type MeasureOptions, medianOf } from "./measure.ts";
import { readCpuModel } from "./process_stats.ts";
import { type Outcome, renderTable, type Row } from "./table.ts";

interface PeersOptions {
  readonly cells: readonly Cell[];
  readonly brokers: readonly BrokerKind[];
  readonly seconds: number;
  readonly warmup: number;
  readonly repeat: number;
  readonly isJson: boolean;
}

const EXIT_USAGE = 64;

/**
 * Runs the comparison and prints it.
 *
 * @returns The exit code.
 */
export async function comparePeers(args: readonly string[]): Promise<number> {
  let options: PeersOptions;
  try {
    options = parsePeersOptions(args);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    print(Deno.stderr, cause.message);
    return EXIT_USAGE;
  }
  const interruption = new AbortController();
  const interrupt = () => interruption.abort();
  Deno.addSignalListener("SIGINT", interrupt);
  Deno.addSignalListener("SIGTERM", interrupt);
  try {
    const facts = await describeRun(options);
    if (!options.isJson) print(Deno.stdout, `${facts.map(([name, value]) => `${name}: ${value}`).join("\n")}\n`);
    const rows: Row[] = [];
    for (const cell of options.cells) {
      if (interruption.signal.aborted) break;
      rows.push(await measureRow(cell, options, interruption.signal));
    }
    const names = options.brokers.map((broker) => broker.name);
    print(Deno.stdout, options.isJson ? renderJson(facts, names, rows) : renderTable(names, rows));
    return rows.every((row) => row.outcomes.every((outcome) => "skipped" in outcome || outcome.whole)) ? 0 : 1;
  } finally {
    Deno.removeSignalListener("SIGINT", interrupt);
    Deno.removeSignalListener("SIGTERM", interrupt);
  }
}

/** Reads the command line; throws RangeError naming what cannot be used. */
function parsePeersOptions(args: readonly string[]): PeersOptions {
  const values: Record<string, string> = { cells: "", brokers: "", seconds: "3", warmup: "1.5", repeat: "1" };
  let isJson = false;
  for (let index = 0; index < args.length; index++) {
    const [name = "", inline] = args[index]!.replace(/^--/, "").split("=", 2);
    if (name === "json") isJson = true;
    else if (name in values) values[name] = inline ?? args[++index] ?? "";
    else throw new RangeError(`unknown option ${args[index]}`);
  }
  const numberOf = (name: string) => {
    const value = Number(values[name]);
    if (!(value > 0)) throw new RangeError(`--${name}: expected a number above 0, got "${values[name]}"`);
    return value;
  };
  const brokerNames = splitList(values["brokers"]!);
  for (const name of brokerNames) {
    if (!BROKERS.some((broker) => broker.name === name)) throw new RangeError(`unknown broker "${name}"`);
  }
  return {
    cells: pickCells(splitList(values["cells"]!)),
    brokers: brokerNames.length === 0 ? BROKERS : BROKERS.filter((broker) => brokerNames.includes(broker.name)),
    seconds: numberOf("seconds"),
    warmup: numberOf("warmup"),
    repeat: Math.ceil(numberOf("repeat")),
    isJson,
  };
}

function splitList(text: string): string[] {
  return text.split(",").filter((name) => name !== "");
}

/** Measures a cell on all brokers, taking turns, and keeps each broker's median. */
async function measureRow(cell: Cell, options: PeersOptions, signal: AbortSignal): Promise<Row> {
  const measurements: Measurement[][] = options.brokers.map(() => []);
  const skipped: (string | undefined)[] = options.brokers.map((broker) => {
    const lacking = cell.needs.filter((feature) => broker.lacks.includes(feature));
    return lacking.length > 0 ? `${broker.name} does not offer ${lacking.join(", ")}` : undefined;
  });
  for (let turn = 0; turn < options.repeat; turn++) {
    for (const [column, broker] of options.brokers.entries()) {
      if (signal.aborted) skipped[column] ??= "interrupted";
      if (skipped[column] !== undefined) continue;
      print(Deno.stderr, `${cell.name}: ${broker.name}, run ${turn + 1} of ${options.repeat}`);
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
async function describeRun(options: PeersOptions): Promise<[name: string, value: string][]> {
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

function renderJson(facts: readonly [string, string][], names: readonly string[], rows: readonly Row[]): string {
  const cells = rows.map(({ cell, outcomes }) => ({
    cell: cell.name,
    metric: cell.metric,
    results: Object.fromEntries(outcomes.map((outcome, column) => [names[column]!, outcome])),
  }));
  return JSON.stringify({ ...Object.fromEntries(facts), cells }, null, 2);
}

function print(stream: typeof Deno.stdout, text: string): void {
  stream.writeSync(new TextEncoder().encode(`${text}\n`));
}

if (import.meta.main) Deno.exit(await comparePeers(Deno.args));
