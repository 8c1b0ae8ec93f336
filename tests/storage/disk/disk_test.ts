/** The disk of the host and the faulty disk of the tests: one contract, and what is special about each. */

import assert from "node:assert/strict";
import type { Disk, DiskFile } from "../../../src/storage/disk/disk.ts";
import { openNodeDisk } from "../../../src/storage/disk/node_disk.ts";
import { StorageFailed, type StorageReason } from "../../../src/storage/model/errors.ts";
import { childEnvironment } from "../../support/child_environment.ts";
import { Random } from "../../support/random.ts";
import { assertFails, assertRejects, diskContract, putFile, readFile } from "./disk_contract.ts";
import { type DiskOperation, FaultyDisk } from "./faulty_disk.ts";
import { SECTOR_BYTES } from "./faulty_disk_tree.ts";

diskContract("NodeDisk", () => {
  const directory = Deno.makeTempDirSync();
  return { disk: openNodeDisk(), directory, close: () => Deno.removeSync(directory, { recursive: true }) };
});

diskContract("FaultyDisk", () => {
  const disk = new FaultyDisk();
  disk.makeDirectory("/data");
  return { disk, directory: "/data", close: () => {} };
});

// The disk of the host.

/** 64 MiB in blocks of 512 bytes, as shells count: more than any file that the runtime itself writes. */
const FILE_BLOCKS_MAX = 131_072;
const NODE_DISK = new URL("../../../src/storage/disk/node_disk.ts", import.meta.url).href;

Deno.test("NodeDisk locks out another process and tells it who has the lock", async () => {
  await inTempDirectory(async (directory) => {
    const disk = openNodeDisk();
    const path = `${directory}/lock`;
    const first = disk.lock(path);
    assert.equal(await lockElsewhere(path), `locked: process ${Deno.pid} is using it`);
    first.close();
    assert.equal(await lockElsewhere(path), "taken");
    // The other process ended with the lock, and the system gave it back.
    disk.lock(path).close();
    assert.equal(Deno.readTextFileSync(path), `${Deno.pid}\n`);
  });
});

Deno.test("NodeDisk leaves no rest of a longer process id in a lock", async () => {
  await inTempDirectory((directory) => {
    const path = `${directory}/lock`;
    Deno.writeTextFileSync(path, "12345678901234567890\n");
    const lock = openNodeDisk().lock(path);
    assert.equal(Deno.readTextFileSync(path), `${Deno.pid}\n`);
    lock.close();
  });
});

Deno.test("NodeDisk says no_space in the words of the system, and nothing of the bytes", () => {
  const file = openNodeDisk().open("/dev/full", "write");
  const failure = assertFails(() => file.write(Uint8Array.of(1, 2, 3), 0, 3, 0), "no_space", "/dev/full");
  assert.equal(failure.message, "Cannot write to /dev/full: ENOSPC: no space left on device");
  assert.equal(failure.isRetryable, true);
  assert(failure.cause instanceof Error);
  file.close();
});

Deno.test("NodeDisk continues a short write, and names what ends it", async () => {
  await inTempDirectory(async (directory) => {
    // The system cuts a write at the largest size that the process may give a file, and refuses the next.
    const said = await runElsewhere(
      `const file = openNodeDisk().open(path, "create");
       const limit = ${FILE_BLOCKS_MAX} * 512;
       file.truncate(limit - 100);
       try {
         file.write(new Uint8Array(4096).fill(7), 1000, 4096, limit - 100);
       } catch (failure) {
         console.log(failure.reason + ": " + failure.detail);
       }
       const bytes = new Uint8Array(200);
       console.log(file.size() - limit, file.read(bytes, 0, 200, limit - 200), bytes.indexOf(7));`,
      `${directory}/a`,
      ["--allow-read", "--allow-write"],
      `trap "" XFSZ; ulimit -f ${FILE_BLOCKS_MAX};`,
    );
    assert.match(said, /^io: EFBIG: [^\n]*\n0 200 100$/);
  });
});

Deno.test("NodeDisk answers every sync after a failed one with the same failure", async () => {
  // A device that cannot be synced stands for one that fails.
  const file = openNodeDisk().open("/dev/full", "write");
  const together = await Promise.allSettled([file.sync(), file.sync()]);
  const failure = await assertRejects(file.sync(), "io", "/dev/full");
  assert.match(failure.detail, /^EINVAL: /);
  assert.deepEqual(together.map((sync) => sync.status === "rejected" && sync.reason === failure), [true, true]);
  file.close();
  const fresh = openNodeDisk().open("/dev/full", "write");
  assert.notEqual(await assertRejects(fresh.sync(), "io", "/dev/full"), failure);
  fresh.close();
});

Deno.test("NodeDisk calls a missing right of the program a permission", async () => {
  await inTempDirectory(async (directory) => {
    Deno.writeTextFileSync(`${directory}/a`, "a");
    const said = await runElsewhere(
      `const disk = openNodeDisk();
       const calls = [() => disk.open(path, "read"), () => disk.list(path), () => disk.exists(path),
         () => disk.open(path, "write"), () => disk.open(path, "create"), () => disk.remove(path),
         () => disk.rename(path, path), () => disk.makeDirectory(path), () => disk.copy(path, path),
         () => disk.lock(path), () => disk.freeBytes(path)];
       const failures = [];
       for (const call of calls) try { call(); } catch (failure) { failures.push(failure); }
       await disk.syncDirectory(path).catch((failure) => failures.push(failure));
       console.log(failures.map((failure) => failure.reason).join(" "));
       console.log(failures.every((failure) => /^Cannot [^\\n]+$/.test(failure.message)));`,
      `${directory}/a`,
      [],
    );
    assert.equal(said, `${Array(12).fill("permission").join(" ")}\ntrue`);
  });
});

Deno.test("NodeDisk gives nothing of what it makes to users outside the group", async () => {
  await inTempDirectory((directory) => {
    const disk = openNodeDisk();
    disk.makeDirectory(`${directory}/data`);
    putFile(disk, `${directory}/data/a`, [1]);
    disk.lock(`${directory}/data/lock`).close();
    for (const name of ["data", "data/a", "data/lock"]) {
      assert.equal(Deno.statSync(`${directory}/${name}`).mode! & 0o007, 0, name);
    }
  });
});

Deno.test("NodeDisk names the system's code of a failure it has no words for", async () => {
  await inTempDirectory((directory) => {
    const disk = openNodeDisk();
    putFile(disk, `${directory}/a`, [1]);
    const failure = assertFails(() => disk.open(`${directory}/a/b`, "read"), "io", `${directory}/a/b`);
    assert.match(failure.detail, /^ENOTDIR: [^']*$/);
  });
});

// The faulty disk: crashes.

Deno.test("FaultyDisk keeps what was synced through every power cut", async () => {
  const disk = faultyDisk();
  const file = disk.open("/data/a", "create");
  file.write(filled(2000, 1), 0, 2000, 0);
  await file.sync();
  await disk.syncDirectory("/data");
  for (let seed = 1; seed <= 50; seed++) {
    const after = disk.image(new Random(seed), "power");
    assert.deepEqual(after.contents("/data/a"), filled(2000, 1));
  }
});

Deno.test("FaultyDisk drops, keeps or tears in sectors what was not synced", async () => {
  const disk = faultyDisk();
  const size = 8 * SECTOR_BYTES;
  const file = disk.open("/data/a", "create");
  file.write(filled(size, 1), 0, size, 0);
  await file.sync();
  await disk.syncDirectory("/data");
  file.write(filled(size, 2), 0, size, 0);
  file.write(filled(SECTOR_BYTES, 3), 0, SECTOR_BYTES, 0);
  const fates = new Set<string>();
  const firstSectors = new Set<number>();
  for (let seed = 1; seed <= 200; seed++) {
    const bytes = disk.image(new Random(seed), "power").contents("/data/a");
    const sectors = sectorsOf(bytes);
    firstSectors.add(sectors[0]!);
    const later = new Set(sectors.slice(1));
    fates.add(later.size === 2 ? "torn" : later.has(1) ? "dropped" : "kept");
  }
  assert.deepEqual([...fates].sort(), ["dropped", "kept", "torn"]);
  assert.deepEqual([...firstSectors].sort(), [1, 2, 3]);
});

Deno.test("FaultyDisk leaves any size that an unsynced file had, and zeros where no bytes arrived", async () => {
  const disk = faultyDisk();
  const file = disk.open("/data/a", "create");
  await disk.syncDirectory("/data");
  for (let i = 0; i < 4; i++) file.write(filled(1000, 1), 0, 1000, i * 1000);
  file.truncate(500);
  const sizes = new Set<number>();
  let hasHole = false;
  for (let seed = 1; seed <= 200; seed++) {
    const bytes = disk.image(new Random(seed), "power").contents("/data/a");
    sizes.add(bytes.length);
    hasHole ||= bytes.includes(0);
    assert(bytes.every((byte) => byte < 2));
  }
  assert.deepEqual([...sizes].sort((a, b) => a - b), [0, 500, 1000, 2000, 3000, 4000]);
  assert(hasHole);
});

Deno.test("FaultyDisk performs a prefix of the unsynced operations of a directory", async () => {
  const disk = faultyDisk();
  disk.put("/data/old", Uint8Array.of(1));
  await synced(disk, "/data/new", [2]);
  disk.rename("/data/new", "/data/renamed");
  disk.remove("/data/old");
  const seen = new Set<string>();
  for (let seed = 1; seed <= 100; seed++) {
    seen.add(disk.image(new Random(seed), "power").list("/data").join(" "));
  }
  assert.deepEqual([...seen].sort(), ["new old", "old", "old renamed", "renamed"]);
  await disk.syncDirectory("/data");
  for (let seed = 1; seed <= 50; seed++) {
    assert.deepEqual(disk.image(new Random(seed), "power").list("/data"), ["renamed"]);
  }
});

Deno.test("FaultyDisk loses a synced file in a directory whose own name is not safe", async () => {
  const disk = faultyDisk();
  disk.makeDirectory("/data/wal");
  await synced(disk, "/data/wal/a", [1]);
  await disk.syncDirectory("/data/wal");
  const found = () => new Set(seeds(50).map((seed) => disk.image(new Random(seed), "power").exists("/data/wal/a")));
  assert.deepEqual(found(), new Set([true, false]));
  await disk.syncDirectory("/data");
  assert.deepEqual(found(), new Set([true]));
});

Deno.test("FaultyDisk shows everything written after a kill, and still has it unsynced", () => {
  const disk = faultyDisk();
  putFile(disk, "/data/a", [1, 2, 3]);
  disk.lock("/data/lock");
  const after = disk.crash(new Random(1), "kill");
  assert.deepEqual(readFile(after, "/data/a"), [1, 2, 3]);
  after.lock("/data/lock").close();
  const survived = new Set(seeds(50).map((seed) => after.image(new Random(seed), "power").exists("/data/a")));
  assert.deepEqual(survived, new Set([true, false]));
  after.settle();
  assert.deepEqual(readFile(after.crash(new Random(1), "power"), "/data/a"), [1, 2, 3]);
});

Deno.test("FaultyDisk is down after a crash for whoever still holds it", async () => {
  const disk = faultyDisk();
  const file = disk.open("/data/a", "create");
  disk.holdSyncs();
  const held = file.sync();
  const after = disk.crash(new Random(1), "kill");
  await assertRejects(held, "io", "/data/a");
  assertFails(() => file.write(Uint8Array.of(1), 0, 1, 0), "io", "/data/a");
  assertFails(() => file.read(new Uint8Array(1), 0, 1, 0), "io", "/data/a");
  assertFails(() => file.size(), "io", "/data/a");
  await assertRejects(file.sync(), "io", "/data/a");
  await assertRejects(disk.syncDirectory("/data"), "io", "/data");
  assertFails(() => disk.open("/data/b", "create"), "io", "/data/b");
  assertFails(() => disk.list("/data"), "io", "/data");
  assert.deepEqual(after.list("/data"), ["a"]);
});

Deno.test("FaultyDisk does the same for the same seeds, and images do not share bytes", async () => {
  const run = async (seed: number) => {
    const disk = new FaultyDisk({ seed });
    disk.makeDirectory("/data");
    disk.settle();
    const file = disk.open("/data/a", "create");
    await disk.syncDirectory("/data");
    disk.failSync(1, "io");
    for (let i = 0; i < 20; i++) file.write(filled(700, i + 1), 0, 700, i * 600);
    await assertRejects(file.sync(), "io", "/data/a");
    file.write(filled(5000, 99), 0, 5000, 3000);
    const image = disk.image(new Random(seed), "power");
    const bytes = image.contents("/data/a");
    const writer = disk.open("/data/a", "write");
    writer.write(filled(20_000, 77), 0, 20_000, 0);
    await writer.sync();
    assert.deepEqual(image.contents("/data/a"), bytes);
    return bytes;
  };
  const distinct = new Set<string>();
  for (const seed of seeds(10)) {
    const bytes = await run(seed);
    assert.deepEqual(await run(seed), bytes);
    distinct.add(bytes.toString());
  }
  assert(distinct.size > 1);
});

Deno.test("FaultyDisk can be cut at each change of a run", async () => {
  const disk = faultyDisk();
  const cuts: string[] = [];
  disk.onChange = (operation, path) => {
    const after = disk.image(new Random(1), "kill");
    cuts.push(`${operation} ${path}: ${after.list("/data").join(" ")}`);
  };
  const file = disk.open("/data/a", "create");
  file.write(Uint8Array.of(1), 0, 1, 0);
  await file.sync();
  disk.rename("/data/a", "/data/b");
  await disk.syncDirectory("/data");
  disk.remove("/data/b");
  assert.deepEqual(cuts, [
    "create /data/a: a",
    "write /data/a: a",
    "sync /data/a: a",
    "rename /data/a: b",
    "syncDirectory /data: b",
    "remove /data/b: ",
  ]);
});

// The faulty disk: faults.

Deno.test("FaultyDisk fails the nth write after half of its bytes, and takes the same bytes again", () => {
  const disk = faultyDisk();
  const file = disk.open("/data/a", "create");
  disk.failWrite(2, "io");
  file.write(filled(4, 1), 0, 4, 0);
  assertFails(() => file.write(filled(4, 2), 0, 4, 4), "io", "/data/a");
  assert.deepEqual([...disk.contents("/data/a")], [1, 1, 1, 1, 2, 2]);
  file.write(filled(4, 2), 0, 4, 4);
  assert.deepEqual([...disk.contents("/data/a")], [1, 1, 1, 1, 2, 2, 2, 2]);
  assert.equal(disk.count("write"), 3);
});

Deno.test("FaultyDisk fails the nth sync, and the file for good, but not other files", async () => {
  const disk = faultyDisk();
  const [a, b] = [disk.open("/data/a", "create"), disk.open("/data/b", "create")];
  disk.failSync(2, "io");
  await a.sync();
  const failure = await assertRejects(a.sync(), "io", "/data/a");
  assert.equal(await assertRejects(a.sync(), "io", "/data/a"), failure);
  await b.sync();
  assert.equal(disk.count("sync"), 3);
});

Deno.test("FaultyDisk forgets what a failed sync covered, even when another sync succeeds", async () => {
  const disk = faultyDisk();
  const size = 16 * SECTOR_BYTES;
  const file = disk.open("/data/a", "create");
  await disk.syncDirectory("/data");
  file.write(filled(size, 1), 0, size, 0);
  await file.sync();
  file.write(filled(size, 2), 0, size, 0);
  disk.failSync(1, "io");
  await assertRejects(file.sync(), "io", "/data/a");
  await disk.open("/data/a", "write").sync();
  assert.deepEqual(disk.contents("/data/a"), filled(size, 2));
  const after = disk.crash(new Random(1), "power").contents("/data/a");
  assert.deepEqual(new Set(sectorsOf(after)), new Set([1, 2]));
});

Deno.test("FaultyDisk fails all syncs until it is healed", async () => {
  const disk = faultyDisk();
  const file = disk.open("/data/a", "create");
  disk.failSyncForever("io");
  await assertRejects(file.sync(), "io", "/data/a");
  await assertRejects(disk.open("/data/a", "write").sync(), "io", "/data/a");
  await assertRejects(disk.syncDirectory("/data"), "io", "/data");
  disk.heal();
  await assertRejects(file.sync(), "io", "/data/a");
  await disk.open("/data/a", "write").sync();
  await disk.syncDirectory("/data");
});

Deno.test("FaultyDisk fails every operation it counts, once, with the reason asked for", async () => {
  const reasons: StorageReason[] = ["io", "no_space", "permission"];
  for (const [index, operation] of OPERATIONS.entries()) {
    const disk = faultyDisk();
    disk.put("/data/a", Uint8Array.of(1, 2));
    const file = disk.open("/data/a", "write");
    const before = disk.count(operation);
    const reason = reasons[index % reasons.length]!;
    disk.fail(operation, 2, reason);
    await perform(operation, disk, file, 1);
    await assertRejects(perform(operation, disk, file, 2), reason, pathOf(operation, 2));
    // A file whose sync failed stays failed.
    await perform(operation, disk, operation === "sync" ? disk.open("/data/a", "write") : file, 3);
    assert.equal(disk.count(operation) - before, 3, operation);
  }
});

Deno.test("FaultyDisk runs out of space, writes what fits, and recovers when there is room", () => {
  const disk = new FaultyDisk({ capacityBytes: 10 });
  disk.makeDirectory("/data");
  const file = disk.open("/data/a", "create");
  file.write(filled(8, 1), 0, 8, 0);
  assert.equal(disk.freeBytes("/data"), 2);
  assertFails(() => file.write(filled(4, 2), 0, 4, 8), "no_space", "/data/a");
  assert.equal(file.size(), 10);
  file.write(filled(10, 3), 0, 10, 0);
  assertFails(() => file.truncate(11), "no_space", "/data/a");
  assertFails(() => disk.copy("/data/a", "/data/b"), "no_space", "/data/a");
  disk.capacityBytes = 5;
  assert.equal(disk.freeBytes("/data"), 0);
  assertFails(() => file.write(filled(1, 4), 0, 1, 10), "no_space", "/data/a");
  file.truncate(3);
  file.write(filled(2, 4), 0, 2, 3);
  disk.capacityBytes = 7;
  file.write(filled(2, 5), 0, 2, 5);
  disk.remove("/data/a");
  assert.equal(disk.usedBytes(), 0);
});

Deno.test("FaultyDisk refuses all changes while it is read-only", async () => {
  const disk = faultyDisk();
  disk.put("/data/a", Uint8Array.of(1));
  const file = disk.open("/data/a", "write");
  disk.isReadOnly = true;
  for (const operation of OPERATIONS) {
    if (["list", "exists", "read", "open", "freeBytes"].includes(operation)) {
      await perform(operation, disk, file, 1);
    } else {
      await assertRejects(perform(operation, disk, file, 1), "read_only", pathOf(operation, 1));
    }
  }
  assertFails(() => disk.open("/data/a", "write"), "read_only", "/data/a");
  disk.isReadOnly = false;
  assert.deepEqual(disk.list("/data"), ["a"]);
  assert.deepEqual(readFile(disk, "/data/a"), [1]);
});

// The faulty disk: held syncs.

Deno.test("FaultyDisk completes held syncs one by one, in order", async () => {
  const disk = faultyDisk();
  const [a, b] = [disk.open("/data/a", "create"), disk.open("/data/b", "create")];
  disk.holdSyncs();
  const waiting = disk.heldSync();
  const done: string[] = [];
  const syncs = [a.sync().then(() => done.push("a")), b.sync().then(() => done.push("b"))];
  assert.equal(await waiting, "/data/a");
  assert.equal(await disk.heldSync(), "/data/a");
  await disk.syncDirectory("/data");
  assert.deepEqual(disk.heldSyncs, ["/data/a", "/data/b"]);
  assert.deepEqual(done, []);
  disk.finishSync();
  await syncs[0];
  assert.deepEqual(done, ["a"]);
  disk.releaseSyncs();
  await syncs[1];
  assert.deepEqual(disk.heldSyncs, []);
  await a.sync();
  assert.throws(() => disk.finishSync(), /no sync is held/);
});

Deno.test("FaultyDisk covers with a held sync nothing that was written after it was called", async () => {
  const disk = faultyDisk();
  const file = disk.open("/data/a", "create");
  await disk.syncDirectory("/data");
  disk.holdSyncs();
  file.write(filled(512, 1), 0, 512, 0);
  const first = file.sync();
  file.write(filled(512, 2), 0, 512, 512);
  const second = file.sync();
  file.write(filled(512, 3), 0, 512, 1024);
  const lengths = () =>
    new Set(seeds(60).map((seed) => disk.image(new Random(seed), "power").contents("/data/a").length));
  assert.deepEqual([...lengths()].sort(), [0, 1024, 1536, 512]);
  disk.finishSync();
  await first;
  assert.deepEqual([...lengths()].sort(), [1024, 1536, 512]);
  disk.finishSync();
  await second;
  assert.deepEqual([...lengths()].sort(), [1024, 1536]);
});

Deno.test("FaultyDisk fails a held sync when its turn comes, and those behind it on the file", async () => {
  const disk = faultyDisk();
  const file = disk.open("/data/a", "create");
  disk.holdSyncs();
  disk.failSync(1, "io");
  const results = Promise.allSettled([file.sync(), file.sync()]);
  disk.releaseSyncs();
  assert.deepEqual((await results).map(({ status }) => status), ["rejected", "rejected"]);
});

Deno.test("FaultyDisk holds syncs of directories when asked to", async () => {
  const disk = faultyDisk();
  disk.open("/data/a", "create");
  disk.holdSyncs("all");
  const sync = disk.syncDirectory("/data");
  disk.open("/data/b", "create");
  assert.deepEqual(disk.heldSyncs, ["/data"]);
  disk.finishSync();
  await sync;
  const names = new Set(seeds(50).map((seed) => disk.image(new Random(seed), "power").list("/data").join(" ")));
  assert.deepEqual([...names].sort(), ["a", "a b"]);
});

// The faulty disk: damage.

Deno.test("FaultyDisk damages what is seen and what is safe", () => {
  const disk = faultyDisk();
  disk.put("/data/below/a", Uint8Array.of(1, 2, 3, 4, 5, 6));
  disk.flipByte("/data/below/a", 1);
  disk.flipByte("/data/below/a", 5, 0x02);
  disk.zero("/data/below/a", 2, 4);
  assert.deepEqual([...disk.contents("/data/below/a")], [1, 253, 0, 0, 5, 4]);
  disk.shrink("/data/below/a", 3);
  const after = disk.crash(new Random(1), "power");
  assert.deepEqual(readFile(after, "/data/below/a"), [1, 253, 0]);
  assert.throws(() => after.flipByte("/data/below/a", 3), RangeError);
  assert.throws(() => after.shrink("/data/below/a", 4), RangeError);
  assert.throws(() => after.zero("/data/below/a", 0, 4), RangeError);
  after.put("/data/below/a", Uint8Array.of(7));
  assert.deepEqual([...after.contents("/data/below/a")], [7]);
  assert.throws(() => after.contents("/data/none"), StorageFailed);
});

/** A faulty disk with the directory `/data`, safe. */
function faultyDisk(): FaultyDisk {
  const disk = new FaultyDisk();
  disk.makeDirectory("/data");
  disk.settle();
  return disk;
}

async function synced(disk: Disk, path: string, bytes: readonly number[]): Promise<void> {
  const file = disk.open(path, "create");
  file.write(Uint8Array.from(bytes), 0, bytes.length, 0);
  await file.sync();
  file.close();
}

function filled(length: number, byte: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length).fill(byte);
}

function seeds(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}

/** The byte that fills each sector; a sector of several is no sector. */
function sectorsOf(bytes: Uint8Array): number[] {
  const sectors: number[] = [];
  for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
    const sector = new Set(bytes.subarray(at, at + SECTOR_BYTES));
    assert.equal(sector.size, 1, `sector at ${at} is torn within`);
    sectors.push(...sector);
  }
  return sectors;
}

const OPERATIONS: readonly DiskOperation[] = [
  "makeDirectory",
  "list",
  "exists",
  "open",
  "create",
  "write",
  "read",
  "truncate",
  "sync",
  "syncDirectory",
  "copy",
  "freeBytes",
  "lock",
  "rename",
  "remove",
];

/** Performs the nth call of an operation on a disk with `/data/a`. */
async function perform(operation: DiskOperation, disk: FaultyDisk, file: DiskFile, n: number): Promise<void> {
  const path = pathOf(operation, n);
  if (operation === "rename" && !disk.isReadOnly) disk.put(path, Uint8Array.of(n));
  switch (operation) {
    case "makeDirectory":
      return disk.makeDirectory(path);
    case "list":
      return void disk.list(path);
    case "exists":
      return void disk.exists(path);
    case "open":
      return disk.open(path, "read").close();
    case "create":
      return disk.open(path, "create").close();
    case "write":
      return file.write(Uint8Array.of(1), 0, 1, 0);
    case "read":
      return void file.read(new Uint8Array(1), 0, 1, 0);
    case "truncate":
      return file.truncate(1);
    case "sync":
      return await file.sync();
    case "syncDirectory":
      return await disk.syncDirectory(path);
    case "copy":
      return disk.copy(path, "/data/copy");
    case "freeBytes":
      return void disk.freeBytes(path);
    case "lock":
      return disk.lock(path).close();
    case "rename":
      return disk.rename(path, "/data/renamed");
    case "remove":
      return disk.remove(path);
  }
}

function pathOf(operation: DiskOperation, n: number): string {
  switch (operation) {
    case "list":
    case "syncDirectory":
    case "freeBytes":
      return "/data";
    case "makeDirectory":
    case "create":
    case "lock":
      return `/data/${operation}${n}`;
    case "rename":
      return n === 1 ? "/data/a" : `/data/a${n}`;
    default:
      return "/data/a";
  }
}

async function inTempDirectory(run: (directory: string) => void | Promise<void>): Promise<void> {
  const directory = Deno.makeTempDirSync();
  try {
    await run(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/** Tries to lock a file in another process, which ends with the lock. */
async function lockElsewhere(path: string): Promise<string> {
  return await runElsewhere(
    `try {
       openNodeDisk().lock(path);
       console.log("taken");
     } catch (failure) {
       console.log(failure.reason + ": " + failure.detail);
     }`,
    path,
    ["--allow-read", "--allow-write"],
  );
}

/**
 * Runs a script that knows `openNodeDisk` and `path` in another process, and returns what it printed.
 *
 * @param setup Shell commands for that process.
 */
async function runElsewhere(script: string, path: string, rights: readonly string[], setup = ""): Promise<string> {
  const directory = Deno.makeTempDirSync();
  try {
    const main = `${directory}/main.js`;
    Deno.writeTextFileSync(
      main,
      `import { openNodeDisk } from "${NODE_DISK}";\nconst path = ${JSON.stringify(path)};\n${script}\n`,
    );
    const config = new URL("../../../deno.json", import.meta.url).pathname;
    const run = [Deno.execPath(), "run", "--quiet", "--no-prompt", "--no-check", "--config", config, ...rights, main];
    const child = new Deno.Command("/bin/sh", {
      args: ["-c", `${setup} exec "$@"`, "sh", ...run],
      clearEnv: true,
      env: childEnvironment(),
      stdin: "null",
    });
    const { stdout, stderr } = await child.output();
    const said = new TextDecoder().decode(stdout).trim();
    assert.notEqual(said, "", new TextDecoder().decode(stderr));
    return said;
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}
