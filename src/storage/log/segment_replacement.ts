/**
 * A fresh segment takes the place of segments that a device failed to write: the names on the way, and what a start does
 * about a crash in between.
 *
 * In the modes `batch` and `periodic` what those segments hold may be acknowledged, and a killed process must not lose
 * it. So they keep their names until all of it stands in the fresh one. S is its first LSN; stale is every segment from
 * S on, one of the same name included.
 *
 *   step                                         a crash after it finds           the start
 *   1  everything is written to S.unfinished     the stale ones, S.unfinished     removes S.unfinished
 *   2  S.unfinished becomes S.fresh              all of it in S.fresh             goes on with 3
 *   3  stale ones become .broken, newest first   the older stale ones, S.fresh    goes on with 3
 *   4  S.fresh becomes S                         S                                has nothing to do
 *
 * Step 2 decides, and nothing is written to another segment until step 4 is done. None of this is synced here: what is
 * moved was not safe before, and counts as safe when the group commit has synced the fresh file and the directory. A loss
 * of power may leave part of S.fresh, as it may of any segment that is not synced. Renaming S.unfinished to S at once
 * would not do: after a loss of power a fresh file with nothing in it could stand before stale ones that are whole.
 */
import type { Disk } from "../disk/disk.ts";
import { parseSegmentName, segmentName } from "./segment.ts";

/** Path of the file that a fresh segment is written to. */
export function unfinishedPath(directory: string, firstLsn: number): string {
  return `${directory}/${segmentName(firstLsn)}${UNFINISHED}`;
}

/** First LSN of a fresh segment that has not got its place yet, by the name of its file; undefined for other names. */
export function parseFreshName(name: string): number | undefined {
  return parseBefore(FRESH, name);
}

/** Steps 2 to 4, for a file that holds everything. @throws StorageFailed; then all steps may be taken again. */
export function placeFresh(disk: Disk, directory: string, firstLsn: number): void {
  disk.rename(unfinishedPath(directory, firstLsn), `${directory}/${segmentName(firstLsn)}${FRESH}`);
  finishReplacement(disk, directory);
}

/** Finishes what a crash has interrupted; for a start, before it looks at the segments. @throws StorageFailed */
export function finishReplacement(disk: Disk, directory: string): void {
  const names = disk.list(directory);
  for (const name of names) {
    const firstLsn = parseFreshName(name);
    if (firstLsn !== undefined) place(disk, directory, name, firstLsn, names);
    else if (parseBefore(UNFINISHED, name) !== undefined) disk.remove(`${directory}/${name}`);
  }
}

/** Steps 3 and 4. */
function place(disk: Disk, directory: string, fresh: string, firstLsn: number, names: readonly string[]): void {
  // Sorted by name is sorted by LSN.
  for (const name of names.toReversed()) {
    const lsn = parseSegmentName(name);
    if (lsn !== undefined && lsn >= firstLsn) disk.rename(`${directory}/${name}`, `${directory}/${name}.broken`);
  }
  disk.rename(`${directory}/${fresh}`, `${directory}/${segmentName(firstLsn)}`);
}

function parseBefore(suffix: string, name: string): number | undefined {
  return name.endsWith(suffix) ? parseSegmentName(name.slice(0, -suffix.length)) : undefined;
}

const UNFINISHED = ".unfinished";
const FRESH = ".fresh";
