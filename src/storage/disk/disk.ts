/**
 * The port to the file system: the only place of the store that touches files, so that tests can put a faulty disk in
 * its place.
 *
 * Reads and writes are positional and synchronous: they move bytes between memory and the page cache. What waits for
 * the device (`sync`, `syncDirectory`) is a promise. Every failure is a `StorageFailed`, thrown or rejected with.
 */

/** An open file. */
export interface DiskFile {
  readonly path: string;
  /** Bytes in the file now. */
  size(): number;
  /**
   * Writes `bytes[start..end]` at offset `at` of the file; a short write is continued.
   *
   * On failure an unknown part of it was written; writing the same again later is allowed.
   */
  write(bytes: Uint8Array, start: number, end: number, at: number): void;
  /** Reads into `into[start..end]` from offset `at`. Returns the bytes read, fewer only at the end of the file. */
  read(into: Uint8Array, start: number, end: number, at: number): number;
  /** Cuts or extends the file. */
  truncate(size: number): void;
  /** Makes the file's bytes and size safe (fdatasync). One failure is final for the file: never retry. */
  sync(): Promise<void>;
  close(): void;
}

/** A file system. Paths are the host's. */
export interface Disk {
  /** Creates a directory and its parents unless it exists. */
  makeDirectory(path: string): void;
  /** Names of the entries of a directory, sorted. */
  list(path: string): string[];
  /** True when something exists at the path. */
  exists(path: string): boolean;
  /**
   * Opens a file.
   *
   * @param mode `read`: must exist, for reading. `write`: must exist, for both. `create`: must not exist, for both.
   */
  open(path: string, mode: "read" | "write" | "create"): DiskFile;
  rename(from: string, to: string): void;
  /** Removes a file; fine when it is not there. */
  remove(path: string): void;
  /** Copies a file over whatever is at `to`. */
  copy(from: string, to: string): void;
  /** Makes the names in a directory safe: created, renamed and removed files (fsync of the directory). */
  syncDirectory(path: string): Promise<void>;
  /** Bytes that this program may still write to the file system of a directory. */
  freeBytes(path: string): number;
  /**
   * Takes the exclusive lock of a file, which is made if need be, until `close` or the end of the process.
   *
   * Fails at once with reason `locked` when another process has it.
   */
  lock(path: string): { readonly close: () => void };
}
