/**
 * Finds and reads the files of a log for the commands that look at one.
 *
 * Nothing here writes, takes the lock or keeps a file open, so a broker may be running on the same directory: a segment
 * that compaction removes between two looks is simply gone. What the bytes mean is known to `wal_survey.ts`.
 */

import { DATABASE_NAME } from "../../storage/checkpoint/checkpoint_service.ts";
import type { Disk, DiskFile } from "../../storage/disk/disk.ts";
import { LogBuffer } from "../../storage/log/log_buffer.ts";
import { SEGMENT_HEADER_BYTES } from "../../storage/log/segment.ts";
import { listSegmentFiles, type SegmentFile, SegmentReader } from "../../storage/log/segment_files.ts";
import { StorageFailed } from "../../storage/model/errors.ts";

/** Where a store keeps its log. */
export interface WalDirectory {
  readonly path: string;
  /** The database beside it, when there is one. */
  readonly databasePath: string | undefined;
}

/** The bytes of a segment: `size` of them count. */
export interface SegmentBytes {
  readonly buffer: LogBuffer;
  readonly size: number;
}

/**
 * Finds the log in a data directory or a log directory.
 *
 * @returns undefined when there is no such directory, or nothing of a store in it.
 */
export function findWal(disk: Disk, directory: string): WalDirectory | undefined {
  const database = (path: string) => disk.exists(path) ? path : undefined;
  const nested = `${directory}/wal`;
  if (isDirectory(nested)) return { path: nested, databasePath: database(`${directory}/${DATABASE_NAME}`) };
  if (!isDirectory(directory)) return undefined;
  const databasePath = database(`${directory}/${DATABASE_NAME}`) ?? database(`${directory}/../${DATABASE_NAME}`);
  const isEmpty = databasePath === undefined && listSegmentFiles(disk, directory).length === 0;
  return isEmpty ? undefined : { path: directory, databasePath };
}

/** Files that recovery put aside: `*.broken` and `*.quarantine`, sorted. */
export function listSetAside(disk: Disk, directory: string): string[] {
  return disk.list(directory).filter((name) => name.endsWith(".broken") || name.endsWith(".quarantine"));
}

/** The whole of a segment as it is now, valid until the next one is read; undefined when it was removed. */
export function readSegment(reader: SegmentReader, segment: SegmentFile): SegmentBytes | undefined {
  return unlessGone(() => {
    reader.read(segment.path);
    return { buffer: reader.buffer, size: reader.size };
  });
}

/**
 * The bytes of a segment from an LSN to its present end, laid out as a segment of its own that starts there: behind
 * room for a header, so that `readBlocks(buffer, size, lsn, …)` walks them.
 *
 * @param lsn A multiple of 8 in the segment.
 * @returns undefined when the segment was removed.
 */
export function readSegmentFrom(disk: Disk, segment: SegmentFile, lsn: number): SegmentBytes | undefined {
  return unlessGone(() => {
    let file: DiskFile | undefined;
    try {
      file = disk.open(segment.path, "read");
      const offset = lsn - segment.firstLsn + SEGMENT_HEADER_BYTES;
      const end = SEGMENT_HEADER_BYTES + Math.max(0, file.size() - offset);
      // Views of a buffer need whole doubles.
      const buffer = new LogBuffer(Math.ceil(end / 8) * 8);
      const read = file.read(buffer.bytes, SEGMENT_HEADER_BYTES, end, offset);
      return { buffer, size: SEGMENT_HEADER_BYTES + read };
    } finally {
      file?.close();
    }
  });
}

/** True when what was looked for is not there (any more). */
export function isGone(cause: unknown): boolean {
  return cause instanceof StorageFailed && cause.reason === "not_found";
}

function unlessGone<A>(read: () => A): A | undefined {
  try {
    return read();
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}
