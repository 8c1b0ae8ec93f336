/**
 * Runs the simulation by hand: one seed with its trace, or many.
 *
 *     deno run -A tests/simulation/run.ts --seed 42
 *     deno run -A tests/simulation/run.ts --from 1000 --count 5000 --steps 400
 *     deno run -A tests/simulation/run.ts --from 1000 --count 5000 --clock 1
 */
import { simulate, SimulationFailed } from "./simulation.ts";
import { STEPS } from "./steps.ts";

const numbers = new Map<string, number>();
for (let i = 0; i + 1 < Deno.args.length; i += 2) numbers.set(Deno.args[i]!, Number(Deno.args[i + 1]));
const seed = numbers.get("--seed");
const steps = numbers.get("--steps") ?? STEPS;
const options = { isClockSet: numbers.get("--clock") === 1 };
const write = (text: string) => Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
if (seed !== undefined) {
  try {
    const { trace, crashes } = await simulate(seed, steps, options);
    write(trace.join("\n"));
    write(`seed ${seed}: fine, ${crashes} crashes`);
  } catch (failure) {
    if (!(failure instanceof SimulationFailed)) throw failure;
    write(failure.trace.join("\n"));
    write(String((failure.cause as Error).stack));
    Deno.exit(1);
  }
} else {
  const from = numbers.get("--from") ?? 1;
  const count = numbers.get("--count") ?? 100;
  const failed: number[] = [];
  let crashes = 0;
  for (let next = from; next < from + count; next++) {
    try {
      crashes += (await simulate(next, steps, options)).crashes;
    } catch (failure) {
      failed.push(next);
      write((failure as Error).message.split("\n")[0]!);
    }
  }
  write(`${count} seeds from ${from}, ${crashes} crashes, failed: ${failed.join(", ") || "none"}`);
  if (failed.length > 0) Deno.exit(1);
}
