/**
 * `promptmq crashtest`: kills a broker again and again while clients use it, and proves that no promise was broken.
 *
 * Exit codes: 0 proven, 1 a promise was broken, 2 the test could not be carried out.
 */

import * as Clock from "effect/Clock";
import * as Console from "effect/Console";
import * as Effect from "effect/Effect";
import * as Option from "effect/Option";
import * as Command from "effect/cli/Command";
import * as Flag from "effect/cli/Flag";
import { ProgressBar } from "../process/progress_bar.ts";
import { lastingFlags } from "./broker_settings.ts";
import { prepareDirectory } from "./directory.ts";
import { CrashtestUnavailable, PromiseBroken } from "./errors.ts";
import { renderReport, reportOf } from "./report.ts";
import { CrashtestRun } from "./run.ts";

const FLAGS = {
  directory: Flag.String("dir").pipe(
    Flag.withMetavar("directory"),
    Flag.withDescription("Where the broker keeps its data: a new or empty directory, or one of an earlier crash test"),
  ),
  seconds: Flag.Int("seconds").pipe(
    Flag.withDescription("How long the broker is killed again and again [default: 60]"),
    Flag.filter((seconds) => seconds >= 1 && seconds <= DAY_SECONDS, () => "1 to 86400"),
    Flag.withDefault(60),
  ),
  syncMode: Flag.Literals("sync-mode", ["immediate", "batch", "periodic"]).pipe(
    Flag.withDescription("storage.wal.sync-mode of the broker [default: immediate]"),
    Flag.withDefault("immediate" as const),
  ),
  clients: Flag.Int("clients").pipe(
    Flag.withDescription("How many publishers, and how many subscribers [default: 4]"),
    Flag.filter((clients) => clients >= 1 && clients <= CLIENTS_MAX, () => `1 to ${CLIENTS_MAX}`),
    Flag.withDefault(4),
  ),
  storage: Flag.Literals("storage", ["disk", "memory"]).pipe(
    Flag.withDescription("storage.mode of the broker; memory shows that losses are found [default: disk]"),
    Flag.withDefault("disk" as const),
  ),
  seed: Flag.Int("seed").pipe(
    Flag.withDescription("Repeats the choices of an earlier test [default: random]"),
    Flag.optional,
  ),
  isJson: Flag.Boolean("json").pipe(Flag.withDescription("Print the result as JSON"), Flag.withDefault(false)),
};

/** The command, to be added to the tree. */
export function crashtestCommand() {
  return Command.make("crashtest", FLAGS, (flags) =>
    Effect.gen(function* () {
      const prepared = prepareDirectory(flags.directory);
      if ("reason" in prepared) return yield* new CrashtestUnavailable(prepared);
      const run = new CrashtestRun({
        seed: Option.getOrElse(flags.seed, () => crypto.getRandomValues(new Uint32Array(1))[0]!),
        durationMs: flags.seconds * 1000,
        pairs: flags.clients,
        brokerFlags: lastingFlags(flags.storage, prepared.dataPath, flags.syncMode),
      });
      if (!flags.isJson) yield* Console.log(`seed ${run.options.seed}, data in ${prepared.dataPath}`);
      yield* withProgress(run);
      const report = reportOf(run);
      yield* Console.log(flags.isJson ? JSON.stringify(report, undefined, 2) : renderReport(report));
      if (!report.isProven) return yield* new PromiseBroken({ faults: run.ledger.faults.size });
    })).pipe(Command.withDescription("Kill a broker again and again and prove that it keeps what it promised"));
}

function withProgress(run: CrashtestRun): Effect.Effect<void, CrashtestUnavailable> {
  return Effect.gen(function* () {
    const bar = new ProgressBar(Deno.stderr, () => Deno.consoleSize().columns);
    const startMs = yield* Clock.currentTimeMillis;
    const clock = yield* Clock.Clock;
    const show = () => {
      const { phase, kills, ledger, options } = run;
      const text = `${phase}  kills ${kills}  acknowledged ${ledger.acknowledged}  delivered ${ledger.delivered}`;
      bar.show((clock.currentTimeMillisUnsafe() - startMs) / options.durationMs, text);
    };
    yield* run.run(show).pipe(
      Effect.ensuring(Effect.sync(() => bar.clear())),
      Effect.onInterrupt(() => Console.error("interrupted: nothing is proven")),
    );
  });
}

const DAY_SECONDS = 86_400;
const CLIENTS_MAX = 100;
