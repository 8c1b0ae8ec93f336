/**
 * The compactor: keeps the log small. What is still needed of its oldest segments moves to SQLite, then they go.
 *
 * Segments go strictly oldest first, so the log is always one piece; what stands in SQLite is the state as of
 * `applied LSN`, which is where the log starts. Size first: while all segments together are larger than the bound;
 * then age: what was last written longer ago than the bound; and whatever nobody needs any more. Messages that are owed
 * or retained are kept in SQLite for as long as they are.
 *
 * A pass is a generator: each step is short, and the broker works between steps. The steps, and what a crash leaves:
 *
 *   collect   reads and checks the segments                               nothing happened
 *   walk      asks the broker what it still owes of them                  nothing happened
 *   copy      messages and who is owed them, in transactions              rows at or above applied LSN: discarded at
 *                                                                         the next start, the segments still count
 *   progress  of messages in SQLite, in transactions                      given again by the next pass or start
 *   apply     changes and applied LSN, in one synced transaction          the segments are below applied LSN
 *   remove    the files                                                   leftovers are removed at the next start
 *
 * Nothing goes that was not read: damage that memory cannot heal and no start has told of ends compaction at that segment,
 * until a start has. What it has told of is passed over, a copy is kept of it.
 *
 * While a pass works, messages may change hands between Sessions that were walked and Sessions that were not: what is
 * retained meanwhile is noted (`noteRetained`) and walked again in one step.
 */
import type { StorageCounters } from "../../metrics/storage_counters.ts";
import type { Archive } from "../checkpoint/archive.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { ArchivedStep, OwedRow } from "../checkpoint/checkpoint_rows.ts";
import type { Disk } from "../disk/disk.ts";
import type { Segment } from "../log/segment_writer.ts";
import type { WriteAheadLog } from "../log/write_ahead_log.ts";
import { emptyState, type OwedWalk } from "../model/durable_state.ts";
import type { StorageFailed } from "../model/errors.ts";
import type { Position, SessionNumber } from "../model/stored.ts";
import { CompactionScan, type Healed, missingOf } from "./compaction_scan.ts";

/** The options that bound the log; may change at any time. */
export interface CompactionPolicy {
  maxMessageAgeMs: number;
  maxWalBytes: number;
  /** Segments that are moved side by side, in one synced transaction. */
  workers: number;
  /** Rows of one transaction. */
  batchSize: number;
}

/** What a step says: there is more to do, or `waits` when that can only be done later. */
export type CompactionStep = "waits" | void;

/** What the compactor works on. */
export interface CompactorParts {
  readonly disk: Disk;
  readonly log: WriteAheadLog;
  readonly checkpoint: Checkpoint;
  readonly archive: Archive;
  readonly counters: StorageCounters;
  readonly policy: CompactionPolicy;
  readonly nextSession: () => number;
  /** Asks for everything appended so far to be made safe. */
  readonly askForSync: () => void;
}

/** See the head of this file. */
export class Compactor {
  /** Set when the broker is there; until then nothing is compacted. */
  owedWalk: OwedWalk | undefined = undefined;
  /** Set while the disk is full: then also the segment that is written to is ended, so that it can go. */
  isSpaceShort = false;
  /** Told of damage in a segment that memory made good. */
  healed: Healed = () => {};
  readonly #parts: CompactorParts;
  /** Stretches of SQLite's messages, ascending. */
  readonly #ranges: ArchivedRange[];
  /** Positions retained while a pass walks, and the stretch it walks. */
  readonly #noted = new Set<Position>();
  #notedFirst = Infinity;
  #notedEnd = -Infinity;
  /** True when a pass that was abandoned may have left rows that no `apply` followed. */
  #hasLeftovers = false;
  /** Set for good when a segment is damaged in a way that no start has told of: nothing from there on goes. */
  #damage: StorageFailed | undefined = undefined;

  /** @param archived Everything that is in SQLite at the start, ascending. */
  constructor(parts: CompactorParts, archived: readonly ArchivedRange[]) {
    this.#parts = parts;
    this.#ranges = [...archived];
  }

  /** To be told of every reference taken to a message that left memory. */
  noteRetained(position: Position): void {
    if (position >= this.#notedFirst && position < this.#notedEnd) this.#noted.add(position);
  }

  /** True when the log grows faster than it is compacted. */
  get isFarBehind(): boolean {
    return this.#parts.log.fileBytes > this.#parts.policy.maxWalBytes * FAR_BEHIND_RATIO;
  }

  /** True when a pass would move segments because of their size. */
  get isOverSize(): boolean {
    return this.#parts.log.fileBytes > this.#parts.policy.maxWalBytes;
  }

  /** One pass; safe to abandon between steps. @throws StorageFailed also for damage, once all else is done. */
  *pass(nowMs: number): Generator<CompactionStep> {
    const { owedWalk } = this;
    if (owedWalk === undefined) return;
    const { log, checkpoint, archive } = this.#parts;
    // Of a pass that was abandoned, or of segments that are held: files that are moved, and rows that may not be true any
    // more.
    log.removeSegments(archive.endLsn);
    if (this.#hasLeftovers) checkpoint.discardFrom(archive.endLsn);
    this.#hasLeftovers = false;
    for (let batch = this.#due(nowMs); batch.length > 0; batch = this.#due(nowMs)) {
      const isMoved = yield* this.#move(batch, owedWalk);
      if (this.#damage !== undefined) break;
      if (!isMoved) return;
      this.#parts.counters.compactionRuns++;
    }
    yield* this.#sweep(owedWalk);
    if (this.#damage !== undefined) throw this.#damage;
  }

  /** The next segments to move together, oldest first. */
  #due(nowMs: number): Segment[] {
    if (this.#damage !== undefined) return [];
    const { log, policy } = this.#parts;
    const oldest = nowMs - policy.maxMessageAgeMs;
    const last = log.segments.at(-1);
    if (last !== undefined && (last.lastWrittenMs < oldest || this.isSpaceShort)) log.endSegment();
    // What is held is not moved either: the log is one piece, and the oldest goes first.
    const { heldLsn } = log.deletionGate;
    let excess = log.fileBytes - policy.maxWalBytes;
    const due: Segment[] = [];
    let busy = 0;
    let busyBytes = 0;
    for (const segment of log.sealedSegments) {
      if (segment.endLsn > Math.min(log.safeLsn, heldLsn)) break;
      const isNeeded = !log.references.isFree(segment.firstLsn, segment.endLsn);
      const isDue = excess > 0 || segment.lastWrittenMs < oldest || !isNeeded;
      if (!isDue && !segment.isContinuation) break;
      const isEmpty = this.#isEmpty(segment);
      const bytes = segment.endLsn - segment.firstLsn;
      // Empty ones cost nothing, so any number of them goes with one transaction; and so do many small ones.
      const isEnough = busy >= policy.workers && busyBytes + bytes > policy.workers * BATCH_BYTES;
      if (!isEmpty && isEnough && !segment.isContinuation) break;
      if (!isEmpty) {
        busy++;
        busyBytes += bytes;
      }
      due.push(segment);
      excess -= bytes;
    }
    return this.#withoutTornContinuation(due);
  }

  /** A continuation goes with the segment before it, so one that stays keeps that one. */
  #withoutTornContinuation(due: Segment[]): Segment[] {
    const { segments } = this.#parts.log;
    while (due.length > 0 && segments[due.length]?.isContinuation === true) due.pop();
    return due;
  }

  #isEmpty(segment: Segment): boolean {
    return !segment.hasState && this.#parts.log.references.isFree(segment.firstLsn, segment.endLsn);
  }

  /** Returns false when it had to be given up for now. */
  *#move(batch: readonly Segment[], owedWalk: OwedWalk): Generator<CompactionStep, boolean> {
    const { disk, log, checkpoint, archive, counters, nextSession, policy } = this.#parts;
    const change = emptyState();
    const progress: ArchivedStep[] = [];
    const scans: CompactionScan[] = [];
    for (const segment of batch) {
      if (this.#isEmpty(segment)) continue;
      const scan = new CompactionScan(segment);
      yield* scan.load(disk);
      this.#damage = yield* scan.verify(log.memory, this.healed);
      if (this.#damage !== undefined) return false;
      yield* scan.collect(change, progress, archive.endLsn);
      scans.push(scan);
    }
    const first = batch[0]!.firstLsn;
    const end = batch.at(-1)!.endLsn;
    const needed = new Set<Position>();
    for (const position of change.retained.values()) if (position !== null) needed.add(position);
    const rows = new Map<Position, OwedRow[]>();
    // Without references, too: a PUBREL is owed when its message is not any more.
    if (scans.length > 0) yield* this.#walk(owedWalk, first, end, needed, rows);
    const walkedLsn = scans.length > 0 ? log.endLsn : 0;
    let copied = 0;
    const pace = new Pace(policy.batchSize, checkpoint);
    this.#hasLeftovers = true;
    try {
      for (const scan of scans) {
        for (const messages of scan.messages(needed, ROWS_PER_STEP)) {
          const owed = messages.flatMap(({ position }) => rows.get(position) ?? []);
          if (messages.length > 0) {
            pace.add(messages.length + owed.length, () => checkpoint.addMessages(messages, owed));
          }
          for (const { position } of messages) needed.delete(position);
          copied += messages.length;
          yield;
        }
      }
      this.#damage = missingOf(needed, scans);
      if (this.#damage !== undefined) return false;
      for (let from = 0; from < progress.length; from += ROWS_PER_STEP) {
        const steps = progress.slice(from, from + ROWS_PER_STEP);
        pace.add(steps.length, () => checkpoint.applyAhead(steps));
        yield;
      }
      pace.finish();
    } finally {
      pace.abandon();
    }
    // The rows say what memory said, progress included: SQLite must not know more than the log does after a power cut.
    if (!(yield* this.#untilSafe(walkedLsn))) return false;
    checkpoint.apply(change, [], end, nextSession());
    archive.endLsn = end;
    this.#hasLeftovers = false;
    if (copied > 0) this.#ranges.push({ firstLsn: first, endLsn: end, rows: copied });
    let records = 0;
    for (const segment of batch) records += segment.records;
    counters.compactionRemovedRecords += Math.max(0, records - copied);
    yield;
    if (log.segments.length === batch.length) log.keepPlace();
    for (const { path, endLsn } of batch) {
      // Held since the batch was chosen: a later pass removes it.
      if (!log.deletionGate.letThrough(endLsn)) return false;
      yield* emptyFile(disk, path);
    }
    counters.compactionReclaimedBytes += log.removeSegments(end);
    yield;
    return true;
  }

  /** Waits until everything below an LSN is safe; false when that takes too long, on a full disk for one. */
  *#untilSafe(lsn: number): Generator<CompactionStep, boolean> {
    const { log, askForSync } = this.#parts;
    if (log.safeLsn < lsn) askForSync();
    for (let waits = 0; log.safeLsn < lsn; waits++) {
      if (waits === WAITS_MAX) return false;
      yield "waits";
    }
    return true;
  }

  /** Asks what is owed from `first` to below `end`. */
  *#walk(
    owedWalk: OwedWalk,
    first: number,
    end: number,
    needed: Set<Position>,
    rows: Map<Position, OwedRow[]>,
  ): Generator<void> {
    const visit = (session: SessionNumber, owed: OwedRow["owed"]) => {
      needed.add(owed.position);
      // Held by a Session that is not recorded: to be read, but nobody's after a start.
      if (session === 0 && owed.group === undefined) return;
      const row = { session, owed };
      const known = rows.get(owed.position);
      if (known === undefined) rows.set(owed.position, [row]);
      else known.push(row);
    };
    this.#notedFirst = first;
    this.#notedEnd = end;
    this.#noted.clear();
    try {
      for (const _ of owedWalk.walkOwed(first, end, visit)) yield;
      if (this.#noted.size === 0) return;
      // In one step this time, so that nothing can change hands unseen.
      for (const position of this.#noted) rows.delete(position);
      const again = (session: SessionNumber, owed: OwedRow["owed"]) => {
        if (this.#noted.has(owed.position)) visit(session, owed);
      };
      for (const _ of owedWalk.walkOwed(first, end, again));
    } finally {
      this.#notedFirst = Infinity;
      this.#notedEnd = -Infinity;
    }
  }

  /** Removes messages from SQLite that nobody needs any more. */
  *#sweep(owedWalk: OwedWalk): Generator<void> {
    const { log, checkpoint } = this.#parts;
    for (let index = 0; index < this.#ranges.length;) {
      const range = this.#ranges[index]!;
      const { firstLsn, endLsn } = range;
      if (log.references.isFree(firstLsn, endLsn)) {
        // The log may know better what is retained, but need not be synced yet.
        const kept = new Set<Position>(checkpoint.retainedPositions(firstLsn, endLsn));
        if (kept.size === 0) {
          checkpoint.removeRange(firstLsn, endLsn);
          this.#ranges.splice(index, 1);
          yield;
          continue;
        }
        if (kept.size < range.rows) {
          range.rows -= checkpoint.removeAllBut(firstLsn, endLsn, kept);
          yield;
        }
      } else if (log.references.count(firstLsn, endLsn) * SPARSE_RATIO < range.rows) {
        const needed = new Set<Position>(checkpoint.retainedPositions(firstLsn, endLsn));
        yield* this.#walk(owedWalk, firstLsn, endLsn, needed, new Map<Position, OwedRow[]>());
        range.rows -= checkpoint.removeAllBut(firstLsn, endLsn, needed);
        yield;
      }
      index++;
    }
  }
}

/** A stretch of SQLite's messages that is looked at as one. */
export interface ArchivedRange {
  readonly firstLsn: number;
  readonly endLsn: number;
  rows: number;
}

/** Keeps transactions at their size, over several steps. */
class Pace {
  readonly #rowsMax: number;
  readonly #checkpoint: Checkpoint;
  #rows = 0;

  constructor(rowsMax: number, checkpoint: Checkpoint) {
    this.#rowsMax = rowsMax;
    this.#checkpoint = checkpoint;
  }

  add(rows: number, write: () => void): void {
    if (this.#rows === 0) this.#checkpoint.begin();
    this.#rows += rows;
    write();
    if (this.#rows >= this.#rowsMax) this.finish();
  }

  finish(): void {
    if (this.#rows > 0) this.#checkpoint.commit();
    this.#rows = 0;
  }

  /** Takes back what was not finished; nothing after `finish`. */
  abandon(): void {
    if (this.#rows > 0) this.#checkpoint.rollback();
    this.#rows = 0;
  }
}

/** Gives the blocks of a file back piece by piece: removing it at once would keep everybody waiting. */
function* emptyFile(disk: Disk, path: string): Generator<void> {
  const file = disk.open(path, "write");
  try {
    for (let size = file.size(); size > 0;) {
      size = Math.max(0, size - PIECE_BYTES);
      file.truncate(size);
      yield;
    }
  } finally {
    file.close();
  }
}

/** The stretches of messages in SQLite. @param archived Their positions, ascending. */
export function rangesOf(archived: Float64Array): ArchivedRange[] {
  const ranges: ArchivedRange[] = [];
  for (let index = 0; index < archived.length;) {
    const firstLsn = archived[index]!;
    let last = index;
    while (last + 1 < archived.length && archived[last + 1]! < firstLsn + RANGE_BYTES) last++;
    ranges.push({ firstLsn, endLsn: archived[last]! + 1, rows: last - index + 1 });
    index = last + 1;
  }
  return ranges;
}

/** Bytes of segments that one worker moves in one transaction, at least one segment. */
const BATCH_BYTES = 4_194_304;
/** Steps that a move waits for a sync before it is given up for now; a step that waits takes a millisecond. */
const WAITS_MAX = 2_000;
/** Bytes that a file is cut by in one step. */
const PIECE_BYTES = 131_072;
/** Messages copied in one step. */
const ROWS_PER_STEP = 50;
/** A stretch is swept when fewer than one of so many of its messages is needed. */
const SPARSE_RATIO = 2;
/** The log is far too large at so many times its bound. */
const FAR_BEHIND_RATIO = 4;
/** Positions of a stretch at the start, when it is not known how they came. */
const RANGE_BYTES = 16_777_216;
