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

import { BROKERS } from "./brokers.ts";
import { type Cell, pickCells } from "./cells.ts";
import { type ComparisonOptions, describeRun, measureRow } from "./comparison.ts";
import { renderTable, type Row } from "./table.ts";

interface PeersOptions extends ComparisonOptions {
  readonly cells: readonly Cell[];
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
      rows.push(await measureRow(cell, options, interruption.signal, (line) => print(Deno.stderr, line)));
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
