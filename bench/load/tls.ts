/**
 * What TLS costs: messages per second over one TLS connection to the next, and full handshakes per second, on PromptMQ
 * and on mosquitto in the same run, beside what the load generator itself can do.
 *
 *     deno run -A bench/load/tls.ts
 *     deno run -A bench/load/tls.ts --brokers promptmq,mosquitto,nats --seconds 5 --repeat 3
 *
 * --brokers a,b  columns (default promptmq,mosquitto)
 * --seconds N    measured part per run (default 3)
 * --warmup N     full load before it (default 1.5)
 * --repeat N     runs per cell and broker, of which the median is shown (default 1)
 *
 * The column `forwarder` is no broker (forwarder.ts): it decrypts, encrypts and understands nothing, so its figure is
 * the ceiling of the generator. The row `qos0-1to1` is the same load without TLS. Handshakes are counted from socket to
 * CONNACK and are full ones, no session is resumed.
 *
 * Exit code 1 when a run was not whole or ours is below a bar: five times mosquitto's messages, 500 handshakes.
 */

import { BROKERS, FORWARDER } from "./brokers.ts";
import { pickCells } from "./cells.ts";
import { type ComparisonOptions, describeRun, measureRow } from "./comparison.ts";
import { renderCpu, renderTable, type Row } from "./table.ts";

/** Messages over TLS at QoS 0, ours divided by mosquitto's, that are good enough. */
export const MESSAGE_RATIO_MIN = 5;
/** Full handshakes per second that are good enough. */
export const HANDSHAKES_MIN = 500;

const CELLS = ["qos0-1to1", "tls-qos0-1to1", "tls-qos1-1to1-window100", "tls-connects"];
const EXIT_USAGE = 64;

/** A bar, and whether ours is over it. */
export interface Bar {
  readonly text: string;
  readonly isReached: boolean;
}

/**
 * Compares our column with the bars.
 *
 * @param names Names of the columns.
 * @returns Empty without a column of ours. A bar is not reached by what was not measured, or by a run that was not whole.
 */
export function judge(names: readonly string[], rows: readonly Row[]): readonly Bar[] {
  if (!names.includes("promptmq")) return [];
  const measured = (cell: string, name: string) => {
    const outcome = rows.find((row) => row.cell.name === cell)?.outcomes[names.indexOf(name)];
    return outcome === undefined || "skipped" in outcome || !outcome.whole ? undefined : outcome.value;
  };
  const [ours, theirs] = [measured("tls-qos0-1to1", "promptmq"), measured("tls-qos0-1to1", "mosquitto")];
  const ratio = ours === undefined || theirs === undefined ? undefined : ours / theirs;
  const handshakes = measured("tls-connects", "promptmq");
  return [
    {
      text: `messages over TLS: ${ratio?.toFixed(2) ?? "?"} times mosquitto's, at least ${MESSAGE_RATIO_MIN} wanted`,
      isReached: ratio !== undefined && ratio >= MESSAGE_RATIO_MIN,
    },
    {
      text: `TLS handshakes: ${handshakes?.toFixed(0) ?? "?"} per second, at least ${HANDSHAKES_MIN} wanted`,
      isReached: handshakes !== undefined && handshakes >= HANDSHAKES_MIN,
    },
  ];
}

/**
 * Runs the comparison and prints it.
 *
 * @returns The exit code.
 */
export async function compareTls(args: readonly string[]): Promise<number> {
  let options: ComparisonOptions;
  try {
    options = parseTlsOptions(args);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    print(Deno.stderr, cause.message);
    return EXIT_USAGE;
  }
  const names = options.brokers.map((broker) => broker.name);
  const facts = await describeRun(options);
  print(Deno.stdout, `${facts.map(([name, value]) => `${name}: ${value}`).join("\n")}\n`);
  const interruption = new AbortController();
  const interrupt = () => interruption.abort();
  Deno.addSignalListener("SIGINT", interrupt);
  try {
    const rows: Row[] = [];
    for (const cell of pickCells(CELLS)) {
      rows.push(await measureRow(cell, options, interruption.signal, (line) => print(Deno.stderr, line)));
    }
    const bars = judge(names, rows);
    print(Deno.stdout, `${renderTable(names, rows)}\n\n${renderCpu(names, rows)}\n`);
    for (const { text, isReached } of bars) print(Deno.stdout, `bar: ${text}: ${isReached ? "reached" : "MISSED"}`);
    const isWhole = rows.every((row) => row.outcomes.every((outcome) => "skipped" in outcome || outcome.whole));
    return isWhole && bars.every((bar) => bar.isReached) ? 0 : 1;
  } finally {
    Deno.removeSignalListener("SIGINT", interrupt);
  }
}

/** Reads the command line; throws RangeError naming what cannot be used. */
export function parseTlsOptions(args: readonly string[]): ComparisonOptions {
  const values: Record<string, string> = { brokers: "promptmq,mosquitto", seconds: "3", warmup: "1.5", repeat: "1" };
  for (let index = 0; index < args.length; index++) {
    const [name = "", inline] = args[index]!.replace(/^--/, "").split("=", 2);
    if (!(name in values)) throw new RangeError(`unknown option --${name}`);
    values[name] = inline ?? args[++index] ?? "";
  }
  const numberOf = (name: string) => {
    const value = Number(values[name]);
    if (!(value > 0)) throw new RangeError(`--${name}: expected a number above 0, got "${values[name]}"`);
    return value;
  };
  const brokers = values["brokers"]!.split(",").map((name) => {
    const kind = BROKERS.find((broker) => broker.name === name);
    if (kind === undefined) throw new RangeError(`unknown broker "${name}"`);
    return kind;
  });
  return {
    brokers: [...brokers, FORWARDER],
    seconds: numberOf("seconds"),
    warmup: numberOf("warmup"),
    repeat: Math.ceil(numberOf("repeat")),
  };
}

function print(stream: typeof Deno.stdout, text: string): void {
  stream.writeSync(new TextEncoder().encode(`${text}\n`));
}

if (import.meta.main) Deno.exit(await compareTls(Deno.args));
