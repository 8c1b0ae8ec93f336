/**
 * Changing one line of a password file without risk for the others: the text of a new file is written beside the old
 * one, synced, and put in its place by renaming. A crash leaves the old file or the new one, and a broker that follows
 * it never reads half of one.
 *
 * A new file can be read by its owner only. An old one keeps its permissions and its owner, so that a broker that runs
 * as another user can read it as before. A symbolic link stays one; the file it names is replaced.
 */
import * as Effect from "effect/Effect";
import { dirname } from "node:path";
import { PASSWORD_FILE_CHARS_MAX, usernameOfLine } from "../../auth/password/password_entries.ts";
import { describeFileFailure } from "../../system/system_failure.ts";
import { UserFileUnreadable, UserFileUnwritable } from "./user_errors.ts";

/** Reads a password file; undefined when there is none. */
export function readUserFile(path: string): Effect.Effect<string | undefined, UserFileUnreadable> {
  return Effect.try({
    try: () => {
      const bytes = Deno.readFileSync(path);
      if (bytes.length > PASSWORD_FILE_CHARS_MAX) {
        throw new UserFileUnreadable({ path, reason: `longer than ${PASSWORD_FILE_CHARS_MAX} bytes` });
      }
      // What is not UTF-8 would come out as something else, in lines that nobody asked to change.
      return decodeText(path, bytes);
    },
    catch: (cause) => {
      if (cause instanceof UserFileUnreadable) return cause;
      return new UserFileUnreadable({ path, reason: describeFileFailure(cause), cause });
    },
  }).pipe(
    Effect.catchIf(
      (error) => error.cause instanceof Deno.errors.NotFound,
      () => Effect.succeed(undefined),
    ),
  );
}

/** The text with `line` in place of what it had for a user, and at its end when it had nothing. */
export function withUser(text: string, username: string, line: string): string {
  const lines = linesOf(text);
  const position = lines.findIndex((old, i) => usernameOfLine(old, i) === username);
  if (position === -1) return [...lines, line, ""].join("\n");
  const others = lines.filter((old, i) => i <= position || usernameOfLine(old, i) !== username);
  return [...others.with(position, line), ""].join("\n");
}

/** The text without a user; undefined when it had none of that name. */
export function withoutUser(text: string, username: string): string | undefined {
  const lines = linesOf(text);
  const others = lines.filter((line, i) => usernameOfLine(line, i) !== username);
  if (others.length === lines.length) return undefined;
  return others.length === 0 ? "" : `${others.join("\n")}\n`;
}

/** Puts a text in place of a file, or makes the file. */
export function writeUserFile(path: string, text: string): Effect.Effect<void, UserFileUnwritable> {
  return Effect.try({
    try: () => replaceFile(path, text),
    catch: (cause) => {
      // The file need not exist, so what was not found is its directory.
      const isMissing = cause instanceof Deno.errors.NotFound;
      const reason = isMissing ? "its directory is not found" : describeFileFailure(cause);
      return new UserFileUnwritable({ path, reason, cause });
    },
  });
}

/** All lines; the line feed at the end of the last one makes no line of its own. */
function linesOf(text: string): string[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

function decodeText(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new UserFileUnreadable({ path, reason: "it is not UTF-8" });
  }
}

function replaceFile(path: string, text: string): void {
  const old = statIfThere(path);
  const target = old === undefined ? path : Deno.realPathSync(path);
  const directory = dirname(target);
  const temporary = Deno.makeTempFileSync({ dir: directory, prefix: ".promptmq_users_" });
  try {
    // Made for its owner only, and opened up when everything is in it.
    const file = Deno.openSync(temporary, { write: true });
    try {
      const bytes = new TextEncoder().encode(text);
      for (let written = 0; written < bytes.length;) written += file.writeSync(bytes.subarray(written));
      if (old !== undefined) keepOwner(temporary, old);
      Deno.chmodSync(temporary, (old?.mode ?? NEW_FILE_MODE) & PERMISSION_BITS);
      file.syncSync();
    } finally {
      file.close();
    }
    Deno.renameSync(temporary, target);
  } catch (error) {
    Deno.removeSync(temporary);
    throw error;
  }
  syncDirectory(directory);
}

/** Without this root would take the file away from the broker that reads it. */
function keepOwner(temporary: string, old: Deno.FileInfo): void {
  const made = Deno.statSync(temporary);
  if (made.uid !== old.uid || made.gid !== old.gid) Deno.chownSync(temporary, old.uid, old.gid);
}

function syncDirectory(directory: string): void {
  if (Deno.build.os === "windows") return;
  using handle = Deno.openSync(directory);
  handle.syncSync();
}

function statIfThere(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

const NEW_FILE_MODE = 0o600;
const PERMISSION_BITS = 0o777;
