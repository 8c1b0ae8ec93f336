/**
 * Reads records back from segments that are not in memory any more.
 *
 * A backlog is drained in order, so what follows a record is read with it: a window of the segment. Several Sessions
 * may drain at different places, so several windows are kept. A record that nobody reads on from (a Retained Message)
 * costs a small window only. The bytes of a position never change, so a window is right for as long as it is kept.
 *
 * A window holds whole blocks, whose checksums are looked at once, when it is read: nothing else of a segment is ever
 * given to anybody. Where no window ends near by, the block of a record is found backwards, by its header, which says
 * where it stands. What belongs to no whole block is damage; that is remembered, as reading it may take a device seconds.
 */
import type { Disk, DiskFile } from "../disk/disk.ts";
import { salvage } from "../disk/salvage.ts";
import { StorageFailed } from "../model/errors.ts";
import { LogBuffer } from "./log_buffer.ts";
import { CHUNK_BYTES } from "./memory_buffer.ts";
import { RecordType, recordType, validateRecord } from "./record.ts";
import { BLOCK_HEADER_BYTES, claimedBlockBytes, SEGMENT_HEADER_BYTES, wholeBlockBytes } from "./segment.ts";

/** A segment that can be read. */
export interface ReadableSegment {
  readonly firstLsn: number;
  readonly endLsn: number;
  readonly path: string;
}

/** See the head of this file. */
export class LogReader {
  /** Result of `find`: where the record is. */
  buffer = NOTHING;
  start = 0;
  readonly #disk: Disk;
  readonly #segmentOf: (lsn: number) => ReadableSegment | undefined;
  /** In the order of their last use, the latest last. */
  readonly #windows: Window[] = [];
  /** Open files by path, in the order of their last use. */
  readonly #files = new Map<string, DiskFile>();
  /** What is known to be in no whole block, the latest last. */
  readonly #damage: DamagedStretch[] = [];

  /** @param segmentOf The segment that holds an LSN. */
  constructor(disk: Disk, segmentOf: (lsn: number) => ReadableSegment | undefined) {
    this.#disk = disk;
    this.#segmentOf = segmentOf;
  }

  /**
   * Finds the PUBLISH record at a position: sets `buffer` and `start`, valid until the next `find`.
   *
   * @throws StorageFailed when the block of the record cannot be read or is not whole, or there is no such record.
   */
  find(position: number): void {
    const windows = this.#windows;
    for (let index = windows.length - 1; index >= 0; index--) {
      const window = windows[index]!;
      if (position < window.firstLsn || position >= window.endLsn) continue;
      if (index !== windows.length - 1) {
        windows.splice(index, 1);
        windows.push(window);
      }
      this.#found(window, position);
      return;
    }
    this.#found(this.#load(position), position);
  }

  /** Closes the file of a segment that is about to be removed. */
  forget(path: string): void {
    this.#files.get(path)?.close();
    this.#files.delete(path);
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }

  #found(window: Window, position: number): void {
    this.buffer = window.buffer;
    this.start = position - window.firstLsn;
  }

  /** Reads a window with the record in it. */
  #load(position: number): Window {
    const segment = this.#segmentOf(position);
    if (segment === undefined) throw failed("the log", `no segment holds position ${position}`);
    if (this.#damage.some(({ firstLsn, endLsn }) => position >= firstLsn && position < endLsn)) {
      throw unreadable(segment, position);
    }
    const window = this.#loadNext(segment, position) ?? this.#loadAround(segment, position);
    if (window === undefined) {
      this.#noteDamage(segment, position);
      throw unreadable(segment, position);
    }
    const start = position - window.firstLsn;
    const problem = recordType(window.buffer, start) !== RecordType.PUBLISH
      ? "there is no PUBLISH record where one must be"
      : validateRecord(window.buffer, start, window.endLsn - window.firstLsn);
    if (problem !== undefined) throw failed(segment.path, `${problem}, at position ${position}`);
    this.#windows.push(window);
    return window;
  }

  /** Where a window ends a little before the record: reads on there. */
  #loadNext(segment: ReadableSegment, position: number): Window | undefined {
    const last = this.#windows.findLast(({ endLsn }) => position >= endLsn && position < endLsn + WINDOW_BYTES);
    if (last === undefined) return undefined;
    return this.#window(segment, Math.max(last.endLsn, segment.firstLsn), WINDOW_BYTES, position);
  }

  /** Finds the block that the record is in, nearest first: what looks like a header may be the payload of a message. */
  #loadAround(segment: ReadableSegment, position: number): Window | undefined {
    let claims = 0;
    let above = position;
    for (const reach of REACHES) {
      const from = Math.max(segment.firstLsn, position - reach);
      if (from >= above) break;
      const length = Math.min(position, above + BLOCK_HEADER_BYTES) - from;
      const piece = new LogBuffer((length + 7) & ~7);
      this.#read(segment, piece, from, length);
      for (let lsn = above - 8; lsn >= from; lsn -= 8) {
        if (lsn + BLOCK_HEADER_BYTES > position) continue;
        if (lsn + claimedBlockBytes(piece, lsn - from, lsn) <= position) continue;
        const window = this.#window(segment, lsn, PEEK_BYTES, position);
        if (window !== undefined) return window;
        if (++claims === CLAIMS_MAX) return undefined;
      }
      above = from;
    }
    return undefined;
  }

  /** Reads whole blocks from where one starts; undefined when the record is not in them. */
  #window(segment: ReadableSegment, lsn: number, bytes: number, position: number): Window | undefined {
    const left = segment.endLsn - lsn;
    if (left < BLOCK_HEADER_BYTES) return undefined;
    this.#read(segment, HEAD, lsn, BLOCK_HEADER_BYTES);
    const first = claimedBlockBytes(HEAD, 0, lsn);
    if (first === 0 || first > left) return undefined;
    const length = Math.min(left, Math.max(first, bytes));
    const window = this.#room(length);
    const read = this.#read(segment, window.buffer, lsn, length);
    let end = 0;
    for (let block = -1; block !== 0 && end < read; end += block) {
      block = wholeBlockBytes(window.buffer, end, read, lsn + end);
    }
    window.firstLsn = lsn;
    window.endLsn = lsn + end;
    return position < window.endLsn ? window : undefined;
  }

  /** Remembers that a record is in no whole block, and with it what follows up to the next whole one. */
  #noteDamage(segment: ReadableSegment, position: number): void {
    const length = Math.min(WINDOW_BYTES, segment.endLsn - position);
    const piece = new LogBuffer((length + 7) & ~7);
    const read = this.#read(segment, piece, position, length);
    let end = 8;
    while (end < read && wholeBlockBytes(piece, end, read, position + end) === 0) end += 8;
    if (this.#damage.length >= DAMAGE_MAX) this.#damage.shift();
    this.#damage.push({ firstLsn: position, endLsn: position + Math.max(8, Math.min(end, read)) });
  }

  #read(segment: ReadableSegment, into: LogBuffer, lsn: number, length: number): number {
    const at = lsn - segment.firstLsn + SEGMENT_HEADER_BYTES;
    return salvage(this.#fileOf(segment.path), into.bytes, 0, length, at);
  }

  /** A window to fill: the one that was not used for longest, if it is of the size. */
  #room(bytes: number): Window {
    const capacity = CAPACITIES.find((each) => each >= bytes) ?? ((bytes + 7) & ~7);
    const windows = this.#windows;
    if (windows.length < WINDOWS_MAX) return new Window(capacity);
    const oldest = windows.shift()!;
    return oldest.buffer.bytes.length === capacity ? oldest : new Window(capacity);
  }

  #fileOf(path: string): DiskFile {
    let file = this.#files.get(path);
    if (file !== undefined) this.#files.delete(path);
    else {
      if (this.#files.size >= FILES_MAX) this.forget(this.#files.keys().next().value!);
      file = this.#open(path);
    }
    this.#files.set(path, file);
    return file;
  }

  /** Where no file can be opened any more, those that are kept open here may be what is missing. */
  #open(path: string): DiskFile {
    try {
      return this.#disk.open(path, "read");
    } catch (cause) {
      if (this.#files.size === 0) throw cause;
      this.close();
      return this.#disk.open(path, "read");
    }
  }
}

class Window {
  readonly buffer: LogBuffer;
  firstLsn = 0;
  endLsn = 0;

  constructor(capacity: number) {
    this.buffer = new LogBuffer(capacity);
  }
}

interface DamagedStretch {
  readonly firstLsn: number;
  readonly endLsn: number;
}

function failed(path: string, detail: string): StorageFailed {
  return new StorageFailed({ operation: "read", path, reason: "corrupt", detail });
}

function unreadable({ path }: ReadableSegment, position: number): StorageFailed {
  return failed(path, `the block that position ${position} is in is damaged or cannot be read`);
}

const NOTHING = new LogBuffer(0);
/** The header of the block being looked at. */
const HEAD = new LogBuffer(BLOCK_HEADER_BYTES);
/** Read at once when a Session drains its queue. */
const WINDOW_BYTES = 262_144;
/** Read at once otherwise. */
const PEEK_BYTES = 8_192;
/** Of windows: 4 MiB at most together, 16 MiB where blocks are large; but for blocks of larger messages. */
const CAPACITIES = [PEEK_BYTES, WINDOW_BYTES, CHUNK_BYTES];
const WINDOWS_MAX = 16;
const FILES_MAX = 32;
/** How far back the block of a record is looked for: none begins in a chunk before the one that its record starts in. */
const REACHES = [4_096, 16_384, 131_072, CHUNK_BYTES];
/** Places that claim to be the block of a record and are not, until it is taken for damaged. */
const CLAIMS_MAX = 64;
const DAMAGE_MAX = 64;
