/**
 * The first look at the segments of a directory, before any record is read: which files are segments, in what order, and
 * where each of them ends. Nothing is changed.
 *
 *   sound      its header says what its name says
 *   headless   its header is damaged or of another segment, but it has blocks that prove to stand where its name says
 *   unusable   neither: a foreign file, a file under a wrong name, or one that is destroyed
 *
 * The youngest files may be what a crash left of a segment that was about to begin: a torn header, a header and nothing
 * else, a first block that is not whole. They are no segments yet.
 */
import type { Disk } from "../disk/disk.ts";
import { FORMAT_VERSION, readBlocks, SEGMENT_HEADER_BYTES } from "../log/segment.ts";
import {
  listSegmentFiles,
  readSegmentHead,
  type SegmentFile,
  type SegmentHead,
  SegmentReader,
} from "../log/segment_files.ts";
import { StorageFailed } from "../model/errors.ts";

/** A file as the first look sees it. */
export interface SurveyedSegment extends SegmentFile {
  readonly head: SegmentHead;
  readonly kind: "sound" | "headless" | "unusable";
  /** LSN at which its bytes end, whatever they are. */
  readonly fileEndLsn: number;
}

/** What the first look finds. */
export interface Survey {
  /** By first LSN. */
  readonly segments: readonly SurveyedSegment[];
  /** Left by a crash, by first LSN. */
  readonly unborn: readonly SurveyedSegment[];
  /** Latest time that headers tell, and blocks that the database covers so that nobody reads them; 0 = none does. */
  readonly latestMs: number;
}

/**
 * Looks at the segments of a directory.
 *
 * @param appliedLsn Below it the database has everything.
 * @throws StorageFailed with reason `format` for a version that is not known.
 */
export function surveySegments(disk: Disk, directory: string, reader: SegmentReader, appliedLsn: number): Survey {
  const segments = listSegmentFiles(disk, directory).map((file) => survey(disk, file, reader));
  const unborn: SurveyedSegment[] = [];
  while (segments.length > 0 && isUnborn(segments.at(-1)!, reader)) unborn.unshift(segments.pop()!);
  return { segments, unborn, latestMs: latestTimeOf([...segments, ...unborn], reader, appliedLsn) };
}

/** The highest LSN of which any whole block says that everything below was synced; 0 = none says so. Reads every file. */
export function highestSyncedLsn(disk: Disk, segments: readonly SurveyedSegment[]): number {
  const reader = new SegmentReader(disk);
  let highest = 0;
  for (const { path, firstLsn } of segments) {
    reader.read(path);
    for (const item of readBlocks(reader.buffer, reader.size, firstLsn, "checksum")) {
      if (item.kind === "block" && item.syncedLsn > highest) highest = item.syncedLsn;
    }
  }
  return highest;
}

/** First LSN of the next segment with something in it, or Infinity. */
export function limitOf(segments: readonly SurveyedSegment[], index: number): number {
  for (let next = index + 1; next < segments.length; next++) {
    if (segments[next]!.kind !== "unusable") return segments[next]!.firstLsn;
  }
  return Infinity;
}

/** True for a file that holds a header and not one byte more. */
export function isEmpty(segment: SurveyedSegment): boolean {
  return segment.kind === "sound" && segment.head.fileBytes === SEGMENT_HEADER_BYTES;
}

/**
 * After a compaction of everything the only record of how far time had come is the header of an empty segment, or, when a
 * crash left no time to begin one, the last block that the database covers.
 */
function latestTimeOf(segments: readonly SurveyedSegment[], reader: SegmentReader, appliedLsn: number): number {
  let latestMs = 0;
  for (const { kind, head: { header } } of segments) {
    if (kind === "sound" && header.kind === "header") latestMs = Math.max(latestMs, header.createdMs);
  }
  const last = segments.at(-1);
  if (last === undefined || isEmpty(last) || last.fileEndLsn > appliedLsn) return latestMs;
  reader.read(last.path);
  for (const item of readBlocks(reader.buffer, reader.size, last.firstLsn, "checksum")) {
    if (item.kind === "block") latestMs = Math.max(latestMs, item.writtenMs);
  }
  return latestMs;
}

function survey(disk: Disk, file: SegmentFile, reader: SegmentReader): SurveyedSegment {
  const head = readSegmentHead(disk, file.path);
  const { header } = head;
  if (header.kind === "unknown_version") {
    const detail = `it has version ${header.version} of the format, and this program knows version ${FORMAT_VERSION}`;
    throw new StorageFailed({ operation: "read", path: file.path, reason: "format", detail });
  }
  const isSound = header.kind === "header" && header.firstLsn === file.firstLsn;
  const kind = isSound ? "sound" : hasBlock(file, reader) ? "headless" : "unusable";
  return { ...file, head, kind, fileEndLsn: file.firstLsn + Math.max(0, head.fileBytes - SEGMENT_HEADER_BYTES) };
}

function isUnborn(segment: SurveyedSegment, reader: SegmentReader): boolean {
  if (segment.kind === "sound") return !hasBlock(segment, reader);
  return segment.kind === "unusable" && segment.head.isUnborn;
}

/** True when at least one whole block stands where the file's name says. Reads the file. */
function hasBlock(file: SegmentFile, reader: SegmentReader): boolean {
  reader.read(file.path);
  for (const item of readBlocks(reader.buffer, reader.size, file.firstLsn, "checksum")) {
    if (item.kind === "block") return true;
  }
  return false;
}
