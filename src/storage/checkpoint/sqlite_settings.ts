/**
 * The settings of SQLite an operator may choose: which values exist, how each is written as a pragma, and what the weak
 * ones can cost. This file opens nothing; `sqlite_connection.ts` sets them and looks whether they took.
 */

/** `storage.sqlite` of the configuration. */
export interface SqliteSettings {
  /** Pages when positive, KiB when negative. */
  readonly cacheSize: number;
  readonly tempStore: "MEMORY" | "FILE" | "DEFAULT";
  /** Bytes. */
  readonly mmapSize: number;
  readonly busyTimeoutMs: number;
  readonly synchronous: "OFF" | "NORMAL" | "FULL" | "EXTRA";
  readonly journalMode: "DELETE" | "TRUNCATE" | "PERSIST" | "MEMORY" | "WAL" | "OFF";
  readonly foreignKeys: boolean;
}

/** One setting as SQLite takes it. */
export interface Pragma {
  readonly name: string;
  /** As it is written behind `PRAGMA name =`. */
  readonly asked: string;
  /** What reading it must say, as text. */
  readonly expected: string;
}

/**
 * The pragmas of the settings in the order in which they must be set: first how long to wait for others, as changing
 * the journal mode may have to.
 *
 * @returns The pragmas, or the first setting with a value that does not exist.
 */
export function pragmasOf(settings: SqliteSettings): readonly Pragma[] | { readonly problem: string } {
  const { busyTimeoutMs, journalMode, synchronous, cacheSize, tempStore, mmapSize } = settings;
  const numbers = { busy_timeout: busyTimeoutMs, cache_size: cacheSize, mmap_size: mmapSize };
  for (const [name, value] of Object.entries(numbers)) {
    if (!Number.isSafeInteger(value)) return { problem: `pragma ${name} must be a whole number, not ${value}` };
  }
  if (!JOURNAL_MODES.includes(journalMode)) return { problem: notOneOf("journal_mode", journalMode, JOURNAL_MODES) };
  if (!SYNCHRONOUS.includes(synchronous)) return { problem: notOneOf("synchronous", synchronous, SYNCHRONOUS) };
  if (!TEMP_STORES.includes(tempStore)) return { problem: notOneOf("temp_store", tempStore, TEMP_STORES) };
  return [
    numeric("busy_timeout", busyTimeoutMs),
    { name: "journal_mode", asked: journalMode, expected: journalMode.toLowerCase() },
    { name: "synchronous", asked: synchronous, expected: String(SYNCHRONOUS.indexOf(synchronous)) },
    numeric("cache_size", cacheSize),
    { name: "temp_store", asked: tempStore, expected: String(TEMP_STORES.indexOf(tempStore)) },
    numeric("mmap_size", mmapSize),
    numeric("foreign_keys", settings.foreignKeys ? 1 : 0),
  ];
}

/** One sentence for each setting that is weaker than safe, naming what it can cost. */
export function weaknessesOf(settings: SqliteSettings): string[] {
  const weaknesses: string[] = [];
  const { journalMode, synchronous } = settings;
  if (journalMode === "OFF" || journalMode === "MEMORY") {
    weaknesses.push(
      `storage.sqlite.journal-mode ${journalMode}: a crash of the broker or of the machine during a write to the ` +
        "database can damage it, and with it all Sessions, subscriptions, Retained Messages and queued messages that " +
        "have left the log.",
    );
  }
  if (synchronous === "OFF") {
    weaknesses.push(
      "storage.sqlite.synchronous OFF: moving the log forward is still synced, but a power cut while messages are " +
        "moved or removed can damage the database, and with it all Sessions, subscriptions, Retained Messages and " +
        "queued messages that have left the log.",
    );
  }
  return weaknesses;
}

function numeric(name: string, value: number): Pragma {
  return { name, asked: String(value), expected: String(value) };
}

function notOneOf(name: string, value: string, values: readonly string[]): string {
  return `pragma ${name} must be one of ${values.join(", ")}, not ${value}`;
}

const JOURNAL_MODES: readonly string[] = ["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "WAL", "OFF"];
/** In the order of the numbers that SQLite answers with, as the next. */
const SYNCHRONOUS: readonly string[] = ["OFF", "NORMAL", "FULL", "EXTRA"];
const TEMP_STORES: readonly string[] = ["DEFAULT", "FILE", "MEMORY"];
