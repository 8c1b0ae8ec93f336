/**
 * The machine that the simulated broker runs on: disk, database files, time, and the process, which dies and starts again.
 *
 * The disk is a `FaultyDisk`; SQLite is real, in a temporary directory, and trusted with what it synced: a power cut
 * leaves the database as it is now, or as it was when its last synced transaction was done. A crash is an image of both,
 * taken between two operations, possibly in the middle of a turn, a step of the compactor or a start; whatever the old
 * process still does then is seen by nobody.
 */
import * as Effect from "effect/Effect";
import { makeAuthenticator } from "../../src/auth/identity/authenticator.ts";
import { askBy } from "../../src/auth/identity/questions.ts";
import { BrokerCore } from "../../src/broker/broker_core.ts";
import { Counters } from "../../src/metrics/counters.ts";
import type { SessionLimits } from "../../src/session/session_limits.ts";
import { Checkpoint } from "../../src/storage/checkpoint/checkpoint.ts";
import type { SqliteSettings } from "../../src/storage/checkpoint/sqlite_settings.ts";
import type { CompactionPolicy, CompactionStep } from "../../src/storage/compaction/compactor.ts";
import { asMessageStore as asStore } from "../../src/storage/durable_store.ts";
import type { CommitPolicy } from "../../src/storage/log/group_commit.ts";
import { LogBuffer } from "../../src/storage/log/log_buffer.ts";
import { BLOCK_HEADER_BYTES, readBlocks } from "../../src/storage/log/segment.ts";
import { listSegmentFiles } from "../../src/storage/log/segment_files.ts";
import type { StorageFailed } from "../../src/storage/model/errors.ts";
import { type OpenedStore, openStore } from "../../src/storage/open_store.ts";
import { ALL_PERMITTED } from "../../src/topics/permissions.ts";
import { TopicCache } from "../../src/topics/topic.ts";
import { makeGuards } from "../broker/guards.ts";
import { type CrashKind, FaultyDisk } from "../storage/disk/faulty_disk.ts";
import { HostClock } from "./host_clock.ts";
import { asMessageStore, Ledger, NotedStore } from "./ledger.ts";

/** What picks; the same answers give the same run. */
export interface Chance {
  below(limit: number): number;
}

/** How the broker is set up. */
export interface MachineSettings {
  readonly commitPolicy: CommitPolicy;
  readonly compactionPolicy: CompactionPolicy;
  readonly segmentBytes: number;
  readonly memoryBytes: number;
  readonly sqlite: Pick<SqliteSettings, "journalMode" | "synchronous">;
  readonly record: "acknowledged" | "required";
  readonly inflightMax: number;
  /** The wall clock is set now and then. */
  readonly isClockSet: boolean;
}

/** One life of the broker. */
export interface Process {
  readonly core: BrokerCore;
  readonly opened: OpenedStore;
  readonly checkpoint: Checkpoint;
  readonly counters: Counters;
}

/** What was found at a start. */
export interface Start {
  /** Everything below is there, and from here on something is missing. */
  readonly endLsn: number;
  /** Something is missing in the middle of the log. */
  readonly hasLosses: boolean;
}

/** Bytes of the log that are whole: `end` of the first stretch, and the records in it by block. */
export interface LogExtent {
  readonly endLsn: number;
  readonly blocks: readonly { readonly lsn: number; readonly endLsn: number; readonly records: number }[];
}

/** See the head of this file. */
export class Machine {
  /** Time that really passes, a restart taking none. */
  nowMs = START_MS;
  readonly hostClock = new HostClock(() => this.nowMs, () => this.isDead, WAL);
  disk: FaultyDisk;
  readonly ledger = new Ledger();
  process!: Process;
  /** Set when the process is dead although its code may still run. */
  isDead = false;
  /** The log told that it is over. */
  fatal: StorageFailed | undefined;
  /** A write or sync failed, and what was not safe then is not safe yet. */
  isPoisoned = false;
  /** Syncs that are to fail, which the device knows before anybody hears of it. */
  doomedSyncs = 0;
  /** The process died while it could not write, with packets on their way that speak of what is not written. */
  wasFailing = false;
  /** The last turn ended without everything being written. */
  #isBehind = false;
  readonly #settings: MachineSettings;
  readonly #chance: Chance;
  readonly #directory: string;
  #databases = 0;
  #turns: (() => void)[] = [];
  #timers: { readonly dueMs: number; readonly run: () => void }[] = [];
  #pass: Generator<CompactionStep> | undefined;
  /** Set by the last synced transaction. */
  #appliedLsn = 0;
  #armed: { readonly kind: CrashKind; operationsLeft: number } | undefined;
  #found: { readonly disk: FaultyDisk; readonly database: string; readonly kind: CrashKind } | undefined;
  #version = 0;
  #extents = new Map<string, LogExtent>();
  #clientIds = 0;

  constructor(settings: MachineSettings, chance: Chance, directory: string) {
    this.#settings = settings;
    this.#chance = chance;
    this.#directory = directory;
    this.disk = new FaultyDisk({ seed: 1 + chance.below(1_000_000) });
    this.disk.makeDirectory(WAL);
    this.disk.settle();
    Deno.mkdirSync(this.#database());
  }

  /** The wall clock of the host is set now and then. */
  get isClockSet(): boolean {
    return this.#settings.isClockSet;
  }

  // Life and death.

  /** Starts the process; it may die in doing so, which `isDead` says. */
  async start(): Promise<Start> {
    this.isDead = false;
    this.fatal = undefined;
    this.isPoisoned = false;
    this.doomedSyncs = 0;
    this.#turns = [];
    this.#timers = [];
    this.#pass = undefined;
    this.#extents.clear();
    this.#version++;
    this.#found = undefined;
    this.disk.onChange = () => this.#changed();
    const { record, segmentBytes, memoryBytes, commitPolicy, compactionPolicy } = this.#settings;
    const checkpoint = this.#openCheckpoint();
    const counters = new Counters();
    const { clock, foundTime } = this.hostClock.start(this.disk);
    let opened: OpenedStore;
    try {
      opened = openStore({
        disk: this.disk,
        directory: WAL,
        checkpoint,
        validation: "records",
        onCorruption: "quarantine",
        memoryBytesMax: memoryBytes,
        segmentBytes,
        commitPolicy,
        compactionPolicy,
        counters: counters.storage,
        clock: clock.nowMs,
        foundTime,
        later: (ms, run) => this.#later(ms, run),
        failures: {
          slowSync: () => {},
          outOfSpace: () => {},
          recovered: () => this.isPoisoned = false,
          poisoned: ({ operation }) => {
            this.isPoisoned = true;
            if (operation.startsWith("sync") && this.doomedSyncs > 0) this.doomedSyncs--;
          },
          fatal: (cause) => this.fatal = cause,
        },
        unreadable: (_position, cause) => {
          throw cause;
        },
      });
    } catch (failure) {
      checkpoint.close();
      throw failure;
    }
    await opened.makeSafe();
    this.hostClock.madeSafe();
    if (this.isClockSet) await this.hostClock.note(this.disk);
    opened.store.record = record;
    const { losses } = opened.report;
    // The one loss of nothing: a crash may find the moment at which one segment is gone and the next not begun.
    const missing = losses.filter(({ reason }) => reason !== NO_SEGMENT);
    const endLsn = missing.reduce((least, { firstLsn }) => Math.min(least, firstLsn), opened.log.endLsn);
    this.ledger.forgetFrom(endLsn);
    const store = new NotedStore(asStore(opened.store), this.ledger);
    this.process = { core: this.#core(asMessageStore(store), counters), opened, checkpoint, counters };
    return { endLsn, hasLosses: missing.length > 0 };
  }

  #core(store: ReturnType<typeof asMessageStore>, counters: Counters): BrokerCore {
    return new BrokerCore({
      store,
      counters,
      log: { level: 0, write: () => {}, limited: () => {} },
      limits: { ...LIMITS, inflightMax: this.#settings.inflightMax },
      authenticator: makeAuthenticator(() => "true", [], [], ASK),
      topics: new TopicCache(),
      authorizer: { permissionsOf: (_principal, heard) => ASK(ALL_PERMITTED, heard) },
      guards: makeGuards(),
      connectionsMax: () => 10_000,
      clock: this.hostClock.steady.nowMs,
      wallOffsetMs: () => this.hostClock.steady.offsetMs,
      defer: (end) => this.#turns.push(end),
      newClientId: () => `assigned-${++this.#clientIds}`,
    });
  }

  /** Lets the process die after so many more changes of the disk. */
  armCrash(kind: CrashKind, operations: number): void {
    this.#armed = { kind, operationsLeft: operations };
  }

  disarm(): void {
    this.#armed = undefined;
  }

  /**
   * The process dies now. After a failed sync the machine goes with it: the page cache shows bytes then that never reached
   * the device, and no later process can tell.
   */
  die(asked: CrashKind): void {
    if (this.isDead) return;
    const kind = this.isPoisoned || this.doomedSyncs > 0 || this.fatal !== undefined ? "power" : asked;
    this.isDead = true;
    this.wasFailing ||= this.#isBehind || (this.process?.opened.group.isFailing ?? false);
    this.#isBehind = false;
    this.#armed = undefined;
    const source = this.#databases;
    const target = ++this.#databases;
    Deno.mkdirSync(this.#database(target));
    const isOld = kind === "power" && this.#chance.below(2) === 0;
    copyDatabase(`${this.#database(source)}${isOld ? SYNCED : ""}`, this.#database(target));
    this.#found = { disk: this.disk.image(this.#chance, kind), database: this.#database(target), kind };
  }

  /** Clears up after a dead process, so that `start` finds what it left. Returns how it died. */
  async bury(): Promise<CrashKind> {
    const found = this.#found!;
    this.#pass?.return(undefined);
    this.disk.onChange = undefined;
    this.disk.crash(this.#chance, "kill");
    await settlePromises();
    closeQuietly(() => this.process?.opened.log.close());
    closeQuietly(() => this.process?.checkpoint.close());
    this.disk = found.disk;
    return found.kind;
  }

  /** Ends the process in an orderly way: everything is written, synced and closed. */
  async stop(): Promise<void> {
    const { opened, checkpoint } = this.process;
    this.disk.releaseSyncs();
    await opened.group.flush();
    opened.log.close();
    checkpoint.close();
  }

  // Time and turns.

  get hasTurns(): boolean {
    return this.#turns.length > 0;
  }

  /** Ends the turn under way, if there is one. */
  endTurns(): void {
    const turns = this.#turns;
    this.#turns = [];
    for (const end of turns) if (!this.isDead) end();
    const { log } = this.process.opened;
    if (turns.length > 0 && !this.isDead) this.#isBehind = log.writtenLsn < log.endLsn;
  }

  /** Moves time to the next timer, or to the end of the span; true when the span is not over. */
  tick(endMs: number): boolean {
    this.ledger.noteWritten(this.process.opened.log.writtenLsn, this.nowMs);
    const next = this.#timers.reduce((soonest, { dueMs }) => Math.min(soonest, dueMs), Infinity);
    this.nowMs = Math.min(endMs, Math.max(this.nowMs + 1, Math.min(next, this.nowMs + TICK_MS)));
    const due = this.#timers.filter(({ dueMs }) => dueMs <= this.nowMs);
    this.#timers = this.#timers.filter(({ dueMs }) => dueMs > this.nowMs);
    for (const { run } of due) if (!this.isDead) run();
    if (!this.isDead) this.process.core.wheel.advance(this.hostClock.steady.nowMs());
    if (!this.isDead) this.hostClock.look(this.disk);
    return this.nowMs < endMs;
  }

  /** Jumps over a long time. */
  jump(ms: number): void {
    this.nowMs += ms;
    this.tick(this.nowMs + 1);
  }

  #later(ms: number, run: () => void): () => void {
    const timer = { dueMs: this.nowMs + ms, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  // The compactor.

  /** Goes on with a pass of the compactor, or begins one; false when it is over. */
  compact(): boolean {
    const pass = this.#pass ??= this.process.opened.compactor.pass(this.hostClock.steady.nowMs());
    if (pass.next().done !== true) return true;
    this.#pass = undefined;
    return false;
  }

  /** Gives a pass up, as a failure would. */
  abandonPass(): void {
    this.#pass?.return(undefined);
    this.#pass = undefined;
  }

  // What is safe.

  /** The log as a power cut would leave it at worst. */
  get safeLog(): LogExtent {
    return this.#extent("safe", () => this.disk.image(NOTHING_SURVIVES, "power"));
  }

  /** The log as a killed process would leave it. */
  get writtenLog(): LogExtent {
    return this.#extent("written", () => this.disk);
  }

  #extent(name: string, image: () => FaultyDisk): LogExtent {
    let extent = this.#extents.get(name);
    if (extent === undefined) {
      extent = extentOf(image(), this.#appliedLsn);
      this.#extents.set(name, extent);
    }
    return extent;
  }

  #changed(): void {
    this.#version++;
    this.#extents.clear();
    const armed = this.#armed;
    if (armed !== undefined && --armed.operationsLeft <= 0) this.die(armed.kind);
  }

  #database(number = this.#databases): string {
    return `${this.#directory}/${number}`;
  }

  #openCheckpoint(): Checkpoint {
    const database = this.#database();
    const checkpoint = Checkpoint.open(`${database}/promptmq.db`, { ...SQLITE, ...this.#settings.sqlite });
    const synced = `${database}${SYNCED}`;
    Deno.mkdirSync(synced, { recursive: true });
    copyDatabase(database, synced);
    this.#appliedLsn = checkpoint.load().appliedLsn;
    const apply = checkpoint.apply.bind(checkpoint);
    checkpoint.apply = (change, progress, appliedLsn, nextSession) => {
      apply(change, progress, appliedLsn, nextSession);
      if (this.isDead) return;
      this.#appliedLsn = appliedLsn;
      this.#extents.clear();
      copyDatabase(database, synced);
    };
    return checkpoint;
  }
}

/** Lets every promise that can go on do so. */
export async function settlePromises(): Promise<void> {
  for (let hop = 0; hop < PROMISE_HOPS; hop++) await undefined;
}

function extentOf(disk: FaultyDisk, appliedLsn: number): LogExtent {
  const blocks: { lsn: number; endLsn: number; records: number }[] = [];
  if (disk.exists(WAL)) {
    for (const { path, firstLsn } of listSegmentFiles(disk, WAL)) {
      const bytes = disk.contents(path);
      const buffer = new LogBuffer((bytes.length + 7) & ~7);
      buffer.bytes.set(bytes);
      for (const block of readBlocks(buffer, bytes.length, firstLsn, "checksum")) {
        if (block.kind === "damage") continue;
        blocks.push({ lsn: block.lsn, endLsn: block.lsn + block.end - block.start, records: block.records });
      }
    }
  }
  blocks.sort((a, b) => a.lsn - b.lsn);
  let endLsn = appliedLsn;
  for (const block of blocks) if (block.lsn <= endLsn) endLsn = Math.max(endLsn, block.endLsn);
  // After a failure some stand in two segments.
  return { endLsn, blocks: blocks.filter(({ lsn }, index) => lsn !== blocks[index - 1]?.lsn) };
}

/** Without the index in shared memory, which SQLite makes anew. */
function copyDatabase(from: string, to: string): void {
  for (const { name } of Deno.readDirSync(to)) Deno.removeSync(`${to}/${name}`);
  for (const { name } of Deno.readDirSync(from)) {
    if (!name.endsWith("-shm")) Deno.copyFileSync(`${from}/${name}`, `${to}/${name}`);
  }
}

/** A dead process may have broken anything of its own. */
function closeQuietly(close: () => void): void {
  try {
    close();
  } catch (_) {
    return;
  }
}

/** A record stands behind the header of its block. */
export const RECORD_OFFSET = BLOCK_HEADER_BYTES;
const NOTHING_SURVIVES: Chance = { below: () => 0 };
const WAL = "/data/wal";
const SYNCED = "-synced";
const NO_SEGMENT = "the log was in use before, and there is no segment of it";
const START_MS = 1_700_000_000_000;
const TICK_MS = 100;
const PROMISE_HOPS = 48;
const SQLITE: SqliteSettings = {
  cacheSize: -2_000,
  tempStore: "MEMORY",
  mmapSize: 0,
  busyTimeoutMs: 5_000,
  synchronous: "NORMAL",
  journalMode: "WAL",
  foreignKeys: true,
};
const LIMITS: SessionLimits = {
  packetBytesMax: 1_048_576,
  qosMax: 2,
  isRetainAvailable: true,
  isWildcardAvailable: true,
  isSharedAvailable: true,
  inflightMax: 20,
  receiveMaximum: 1_024,
  topicAliasMax: 65_535,
  queuedMax: 100_000,
  queuedBytesMax: 0,
  queueFull: "drop-oldest",
  outboundBytesMax: 16_777_216,
  sessionExpirySecondsMax: 0,
  messageExpirySecondsMax: 0,
  keepAliveSecondsMax: 0,
  clientIdBytesMax: 65_535,
  subscriptionsMax: 0,
  isRecheckedOnDeliver: false,
  inflightBytesMax: 0,
};

const ASK = askBy(Effect.runFork);
