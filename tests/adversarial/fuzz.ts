/**
 * A long fuzz run from the command line, beside an honest QoS 1 flow:
 *
 *     deno run -A tests/adversarial/fuzz.ts --port 1883 --seconds 60 --seed 7 --pid 4242
 *
 * Prints one JSON report and ends with 1 when the broker left a connection open, died, or disturbed the flow.
 */
import { parseArgs } from "node:util";
import { readRssBytes } from "../support/broker.ts";
import { attack } from "./attack.ts";
import { HonestFlow } from "./honest_flow.ts";

/** What a run found; sizes in bytes. */
export interface FuzzReport {
  readonly seed: number;
  readonly seconds: number;
  readonly cases: number;
  readonly answered: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly flowAcknowledged: number;
  readonly flowDelivered: number;
  /** Messages acknowledged to the publisher and not delivered. */
  readonly flowGaps: number;
  readonly rssBefore: number | undefined;
  readonly rssAfter: number | undefined;
}

/** Attacks for `seconds` and returns the report; throws at the first thing that is wrong. */
export async function fuzz(
  options: {
    readonly hostname: string;
    readonly port: number;
    readonly seconds: number;
    readonly seed: number;
    readonly pid: number | undefined;
  },
): Promise<FuzzReport> {
  const { pid, seed, seconds } = options;
  const rssBefore = pid === undefined ? undefined : await readRssBytes(pid);
  await using flow = await HonestFlow.start(options, `honest-${seed}`);
  const endMs = performance.now() + seconds * 1000;
  const { cases, answered, bytesSent, bytesReceived } = await attack(options, seed, () => performance.now() >= endMs);
  const { acknowledged, delivered } = await flow.finish();
  return {
    ...{ seed, seconds, cases, answered, bytesSent, bytesReceived },
    flowAcknowledged: acknowledged,
    flowDelivered: delivered,
    flowGaps: acknowledged - delivered,
    rssBefore,
    rssAfter: pid === undefined ? undefined : await readRssBytes(pid),
  };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      host: { type: "string", default: "127.0.0.1" },
      port: { type: "string", default: "1883" },
      seconds: { type: "string", default: "60" },
      seed: { type: "string", default: String(Date.now() % 0xffffffff) },
      pid: { type: "string" },
    },
  });
  const print = (text: string): number => Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
  print(`fuzzing ${values.host}:${values.port} for ${values.seconds} s with seed ${values.seed}`);
  try {
    const report = await fuzz({
      hostname: values.host,
      port: Number(values.port),
      seconds: Number(values.seconds),
      seed: Number(values.seed),
      pid: values.pid === undefined ? undefined : Number(values.pid),
    });
    print(JSON.stringify(report, null, 2));
  } catch (error) {
    print(`failed with seed ${values.seed}: ${error instanceof Error ? error.stack : String(error)}`);
    Deno.exit(1);
  }
}
