/**
 * What recovery does to files, after it has read them all: nothing is changed while a refusal is still possible, and
 * nothing is thrown away that was not copied, but for files whose contents are in the database.
 *
 * The copies of a segment stand beside it:
 *
 *   <segment>.broken       the torn tail that was cut off, or the whole file when nothing of it counts
 *   <segment>.quarantine   the segment with its damage, made at the start that first met it; empty for one that is missing;
 *                          zeros stand for what could not be read. `.quarantine.2` and so on for damage that came later
 *
 * None of this needs to be synced to be right: after another crash the next start finds the same and does the same.
 */
import type { Disk, DiskFile } from "../disk/disk.ts";
import { copyFrom, salvageCopy } from "../disk/salvage.ts";
import { StorageFailed } from "../model/errors.ts";

/** Suffix of what a crash left behind. */
export const BROKEN = ".broken";
/** Suffix of the copy of a damaged segment. */
export const QUARANTINE = ".quarantine";

/** Suffix of a copy that is being made. */
const UNFINISHED = ".unfinished";

/** One change of the files. */
export type Repair =
  /** Cuts the torn tail off, unless there is no space to keep a copy. */
  | { readonly kind: "cut"; readonly path: string; readonly size: number }
  /** Keeps a copy of a damaged segment. */
  | { readonly kind: "copy"; readonly path: string }
  /** Moves a file aside that holds nothing usable. */
  | { readonly kind: "move"; readonly path: string; readonly suffix: string }
  /** Notes that a missing segment was reported. */
  | { readonly kind: "note"; readonly path: string }
  | { readonly kind: "remove"; readonly path: string };

/** Carries repairs out. @throws StorageFailed */
export function repair(disk: Disk, repairs: readonly Repair[]): void {
  for (const step of repairs) {
    switch (step.kind) {
      case "cut":
        cut(disk, step.path, step.size);
        break;
      case "copy":
        // Under its own name only when it is whole: that name says that the damage was reported.
        salvageCopy(disk, step.path, `${step.path}${QUARANTINE}${UNFINISHED}`);
        disk.rename(`${step.path}${QUARANTINE}${UNFINISHED}`, freePath(disk, `${step.path}${QUARANTINE}`));
        break;
      case "move":
        disk.rename(step.path, freePath(disk, `${step.path}${step.suffix}`));
        break;
      case "note":
        disk.open(`${step.path}${QUARANTINE}`, "create").close();
        break;
      case "remove":
        disk.remove(step.path);
        break;
    }
  }
}

/** Makes repairs safe; not needed before the broker serves, see the head of this file. */
export async function syncRepairs(disk: Disk, directory: string, repairs: readonly Repair[]): Promise<void> {
  if (repairs.length === 0) return;
  for (const step of repairs) {
    if (step.kind !== "cut") continue;
    const file = disk.open(step.path, "write");
    try {
      await file.sync();
    } finally {
      file.close();
    }
  }
  await disk.syncDirectory(directory);
}

function cut(disk: Disk, path: string, size: number): void {
  const file = disk.open(path, "write");
  try {
    if (keepTail(disk, file, freePath(disk, `${path}${BROKEN}`), size)) file.truncate(size);
  } finally {
    file.close();
  }
}

/**
 * Copies what follows `size`; false when there is no space for that. Then it has to stay where it is, where it does no
 * harm: a segment ends where the next one begins.
 */
function keepTail(disk: Disk, file: DiskFile, path: string, size: number): boolean {
  const copy = disk.open(path, "create");
  try {
    copyFrom(file, copy, size);
    return true;
  } catch (cause) {
    if (!(cause instanceof StorageFailed && cause.isRetryable)) throw cause;
    disk.remove(path);
    return false;
  } finally {
    copy.close();
  }
}

/** The copies that were kept of a damaged segment, oldest first. */
export function quarantined(disk: Disk, path: string): string[] {
  const copies: string[] = [];
  const first = `${path}${QUARANTINE}`;
  for (let copy = first; disk.exists(copy); copy = numbered(first, copies.length + 1)) copies.push(copy);
  return copies;
}

/** The path, or the first with a number behind it that is free. */
function freePath(disk: Disk, path: string): string {
  let free = path;
  for (let number = 2; disk.exists(free); number++) free = numbered(path, number);
  return free;
}

function numbered(path: string, number: number): string {
  return `${path}.${number}`;
}
