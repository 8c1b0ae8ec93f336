/**
 * The command tree: what `promptmq …` can be told, and what it answers.
 *
 * Starting the broker is passed in, so this folder knows nothing of what a broker is made of. Everything that goes
 * wrong is on standard error, one line per problem, by the time the effect fails; the error carries the exit code.
 */

import * as NodeServices from "@effect/platform-node/NodeServices";
import * as Cause from "effect/Cause";
import * as Console from "effect/Console";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Runtime from "effect/Runtime";
import * as CliConfig from "effect/cli/CliConfig";
import type * as CliError from "effect/cli/CliError";
import * as CliOutput from "effect/cli/CliOutput";
import * as Command from "effect/cli/Command";
import * as Flag from "effect/cli/Flag";
import * as GlobalFlag from "effect/cli/GlobalFlag";
import { load, type LoadedConfig, type Sources } from "../config/load.ts";
import { OPTIONS } from "../config/options/schema.ts";
import { renderReference, renderValues } from "../config/reference.ts";
import { VERSION } from "../config/version.ts";
import { CONFIG_EXIT_CODE } from "../system/system_failure.ts";
import { CONFIG_FLAGS, type ConfigFlagValues, sourcesOf } from "./config_flags.ts";
import { crashtestCommand } from "./crashtest/crashtest_command.ts";
import { startDaemon } from "./process/daemon.ts";
import { UsageError } from "./process/errors.ts";
import { userCommand } from "./user/user_command.ts";
import { walCommand } from "./wal/wal_command.ts";

/** EX_USAGE of sysexits. */
const USAGE_EXIT_CODE = 64;

/** Runs a broker with this configuration until it is interrupted or fails; reports its own failures. */
export type StartBroker<E> = (loaded: LoadedConfig, sources: Sources) => Effect.Effect<void, E>;

/**
 * Runs one command line.
 *
 * @param args The arguments after the name of the program.
 * @param startBroker Called for `promptmq` and `promptmq server` when the configuration is valid.
 * @returns Succeeds when the command did what it was told, with errors already printed otherwise.
 */
export function runCommandLine<E>(args: readonly string[], startBroker: StartBroker<E>): Effect.Effect<void, unknown> {
  return Command.runWith(commandTree(args, startBroker), { version: VERSION })(args).pipe(
    Effect.mapError((error) => isShowHelp(error) ? new UsageError({ exitCode: usageExitCode(error) }) : error),
    Effect.tapCause(reportCause),
    Effect.provide(Layer.mergeAll(
      CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] }),
      CliOutput.layerPresenter({ present }),
      NodeServices.layer,
    )),
  );
}

function commandTree<E>(args: readonly string[], startBroker: StartBroker<E>) {
  const serve = Effect.fnUntraced(function* (flags: ConfigFlagValues) {
    const sources = sourcesOf(flags);
    const loaded = yield* load(sources);
    if (!loaded.config.server.daemon) return yield* startBroker(loaded, sources);
    if (loaded.config.log.file === undefined) {
      yield* Console.error("warning: without log.file nothing a background broker logs is kept");
    }
    yield* Console.log(yield* startDaemon(args));
  });
  const server = Command.make("server", CONFIG_FLAGS, serve).pipe(
    Command.withDescription("Start the broker; the same as promptmq without a command"),
  );
  return Command.make("promptmq", CONFIG_FLAGS, serve).pipe(
    Command.withDescription("MQTT 5, 3.1.1 and 3.1 broker"),
    Command.withSubcommands([server, configCommand(), userCommand(), walCommand(), crashtestCommand()]),
  );
}

function configCommand() {
  const check = Command.make(
    "check",
    CONFIG_FLAGS,
    (flags) =>
      load(sourcesOf(flags)).pipe(
        Effect.flatMap((loaded) => Console.log(`configuration OK (${describeSources(loaded)})`)),
      ),
  ).pipe(Command.withDescription("Check the configuration and report every problem"));
  const origin = Flag.Boolean("origin").pipe(
    Flag.withDescription("Add where each value comes from"),
    Flag.withDefault(false),
  );
  const show = Command.make("show", { ...CONFIG_FLAGS, origin }, (flags) =>
    load(sourcesOf(flags)).pipe(
      Effect.flatMap(({ origins }) => Console.log(renderValues(origins, { isOriginShown: flags.origin }).trimEnd())),
    )).pipe(Command.withDescription("Print the values in force; secrets are left out"));
  const docs = Command.make("docs", {}, () => Console.log(renderReference(OPTIONS).trimEnd())).pipe(
    Command.withDescription("Print the reference of all options as Markdown"),
  );
  return Command.make("config").pipe(
    Command.withDescription("Look at the configuration"),
    Command.withSubcommands([check, show, docs]),
  );
}

/** What was checked: the file, and how many values came from the environment and from flags. */
function describeSources({ filePath, origins }: LoadedConfig): string {
  const given = [["env ", "environment variable"], ["flag ", "flag"]].flatMap(([prefix = "", noun = ""]) => {
    const count = origins.filter(({ place }) => place.startsWith(prefix)).length;
    return count === 0 ? [] : [`${count} ${noun}${count === 1 ? "" : "s"}`];
  });
  const file = filePath ?? "no file";
  return filePath === undefined && given.length === 0 ? `${file}, defaults` : [file, ...given].join(", ");
}

/** One line per mistake and a hint, instead of the whole help. */
function present(event: CliOutput.Presenter.Event): Effect.Effect<void> {
  if (event._tag === "Version") return Console.log(`${event.name} ${event.version}`);
  if (event._tag !== "InvalidInvocation") return CliOutput.defaultPresenter.present(event);
  // The value of an unknown flag looks like an unknown command; the flag is the mistake.
  const unknownFlags = event.errors.filter((error) => error._tag === "UnrecognizedOption");
  const errors = unknownFlags.length > 0 ? unknownFlags : event.errors;
  const lines = errors.map((error) => `error: ${describeMistake(error)}`);
  return Console.error([...lines, `see '${event.commandPath.join(" ")} --help'`].join("\n"));
}

function describeMistake(error: CliError.CliError): string {
  switch (error._tag) {
    case "UnrecognizedOption":
      return `unknown flag ${error.option}${suggest(error.suggestions[0])}`;
    case "UnknownSubcommand":
      return `unknown command ${JSON.stringify(error.subcommand)}${suggest(error.suggestions[0])}`;
    case "InvalidValue":
      return describeWrongValue(error);
    default:
      return error.message.split("\n")[0] ?? error._tag;
  }
}

/** Only switches and how often a flag is given are judged while parsing; other values are left to the loader. */
function describeWrongValue({ option: flagName, value, expected }: CliError.InvalidValue): string {
  if (value === "") return `--${flagName} needs a value (${expected})`;
  if (expected.startsWith("at most")) return `--${flagName}: expected ${expected}, got ${value}`;
  const option = OPTIONS.options.find((known) => known.flagName === flagName);
  return `${option?.key ?? flagName}: expected ${option?.type.expected ?? expected}, got ${
    JSON.stringify(value)
  } (flag --${flagName})`;
}

function suggest(nearest: string | undefined): string {
  return nearest === undefined ? "" : `; did you mean ${nearest}?`;
}

function isShowHelp(error: unknown): error is CliError.ShowHelp {
  return typeof error === "object" && error !== null && "_tag" in error && error._tag === "ShowHelp";
}

/** A wrong value is a wrong configuration, whatever reads it; anything else is a wrong command line. */
function usageExitCode(help: CliError.ShowHelp): number {
  const isOnlyValues = help.errors.length > 0 && help.errors.every((error) => error._tag === "InvalidValue");
  return isOnlyValues ? CONFIG_EXIT_CODE : USAGE_EXIT_CODE;
}

/** Prints what nobody has reported yet: the message of an error, the whole cause of a defect. */
function reportCause(cause: Cause.Cause<unknown>): Effect.Effect<void> {
  if (Cause.hasInterruptsOnly(cause)) return Effect.void;
  const error = Cause.squash(cause);
  if (error instanceof Error && error[Runtime.errorReported] === false) return Effect.void;
  if (Cause.hasDies(cause) || !(error instanceof Error)) return Console.error(Cause.pretty(cause));
  return Console.error(error.message);
}
