/**
 * Measures one cell on one freshly started broker, with the load generator in a process of its own.
 *
 * A fresh broker per measurement keeps one cell from influencing the next and lets brokers take turns, so that a slow
 * spell of the machine hits all of them.
 */

import { fileURLToPath } from "node:url";
import { type BrokerKind, type RunningBroker, startBroker } from "./brokers.ts";
import { type Cell, metricOf } from "./cells.ts";
import { readOpenFilesMax, readResidentBytes } from "./process_stats.ts";
import { isWhole, type LoadReport } from "./report.ts";

/** How long and how often to measure. */
export interface MeasureOptions {
  /** Length of the measured part, seconds. */
  readonly seconds: number;
  /** Full load before it, seconds. */
  readonly warmup: number;
  /** Ends the load generator early. */
  readonly signal: AbortSignal;
}

/** Result of one cell on one broker. */
export interface Measurement {
  /** The cell's figure, in the unit of its metric. */
  readonly value: number;
  readonly report: LoadReport;
  /** True when every message arrived once and in order. */
  readonly whole: boolean;
}

/** A run that gave no figures; the message is the load generator's. */
export class MeasurementFailed extends Error {
  override readonly name = "MeasurementFailed";
}

/**
 * Starts a broker, loads it, and stops it.
 *
 * @throws BrokerUnavailable when it does not start; MeasurementFailed when the load could not be set up.
 */
export async function measureCell(kind: BrokerKind, cell: Cell, options: MeasureOptions): Promise<Measurement> {
  const broker = await startBroker(kind, { tls: cell.needs.includes("tls") ? "only" : "none", user: undefined });
  try {
    if (cell.warmupConnections > 0) {
      await runGenerator(broker, ["--mode", "connect", "--subs", `${cell.warmupConnections}`], options);
    }
    if (cell.metric === "bytes_per_connection") return await measureIdle(broker, cell, options);
    const { report } = await runGenerator(broker, cell.load, options);
    return { value: metricOf(cell, report), report, whole: isWhole(report) };
  } finally {
    await broker.stop();
  }
}

/**
 * Picks the measurement with the median value, so that all its figures belong to one run.
 *
 * @param measurements At least one; with an even number, the lower of the middle two.
 */
export function medianOf(measurements: readonly Measurement[]): Measurement {
  const sorted = [...measurements].sort((a, b) => a.value - b.value);
  return sorted[Math.floor((sorted.length - 1) / 2)]!;
}

/** Time a broker gets to settle before its resident memory is read. */
const SETTLE_MS = 2_000;

async function measureIdle(broker: RunningBroker, cell: Cell, options: MeasureOptions): Promise<Measurement> {
  const openFilesMax = readOpenFilesMax(broker.pid) ?? Infinity;
  const wanted = Number(cell.load[cell.load.indexOf("--subs") + 1]);
  if (wanted + 100 > openFilesMax) {
    throw new MeasurementFailed(`needs ${wanted + 100} open files, the limit is ${openFilesMax} (ulimit -n)`);
  }
  await settle();
  const before = readResidentBytes(broker.pid);
  let after: number | undefined;
  const { report } = await runGenerator(broker, cell.load, options, async () => {
    await settle();
    after = readResidentBytes(broker.pid);
  });
  if (before === undefined || after === undefined) throw new MeasurementFailed("resident memory needs /proc");
  return { value: Math.round((after - before) / wanted), report, whole: isWhole(report) };
}

function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
}

const LOAD_PATH = fileURLToPath(new URL("load.ts", import.meta.url));

/**
 * Runs the load generator once.
 *
 * @param whileHeld Runs between the report and the end of the generator's standard input.
 */
async function runGenerator(
  broker: RunningBroker,
  load: readonly string[],
  options: MeasureOptions,
  whileHeld: () => Promise<void> = () => Promise.resolve(),
): Promise<{ report: LoadReport }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--no-prompt", "-A", LOAD_PATH, ...load],
      ...["--port", `${broker.port}`, "--watch-pid", `${broker.pid}`],
      ...["--seconds", `${options.seconds}`, "--warmup", `${options.warmup}`],
      ...(broker.caPath === undefined ? [] : ["--tls-ca", broker.caPath]),
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    signal: options.signal,
  }).spawn();
  const problems = new Response(child.stderr).text();
  const line = await readLine(child.stdout);
  await whileHeld();
  await child.stdin.close();
  await child.status;
  if (line === "") throw new MeasurementFailed((await problems).trim() || "the load generator gave no report");
  await problems;
  return { report: JSON.parse(line) };
}

/** Reads the first line of a stream, or "" when the stream ends before it; the rest is dropped. */
async function readLine(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  let text = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    text += part;
    const end = text.indexOf("\n");
    if (end >= 0) return text.slice(0, end);
  }
  return "";
}
