/**
 * The files of the log: segments of blocks of records. This file knows their bytes and how to find what is whole in a
 * damaged one; it touches no disk.
 *
 * A position (Log Sequence Number, LSN) is an address in the endless log: LSN + 1 byte later is the next byte, also
 * across segments. A segment file is named by the LSN of its first block, `<16 hexadecimal digits>.wal`, and starts with a
 * header; the byte of LSN x stands at `x - first LSN + SEGMENT_HEADER_BYTES`. All numbers are little-endian.
 *
 *   segment header, 64 bytes                     block header, 40 bytes
 *   offset size                                  offset size
 *        0    8  "PROMPTMQ"                           0    4  "BLOK"
 *        8    4  version: 1                           4    4  crc32 of bytes 8 to the end of the block
 *       12    4  header bytes: 64                     8    8  f64 LSN of this header
 *       16    8  f64 first LSN                       16    4  block bytes, header included, a multiple of 8
 *       24    8  f64 ms since the epoch, creation    20    4  records
 *       32    4  1 = continuation, else 0            24    8  f64 ms since the epoch, when it was sealed
 *       36   24  0                                   32    8  f64 LSN below which everything was synced then
 *       60    4  crc32 of bytes 0 to 59              40       records, see `record.ts`
 *
 * A *continuation* was written after a failure: its messages may name routes of the segment before it.
 *
 * A block is written at once and is atomic: it counts whole or not at all. Its LSN is in it, so a block of another
 * segment or of another place is never taken for one of this; and its magic lets a reader find the next whole block
 * behind a damaged one. A segment may be overlapped by the next one (its last write failed and the blocks were written
 * again to a fresh file): it ends where the next one starts.
 *
 * Blocks are written while earlier ones are not synced yet, so a loss of power may leave a later one whole and an earlier
 * one torn. What every block says of the *synced LSN* tells that from corruption: damage that no whole block says was
 * synced is what the loss of power took, and the log ends there.
 *
 * Example: a segment created at 1 700 000 000 000 with one block that holds the PUBLISH of `record.ts`:
 *
 *   0000  50 52 4f 4d 50 54 4d 51  01 00 00 00 40 00 00 00   PROMPTMQ, version 1, header of 64 bytes
 *   0010  00 00 00 00 00 00 50 40  00 00 80 56 fe bc 78 42   first LSN 64, created 1 700 000 000 000
 *   0020  00 × 28                               40 6c 60 50   crc32
 *   0040  42 4c 4f 4b 0e 27 a4 5a  00 00 00 00 00 00 50 40   BLOK, crc32, LSN 64
 *   0050  58 00 00 00 01 00 00 00  00 00 80 56 fe bc 78 42   88 bytes, 1 record, sealed 1 700 000 000 000
 *   0060  00 00 00 00 00 00 50 40                            synced below LSN 64
 *   0068  48 bytes of PUBLISH; its position is LSN 104
 */
import { crc32 } from "node:zlib";
import type { LogBuffer } from "./log_buffer.ts";
import { recordBytes, validateRecord } from "./record.ts";

/** Version of the format that this program writes; it reads no other. */
export const FORMAT_VERSION = 1;
export const SEGMENT_HEADER_BYTES = 64;
export const BLOCK_HEADER_BYTES = 40;
/** The first LSN of a new log. 0 is no position. */
export const FIRST_LSN = 64;
/** Largest block: a record of the largest MQTT packet and its overhead. */
export const BLOCK_BYTES_MAX = 268_500_992;

/** Name of the segment whose first block has this LSN. */
export function segmentName(firstLsn: number): string {
  return `${firstLsn.toString(16).padStart(16, "0")}.wal`;
}

/** The first LSN in a segment's name, or undefined when the name is none. */
export function parseSegmentName(name: string): number | undefined {
  if (!/^[0-9a-f]{16}\.wal$/.test(name)) return undefined;
  const lsn = Number.parseInt(name.slice(0, 16), 16);
  return Number.isSafeInteger(lsn) && lsn % 8 === 0 && lsn >= FIRST_LSN ? lsn : undefined;
}

/** What is special about a segment. */
export const SegmentFlag = { NONE: 0, CONTINUATION: 1 } as const;

/** The header of a new segment. */
export function encodeSegmentHeader(firstLsn: number, createdMs: number, flags: number = SegmentFlag.NONE): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(SEGMENT_MAGIC);
  view.setUint32(8, FORMAT_VERSION, true);
  view.setUint32(12, SEGMENT_HEADER_BYTES, true);
  view.setFloat64(16, firstLsn, true);
  view.setFloat64(24, createdMs, true);
  view.setUint32(32, flags, true);
  view.setUint32(60, crc32(bytes.subarray(0, 60)), true);
  return bytes;
}

/** What the header of a segment says, or what is wrong with it. */
export type SegmentHeader =
  | {
    readonly kind: "header";
    readonly firstLsn: number;
    readonly createdMs: number;
    readonly isContinuation: boolean;
  }
  | { readonly kind: "unknown_version"; readonly version: number }
  | { readonly kind: "damaged" };

/** Reads the header of a segment. */
export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeader {
  if (bytes.length < SEGMENT_HEADER_BYTES) return { kind: "damaged" };
  const view = new DataView(bytes.buffer, bytes.byteOffset, SEGMENT_HEADER_BYTES);
  for (let i = 0; i < SEGMENT_MAGIC.length; i++) if (bytes[i] !== SEGMENT_MAGIC[i]) return { kind: "damaged" };
  const version = view.getUint32(8, true);
  // A later version may have another header, so its checksum is not looked at; a flipped bit in the version of a
  // damaged one is told apart by the checksum that still fits everything else.
  if (crc32(bytes.subarray(0, 60)) !== view.getUint32(60, true)) {
    return version > FORMAT_VERSION && version < VERSIONS_END ? { kind: "unknown_version", version } : {
      kind: "damaged",
    };
  }
  if (version !== FORMAT_VERSION) return { kind: "unknown_version", version };
  return {
    kind: "header",
    firstLsn: view.getFloat64(16, true),
    createdMs: view.getFloat64(24, true),
    isContinuation: (view.getUint32(32, true) & SegmentFlag.CONTINUATION) !== 0,
  };
}

/**
 * Completes a block whose records stand in `buffer` from `start + BLOCK_HEADER_BYTES` to `end`.
 *
 * @param lsn Of its header.
 * @param syncedLsn Everything below was synced; at most `lsn`.
 */
export function sealBlock(
  buffer: LogBuffer,
  start: number,
  end: number,
  lsn: number,
  records: number,
  nowMs: number,
  syncedLsn: number,
): void {
  const word = start >> 2;
  buffer.words[word] = BLOCK_MAGIC;
  buffer.doubles[(start >> 3) + 1] = lsn;
  buffer.words[word + 4] = end - start;
  buffer.words[word + 5] = records;
  buffer.doubles[(start >> 3) + 3] = nowMs;
  buffer.doubles[(start >> 3) + 4] = syncedLsn;
  buffer.words[word + 1] = crc32(buffer.bytes.subarray(start + 8, end));
}

/**
 * Bytes of the block whose header seems to be at `start`, or 0 when there is none: nothing of it is proven yet.
 *
 * @param lsn Of that place.
 */
export function claimedBlockBytes(buffer: LogBuffer, start: number, lsn: number): number {
  if (buffer.words[start >> 2] !== BLOCK_MAGIC || buffer.doubles[(start >> 3) + 1] !== lsn) return 0;
  const bytes = buffer.words[(start >> 2) + 4]!;
  return bytes < BLOCK_HEADER_BYTES || bytes % 8 !== 0 || bytes > BLOCK_BYTES_MAX ? 0 : bytes;
}

/** Bytes of the block at `start`, or 0 when it is not whole: its checksum is what says so. */
export function wholeBlockBytes(buffer: LogBuffer, start: number, size: number, lsn: number): number {
  return problemOfBlock(buffer, start, size, lsn, "checksum") === undefined ? buffer.words[(start >> 2) + 4]! : 0;
}

/** One whole block, as offsets into the buffer it was found in. */
export interface Block {
  readonly kind: "block";
  /** LSN of its header. */
  readonly lsn: number;
  readonly start: number;
  readonly end: number;
  readonly records: number;
  readonly writtenMs: number;
  /** Everything below was synced when it was sealed. */
  readonly syncedLsn: number;
}

/** Bytes that are no whole block. */
export interface Damage {
  readonly kind: "damage";
  /** LSN of the first damaged byte, and of the first good one behind (or the end of the file). */
  readonly lsn: number;
  readonly endLsn: number;
  readonly reason: string;
  /** True when nothing whole follows in this file. */
  readonly isLast: boolean;
}

/**
 * Walks the blocks of a segment, and past damage to the next whole one.
 *
 * @param buffer The file from its first byte.
 * @param size Bytes of the file.
 * @param firstLsn From its name.
 * @param validation `records` also checks every record of a block, not only its checksum.
 */
export function* readBlocks(
  buffer: LogBuffer,
  size: number,
  firstLsn: number,
  validation: "checksum" | "records",
): Generator<Block | Damage> {
  const lsnOf = (offset: number) => firstLsn + offset - SEGMENT_HEADER_BYTES;
  let start = SEGMENT_HEADER_BYTES;
  while (start < size) {
    const problem = problemOfBlock(buffer, start, size, lsnOf(start), validation);
    if (problem === undefined) {
      const end = start + buffer.words[(start >> 2) + 4]!;
      yield {
        kind: "block",
        lsn: lsnOf(start),
        start,
        end,
        records: buffer.words[(start >> 2) + 5]!,
        writtenMs: buffer.doubles[(start >> 3) + 3]!,
        syncedLsn: buffer.doubles[(start >> 3) + 4]!,
      };
      start = end;
      continue;
    }
    let next = followerOfDamaged(buffer, start, size, lsnOf, validation) ?? start + 8;
    while (next < size && problemOfBlock(buffer, next, size, lsnOf(next), validation) !== undefined) next += 8;
    const isLast = next >= size;
    yield { kind: "damage", lsn: lsnOf(start), endLsn: lsnOf(isLast ? size : next), reason: problem, isLast };
    if (isLast) return;
    start = next;
  }
}

/**
 * Where the next block starts behind a damaged one whose header still says so and is right about it; else undefined.
 *
 * What stands in between is not looked at then: a payload may hold what looks like a block.
 */
function followerOfDamaged(
  buffer: LogBuffer,
  start: number,
  size: number,
  lsnOf: (offset: number) => number,
  validation: "checksum" | "records",
): number | undefined {
  if (size - start < BLOCK_HEADER_BYTES || buffer.words[start >> 2] !== BLOCK_MAGIC) return undefined;
  if (buffer.doubles[(start >> 3) + 1] !== lsnOf(start)) return undefined;
  const next = start + buffer.words[(start >> 2) + 4]!;
  if (next % 8 !== 0 || next < start + BLOCK_HEADER_BYTES || next > size) return undefined;
  const isRight = next === size || problemOfBlock(buffer, next, size, lsnOf(next), validation) === undefined;
  return isRight ? next : undefined;
}

/** Says what is wrong with the block at `start`, or undefined when it is whole. */
function problemOfBlock(
  buffer: LogBuffer,
  start: number,
  size: number,
  lsn: number,
  validation: "checksum" | "records",
): string | undefined {
  if (size - start < BLOCK_HEADER_BYTES) return "the file ends within the header of a block";
  const word = start >> 2;
  if (buffer.words[word] !== BLOCK_MAGIC) return "there is no block where one must start";
  if (buffer.doubles[(start >> 3) + 1] !== lsn) return "the block belongs to another place: its header has another LSN";
  const blockBytes = buffer.words[word + 4]!;
  if (blockBytes < BLOCK_HEADER_BYTES || blockBytes % 8 !== 0 || blockBytes > BLOCK_BYTES_MAX) {
    return "the header of the block has an impossible length";
  }
  const end = start + blockBytes;
  if (end > size) return "the file ends within a block";
  if (crc32(buffer.bytes.subarray(start + 8, end)) !== buffer.words[word + 1]) {
    return "the checksum of the block does not match: its bytes are not what was written";
  }
  if (!(buffer.doubles[(start >> 3) + 4]! <= lsn)) {
    return "the block says that bytes behind it were synced before it was written";
  }
  return validation === "records" ? problemOfRecords(buffer, start, end) : undefined;
}

function problemOfRecords(buffer: LogBuffer, start: number, end: number): string | undefined {
  let left = buffer.words[(start >> 2) + 5]!;
  let at = start + BLOCK_HEADER_BYTES;
  for (; at < end; left--) {
    const problem = validateRecord(buffer, at, end);
    if (problem !== undefined) return problem;
    at += recordBytes(buffer, at);
  }
  return left === 0 ? undefined : "the block does not hold as many records as its header says";
}

const SEGMENT_MAGIC = new TextEncoder().encode("PROMPTMQ");
/** "BLOK" as a little-endian word. */
const BLOCK_MAGIC = 0x4b4f4c42;
/** A version number from here on is rather a flipped bit. */
const VERSIONS_END = 256;
