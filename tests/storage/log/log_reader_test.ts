/**
 * Reading back what left memory: few reads for whoever drains a queue in order, for several at once; few open files; and
 * a failure that names the segment where no message is.
 */
import assert from "node:assert/strict";
import { Message } from "../../../src/protocol/message.ts";
import { LogReader } from "../../../src/storage/log/log_reader.ts";
import { readMessage } from "../../../src/storage/log/record.ts";
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
  assert(bytes <= 4 * 8_192, `${bytes} bytes for four messages`);
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
  assert.throws(() => subject.reader.find(first![1]!), (failure) => {
    return failure instanceof StorageFailed && failure.reason === "io";
  });
  assert.equal(textAt(subject, first![1]!), "0.1", "a failed read spoils nothing");
  subject.reader.close();
});
