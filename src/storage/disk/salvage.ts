/**
 * Reads and copies what a device still gives of a file: a page that it cannot read becomes zeros, which no checksum
 * fits, and so is damage like any other to whoever reads on. Only failures of the device are met in this way.
 */
import { StorageFailed } from "../model/errors.ts";
import type { Disk, DiskFile } from "./disk.ts";

/**
 * Reads as `DiskFile.read` does, but for pages that cannot be read.
 *
 * @param unreadable Told of each of them, as offsets in the file.
 * @returns The bytes read, zeros for pages included; fewer only at the end of the file.
 * @throws StorageFailed for another reason than `io`.
 */
export function salvage(
  file: DiskFile,
  into: Uint8Array,
  start: number,
  end: number,
  at: number,
  unreadable: (from: number, to: number) => void = () => {},
): number {
  try {
    return file.read(into, start, end, at);
  } catch (cause) {
    if (!isOfDevice(cause)) throw cause;
  }
  let offset = at;
  const stop = at + end - start;
  while (offset < stop) {
    const next = Math.min(stop, (Math.floor(offset / PAGE_BYTES) + 1) * PAGE_BYTES);
    const place = start + offset - at;
    try {
      const read = file.read(into, place, place + next - offset, offset);
      offset += read;
      if (offset < next) break;
    } catch (cause) {
      if (!isOfDevice(cause)) throw cause;
      into.fill(0, place, place + next - offset);
      unreadable(offset, next);
      offset = next;
    }
  }
  return offset - at;
}

/** Copies what can be read of a file to one that is made anew; the rest is zeros. @throws StorageFailed */
export function salvageCopy(disk: Disk, from: string, to: string): void {
  disk.remove(to);
  const source = disk.open(from, "read");
  try {
    const copy = disk.open(to, "create");
    try {
      copyFrom(source, copy, 0);
    } finally {
      copy.close();
    }
  } finally {
    source.close();
  }
}

/** Appends what follows `from` in a file to an empty one; what cannot be read becomes zeros. */
export function copyFrom(source: DiskFile, copy: DiskFile, from: number): void {
  const piece = new Uint8Array(PIECE_BYTES);
  const size = source.size();
  for (let at = from; at < size;) {
    const read = salvage(source, piece, 0, Math.min(PIECE_BYTES, size - at), at);
    if (read === 0) return;
    copy.write(piece, 0, read, at - from);
    at += read;
  }
}

function isOfDevice(cause: unknown): boolean {
  return cause instanceof StorageFailed && cause.reason === "io";
}

/** What devices lose at once, or less. */
const PAGE_BYTES = 4_096;
const PIECE_BYTES = 262_144;
