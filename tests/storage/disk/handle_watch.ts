/**
 * A disk that passes everything on and keeps an eye on open files: how many there are, and that none is closed twice or
 * while a sync of it is under way, which on a real system may hit a file that happens to have got the same number.
 */
import type { Disk, DiskFile } from "../../../src/storage/disk/disk.ts";

/** See the head of this file. */
export class HandleWatch implements Disk {
  /** What was done wrong, in words. */
  readonly mistakes: string[] = [];
  /** Files that are open now. */
  openCount = 0;
  /** Most files that were open at once. */
  openMax = 0;
  readonly #disk: Disk;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  open(path: string, mode: "read" | "write" | "create"): DiskFile {
    const file = this.#disk.open(path, mode);
    let isOpen = true;
    let syncs = 0;
    this.openMax = Math.max(this.openMax, ++this.openCount);
    return {
      path,
      size: () => file.size(),
      write: (bytes, start, end, at) => file.write(bytes, start, end, at),
      read: (into, start, end, at) => file.read(into, start, end, at),
      truncate: (size) => file.truncate(size),
      sync: async () => {
        syncs++;
        try {
          await file.sync();
        } finally {
          syncs--;
        }
      },
      close: () => {
        if (!isOpen) this.mistakes.push(`${path} is closed twice`);
        else this.openCount--;
        if (syncs > 0) this.mistakes.push(`${path} is closed while it is synced`);
        isOpen = false;
        file.close();
      },
    };
  }

  makeDirectory(path: string): void {
    this.#disk.makeDirectory(path);
  }

  list(path: string): string[] {
    return this.#disk.list(path);
  }

  exists(path: string): boolean {
    return this.#disk.exists(path);
  }

  rename(from: string, to: string): void {
    this.#disk.rename(from, to);
  }

  remove(path: string): void {
    this.#disk.remove(path);
  }

  copy(from: string, to: string): void {
    this.#disk.copy(from, to);
  }

  syncDirectory(path: string): Promise<void> {
    return this.#disk.syncDirectory(path);
  }

  freeBytes(path: string): number {
    return this.#disk.freeBytes(path);
  }

  lock(path: string): { readonly close: () => void } {
    return this.#disk.lock(path);
  }
}
