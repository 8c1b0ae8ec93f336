/**
 * Reading back what left memory: few reads for whoever drains a queue in order, for several at once; few open files; and
 * a failure that names the segment where no message is.
 */
import assert from "node:assert/strict";
import { Message } from "../../../src/protocol/message.ts";
import { LogBuffer } from "../../../src/storage/log/log_buffer.ts";
import { LogReader } from "../../../src/storage/log/log_reader.ts";
import { readMessage } from "../../../src/storage/log/record.ts";
import {
  BLOCK_HEADER_BYTES,
  FIRST_LSN,
  sealBlock,
  SEGMENT_HEADER_BYTES,
  segmentName,
} from "../../../src/storage/log/segment.ts";
import { StorageFailed } from "../../../src/storage/model/errors.ts";
import { FaultyDisk } from "../disk/faulty_disk.ts";
import { HandleWatch } from "../disk/handle_watch.ts";
import { WAL } from "../store_rig.ts";
import { LogWriter } from "./log_writer.ts";

interface Subject {
  readonly disk: FaultyDisk;
  readonly watch: HandleWatch;
  readonly reader: LogReader;
  /** Positions by segment. */
  readonly positions: number[][];
}

function newReader(segments: number, messages: number, payloadBytes: number): Subject {
  const log = new LogWriter();
  const positions: number[][] = [];
  for (let segment = 0; segment < segments; segment++) {
    const inSegment: number[] = [];
    for (let message = 0; message < messages; message++) {
      inSegment.push(log.publish({ topic: "t", payload: `${segment}.${message} `.padEnd(payloadBytes) }));
      if (message % 10 === 9) log.block();
    }
    log.segment();
    positions.push(inSegment);
  }
  const disk = new FaultyDisk();
  disk.makeDirectory(WAL);
  log.save(disk, WAL);
  const watch = new HandleWatch(disk);
  const infos = log.segments.map(({ name, firstLsn, endLsn }) => ({ path: `${WAL}/${name}`, firstLsn, endLsn }));
  const reader = new LogReader(watch, (lsn) => infos.find(({ firstLsn, endLsn }) => lsn >= firstLsn && lsn < endLsn));
  return { disk, watch, reader, positions };
}

function textAt({ reader }: Subject, position: number): string {
  reader.find(position);
  const message = new Message();
  readMessage(reader.buffer, reader.start, message);
  return new TextDecoder().decode(message.payloadBytes.subarray(message.payloadStart, message.payloadEnd)).trim();
}

Deno.test("LogReader reads a queue in windows, not message by message", () => {
  const subject = newReader(1, 2_000, 500);
  subject.positions[0]!.forEach((position, index) => assert.equal(textAt(subject, position), `0.${index}`));
  const reads = subject.disk.count("read");
  assert(reads < 20, `${reads} reads for a megabyte`);
  subject.reader.close();
});

Deno.test("LogReader keeps a window for each of several readers at different places", () => {
  const subject = newReader(8, 1_000, 300);
  for (let message = 0; message < 1_000; message++) {
    for (let segment = 0; segment < 8; segment++) {
      assert.equal(textAt(subject, subject.positions[segment]![message]!), `${segment}.${message}`);
    }
  }
  const reads = subject.disk.count("read");
  assert(reads < 8 * 10, `${reads} reads for 8 readers`);
  subject.reader.close();
});

Deno.test("LogReader costs a small read for a message that nobody reads on from", () => {
  const subject = newReader(1, 4_000, 1_000);
  let bytes = 0;
  const { disk } = subject;
  const open = disk.open.bind(disk);
  disk.open = (path, mode) => {
    const file = open(path, mode);
    return { ...file, read: (into, start, end, at) => (bytes += end - start, file.read(into, start, end, at)) };
  };
  for (const index of [3_999, 10, 2_000, 700]) textAt(subject, subject.positions[0]![index]!);
  // Each with its block of ten messages, which has to be found and checked as a whole.
  assert(bytes <= 4 * 32_768, `${bytes} bytes for four messages`);
  subject.reader.close();
});

Deno.test("LogReader reads a message larger than a window", () => {
  const subject = newReader(1, 3, 1_000_000);
  for (const round of [0, 1]) {
    subject.positions[0]!.forEach((position, index) =>
      assert.equal(textAt(subject, position), `0.${index}`, `${round}`)
    );
  }
  subject.reader.close();
});

Deno.test("LogReader keeps few files open, and none after close", () => {
  const subject = newReader(100, 2, 10);
  subject.positions.forEach(([first], segment) => assert.equal(textAt(subject, first!), `${segment}.0`));
  assert(subject.watch.openMax <= 32, `${subject.watch.openMax} files`);
  const open = subject.watch.openCount;
  const last = subject.watch.openCount > 0 ? subject.positions.length - 1 : 0;
  subject.reader.forget(`${WAL}/${segmentFile(subject, last)}`);
  assert.equal(subject.watch.openCount, open - 1);
  subject.reader.close();
  assert.equal(subject.watch.openCount, 0);
  assert.deepEqual(subject.watch.mistakes, []);
});

function segmentFile({ disk }: Subject, index: number): string {
  return disk.list(WAL)[index]!;
}

Deno.test("LogReader says where there is no message", () => {
  const subject = newReader(2, 2, 10);
  const [first] = subject.positions;
  const isCorrupt = (failure: unknown) => failure instanceof StorageFailed && failure.reason === "corrupt";
  assert.throws(() => subject.reader.find(first![0]! + 8), isCorrupt);
  assert.throws(() => subject.reader.find(8), isCorrupt);
  assert.throws(() => subject.reader.find(2 ** 40), isCorrupt);
  subject.disk.fail("read", 1, "io");
  assert.equal(textAt(subject, first![1]!), "0.1", "a read that fails once spoils nothing");
  subject.reader.close();
});

function assertUnreadable({ reader }: Subject, position: number): void {
  assert.throws(() => reader.find(position), (failure) => {
    return failure instanceof StorageFailed && failure.reason === "corrupt" && failure.path === `${WAL}/${FIRST}`;
  });
}

Deno.test("LogReader gives nothing of a block that is not whole, and all of its neighbours", () => {
  for (const what of ["flipped", "unreadable"]) {
    for (const order of ["forwards", "backwards"]) {
      const subject = newReader(1, 40, 500);
      const [positions] = subject.positions;
      const at = fileOffset(positions![14]!) + 200;
      if (what === "flipped") subject.disk.flipByte(`${WAL}/${FIRST}`, at, 1);
      else subject.disk.breakRange(`${WAL}/${FIRST}`, at, at + 1);
      const indexes = [...positions!.keys()];
      if (order === "backwards") indexes.reverse();
      const got = indexes.filter((index) => isReadable(subject, positions![index]!, `0.${index}`));
      // The device loses a page, of which the block of each part is damaged.
      const [from, to] = what === "flipped" ? [at, at + 1] : [at - at % 4_096, at - at % 4_096 + 4_096];
      const isWhole = (index: number) => {
        const first = index - index % 10;
        const start = fileOffset(positions![first]!) - BLOCK_HEADER_BYTES;
        const end = first + 10 < 40 ? fileOffset(positions![first + 10]!) - BLOCK_HEADER_BYTES : Infinity;
        return start >= to || end <= from;
      };
      assert.deepEqual(got, indexes.filter(isWhole), `${what}, ${order}`);
      assert(!got.includes(14), "the damaged one is not given");
      subject.reader.close();
    }
  }
});

function isReadable(subject: Subject, position: number, text: string): boolean {
  try {
    assert.equal(textAt(subject, position), text);
    return true;
  } catch (failure) {
    if (!(failure instanceof StorageFailed)) throw failure;
    return false;
  }
}

Deno.test("LogReader does not read again what it knows to be damaged", () => {
  const subject = newReader(1, 40, 500);
  const [positions] = subject.positions;
  const at = fileOffset(positions![14]!) + 200;
  subject.disk.breakRange(`${WAL}/${FIRST}`, at, at + 1);
  assertUnreadable(subject, positions![10]!);
  const reads = subject.disk.count("read");
  for (let index = 10; index < 20; index++) assertUnreadable(subject, positions![index]!);
  assert.equal(subject.disk.count("read"), reads);
  subject.reader.close();
});

Deno.test("LogReader is not misled by a payload that looks like the header of a block", () => {
  const log = new LogWriter();
  const first = log.publish({ topic: "t", payload: "x".repeat(2_000) });
  const second = log.publish({ topic: "t", payload: "second" });
  log.block();
  log.segment();
  const [{ firstLsn, endLsn, name }] = log.segments as [typeof log.segments[number]];
  const disk = new FaultyDisk();
  disk.makeDirectory(WAL);
  log.save(disk, WAL);
  const path = `${WAL}/${name}`;
  const bytes = new LogBuffer((disk.contents(path).length + 7) & ~7);
  bytes.bytes.set(disk.contents(path));
  // Within the first payload, with the right LSN and a length that covers the second message; then the block is sealed anew.
  const forged = fileOffset(first) + 1_000 & ~7;
  const block = fileOffset(firstLsn);
  const end = fileOffset(endLsn);
  sealBlock(bytes, forged, end, forged + firstLsn - 64, 1, 0, 0);
  bytes.bytes[forged + 40]! ^= 1;
  sealBlock(bytes, block, end, firstLsn, 2, 0, firstLsn);
  const file = disk.open(path, "write");
  file.write(bytes.bytes, 0, end, 0);
  file.close();
  const reader = new LogReader(disk, () => ({ path, firstLsn, endLsn }));
  reader.find(second);
  const message = new Message();
  readMessage(reader.buffer, reader.start, message);
  const payload = message.payloadBytes.subarray(message.payloadStart, message.payloadEnd);
  assert.equal(new TextDecoder().decode(payload), "second");
  reader.close();
});

/** Of an LSN of the first segment. */
function fileOffset(lsn: number): number {
  return lsn - FIRST_LSN + SEGMENT_HEADER_BYTES;
}

const FIRST = segmentName(FIRST_LSN);
