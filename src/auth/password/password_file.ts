/**
 * The password file of a running broker: read at the start, followed while it runs.
 *
 * At the start a file that cannot be read or has a problem stops the broker. Later it leaves everybody in place who was
 * there, and the log says why; once the file is good again its users are taken over. Clients that are connected stay
 * connected whatever becomes of their users. A file that does not hold one user is good, and lets nobody in.
 */
import * as Clock from "effect/Clock";
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { Log, type LogWriter } from "../../logging/log.ts";
import { Supervisor } from "../../logging/supervisor.ts";
import { monotonicMsOf } from "../../system/clock.ts";
import { type FileFollower, followFiles, readWatchedFile } from "../../system/watched_file.ts";
import type { EnhancedAuthenticator } from "../identity/enhanced_authentication.ts";
import { AuthFileInvalid } from "../identity/errors.ts";
import type { IdentityProvider } from "../identity/identity.ts";
import { parsePasswordEntries } from "./password_entries.ts";
import { checkPassword } from "./password_hasher.ts";
import { makePasswordProvider } from "./password_provider.ts";
import { PasswordUsers } from "./password_users.ts";
import { ScramAuthenticator } from "./scram.ts";

/** Permission bits of a file, or undefined where the system has none or the file cannot be looked at. */
export type FileModeOf = (path: string) => number | undefined;

/** See the head of this file. */
export class PasswordFile extends Context.Service<PasswordFile, {
  /** Usernames with passwords, as `password-file` in `auth.chain`. */
  readonly identityProvider: IdentityProvider;
  /** SCRAM-SHA-256, for users with a verifier in the file. */
  readonly scram: EnhancedAuthenticator;
}>()("promptmq/auth/PasswordFile") {
  /**
   * @param path Of the file.
   * @param modeOf Asked whether everybody on this host may read the file, which is worth a warning.
   * @returns Fails with `FileUnreadable` or `AuthFileInvalid`.
   */
  static readonly layer = (path: string, modeOf: FileModeOf) =>
    Layer.effect(
      PasswordFile,
      Effect.gen(function* () {
        const log = yield* Log;
        const clock = yield* Clock.Clock;
        const users = yield* PasswordUsers.make(checkPassword, () => monotonicMsOf(clock));
        const file = { path, purpose: "password file" };
        const warnOfMode = modeWarning(path, modeOf, log);
        const text = yield* readWatchedFile(file);
        const entries = parsePasswordEntries(path, text);
        if (entries.problems.length > 0) return yield* new AuthFileInvalid({ path, problems: entries.problems });
        users.replace(entries);
        log.write("info", "password file loaded", { path, users: users.size });
        warnOfMode();
        const follower: FileFollower = {
          changed: ([changed = ""]) => {
            warnOfMode();
            takeOver(users, path, changed, log);
          },
          failed: ({ message }) => log.write("error", "password file refused", { problem: message }),
        };
        yield* Supervisor.fork("password file", followFiles([file], follower, [text]));
        return PasswordFile.of({
          identityProvider: makePasswordProvider(users),
          scram: new ScramAuthenticator(users),
        });
      }),
    );
}

function takeOver(users: PasswordUsers, path: string, text: string, log: LogWriter): void {
  const entries = parsePasswordEntries(path, text);
  for (const problem of entries.problems) log.write("error", "password file refused", { problem });
  if (entries.problems.length > 0) return;
  users.replace(entries);
  log.write("info", "password file reloaded", { path, users: users.size });
}

/** Warns once for a mode, and again after it was changed to another that is too wide. */
function modeWarning(path: string, modeOf: FileModeOf, log: LogWriter): () => void {
  let warnedOf: number | undefined = undefined;
  return () => {
    const mode = modeOf(path);
    const isWide = mode !== undefined && (mode & READABLE_BY_OTHERS) !== 0;
    if (isWide && mode !== warnedOf) {
      log.write("warn", "password file can be read by everybody on this host", {
        path,
        mode: `0${(mode & PERMISSION_BITS).toString(8)}`,
      });
    }
    warnedOf = isWide ? mode : undefined;
  };
}

const READABLE_BY_OTHERS = 0o004;
const PERMISSION_BITS = 0o777;
