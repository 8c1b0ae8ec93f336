/**
 * Power cuts while several blocks, also of several segments, are not synced: whatever of them arrives, a start finds what
 * was synced and a prefix of what follows, calls nothing of it corruption, and the log goes on from there.
 *
 * Each run is a few lives of one log over a `FaultyDisk`: turns of messages, syncs that complete late or fail, then a
 * crash. The start after it is cut short as well, at each of its changes.
 */
import assert from "node:assert/strict";
import { Message } from "../../src/protocol/message.ts";
import { FIRST_LSN } from "../../src/storage/log/segment.ts";
import { WriteAheadLog } from "../../src/storage/log/write_ahead_log.ts";
import { StorageFailed } from "../../src/storage/model/errors.ts";
import { recover, type Recovered, type RecoveryOptions } from "../../src/storage/recovery/recovery.ts";
import { Random } from "../support/random.ts";
import { FaultyDisk } from "./disk/faulty_disk.ts";
import { loadedCheckpoint } from "./log/log_writer.ts";

const WAL = "/wal";
const REFUSE: RecoveryOptions = { validation: "records", onCorruption: "refuse" };

/** A message by its Topic Name, which is unique. */
type Written = readonly [topic: string, position: number];

/** A log at work, with a sync that may be under way. */
class Life {
  readonly log: WriteAheadLog;
  readonly written: Written[];
  readonly #disk: FaultyDisk;
  readonly #random: Random;
  #sync: Promise<number> | undefined = undefined;
  /** True after a failure: the next sync has to succeed, or it is over. */
  #isRestarting = false;

  constructor(disk: FaultyDisk, random: Random, found: Recovered, written: readonly Written[]) {
    this.#disk = disk;
    this.#random = random;
    this.written = [...written];
    this.log = new WriteAheadLog({
      disk,
      directory: WAL,
      segments: found.segments.map((segment) => ({ ...segment, hasState: true })),
      endLsn: found.endLsn,
      memoryBytesMax: 16_777_216,
      segmentBytes: 300 + random.below(2000),
      clock: () => 1000,
    });
    disk.holdSyncs("all");
  }

  /** One turn: some messages are written, and a sync begins, goes on or fails. */
  async turn(): Promise<void> {
    const random = this.#random;
    for (let count = random.below(4); count >= 0; count--) this.#publish();
    if (this.#sync === undefined && random.oneIn(25)) this.#disk.failWrite(1, "io");
    try {
      this.log.write();
    } catch (cause) {
      this.#restart(cause);
    }
    if (this.#sync === undefined) {
      if (!this.#isRestarting && random.oneIn(25)) this.#disk.failSync(1, "io");
      if (this.#isRestarting || random.oneIn(2)) {
        this.#sync = this.log.sync();
        // Nobody hears of it when the machine goes down.
        this.#sync.catch(() => {});
      }
    } else if (random.oneIn(2)) await this.#goOn();
  }

  #publish(): void {
    const topic = `${this.written.length}`.padStart(6, "0");
    const message = new Message();
    message.setTopic(new TextEncoder().encode(`\0\x06${topic}`));
    const payload = new Uint8Array(1 + this.#random.below(700)).fill(0x61);
    message.setPayload(payload, 0, payload.length);
    message.qos = 1;
    message.retain = true;
    this.written.push([topic, this.log.appendPublish(message, 0, 0, 0)]);
  }

  /** Lets the oldest step of the sync complete. */
  async #goOn(): Promise<void> {
    this.#disk.finishSync();
    try {
      const lsn = await Promise.race([this.#sync!, this.#disk.heldSync()]);
      // The path of the next step, or the end.
      if (typeof lsn === "string") return;
      this.log.syncedLsn = lsn;
      this.log.markSafe(lsn);
      this.#isRestarting = false;
      this.#sync = undefined;
    } catch (cause) {
      this.#sync = undefined;
      this.#restart(cause);
    }
  }

  #restart(cause: unknown): void {
    assert.ok(cause instanceof StorageFailed, String(cause));
    this.#isRestarting = true;
    this.log.restart();
  }
}

/** What a start must find. Returns how many messages there are. */
function check(found: Recovered, written: readonly Written[], syncedLsn: number, what: string): number {
  assert.deepEqual(found.report.losses, [], what);
  const messages = [...found.state.retained];
  assert.deepEqual(messages, written.slice(0, messages.length), `${what}: a prefix`);
  const safe = written.filter(([, position]) => position < syncedLsn).length;
  assert.ok(messages.length >= safe, `${what}: ${safe} messages were synced, ${messages.length} are there`);
  assert.ok(found.endLsn >= syncedLsn, `${what}: the end of the log`);
  return messages.length;
}

/** Starts, and makes safe what is found; each change on the way is survived. */
async function start(disk: FaultyDisk, random: Random, check: (found: Recovered) => number): Promise<Recovered> {
  const images: FaultyDisk[] = [];
  disk.onChange = () => images.push(disk.image(random, random.oneIn(2) ? "kill" : "power"));
  const found = recover(disk, WAL, loadedCheckpoint(), REFUSE);
  for (const { path } of found.segments) {
    const file = disk.open(path, "write");
    await file.sync();
    file.close();
  }
  await disk.syncDirectory(WAL);
  disk.onChange = undefined;
  check(found);
  for (const image of images) check(recover(image, WAL, loadedCheckpoint(), REFUSE));
  return found;
}

Deno.test("a power cut with blocks and segments that are not synced leaves a prefix and is never called corruption", async () => {
  let cuts = 0;
  let holes = 0;
  for (let seed = 1; seed <= 420; seed++) {
    const random = new Random(seed);
    let disk = new FaultyDisk({ seed });
    disk.makeDirectory(WAL);
    disk.settle();
    let written: readonly Written[] = [];
    let found = recover(disk, WAL, loadedCheckpoint(), REFUSE);
    assert.equal(found.endLsn, FIRST_LSN);
    for (let age = 0; age < 3; age++) {
      const life = new Life(disk, random, found, written);
      for (let turns = random.below(20); turns >= 0; turns--) await life.turn();
      const what = `seed ${seed}, life ${age}`;
      const { written: all, log: { syncedLsn } } = life;
      const kind = random.oneIn(6) ? "kill" : "power";
      if (kind === "power") cuts++;
      disk = disk.crash(random, kind);
      found = await start(disk, random, (seen) => check(seen, all, syncedLsn, what));
      const kept = check(found, all, syncedLsn, what);
      if (kind === "kill") assert.equal(kept, all.length, `${what}: all that was written`);
      written = all.slice(0, kept);
      const wholes = found.repairs.filter((repair) => repair.kind === "move").length;
      if (wholes > 0) holes++;
    }
  }
  // The runs are what they are meant to be.
  assert.ok(cuts >= 1000, `${cuts} power cuts`);
  assert.ok(holes > 100, `${holes} of them left segments behind the end`);
});
