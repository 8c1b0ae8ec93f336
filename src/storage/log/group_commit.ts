/**
 * When the log is written, synced and taken for committed: the durability contract.
 *
 *   sync-mode    a record is committed when                         fdatasync
 *   immediate    the sync that covers it is done                    one after the other while promises wait
 *   batch        it is written, while no more than                  after batch-sync-size records, or sync-interval
 *                batch-sync-size records are not synced
 *   periodic     it is written, while nothing unsynced              every sync-interval
 *                is older than sync-interval
 *
 * `force-fsync` makes batch and periodic commit like immediate; otherwise `wal-no-sync` commits what is written and
 * never syncs. Every turn that appended something is written at its end; one sync is under way at a time, and
 * whatever was written meanwhile is covered by the next. The next one starts before the waiters of the last are told,
 * so that the device works while they are served.
 *
 * Failures:
 *
 *   no space        nothing is committed; the same bytes are tried again every second, new messages are refused
 *   anything else   the files are given up, never retried; what is not safe is written to a fresh segment and synced,
 *                   once; when that fails too, it is over (`fatal`), but for want of space: then every second. Until it
 *                   is written a killed process leaves the old files, see `segment_replacement.ts`
 */
import type { StorageCounters } from "../../metrics/storage_counters.ts";
import { StorageFailed } from "../model/errors.ts";
import { CommitListeners } from "./commit_listeners.ts";
import type { WriteAheadLog } from "./write_ahead_log.ts";

/** The options that decide; may change at any time. */
export interface CommitPolicy {
  syncMode: "immediate" | "batch" | "periodic";
  syncIntervalMs: number;
  batchSyncSize: number;
  forceFsync: boolean;
  noSync: boolean;
}

/** What the group commit is given, and whom it tells. */
export interface CommitSurroundings {
  readonly policy: CommitPolicy;
  readonly counters: StorageCounters;
  /** Milliseconds since the epoch; may have fractions. */
  readonly clock: () => number;
  /** Runs something later; returns how to prevent it. */
  readonly later: (ms: number, run: () => void) => () => void;
  /** A sync took so long that an operator should know. */
  readonly slowSync: (milliseconds: number) => void;
  /** A write found no space; tried again until `recovered`. */
  readonly outOfSpace: (cause: StorageFailed) => void;
  /** What was out of space is written, or what failed is safe in a fresh segment. */
  readonly recovered: () => void;
  /** A write or sync failed; what is not safe goes to a fresh segment. */
  readonly poisoned: (cause: StorageFailed) => void;
  /** It failed again: nothing can be committed any more. */
  readonly fatal: (cause: StorageFailed) => void;
}

/** See the head of this file. */
export class GroupCommit {
  /** Everything at or below this position is committed. */
  committed: number;
  /** Set by whoever appends something that somebody waits for. */
  hasPromise = false;
  /** Hear of everything that is committed. */
  readonly listeners = new CommitListeners();
  readonly #log: WriteAheadLog;
  readonly #with: CommitSurroundings;
  /**
   * `full`: a write is tried again later. `failed`: a restart waits for the sync under way, or for space.
   * `restarting`: the sync of the fresh segment is under way. `dead`: nothing is done any more.
   */
  #state: "working" | "full" | "failed" | "restarting" | "dead" = "working";
  #isSyncing = false;
  /** Records written, and those among them that a finished sync, or the one under way, covers. */
  #writtenRecords = 0;
  #coveredRecords = 0;
  #syncedRecords = 0;
  /** When the oldest record was written that no finished sync covers; 0 = there is none. */
  #oldestSyncingMs = 0;
  #oldestUncoveredMs = 0;
  /** Of the sync of an interval. */
  #cancelTimer: (() => void) | undefined = undefined;
  /** Of the next try to write, while there is no space. */
  #cancelRetry: (() => void) | undefined = undefined;
  /** Run when no sync is under way. */
  #afterSyncs: (() => void)[] = [];

  constructor(log: WriteAheadLog, surroundings: CommitSurroundings) {
    this.#log = log;
    this.#with = surroundings;
    this.committed = log.endLsn - 1;
  }

  /** True while nothing new should be promised: no space, or a failure that is not overcome yet. */
  get isFailing(): boolean {
    return this.#state !== "working";
  }

  /** True when only what is synced is committed. */
  get waitsForSync(): boolean {
    const { syncMode, forceFsync, noSync } = this.#with.policy;
    return forceFsync || (syncMode === "immediate" && !noSync);
  }

  /** Bytes that are acknowledged or waiting and would be lost with the power. */
  get unsyncedBytes(): number {
    return this.#log.writtenLsn - this.#log.syncedLsn;
  }

  /** How much committed traffic a power cut would take now, in seconds; 0 when every commit is synced. */
  get lossWindowSeconds(): number {
    const oldestMs = this.#oldestMs;
    if (oldestMs === 0 || this.committed < this.#log.syncedLsn) return 0;
    return Math.max(0, this.#with.clock() - oldestMs) / 1000;
  }

  /** Writes what was appended, commits what the policy allows at once, and starts a sync when one is due. */
  commit(): void {
    if (this.#state !== "working" || !this.#write()) return;
    this.#advance();
  }

  /** Asks for everything appended so far to be synced, as soon as the policy has it. */
  askForSync(): void {
    this.hasPromise = true;
    this.commit();
  }

  /** Applies a change of the policy to what is under way. */
  policyChanged(): void {
    if (this.#state !== "working") return;
    // What was committed by another policy may have to be safe sooner by this one.
    this.hasPromise = true;
    this.#stopTimer();
    this.#advance();
  }

  /** Makes everything appended safe, if that is possible; for the end. */
  async flush(): Promise<void> {
    for (let round = 0; round < FLUSH_ROUNDS_MAX; round++) {
      await this.#idle();
      if (this.#state !== "working" || !this.#write()) break;
      if (this.#log.safeLsn === this.#log.endLsn && this.#oldestMs === 0) break;
      if (this.#with.policy.noSync && !this.#with.policy.forceFsync) break;
      this.#startSync();
    }
    await this.#idle();
    this.#stopTimer();
    this.#cancelRetry?.();
    this.#state = "dead";
  }

  get #oldestMs(): number {
    return this.#oldestSyncingMs === 0 ? this.#oldestUncoveredMs : this.#oldestSyncingMs;
  }

  /** Returns false when it failed; then the failure is being treated. */
  #write(): boolean {
    const log = this.#log;
    if (log.writtenLsn === log.endLsn) return true;
    const { clock, counters } = this.#with;
    const startedMs = clock();
    const bytesBefore = log.writtenBytes;
    let records: number;
    try {
      records = log.write();
    } catch (cause) {
      this.#writeFailed(cause);
      return false;
    }
    const nowMs = clock();
    counters.walWriteLatencyMicroseconds.observe((nowMs - startedMs) * 1000);
    counters.walWrittenBytes += log.writtenBytes - bytesBefore;
    counters.walGroupRecords.observe(records);
    this.#writtenRecords += records;
    if (this.#oldestUncoveredMs === 0) this.#oldestUncoveredMs = nowMs;
    return true;
  }

  /** Commits what the policy allows, and starts a sync or a timer for the rest. */
  #advance(): void {
    const log = this.#log;
    const { policy } = this.#with;
    if (policy.noSync && !policy.forceFsync) {
      log.skipSync();
      log.markSafe(log.writtenLsn);
      this.#commitUpTo(log.writtenLsn);
      return;
    }
    if (this.#oldestMs === 0) {
      this.#commitUpTo(log.writtenLsn);
      return;
    }
    const mayCommit = this.#mayCommitWritten();
    const isDue = mayCommit ? this.#isBatchFull() : this.hasPromise;
    if (isDue) {
      if (!this.#isSyncing) this.#startSync();
    } else if (this.#oldestUncoveredMs !== 0 && this.#cancelTimer === undefined) {
      this.#startTimer();
    }
    if (mayCommit) {
      this.hasPromise = false;
      this.#commitUpTo(log.writtenLsn);
    }
  }

  #mayCommitWritten(): boolean {
    if (this.waitsForSync) return false;
    const { policy, clock } = this.#with;
    if (policy.syncMode === "batch") return this.#writtenRecords - this.#syncedRecords <= policy.batchSyncSize;
    return clock() - this.#oldestMs < policy.syncIntervalMs;
  }

  #isBatchFull(): boolean {
    const { policy } = this.#with;
    return policy.syncMode === "batch" && this.#writtenRecords - this.#coveredRecords >= policy.batchSyncSize;
  }

  #commitUpTo(lsn: number): void {
    if (lsn - 1 <= this.committed) return;
    this.committed = lsn - 1;
    this.listeners.tell(this.committed);
  }

  /** A little before the interval is over, so that the sync is done when it is. */
  #startTimer(): void {
    const { policy, later, clock } = this.#with;
    const ageMs = clock() - this.#oldestUncoveredMs;
    this.#cancelTimer = later(Math.max(1, policy.syncIntervalMs * TIMER_SHARE - ageMs), () => {
      this.#cancelTimer = undefined;
      if (this.#state !== "working" || this.#oldestUncoveredMs === 0) return;
      if (!this.#isSyncing) this.#startSync();
    });
  }

  #stopTimer(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #startSync(): void {
    const { clock } = this.#with;
    const log = this.#log;
    this.#isSyncing = true;
    // A promise that is not written yet is not covered.
    if (log.writtenLsn === log.endLsn) this.hasPromise = false;
    this.#coveredRecords = this.#writtenRecords;
    this.#oldestSyncingMs = this.#oldestUncoveredMs;
    this.#oldestUncoveredMs = 0;
    this.#stopTimer();
    const startedMs = clock();
    log.sync().then((lsn) => this.#synced(lsn, startedMs), (cause) => this.#syncFailed(cause));
  }

  #synced(lsn: number, startedMs: number): void {
    const { clock, counters } = this.#with;
    const tookMs = clock() - startedMs;
    counters.walFsyncDurationSeconds.observe(tookMs / 1000);
    if (tookMs >= SLOW_SYNC_MS) this.#with.slowSync(tookMs);
    this.#isSyncing = false;
    this.#oldestSyncingMs = 0;
    this.#syncedRecords = this.#coveredRecords;
    this.#log.syncedLsn = lsn;
    this.#log.markSafe(lsn);
    if (this.#state === "restarting") {
      this.#state = "working";
      this.#with.recovered();
    }
    if (this.#state === "working" && this.#write()) {
      // First the next sync, then those who waited for this one.
      if (this.hasPromise && this.#oldestUncoveredMs !== 0 && !this.#mayCommitWritten()) this.#startSync();
    } else if (this.#state === "full") this.#syncWhileFull();
    try {
      this.#commitUpTo(lsn);
      if (this.#state === "working") this.#advance();
    } finally {
      // Whatever a waiter threw, the end of the broker waits for this.
      this.#tellIdle();
    }
  }

  #writeFailed(cause: unknown): void {
    const failure = asStorageFailed(cause, "append to");
    this.#with.counters.walWriteErrors++;
    if (failure.reason !== "no_space") return this.#restart(failure);
    if (this.#state !== "full") {
      this.#state = "full";
      this.#with.outOfSpace(failure);
    }
    this.#syncWhileFull();
    this.#cancelRetry?.();
    this.#cancelRetry = this.#with.later(RETRY_MS, () => {
      this.#cancelRetry = undefined;
      if (this.#state !== "full" || !this.#write()) return;
      this.#state = "working";
      this.#with.recovered();
      this.#advance();
    });
  }

  /** What was written before needs no space to be synced, and may have been committed. */
  #syncWhileFull(): void {
    if (!this.#isSyncing && this.#oldestUncoveredMs !== 0) this.#startSync();
  }

  #syncFailed(cause: unknown): void {
    this.#isSyncing = false;
    this.#with.counters.walWriteErrors++;
    this.#restart(asStorageFailed(cause, "sync"));
    this.#tellIdle();
  }

  /** Gives the files up and makes everything that is not safe safe in a fresh segment; once. */
  #restart(failure: StorageFailed): void {
    if (this.#state === "dead") return;
    if (this.#state === "restarting") return this.#die(failure);
    if (this.#state !== "failed") this.#with.poisoned(failure);
    this.#state = "failed";
    this.#stopTimer();
    this.#cancelRetry?.();
    // A sync under way speaks of a file that is given up; it goes on when that one ends, whatever its end is.
    if (this.#isSyncing) this.#afterSync(() => this.#writeAgain());
    else this.#writeAgain();
  }

  #writeAgain(): void {
    if (this.#state !== "failed") return;
    const log = this.#log;
    const records = log.unwrittenRecords;
    try {
      log.restart();
    } catch (cause) {
      const failure = asStorageFailed(cause, "write again to");
      if (!failure.isRetryable) return this.#die(failure);
      this.#cancelRetry = this.#with.later(RETRY_MS, () => this.#writeAgain());
      return;
    }
    this.#state = "restarting";
    this.#writtenRecords += records;
    if (this.#oldestUncoveredMs === 0) this.#oldestUncoveredMs = this.#oldestSyncingMs || this.#with.clock();
    this.#startSync();
  }

  #die(failure: StorageFailed): void {
    this.#state = "dead";
    this.#stopTimer();
    this.#with.fatal(failure);
  }

  #idle(): Promise<void> {
    return this.#isSyncing ? new Promise((resolve) => this.#afterSync(resolve)) : Promise.resolve();
  }

  #afterSync(run: () => void): void {
    this.#afterSyncs.push(run);
  }

  #tellIdle(): void {
    if (this.#isSyncing) return;
    const waiting = this.#afterSyncs;
    this.#afterSyncs = [];
    for (const run of waiting) run();
  }
}

function asStorageFailed(cause: unknown, operation: string): StorageFailed {
  if (cause instanceof StorageFailed) return cause;
  return new StorageFailed({ operation, path: "the log", reason: "io", detail: String(cause), cause });
}

/** The sync of an interval starts when this share of it is over. */
const TIMER_SHARE = 0.8;
const SLOW_SYNC_MS = 1_000;
/** Time between two tries to write when there was no space. */
const RETRY_MS = 1_000;
/** Syncs that the end waits for; each takes what the one before left. */
const FLUSH_ROUNDS_MAX = 16;
