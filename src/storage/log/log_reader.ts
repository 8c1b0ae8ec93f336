/**
 * Reads records back from segments that are not in memory any more.
 *
 * A backlog is drained in order, so what follows a record is read with it: a window of the segment. Several Sessions
 * may drain at different places, so several windows are kept. A record that nobody reads on from (a Retained Message)
 * costs a small window only. The bytes of a position never change, so a window is right for as long as it is kept.
 */
import type { Disk, DiskFile } from "../disk/disk.ts";
import { StorageFailed } from "../model/errors.ts";
import { LogBuffer } from "./log_buffer.ts";
import { recordBytes, RecordType, recordType, validateRecord } from "./record.ts";
import { SEGMENT_HEADER_BYTES } from "./segment.ts";

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

  /** @param segmentOf The segment that holds an LSN. */
  constructor(disk: Disk, segmentOf: (lsn: number) => ReadableSegment | undefined) {
    this.#disk = disk;
    this.#segmentOf = segmentOf;
  }

  /**
   * Finds the PUBLISH record at a position: sets `buffer` and `start`, valid until the next `find`.
   *
   * @throws StorageFailed when the segment cannot be read or has no such record.
   */
  find(position: number): void {
    const windows = this.#windows;
    for (let index = windows.length - 1; index >= 0; index--) {
      const window = windows[index]!;
      if (position < window.firstLsn || position + RECORD_HEAD_BYTES > window.endLsn) continue;
      const start = position - window.firstLsn;
      if (position + recordBytes(window.buffer, start) > window.endLsn) continue;
      if (index !== windows.length - 1) {
        windows.splice(index, 1);
        windows.push(window);
      }
      this.#found(window, start);
      return;
    }
    this.#found(this.#load(position), 0);
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

  #found(window: Window, start: number): void {
    this.buffer = window.buffer;
    this.start = start;
  }

  /** Reads a window that starts with the record. */
  #load(position: number): Window {
    const segment = this.#segmentOf(position);
    if (segment === undefined) throw failed("the log", `no segment holds position ${position}`);
    const follows = this.#windows.some((window) => position >= window.firstLsn && position <= window.endLsn);
    let window = this.#window(follows ? WINDOW_BYTES : PEEK_BYTES, segment, position);
    const size = window.endLsn - position < RECORD_HEAD_BYTES ? 0 : recordBytes(window.buffer, 0);
    if (size > window.endLsn - position) window = this.#window(size, segment, position);
    const problem = window.endLsn - position < RECORD_HEAD_BYTES || recordType(window.buffer, 0) !== RecordType.PUBLISH
      ? "there is no PUBLISH record where one must be"
      : validateRecord(window.buffer, 0, window.endLsn - position);
    if (problem !== undefined) throw failed(segment.path, `${problem}, at position ${position}`);
    this.#windows.push(window);
    return window;
  }

  #window(bytes: number, segment: ReadableSegment, position: number): Window {
    const window = this.#room(bytes);
    const length = Math.min(bytes, segment.endLsn - position);
    const at = position - segment.firstLsn + SEGMENT_HEADER_BYTES;
    const read = this.#fileOf(segment.path).read(window.buffer.bytes, 0, length, at);
    window.firstLsn = position;
    window.endLsn = position + read;
    return window;
  }

  /** A window to fill: the one that was not used for longest, if it is of the size. */
  #room(bytes: number): Window {
    const capacity = bytes <= PEEK_BYTES ? PEEK_BYTES : Math.max(WINDOW_BYTES, (bytes + 7) & ~7);
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
      file = this.#disk.open(path, "read");
    }
    this.#files.set(path, file);
    return file;
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

function failed(path: string, detail: string): StorageFailed {
  return new StorageFailed({ operation: "read", path, reason: "corrupt", detail });
}

const NOTHING = new LogBuffer(0);
/** Least bytes of a record that tell how long it is. */
const RECORD_HEAD_BYTES = 16;
/** Read at once when a Session drains its queue. */
const WINDOW_BYTES = 262_144;
/** Read at once otherwise. */
const PEEK_BYTES = 8_192;
/** 4 MiB at most, but for windows of larger records. */
const WINDOWS_MAX = 16;
const FILES_MAX = 32;
