/**
 * `promptmq user add|remove|list|verify`: the users of a password file. A running broker takes changes over by itself.
 */
import * as Console from "effect/Console";
import * as Effect from "effect/Effect";
import * as Option from "effect/Option";
import * as Argument from "effect/cli/Argument";
import * as Command from "effect/cli/Command";
import * as Flag from "effect/cli/Flag";
import { AuthFileInvalid, type BackendUnavailable } from "../../auth/identity/errors.ts";
import {
  LINE_CHARS_MAX,
  parsePasswordEntries,
  type PasswordEntries,
  problemOfGroups,
  problemOfUsername,
} from "../../auth/password/password_entries.ts";
import { formatPasswordHash, type PasswordHash } from "../../auth/password/password_hash.ts";
import { checkPassword, hashWithScrypt, makeScramVerifier } from "../../auth/password/password_hasher.ts";
import { saslPrep } from "../../auth/password/sasl_prep.ts";
import { PasswordUnusable, PasswordWrong, UserFileUnreadable, UserUnknown, UserUsageWrong } from "./user_errors.ts";
import { readUserFile, withoutUser, withUser, writeUserFile } from "./user_file.ts";
import { readPassword } from "./user_password.ts";

/** The commands, to be added to the tree. */
export function userCommand() {
  return Command.make("user").pipe(
    Command.withDescription("Edit a password file; a running broker takes changes over by itself"),
    Command.withSubcommands([addCommand(), removeCommand(), listCommand(), verifyCommand()]),
  );
}

const FILE = Argument.String("file").pipe(Argument.withDescription("The password file"));

const USERNAME = Argument.String("username").pipe(
  Argument.withDescription("The name as in CONNECT; upper and lower case are different"),
);

const PASSWORD_STDIN = Flag.Boolean("password-stdin").pipe(
  Flag.withDescription("Read the password from standard input instead of asking for it"),
  Flag.withDefault(false),
);

function addCommand() {
  const flags = {
    file: FILE,
    username: USERNAME,
    isScram: Flag.Boolean("scram").pipe(
      Flag.withDescription("Store a verifier for SCRAM-SHA-256, which also serves plain passwords"),
      Flag.withDefault(false),
    ),
    groups: Flag.String("groups").pipe(
      Flag.withMetavar("names"),
      Flag.withDescription("Groups of the user, with commas between them; without it a known user keeps its own"),
      Flag.optional,
    ),
    isStdin: PASSWORD_STDIN,
  };
  return Command.make(
    "add",
    flags,
    Effect.fnUntraced(function* ({ file, username, isScram, groups, isStdin }) {
      const problem = problemOfUsername(username);
      if (problem !== undefined) return yield* new UserUsageWrong({ reason: `the username ${problem}` });
      if (isScram && saslPrep(username) !== username) {
        // Clients of SCRAM send the prepared name, which is looked up as it is.
        return yield* new UserUsageWrong({
          reason: "SASLprep would change the username; SCRAM clients could not use it",
        });
      }
      const wanted = Option.getOrUndefined(groups)?.split(",").filter((group) => group !== "");
      const groupProblem = wanted === undefined ? undefined : problemOfGroups(wanted);
      if (groupProblem !== undefined) return yield* new UserUsageWrong({ reason: `--groups: ${groupProblem}` });
      // Read before the password is asked for, so that nobody types one for nothing.
      yield* readUserFile(file);
      const password = yield* readPassword({ isStdin, isRepeated: true });
      const hash = yield* makeHash(password, isScram);
      if (hash === undefined) {
        return yield* new PasswordUnusable({
          reason: "SASLprep does not accept the password: it is not UTF-8, or has " +
            "characters that cannot be printed",
        });
      }
      const text = (yield* readUserFile(file)) ?? "";
      const known = parsePasswordEntries(file, text).byName.get(username);
      const line = [username, formatPasswordHash(hash), ...groupsField(wanted ?? known?.groups ?? [])].join(":");
      if (line.length > LINE_CHARS_MAX) {
        return yield* new UserUsageWrong({
          reason: `name and groups make the line longer than ${LINE_CHARS_MAX} characters`,
        });
      }
      yield* write(file, withUser(text, username, line));
      const verb = withoutUser(text, username) === undefined ? "added" : "changed";
      yield* Console.log(`${verb} ${JSON.stringify(username)} (${hash.kind})`);
    }),
  ).pipe(
    Command.withDescription("Add a user, or give one another password; the file is made when there is none"),
  );
}

function removeCommand() {
  return Command.make(
    "remove",
    { file: FILE, username: USERNAME },
    Effect.fnUntraced(function* ({ file, username }) {
      const left = withoutUser(yield* readText(file), username);
      if (left === undefined) return yield* new UserUnknown({ path: file, username, exitCode: NO_USER_EXIT_CODE });
      yield* write(file, left);
      yield* Console.log(`removed ${JSON.stringify(username)}`);
    }),
  ).pipe(Command.withDescription("Remove a user; clients that are connected stay connected"));
}

function listCommand() {
  return Command.make(
    "list",
    { file: FILE },
    Effect.fnUntraced(function* ({ file }) {
      const { byName } = yield* readEntries(file);
      const lines = Array.from(
        byName.values(),
        ({ username, hash, groups }) => [username, hash.kind, groups.join(",")].join("\t").trimEnd(),
      );
      if (lines.length > 0) yield* Console.log(lines.join("\n"));
    }),
  ).pipe(
    Command.withDescription("Print name, kind of hash and groups of every user, with tabs between them"),
  );
}

function verifyCommand() {
  return Command.make(
    "verify",
    { file: FILE, username: USERNAME, isStdin: PASSWORD_STDIN },
    Effect.fnUntraced(function* ({ file, username, isStdin }) {
      const entry = (yield* readEntries(file)).byName.get(username);
      if (entry === undefined) return yield* new UserUnknown({ path: file, username, exitCode: 1 });
      const password = yield* readPassword({ isStdin, isRepeated: false });
      const isRight = yield* checkPassword(entry.hash, password);
      if (!isRight) return yield* new PasswordWrong({ username });
      yield* Console.log("the password is right");
    }),
  ).pipe(Command.withDescription("Check a password: exit code 0 when it is right, 1 when not"));
}

function makeHash(
  password: Uint8Array,
  isScram: boolean,
): Effect.Effect<PasswordHash | undefined, BackendUnavailable> {
  return isScram ? makeScramVerifier(password) : hashWithScrypt(password);
}

function groupsField(groups: readonly string[]): readonly string[] {
  return groups.length === 0 ? [] : [groups.join(",")];
}

/** Problems of other lines do not stand in the way of repairing one; whoever edits the file hears of them. */
function write(file: string, text: string) {
  const warnings = parsePasswordEntries(file, text).problems.map((problem) => `warning: ${problem}`);
  return Effect.andThen(
    writeUserFile(file, text),
    warnings.length === 0 ? Effect.void : Console.error(warnings.join("\n")),
  );
}

function readText(file: string): Effect.Effect<string, UserFileUnreadable> {
  return Effect.flatMap(
    readUserFile(file),
    (text) =>
      text === undefined
        ? Effect.fail(new UserFileUnreadable({ path: file, reason: "not found" }))
        : Effect.succeed(text),
  );
}

function readEntries(file: string): Effect.Effect<PasswordEntries, UserFileUnreadable | AuthFileInvalid> {
  return Effect.flatMap(readText(file), (text) => {
    const entries = parsePasswordEntries(file, text);
    return entries.problems.length === 0
      ? Effect.succeed(entries)
      : Effect.fail(new AuthFileInvalid({ path: file, problems: entries.problems }));
  });
}

/** EX_NOUSER of sysexits. */
const NO_USER_EXIT_CODE = 67;
