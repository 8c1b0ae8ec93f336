/**
 * Finding the segments of a directory and reading one whole into memory. What their blocks and records mean is not
 * known here, and nothing is changed: a directory that a broker is working on may be read.
 */
import type { Disk } from "../disk/disk.ts";
import { salvage } from "../disk/salvage.ts";
import { StorageFailed } from "../model/errors.ts";
import { LogBuffer } from "./log_buffer.ts";
import { decodeSegmentHeader, parseSegmentName, SEGMENT_HEADER_BYTES, type SegmentHeader } from "./segment.ts";
import { parseFreshName } from "./segment_replacement.ts";

/** A file that is named like a segment. */
export interface SegmentFile {
  readonly name: string;
  readonly path: string;
  /** From its name. */
  readonly firstLsn: number;
}

/**
 * Lists the files of a directory that are named like segments, by LSN; others are passed over. A fresh segment that has
 * not got its place yet stands for those that it takes the place of.
 */
export function listSegmentFiles(disk: Disk, directory: string): SegmentFile[] {
  const files: SegmentFile[] = [];
  let freshLsn = Infinity;
  for (const name of disk.list(directory)) {
    const fresh = parseFreshName(name);
    if (fresh !== undefined) freshLsn = fresh;
    const firstLsn = fresh ?? parseSegmentName(name);
    if (firstLsn !== undefined) files.push({ name, path: `${directory}/${name}`, firstLsn });
  }
  return files
    .filter(({ name, firstLsn }) => firstLsn < freshLsn || parseFreshName(name) !== undefined)
    .sort((a, b) => a.firstLsn - b.firstLsn);
}

/** The beginning of a segment. */
export interface SegmentHead {
  readonly fileBytes: number;
  readonly header: SegmentHeader;
  /** True when its header is missing, in part or as a whole, as after a crash while the file was made. */
  readonly isUnborn: boolean;
}

/** Reads no more than the header of a segment. */
export function readSegmentHead(disk: Disk, path: string): SegmentHead {
  const file = disk.open(path, "read");
  try {
    const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
    let isReadable = true;
    const read = salvage(file, bytes, 0, SEGMENT_HEADER_BYTES, 0, () => isReadable = false);
    return {
      fileBytes: file.size(),
      header: decodeSegmentHeader(bytes.subarray(0, read)),
      isUnborn: isReadable && (read < SEGMENT_HEADER_BYTES || bytes.every((byte) => byte === 0)),
    };
  } finally {
    file.close();
  }
}

/** Reads whole segments, one after the other, into memory that is used again. What cannot be read is zeros. */
export class SegmentReader {
  /** The file that was read last, from its first byte; what stands behind `size` means nothing. */
  buffer = new LogBuffer(0);
  /** Bytes of that file. */
  size = 0;
  readonly #disk: Disk;
  /** Pages of the file that could not be read, as offsets in it. */
  #unreadable: { readonly from: number; readonly to: number }[] = [];

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** True when some of the file from `start` to below `end` could not be read. */
  isUnreadable(start: number, end: number): boolean {
    return this.#unreadable.some(({ from, to }) => from < end && to > start);
  }

  /**
   * Reads a file.
   *
   * @throws StorageFailed also for a file that is larger than any segment.
   */
  read(path: string): void {
    const file = this.#disk.open(path, "read");
    try {
      const size = file.size();
      if (size > this.buffer.bytes.length) this.buffer = makeRoom(path, size);
      this.#unreadable = [];
      this.size = salvage(file, this.buffer.bytes, 0, size, 0, (from, to) => this.#unreadable.push({ from, to }));
    } finally {
      file.close();
    }
  }
}

function makeRoom(path: string, size: number): LogBuffer {
  const failed = (detail: string, cause?: unknown) =>
    new StorageFailed({ operation: "read", path, reason: "format", detail, cause });
  if (size > FILE_BYTES_MAX) throw failed(`its ${size} bytes are more than a segment can have`);
  try {
    return new LogBuffer(Math.ceil(size / ROOM_STEP_BYTES) * ROOM_STEP_BYTES);
  } catch (cause) {
    throw failed(`there is no memory for its ${size} bytes`, cause);
  }
}

/** Offsets must fit 31 bits. A segment ends soon after `storage.wal.segment-size`, with a block of 256 MiB at most. */
const FILE_BYTES_MAX = 0x7f00_0000;
/** Segments differ by a little in size: a step saves a new buffer for each. */
const ROOM_STEP_BYTES = 1_048_576;
