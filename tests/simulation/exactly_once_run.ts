/**
 * Hunts for messages at QoS 2 that a power cut loses or doubles, by hand: one seed with its trace, or many.
 *
 *     deno run -A tests/simulation/exactly_once_run.ts --seed 42
 *     deno run -A tests/simulation/exactly_once_run.ts --from 1000 --count 5000 --steps 400
 */
import { runExactlyOnce } from "./exactly_once.ts";
import { SimulationFailed } from "./simulation.ts";
import { STEPS } from "./steps.ts";

const numbers = new Map<string, number>();
for (let i = 0; i + 1 < Deno.args.length; i += 2) numbers.set(Deno.args[i]!, Number(Deno.args[i + 1]));
const write = (text: string) => Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
const seed = numbers.get("--seed");
const from = seed ?? numbers.get("--from") ?? 1;
const count = seed === undefined ? numbers.get("--count") ?? 100 : 1;
const failed: number[] = [];
let cuts = 0;
let messages = 0;
for (let next = from; next < from + count; next++) {
  try {
    const result = await runExactlyOnce(next, numbers.get("--steps") ?? STEPS);
    cuts += result.cuts;
    messages += result.messages;
    if (seed !== undefined) write(result.trace.join("\n"));
  } catch (failure) {
    if (!(failure instanceof SimulationFailed)) throw failure;
    failed.push(next);
    write(seed === undefined ? failure.message.split("\n")[0]! : failure.trace.join("\n"));
    if (seed !== undefined) write(String((failure.cause as Error).stack));
  }
}
write(`${count} seeds from ${from}, ${messages} messages, ${cuts} cuts, failed: ${failed.join(", ") || "none"}`);
if (failed.length > 0) Deno.exit(1);
