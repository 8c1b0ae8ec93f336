/**
 * The real disk: the port of `disk.ts` on the file system of the host. It knows the system's calls and the codes of its
 * failures, and nothing of logs, segments or SQLite.
 *
 * One descriptor per file serves everything. Measured on ext4, 4 KiB written before each sync: `fs.fdatasync` of that
 * descriptor and `Deno.FsFile.syncData` of a second one take the same 0.3 ms, and the positional `fs.writeSync` costs
 * what `FsFile.seekSync` with `writeSync` does, but moves no file pointer. Reads and writes go on while a sync runs,
 * and a file may be closed under it: the runtime syncs a duplicate of the descriptor.
 *
 * Two rules that the kernel does not keep for us:
 *
 * - A failed sync is told once and then forgotten, pages included; the next one would succeed without the bytes. So the
 *   syncs of a file run one after the other, and one failure is the answer to all that follow.
 * - A number of a closed descriptor is given to the next file. So a closed file forgets its own.
 */
import * as fs from "node:fs";
import { constants } from "node:os";
import { StorageFailed, type StorageReason } from "../model/errors.ts";
import type { Disk, DiskFile } from "./disk.ts";

/**
 * Opens the file system of the host.
 *
 * @returns A disk without state of its own. Its failures carry what the runtime threw as `cause`.
 */
export function openNodeDisk(): Disk {
  return {
    makeDirectory: (path) =>
      attempt("make directory", path, () => void fs.mkdirSync(path, { recursive: true, mode: DIRECTORY_MODE })),
    list: (path) => attempt("list", path, () => fs.readdirSync(path).sort()),
    exists: (path) => attempt("look for", path, () => fs.statSync(path, { throwIfNoEntry: false }) !== undefined),
    open: (path, mode) => new NodeFile(path, attempt(OPERATIONS[mode], path, () => openDescriptor(path, mode))),
    rename: (from, to) => attempt("rename", from, () => fs.renameSync(from, to)),
    remove,
    copy: (from, to) => attempt("copy", from, () => fs.copyFileSync(from, to)),
    syncDirectory,
    freeBytes: (path) => attempt("count the free bytes of", path, () => freeBytes(path)),
    lock,
  };
}

/** The store holds messages and the names of clients: nobody outside owner and group reads them. */
const DIRECTORY_MODE = 0o750;
const FILE_MODE = 0o640;

const FLAGS = { read: "r", write: "r+", create: "wx+" } as const;
const OPERATIONS = { read: "open", write: "open", create: "create" } as const;

function openDescriptor(path: string, mode: "read" | "write" | "create"): number {
  return fs.openSync(path, FLAGS[mode], FILE_MODE);
}

function remove(path: string): void {
  try {
    fs.unlinkSync(path);
  } catch (cause) {
    if (codeOf(cause) !== "ENOENT") throw failureOf("remove", path, cause);
  }
}

/** What an unprivileged process may use; root could also take what the file system keeps back. */
function freeBytes(path: string): number {
  const { bavail, bsize } = fs.statfsSync(path);
  return bavail * bsize;
}

async function syncDirectory(path: string): Promise<void> {
  const descriptor = attempt("open directory", path, () => fs.openSync(path, "r"));
  try {
    await new Promise<void>((resolve, reject) => {
      fs.fsync(descriptor, (cause) => cause ? reject(failureOf("sync directory", path, cause)) : resolve());
    });
  } finally {
    fs.closeSync(descriptor);
  }
}

/** See the head of this file. */
class NodeFile implements DiskFile {
  readonly path: string;
  /** -1 after `close`. */
  #descriptor: number;
  #lastSync: Promise<void> = Promise.resolve();
  /** Syncs that have not succeeded: running, waiting for another one, or failed. */
  #syncsOpen = 0;

  constructor(path: string, descriptor: number) {
    this.path = path;
    this.#descriptor = descriptor;
  }

  size(): number {
    const descriptor = this.#open("measure");
    try {
      return fs.fstatSync(descriptor).size;
    } catch (cause) {
      throw failureOf("measure", this.path, cause);
    }
  }

  write(bytes: Uint8Array, start: number, end: number, at: number): void {
    const descriptor = this.#open("write to");
    let done = start;
    try {
      while (done < end) {
        const written = fs.writeSync(descriptor, bytes, done, end - done, at + done - start);
        if (written === 0) throw new Error("the system wrote 0 bytes and reported no error");
        done += written;
      }
    } catch (cause) {
      throw failureOf("write to", this.path, cause);
    }
  }

  read(into: Uint8Array, start: number, end: number, at: number): number {
    const descriptor = this.#open("read");
    let done = start;
    try {
      while (done < end) {
        const got = fs.readSync(descriptor, into, done, end - done, at + done - start);
        if (got === 0) break;
        done += got;
      }
    } catch (cause) {
      throw failureOf("read", this.path, cause);
    }
    return done - start;
  }

  truncate(size: number): void {
    const descriptor = this.#open("truncate");
    try {
      fs.ftruncateSync(descriptor, size);
    } catch (cause) {
      throw failureOf("truncate", this.path, cause);
    }
  }

  sync(): Promise<void> {
    // A rejected promise runs no further step: what failed once fails for good.
    this.#lastSync = this.#syncsOpen === 0 ? this.#syncNow() : this.#lastSync.then(() => this.#syncNow());
    this.#syncsOpen += 1;
    return this.#lastSync;
  }

  /** A running sync completes all the same; one that waits for another fails. */
  close(): void {
    if (this.#descriptor === CLOSED) return;
    const descriptor = this.#descriptor;
    this.#descriptor = CLOSED;
    attempt("close", this.path, () => fs.closeSync(descriptor));
  }

  async #syncNow(): Promise<void> {
    const descriptor = this.#open("sync");
    await new Promise<void>((resolve, reject) => {
      fs.fdatasync(descriptor, (cause) => cause ? reject(failureOf("sync", this.path, cause)) : resolve());
    });
    this.#syncsOpen -= 1;
  }

  #open(operation: string): number {
    if (this.#descriptor !== CLOSED) return this.#descriptor;
    throw new StorageFailed({ operation, path: this.path, reason: "io", detail: "EBADF: the file is closed" });
  }
}

const CLOSED = -1;

/** The file stays when the lock goes: removing it could remove the one that the next owner has just locked. */
function lock(path: string): { readonly close: () => void } {
  const options = { read: true, write: true, create: true, mode: FILE_MODE };
  const file = attempt("open", path, () => Deno.openSync(path, options));
  try {
    if (!attempt("lock", path, () => file.tryLockSync(true))) {
      throw new StorageFailed({
        operation: "lock",
        path,
        reason: "locked",
        detail: attempt("read", path, () => describeOwner(file)),
      });
    }
    attempt("write the process id to", path, () => writeOwner(file));
  } catch (failure) {
    file.close();
    throw failure;
  }
  let isHeld = true;
  return {
    close: () => {
      if (isHeld) file.close();
      isHeld = false;
    },
  };
}

/** Writes first and cuts then, so that a disk that has become full does not keep a broker from starting. */
function writeOwner(file: Deno.FsFile): void {
  const line = new TextEncoder().encode(`${Deno.pid}\n`);
  file.writeSync(line);
  file.truncateSync(line.length);
}

function describeOwner(file: Deno.FsFile): string {
  const bytes = new Uint8Array(OWNER_BYTES_MAX);
  const got = file.readSync(bytes) ?? 0;
  const owner = new TextDecoder().decode(bytes.subarray(0, got)).split("\n")[0]!;
  return /^\d+$/.test(owner) ? `process ${owner} is using it` : "another process is using it";
}

/** More than any process id and its end of line. */
const OWNER_BYTES_MAX = 32;

/** Runs a call of the system. Only for what is not called per block: it makes a closure. */
function attempt<T>(operation: string, path: string, call: () => T): T {
  try {
    return call();
  } catch (cause) {
    throw failureOf(operation, path, cause);
  }
}

function failureOf(operation: string, path: string, cause: unknown): StorageFailed {
  const code = codeOf(cause);
  const known = code === undefined ? undefined : KNOWN_CODES[code];
  if (known !== undefined) {
    return new StorageFailed({ operation, path, reason: known[0], detail: `${code}: ${known[1]}`, cause });
  }
  const isDenied = cause instanceof Deno.errors.NotCapable || cause instanceof Deno.errors.PermissionDenied;
  const text = systemText(cause);
  const detail = code === undefined || text.startsWith(code) ? text : `${code}: ${text}`;
  return new StorageFailed({ operation, path, reason: isDenied ? "permission" : "io", detail, cause });
}

/** The runtime leaves the code out of some failures of writes and only tells the system's number of it. */
function codeOf(cause: unknown): string | undefined {
  if (!(cause instanceof Error)) return undefined;
  if ("code" in cause && typeof cause.code === "string") return cause.code;
  const number = Number(/\(os error (\d+)\)/.exec(cause.message)?.[1]);
  return Object.entries(constants.errno).find(([, each]) => each === number)?.[0];
}

/** The system's own words on one line, without the number, the call and the path that the runtime adds. */
function systemText(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  return text.split("\n")[0]!.replace(/ \(os error \d+\).*$/, "").replace(/, \w+(?: '.*)?$/, "");
}

/** Codes and their texts, which the runtime spells in several ways. Every other code is `io`. */
const KNOWN_CODES: Readonly<Record<string, readonly [StorageReason, string]>> = {
  ENOSPC: ["no_space", "no space left on device"],
  EDQUOT: ["no_space", "disk quota exceeded"],
  EIO: ["io", "input/output error"],
  EROFS: ["read_only", "read-only file system"],
  EACCES: ["permission", "permission denied"],
  EPERM: ["permission", "operation not permitted"],
  ENOENT: ["not_found", "no such file or directory"],
  EEXIST: ["io", "file already exists"],
  EBADF: ["io", "the file is not open for this"],
};
