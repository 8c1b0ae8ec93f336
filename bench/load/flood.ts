/**
 * What a flood of bad connects does to clients that behave: their round trip calm, then during the flood, on PromptMQ
 * and on mosquitto in the same run.
 *
 *     deno run -A bench/load/flood.ts
 *     deno run -A bench/load/flood.ts --brokers promptmq --count 10000 --rate 1000 --addresses 1 --seconds 10
 *
 * --brokers a,b   promptmq and mosquitto (default both)
 * --seconds N     calm part (default 10); the flood lasts count / rate seconds
 * --count N       bad connects (default 10000)
 * --rate N        bad connects started per second (default 1000)
 * --addresses N   loopback addresses they come from (default 100; 1 shows the delay of one stubborn address)
 * --kinds a,b     kinds of bad connects, by the names in the output (default all)
 * --interval N    milliseconds between messages of the honest pair (default 5; 0 = as fast as it goes)
 * --ours "a b"    further flags for our broker, such as "--limits-connect-rate=100"
 *
 * With `--interval 0` a pause of the broker meets one message and the calm rest thousands, which hides it from the 99th
 * percentile: the figure is of use for comparing runs, not for the bar.
 *
 * The broker has a plain and a TLS listener and one user with a password; the kinds of bad connects are in
 * flood_attacks.ts. The attacker is a process of its own and runs at the lowest priority where `nice` is there: in life
 * it has a machine of its own, here it must not take the processor from the clients that are measured.
 *
 * The bar is the 99th percentile during the flood at no more than five times the calm one. Exit code 1 when ours is
 * above it, or when an honest message of any broker was lost, doubled or late.
 */

import { fileURLToPath } from "node:url";
import { type BrokerKind, BROKERS, BrokerUnavailable, type RunningBroker, startBroker } from "./brokers.ts";
import { attackNames } from "./flood_attacks.ts";
import type { FloodReport } from "./flood_client.ts";
import { HonestPair, type HonestReport } from "./honest_pair.ts";
import { readCpuSeconds } from "./process_stats.ts";

/** Largest ratio of the 99th percentiles that is good enough. */
export const FLOOD_RATIO_MAX = 5;

/** Options of the command line. */
export interface FloodRunOptions {
  readonly brokers: readonly BrokerKind[];
  readonly seconds: number;
  readonly count: number;
  readonly rate: number;
  readonly addresses: number;
  readonly intervalMs: number;
  /** Empty = all. */
  readonly kinds: readonly string[];
}

/** One stretch of time. */
interface Stretch extends HonestReport {
  /** Processor seconds of the broker per second, or undefined. */
  readonly brokerCpu: number | undefined;
}

/** What one broker did. */
export interface FloodOutcome {
  readonly calm: Stretch;
  readonly flooded: Stretch;
  readonly flood: FloodReport;
  /** True when every honest message arrived once and in order. */
  readonly whole: boolean;
}

const USER = { username: "honest", password: crypto.randomUUID() };
const WARM_UP_MS = 2_000;
const CLIENT_PATH = fileURLToPath(new URL("flood_client.ts", import.meta.url));
const EXIT_USAGE = 64;

/**
 * Starts a broker, measures it calm and flooded, and stops it.
 *
 * @throws BrokerUnavailable when it does not start; Error when an honest client is thrown out.
 */
export async function runFlood(kind: BrokerKind, options: FloodRunOptions): Promise<FloodOutcome> {
  const broker = await startBroker(kind, { tls: "beside", user: USER });
  try {
    const pair = await HonestPair.connect({ port: broker.port, version: 5, caCert: undefined, user: USER });
    try {
      await pair.measure(afterMs(WARM_UP_MS), options.intervalMs);
      const calm = await watch(broker, pair.measure(afterMs(options.seconds * 1000), options.intervalMs));
      const attacker = startAttacker(broker, options);
      const flooded = await watch(broker, pair.measure(attacker.sent, options.intervalMs));
      const flood = await attacker.report;
      const faults = pair.faults();
      return { calm, flooded, flood, whole: Object.values(faults).every((count) => count === 0) };
    } finally {
      pair.close();
    }
  } finally {
    await broker.stop();
  }
}

function afterMs(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}

async function watch(broker: RunningBroker, measuring: Promise<HonestReport>): Promise<Stretch> {
  const [startMs, cpuBefore] = [performance.now(), readCpuSeconds(broker.pid)];
  const report = await measuring;
  const [seconds, cpuAfter] = [(performance.now() - startMs) / 1000, readCpuSeconds(broker.pid)];
  const isKnown = cpuBefore !== undefined && cpuAfter !== undefined;
  return { ...report, brokerCpu: isKnown ? (cpuAfter - cpuBefore) / seconds : undefined };
}

/** Starts the flood; `sent` is settled when its last attempt was started, `report` when the last has ended. */
function startAttacker(broker: RunningBroker, options: FloodRunOptions) {
  const args = [
    ...["run", "--no-prompt", "-A", CLIENT_PATH, "--port", `${broker.port}`, "--tls-port", `${broker.tlsPort}`],
    ...["--count", `${options.count}`, "--rate", `${options.rate}`, "--addresses", `${options.addresses}`],
    ...["--username", USER.username, "--kinds", options.kinds.join(",")],
  ];
  const child = spawnNice(Deno.execPath(), args);
  const sent = Promise.withResolvers<void>();
  const report = (async () => {
    let text = "";
    for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
      text += part;
      if (text.startsWith("sent\n")) sent.resolve();
    }
    await child.status;
    // An attacker that fails must not leave the honest pair running for ever.
    sent.resolve();
    const line = text.split("\n")[1];
    if (line === undefined || line === "") throw new Error("the flood ended without a report");
    return JSON.parse(line) as FloodReport;
  })();
  return { sent: sent.promise, report };
}

function spawnNice(program: string, args: readonly string[]) {
  const streams = { stdin: "null", stdout: "piped", stderr: "inherit" } as const;
  try {
    return new Deno.Command("nice", { args: ["-n", "19", program, ...args], ...streams }).spawn();
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    return new Deno.Command(program, { args: [...args], ...streams }).spawn();
  }
}

/** Computes the figure that the bar is about: how much worse the 99th percentile became. */
export function ratioOf(outcome: FloodOutcome): number {
  return outcome.flooded.lat_us.p99 / Math.max(outcome.calm.lat_us.p99, 1);
}

/** Renders one broker: both stretches, the ratio, and how each kind of bad connect was answered. */
export function renderFlood(name: string, outcome: FloodOutcome): string {
  const stretch = (title: string, { messages, lat_us, brokerCpu }: Stretch) =>
    `  ${title.padEnd(7)}  ${`${messages}`.padStart(6)} round trips, p50 ${inMs(lat_us.p50)}, p99 ${
      inMs(lat_us.p99)
    }, ` +
    `max ${inMs(lat_us.max)}, broker cpu ${brokerCpu === undefined ? "-" : brokerCpu.toFixed(2)}`;
  const answers = Object.entries(outcome.flood.answers).map(([attack, counts]) => {
    const parts = Object.entries(counts).sort((a, b) => b[1] - a[1]).map(([answer, count]) => `${count} ${answer}`);
    return `    ${attack.padEnd(25)}${parts.join(", ")}`;
  });
  return [
    `${name}: p99 ${ratioOf(outcome).toFixed(1)} times the calm one${outcome.whole ? "" : ", NOT WHOLE"}`,
    stretch("calm", outcome.calm),
    stretch("flooded", outcome.flooded),
    `  bad connects, ${Math.round(outcome.flood.per_s)} per second:`,
    ...answers,
  ].join("\n");
}

function inMs(microseconds: number): string {
  return `${(microseconds / 1000).toFixed(2)} ms`;
}

/**
 * Runs the flood on each broker and prints what came of it.
 *
 * @returns The exit code.
 */
export async function compareFlood(args: readonly string[]): Promise<number> {
  let options: FloodRunOptions;
  try {
    options = parseFloodOptions(args);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    print(cause.message);
    return EXIT_USAGE;
  }
  let exitCode = 0;
  for (const kind of options.brokers) {
    try {
      const outcome = await runFlood(kind, options);
      print(renderFlood(kind.name, outcome));
      if (!outcome.whole) exitCode = 1;
      if (kind.name !== "promptmq") continue;
      const isKept = ratioOf(outcome) <= FLOOD_RATIO_MAX;
      if (!isKept) exitCode = 1;
      print(`bar: p99 at most ${FLOOD_RATIO_MAX} times the calm one: ${isKept ? "kept" : "MISSED"}`);
    } catch (cause) {
      if (!(cause instanceof BrokerUnavailable)) throw cause;
      print(`${kind.name}: skipped: ${cause.message}`);
      if (kind.name === "promptmq") exitCode = 1;
    }
  }
  return exitCode;
}

/** Reads the command line; throws RangeError naming what cannot be used. */
export function parseFloodOptions(args: readonly string[]): FloodRunOptions {
  const numbers: Record<string, number> = { seconds: 10, count: 10_000, rate: 1_000, addresses: 100, interval: 5 };
  let names = ["promptmq", "mosquitto"];
  let kinds: string[] = [];
  let flags: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const [, name = "", inline] = /^(?:--)?([^=]*)(?:=(.*))?$/s.exec(args[index]!)!;
    const value = inline ?? args[++index] ?? "";
    if (name === "brokers") names = value.split(",");
    else if (name === "kinds") kinds = value.split(",");
    else if (name === "ours") flags = value.split(" ").filter((flag) => flag !== "");
    else if (!(name in numbers)) throw new RangeError(`unknown option --${name}`);
    else if (!/^\d+(\.\d+)?$/.test(value)) throw new RangeError(`--${name}: expected a number, got "${value}"`);
    else numbers[name] = Number(value);
  }
  const brokers = names.map((name) => {
    const kind = BROKERS.find((broker) => broker.name === name && name !== "nats");
    if (kind === undefined) throw new RangeError(`--brokers: expected promptmq or mosquitto, got "${name}"`);
    return kind.name === "promptmq" ? withFlags(kind, flags) : kind;
  });
  const unknownKind = kinds.find((kind) => !attackNames().includes(kind));
  if (unknownKind !== undefined) {
    throw new RangeError(`--kinds: unknown kind "${unknownKind}"; there are ${attackNames().join(", ")}`);
  }
  const { seconds, count, rate, addresses, interval } = numbers;
  if (seconds! <= 0 || count! < 1 || rate! <= 0) throw new RangeError("--seconds, --count and --rate must be above 0");
  const pace = { seconds: seconds!, count: count!, rate: rate!, addresses: addresses!, intervalMs: interval! };
  return { brokers, kinds, ...pace };
}

function withFlags(kind: BrokerKind, flags: readonly string[]): BrokerKind {
  return { ...kind, prepare: async (directory, doors) => [...await kind.prepare(directory, doors), ...flags] };
}

function print(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

if (import.meta.main) Deno.exit(await compareFlood(Deno.args));
