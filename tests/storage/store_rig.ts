/**
 * A durable store on a faulty disk and a real database, with virtual time, that can be crashed and opened again.
 *
 * The log is on a `FaultyDisk`. The database is a real file: a crash of the process finds what is in it, a power cut
 * either that or what was there when it was last made safe (`apply`, which is synced whatever the settings are).
 */
import { DatabaseSync } from "node:sqlite";
import { StorageCounters } from "../../src/metrics/storage_counters.ts";
import { Message } from "../../src/protocol/message.ts";
import type { QoS } from "../../src/protocol/packets.ts";
import { Checkpoint } from "../../src/storage/checkpoint/checkpoint.ts";
import type { SqliteSettings } from "../../src/storage/checkpoint/sqlite_settings.ts";
import type { CompactionPolicy } from "../../src/storage/compaction/compactor.ts";
import type { CommitPolicy } from "../../src/storage/log/group_commit.ts";
import { SEGMENT_HEADER_BYTES } from "../../src/storage/log/segment.ts";
import type { RecoveredState } from "../../src/storage/model/durable_state.ts";
import { StorageFailed } from "../../src/storage/model/errors.ts";
import { type OpenedStore, openStore, type StoreOptions } from "../../src/storage/open_store.ts";
import { Random } from "../support/random.ts";
import { type CrashKind, FaultyDisk } from "./disk/faulty_disk.ts";
import { HandleWatch } from "./disk/handle_watch.ts";
import { jobsDone, VirtualTime } from "./virtual_time.ts";

export const WAL = "/data/wal";

/** What a test chooses; the rest is as plain as can be. */
export interface RigOptions {
  readonly commit?: Partial<CommitPolicy>;
  readonly compaction?: Partial<CompactionPolicy>;
  readonly memoryBytesMax?: number;
  readonly segmentBytes?: number;
  readonly onCorruption?: StoreOptions["onCorruption"];
  readonly seed?: number;
}

/** Methods of the database that can be made to fail. */
type CheckpointMethod = "begin" | "commit" | "addMessages" | "apply" | "removeRange" | "removeAllBut" | "readMessages";

/** See the head of this file. */
export class StoreRig {
  readonly time: VirtualTime;
  readonly disk: FaultyDisk;
  readonly watch: HandleWatch;
  readonly counters = new StorageCounters();
  readonly commitPolicy: CommitPolicy;
  readonly compactionPolicy: CompactionPolicy;
  readonly opened: OpenedStore;
  readonly recovered: RecoveredState;
  /** What the group commit told of failures, in order. */
  readonly failures: string[] = [];
  /** Commits that were heard of. */
  readonly heard: number[] = [];
  readonly checkpoint: Checkpoint;
  readonly #options: RigOptions;
  readonly #folder: Folder;
  readonly #database: string;
  readonly #fails = new Map<CheckpointMethod, { left: number; failure: StorageFailed }>();
  #safeDatabase: string;
  #isOpen = true;

  private constructor(options: RigOptions, disk: FaultyDisk, time: VirtualTime, folder: Folder, database: string) {
    this.#options = options;
    this.#folder = folder;
    this.#database = database;
    this.disk = disk;
    this.time = time;
    this.watch = new HandleWatch(disk);
    this.commitPolicy = { ...IMMEDIATE, ...options.commit };
    this.compactionPolicy = { ...NEVER, ...options.compaction };
    this.checkpoint = this.#watched(Checkpoint.open(database, SETTINGS));
    this.#safeDatabase = folder.copy(database);
    this.opened = this.#openStore();
    this.recovered = this.opened.store.takeRecovered()!;
    this.opened.store.whenCommitted((position) => this.heard.push(position));
  }

  /** A new, empty store. Close it in the end. */
  static async open(options: RigOptions = {}): Promise<StoreRig> {
    const disk = new FaultyDisk({ seed: options.seed ?? 1 });
    disk.makeDirectory(WAL);
    disk.settle();
    const folder = new Folder();
    const rig = new StoreRig(options, disk, new VirtualTime(), folder, folder.next());
    await rig.opened.makeSafe();
    return rig;
  }

  get store() {
    return this.opened.store;
  }

  get log() {
    return this.opened.log;
  }

  get group() {
    return this.opened.group;
  }

  get compactor() {
    return this.opened.compactor;
  }

  /** Everything below survives a power cut now. */
  get safeLsn(): number {
    return this.log.safeLsn;
  }

  /** Makes the nth call of a method of the database from now on fail. */
  failCheckpoint(method: CheckpointMethod, n: number, failure: StorageFailed): void {
    this.#fails.set(method, { left: n, failure });
  }

  /** Lets timers that are due within `ms` run, and everything that follows. */
  async advance(ms = 0): Promise<void> {
    await this.time.advance(ms);
    await jobsDone();
  }

  /** The segment files that are there. */
  get segmentNames(): string[] {
    return this.disk.list(WAL).filter((name) => name.endsWith(".wal"));
  }

  /** All rows of a table of the database as it is now. */
  rowsOf(table: "owed" | "messages"): unknown[] {
    const database = new DatabaseSync(this.#folder.copy(this.#database));
    try {
      return database.prepare(`SELECT * FROM ${table}`).all();
    } finally {
      database.close();
    }
  }

  /** Bytes of blocks in the segment files. */
  get blockBytes(): number {
    return this.segmentNames.reduce(
      (bytes, name) => bytes + this.disk.contents(`${WAL}/${name}`).length - SEGMENT_HEADER_BYTES,
      0,
    );
  }

  /** Does all steps of a pass of the compactor; `between` is called after each of them. */
  pass(between: () => void = () => {}): number {
    let steps = 0;
    for (const _ of this.compactor.pass(this.time.nowMs)) {
      steps++;
      between();
    }
    return steps;
  }

  /** Ends everything without any goodbye and opens what is left. */
  async crash(kind: CrashKind, seed = 1): Promise<StoreRig> {
    const chance = new Random(seed);
    const isDatabaseOld = kind === "power" && chance.oneIn(2);
    const left = this.#folder.copy(isDatabaseOld ? this.#safeDatabase : this.#database);
    this.#abandon();
    return await this.#reopen(this.disk.crash(chance, kind), left);
  }

  /** Opens a copy of the database over another disk, as if this process had ended there; this one goes on. */
  async openImage(disk: FaultyDisk): Promise<StoreRig> {
    return await this.#reopen(disk, this.#folder.copy(this.#database));
  }

  /**
   * Opens the store over a disk without waiting for anything, so that the disk can be watched meanwhile.
   *
   * @param alter Changes the copy of the database first.
   */
  openOver(disk: FaultyDisk, alter: (database: DatabaseSync) => void = () => {}): StoreRig {
    return new StoreRig(this.#options, disk, this.time, this.#folder, this.#altered(alter));
  }

  /** Opens the store over a disk with a database that is new. */
  openWithNewDatabase(disk: FaultyDisk): StoreRig {
    return new StoreRig(this.#options, disk, this.time, this.#folder, this.#folder.next());
  }

  /** Ends the work of the store as a broker that stops does; what is on disk and in the database is what it leaves. */
  async stop(): Promise<void> {
    await this.group.flush();
  }

  /** Ends the store as a broker that stops does, and opens it again. */
  async restart(): Promise<StoreRig> {
    await this.stop();
    const left = this.#folder.copy(this.#database);
    this.#abandon();
    return await this.#reopen(this.disk, left);
  }

  /** Ends this store alone; the folder of the database stays for others that came from it. */
  abandon(): void {
    this.#abandon();
  }

  /** Ends everything that came from one `open`. */
  close(): void {
    this.#abandon();
    this.#folder.remove();
  }

  #altered(alter: (database: DatabaseSync) => void): string {
    const path = this.#folder.copy(this.#database);
    const database = new DatabaseSync(path);
    try {
      alter(database);
    } finally {
      database.close();
    }
    return path;
  }

  #abandon(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.log.close();
    this.checkpoint.close();
  }

  async #reopen(disk: FaultyDisk, database: string): Promise<StoreRig> {
    const rig = new StoreRig(this.#options, disk, this.time, this.#folder, database);
    await rig.opened.makeSafe();
    return rig;
  }

  #openStore(): OpenedStore {
    const note = (what: string) => (cause: StorageFailed) => this.failures.push(`${what} ${cause.reason}`);
    return openStore({
      disk: this.watch,
      directory: WAL,
      checkpoint: this.checkpoint,
      validation: "records",
      onCorruption: this.#options.onCorruption ?? "refuse",
      memoryBytesMax: this.#options.memoryBytesMax ?? 64 * 1_048_576,
      segmentBytes: this.#options.segmentBytes ?? 1_048_576,
      commitPolicy: this.commitPolicy,
      compactionPolicy: this.compactionPolicy,
      counters: this.counters,
      clock: this.time.clock,
      later: this.time.later,
      failures: {
        slowSync: (milliseconds) => this.failures.push(`slowSync ${milliseconds}`),
        outOfSpace: note("outOfSpace"),
        poisoned: note("poisoned"),
        fatal: note("fatal"),
        recovered: () => this.failures.push("recovered"),
      },
      unreadable: (position, cause) => this.failures.push(`unreadable ${position} ${cause.reason}`),
    });
  }

  /** The database, failing where it was asked to, and copied whenever it is safe. */
  #watched(checkpoint: Checkpoint): Checkpoint {
    return new Proxy(checkpoint, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...given: unknown[]) => {
          const fail = this.#fails.get(name as CheckpointMethod);
          if (fail !== undefined && --fail.left === 0) {
            this.#fails.delete(name as CheckpointMethod);
            throw fail.failure;
          }
          const result: unknown = value.apply(target, given);
          if (name === "apply") this.#safeDatabase = this.#folder.copy(this.#database);
          return result;
        };
      },
    });
  }
}

/** Where the databases of one rig and its successors are. */
class Folder {
  readonly #path = Deno.makeTempDirSync({ prefix: "promptmq-store-" });
  #count = 0;

  next(): string {
    return `${this.#path}/${++this.#count}.db`;
  }

  /** Copies a database that may be in use, and returns the path of the copy. */
  copy(from: string): string {
    const to = this.next();
    for (const suffix of ["", "-wal"]) {
      try {
        Deno.copyFileSync(from + suffix, to + suffix);
      } catch (cause) {
        if (!(cause instanceof Deno.errors.NotFound)) throw cause;
      }
    }
    return to;
  }

  remove(): void {
    Deno.removeSync(this.#path, { recursive: true });
  }
}

/** Commits only what is synced. */
export const IMMEDIATE: CommitPolicy = {
  syncMode: "immediate",
  syncIntervalMs: 100,
  batchSyncSize: 10,
  forceFsync: false,
  noSync: false,
};

/** Compacts nothing. */
export const NEVER: CompactionPolicy = {
  maxMessageAgeMs: Infinity,
  maxWalBytes: Infinity,
  workers: 1,
  batchSize: 20,
};

/** Of the database; only what must be synced is. */
export const SETTINGS: SqliteSettings = {
  cacheSize: 1_000,
  tempStore: "MEMORY",
  mmapSize: 0,
  busyTimeoutMs: 0,
  synchronous: "OFF",
  journalMode: "WAL",
  foreignKeys: true,
};

/** Runs a test on a new store, and closes it and its successors. */
export function storeTest(title: string, options: RigOptions, run: (rig: StoreRig) => Promise<void> | void): void {
  Deno.test(title, async () => {
    const rig = await StoreRig.open(options);
    try {
      await run(rig);
    } finally {
      rig.close();
    }
  });
}

/** What is left out is as plain as can be. */
export interface MessageFields {
  readonly topic?: string;
  readonly payload?: string | Uint8Array<ArrayBuffer>;
  readonly qos?: QoS;
  readonly retain?: boolean;
}

/** A message of its own. */
export function messageOf({ topic = "t", payload = "payload", qos = 1, retain = false }: MessageFields = {}): Message {
  const name = ENCODER.encode(topic);
  const bytes = typeof payload === "string" ? ENCODER.encode(payload) : payload;
  const message = new Message();
  message.setTopic(Uint8Array.of(name.length >> 8, name.length & 0xff, ...name));
  message.setPayload(bytes, 0, bytes.length);
  message.qos = qos;
  message.retain = retain;
  return message;
}

/** The payload of a message of a store, as text. @throws StorageFailed when it cannot be read. */
export function payloadAt(store: { read(position: number, into: Message): boolean }, position: number): string {
  const message = new Message();
  if (!store.read(position, message)) {
    const detail = `the store gives nothing at ${position}`;
    throw new StorageFailed({ operation: "read", path: WAL, reason: "corrupt", detail });
  }
  return DECODER.decode(message.payloadBytes.subarray(message.payloadStart, message.payloadEnd));
}

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder();
