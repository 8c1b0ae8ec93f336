/**
 * The segments of the log as files: which there are, writing to the last one, syncing, removing the oldest.
 *
 * A segment is made with the first bytes that are written to it. Files that have bytes which are not synced stay open
 * until they are, also when a later segment is written to.
 */
import type { Disk, DiskFile } from "../disk/disk.ts";
import { StorageFailed } from "../model/errors.ts";
import type { Chunk } from "./memory_buffer.ts";
import { type Damage, encodeSegmentHeader, SEGMENT_HEADER_BYTES, SegmentFlag, segmentName } from "./segment.ts";
import { placeFresh, unfinishedPath } from "./segment_replacement.ts";

/** One segment as the log knows it. */
export interface Segment {
  readonly firstLsn: number;
  /** LSN behind its last byte that counts. */
  endLsn: number;
  readonly path: string;
  readonly createdMs: number;
  lastWrittenMs: number;
  records: number;
  /** True when its messages may name routes of the segment before it, so that the two must go together. */
  readonly isContinuation: boolean;
  /**
   * False when it is known to hold nothing but messages that are not retained, and progress of them. Also true once one
   * of its messages was received (PUBREC): its PUBREL is owed, which no reference tells.
   */
  hasState: boolean;
  /** What of it a start has found to be no whole block, and told. */
  readonly damage?: readonly Pick<Damage, "lsn" | "endLsn">[];
}

/** Takes the bytes `chunk[start..end]` of the log. */
export type WriteChunk = (chunk: Chunk, start: number, end: number) => void;

/** See the head of this file. */
export class SegmentWriter {
  /** Bytes written, headers included. */
  writtenBytes = 0;
  readonly #disk: Disk;
  readonly #directory: string;
  /** Oldest first; the last one is written to while `#file` is open. */
  readonly #segments: Segment[];
  #file: DiskFile | undefined = undefined;
  /** Files with bytes that are not synced, oldest first. */
  #unsynced: DiskFile[] = [];
  /** Files of the sync that is under way. */
  #syncing: DiskFile[] = [];
  /** Paths of segments that were ended without a sync, oldest first. */
  readonly #skipped = new Set<string>();
  #isDirectorySynced = true;

  /** @param segments Sealed ones, oldest first. */
  constructor(disk: Disk, directory: string, segments: readonly Segment[]) {
    this.#disk = disk;
    this.#directory = directory;
    this.#segments = [...segments];
  }

  /** Oldest first. The last one may still grow. */
  get segments(): readonly Segment[] {
    return this.#segments;
  }

  /** The segments that nothing is written to any more, oldest first. */
  get sealed(): readonly Segment[] {
    return this.#file === undefined ? this.#segments : this.#segments.slice(0, -1);
  }

  /** Bytes of all files. */
  get fileBytes(): number {
    let bytes = 0;
    for (const segment of this.#segments) bytes += segment.endLsn - segment.firstLsn + SEGMENT_HEADER_BYTES;
    return bytes;
  }

  /**
   * The segment to write to; a new one starts at `firstLsn`.
   *
   * @throws StorageFailed when it cannot be made; may be tried again.
   */
  open(firstLsn: number, nowMs: number): Segment {
    if (this.#file !== undefined) return this.#segments.at(-1)!;
    const disk = this.#disk;
    const path = `${this.#directory}/${segmentName(firstLsn)}`;
    // Left by a creation that failed half way, or to keep the place; it never had a block that counts. Written over, not
    // removed or emptied first: a crash in between would leave a log without any segment, and its header may be all that
    // says how far time had come.
    const isLeft = disk.exists(path);
    const file = disk.open(path, isLeft ? "write" : "create");
    try {
      if (isLeft) file.truncate(SEGMENT_HEADER_BYTES);
      file.write(encodeSegmentHeader(firstLsn, nowMs), 0, SEGMENT_HEADER_BYTES, 0);
    } catch (cause) {
      file.close();
      this.#removeUnmade(path);
      throw cause;
    }
    this.writtenBytes += SEGMENT_HEADER_BYTES;
    this.#file = file;
    this.#isDirectorySynced = false;
    const segment = newSegment(path, firstLsn, nowMs, false);
    // One that was ended with nothing in it had the same file, which must not be removed in its name.
    if (this.#segments.at(-1)?.firstLsn === firstLsn) this.#segments.pop();
    this.#segments.push(segment);
    return segment;
  }

  /** The next try may be for another name, and half a header in the middle of the log looks like damage. */
  #removeUnmade(path: string): void {
    try {
      this.#disk.remove(path);
    } catch (failure) {
      // The failure to be heard of is the first.
      if (!(failure instanceof StorageFailed)) throw failure;
    }
  }

  /** Writes `chunk[start..end]` to the open segment, at its end. */
  write(chunk: Chunk, start: number, end: number): void {
    const file = this.#file!;
    const segment = this.#segments.at(-1)!;
    if (!this.#unsynced.includes(file)) this.#unsynced.push(file);
    const at = chunk.firstLsn + start - segment.firstLsn + SEGMENT_HEADER_BYTES;
    file.write(chunk.buffer.bytes, start, end, at);
    this.writtenBytes += end - start;
    segment.endLsn = chunk.firstLsn + end;
  }

  /** Ends the open segment; the next write starts a new one. */
  end(): void {
    const file = this.#file;
    this.#file = undefined;
    if (file !== undefined && !this.#unsynced.includes(file) && !this.#syncing.includes(file)) file.close();
  }

  /** Makes everything written so far safe. Fails with StorageFailed. */
  async sync(): Promise<void> {
    this.#syncing = this.#unsynced;
    this.#unsynced = [];
    if (this.#skipped.size > 0) await this.#syncSkipped();
    while (this.#syncing.length > 0) {
      const file = this.#syncing[0]!;
      await file.sync();
      this.#syncing.shift();
      if (file !== this.#file && !this.#unsynced.includes(file)) file.close();
    }
    if (this.#isDirectorySynced) return;
    this.#isDirectorySynced = true;
    await this.#disk.syncDirectory(this.#directory);
  }

  /** Lets everything written count as synced (`storage.wal-no-sync`), until a `sync` after all. */
  skipSync(): void {
    // The one that is written to stays: it costs nothing. What is synced at this moment is closed by who does that.
    const isKept = (file: DiskFile) => file === this.#file || this.#syncing.includes(file);
    for (const file of this.#unsynced) {
      if (isKept(file)) continue;
      file.close();
      this.#skipped.add(file.path);
    }
    this.#unsynced = this.#unsynced.filter(isKept);
  }

  /**
   * Gives up all open files after a failure, and what they hold from an LSN on, for a fresh segment that is ended; see
   * `segment_replacement.ts`.
   *
   * @param fill Writes everything from that LSN on.
   * @returns Paths of the segments that are no more; files of theirs got another name.
   * @throws StorageFailed; then nothing is lost, and it may be tried again.
   */
  replace(fromLsn: number, nowMs: number, fill: (write: WriteChunk) => void): readonly string[] {
    this.close();
    // An empty one would pass for sealed and safe, and be compacted under the name that the fresh one gets.
    if (this.#segments.at(-1)?.firstLsn === fromLsn && this.#segments.at(-1)!.endLsn === fromLsn) this.#segments.pop();
    const fresh = newSegment(`${this.#directory}/${segmentName(fromLsn)}`, fromLsn, nowMs, true);
    fresh.hasState = true;
    this.#writeFresh(fresh, fill);
    placeFresh(this.#disk, this.#directory, fromLsn);
    this.#isDirectorySynced = false;
    // Opened again by its name, by which `skipSync` remembers it.
    this.#unsynced.push(this.#disk.open(fresh.path, "write"));
    this.writtenBytes += fresh.endLsn - fromLsn + SEGMENT_HEADER_BYTES;
    const paths: string[] = [];
    while (this.#segments.length > 0 && this.#segments.at(-1)!.firstLsn >= fromLsn) {
      const { path } = this.#segments.pop()!;
      paths.push(path);
      this.#skipped.delete(path);
    }
    const last = this.#segments.at(-1);
    if (last !== undefined && last.endLsn > fromLsn) last.endLsn = fromLsn;
    this.#segments.push(fresh);
    return paths;
  }

  #writeFresh(fresh: Segment, fill: (write: WriteChunk) => void): void {
    const { firstLsn, createdMs } = fresh;
    const path = unfinishedPath(this.#directory, firstLsn);
    this.#disk.remove(path);
    const file = this.#disk.open(path, "create");
    try {
      file.write(encodeSegmentHeader(firstLsn, createdMs, SegmentFlag.CONTINUATION), 0, SEGMENT_HEADER_BYTES, 0);
      fill((chunk, start, end) => {
        file.write(chunk.buffer.bytes, start, end, chunk.firstLsn + start - firstLsn + SEGMENT_HEADER_BYTES);
        fresh.endLsn = chunk.firstLsn + end;
      });
    } catch (cause) {
      // Its space may be what others need who can give some back.
      this.#removeUnmade(path);
      throw cause;
    } finally {
      file.close();
    }
  }

  /** The segment that holds an LSN. */
  segmentOf(lsn: number): Segment | undefined {
    const segments = this.#segments;
    let low = 0;
    let high = segments.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (segments[middle]!.firstLsn <= lsn) low = middle + 1;
      else high = middle;
    }
    const segment = segments[low - 1];
    return segment !== undefined && lsn < segment.endLsn ? segment : undefined;
  }

  /** Removes the oldest segment and its file, which nothing may be written to any more. */
  removeOldest(): Segment {
    const segment = this.#segments[0]!;
    this.#disk.remove(segment.path);
    this.#segments.shift();
    this.#skipped.delete(segment.path);
    return segment;
  }

  close(): void {
    const files = new Set([...this.#unsynced, ...this.#syncing]);
    if (this.#file !== undefined) files.add(this.#file);
    for (const file of files) file.close();
    this.#unsynced = [];
    this.#syncing = [];
    this.#file = undefined;
  }

  async #syncSkipped(): Promise<void> {
    for (const path of this.#skipped) {
      // Before the attempt: a sync that failed is never tried again.
      this.#skipped.delete(path);
      const file = this.#disk.open(path, "write");
      try {
        await file.sync();
      } finally {
        file.close();
      }
    }
  }
}

function newSegment(path: string, firstLsn: number, nowMs: number, isContinuation: boolean): Segment {
  return {
    firstLsn,
    endLsn: firstLsn,
    path,
    createdMs: nowMs,
    lastWrittenMs: nowMs,
    records: 0,
    isContinuation,
    hasState: false,
  };
}
