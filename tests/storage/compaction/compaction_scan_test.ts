/**
 * What the compactor reads out of a segment that is not as it was written.
 */
import assert from "node:assert/strict";
import type { ArchivedStep } from "../../../src/storage/checkpoint/checkpoint_rows.ts";
import { CompactionScan } from "../../../src/storage/compaction/compaction_scan.ts";
import { MemoryBuffer } from "../../../src/storage/log/memory_buffer.ts";
import { RecordType } from "../../../src/storage/log/record.ts";
import { SEGMENT_HEADER_BYTES } from "../../../src/storage/log/segment.ts";
import { emptyState } from "../../../src/storage/model/durable_state.ts";
import { FaultyDisk } from "../disk/faulty_disk.ts";
import { CREATED_MS, LogWriter } from "../log/log_writer.ts";

const WAL = "/wal";

interface Damaged {
  /** Changes the file before it is read. */
  readonly damage?: (disk: FaultyDisk, path: string) => void;
  /** What a start has told of. */
  readonly told?: readonly { readonly lsn: number; readonly endLsn: number }[];
  /** What is still in memory; nothing, if not given. */
  readonly memory?: MemoryBuffer;
}

/** Scans the only segment of a log. */
function scan(log: LogWriter, { damage, told, memory }: Damaged = {}) {
  const disk = new FaultyDisk();
  disk.makeDirectory(WAL);
  log.save(disk, WAL);
  const { name, firstLsn, endLsn } = log.segments[0]!;
  const path = `${WAL}/${name}`;
  damage?.(disk, path);
  const scanned = new CompactionScan({
    firstLsn,
    endLsn,
    path,
    createdMs: CREATED_MS,
    lastWrittenMs: CREATED_MS,
    records: 0,
    isContinuation: false,
    hasState: true,
    ...(told === undefined ? {} : { damage: told }),
  });
  for (const _ of scanned.load(disk));
  const healed: (readonly [isHere: boolean, firstLsn: number, endLsn: number])[] = [];
  const failure = returned(scanned.verify(
    memory ?? new MemoryBuffer(0, endLsn),
    (segment, lsn, end) => healed.push([segment === path, lsn, end]),
  ));
  const change = emptyState();
  const progress: ArchivedStep[] = [];
  for (const _ of scanned.collect(change, progress, firstLsn));
  return { failure, healed, change, progress };
}

function returned<T>(steps: Generator<void, T>): T {
  for (let step = steps.next();; step = steps.next()) if (step.done === true) return step.value;
}

Deno.test("a text that makes no sense is passed over, as at a start", () => {
  const log = new LogWriter();
  log.open(1);
  for (const text of ["", "{", "null", '{"kind":"strange"}', '{"kind":"subscribe","session":2}']) {
    log.text(RecordType.CHANGE, text);
  }
  log.text(RecordType.ROUTE, "[");
  log.subscribe(1, "a");
  const { change } = scan(log);
  assert.deepEqual([...change.sessions.keys()], [1]);
  assert.deepEqual([...change.sessions.get(1)!.subscriptions.keys()], ["a"]);
});

/** Three blocks, each with a Session; the second is damaged. */
function damagedLog() {
  const log = new LogWriter();
  log.open(1);
  log.block().open(2);
  log.done(2, 8, 3);
  log.block().open(3);
  log.done(3, 16, 4);
  const [lsn, endLsn] = log.segment().segments[0]!.blocks.slice(1) as [number, number];
  const at = lsn - log.segments[0]!.firstLsn + SEGMENT_HEADER_BYTES + 60;
  return { log, lsn, endLsn, damage: (disk: FaultyDisk, path: string) => disk.flipByte(path, at) };
}

Deno.test("a block that is damaged stops the scan, and is named", () => {
  for (const told of [undefined, [{ lsn: 64, endLsn: 72 }]]) {
    const { log, lsn, endLsn, damage } = damagedLog();
    const { failure, healed } = scan(log, { damage, ...(told === undefined ? {} : { told }) });
    assert.deepEqual(healed, []);
    assert.equal(failure?.reason, "corrupt");
    assert(failure.message.includes(`LSN ${lsn} to ${endLsn}: `), failure.message);
  }
});

Deno.test("a block of which a start has told that it is damaged is passed over", () => {
  const { log, lsn, endLsn, damage } = damagedLog();
  const { failure, change, progress } = scan(log, { damage, told: [{ lsn, endLsn }] });
  assert.equal(failure, undefined);
  assert.deepEqual([...change.sessions.keys()], [1, 3]);
  assert.deepEqual(progress.map(({ position }) => position), [16]);
});

Deno.test("a block that is damaged or cannot be read is taken from memory", () => {
  const broken = (disk: FaultyDisk, path: string) => disk.breakRange(path, 0, 4_096);
  for (const damage of [damagedLog().damage, broken]) {
    const { log, lsn, endLsn } = damagedLog();
    const disk = new FaultyDisk();
    disk.makeDirectory(WAL);
    log.save(disk, WAL);
    const { name, firstLsn } = log.segments[0]!;
    const bytes = disk.contents(`${WAL}/${name}`).subarray(SEGMENT_HEADER_BYTES);
    const memory = new MemoryBuffer(1_048_576, firstLsn);
    memory.current.buffer.bytes.set(bytes);
    memory.current.used = bytes.length;
    memory.advance(8);
    const { failure, healed, change } = scan(log, { damage, memory });
    assert.equal(failure, undefined);
    const { firstLsn: all, endLsn: end } = log.segments[0]!;
    assert.deepEqual(healed, [damage === broken ? [true, all, end] : [true, lsn, endLsn]], "it is told");
    assert.deepEqual([...change.sessions.keys()], [1, 2, 3]);
  }
});

Deno.test("a file that cannot be read, or is cut short, stops the scan", () => {
  const { log, lsn } = damagedLog();
  const size = lsn - log.segments[0]!.firstLsn + SEGMENT_HEADER_BYTES;
  for (
    const damage of [
      (disk: FaultyDisk, path: string) => disk.breakRange(path, size, size + 1),
      (disk: FaultyDisk, path: string) => disk.shrink(path, size),
    ]
  ) assert.equal(scan(log, { damage }).failure?.reason, "corrupt");
});
