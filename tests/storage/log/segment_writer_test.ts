/**
 * The files of segments: when they are made, synced, closed and removed, and which segment holds which position.
 */
import assert from "node:assert/strict";
import { Chunk } from "../../../src/storage/log/memory_buffer.ts";
import { FIRST_LSN, SEGMENT_HEADER_BYTES, segmentName } from "../../../src/storage/log/segment.ts";
import { readSegmentHead } from "../../../src/storage/log/segment_files.ts";
import { SegmentWriter } from "../../../src/storage/log/segment_writer.ts";
import { StorageFailed } from "../../../src/storage/model/errors.ts";
import { FaultyDisk } from "../disk/faulty_disk.ts";
import { HandleWatch } from "../disk/handle_watch.ts";
import { WAL } from "../store_rig.ts";
import { jobsDone } from "../virtual_time.ts";

function newWriter() {
  const disk = new FaultyDisk();
  disk.makeDirectory(WAL);
  const watch = new HandleWatch(disk);
  const writer = new SegmentWriter(watch, WAL, []);
  const chunk = new Chunk(4_096);
  chunk.firstLsn = FIRST_LSN;
  /** Writes the next `bytes` to the open segment, or to a new one. */
  const write = (bytes: number) => {
    const start = chunk.used;
    writer.open(chunk.firstLsn + start, 1_000);
    chunk.buffer.bytes.fill(start + 1, start, start + bytes);
    chunk.used += bytes;
    writer.write(chunk, start, chunk.used);
  };
  return { disk, watch, writer, write, chunk };
}

Deno.test("SegmentWriter makes a file with the first bytes of a segment, under the name of its LSN", () => {
  const { disk, writer, write } = newWriter();
  assert.deepEqual(disk.list(WAL), []);
  write(80);
  write(16);
  writer.end();
  write(8);
  assert.deepEqual(disk.list(WAL), [segmentName(64), segmentName(160)]);
  assert.equal(writer.fileBytes, 104 + 2 * SEGMENT_HEADER_BYTES);
  assert.equal(writer.writtenBytes, writer.fileBytes);
  assert.deepEqual(disk.contents(`${WAL}/${segmentName(160)}`).slice(SEGMENT_HEADER_BYTES), new Uint8Array(8).fill(97));
  writer.close();
});

Deno.test("SegmentWriter writes over a header that keeps the place without a moment at which there is none", () => {
  const { disk, writer } = newWriter();
  writer.open(FIRST_LSN, 1_000);
  writer.close();
  const path = `${WAL}/${segmentName(FIRST_LSN)}`;
  const found: (number | undefined)[] = [];
  disk.onChange = () => {
    const header = readSegmentHead(disk, path).header;
    found.push(header.kind === "header" ? header.createdMs : undefined);
  };
  const next = new SegmentWriter(disk, WAL, []);
  next.open(FIRST_LSN, 2_000);
  disk.onChange = undefined;
  assert.deepEqual([...new Set(found)], [1_000, 2_000]);
  next.close();
});

Deno.test("SegmentWriter finds the segment of a position, and none behind or before", () => {
  const { writer, write } = newWriter();
  for (const bytes of [80, 40, 8]) {
    write(bytes);
    writer.end();
  }
  const found = [63, 64, 143, 144, 183, 184, 191, 192].map((lsn) => writer.segmentOf(lsn)?.firstLsn);
  assert.deepEqual(found, [undefined, 64, 64, 144, 144, 184, 184, undefined]);
  writer.close();
});

Deno.test("SegmentWriter syncs every file with unsynced bytes, the directory once, and closes what is over", async () => {
  const { disk, watch, writer, write } = newWriter();
  write(80);
  writer.end();
  write(80);
  writer.end();
  write(80);
  assert.equal(watch.openCount, 3, "what is not synced stays open");
  await writer.sync();
  assert.equal(disk.count("sync"), 3);
  assert.equal(disk.count("syncDirectory"), 1);
  assert.equal(watch.openCount, 1);
  await writer.sync();
  assert.equal(disk.count("sync"), 3, "nothing is new");
  write(8);
  await writer.sync();
  assert.equal(disk.count("sync"), 4);
  assert.equal(disk.count("syncDirectory"), 1);
  writer.close();
  assert.equal(watch.openCount, 0);
});

Deno.test("SegmentWriter keeps a file open that is written to while it is synced, and one that is synced when it ends", async () => {
  const { disk, watch, writer, write } = newWriter();
  write(80);
  disk.holdSyncs();
  const synced = writer.sync();
  write(8);
  writer.end();
  assert.equal(watch.openCount, 1);
  disk.releaseSyncs();
  await synced;
  assert.equal(watch.openCount, 1, "eight bytes are not synced");
  await writer.sync();
  assert.equal(watch.openCount, 0);
  assert.deepEqual(watch.mistakes, []);
});

Deno.test("SegmentWriter syncs the directory for a segment that is made while it syncs", async () => {
  const { disk, writer, write } = newWriter();
  write(80);
  disk.holdSyncs("all");
  const synced = writer.sync();
  disk.finishSync();
  await jobsDone();
  writer.end();
  write(8);
  disk.releaseSyncs();
  await synced;
  await writer.sync();
  assert.equal(disk.count("syncDirectory"), 2);
  writer.close();
});

Deno.test("SegmentWriter makes a segment again whose creation failed half way", () => {
  for (const operation of ["create", "write"] as const) {
    const { disk, watch, writer, write } = newWriter();
    disk.fail(operation, 1, "no_space");
    assert.throws(() => write(80), StorageFailed);
    assert.equal(watch.openCount, 0);
    assert.deepEqual(writer.segments, []);
    write(80);
    assert.equal(writer.segments.length, 1);
    writer.close();
  }
});

Deno.test("SegmentWriter gives up what is not safe: later segments lose their names, the one before is cut short", async () => {
  const { disk, watch, writer, write, chunk } = newWriter();
  write(80);
  writer.end();
  write(80);
  writer.end();
  write(80);
  const paths = writer.replace(104, 1_000, (put) => put(chunk, 104 - FIRST_LSN, chunk.used));
  assert.deepEqual([...paths].sort(), [segmentName(144), segmentName(224)].map((name) => `${WAL}/${name}`));
  assert.deepEqual(disk.list(WAL), [
    segmentName(64),
    segmentName(104),
    `${segmentName(144)}.broken`,
    `${segmentName(224)}.broken`,
  ]);
  assert.deepEqual(writer.segments.map(({ firstLsn, endLsn }) => [firstLsn, endLsn]), [[64, 104], [104, 304]]);
  assert.equal(disk.contents(`${WAL}/${segmentName(104)}`).length, SEGMENT_HEADER_BYTES + 200);
  assert.equal(watch.openCount, 1);
  await writer.sync();
  assert.deepEqual([disk.count("sync"), disk.count("syncDirectory")], [1, 1], "the fresh one alone");
  assert.equal(watch.openCount, 0);
  assert.deepEqual(watch.mistakes, []);
});

Deno.test("SegmentWriter keeps all segments while a fresh one cannot be written, and leaves nothing of that", () => {
  const { disk, watch, writer, write, chunk } = newWriter();
  write(80);
  writer.end();
  write(80);
  const { capacityBytes } = disk;
  const replace = () => writer.replace(FIRST_LSN, 1_000, (put) => put(chunk, 0, chunk.used));
  for (const room of [0, SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES + 100]) {
    disk.capacityBytes = disk.usedBytes() + room;
    assert.throws(replace, StorageFailed);
    assert.deepEqual(disk.list(WAL), [segmentName(64), segmentName(144)]);
    assert.deepEqual(writer.segments.map(({ firstLsn, endLsn }) => [firstLsn, endLsn]), [[64, 144], [144, 224]]);
    assert.equal(watch.openCount, 0);
  }
  disk.capacityBytes = capacityBytes;
  replace();
  assert.deepEqual(writer.segments.map(({ firstLsn, endLsn }) => [firstLsn, endLsn]), [[64, 224]]);
  writer.close();
  assert.equal(watch.openCount, 0);
});

Deno.test("SegmentWriter: an empty segment is none that may be removed while a fresh one of its name waits for space", () => {
  const { disk, writer, write, chunk } = newWriter();
  write(80);
  writer.end();
  writer.open(144, 1_000);
  disk.capacityBytes = disk.usedBytes();
  assert.throws(() => writer.replace(144, 1_000, (put) => put(chunk, 80, chunk.used)), StorageFailed);
  assert.deepEqual(writer.sealed.map(({ firstLsn, endLsn }) => [firstLsn, endLsn]), [[64, 144]]);
  assert.deepEqual(disk.list(WAL), [segmentName(64), segmentName(144)]);
  writer.close();
});

Deno.test("SegmentWriter replaces again after a rename that failed, and the files are the same", () => {
  // To .fresh, of the two stale ones, and to its own name.
  for (const rename of [1, 2, 3, 4]) {
    const { disk, watch, writer, write, chunk } = newWriter();
    write(80);
    writer.end();
    write(80);
    const replace = () => writer.replace(FIRST_LSN, 1_000, (put) => put(chunk, 0, chunk.used));
    disk.fail("rename", rename, "io");
    assert.throws(replace, StorageFailed);
    replace();
    const names = [segmentName(64), `${segmentName(64)}.broken`, `${segmentName(144)}.broken`];
    assert.deepEqual(disk.list(WAL), names, `after rename ${rename}`);
    writer.close();
    assert.equal(watch.openCount, 0);
  }
});

Deno.test("SegmentWriter syncs after all what it ended without a sync, once, but for what is gone", async () => {
  const { disk, watch, writer, write } = newWriter();
  for (let count = 0; count < 4; count++) {
    write(80);
    writer.end();
    writer.skipSync();
  }
  assert.equal(watch.openCount, 0);
  assert.equal(disk.count("sync"), 0);
  writer.removeOldest();
  await writer.sync();
  assert.equal(disk.count("sync"), 3);
  await writer.sync();
  assert.equal(disk.count("sync"), 3);
  assert.equal(watch.openCount, 0);
});

Deno.test("SegmentWriter: a segment that was ended empty gives its place to the next, which is not removed for it", () => {
  const { disk, writer, write } = newWriter();
  writer.open(FIRST_LSN, 1_000);
  writer.end();
  write(80);
  writer.end();
  assert.equal(writer.segments.length, 1);
  assert.equal(writer.segments[0]!.endLsn, FIRST_LSN + 80);
  write(8);
  writer.removeOldest();
  assert.deepEqual(disk.list(WAL), [segmentName(FIRST_LSN + 80)]);
  writer.close();
});
