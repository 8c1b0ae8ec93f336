/**
 * A disk in memory that fails like a real one, on request and the same way for the same seed.
 *
 * It keeps two states of everything: what programs see (the page cache) and what is safe on the device. Between them
 * stand, in order, the writes and truncations of each file that no `sync` covered and the names of each directory that
 * no `syncDirectory` covered. A crash decides what becomes of those:
 *
 *   kill    the process died: programs see the same as before, and what was not safe still is not
 *   power   per file everything unsynced is dropped, kept, or torn: each sector of 512 bytes is as it was after any
 *           of the writes that touched it, and the size is any it had; per directory a prefix of its operations
 *           happened. A file whose name was never made safe is gone, synced or not, and so is a new directory.
 *
 * `crash` gives the disk that the next process finds and makes this one fail for whoever still holds it; `image` gives
 * the same without ending anything, so that one run can be cut at each of its operations (`onChange`).
 *
 * Stricter than most file systems: nothing but `syncDirectory` of its directory makes a name safe, and a rename from
 * one directory to another is two operations. Use `settle` for the state a test starts from.
 */
import type { Disk, DiskFile } from "../../../src/storage/disk/disk.ts";
import { StorageFailed, type StorageReason } from "../../../src/storage/model/errors.ts";
import { Random } from "../../support/random.ts";
import {
  bytesIn,
  type Chance,
  cloneNode,
  DirectoryNode,
  FileNode,
  type GrowingBytes,
  type Node,
  settleNode,
  surviveNode,
} from "./faulty_disk_tree.ts";

/** What dies in a crash: the process, or the machine. */
export type CrashKind = "kill" | "power";

/** Operations that are counted and can be made to fail. */
export type DiskOperation =
  | "makeDirectory"
  | "list"
  | "exists"
  | "open"
  | "create"
  | "write"
  | "read"
  | "truncate"
  | "sync"
  | "syncDirectory"
  | "rename"
  | "remove"
  | "copy"
  | "freeBytes"
  | "lock";

/** See the head of this file. Paths are taken from `/`, which exists. */
export class FaultyDisk implements Disk {
  /** Bytes that all files together may have. Lower than what is used is allowed: nothing grows then. */
  capacityBytes: number;
  /** Refuses everything that changes something, and syncs, with `read_only`. */
  isReadOnly = false;
  /** Called after each change, also of part of a failing write, and after each completed sync. */
  onChange: ((operation: DiskOperation, path: string) => void) | undefined;

  readonly #seed: number;
  readonly #chance: Chance;
  readonly #counts = new Map<DiskOperation, number>();
  readonly #locks = new Set<FileNode>();
  #root = new DirectoryNode();
  #faults: Fault[] = [];
  #syncReason: StorageReason | undefined;
  #holding: "nothing" | "files" | "all" = "nothing";
  #held: HeldSync[] = [];
  #heldListeners: ((path: string) => void)[] = [];
  #isDown = false;

  /** @param options `seed` decides what a failed sync leaves behind. */
  constructor(options: { readonly capacityBytes?: number; readonly seed?: number } = {}) {
    this.capacityBytes = options.capacityBytes ?? DEFAULT_CAPACITY_BYTES;
    this.#seed = options.seed ?? 1;
    this.#chance = new Random(this.#seed);
  }

  // Crashes.

  /** Ends this disk for everybody who holds it, and returns the one that is found after the crash. */
  crash(chance: Chance, kind: CrashKind): FaultyDisk {
    const after = this.image(chance, kind);
    this.#isDown = true;
    // Nobody need be left who hears that a sync failed because the machine is down.
    for (const { result } of this.#held) result.catch(() => {});
    this.releaseSyncs();
    return after;
  }

  /** The disk that would be found after a crash now. This one goes on; locks, faults and counts are not taken over. */
  image(chance: Chance, kind: CrashKind): FaultyDisk {
    const after = new FaultyDisk({ capacityBytes: this.capacityBytes, seed: this.#seed });
    after.isReadOnly = kind === "kill" && this.isReadOnly;
    after.#root = kind === "kill" ? cloneNode(this.#root, new Map()) : surviveNode(this.#root, chance, new Map());
    return after;
  }

  /** Makes everything safe, as if the machine had been idle for long. */
  settle(): void {
    settleNode(this.#root);
  }

  // Faults.

  /**
   * Makes the nth call of an operation from now on fail; 1 is the next.
   *
   * A failing write leaves the first half of its bytes. A failing sync leaves any of the sectors it covers and forgets
   * the rest: what it covered is seen until the power goes, and no later sync makes it safe.
   */
  fail(operation: DiskOperation, n: number, reason: StorageReason): void {
    if (n < 1) throw new RangeError(`there is no call number ${n}`);
    this.#faults.push({ operation, callsLeft: n, reason });
  }

  /** See `fail`. */
  failWrite(n: number, reason: StorageReason): void {
    this.fail("write", n, reason);
  }

  /** See `fail`. Only syncs of files count; for directories there is `fail("syncDirectory", …)`. */
  failSync(n: number, reason: StorageReason): void {
    this.fail("sync", n, reason);
  }

  /** Makes every sync fail from now on, of files and of directories. */
  failSyncForever(reason: StorageReason): void {
    this.#syncReason = reason;
  }

  /** Forgets all faults that are still to come. A file whose sync failed stays failed. */
  heal(): void {
    this.#faults = [];
    this.#syncReason = undefined;
  }

  // Held syncs.

  /** Lets no sync complete until `finishSync`, of files only or also of directories. */
  holdSyncs(which: "files" | "all" = "files"): void {
    this.#holding = which;
  }

  /** Paths of the syncs that wait, the oldest first. */
  get heldSyncs(): readonly string[] {
    return this.#held.map(({ path }) => path);
  }

  /** Resolves with the path of the oldest held sync as soon as there is one. */
  heldSync(): Promise<string> {
    const oldest = this.#held[0];
    if (oldest !== undefined) return Promise.resolve(oldest.path);
    return new Promise((resolve) => this.#heldListeners.push(resolve));
  }

  /** Completes the oldest held sync: it covers what was written before it was called, and nothing later. */
  finishSync(): void {
    const oldest = this.#held.shift();
    if (oldest === undefined) throw new Error("no sync is held");
    oldest.finish();
  }

  /** Completes all held syncs and holds none any more. */
  releaseSyncs(): void {
    this.#holding = "nothing";
    while (this.#held.length > 0) this.finishSync();
  }

  // What is there.

  /** Calls of an operation so far, the failed ones included. */
  count(operation: DiskOperation): number {
    return this.#counts.get(operation) ?? 0;
  }

  /** Bytes of all files. */
  usedBytes(): number {
    return bytesIn(this.#root);
  }

  /** A copy of what programs see in a file. */
  contents(path: string): Uint8Array<ArrayBuffer> {
    return this.#fileAt("read", path).seen.copy();
  }

  /** Puts a file there, with its directories, safe and whatever the capacity is. */
  put(path: string, bytes: Uint8Array): void {
    const parts = partsOf(path);
    const name = parts.pop();
    if (name === undefined) throw new Error("no name of a file");
    let directory = this.#root;
    for (const part of parts) {
      const next = directory.entries.get(part) ?? new DirectoryNode();
      if (next instanceof FileNode) throw new Error(`${part} of ${path} is a file`);
      directory.putSafe(part, next);
      directory = next;
    }
    const file = new FileNode();
    file.seen.write(0, bytes);
    file.safe.write(0, bytes);
    directory.putSafe(name, file);
  }

  // Damage, on what is safe and what is seen.

  /** Inverts bits of one byte. */
  flipByte(path: string, offset: number, mask = 0xff): void {
    this.#damage(path, (bytes) => {
      if (offset >= bytes.size || (mask & 0xff) === 0) throw new RangeError(`nothing to flip at ${offset} of ${path}`);
      const byte = new Uint8Array(1);
      bytes.read(byte, offset);
      bytes.write(offset, Uint8Array.of(byte[0]! ^ mask));
    });
  }

  /** Cuts the file. */
  shrink(path: string, size: number): void {
    this.#damage(path, (bytes) => {
      if (size > bytes.size) throw new RangeError(`${path} has only ${bytes.size} bytes`);
      bytes.resize(size);
    });
  }

  /** Overwrites `from` to `to`, which is not included, with zeros. */
  zero(path: string, from: number, to: number): void {
    this.#damage(path, (bytes) => {
      if (to > bytes.size) throw new RangeError(`${path} has only ${bytes.size} bytes`);
      bytes.write(from, new Uint8Array(to - from));
    });
  }

  /**
   * Makes `from` to `to`, which is not included, unreadable: every read that touches it fails with `io`, and so does a
   * copy of the file, wherever that is moved to.
   */
  breakRange(path: string, from: number, to: number): void {
    this.#fileAt("damage", path).broken.push({ from, to });
  }

  #damage(path: string, change: (bytes: GrowingBytes) => void): void {
    const file = this.#fileAt("damage", path);
    settleNode(file);
    change(file.seen);
    change(file.safe);
  }

  // The port.

  makeDirectory(path: string): void {
    this.#begin("makeDirectory", path);
    this.#refuseReadOnly("makeDirectory", path);
    let directory = this.#root;
    let isNew = false;
    for (const part of partsOf(path)) {
      let next = directory.entries.get(part);
      if (next instanceof FileNode) throw failed("makeDirectory", path, "io", "EEXIST: file already exists");
      if (next === undefined) {
        next = new DirectoryNode();
        directory.apply({ kind: "set", name: part, node: next });
        isNew = true;
      }
      directory = next;
    }
    if (isNew) this.#changed("makeDirectory", path);
  }

  list(path: string): string[] {
    this.#begin("list", path);
    return [...this.#directoryAt("list", path).entries.keys()].sort();
  }

  exists(path: string): boolean {
    this.#begin("exists", path);
    return this.#nodeAt(path) !== undefined;
  }

  open(path: string, mode: "read" | "write" | "create"): DiskFile {
    this.#begin(mode === "create" ? "create" : "open", path);
    if (mode !== "create") {
      const file = this.#fileAt("open", path);
      if (mode === "write") this.#refuseReadOnly("open", path);
      return this.#handle(path, file, mode);
    }
    const { directory, name } = this.#placeOf("create", path);
    if (directory.entries.has(name)) throw failed("create", path, "io", "EEXIST: file already exists");
    this.#refuseReadOnly("create", path);
    const file = new FileNode();
    directory.apply({ kind: "set", name, node: file });
    this.#changed("create", path);
    return this.#handle(path, file, mode);
  }

  rename(from: string, to: string): void {
    this.#begin("rename", from);
    const source = this.#placeOf("rename", from);
    const node = source.directory.entries.get(source.name);
    if (node === undefined) throw failed("rename", from, "not_found");
    const target = this.#placeOf("rename", to, from);
    this.#refuseReadOnly("rename", from);
    if (source.directory === target.directory) {
      source.directory.apply({ kind: "rename", from: source.name, name: target.name, node });
    } else {
      target.directory.apply({ kind: "set", name: target.name, node });
      source.directory.apply({ kind: "remove", name: source.name });
    }
    this.#changed("rename", from);
  }

  remove(path: string): void {
    this.#begin("remove", path);
    this.#refuseReadOnly("remove", path);
    const node = this.#nodeAt(path);
    if (node === undefined) return;
    if (node instanceof DirectoryNode) throw failed("remove", path, "io", "EISDIR: is a directory");
    const { directory, name } = this.#placeOf("remove", path);
    directory.apply({ kind: "remove", name });
    this.#changed("remove", path);
  }

  copy(from: string, to: string): void {
    this.#begin("copy", from);
    const source = this.#fileAt("copy", from);
    if (source.broken.length > 0) throw failed("copy", from, "io");
    const bytes = source.seen.copy();
    const { directory, name } = this.#placeOf("copy", to, from);
    this.#refuseReadOnly("copy", from);
    let file = directory.entries.get(name);
    if (file instanceof DirectoryNode) throw failed("copy", from, "io", "EISDIR: is a directory");
    if (file === undefined) {
      file = new FileNode();
      directory.apply({ kind: "set", name, node: file });
    }
    file.apply({ kind: "resize", size: 0 });
    const fitting = this.#fitting(file, 0, bytes.length);
    file.apply({ kind: "write", at: 0, bytes: bytes.slice(0, fitting) });
    this.#changed("copy", to);
    if (fitting < bytes.length) throw failed("copy", from, "no_space");
  }

  syncDirectory(path: string): Promise<void> {
    let directory: DirectoryNode;
    try {
      directory = this.#directoryAt("syncDirectory", path);
    } catch (failure) {
      return Promise.reject(failure);
    }
    const covered = directory.pending.length;
    const before = directory.forgotten;
    return this.#sync("syncDirectory", path, undefined, () => {
      directory.makeSafe(covered - (directory.forgotten - before));
    }, () => {});
  }

  freeBytes(path: string): number {
    this.#begin("freeBytes", path);
    if (this.#nodeAt(path) === undefined) throw failed("freeBytes", path, "not_found");
    return Math.max(0, this.capacityBytes - this.usedBytes());
  }

  lock(path: string): { readonly close: () => void } {
    this.#begin("lock", path);
    this.#refuseReadOnly("lock", path);
    const { directory, name } = this.#placeOf("lock", path);
    let file = directory.entries.get(name);
    if (file instanceof DirectoryNode) throw failed("lock", path, "io", "EISDIR: is a directory");
    if (file === undefined) {
      file = new FileNode();
      directory.apply({ kind: "set", name, node: file });
      this.#changed("lock", path);
    }
    const locked = file;
    if (this.#locks.has(locked)) throw failed("lock", path, "locked", "another process is using it");
    this.#locks.add(locked);
    let isHeld = true;
    return {
      close: () => {
        if (isHeld) this.#locks.delete(locked);
        isHeld = false;
      },
    };
  }

  #handle(path: string, file: FileNode, mode: "read" | "write" | "create"): DiskFile {
    const state: HandleState = { failure: undefined, isOpen: true };
    const use = (operation: string) => {
      if (!state.isOpen) throw failed(operation, path, "io", "EBADF: the file is closed");
    };
    const change = (operation: string) => {
      use(operation);
      if (mode === "read") throw failed(operation, path, "io", "EBADF: the file is not open for this");
    };
    return {
      path,
      size: () => {
        use("measure");
        this.#refuseDown("measure", path);
        return file.seen.size;
      },
      write: (bytes, start, end, at) => {
        change("write");
        this.#write(file, path, bytes.subarray(start, end), at);
      },
      read: (into, start, end, at) => {
        use("read");
        this.#begin("read", path);
        const isBroken = file.broken.some(({ from, to }) => from < at + end - start && to > at);
        if (isBroken) throw failed("read", path, "io");
        return file.seen.read(into.subarray(start, end), at);
      },
      truncate: (size) => {
        change("truncate");
        this.#begin("truncate", path);
        this.#refuseReadOnly("truncate", path);
        if (this.#fitting(file, 0, size) < size) throw failed("truncate", path, "no_space");
        file.apply({ kind: "resize", size });
        this.#changed("truncate", path);
      },
      sync: () => {
        try {
          use("sync");
        } catch (failure) {
          return Promise.reject(failure);
        }
        const covered = file.pending.length;
        const before = file.forgotten;
        const left = () => covered - (file.forgotten - before);
        return this.#sync("sync", path, state, () => file.makeSafe(left()), () => file.lose(left(), this.#chance));
      },
      close: () => {
        state.isOpen = false;
      },
    };
  }

  #write(file: FileNode, path: string, bytes: Uint8Array, at: number): void {
    const fault = this.#count("write", path);
    this.#refuseReadOnly("write", path);
    const wanted = fault === undefined ? bytes.length : bytes.length >> 1;
    const fitting = this.#fitting(file, at, wanted);
    if (fitting > 0) {
      file.apply({ kind: "write", at, bytes: bytes.slice(0, fitting) });
      this.#changed("write", path);
    }
    if (fault !== undefined) throw failed("write", path, fault);
    if (fitting < bytes.length) throw failed("write", path, "no_space");
  }

  /** How many of `length` bytes at `at` find room. Overwriting needs none. */
  #fitting(file: FileNode, at: number, length: number): number {
    const growth = at + length - file.seen.size;
    if (growth <= 0) return length;
    const free = Math.max(0, this.capacityBytes - this.usedBytes());
    return growth <= free ? length : Math.max(0, length - (growth - free));
  }

  #sync(
    operation: "sync" | "syncDirectory",
    path: string,
    state: HandleState | undefined,
    makeSafe: () => void,
    lose: () => void,
  ): Promise<void> {
    let fault: StorageReason | undefined;
    try {
      if (state?.failure !== undefined) throw state.failure;
      fault = this.#count(operation, path) ?? this.#syncReason ?? (this.isReadOnly ? "read_only" : undefined);
    } catch (failure) {
      return Promise.reject(failure);
    }
    const complete = () => {
      this.#refuseDown(operation, path);
      if (state?.failure !== undefined) throw state.failure;
      if (fault === undefined) makeSafe();
      else lose();
      this.#changed(operation, path);
      if (fault === undefined) return;
      const failure = failed(operation, path, fault);
      if (state !== undefined) state.failure = failure;
      throw failure;
    };
    const isHeld = this.#holding === "all" || (this.#holding === "files" && operation === "sync");
    const { promise: result, resolve, reject } = Promise.withResolvers<void>();
    const finish = () => {
      try {
        complete();
        resolve();
      } catch (failure) {
        reject(failure);
      }
    };
    if (isHeld) {
      this.#held.push({ path, finish, result });
      for (const listener of this.#heldListeners.splice(0)) listener(path);
    } else finish();
    return result;
  }

  /** Counts a call and fails it when that was asked for. */
  #begin(operation: DiskOperation, path: string): void {
    const fault = this.#count(operation, path);
    if (fault !== undefined) throw failed(operation, path, fault);
  }

  /** Counts a call and returns the reason it has to fail for, if any. */
  #count(operation: DiskOperation, path: string): StorageReason | undefined {
    this.#refuseDown(operation, path);
    this.#counts.set(operation, this.count(operation) + 1);
    for (const fault of this.#faults) if (fault.operation === operation) fault.callsLeft -= 1;
    const due = this.#faults.find(({ callsLeft }) => callsLeft === 0);
    this.#faults = this.#faults.filter(({ callsLeft }) => callsLeft > 0);
    return due?.reason;
  }

  #changed(operation: DiskOperation, path: string): void {
    this.onChange?.(operation, path);
  }

  #refuseDown(operation: string, path: string): void {
    if (this.#isDown) throw failed(operation, path, "io", "the machine is down");
  }

  #refuseReadOnly(operation: string, path: string): void {
    if (this.isReadOnly) throw failed(operation, path, "read_only");
  }

  #nodeAt(path: string): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const part of partsOf(path)) node = node instanceof DirectoryNode ? node.entries.get(part) : undefined;
    return node;
  }

  /** @param told The path that a failure names. */
  #directoryAt(operation: string, path: string, told = path): DirectoryNode {
    this.#refuseDown(operation, told);
    const node = this.#nodeAt(path);
    if (node === undefined) throw failed(operation, told, "not_found");
    if (node instanceof FileNode) throw failed(operation, told, "io", "ENOTDIR: not a directory");
    return node;
  }

  #fileAt(operation: string, path: string): FileNode {
    const node = this.#nodeAt(path);
    if (node === undefined) throw failed(operation, path, "not_found");
    if (node instanceof DirectoryNode) throw failed(operation, path, "io", "EISDIR: is a directory");
    return node;
  }

  #placeOf(operation: string, path: string, told = path): { readonly directory: DirectoryNode; readonly name: string } {
    const parts = partsOf(path);
    const name = parts.pop();
    if (name === undefined) throw failed(operation, path, "io", "EISDIR: is a directory");
    return { directory: this.#directoryAt(operation, `/${parts.join("/")}`, told), name };
  }
}

/** 1 TiB: never reached by accident. */
const DEFAULT_CAPACITY_BYTES = 2 ** 40;

interface Fault {
  readonly operation: DiskOperation;
  callsLeft: number;
  readonly reason: StorageReason;
}

interface HeldSync {
  readonly path: string;
  readonly finish: () => void;
  readonly result: Promise<void>;
}

interface HandleState {
  /** Of the first sync that failed. */
  failure: StorageFailed | undefined;
  isOpen: boolean;
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

/** Operations whose name does not complete "Cannot …". */
const WORDS: Readonly<Record<string, string>> = {
  makeDirectory: "make directory",
  exists: "look for",
  write: "write to",
  syncDirectory: "sync directory",
  freeBytes: "count the free bytes of",
};

const DETAILS: Readonly<Partial<Record<StorageReason, string>>> = {
  no_space: "ENOSPC: no space left on device",
  io: "EIO: input/output error",
  read_only: "EROFS: read-only file system",
  permission: "EACCES: permission denied",
  not_found: "ENOENT: no such file or directory",
};

function failed(operation: string, path: string, reason: StorageReason, detail?: string): StorageFailed {
  return new StorageFailed({
    operation: WORDS[operation] ?? operation,
    path,
    reason,
    detail: detail ?? DETAILS[reason] ?? reason,
  });
}
