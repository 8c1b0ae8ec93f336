/**
 * The secrets and certificates of a backend: each one value in a file, followed while the broker runs.
 */
import * as Effect from "effect/Effect";
import type { LogWriter } from "../../logging/log.ts";
import { Supervisor } from "../../logging/supervisor.ts";
import { type FileUnreadable, followFiles, readWatchedFile, type WatchedFile } from "../../system/watched_file.ts";
import { AuthFileInvalid } from "../identity/errors.ts";

/** A file that holds one value, and how it is read: the problem instead of the value is thrown as `AuthFileInvalid`. */
export interface ValueFile<A> extends WatchedFile {
  readonly parse: (text: string) => { readonly value: A } | { readonly problem: string };
}

/**
 * Reads a file now and again whenever it changes, until the scope closes. One that cannot be used later leaves the
 * value as it was, and is told in the log.
 *
 * @param file undefined = there is none; the value stays undefined.
 * @returns Gives the value that holds now.
 */
export const followValue = Effect.fnUntraced(function* <A>(file: ValueFile<A> | undefined, log: LogWriter) {
  if (file === undefined) return () => undefined;
  const { path, purpose, parse } = file;
  const text = yield* readWatchedFile({ path, purpose });
  const first = parse(text);
  if ("problem" in first) return yield* new AuthFileInvalid({ path, problems: [`${path}: ${first.problem}`] });
  let { value } = first;
  const keep = (error: FileUnreadable | AuthFileInvalid) =>
    log.write("error", "changed file refused, the old content stays in force", { file: path, error: error.message });
  const follower = {
    changed: ([changed = ""]: readonly string[]) => {
      const next = parse(changed);
      if ("problem" in next) return keep(new AuthFileInvalid({ path, problems: [`${path}: ${next.problem}`] }));
      value = next.value;
      log.write("info", "changed file in force", { file: path, purpose });
    },
    failed: keep,
  };
  yield* Supervisor.fork(`watch of ${purpose}`, followFiles([{ path, purpose }], follower, [text]));
  return () => value;
});

/** One line of text, such as a password or a token; the line feed that editors add at the end is not part of it. */
export function parseSecretLine(text: string): { readonly value: string } | { readonly problem: string } {
  const value = text.replace(/\r?\n$/, "");
  if (value === "") return { problem: "is empty" };
  if (/\p{Cc}/u.test(value)) return { problem: "has more than one line, or control characters" };
  return { value };
}

/** True for a host whose traffic never leaves this machine. */
export function isLoopbackHost(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || hostname === "::1" || /^127(?:\.\d+){3}$/.test(hostname);
}
