/**
 * SQLite on a real disk: what moving messages out of the log costs with each journal mode and each `synchronous`.
 *
 * A case moves a thousand messages of 200 bytes, each owed to one Session, as the compactor does with
 * `storage.compaction.batch-size` 1000. The group "applied" adds the synced transaction that ends a move. Files go where
 * `wal_bench.ts` puts its own.
 */
import { Checkpoint } from "../src/storage/checkpoint/checkpoint.ts";
import type { ArchivedMessage, OwedRow } from "../src/storage/checkpoint/checkpoint_rows.ts";
import type { SqliteSettings } from "../src/storage/checkpoint/sqlite_settings.ts";
import { emptyState } from "../src/storage/model/durable_state.ts";
import { benchDirectory } from "./bench_directory.ts";

const MESSAGES = 1_000;
const directory = benchDirectory("sqlite");
const DEFAULTS: SqliteSettings = {
  cacheSize: 50_000,
  tempStore: "MEMORY",
  mmapSize: 268_435_456,
  busyTimeoutMs: 30_000,
  synchronous: "NORMAL",
  journalMode: "WAL",
  foreignKeys: true,
};
const VARIANTS: readonly (readonly [name: string, settings: Partial<SqliteSettings>])[] = [
  ["defaults: WAL, NORMAL", {}],
  ["WAL, FULL", { synchronous: "FULL" }],
  ["WAL, OFF", { synchronous: "OFF" }],
  ["DELETE, FULL", { journalMode: "DELETE", synchronous: "FULL" }],
  ["TRUNCATE, NORMAL", { journalMode: "TRUNCATE" }],
  ["PERSIST, NORMAL", { journalMode: "PERSIST" }],
  ["MEMORY, OFF", { journalMode: "MEMORY", synchronous: "OFF" }],
  ["OFF, OFF", { journalMode: "OFF", synchronous: "OFF" }],
  ["WAL, NORMAL, cache of 1000 pages", { cacheSize: 1_000 }],
  ["WAL, NORMAL, no mmap", { mmapSize: 0 }],
];

const topic = Uint8Array.from([0, 13, ...new TextEncoder().encode("bench/topic/1")]);
const payload = new Uint8Array(200);
const properties = new Uint8Array(0);

for (const [index, [name, settings]] of VARIANTS.entries()) {
  let store: Checkpoint | undefined;
  let position = 64;
  const move = () => {
    store ??= Checkpoint.open(`${directory}/${index}.db`, { ...DEFAULTS, ...settings });
    const messages: ArchivedMessage[] = [];
    const owed: OwedRow[] = [];
    for (let count = 0; count < MESSAGES; count++) {
      position += 256;
      messages.push({ position, expiresAtMs: 0, qos: 1, retain: false, topic, properties, payload });
      owed.push({
        session: 1,
        owed: { position, size: 215, flags: 1, identifiers: [], packetId: 0, isReceived: false, group: undefined },
      });
    }
    store.addMessages(messages, owed);
    return store;
  };
  Deno.bench({ name, group: "moved", baseline: index === 0, fn: () => void move() });
  Deno.bench({
    name: `${name}, applied`,
    group: "applied",
    baseline: index === 0,
    fn: () => move().apply(emptyState(), [], position + 1, 2),
  });
}
