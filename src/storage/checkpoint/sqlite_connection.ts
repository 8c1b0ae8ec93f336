/**
 * One connection to SQLite: settings that took, transactions that are safe when they should be, cached statements, and
 * failures as `StorageFailed`. This file knows pragmas and files, and no table.
 *
 * What `synchronous` leaves open, this connection closes where it matters: a *synced* transaction and every checkpoint
 * run with `synchronous = EXTRA`, FULL plus a sync of the directory once the journal of journal mode DELETE is gone,
 * which would otherwise come back after a power cut and undo the transaction. What unsynced transactions wrote before
 * becomes safe with it, as it went to the same file.
 *
 * In journal mode WAL the checkpoints are made here and not by SQLite inside of a commit, where nobody hears of their
 * failure. After a failed write to the device nothing is written any more: the pages it lost count as written in the
 * page cache, and a later sync that succeeds would say nothing about them.
 */
import assert from "node:assert/strict";
import {
  DatabaseSync,
  type DatabaseSyncOptions,
  type SQLInputValue,
  type SQLOutputValue,
  type StatementSync,
} from "node:sqlite";
import { StorageFailed, type StorageReason } from "../model/errors.ts";
import { APPLICATION_ID, MIGRATIONS } from "./checkpoint_schema.ts";
import { describeSqlite, isDeviceFailure, openFailure, sqliteFailure } from "./sqlite_failure.ts";
import { pragmasOf, type SqliteSettings } from "./sqlite_settings.ts";
import type { SqliteWatch } from "./sqlite_watch.ts";

/** What a statement takes. */
export type SqlValue = SQLInputValue;

/** A row as an array of its columns. */
export type Row = SQLOutputValue[];

/** A prepared statement. Failures are what SQLite throws; `SqliteConnection` turns them into `StorageFailed`. */
export class Statement {
  readonly #statement: StatementSync;

  constructor(statement: StatementSync) {
    this.#statement = statement;
    // Known at run time, not to the types.
    (statement as StatementSync & { setReturnArrays(isOn: boolean): void }).setReturnArrays(true);
  }

  /** Runs it and returns the number of rows it changed. */
  run(...parameters: SqlValue[]): number {
    return Number(this.#statement.run(...parameters).changes);
  }

  /** The first row. */
  row(...parameters: SqlValue[]): Row | undefined {
    return this.#statement.get(...parameters) as unknown as Row | undefined;
  }

  /** All rows; the caller bounds them. */
  rows(...parameters: SqlValue[]): Row[] {
    return this.#statement.all(...parameters) as unknown as Row[];
  }

  /**
   * All rows of a statement that asks for rows above a key, in its order, and for a number of them: `… WHERE (a, b) >
   * (?, ?) ORDER BY a, b LIMIT ?`. Read in windows, so that they are never all in memory, and changed between them.
   *
   * @param before A key below all others. The first columns of a row are its key.
   */
  *windows(...before: SqlValue[]): Generator<Row[]> {
    let key = before;
    while (true) {
      const rows = this.rows(...key, WINDOW_ROWS);
      if (rows.length > 0) yield rows;
      if (rows.length < WINDOW_ROWS) return;
      key = rows.at(-1)!.slice(0, before.length);
    }
  }
}

/** See the head of this file. */
export class SqliteConnection {
  readonly path: string;
  readonly #settings: SqliteSettings;
  readonly #database: DatabaseSync;
  readonly #watch: SqliteWatch;
  readonly #statements = new Map<string, Statement>();
  /** Most frames of the WAL file since it was last empty; its size never shrinks in between. */
  #walFramesMax = 0;
  /** Frames of the WAL at the last checkpoint. */
  #walFramesChecked = 0;
  /** True while `begin` waits for its `commit`. */
  #isJoining = false;
  #poison: StorageFailed | undefined;

  private constructor(path: string, settings: SqliteSettings, database: DatabaseSync, watch: SqliteWatch) {
    this.path = path;
    this.#settings = settings;
    this.#database = database;
    this.#watch = watch;
  }

  /**
   * Opens the database, or makes it in a directory that exists, and brings it to the newest version.
   *
   * A file of a newer version, or of another application, is left as it is.
   */
  static open(path: string, settings: SqliteSettings, watch: SqliteWatch): SqliteConnection {
    // Not defensive, as that forbids journal mode OFF; the option is known at run time, not to the types.
    const options: DatabaseSyncOptions & { readonly defensive: boolean } = { defensive: false };
    let database: DatabaseSync;
    try {
      database = new DatabaseSync(path, options);
    } catch (cause) {
      throw openFailure(path, cause);
    }
    const connection = new SqliteConnection(path, settings, database, watch);
    try {
      connection.#guard("open", () => connection.#prepareFile());
    } catch (failure) {
      database.close();
      throw failure;
    }
    return connection;
  }

  /** The statement of this text, prepared once. The texts are constants: their number is the bound. */
  statement(sql: string): Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = new Statement(this.#database.prepare(sql));
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** Runs something that only reads. */
  read<A>(operation: string, run: () => A): A {
    return this.#guard(operation, run);
  }

  /** Opens a transaction that takes in every `write` until `commit` or `rollBack`. */
  begin(): void {
    assert(!this.#isJoining, "a transaction is open already");
    this.#watch.step(() => this.#guard("write to", () => this.#begin()));
    this.#isJoining = true;
  }

  /** Ends what `begin` opened, as safe as `synchronous` says when it returns. On failure nothing of it stays. */
  commit(): void {
    assert(this.#isJoining, "no transaction is open");
    this.#isJoining = false;
    this.#watch.step(() => this.#guard("commit to", () => this.#part(() => this.statement("COMMIT").run())));
    this.#afterWrite();
  }

  /** Takes back what `begin` opened; does nothing when a failure has already. */
  rollBack(): void {
    if (!this.#isJoining) return;
    this.#isJoining = false;
    this.#watch.rolledBack();
    this.#guard("roll back", () => this.#rollBack(new Error("rolled back")));
  }

  /** Runs one transaction, or a part of the open one, as safe as `synchronous` says once that ended. */
  write<A>(operation: string, run: () => A): A {
    const isPart = this.#isJoining;
    const result = this.#watch.step(() =>
      this.#guard(operation, () => isPart ? this.#part(run) : this.#transaction(run))
    );
    if (isPart) return result;
    this.#afterWrite();
    return result;
  }

  /** Runs one transaction that is safe when it returns, and all before it. */
  writeSynced<A>(operation: string, run: () => A): A {
    assert(!this.#isJoining, "a transaction is open");
    const result = this.#watch.step(() => this.#guard(operation, () => this.#synced(() => this.#transaction(run))));
    this.#afterWrite();
    return result;
  }

  /** Moves the WAL into the database file and empties it, unless another process reads there. */
  checkpoint(): void {
    // Within a transaction there is none; the end of it sees to the size of the WAL.
    if (this.#settings.journalMode !== "WAL" || this.#isJoining) return;
    this.#guard("checkpoint", () => this.#checkpoint("TRUNCATE"));
    this.#noteWal();
  }

  /**
   * Bytes of the database, pages that are still in the WAL included, and of the WAL itself. The journal that journal
   * mode PERSIST leaves behind is not counted.
   */
  get sizeBytes(): number {
    return this.#guard("measure", () => {
      const pageBytes = this.#numberOf("PRAGMA page_size");
      const walBytes = this.#walFramesMax === 0
        ? 0
        : WAL_HEADER_BYTES + this.#walFramesMax * (FRAME_HEADER_BYTES + pageBytes);
      return this.#numberOf("PRAGMA page_count") * pageBytes + walBytes;
    });
  }

  /** Gives some pages that hold nothing any more back to the file system, when they are many. */
  giveBackPages(): void {
    const free = this.#numberOf("PRAGMA freelist_count");
    if (free < FREE_PAGES_MIN || free * 4 < this.#numberOf("PRAGMA page_count")) return;
    this.statement(`PRAGMA incremental_vacuum(${GIVE_BACK_PAGES})`).rows();
  }

  /** Takes an open transaction back, checkpoints and closes. What fails on the way is thrown once it is closed. */
  close(): void {
    try {
      this.rollBack();
      if (this.#poison === undefined) this.checkpoint();
    } finally {
      this.#statements.clear();
      this.#database.close();
    }
  }

  #prepareFile(): void {
    const version = this.#checkOwner();
    if (version === 0) this.#run("PRAGMA auto_vacuum = INCREMENTAL");
    // Also where the system would take a plain sync for less than it says; elsewhere it changes nothing.
    this.#run("PRAGMA fullfsync = ON");
    this.#run("PRAGMA checkpoint_fullfsync = ON");
    this.#setPragmas();
    const { journalMode, busyTimeoutMs } = this.#settings;
    if (journalMode === "WAL") this.#run("PRAGMA wal_autocheckpoint = 0");
    this.#migrate(version);
    // From here on the broker stands still while it waits. In the other modes reads wait, too, and must not fail soon.
    if (journalMode === "WAL") this.#run(`PRAGMA busy_timeout = ${Math.min(busyTimeoutMs, BUSY_AT_WORK_MS_MAX)}`);
    this.#noteWal();
  }

  /** Returns the version of the file, 0 for a new one; writes nothing. */
  #checkOwner(): number {
    const owner = this.#numberOf("PRAGMA application_id");
    const version = this.#numberOf("PRAGMA user_version");
    const tables = this.#numberOf("SELECT count(*) FROM sqlite_schema");
    const isNew = owner === 0 && version === 0 && tables === 0;
    if (!isNew && owner !== APPLICATION_ID) {
      throw this.#failed("open", "format", "it is a database of another application; it was not touched");
    }
    if (version > MIGRATIONS.length) {
      const detail = `it has version ${version}, this program knows up to ${MIGRATIONS.length}; it was not touched`;
      throw this.#failed("open", "format", detail);
    }
    return version;
  }

  #setPragmas(): void {
    const pragmas = pragmasOf(this.#settings);
    if ("problem" in pragmas) throw this.#failed("open", "pragma", pragmas.problem);
    for (const { name, asked, expected } of pragmas) {
      this.#run(`PRAGMA ${name} = ${asked}`);
      const got = String(new Statement(this.#database.prepare(`PRAGMA ${name}`)).row()?.[0]);
      if (got === expected) continue;
      const detail = `pragma ${name} did not take: asked for ${asked}${
        asked === expected ? "" : ` (${expected})`
      }, got ${got}`;
      throw this.#failed("open", "pragma", detail);
    }
  }

  #migrate(version: number): void {
    if (version === MIGRATIONS.length) return;
    this.#synced(() =>
      this.#transaction(() => {
        for (const statements of MIGRATIONS.slice(version)) for (const sql of statements) this.#run(sql);
        this.#run(`PRAGMA application_id = ${APPLICATION_ID}`);
        this.#run(`PRAGMA user_version = ${MIGRATIONS.length}`);
      })
    );
  }

  #begin(): void {
    if (this.#poison !== undefined) throw this.#poison;
    this.statement("BEGIN IMMEDIATE").run();
  }

  #transaction<A>(run: () => A): A {
    this.#begin();
    return this.#part(() => {
      const result = run();
      this.statement("COMMIT").run();
      return result;
    });
  }

  /** Runs a part of the open transaction; a failure takes all of it back. */
  #part<A>(run: () => A): A {
    try {
      return run();
    } catch (cause) {
      this.#isJoining = false;
      this.#rollBack(cause);
      throw cause;
    }
  }

  /** Some failures have ended the transaction already. The failure that led here is the one to report. */
  #rollBack(cause: unknown): void {
    // Without a journal there is no way back.
    if (isDeviceFailure(cause) || this.#settings.journalMode === "OFF") this.#poisonWith(cause);
    if (!this.#database.isTransaction) return;
    try {
      this.statement("ROLLBACK").run();
    } catch {
      this.#poisonWith(cause);
    }
  }

  #poisonWith(cause: unknown): void {
    const detail = `an earlier write failed (${describeSqlite(cause)}), nothing can be written after that`;
    this.#poison ??= this.#failed("write to", "io", detail, cause);
  }

  /** Runs something with `synchronous = EXTRA`. */
  #synced<A>(run: () => A): A {
    this.#run("PRAGMA synchronous = EXTRA");
    try {
      return run();
    } finally {
      this.#run(`PRAGMA synchronous = ${this.#settings.synchronous}`);
    }
  }

  #checkpoint(mode: "PASSIVE" | "TRUNCATE"): void {
    this.#watch.operation("checkpoint", () => this.#moveWal(mode));
  }

  #moveWal(mode: "PASSIVE" | "TRUNCATE"): void {
    if (this.#poison !== undefined) throw this.#poison;
    try {
      this.#synced(() => this.#run(`PRAGMA wal_checkpoint(${mode})`));
    } catch (cause) {
      if (isDeviceFailure(cause)) this.#poisonWith(cause);
      throw cause;
    }
  }

  /** After a commit: checkpoints when the WAL has grown enough since the last time; one that a reader holds back is tried later. */
  #afterWrite(): void {
    this.#watch.committed();
    if (this.#settings.journalMode !== "WAL") return;
    const frames = this.#noteWal();
    if (frames < this.#walFramesChecked) this.#walFramesChecked = 0;
    if (frames - this.#walFramesChecked < CHECKPOINT_FRAMES) return;
    this.#walFramesChecked = frames;
    this.#guard("checkpoint", () => this.#checkpoint("PASSIVE"));
  }

  /** Returns the frames in the WAL. */
  #noteWal(): number {
    const frames = Math.max(0, Number(this.statement("PRAGMA wal_checkpoint(NOOP)").row()?.[1] ?? 0));
    this.#walFramesMax = frames === 0 ? 0 : Math.max(this.#walFramesMax, frames);
    return frames;
  }

  /** Prepares and runs: many pragmas do their work while they are prepared, so they must not be cached. */
  #run(sql: string): void {
    this.#database.prepare(sql).all();
  }

  #numberOf(sql: string): number {
    return Number(this.statement(sql).row()?.[0]);
  }

  #guard<A>(operation: string, run: () => A): A {
    try {
      return run();
    } catch (cause) {
      throw cause instanceof StorageFailed ? cause : sqliteFailure(operation, this.path, cause);
    }
  }

  #failed(operation: string, reason: StorageReason, detail: string, cause?: unknown): StorageFailed {
    return new StorageFailed({ operation, path: this.path, reason, detail, cause });
  }
}

const WINDOW_ROWS = 4096;
/** What is not written then is written by the next pass of compaction; the checkpoint by a later one. */
const BUSY_AT_WORK_MS_MAX = 100;
const WAL_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
/** As many as SQLite would take by itself. */
const CHECKPOINT_FRAMES = 1000;
const FREE_PAGES_MIN = 1024;
/** Bounds the work of one call to 1 MiB. */
const GIVE_BACK_PAGES = 256;
