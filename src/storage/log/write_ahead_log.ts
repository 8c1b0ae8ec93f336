/**
 * The log: builds blocks of records in memory, writes them to segments, and answers reads from memory or from disk.
 *
 * It knows where every byte is and nothing of when bytes are safe: `group_commit.ts` says when to write and sync, and
 * tells `safeLsn` what came of it. Plain and synchronous but for `sync`.
 *
 *   append…    puts a record into the open block of the current chunk; nothing leaves memory
 *   write      seals the open block and writes everything unwritten to the current segment
 *   sync       makes everything written safe: every file with unsynced bytes, and the directory of a new one
 *   restart    after a failure: writes everything that is not safe to a fresh segment
 *
 * A segment ends when it is large enough, always at the end of a turn (`write`): a route that was appended in this turn
 * is in the same segment as the messages that name it.
 */
import type { PacketId } from "../../protocol/distinct_number.ts";
import type { Message } from "../../protocol/message.ts";
import type { Disk } from "../disk/disk.ts";
import { StorageFailed } from "../model/errors.ts";
import type { GroupOrdinal, Position, SessionNumber } from "../model/stored.ts";
import { DeletionGate } from "./deletion_gate.ts";
import type { LogBuffer } from "./log_buffer.ts";
import { LogReader } from "./log_reader.ts";
import { MemoryBuffer } from "./memory_buffer.ts";
import {
  PROGRESS_BYTES,
  ProgressKind,
  publishBytes,
  RecordType,
  RELEASE_BYTES,
  textRecordBytes,
  writeProgress,
  writePublish,
  writeRelease,
  writeText,
} from "./record.ts";
import { ReferenceCounts } from "./reference_counts.ts";
import { BLOCK_HEADER_BYTES, sealBlock } from "./segment.ts";
import { type Segment, SegmentWriter } from "./segment_writer.ts";

/** What the log needs. */
export interface LogOptions {
  readonly disk: Disk;
  readonly directory: string;
  /** Sealed segments found at the start, oldest first. */
  readonly segments: readonly Segment[];
  /** Where the log goes on. Everything below is synced before anything is written. */
  readonly endLsn: number;
  readonly memoryBytesMax: number;
  readonly segmentBytes: number;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
}

/** Where a record stands in memory. */
export interface RecordPlace {
  buffer: LogBuffer;
  start: number;
}

/** See the head of this file. */
export class WriteAheadLog {
  /** Bytes at which a segment ends; may change at any time. */
  segmentBytes: number;
  readonly memory: MemoryBuffer;
  readonly references = new ReferenceCounts();
  readonly reader: LogReader;
  /** Who reads sealed segments holds them here. */
  readonly deletionGate = new DeletionGate();
  /** Everything below is in the hands of the operating system. */
  writtenLsn: number;
  /** Everything below is where it must be before its bytes may leave memory; moved by the group commit. */
  safeLsn: number;
  /** Everything below was synced, which every block says of itself; moved by the group commit. */
  syncedLsn: number;
  /** Records appended and not written. */
  unwrittenRecords = 0;
  /** LSN of the record appended last. */
  lastPosition: number;
  readonly #clock: () => number;
  readonly #writer: SegmentWriter;
  #routesValidFrom: number;
  /** Offset of the open block in the current chunk, or -1. */
  #blockStart = -1;
  #blockRecords = 0;
  /** True when a record that was not written yet says more than `Segment.hasState` allows. */
  #hasState = false;

  constructor(options: LogOptions) {
    this.#clock = options.clock;
    this.segmentBytes = options.segmentBytes;
    this.memory = new MemoryBuffer(options.memoryBytesMax, options.endLsn);
    this.writtenLsn =
      this.safeLsn =
      this.syncedLsn =
      this.#routesValidFrom =
        options.endLsn;
    this.lastPosition = options.endLsn - 1;
    this.#writer = new SegmentWriter(options.disk, options.directory, options.segments);
    this.reader = new LogReader(options.disk, (lsn) => this.#writer.segmentOf(lsn));
  }

  /** Oldest first. The last one may still grow. */
  get segments(): readonly Segment[] {
    return this.#writer.segments;
  }

  /** The segments that nothing is appended to any more, oldest first. */
  get sealedSegments(): readonly Segment[] {
    return this.#writer.sealed;
  }

  /** Bytes of all segments. */
  get fileBytes(): number {
    return this.#writer.fileBytes;
  }

  /** Bytes written to segments since the start, headers included. */
  get writtenBytes(): number {
    return this.#writer.writtenBytes;
  }

  /** Where the next block starts. */
  get endLsn(): number {
    return this.memory.current.endLsn;
  }

  /** Routes below are in an earlier segment than the next record. */
  get routesValidFrom(): number {
    return this.#routesValidFrom;
  }

  /** Appends a message, with one reference to it. */
  appendPublish(message: Message, publisher: SessionNumber, packetId: PacketId, route: Position): Position {
    const size = publishBytes(message);
    const start = this.#reserve(size);
    const chunk = this.memory.current;
    writePublish(chunk.buffer, start, size, message, publisher, packetId, route);
    const position = chunk.firstLsn + start;
    this.references.retain(position);
    if (message.retain || packetId !== 0) this.#hasState = true;
    return this.lastPosition = position;
  }

  appendProgress(
    kind: ProgressKind,
    session: SessionNumber,
    position: Position,
    packetId: PacketId,
    group: GroupOrdinal,
  ): void {
    const start = this.#reserve(PROGRESS_BYTES);
    const chunk = this.memory.current;
    writeProgress(chunk.buffer, start, kind, session, position, packetId, group);
    if (position < this.#routesValidFrom) {
      this.#hasState = true;
      if (kind === ProgressKind.RECEIVED) this.#noteReceived(position);
    } else if (kind === ProgressKind.RECEIVED) this.#hasState = true;
    this.lastPosition = chunk.firstLsn + start;
  }

  appendRelease(session: SessionNumber, packetId: PacketId): Position {
    const start = this.#reserve(RELEASE_BYTES);
    const chunk = this.memory.current;
    writeRelease(chunk.buffer, start, session, packetId);
    this.#hasState = true;
    return this.lastPosition = chunk.firstLsn + start;
  }

  /** Appends a ROUTE or CHANGE record. */
  appendText(type: number, text: Uint8Array): number {
    const start = this.#reserve(textRecordBytes(text.length));
    const chunk = this.memory.current;
    writeText(chunk.buffer, start, type, text);
    if (type === RecordType.CHANGE) this.#hasState = true;
    return this.lastPosition = chunk.firstLsn + start;
  }

  /**
   * Finds the PUBLISH record at a position of the log.
   *
   * @returns Its place in `into.buffer` at `into.start`, valid until the next call.
   */
  locate(position: Position, into: RecordPlace): void {
    const chunk = this.memory.find(position);
    if (chunk !== undefined) {
      into.buffer = chunk.buffer;
      into.start = position - chunk.firstLsn;
      return;
    }
    const { reader } = this;
    reader.find(position);
    into.buffer = reader.buffer;
    into.start = reader.start;
  }

  /** Lets go of memory that the page of a position no longer needs. */
  freed(position: Position): void {
    this.memory.trimAt(position, this.safeLsn, this.#isFree);
  }

  /** Notes that everything below is safe, and lets go of memory. */
  markSafe(lsn: number): void {
    this.safeLsn = lsn;
    this.memory.trim(lsn, this.#isFree);
  }

  /**
   * Writes everything appended so far; returns the records written.
   *
   * @throws StorageFailed; then nothing counts as written and the same call may be made again.
   */
  write(): number {
    this.#seal();
    const records = this.unwrittenRecords;
    if (this.writtenLsn === this.endLsn) return 0;
    const nowMs = this.#clock();
    const segment = this.#writer.open(this.writtenLsn, nowMs);
    this.memory.forEachFrom(this.writtenLsn, (chunk, start, end) => {
      this.#writer.write(chunk, start, end);
      // Moved piece by piece: after a failure the rest is written from here.
      this.writtenLsn = chunk.firstLsn + end;
    });
    segment.lastWrittenMs = nowMs;
    segment.records += records;
    segment.hasState ||= this.#hasState;
    this.#hasState = false;
    this.unwrittenRecords = 0;
    if (segment.endLsn - segment.firstLsn >= this.segmentBytes) this.#endSegment();
    return records;
  }

  /**
   * Makes everything written so far safe.
   *
   * @returns The LSN below which everything is safe. Fails with StorageFailed.
   */
  async sync(): Promise<number> {
    const target = this.writtenLsn;
    await this.#writer.sync();
    return target;
  }

  /** Takes everything written for synced without a sync (`storage.wal-no-sync`). */
  skipSync(): void {
    this.#writer.skipSync();
  }

  /**
   * After a failure: writes everything from `safeLsn` on to a fresh segment and gives up the files it takes the place of.
   *
   * @throws StorageFailed when that fails too; then they are still there, and it may be tried again.
   */
  restart(): void {
    this.#seal();
    const { memory, safeLsn } = this;
    const gone = this.#writer.replace(safeLsn, this.#clock(), (write) => memory.forEachFrom(safeLsn, write));
    for (const path of gone) this.reader.forget(path);
    this.writtenLsn = this.endLsn;
    this.#hasState = false;
    this.unwrittenRecords = 0;
    this.#endSegment();
  }

  /**
   * Removes the segments that end at or below an LSN, and their files, up to the first that is held; returns how many
   * bytes that gave back.
   */
  removeSegments(endLsn: number): number {
    const bytesBefore = this.fileBytes;
    for (const segment of this.sealedSegments.slice()) {
      if (segment.endLsn > endLsn || !this.deletionGate.letThrough(segment.endLsn)) break;
      if (this.segments.length === 1) this.keepPlace();
      this.reader.forget(segment.path);
      this.#writer.removeOldest();
    }
    return bytesBefore - this.fileBytes;
  }

  /** Ends the segment that is written to, so that it can be compacted, if everything appended is written. */
  endSegment(): void {
    const last = this.segments.at(-1);
    if (last === undefined || last.endLsn === last.firstLsn) return;
    if (this.writtenLsn === this.endLsn) this.#endSegment();
  }

  /** Begins a segment, if nothing is unwritten: a log that was used and has none would be taken for lost by a start. */
  keepPlace(): void {
    if (this.writtenLsn !== this.endLsn) return;
    try {
      this.#writer.open(this.endLsn, this.#clock());
    } catch (cause) {
      // What is the matter with the disk shows with the next write, if it matters then; space may be short until the
      // segments are gone for which this one stands.
      if (!(cause instanceof StorageFailed)) throw cause;
    }
  }

  close(): void {
    this.#writer.close();
    this.reader.close();
  }

  readonly #isFree = (first: number, end: number): boolean => this.references.isFree(first, end);

  /** Room for a record in the open block; returns its offset in the current chunk. */
  #reserve(size: number): number {
    let chunk = this.memory.current;
    const needed = this.#blockStart === -1 ? size + BLOCK_HEADER_BYTES : size;
    if (chunk.used + needed > chunk.buffer.bytes.length) {
      this.#seal();
      chunk = this.memory.advance(size + BLOCK_HEADER_BYTES);
    }
    if (this.#blockStart === -1) {
      this.#blockStart = chunk.used;
      chunk.used += BLOCK_HEADER_BYTES;
    }
    const start = chunk.used;
    chunk.used = start + size;
    this.#blockRecords++;
    this.unwrittenRecords++;
    return start;
  }

  /** A PUBREL is owed for a message of an earlier segment. */
  #noteReceived(position: Position): void {
    const segment = this.#writer.segmentOf(position);
    if (segment !== undefined) segment.hasState = true;
  }

  #seal(): void {
    const start = this.#blockStart;
    if (start === -1) return;
    const chunk = this.memory.current;
    const lsn = chunk.firstLsn + start;
    sealBlock(chunk.buffer, start, chunk.used, lsn, this.#blockRecords, this.#clock(), this.syncedLsn);
    this.#blockStart = -1;
    this.#blockRecords = 0;
  }

  #endSegment(): void {
    this.#writer.end();
    this.#routesValidFrom = this.endLsn;
  }
}
