/**
 * The file of rules as the broker uses it: read at the start, where a mistake in it stops the broker, and followed from
 * then on. A change with a mistake in it changes nothing, and every problem is logged; a file that is gone is one.
 */
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { Log, type LogWriter } from "../../logging/log.ts";
import { Supervisor } from "../../logging/supervisor.ts";
import { type FileFollower, type FileUnreadable, followFiles, readWatchedFile } from "../../system/watched_file.ts";
import { AuthFileInvalid } from "../identity/errors.ts";
import type { RuleBook } from "./acl_rules.ts";
import { readRuleBook } from "./acl_syntax.ts";

/** The rules in force. */
export class AclFile extends Context.Service<AclFile, {
  /** A plain read, fit for every packet; another object after each change of the file. */
  current(): RuleBook;
}>()("promptmq/auth/AclFile") {
  /** Reads the file and follows it until the scope closes. */
  static readonly layer = (
    path: string,
  ): Layer.Layer<AclFile, AuthFileInvalid | FileUnreadable, Log | Supervisor> =>
    Layer.effect(
      AclFile,
      Effect.gen(function* () {
        const log = yield* Log;
        const file = { path, purpose: "access rules" };
        const text = yield* readWatchedFile(file);
        const first = readRuleBook(path, text);
        if (isProblems(first)) return yield* new AuthFileInvalid({ path, problems: first });
        let inForce = first;
        const follower: FileFollower = {
          changed: ([changed = ""]) => {
            const next = readRuleBook(path, changed);
            if (isProblems(next)) return refuse(log, next);
            inForce = next;
            log.write("info", "access rules replaced", { rules: next.ruleCount });
          },
          failed: (error) => refuse(log, [error.message]),
        };
        yield* Supervisor.fork("access rules", followFiles([file], follower, [text]));
        return AclFile.of({ current: () => inForce });
      }),
    );
}

function isProblems(reading: RuleBook | readonly string[]): reading is readonly string[] {
  return Array.isArray(reading);
}

/** Problems logged of one change. */
const LOGGED_MAX = 10;

function refuse(log: LogWriter, problems: readonly string[]): void {
  for (const problem of problems.slice(0, LOGGED_MAX)) log.write("error", "access rules refused", { problem });
  const more = problems.length - LOGGED_MAX;
  if (more > 0) log.write("error", "access rules refused", { problem: `and ${more} more` });
}
