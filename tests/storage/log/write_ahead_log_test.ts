/**
 * The log alone: where records stand, what a write is, when a segment ends, and that a record is read back with the same
 * bytes from memory and from disk, however the log was written and whatever had to leave memory meanwhile.
 */
import fc from "fast-check";
import assert from "node:assert/strict";
import { Message } from "../../../src/protocol/message.ts";
import { LogBuffer } from "../../../src/storage/log/log_buffer.ts";
import { CHUNK_BYTES } from "../../../src/storage/log/memory_buffer.ts";
import { ProgressKind, publishBytes, readMessage, RecordType } from "../../../src/storage/log/record.ts";
import {
  type Block,
  BLOCK_HEADER_BYTES,
  FIRST_LSN,
  readBlocks,
  SEGMENT_HEADER_BYTES,
} from "../../../src/storage/log/segment.ts";
import { WriteAheadLog } from "../../../src/storage/log/write_ahead_log.ts";
import { FaultyDisk } from "../disk/faulty_disk.ts";
import { HandleWatch } from "../disk/handle_watch.ts";
import { messageOf, WAL } from "../store_rig.ts";

interface Subject {
  readonly disk: FaultyDisk;
  readonly watch: HandleWatch;
  readonly log: WriteAheadLog;
}

function newLog(options: { readonly segmentBytes?: number; readonly memoryBytesMax?: number } = {}): Subject {
  const disk = new FaultyDisk();
  disk.makeDirectory(WAL);
  const watch = new HandleWatch(disk);
  const log = new WriteAheadLog({
    disk: watch,
    directory: WAL,
    segments: [],
    endLsn: FIRST_LSN,
    memoryBytesMax: options.memoryBytesMax ?? 64 * CHUNK_BYTES,
    segmentBytes: options.segmentBytes ?? 2 ** 30,
    clock: () => 1_700_000_000_000,
  });
  return { disk, watch, log };
}

/** Writes, and takes everything for safe: what need not be in memory leaves it. */
async function writeSafe({ log }: Subject): Promise<void> {
  log.write();
  log.markSafe(await log.sync());
}

function publish(log: WriteAheadLog, payload: string | Uint8Array<ArrayBuffer> = "payload"): number {
  return log.appendPublish(messageOf({ payload }), 0, 0, 0);
}

function payloadOf(log: WriteAheadLog, position: number): Uint8Array {
  const place = { buffer: new LogBuffer(0), start: 0 };
  log.locate(position, place);
  const message = new Message();
  readMessage(place.buffer, place.start, message);
  return message.payloadBytes.slice(message.payloadStart, message.payloadEnd);
}

function textOf(log: WriteAheadLog, position: number): string {
  return new TextDecoder().decode(payloadOf(log, position));
}

/** All blocks of all segments, in order; damage fails the test. */
function blocksOf({ disk, log }: Subject): Block[] {
  return log.segments.flatMap((segment) => {
    const bytes = disk.contents(segment.path);
    const buffer = new LogBuffer((bytes.length + 7) & ~7);
    buffer.bytes.set(bytes);
    return Array.from(readBlocks(buffer, bytes.length, segment.firstLsn, "records"), (block) => {
      assert(block.kind === "block");
      return block;
    });
  });
}

Deno.test("WriteAheadLog gives every record the address of its first byte", () => {
  const { log } = newLog();
  const first = publish(log);
  assert.equal(first, FIRST_LSN + BLOCK_HEADER_BYTES);
  const size = publishBytes(messageOf());
  const second = publish(log);
  assert.equal(second, first + size);
  assert.equal(log.lastPosition, second);
  assert.equal(log.endLsn, second + size);
  assert.equal(log.unwrittenRecords, 2);
  assert.equal(log.writtenLsn, FIRST_LSN, "nothing leaves memory before it is written");
  assert.equal(log.write(), 2);
  assert.equal(log.writtenLsn, log.endLsn);
  assert.equal(publish(log), log.writtenLsn + BLOCK_HEADER_BYTES);
});

Deno.test("WriteAheadLog makes one block of a turn, whatever is in it", () => {
  const subject = newLog();
  const { log } = subject;
  publish(log);
  log.appendText(RecordType.CHANGE, new TextEncoder().encode("{}"));
  log.appendProgress(ProgressKind.SENT, 1, FIRST_LSN, 2, 0);
  log.appendRelease(1, 2);
  log.write();
  publish(log);
  log.write();
  assert.equal(log.write(), 0);
  assert.deepEqual(blocksOf(subject).map(({ lsn, records }) => [lsn, records]), [
    [FIRST_LSN, 4],
    [blocksOf(subject)[1]!.lsn, 1],
  ]);
});

Deno.test("WriteAheadLog never splits a record over chunks, and the log has no gap where a chunk ends", () => {
  const subject = newLog();
  const { log } = subject;
  const third = new Uint8Array(CHUNK_BYTES / 3);
  for (let count = 0; count < 10; count++) publish(log, third);
  log.write();
  const blocks = blocksOf(subject);
  assert(blocks.length >= 4);
  let expected = FIRST_LSN;
  for (const { lsn, start, end } of blocks) {
    assert.equal(lsn, expected);
    expected += end - start;
  }
  assert.equal(expected, log.endLsn);
});

Deno.test("WriteAheadLog keeps a record larger than a chunk, and reads it from memory and from disk", async () => {
  const subject = newLog({ memoryBytesMax: CHUNK_BYTES });
  const { log } = subject;
  const large = new Uint8Array(3 * CHUNK_BYTES + 12_345).map((_, index) => index * 7);
  const before = publish(log, "before");
  const position = publish(log, large);
  const after = publish(log, "after");
  assert.deepEqual(payloadOf(log, position), large);
  await writeSafe(subject);
  publish(log, new Uint8Array(CHUNK_BYTES));
  await writeSafe(subject);
  assert.equal(log.memory.find(position), undefined);
  assert.deepEqual(payloadOf(log, position), large);
  assert.equal(textOf(log, before), "before");
  assert.equal(textOf(log, after), "after");
  log.close();
});

Deno.test("WriteAheadLog ends a segment only at a write, and routes before it are not valid any more", () => {
  const { log } = newLog({ segmentBytes: 1_000 });
  const route = log.appendText(RecordType.ROUTE, new TextEncoder().encode("{}"));
  for (let count = 0; count < 100; count++) publish(log);
  assert.equal(log.segments.length, 0);
  assert(route >= log.routesValidFrom);
  log.write();
  assert.equal(log.segments.length, 1, "the whole turn is in one");
  assert.equal(log.sealedSegments.length, 1);
  assert.equal(log.routesValidFrom, log.endLsn);
  const next = publish(log);
  log.write();
  assert.equal(log.segments.length, 2);
  assert.equal(log.segments[1]!.firstLsn, log.segments[0]!.endLsn);
  assert(next > log.segments[1]!.firstLsn);
  assert.equal(log.sealedSegments.length, 1);
});

Deno.test("WriteAheadLog knows which segments hold nothing that anybody could miss", () => {
  const states = [
    (log: WriteAheadLog) => log.appendPublish(messageOf({ retain: true }), 0, 0, 0),
    (log: WriteAheadLog) => log.appendPublish(messageOf(), 1, 7, 0),
    (log: WriteAheadLog) => log.appendRelease(1, 7),
    (log: WriteAheadLog) => log.appendText(RecordType.CHANGE, new TextEncoder().encode("{}")),
    (log: WriteAheadLog) => log.appendProgress(ProgressKind.DONE, 1, FIRST_LSN, 7, 0),
    (log: WriteAheadLog) => log.appendProgress(ProgressKind.RECEIVED, 1, log.routesValidFrom, 7, 0),
  ];
  const { log } = newLog({ segmentBytes: 1 });
  publish(log);
  log.appendText(RecordType.ROUTE, new TextEncoder().encode("{}"));
  log.write();
  assert.equal(log.segments[0]!.hasState, false);
  for (const append of states) {
    append(log);
    log.write();
    assert.equal(log.segments.at(-1)!.hasState, true, String(append));
    const position = publish(log);
    log.appendProgress(ProgressKind.SENT, 1, position, 7, 0);
    log.appendProgress(ProgressKind.DONE, 1, position, 7, 0);
    log.write();
    assert.equal(log.segments.at(-1)!.hasState, false);
  }
  assert.equal(log.segments[0]!.hasState, false);
  log.appendProgress(ProgressKind.RECEIVED, 1, FIRST_LSN + BLOCK_HEADER_BYTES, 7, 0);
  assert.equal(log.segments[0]!.hasState, true, "a PUBREL is owed for a message of it");
});

Deno.test("WriteAheadLog reads the same bytes from memory and from disk, for any turns, sizes, segments and bounds", async () => {
  const turn = fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant("publish" as const), bytes: fc.oneof(fc.nat(300), fc.nat(400_000)) }),
      fc.record({ kind: fc.constant("progress" as const), bytes: fc.nat(1) }),
      fc.record({ kind: fc.constant("text" as const), bytes: fc.nat(2_000) }),
    ),
    { maxLength: 12 },
  );
  const property = fc.asyncProperty(
    fc.array(turn, { maxLength: 12 }),
    fc.constantFrom(200, 100_000, 1_000_000),
    async (turns, segmentBytes) => {
      const subject = newLog({ segmentBytes, memoryBytesMax: CHUNK_BYTES });
      const { log, watch } = subject;
      const expected = new Map<number, number>();
      for (const records of turns) {
        for (const { kind, bytes } of records) {
          if (kind === "publish") {
            const position = publish(log, new Uint8Array(bytes).fill(expected.size));
            expected.set(position, bytes);
          } else if (kind === "progress") log.appendProgress(ProgressKind.SENT, 1, FIRST_LSN, 1, 0);
          else log.appendText(RecordType.CHANGE, new Uint8Array(bytes).fill(0x20));
        }
        await writeSafe(subject);
      }
      let index = 0;
      for (const [position, bytes] of expected) {
        assert.deepEqual(payloadOf(log, position), new Uint8Array(bytes).fill(index++));
      }
      for (const block of blocksOf(subject)) assert(block.lsn < log.endLsn);
      log.close();
      assert.equal(watch.openCount, 0);
      assert.deepEqual(watch.mistakes, []);
    },
  );
  await fc.assert(property, { numRuns: 40 });
});

Deno.test("WriteAheadLog keeps memory flat while a backlog of 64 MiB builds", async () => {
  const subject = newLog({ segmentBytes: 4 * CHUNK_BYTES, memoryBytesMax: CHUNK_BYTES });
  const { log, watch } = subject;
  const payload = new Uint8Array(64 * 1024);
  const positions: number[] = [];
  let heldMax = 0;
  for (let count = 0; count < 1_024; count++) {
    payload.fill(count);
    positions.push(publish(log, payload));
    if (count % 4 !== 3) continue;
    await writeSafe(subject);
    heldMax = Math.max(heldMax, log.memory.bytesHeld);
  }
  assert(log.fileBytes > 64 * CHUNK_BYTES);
  assert(heldMax <= 3 * CHUNK_BYTES, `${heldMax} bytes held`);
  assert(log.segments.length >= 16);
  positions.forEach((position, index) => assert.equal(payloadOf(log, position)[0], index % 256));
  assert(log.memory.bytesHeld <= 3 * CHUNK_BYTES);
  log.close();
  assert.equal(watch.openCount, 0);
});

Deno.test("WriteAheadLog leaves a turn as it was when its write fails, and writes it again", () => {
  const subject = newLog();
  const { log, disk } = subject;
  publish(log, "first");
  log.write();
  const position = publish(log, "second".repeat(100));
  disk.failWrite(1, "no_space");
  assert.throws(() => log.write());
  assert.equal(log.unwrittenRecords, 1);
  assert.equal(textOf(log, position), "second".repeat(100));
  publish(log, "third");
  assert.equal(log.write(), 2);
  assert.deepEqual(blocksOf(subject).map(({ records }) => records), [1, 1, 1]);
});

Deno.test("WriteAheadLog restarts from what is safe: files are given up, and nothing above stays in an old one's name", async () => {
  const subject = newLog({ segmentBytes: 500 });
  const { log, watch, disk } = subject;
  const safe = publish(log, "safe");
  await writeSafe(subject);
  const positions = Array.from({ length: 20 }, (_, index) => {
    const position = publish(log, `unsafe ${index}`.padEnd(100));
    log.write();
    return position;
  });
  const { safeLsn } = log;
  assert(log.segments.length > 3);
  log.restart();
  assert.deepEqual(log.segments.map(({ firstLsn, endLsn }) => [firstLsn, endLsn]), [
    [FIRST_LSN, safeLsn],
    [safeLsn, log.endLsn],
  ]);
  assert.deepEqual(log.segments.map(({ isContinuation }) => isContinuation), [false, true]);
  log.markSafe(await log.sync());
  log.close();
  assert.equal(textOf(log, safe), "safe");
  positions.forEach((position, index) => assert.equal(textOf(log, position).trim(), `unsafe ${index}`));
  assert(disk.list(WAL).some((name) => name.endsWith(".broken")));
  log.close();
  assert.equal(watch.openCount, 0);
  assert.deepEqual(watch.mistakes, []);
});

Deno.test("WriteAheadLog removes segments, their files and what is open of them, strictly oldest first", async () => {
  const subject = newLog({ segmentBytes: 500, memoryBytesMax: 0 });
  const { log, disk, watch } = subject;
  const positions = Array.from({ length: 12 }, () => publish(log, "x".repeat(200)));
  for (let count = 0; count < 12; count++) {
    positions.push(publish(log, "x".repeat(200)));
    await writeSafe(subject);
  }
  const { fileBytes } = log;
  const end = log.segments[2]!.endLsn;
  assert.equal(log.removeSegments(end + 8), fileBytes - log.fileBytes);
  assert.equal(log.segments[0]!.firstLsn, end);
  assert.equal(disk.list(WAL).length, log.segments.length);
  assert.equal(log.fileBytes, log.segments.reduce((sum, { path }) => sum + disk.contents(path).length, 0));
  log.close();
  assert.equal(watch.openCount, 0);
});

Deno.test("WriteAheadLog keeps a segment that cannot be removed, and removes it later", async () => {
  const subject = newLog({ segmentBytes: 1 });
  const { log, disk } = subject;
  for (let count = 0; count < 3; count++) {
    publish(log);
    await writeSafe(subject);
  }
  disk.fail("remove", 2, "io");
  assert.throws(() => log.removeSegments(log.endLsn));
  assert.equal(log.segments.length, 2);
  assert.equal(disk.list(WAL).length, 2);
  log.removeSegments(log.endLsn);
  assert.equal(log.fileBytes, SEGMENT_HEADER_BYTES, "only where the log has come to");
  log.close();
});
