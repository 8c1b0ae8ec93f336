/**
 * The options of the store: what is promised when an acknowledgement leaves, where it is kept, and what is cleared away.
 *
 * The texts say what each choice loses, and when: at a crash of the process, or of the system with the power.
 */

import { option } from "../kinds/option.ts";
import {
  boolean,
  directory,
  durationMs,
  integer,
  milliseconds,
  oneOf,
  optionalDirectory,
  size,
} from "../kinds/value_types.ts";

const SECOND_MS = 1000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
const KIB = 2 ** 10;
const MIB = 2 ** 20;
const GIB = 2 ** 30;
const INT32_MAX = 2 ** 31 - 1;
/** What SQLite is built with: it takes no more, and lowers a larger value without a word. */
const MMAP_BYTES_MAX = 2_147_418_112;

const wal = {
  syncMode: option({
    key: "storage.wal.sync-mode",
    type: oneOf("immediate", "batch", "periodic"),
    defaultText: "immediate",
    reload: "live",
    flag: "wal-sync-mode",
    doc:
      "When a client is told that the broker has its message or its subscription. `immediate`: after the log is on " +
      "the device (fdatasync), so that a loss of power undoes nothing that was acknowledged. `batch`: after the " +
      "log is written to the system, unless more than `storage.wal.batch-sync-size` records are not synced yet, " +
      "then after the sync; a loss of power costs at most so many records. `periodic`: after the log is written to " +
      "the system, unless something older than `storage.wal.sync-interval` is not synced yet, then after the sync; " +
      "a loss of power costs at most what came within such an interval. Killing the broker undoes nothing that was " +
      "acknowledged, in any mode.",
  }),
  syncIntervalMs: option({
    key: "storage.wal.sync-interval",
    aliases: ["storage.wal-sync-interval"],
    type: durationMs({ min: 1, max: HOUR_MS }),
    defaultText: "100ms",
    reload: "live",
    flag: "wal-sync-interval",
    doc:
      "With `periodic`, how old records may get that are acknowledged and not synced. With `batch`, the time after " +
      "which fewer of them than `storage.wal.batch-sync-size` are synced. Without meaning for `immediate`.",
  }),
  batchSyncSize: option({
    key: "storage.wal.batch-sync-size",
    type: integer({ min: 1, max: 1_000_000 }),
    defaultText: "100",
    reload: "live",
    flag: "wal-batch-sync-size",
    doc: "With `batch`, how many records may be acknowledged and not synced; with so many, a sync begins.",
  }),
  forceFsync: option({
    key: "storage.wal.force-fsync",
    type: boolean(),
    defaultText: "false",
    reload: "live",
    flag: "wal-force-fsync",
    doc: "Acknowledge only what is synced, in every sync mode: a loss of power then undoes nothing that was " +
      "acknowledged. Wins over `storage.wal-no-sync`.",
  }),
  noSync: option({
    key: "storage.wal-no-sync",
    aliases: ["storage.wal.no-sync"],
    type: boolean(),
    defaultText: "false",
    reload: "live",
    flag: "wal-no-sync",
    doc: "Never sync the log, in any sync mode, and leave it to the system when it reaches the device: a loss of " +
      "power costs what was acknowledged since, with no bound. Killing the broker still undoes nothing that was " +
      "acknowledged.",
  }),
  crashRecoveryValidation: option({
    key: "storage.wal.crash-recovery-validation",
    type: boolean(),
    defaultText: "true",
    reload: "restart",
    doc: "Check every record of the log at a start; without it the checksum of each block alone is checked.",
  }),
  segmentBytes: option({
    key: "storage.wal.segment-size",
    type: size({ min: 64 * KIB, max: GIB }),
    defaultText: "16MiB",
    reload: "live",
    doc: "Size at which the log goes on in a new file. Space is given back in whole files.",
  }),
  record: option({
    key: "storage.wal.record",
    type: oneOf("acknowledged", "required"),
    defaultText: "acknowledged",
    reload: "live",
    doc: "Which messages are logged. `acknowledged`: every QoS 1 and QoS 2 message. `required`: of these only what a " +
      "Session that outlives its connection is owed, and what is retained; spares flash memory, and keeps the same " +
      "promises.",
  }),
  onCorruption: option({
    key: "storage.wal.on-corruption",
    type: oneOf("quarantine", "refuse"),
    defaultText: "quarantine",
    reload: "restart",
    doc: "What a start does about damage in the middle of the log. `quarantine`: keeps a copy of the file, logs what " +
      "is lost and starts with the rest. `refuse`: does not start. An unfinished write at the end of the log is no " +
      "damage: it is what a loss of power leaves of records that were not synced, and is cut off.",
  }),
};

const compaction = {
  maxMessageAgeMs: option({
    key: "storage.compaction.max-message-age",
    type: durationMs({ min: SECOND_MS, max: 3650 * DAY_MS }),
    defaultText: "2h",
    reload: "live",
    doc: "Age of its latest record at which a file of the log is compacted: messages still owed or retained move to " +
      "SQLite, the file is deleted. No message is dropped for its age; see `mqtt.message-expiry-max` for that.",
  }),
  maxWalBytes: option({
    key: "storage.compaction.max-wal-size",
    type: size({ min: MIB }),
    defaultText: "100MB",
    reload: "live",
    doc: "Size of the log above which its oldest files are compacted whatever their age. No bound on what is stored.",
  }),
  checkIntervalMs: option({
    key: "storage.compaction.check-interval",
    type: durationMs({ min: 100, max: DAY_MS }),
    defaultText: "5m",
    reload: "live",
    doc:
      "Time between two looks at the age of the log, and at what nobody needs any more in SQLite. Its size is looked at " +
      "every second.",
  }),
  concurrentWorkers: option({
    key: "storage.compaction.concurrent-workers",
    type: integer({ min: 1, max: 16 }),
    defaultText: "1",
    reload: "live",
    doc:
      "How many files of the log are compacted together, with one sync of SQLite; those that nobody needs do not count. It " +
      "starts no worker: more of them make a pass cheaper, and its transactions larger.",
  }),
  batchSize: option({
    key: "storage.compaction.batch-size",
    type: integer({ min: 1, max: 100_000 }),
    defaultText: "1000",
    reload: "live",
    doc: "Most rows written to SQLite in one transaction: messages, and who is owed them.",
  }),
};

const sqlite = {
  cacheSize: option({
    key: "storage.sqlite.cache-size",
    type: integer({ min: -INT32_MAX, max: INT32_MAX }),
    defaultText: "50000",
    reload: "restart",
    flag: "sqlite-cache-size",
    doc:
      "Page cache of SQLite: a number of pages of 4 KiB, or negative a number of KiB. Taken as needed, not in advance.",
  }),
  tempStore: option({
    key: "storage.sqlite.temp-store",
    type: oneOf("MEMORY", "FILE", "DEFAULT"),
    defaultText: "MEMORY",
    reload: "restart",
    doc: "Where SQLite keeps temporary tables and indices.",
  }),
  mmapSize: option({
    key: "storage.sqlite.mmap-size",
    type: size({ min: 0, max: MMAP_BYTES_MAX }),
    defaultText: "268435456",
    reload: "restart",
    flag: "sqlite-mmap-size",
    doc:
      "Most bytes of the database file that SQLite maps into memory; 0 = none. Not held by the process, but counted " +
      "in its resident size while in use. A device that cannot read a page of what is mapped ends the process at once, " +
      "by SIGBUS, where an ordinary read is an error with a line in the log; with 0 there are only ordinary reads, at " +
      "up to twice the processor time for each message that is read from the database.",
  }),
  busyTimeoutMs: option({
    key: "storage.sqlite.busy-timeout",
    type: milliseconds({ min: 0, max: HOUR_MS }),
    defaultText: "30000",
    reload: "restart",
    doc:
      "How long SQLite waits for a lock that another program has on the database. The broker stands still meanwhile, " +
      "so with `journal-mode: WAL` it is no more than 100 ms once the broker has started: what could not be moved " +
      "to the database then stays in the log and is tried again.",
  }),
  synchronous: option({
    key: "storage.sqlite.synchronous",
    type: oneOf("OFF", "NORMAL", "FULL", "EXTRA"),
    defaultText: "NORMAL",
    reload: "restart",
    doc: "How SQLite syncs its ordinary transactions; the one after which a file of the log is deleted is synced " +
      "whatever this says. With `journal-mode: WAL`, `NORMAL` loses nothing. With `OFF` a loss of power can damage " +
      "the database, and Sessions, Retained Messages and queued messages in it be lost.",
  }),
  journalMode: option({
    key: "storage.sqlite.journal-mode",
    type: oneOf("DELETE", "TRUNCATE", "PERSIST", "MEMORY", "WAL", "OFF"),
    defaultText: "WAL",
    reload: "restart",
    doc: "How SQLite undoes an unfinished transaction. With `MEMORY` or `OFF` it cannot after a crash in the middle " +
      "of one, also when the broker is killed: the database can then be damaged, and Sessions, Retained Messages " +
      "and queued messages in it be lost.",
  }),
  foreignKeys: option({
    key: "storage.sqlite.foreign-keys",
    type: boolean(),
    defaultText: "true",
    reload: "restart",
    doc: "Whether SQLite checks that rows refer to rows that exist.",
  }),
};

/** Options of section `storage`. */
export const storage = {
  mode: option({
    key: "storage.mode",
    type: oneOf("memory", "disk"),
    defaultText: "disk",
    reload: "restart",
    flag: "storage",
    doc:
      "Where messages and Sessions are kept. `disk`: in `storage.data-dir`; what was acknowledged survives a restart " +
      "and a crash, see `storage.wal.sync-mode`. `memory`: everything is gone when the broker ends.",
  }),
  dataDir: option({
    key: "storage.data-dir",
    type: directory(),
    defaultText: "./data",
    reload: "restart",
    flag: "data-dir",
    doc: "Directory of the store, made if need be; used by one broker at a time. Not for network file systems.",
  }),
  walDir: option({
    key: "storage.wal-dir",
    type: optionalDirectory(),
    defaultText: "",
    reload: "restart",
    flag: "wal-dir",
    doc: 'Directory of the log, for a device of its own; `""` = `wal` in the data directory.',
  }),
  memoryBufferBytes: option({
    key: "storage.memory-buffer",
    type: size({ min: MIB }),
    defaultText: "268435456",
    reload: "live",
    flag: "memory-buffer",
    doc:
      "Most bytes of messages held in memory. With `disk`, older ones are read back when they are due; with `memory`, " +
      "publications are refused when it is full.",
  }),
  minFreeSpaceBytes: option({
    key: "storage.min-free-space",
    type: size({ min: 0 }),
    defaultText: "64MiB",
    reload: "live",
    doc:
      "Free space of the file system of the log below which QoS 1 and QoS 2 publications and new promises are refused " +
      "(0x97; before MQTT 5 publications are not acknowledged) until there is more again; deliveries go on.",
  }),
  wal,
  compaction,
  sqlite,
};
