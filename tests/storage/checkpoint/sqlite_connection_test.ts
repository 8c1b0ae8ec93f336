/**
 * How long one connection to SQLite waits for a lock that another program has.
 */
import assert from "node:assert/strict";
import { StorageCounters } from "../../../src/metrics/storage_counters.ts";
import { SqliteConnection } from "../../../src/storage/checkpoint/sqlite_connection.ts";
import type { SqliteSettings } from "../../../src/storage/checkpoint/sqlite_settings.ts";
import { SqliteWatch } from "../../../src/storage/checkpoint/sqlite_watch.ts";
import { SETTINGS } from "../store_rig.ts";

/** Milliseconds that a connection waits once it is open. */
function waitOf(settings: Partial<SqliteSettings>): unknown {
  const directory = Deno.makeTempDirSync();
  const watch = new SqliteWatch(new StorageCounters(), () => 0);
  const connection = SqliteConnection.open(`${directory}/promptmq.db`, { ...SETTINGS, ...settings }, watch);
  try {
    return connection.statement("PRAGMA busy_timeout").row()?.[0];
  } finally {
    connection.close();
    Deno.removeSync(directory, { recursive: true });
  }
}

Deno.test("SqliteConnection in journal mode WAL waits for others no longer than a broker may stand still", () => {
  assert.equal(waitOf({ journalMode: "WAL", busyTimeoutMs: 30_000 }), 100);
  assert.equal(waitOf({ journalMode: "WAL", busyTimeoutMs: 5 }), 5);
});

Deno.test("SqliteConnection in the other journal modes waits as long as it is told: a read must not fail soon", () => {
  assert.equal(waitOf({ journalMode: "DELETE", busyTimeoutMs: 30_000 }), 30_000);
});
