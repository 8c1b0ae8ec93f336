/**
 * What every `Disk` must do, whatever it keeps files in. An implementation runs the whole suite by calling
 * `diskContract` from its own test file.
 */

import assert from "node:assert/strict";
import type { Disk } from "../../../src/storage/disk/disk.ts";
import { StorageFailed, type StorageReason } from "../../../src/storage/model/errors.ts";

/** A disk under test. */
export interface DiskUnderTest {
  readonly disk: Disk;
  /** An empty directory of the disk. */
  readonly directory: string;
  readonly close: () => void;
}

/**
 * Registers the suite.
 *
 * @param name Subject of the titles.
 */
export function diskContract(name: string, make: () => DiskUnderTest): void {
  const test = (title: string, run: (disk: Disk, directory: string) => void | Promise<void>) => {
    Deno.test(`${name} ${title}`, async () => {
      const subject = make();
      try {
        await run(subject.disk, subject.directory);
      } finally {
        subject.close();
      }
    });
  };
  openingContract(test);
  bytesContract(test);
  namesContract(test);
  lockContract(test);
}

type Test = (title: string, run: (disk: Disk, directory: string) => void | Promise<void>) => void;

function openingContract(test: Test): void {
  test("creates a file that is empty, and only where none is", (disk, directory) => {
    const path = `${directory}/a`;
    assert.equal(disk.exists(path), false);
    const file = disk.open(path, "create");
    assert.equal(file.path, path);
    assert.equal(file.size(), 0);
    assert.equal(disk.exists(path), true);
    assertFails(() => disk.open(path, "create"), "io", path);
    file.close();
  });

  test("opens only what exists, for reading and for both", (disk, directory) => {
    const path = `${directory}/a`;
    assertFails(() => disk.open(path, "read"), "not_found", path);
    assertFails(() => disk.open(path, "write"), "not_found", path);
    assert.deepEqual(disk.list(directory), []);
    putFile(disk, path, [1, 2, 3]);
    const file = disk.open(path, "write");
    file.write(Uint8Array.of(9), 0, 1, 1);
    file.close();
    assert.deepEqual(readFile(disk, path), [1, 9, 3]);
  });

  test("writes nothing through a file opened for reading", (disk, directory) => {
    const path = `${directory}/a`;
    putFile(disk, path, [1, 2, 3]);
    const file = disk.open(path, "read");
    assertFails(() => file.write(Uint8Array.of(9), 0, 1, 0), "io", path);
    assert.throws(() => file.truncate(0), StorageFailed);
    file.close();
    assert.deepEqual(readFile(disk, path), [1, 2, 3]);
  });

  test("creates no file in a directory that is not there", (disk, directory) => {
    assertFails(() => disk.open(`${directory}/none/a`, "create"), "not_found", `${directory}/none/a`);
  });

  test("does nothing with a file after it is closed, and closes twice", async (disk, directory) => {
    const path = `${directory}/a`;
    const file = disk.open(path, "create");
    file.write(Uint8Array.of(1), 0, 1, 0);
    file.close();
    file.close();
    // On a host the next file often gets the number of the closed one.
    const other = disk.open(`${directory}/b`, "create");
    assertFails(() => file.size(), "io", path);
    assertFails(() => file.write(Uint8Array.of(9), 0, 1, 0), "io", path);
    assertFails(() => file.read(new Uint8Array(1), 0, 1, 0), "io", path);
    assertFails(() => file.truncate(0), "io", path);
    await assertRejects(file.sync(), "io", path);
    assert.equal(other.size(), 0);
    other.close();
  });

  test("completes a sync that runs while its file is closed", async (disk, directory) => {
    const file = disk.open(`${directory}/a`, "create");
    file.write(new Uint8Array(65_536), 0, 65_536, 0);
    const running = file.sync();
    file.close();
    await running;
  });
}

function bytesContract(test: Test): void {
  test("writes a part of a buffer at an offset, and zeros before it", (disk, directory) => {
    const file = disk.open(`${directory}/a`, "create");
    file.write(Uint8Array.of(1, 2, 3, 4, 5), 1, 4, 6);
    assert.equal(file.size(), 9);
    file.write(Uint8Array.of(7, 8), 0, 2, 5);
    file.write(Uint8Array.of(1), 1, 1, 100);
    assert.equal(file.size(), 9);
    file.close();
    assert.deepEqual(readFile(disk, `${directory}/a`), [0, 0, 0, 0, 0, 7, 8, 3, 4]);
  });

  test("keeps no hold of a buffer it has written", (disk, directory) => {
    const file = disk.open(`${directory}/a`, "create");
    const bytes = Uint8Array.of(1, 2);
    file.write(bytes, 0, 2, 0);
    bytes.fill(9);
    file.close();
    assert.deepEqual(readFile(disk, `${directory}/a`), [1, 2]);
  });

  test("reads into a part of a buffer, and less only at the end", (disk, directory) => {
    putFile(disk, `${directory}/a`, [1, 2, 3, 4]);
    const file = disk.open(`${directory}/a`, "read");
    const into = new Uint8Array(6).fill(255);
    assert.equal(file.read(into, 1, 3, 1), 2);
    assert.deepEqual([...into], [255, 2, 3, 255, 255, 255]);
    assert.equal(file.read(into, 0, 6, 2), 2);
    assert.deepEqual([...into], [3, 4, 3, 255, 255, 255]);
    assert.equal(file.read(into, 0, 6, 4), 0);
    assert.equal(file.read(into, 0, 6, 1000), 0);
    assert.equal(file.read(into, 3, 3, 0), 0);
    assert.deepEqual([...into], [3, 4, 3, 255, 255, 255]);
    file.close();
  });

  test("reads through one file what was written through another", (disk, directory) => {
    const writer = disk.open(`${directory}/a`, "create");
    const reader = disk.open(`${directory}/a`, "read");
    writer.write(Uint8Array.of(1, 2, 3), 0, 3, 0);
    const into = new Uint8Array(3);
    assert.equal(reader.read(into, 0, 3, 0), 3);
    assert.deepEqual([...into], [1, 2, 3]);
    assert.equal(reader.size(), 3);
    writer.close();
    reader.close();
  });

  test("cuts a file and extends it with zeros", (disk, directory) => {
    putFile(disk, `${directory}/a`, [1, 2, 3, 4]);
    const file = disk.open(`${directory}/a`, "write");
    file.truncate(2);
    assert.equal(file.size(), 2);
    file.truncate(4);
    file.close();
    assert.deepEqual(readFile(disk, `${directory}/a`), [1, 2, 0, 0]);
  });

  test("goes on writing and reading while syncs run", async (disk, directory) => {
    const file = disk.open(`${directory}/a`, "create");
    const block = new Uint8Array(4096).fill(7);
    const syncs: Promise<void>[] = [];
    for (let i = 0; i < 16; i++) {
      file.write(block, 0, block.length, i * block.length);
      syncs.push(file.sync());
      assert.equal(file.read(new Uint8Array(1), 0, 1, i * block.length), 1);
    }
    await Promise.all(syncs);
    assert.equal(file.size(), 16 * 4096);
    file.close();
    assert(readFile(disk, `${directory}/a`).every((byte) => byte === 7));
  });

  test("still reads a file that was removed while it was open", (disk, directory) => {
    const path = `${directory}/a`;
    putFile(disk, path, [1, 2, 3]);
    const file = disk.open(path, "read");
    disk.remove(path);
    assert.equal(file.read(new Uint8Array(3), 0, 3, 0), 3);
    file.close();
  });
}

function namesContract(test: Test): void {
  test("lists names sorted, without what is below", (disk, directory) => {
    for (const name of ["b", "a.wal", "10", "B", "9"]) putFile(disk, `${directory}/${name}`, [1]);
    disk.makeDirectory(`${directory}/c`);
    putFile(disk, `${directory}/c/below`, [1]);
    assert.deepEqual(disk.list(directory), ["10", "9", "B", "a.wal", "b", "c"]);
    assertFails(() => disk.list(`${directory}/none`), "not_found", `${directory}/none`);
    assertFails(() => disk.list(`${directory}/b`), "io", `${directory}/b`);
  });

  test("makes directories with their parents, and again", (disk, directory) => {
    const path = `${directory}/a/b/c`;
    disk.makeDirectory(path);
    disk.makeDirectory(path);
    assert.equal(disk.exists(path), true);
    assert.deepEqual(disk.list(`${directory}/a`), ["b"]);
    putFile(disk, `${directory}/file`, [1]);
    assertFails(() => disk.makeDirectory(`${directory}/file`), "io", `${directory}/file`);
  });

  test("renames, also over another file", (disk, directory) => {
    putFile(disk, `${directory}/a`, [1]);
    putFile(disk, `${directory}/b`, [2]);
    disk.rename(`${directory}/a`, `${directory}/c`);
    disk.rename(`${directory}/c`, `${directory}/b`);
    assert.deepEqual(disk.list(directory), ["b"]);
    assert.deepEqual(readFile(disk, `${directory}/b`), [1]);
    assertFails(() => disk.rename(`${directory}/a`, `${directory}/d`), "not_found", `${directory}/a`);
    assertFails(() => disk.rename(`${directory}/b`, `${directory}/none/b`), "not_found", `${directory}/b`);
    disk.makeDirectory(`${directory}/below`);
    disk.rename(`${directory}/b`, `${directory}/below/b`);
    assert.deepEqual(disk.list(directory), ["below"]);
    assert.deepEqual(readFile(disk, `${directory}/below/b`), [1]);
  });

  test("removes a file, and does not mind one that is not there", (disk, directory) => {
    putFile(disk, `${directory}/a`, [1]);
    disk.remove(`${directory}/a`);
    disk.remove(`${directory}/a`);
    disk.remove(`${directory}/none/a`);
    assert.deepEqual(disk.list(directory), []);
  });

  test("copies over whatever is there", (disk, directory) => {
    putFile(disk, `${directory}/a`, [1, 2]);
    putFile(disk, `${directory}/b`, [3, 4, 5]);
    disk.copy(`${directory}/a`, `${directory}/b`);
    disk.copy(`${directory}/a`, `${directory}/c`);
    const original = disk.open(`${directory}/a`, "write");
    original.write(Uint8Array.of(9), 0, 1, 0);
    original.close();
    assert.deepEqual(readFile(disk, `${directory}/b`), [1, 2]);
    assert.deepEqual(readFile(disk, `${directory}/c`), [1, 2]);
    assertFails(() => disk.copy(`${directory}/none`, `${directory}/d`), "not_found", `${directory}/none`);
    assert.equal(disk.exists(`${directory}/d`), false);
  });

  test("syncs a directory that exists", async (disk, directory) => {
    putFile(disk, `${directory}/a`, [1]);
    await disk.syncDirectory(directory);
    await assertRejects(disk.syncDirectory(`${directory}/none`), "not_found", `${directory}/none`);
  });

  test("has free bytes", (disk, directory) => {
    const free = disk.freeBytes(directory);
    assert(Number.isSafeInteger(free) && free > 0, `${free} free bytes`);
    assertFails(() => disk.freeBytes(`${directory}/none`), "not_found", `${directory}/none`);
  });
}

function lockContract(test: Test): void {
  test("locks a file once until it is closed, and keeps the file", (disk, directory) => {
    const path = `${directory}/lock`;
    const first = disk.lock(path);
    assert.equal(disk.exists(path), true);
    assertFails(() => disk.lock(path), "locked", path);
    const other = disk.lock(`${directory}/other`);
    first.close();
    first.close();
    assert.equal(disk.exists(path), true);
    const second = disk.lock(path);
    // The first owner has nothing to give back any more.
    first.close();
    assertFails(() => disk.lock(path), "locked", path);
    second.close();
    other.close();
    assertFails(() => disk.lock(`${directory}/none/lock`), "not_found", `${directory}/none/lock`);
  });
}

/** Asserts that a call throws `StorageFailed` with this reason and path, told on one line. */
export function assertFails(call: () => unknown, reason: StorageReason, path: string): StorageFailed {
  let failure: unknown;
  try {
    call();
  } catch (thrown) {
    failure = thrown;
  }
  return assertFailure(failure, reason, path);
}

/** Asserts that a promise rejects with `StorageFailed`, see `assertFails`. */
export async function assertRejects(
  promise: Promise<unknown>,
  reason: StorageReason,
  path: string,
): Promise<StorageFailed> {
  const failure = await promise.then(() => undefined, (thrown) => thrown);
  return assertFailure(failure, reason, path);
}

function assertFailure(failure: unknown, reason: StorageReason, path: string): StorageFailed {
  assert(failure instanceof StorageFailed, `expected a failure with reason ${reason}, got ${String(failure)}`);
  assert.equal(failure.reason, reason, failure.message);
  assert.equal(failure.path, path);
  assert.match(failure.message, /^Cannot [a-z][a-z ]+ \S[^\n]*: [^\n]+$/);
  return failure;
}

/** Writes a new file, unsynced. */
export function putFile(disk: Disk, path: string, bytes: readonly number[]): void {
  const file = disk.open(path, "create");
  file.write(Uint8Array.from(bytes), 0, bytes.length, 0);
  file.close();
}

/** All bytes of a file. */
export function readFile(disk: Disk, path: string): number[] {
  const file = disk.open(path, "read");
  const bytes = new Uint8Array(file.size());
  assert.equal(file.read(bytes, 0, bytes.length, 0), bytes.length);
  file.close();
  return [...bytes];
}
