/**
 * What the compactor reads out of a segment that is not as it was written.
 */
import assert from "node:assert/strict";
import type { ArchivedStep } from "../../../src/storage/checkpoint/checkpoint_rows.ts";
import { CompactionScan } from "../../../src/storage/compaction/compaction_scan.ts";
import { RecordType } from "../../../src/storage/log/record.ts";
import { SEGMENT_HEADER_BYTES } from "../../../src/storage/log/segment.ts";
import { emptyState } from "../../../src/storage/model/durable_state.ts";
import { FaultyDisk } from "../disk/faulty_disk.ts";
import { CREATED_MS, LogWriter } from "../log/log_writer.ts";

const WAL = "/wal";

/** Scans the only segment of a log, which `damage` may change before. */
function scan(log: LogWriter, damage: (disk: FaultyDisk, path: string) => void = () => {}) {
  const disk = new FaultyDisk();
  disk.makeDirectory(WAL);
  log.save(disk, WAL);
  const { name, firstLsn, endLsn } = log.segments[0]!;
  const path = `${WAL}/${name}`;
  damage(disk, path);
  const times = { createdMs: CREATED_MS, lastWrittenMs: CREATED_MS };
  const scanned = new CompactionScan({
    firstLsn,
    endLsn,
    path,
    ...times,
    records: 0,
    isContinuation: false,
    hasState: true,
  });
  for (const _ of scanned.load(disk));
  const change = emptyState();
  const progress: ArchivedStep[] = [];
  for (const _ of scanned.collect(change, progress, firstLsn));
  return { change, progress };
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

Deno.test("a block that is damaged is passed over, as at a start", () => {
  const log = new LogWriter();
  log.open(1);
  log.block().open(2);
  log.done(2, 8, 3);
  log.block().open(3);
  log.done(3, 16, 4);
  const lost = log.segment().segments[0]!.blocks[1]!;
  const { change, progress } = scan(log, (disk, path) => {
    disk.flipByte(path, lost - log.segments[0]!.firstLsn + SEGMENT_HEADER_BYTES + 60);
  });
  assert.deepEqual([...change.sessions.keys()], [1, 3]);
  assert.deepEqual(progress.map(({ position }) => position), [16]);
});
