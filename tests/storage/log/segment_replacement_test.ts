/**
 * Goal: a process that is killed at any change of the disk while a fresh segment takes the place of others loses nothing
 * that was written; after a loss of power there, what was synced is found, and nothing is called corruption.
 *
 * Method: a log with several segments that are not synced is restarted, with images of the disk after each change. Of
 * each a start is made, and another where the first was killed at any of its changes; `listSegmentFiles` is tried before.
 */
import assert from "node:assert/strict";
import { Message } from "../../../src/protocol/message.ts";
import { FIRST_LSN, readBlocks } from "../../../src/storage/log/segment.ts";
import { listSegmentFiles, SegmentReader } from "../../../src/storage/log/segment_files.ts";
import { WriteAheadLog } from "../../../src/storage/log/write_ahead_log.ts";
import { recover } from "../../../src/storage/recovery/recovery.ts";
import { Random } from "../../support/random.ts";
import { FaultyDisk } from "../disk/faulty_disk.ts";
import { WAL } from "../store_rig.ts";
import { loadedCheckpoint } from "./log_writer.ts";

const MESSAGES = 12;
/** Messages that are synced. */
const SAFE = [0, 1, 4];
/** Losses of power tried at each change. */
const CUTS = 40;

/** A log of which all messages are written and the first `safe` synced. */
async function logWith(safe: number): Promise<{ disk: FaultyDisk; log: WriteAheadLog }> {
  const disk = new FaultyDisk();
  disk.makeDirectory(WAL);
  disk.settle();
  const log = new WriteAheadLog({
    disk,
    directory: WAL,
    segments: [],
    endLsn: FIRST_LSN,
    memoryBytesMax: 1_048_576,
    segmentBytes: 400,
    clock: () => 1_000,
  });
  for (let number = 0; number < MESSAGES; number++) {
    if (number === safe && safe > 0) {
      log.syncedLsn = await log.sync();
      log.markSafe(log.syncedLsn);
    }
    publish(log, number);
    log.write();
  }
  return { disk, log };
}

function publish(log: WriteAheadLog, number: number): void {
  const message = new Message();
  message.setTopic(new TextEncoder().encode(`\0\x02${String(number).padStart(2, "0")}`));
  message.setPayload(new Uint8Array(60), 0, 60);
  message.qos = 1;
  message.retain = true;
  log.appendPublish(message, 0, 0, 0);
}

/** How many messages a start finds; they must be the first, and nothing may count as lost. */
function start(disk: FaultyDisk): number {
  const { state, report } = recover(disk, WAL, loadedCheckpoint(), { validation: "records", onCorruption: "refuse" });
  assert.deepEqual(report.losses, []);
  const topics = [...state.retained].map(([topic]) => Number(topic));
  assert.deepEqual(topics, topics.map((_, index) => index));
  return topics.length;
}

/** Makes a start, and one more of what a process leaves that is killed at any change of the first. */
function startAll(disk: FaultyDisk, check: (messages: number) => void): void {
  const cutShort: FaultyDisk[] = [];
  disk.onChange = () => cutShort.push(disk.image(new Random(1), "kill"));
  check(start(disk));
  for (const again of cutShort) check(start(again));
  assert.deepEqual(disk.list(WAL).filter((name) => /unfinished|fresh/.test(name)), []);
}

for (const safe of SAFE) {
  for (const isWriteFailed of [false, true]) {
    const what = `${safe} messages safe, after a failed ${isWriteFailed ? "write" : "sync"}`;
    Deno.test(`a segment is replaced without a moment in which a crash takes what it may not, ${what}`, async () => {
      const { disk, log } = await logWith(safe);
      const { writtenLsn } = log;
      if (isWriteFailed) {
        publish(log, MESSAGES);
        disk.failWrite(1, "io");
        assert.throws(() => log.write());
      }
      const kills: FaultyDisk[] = [];
      const cuts: FaultyDisk[] = [];
      disk.onChange = () => {
        kills.push(disk.image(new Random(1), "kill"));
        for (let seed = 1; seed <= CUTS; seed++) cuts.push(disk.image(new Random(seed), "power"));
      };
      log.restart();
      disk.onChange = undefined;
      log.close();
      assert(kills.length > 6, `${kills.length} changes`);
      for (const image of kills) {
        assert(readableEnd(image) >= writtenLsn, "for a reader");
        startAll(image, (messages) => assert(messages >= MESSAGES, `${messages} of ${MESSAGES} messages after a kill`));
      }
      for (const image of cuts) {
        startAll(image, (messages) => assert(messages >= safe, `${messages} of ${safe} synced messages`));
      }
    });
  }
}

/** Up to where the segments of a directory have whole blocks without a gap. */
function readableEnd(disk: FaultyDisk): number {
  const reader = new SegmentReader(disk);
  let endLsn = FIRST_LSN;
  for (const { path, firstLsn } of listSegmentFiles(disk, WAL)) {
    reader.read(path);
    for (const item of readBlocks(reader.buffer, reader.size, firstLsn, "records")) {
      if (item.kind === "block" && item.lsn <= endLsn) endLsn = Math.max(endLsn, item.lsn + item.end - item.start);
    }
  }
  return endLsn;
}
