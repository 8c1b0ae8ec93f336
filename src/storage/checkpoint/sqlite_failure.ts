/**
 * What SQLite throws, as `StorageFailed`. The reason comes from the result code alone; the words are for people.
 */
import { StorageFailed, type StorageReason } from "../model/errors.ts";

/** Wraps what SQLite threw. A `StorageFailed` that passed through it stays what it is. */
export function sqliteFailure(operation: string, path: string, cause: unknown): StorageFailed {
  if (cause instanceof StorageFailed) return cause;
  const code = codeOf(cause);
  const advice = ADVICE.get(code);
  const detail = advice === undefined ? describeSqlite(cause) : `${describeSqlite(cause)}; ${advice}`;
  return new StorageFailed({ operation, path, reason: REASONS.get(code) ?? "sqlite", detail, cause });
}

/** Wraps what opening a database threw, which comes without a result code. */
export function openFailure(path: string, cause: unknown): StorageFailed {
  const detail = `${describeSqlite(cause)}; ${UNREACHABLE}`;
  return new StorageFailed({ operation: "open", path, reason: "sqlite", detail, cause });
}

/** True when the device failed, after which nothing is known of what was written. */
export function isDeviceFailure(cause: unknown): boolean {
  return REASONS.get(codeOf(cause)) === "io";
}

/** Words and result code. */
export function describeSqlite(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const code = codeOf(cause);
  return code === 0 ? cause.message : `${cause.message} (SQLite result code ${code})`;
}

/** Primary result code, 0 when there is none. https://sqlite.org/rescode.html */
function codeOf(cause: unknown): number {
  const code = cause instanceof Error ? (cause as Error & { readonly errcode?: unknown }).errcode : undefined;
  return typeof code === "number" ? code & 0xff : 0;
}

const PERM = 3;
const BUSY = 5;
const LOCKED = 6;
const READONLY = 8;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const AUTH = 23;
const NOTADB = 26;

const REASONS = new Map<number, StorageReason>([
  [PERM, "permission"],
  [BUSY, "locked"],
  [LOCKED, "locked"],
  [READONLY, "read_only"],
  [IOERR, "io"],
  [FULL, "no_space"],
  [CANTOPEN, "permission"],
  [AUTH, "permission"],
]);

const UNREACHABLE = "its directory must exist, and the broker must be allowed to write there";
const DAMAGED =
  "the database is damaged: restore it from a backup, or move it and the files whose names begin with its " +
  "name away, and the broker starts without the Sessions, Retained Messages and queued messages that it held";
const ADVICE = new Map<number, string>([
  [BUSY, "another process holds the database"],
  [CANTOPEN, UNREACHABLE],
  [CORRUPT, DAMAGED],
  [NOTADB, DAMAGED],
]);
