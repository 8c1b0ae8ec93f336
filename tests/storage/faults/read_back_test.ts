/**
 * Goal: nothing of a damaged log reaches a client. A message that cannot be read back costs itself; all others are
 * delivered, whole and once, and nobody is disconnected.
 *
 * Method: an absent Session is owed numbered messages that are not in memory any more; a stretch in the middle of their
 * segment is damaged, zeroed, overwritten or made unreadable; the client comes back and takes everything that comes.
 */
import assert from "node:assert/strict";
import type { FaultyDisk } from "../disk/faulty_disk.ts";
import { type RigOptions, type StoreRig, storeTest } from "../store_rig.ts";
import { blocksOf } from "./blocks.ts";
import { DiskBroker } from "./disk_broker.ts";

const OPTIONS: RigOptions = { memoryBytesMax: 0, segmentBytes: 1_000_000, onCorruption: "quarantine" };
const MESSAGES = 120;
/** The stretch that is damaged, in the file: whole pages, as a device loses them. */
const FROM = 40_960;
const TO = FROM + 8_192;
/** Within a payload. */
const FLIPPED = FROM + 500;

const DAMAGE:
  readonly (readonly [what: string, damage: (disk: FaultyDisk, path: string) => void, from: number, to: number])[] = [
    ["zeroed", (disk, path) => disk.zero(path, FROM, TO), FROM, TO],
    ["overwritten", (disk, path) => overwrite(disk, path), FROM, TO],
    ["unreadable", (disk, path) => disk.breakRange(path, FROM, TO), FROM, TO],
    ["wrong in one bit", (disk, path) => disk.flipByte(path, FLIPPED, 1), FLIPPED, FLIPPED + 1],
  ];

function overwrite(disk: FaultyDisk, path: string): void {
  const file = disk.open(path, "write");
  file.write(new Uint8Array(TO - FROM).fill(0xff), 0, TO - FROM, FROM);
  file.close();
  disk.settle();
}

function payloadOf(number: number): string {
  return `${number} `.padEnd(1_000, `${number % 10}`);
}

/** Lets a Session be owed the messages, each in a block of its own; returns their positions. */
async function fill(rig: StoreRig): Promise<number[]> {
  const broker = new DiskBroker(rig);
  const away = await broker.durable("subscriber");
  away.subscribe(1, "t/#", 1);
  await broker.rest();
  away.lose();
  const publisher = await broker.client("publisher");
  const positions: number[] = [];
  for (let number = 0; number < MESSAGES; number++) {
    await broker.publish(publisher, `t/${number}`, [payloadOf(number)]);
    positions.push(rig.store.lastPosition);
  }
  return positions;
}

for (const [what, damage, from, to] of DAMAGE) {
  storeTest(`a message of the log that is ${what} costs itself, and nothing else`, OPTIONS, async (rig) => {
    const positions = await fill(rig);
    // Nothing is in memory any more.
    const restarted = await rig.restart();
    const broker = new DiskBroker(restarted);
    const bystander = await broker.client("bystander");
    const { path } = restarted.log.segments[0]!;
    const hit = blocksOf(restarted.disk, path).filter(({ offset, firstLsn, endLsn }) =>
      offset < to && offset + endLsn - firstLsn > from
    );
    assert(hit.length > 0 && hit.length < 20, "part of the messages is damaged");
    damage(restarted.disk, path);
    const back = await broker.durable("subscriber");
    const got = await broker.drain(back);
    const wrong = got.filter(({ topic, payload }) => String(payload) !== payloadOf(numberOf(topic!)));
    assert.deepEqual(wrong.map(({ topic }) => topic), [], "nothing wrong is delivered");
    const whole = [...positions.keys()].filter((number) =>
      hit.every(({ firstLsn, endLsn }) => positions[number]! < firstLsn || positions[number]! >= endLsn)
    );
    assert.deepEqual(got.map(({ topic }) => numberOf(topic!)), whole, "all others are delivered, once");
    assert.equal(back.ending, undefined, "the subscriber stays connected");
    bystander.send({ cmd: "pingreq" });
    await broker.rest();
    assert.deepEqual(bystander.heard(), ["pingresp"], "and so does everybody else");
    restarted.abandon();
  });
}

function numberOf(topic: string): number {
  return Number(topic.slice(2));
}
