/**
 * Walks the segments of a log and says what is in them and what is wrong with them: the common ground of `wal inspect`
 * and `wal verify`. It reads every header, block and record, repairs nothing, and knows nothing of what records mean
 * together.
 *
 * A segment counts up to where the next one starts (see `segment.ts`): what lies behind that is an overlap, whole or
 * not. What is not whole at the end of the *last* segment is a torn tail, which is what a crash leaves behind, and no
 * damage; neither is what no whole block says was synced, unless an earlier start has put a copy aside. A broker that is
 * writing at this moment looks like that as well, so the last segment is read again until two looks agree.
 */

import type { Disk } from "../../storage/disk/disk.ts";
import type { LogBuffer } from "../../storage/log/log_buffer.ts";
import { recordBytes, RecordType, recordType } from "../../storage/log/record.ts";
import {
  BLOCK_HEADER_BYTES,
  decodeSegmentHeader,
  readBlocks,
  SEGMENT_HEADER_BYTES,
} from "../../storage/log/segment.ts";
import { listSegmentFiles, type SegmentFile, SegmentReader } from "../../storage/log/segment_files.ts";
import { readSegment, type SegmentBytes } from "./wal_directory.ts";

/** Something that is not as it was written. */
export interface Problem {
  readonly kind: "damage" | "gap" | "header" | "torn_tail" | "overlap";
  readonly segment: string;
  /** First LSN concerned, and the first one behind. */
  readonly firstLsn: number;
  readonly endLsn: number;
  readonly reason: string;
}

/** How many records there are, by type. */
export interface RecordCounts {
  publish: number;
  progress: number;
  release: number;
  route: number;
  change: number;
}

/** What one segment holds. */
export interface SegmentSurvey {
  readonly name: string;
  readonly firstLsn: number;
  /** LSN behind its last whole block that counts. */
  readonly endLsn: number;
  readonly bytes: number;
  readonly blocks: number;
  readonly records: RecordCounts;
  /** Broker time in milliseconds; undefined without a whole header or block. */
  readonly createdMs: number | undefined;
  readonly firstWrittenMs: number | undefined;
  readonly lastWrittenMs: number | undefined;
  /** The highest LSN below which everything was synced, as its blocks say; 0 without a block. */
  readonly syncedLsn: number;
  readonly problems: readonly Problem[];
}

/** Called for each whole record; `start` is its place in the buffer, `lsn` its position. */
export type VisitRecord = (buffer: LogBuffer, start: number, lsn: number, writtenMs: number) => void;

/** Surveys a log, oldest segment first, with one segment in memory at a time. */
export function surveyLog(disk: Disk, directory: string, visit: VisitRecord): SegmentSurvey[] {
  const files = listSegmentFiles(disk, directory);
  const reader = new SegmentReader(disk);
  const surveys: SegmentSurvey[] = [];
  for (const [index, file] of files.entries()) {
    const next = files[index + 1];
    const bytes = next === undefined ? readSettled(reader, file) : readSegment(reader, file);
    if (bytes !== undefined) surveys.push(surveySegment(file, bytes, next?.firstLsn, visit));
  }
  const syncedLsn = surveys.reduce((highest, survey) => Math.max(highest, survey.syncedLsn), 0);
  return surveys.map((survey) => {
    const isKnown = disk.exists(`${directory}/${survey.name}${QUARANTINE_SUFFIX}`);
    return isKnown ? survey : { ...survey, problems: survey.problems.map((problem) => judged(problem, syncedLsn)) };
  });
}

/** Damage of what nobody says was ever synced is what a loss of power leaves. */
function judged(problem: Problem, syncedLsn: number): Problem {
  const isUnsynced = (problem.kind === "damage" || problem.kind === "gap") && problem.firstLsn >= syncedLsn;
  return isUnsynced ? { ...problem, kind: "torn_tail" } : problem;
}

/**
 * Surveys one segment.
 *
 * @param nextFirstLsn Where the next segment starts; undefined for the last one.
 */
export function surveySegment(
  file: SegmentFile,
  { buffer, size }: SegmentBytes,
  nextFirstLsn: number | undefined,
  visit: VisitRecord,
): SegmentSurvey {
  const { name, firstLsn } = file;
  const records: RecordCounts = { publish: 0, progress: 0, release: 0, route: 0, change: 0 };
  const problems: Problem[] = [];
  const report = (kind: Problem["kind"], first: number, end: number, reason: string): void => {
    problems.push({ kind, segment: name, firstLsn: first, endLsn: end, reason });
  };
  const limit = nextFirstLsn ?? Infinity;
  let blocks = 0;
  let endLsn = firstLsn;
  /** Behind the last byte that was looked at, damaged or not. */
  let seenLsn = firstLsn;
  let syncedLsn = 0;
  let firstWrittenMs: number | undefined;
  let lastWrittenMs: number | undefined;
  for (const found of readBlocks(buffer, size, firstLsn, "records")) {
    if (found.lsn >= limit) {
      report("overlap", limit, firstLsn + size - SEGMENT_HEADER_BYTES, "written again to the next segment");
      break;
    }
    if (found.kind === "damage") {
      seenLsn = Math.min(found.endLsn, limit);
      const isTorn = found.isLast && nextFirstLsn === undefined;
      report(isTorn ? "torn_tail" : "damage", found.lsn, seenLsn, found.reason);
      continue;
    }
    blocks++;
    firstWrittenMs ??= found.writtenMs;
    lastWrittenMs = found.writtenMs;
    syncedLsn = Math.max(syncedLsn, found.syncedLsn);
    seenLsn = endLsn = found.lsn + found.end - found.start;
    if (endLsn > limit) report("damage", limit, endLsn, "a block that reaches into the next segment");
    visitRecords(buffer, found.start, found.end, found.lsn, found.writtenMs, records, visit);
  }
  const { createdMs, problem } = checkHeader(file, buffer.bytes.subarray(0, size));
  if (problem !== undefined) {
    const isTorn = blocks === 0 && nextFirstLsn === undefined && size <= SEGMENT_HEADER_BYTES;
    problems.unshift({ ...problem, kind: isTorn ? "torn_tail" : "header" });
  }
  if (seenLsn < limit && nextFirstLsn !== undefined) {
    report("gap", seenLsn, limit, "the log goes on in the next segment");
  }
  return {
    name,
    firstLsn,
    endLsn,
    bytes: size,
    blocks,
    records,
    createdMs,
    firstWrittenMs,
    lastWrittenMs,
    syncedLsn,
    problems,
  };
}

/** True for what a promise can be lost by: neither a torn tail nor an overlap is. */
export function isDamage(problem: Problem): boolean {
  return problem.kind !== "torn_tail" && problem.kind !== "overlap";
}

/** All records of a segment or a log. */
export function sumOf(records: RecordCounts): number {
  return records.publish + records.progress + records.release + records.route + records.change;
}

/** Name of a record type in counts. */
export function countedAs(type: number): keyof RecordCounts {
  switch (type) {
    case RecordType.PUBLISH:
      return "publish";
    case RecordType.PROGRESS:
      return "progress";
    case RecordType.RELEASE:
      return "release";
    case RecordType.ROUTE:
      return "route";
    default:
      return "change";
  }
}

function visitRecords(
  buffer: LogBuffer,
  start: number,
  end: number,
  lsn: number,
  writtenMs: number,
  records: RecordCounts,
  visit: VisitRecord,
): void {
  for (let at = start + BLOCK_HEADER_BYTES; at < end; at += recordBytes(buffer, at)) {
    records[countedAs(recordType(buffer, at))]++;
    visit(buffer, at, lsn + at - start, writtenMs);
  }
}

function checkHeader(
  { name, firstLsn }: SegmentFile,
  bytes: Uint8Array,
): { readonly createdMs: number | undefined; readonly problem: Omit<Problem, "kind"> | undefined } {
  const header = decodeSegmentHeader(bytes);
  const wrong = (reason: string) => ({ segment: name, firstLsn, endLsn: firstLsn, reason });
  switch (header.kind) {
    case "damaged":
      return { createdMs: undefined, problem: wrong("a segment header that is damaged") };
    case "unknown_version":
      return { createdMs: undefined, problem: wrong(`format version ${header.version}, which is not known`) };
    case "header":
      return {
        createdMs: header.createdMs,
        problem: header.firstLsn === firstLsn ? undefined : wrong(`a header that says LSN ${header.firstLsn}`),
      };
  }
}

/** Reads the last segment until two looks find the same length: what is written in between is not torn. */
function readSettled(reader: SegmentReader, file: SegmentFile): SegmentBytes | undefined {
  let bytes = readSegment(reader, file);
  for (let look = 1; look < LOOKS_MAX && bytes !== undefined; look++) {
    if (!endsTorn(file, bytes)) return bytes;
    const again = readSegment(reader, file);
    if (again !== undefined && again.size === bytes.size) return again;
    bytes = again;
  }
  return bytes;
}

function endsTorn(file: SegmentFile, { buffer, size }: SegmentBytes): boolean {
  let isTorn = size < SEGMENT_HEADER_BYTES;
  for (const found of readBlocks(buffer, size, file.firstLsn, "checksum")) isTorn = found.kind === "damage";
  return isTorn;
}

/** Ending of the copy that recovery makes of a damaged segment. */
const QUARANTINE_SUFFIX = ".quarantine";
/** A writer that is faster than this many looks is left with a torn tail in the report. */
const LOOKS_MAX = 5;
