/**
 * The note of the clock beside the log: written as a whole, read back, and made out where it is damaged.
 */
import assert from "node:assert/strict";
import { readClockNote, readWallOffset, resumeClock, writeClockNote } from "../../src/storage/clock_note.ts";
import { SteadyClock } from "../../src/system/clock.ts";
import { FaultyDisk } from "./disk/faulty_disk.ts";

const WAL = "/data/wal";
const OLD = { brokerMs: 1_000.5, offsetMs: 0 };
const NEW = { brokerMs: 2_000.25, offsetMs: 1_800_000_000_000 };

function emptyDisk(seed = 1): FaultyDisk {
  const disk = new FaultyDisk({ seed });
  disk.makeDirectory(WAL);
  disk.settle();
  return disk;
}

function chance(seed: number) {
  let state = seed;
  return { below: (limit: number) => (state = (state * 48_271) % 2_147_483_647) % limit };
}

Deno.test("the note of the clock reads as it was written, and there is none at first", async () => {
  const disk = emptyDisk();
  assert.equal(readClockNote(disk, WAL), undefined);
  assert.equal(readWallOffset(disk, WAL), 0);
  await writeClockNote(disk, WAL, OLD);
  await writeClockNote(disk, WAL, NEW);
  assert.deepEqual(readClockNote(disk, WAL), NEW);
  assert.equal(readWallOffset(disk, WAL), NEW.offsetMs);
  assert.deepEqual(disk.list(WAL), ["clock.json"]);
});

Deno.test("a power cut in every moment of writing leaves the old note or the new one", async () => {
  const found = new Set<unknown>();
  for (let seed = 1; seed <= 40; seed++) {
    const disk = emptyDisk(seed);
    await writeClockNote(disk, WAL, OLD);
    disk.settle();
    const images: FaultyDisk[] = [];
    disk.onChange = () => images.push(disk.image(chance(seed + images.length), "power"));
    await writeClockNote(disk, WAL, NEW);
    disk.onChange = undefined;
    assert(images.length > 3);
    for (const image of images) {
      const note = readClockNote(image, WAL);
      assert([OLD.brokerMs, NEW.brokerMs].includes((note as typeof OLD).brokerMs), JSON.stringify(note));
      found.add((note as typeof OLD).brokerMs);
    }
    assert.deepEqual(readClockNote(disk.image(chance(seed), "power"), WAL), NEW, "safe when it is written");
  }
  assert.equal(found.size, 2);
});

Deno.test("a note that says nothing of use is unreadable, and what a crash left beside it is no hindrance", async () => {
  const disk = emptyDisk();
  for (const text of ["", "{", "[]", '{"brokerMs":1}', '{"brokerMs":"1","offsetMs":2}', "null"]) {
    disk.remove(`${WAL}/clock.json`);
    for (const name of ["clock.json", "clock.json.new"]) {
      disk.remove(`${WAL}/${name}`);
      const file = disk.open(`${WAL}/${name}`, "create");
      const bytes = new TextEncoder().encode(text);
      file.write(bytes, 0, bytes.length, 0);
      file.close();
    }
    assert.equal(readClockNote(disk, WAL), "unreadable", text);
    await writeClockNote(disk, WAL, NEW);
    assert.deepEqual(readClockNote(disk, WAL), NEW);
  }
});

Deno.test("a note with any one bit changed says what it said before, or is unreadable", async () => {
  const disk = emptyDisk();
  const note = { brokerMs: 1_796_095_366_314.3374, offsetMs: -0.31982421875 };
  await writeClockNote(disk, WAL, note);
  const file = disk.open(`${WAL}/clock.json`, "write");
  const whole = new Uint8Array(file.size());
  file.read(whole, 0, whole.length, 0);
  let unreadable = 0;
  for (let bit = 0; bit < 8 * whole.length; bit++) {
    const changed = whole.slice();
    changed[bit >> 3]! ^= 1 << (bit & 7);
    file.write(changed, 0, changed.length, 0);
    const found = readClockNote(disk, WAL);
    if (found === "unreadable") unreadable++;
    // The last digits may say the same number.
    else assert.deepEqual(found, note, `bit ${bit}`);
  }
  assert(unreadable > 7 * whole.length);
});

Deno.test("the clock goes on from the note or the log, whichever is later, and not at all where there is neither", () => {
  const nowMs = 1_800_000_000_000;
  const resumed = (note: Parameters<typeof resumeClock>[1], lastWrittenMs: number) => {
    const clock = new SteadyClock({ monotonicMs: () => 5, wallMs: () => nowMs });
    resumeClock(clock, note, lastWrittenMs);
    return clock.nowMs();
  };
  assert.equal(resumed(undefined, 0), nowMs);
  assert.equal(resumed(undefined, nowMs - 7_000), nowMs);
  assert.equal(resumed(undefined, nowMs + 7_000), nowMs + 7_000);
  assert.equal(resumed({ brokerMs: 40_000, offsetMs: nowMs - 100_000 }, 30_000), 100_000);
  assert.equal(resumed({ brokerMs: 40_000, offsetMs: nowMs }, 50_000), 50_000, "the wall clock went back");
  assert.equal(resumed("unreadable", 50_000), 50_000);
  assert.equal(resumed("unreadable", 0), nowMs);
});
