/**
 * `promptmq wal inspect|verify|tail`: looking at the log of a store, also while a broker uses it.
 */

import * as Console from "effect/Console";
import * as Effect from "effect/Effect";
import * as Option from "effect/Option";
import * as Schedule from "effect/Schedule";
import * as Argument from "effect/cli/Argument";
import * as Command from "effect/cli/Command";
import * as Flag from "effect/cli/Flag";
import { Fault } from "../../protocol/packets.ts";
import { readWallOffset } from "../../storage/clock_note.ts";
import { openNodeDisk } from "../../storage/disk/node_disk.ts";
import { StorageFailed } from "../../storage/model/errors.ts";
import { describeFileFailure } from "../../system/system_failure.ts";
import { isSharedFilter, validateTopicFilter } from "../../topics/topic_rules.ts";
import { findWal, type WalDirectory } from "./wal_directory.ts";
import { FilterInvalid, WalDamaged, WalNotFound, WalUnreadable } from "./wal_errors.ts";
import { inspectLog } from "./wal_inspect.ts";
import { renderInspection } from "./wal_inspect_report.ts";
import { isDamage } from "./wal_survey.ts";
import { LogTail } from "./wal_tail.ts";
import { TailPrinter } from "./wal_tail_printer.ts";
import { renderVerification, verifyLog } from "./wal_verify.ts";

/** The commands, to be added to the tree. */
export function walCommand() {
  return Command.make("wal").pipe(
    Command.withDescription("Look at the log of a store; safe while a broker uses it"),
    Command.withSubcommands([inspectCommand(), verifyCommand(), tailCommand()]),
  );
}

const DISK = openNodeDisk();

const DIRECTORY = Argument.String("directory").pipe(
  Argument.withDescription("The data directory of a broker, or its log directory"),
);

const JSON_FLAG = Flag.Boolean("json").pipe(Flag.withDescription("Print JSON"), Flag.withDefault(false));

function inspectCommand() {
  return Command.make(
    "inspect",
    { directory: DIRECTORY, isJson: JSON_FLAG },
    ({ directory, isJson }) =>
      withWal(directory, (wal) => {
        const inspection = inspectLog(DISK, wal);
        return Console.log(isJson ? JSON.stringify(inspection, undefined, 2) : renderInspection(inspection));
      }),
  ).pipe(Command.withDescription("Show segments, records, topics, and what is still owed"));
}

function verifyCommand() {
  return Command.make(
    "verify",
    { directory: DIRECTORY, isJson: JSON_FLAG },
    ({ directory, isJson }) =>
      withWal(directory, (wal) => {
        const verification = verifyLog(DISK, wal.path);
        const text = isJson ? JSON.stringify(verification, undefined, 2) : renderVerification(verification);
        const places = verification.problems.filter(isDamage).length;
        const verdict = places > 0 ? Effect.fail(new WalDamaged({ places })) : Effect.void;
        return Effect.andThen(Console.log(text), verdict);
      }),
  ).pipe(
    Command.withDescription(
      "Check every header, block and record, and that nothing is missing between segments: exit code 0 when sound, " +
        "1 when damaged. A torn end of the last segment is what a crash leaves and no damage",
    ),
  );
}

function tailCommand() {
  const flags = {
    directory: DIRECTORY,
    filter: Flag.String("filter").pipe(
      Flag.withMetavar("topic-filter"),
      Flag.withDescription("Show only messages whose topic matches"),
      Flag.optional,
    ),
    from: Flag.Int("from").pipe(
      Flag.withMetavar("lsn"),
      Flag.withDescription("Start with the record at or behind this position; without it, with what comes from now on"),
      Flag.optional,
    ),
    hasPayload: Flag.Boolean("payload").pipe(
      Flag.withDescription("Show payloads that are short texts"),
      Flag.withDefault(false),
    ),
  };
  return Command.make(
    "tail",
    flags,
    ({ directory, filter, from, hasPayload }) =>
      withWal<FilterInvalid | WalUnreadable>(directory, (wal) => {
        const topicFilter = Option.getOrUndefined(filter);
        const problem = topicFilter === undefined ? undefined : problemOfFilter(topicFilter);
        if (problem !== undefined) return Effect.fail(new FilterInvalid({ reason: problem }));
        const printer = new TailPrinter(Deno.stdout, topicFilter, hasPayload ? "text" : "size");
        const tail = new LogTail(DISK, wal.path, Option.getOrUndefined(from), printer);
        const look = attempt(directory, () => {
          printer.wallOffsetMs = readWallOffset(DISK, wal.path);
          tail.look();
          printer.flush();
        });
        return look.pipe(
          Effect.repeat({ schedule: Schedule.spaced(LOOK_EVERY_MS), while: () => !printer.isClosed }),
          Effect.asVoid,
        );
      }),
  ).pipe(Command.withDescription("Follow the log, one JSON line per record, until interrupted"));
}

/** Finds the log and looks at it; what the system refuses is one line. */
function withWal<E>(
  directory: string,
  use: (wal: WalDirectory) => Effect.Effect<void, E>,
): Effect.Effect<void, E | WalNotFound | WalUnreadable> {
  return Effect.gen(function* () {
    const wal = yield* attempt(directory, () => findWal(DISK, directory));
    if (wal === undefined) return yield* new WalNotFound({ directory });
    yield* yield* attempt(directory, () => use(wal));
  });
}

/** Runs something that reads files. What is no refusal of the system is a defect. */
function attempt<A>(directory: string, run: () => A): Effect.Effect<A, WalUnreadable> {
  return Effect.try({
    try: run,
    catch: (cause) => {
      if (!isRefusal(cause)) throw cause;
      const reason = cause instanceof StorageFailed ? cause.message : describeFileFailure(cause);
      return new WalUnreadable({ directory, reason, cause });
    },
  });
}

function isRefusal(cause: unknown): boolean {
  return cause instanceof StorageFailed || Object.values(Deno.errors).some((kind) => cause instanceof kind);
}

function problemOfFilter(filter: string): string | undefined {
  if (isSharedFilter(filter)) return "a filter of a Shared Subscription selects no messages; give the filter inside";
  const fault = validateTopicFilter(filter, { maxTopicLength: 65_535, maxTopicLevels: 65_535 });
  return fault instanceof Fault ? fault.text : undefined;
}

const LOOK_EVERY_MS = 100;
