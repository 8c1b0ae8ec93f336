/**
 * `promptmq wal tail`: follows a log from segment to segment.
 *
 * Each look reads what was appended since the last one. What is not whole at the end of the last segment is waited
 * for, since a writer may be at it; once a later segment exists, nothing is appended to an earlier one any more, and
 * what is not whole there is told as damage. A fresh segment may repeat blocks of the one before (see `segment.ts`):
 * nothing is told twice.
 */

import type { Disk } from "../../storage/disk/disk.ts";
import type { LogBuffer } from "../../storage/log/log_buffer.ts";
import { recordBytes } from "../../storage/log/record.ts";
import { BLOCK_HEADER_BYTES, readBlocks } from "../../storage/log/segment.ts";
import { listSegmentFiles, type SegmentFile } from "../../storage/log/segment_files.ts";
import { readSegmentFrom } from "./wal_directory.ts";

/** Is told what is found, in the order of the log. */
export interface TailReader {
  /** A record, at `start` of the buffer. */
  record(buffer: LogBuffer, start: number, position: number, writtenMs: number): void;
  /** A part of the log that cannot be read. */
  missing(firstLsn: number, endLsn: number, reason: string): void;
}

/** A place in a log, and what comes after it. */
export class LogTail {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #reader: TailReader;
  /** Records below are not told. */
  readonly #fromLsn: number;
  /** Where the next block is expected; undefined before there is any segment. */
  #lsn: number | undefined = undefined;

  /** @param fromLsn Position of the first record to tell; undefined = only what is appended from now on. */
  constructor(disk: Disk, directory: string, fromLsn: number | undefined, reader: TailReader) {
    this.#disk = disk;
    this.#directory = directory;
    this.#reader = reader;
    const segments = listSegmentFiles(disk, directory);
    if (fromLsn === undefined) {
      this.#lsn = segments.length === 0 ? undefined : endOf(disk, segments.at(-1)!);
      this.#fromLsn = this.#lsn ?? 0;
    } else {
      this.#fromLsn = fromLsn;
      this.#lsn = (segments.findLast(({ firstLsn }) => firstLsn <= fromLsn) ?? segments[0])?.firstLsn;
    }
  }

  /** Tells everything that was appended since the last look. */
  look(): void {
    const segments = listSegmentFiles(this.#disk, this.#directory);
    if (segments.length === 0) return;
    this.#lsn ??= segments[0]!.firstLsn;
    for (const [index, segment] of segments.entries()) {
      const nextLsn = segments[index + 1]?.firstLsn;
      if (nextLsn !== undefined && nextLsn <= this.#lsn) continue;
      if (segment.firstLsn > this.#lsn) {
        this.#missing(segment.firstLsn, "no segment has it, compaction may have moved it");
      }
      if (!this.#readSegment(segment, nextLsn)) return;
    }
  }

  /** Reads a segment from the present place on. Returns false when it was removed meanwhile. */
  #readSegment(segment: SegmentFile, nextLsn: number | undefined): boolean {
    const bytes = readSegmentFrom(this.#disk, segment, this.#lsn!);
    if (bytes === undefined) return false;
    for (const found of readBlocks(bytes.buffer, bytes.size, this.#lsn!, "records")) {
      if (found.lsn >= (nextLsn ?? Infinity)) break;
      if (found.kind === "damage") {
        if (found.isLast && nextLsn === undefined) return true;
        this.#missing(Math.min(found.endLsn, nextLsn ?? Infinity), found.reason);
        continue;
      }
      this.#tellBlock(bytes.buffer, found.start, found.end, found.lsn, found.writtenMs);
      this.#lsn = found.lsn + found.end - found.start;
    }
    if (nextLsn !== undefined && this.#lsn! < nextLsn) this.#missing(nextLsn, "the segment ends before the next one");
    return true;
  }

  #tellBlock(buffer: LogBuffer, start: number, end: number, lsn: number, writtenMs: number): void {
    for (let at = start + BLOCK_HEADER_BYTES; at < end; at += recordBytes(buffer, at)) {
      const position = lsn + at - start;
      if (position >= this.#fromLsn) this.#reader.record(buffer, at, position, writtenMs);
    }
  }

  #missing(endLsn: number, reason: string): void {
    this.#reader.missing(this.#lsn!, endLsn, reason);
    this.#lsn = endLsn;
  }
}

/** Behind the last whole block of a segment. */
function endOf(disk: Disk, segment: SegmentFile): number {
  let endLsn = segment.firstLsn;
  const bytes = readSegmentFrom(disk, segment, segment.firstLsn);
  if (bytes === undefined) return endLsn;
  for (const found of readBlocks(bytes.buffer, bytes.size, segment.firstLsn, "checksum")) {
    if (found.kind === "block") endLsn = found.lsn + found.end - found.start;
  }
  return endLsn;
}
