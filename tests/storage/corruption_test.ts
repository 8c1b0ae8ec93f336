/**
 * Damage of every kind to a small log of three segments. Whatever the bytes: a start fails with StorageFailed or not at
 * all, it never makes up a message, it reports something whenever something that was written is missing, and the start
 * after it finds the same and has nothing new to report, also when the log went on in between.
 */
import assert from "node:assert/strict";
import { LogBuffer } from "../../src/storage/log/log_buffer.ts";
import { encodeSegmentHeader, sealBlock, SEGMENT_HEADER_BYTES, segmentName } from "../../src/storage/log/segment.ts";
import { StorageFailed } from "../../src/storage/model/errors.ts";
import type { Loss } from "../../src/storage/recovery/damaged_block.ts";
import { recover, type Recovered, type RecoveryOptions } from "../../src/storage/recovery/recovery.ts";
import { Random } from "../support/random.ts";
import { FaultyDisk } from "./disk/faulty_disk.ts";
import { CREATED_MS, loadedCheckpoint, LogWriter, receiver, type WrittenSegment } from "./log/log_writer.ts";

const WAL = "/wal";
const QUARANTINE: RecoveryOptions = { validation: "records", onCorruption: "quarantine" };
const REFUSE: RecoveryOptions = { validation: "records", onCorruption: "refuse" };

/** What was written, to hold against what comes back. */
interface Written {
  readonly segments: readonly WrittenSegment[];
  /** Topic and size of each message by position. */
  readonly messages: ReadonlyMap<number, { readonly topic: string; readonly size: number }>;
  readonly records: number;
  readonly endLsn: number;
}

function write(): Written {
  const log = new LogWriter();
  const messages = new Map<number, { topic: string; size: number }>();
  let records = 0;
  const publish = (topic: string, payload: string, route: number) => {
    const position = log.publish({ topic, payload, route, retain: true, qos: 2, publisher: 1, packetId: 3 });
    messages.set(position, { topic, size: topic.length + 2 + payload.length });
    records++;
    return position;
  };
  for (let segment = 0; segment < 3; segment++) {
    log.open(segment * 2 + 1);
    log.open(segment * 2 + 2);
    log.subscribe(segment * 2 + 1, "$share/g/t");
    log.block();
    const route = log.route([receiver(segment * 2 + 1), receiver(segment * 2 + 2, { qos: 2 })], [{
      name: "g",
      filter: "t",
    }]);
    const first = publish(`topic/${segment}/a`, "payload", route);
    log.block();
    publish(`topic/${segment}/b`, "", route);
    const second = publish(`topic/${segment}/c`, "a longer payload, so that the block has some bytes", route);
    log.sent(segment * 2 + 1, first, 1);
    log.block().sent(segment * 2 + 2, second, 2);
    log.done(segment * 2 + 1, first, 1);
    log.release(1, 3);
    records += 8;
    log.segment();
  }
  return { segments: log.segments, messages, records, endLsn: log.endLsn };
}

const WRITTEN = write();

function makeDisk(): FaultyDisk {
  const disk = new FaultyDisk();
  disk.makeDirectory(WAL);
  for (const { name, bytes } of WRITTEN.segments) disk.put(`${WAL}/${name}`, bytes);
  disk.settle();
  return disk;
}

function pathOf(segment: number): string {
  return `${WAL}/${WRITTEN.segments[segment]!.name}`;
}

/** Starts, or tells the reason of a refusal. */
function start(disk: FaultyDisk, options: RecoveryOptions): Recovered | string {
  try {
    return recover(disk, WAL, loadedCheckpoint(), options);
  } catch (error) {
    assert.ok(error instanceof StorageFailed, String(error));
    assert.ok(error.reason === "corrupt" || error.reason === "format", error.message);
    return error.reason;
  }
}

/** Everything that must hold after any damage. Returns what the first start reported, or why it refused. */
function check(disk: FaultyDisk, what: string): Recovered | string {
  const result = checkStarts(disk, what);
  if (typeof result !== "string") checkAccounted(result, what);
  return result;
}

/** The same for a log whose end is cut off where a block ends, which nothing can tell from a shorter one. */
function checkStarts(disk: FaultyDisk, what: string): Recovered | string {
  const before = imageOf(disk);
  const refused = start(disk, REFUSE);
  if (typeof refused === "string") assert.deepEqual(imageOf(disk), before, `${what}: a refusal changes nothing`);
  else assert.deepEqual(refused.report.losses, [], what);
  // What was not refused is repaired by now.
  const result = typeof refused === "string" ? start(disk, QUARANTINE) : refused;
  if (typeof result === "string") {
    assert.equal(result, "format", what);
    assert.equal(refused, "format", what);
    return result;
  }
  if (typeof refused === "string") assert.ok(result.report.losses.length > 0, `${what}: refused for a reason`);
  checkNothingMadeUp(result, what);
  checkNextStart(disk, result, what);
  return result;
}

function imageOf(disk: FaultyDisk): Map<string, Uint8Array> {
  return new Map(disk.list(WAL).map((name) => [name, disk.contents(`${WAL}/${name}`)]));
}

function checkNothingMadeUp({ state, segments, endLsn }: Recovered, what: string): void {
  for (const [topic, position] of state.retained) {
    assert.equal(WRITTEN.messages.get(position!)?.topic, topic, `${what}: retained ${topic}`);
  }
  for (const { position, size } of [...state.owed.values()].flat()) {
    assert.equal(WRITTEN.messages.get(position)?.size, size, `${what}: owed ${position}`);
    assert.ok(segments.some((segment) => segment.firstLsn <= position && position < segment.endLsn), what);
  }
  for (const { position } of state.groupBacklog) assert.ok(WRITTEN.messages.has(position), what);
  for (const session of state.sessions.keys()) assert.ok(session >= 1 && session <= 6, what);
  assert.ok(endLsn % 8 === 0 && segments.every((segment) => segment.endLsn <= endLsn), what);
}

/** Every record is there, in a reported loss, or in the torn tail. */
function checkAccounted({ report, endLsn }: Recovered, what: string): void {
  if (report.records < WRITTEN.records) assert.ok(report.losses.length > 0 || report.tornBytes > 0, what);
  for (const position of WRITTEN.messages.keys()) {
    const isLost = report.losses.some((loss) => loss.firstLsn <= position && position < loss.endLsn);
    // How much followed a loss at the end nothing can tell.
    const isBehindLoss = report.losses.some((loss) => loss.endLsn >= endLsn);
    const isAccounted = isLost || isBehindLoss || position < endLsn || report.tornBytes > 0;
    assert.ok(isAccounted, `${what}: ${position} is not accounted for`);
  }
}

function checkNextStart(disk: FaultyDisk, first: Recovered, what: string): void {
  const log = new LogWriter(first.endLsn);
  const position = log.publish({ topic: "new", retain: true });
  const name = segmentName(first.endLsn);
  if (disk.exists(`${WAL}/${name}`)) disk.remove(`${WAL}/${name}`);
  log.save(disk, WAL);
  const second = start(disk, QUARANTINE);
  assert.ok(typeof second !== "string", what);
  assert.equal(second.endLsn, log.endLsn, what);
  assert.deepEqual([...second.state.retained], [...first.state.retained, ["new", position]], what);
  assert.deepEqual(second.state.owed, first.state.owed, what);
  assert.deepEqual(second.state.sessions, first.state.sessions, what);
  assert.deepEqual(
    second.report.losses.filter(({ isKnown }) => !isKnown),
    [],
    `${what}: nothing new at the next start`,
  );
  assert.equal(second.report.tornBytes, 0, what);
}

function isReported(result: Recovered | string): boolean {
  return typeof result === "string" || result.report.losses.length > 0 || result.report.tornBytes > 0;
}

Deno.test("an undamaged log is recovered whole, without a report", () => {
  const result = check(makeDisk(), "undamaged");
  assert.ok(typeof result !== "string");
  assert.equal(result.report.records, WRITTEN.records);
  assert.equal(result.endLsn, WRITTEN.endLsn);
  assert.ok(!isReported(result));
});

Deno.test("each byte flipped in turn is noticed", () => {
  WRITTEN.segments.forEach(({ bytes }, segment) => {
    for (let offset = 0; offset < bytes.length; offset++) {
      for (const mask of [0xff, 1 << (offset % 8)]) {
        const disk = makeDisk();
        disk.flipByte(pathOf(segment), offset, mask);
        const what = `segment ${segment}, byte ${offset}, mask ${mask}`;
        assert.ok(isReported(check(disk, what)), what);
      }
    }
  });
});

Deno.test("each truncation is noticed, and of the youngest segment is a torn tail or a shorter log", () => {
  WRITTEN.segments.forEach(({ bytes, blocks, firstLsn }, segment) => {
    for (let size = 0; size < bytes.length; size++) {
      const disk = makeDisk();
      disk.shrink(pathOf(segment), size);
      const what = `segment ${segment} cut to ${size}`;
      const isBetweenBlocks = size === 0 || blocks.includes(firstLsn + size - SEGMENT_HEADER_BYTES);
      const isShorterLog = segment === 2 && isBetweenBlocks;
      const result = isShorterLog ? checkStarts(disk, what) : check(disk, what);
      assert.ok(typeof result !== "string", what);
      assert.equal(result.report.losses.length > 0, segment < 2, what);
      assert.equal(result.report.tornBytes > 0, segment === 2 && !isBetweenBlocks, what);
    }
  });
});

Deno.test("zeroed pages are noticed", () => {
  WRITTEN.segments.forEach(({ bytes }, segment) => {
    for (const page of [16, 64, 512]) {
      for (let from = 0; from < bytes.length; from += page) {
        const disk = makeDisk();
        disk.zero(pathOf(segment), from, Math.min(bytes.length, from + page));
        const what = `segment ${segment}, zeros from ${from} for ${page}`;
        const isChanged = disk.contents(pathOf(segment)).some((byte, index) => byte !== bytes[index]);
        assert.equal(isReported(check(disk, what)), isChanged, what);
      }
    }
  });
});

Deno.test("a missing segment is a loss, but for the youngest, of which nothing is left to tell", () => {
  for (const segment of [0, 1]) {
    const disk = makeDisk();
    disk.remove(pathOf(segment));
    const result = check(disk, `without segment ${segment}`);
    assert.ok(typeof result !== "string");
    const { firstLsn, endLsn } = WRITTEN.segments[segment]!;
    const gap = result.report.losses.filter(({ reason }) => reason.includes("missing"));
    assert.deepEqual(gap.map((loss) => [loss.firstLsn, loss.endLsn]), [[firstLsn, endLsn]]);
    assert.deepEqual(gap.map(({ segment: path }) => path), [pathOf(segment)]);
  }
});

Deno.test("what is missing before a segment that was just begun is a loss as soon as a block says that it was synced", () => {
  const disk = makeDisk();
  disk.remove(pathOf(2));
  disk.put(`${WAL}/${segmentName(WRITTEN.endLsn)}`, encodeSegmentHeader(WRITTEN.endLsn, CREATED_MS));
  const shorter = recover(disk, WAL, loadedCheckpoint(), REFUSE);
  assert.equal(shorter.endLsn, WRITTEN.segments[2]!.firstLsn);
  assert.deepEqual([shorter.report.losses, shorter.report.tornBytes], [[], 0]);
  const log = new LogWriter(WRITTEN.endLsn);
  log.publish({ topic: "behind" });
  log.save(disk, WAL);
  const result = recover(disk, WAL, loadedCheckpoint(), QUARANTINE);
  assert.equal(result.endLsn, log.endLsn);
  assert.deepEqual(result.report.losses.map(({ firstLsn, endLsn }) => [firstLsn, endLsn]), [
    [WRITTEN.segments[2]!.firstLsn, WRITTEN.endLsn],
  ]);
});

Deno.test("a log that was used and has no segment is reported", () => {
  const disk = new FaultyDisk();
  disk.makeDirectory(WAL);
  const { report, endLsn } = recover(disk, WAL, loadedCheckpoint({ appliedLsn: 4096 }), REFUSE);
  assert.equal(endLsn, 4096);
  assert.equal(report.losses.length, 1);
});

Deno.test("a log that was used and whose only segment was given up is not reported", () => {
  const disk = new FaultyDisk();
  disk.makeDirectory(WAL);
  disk.put(`${WAL}/${segmentName(4096)}.broken`, encodeSegmentHeader(4096, CREATED_MS));
  const { report, endLsn } = recover(disk, WAL, loadedCheckpoint({ appliedLsn: 4096 }), REFUSE);
  assert.equal(endLsn, 4096);
  assert.deepEqual(report.losses, []);
});

Deno.test("swapped segments are lost, and kept aside", () => {
  for (const [a, b] of [[0, 1], [0, 2], [1, 2]] as const) {
    const disk = makeDisk();
    disk.put(pathOf(a), WRITTEN.segments[b]!.bytes);
    disk.put(pathOf(b), WRITTEN.segments[a]!.bytes);
    const result = check(disk, `swapped ${a} and ${b}`);
    assert.ok(typeof result !== "string");
    for (const segment of [a, b]) {
      const { firstLsn, endLsn } = WRITTEN.segments[segment]!;
      assert.ok(result.report.losses.some((loss) => loss.firstLsn === firstLsn && loss.endLsn >= endLsn));
    }
    assert.deepEqual(disk.contents(`${pathOf(a)}.quarantine`), WRITTEN.segments[b]!.bytes);
  }
});

Deno.test("a segment under a second name changes nothing but the report", () => {
  const disk = makeDisk();
  disk.put(`${WAL}/${segmentName(WRITTEN.segments[1]!.blocks[1]!)}`, WRITTEN.segments[1]!.bytes);
  const result = check(disk, "a copy");
  assert.ok(typeof result !== "string");
  assert.equal(result.report.records, WRITTEN.records);
  assert.equal(result.report.losses.length, 1);
});

Deno.test("garbage is set aside, whatever its name", () => {
  const random = new Random(7);
  const lsns = [72, WRITTEN.segments[1]!.firstLsn + 8, WRITTEN.endLsn, WRITTEN.endLsn + 8000, 2 ** 52];
  for (const lsn of lsns) {
    for (const size of [1, 63, 64, 65, 96, 1000]) {
      const disk = makeDisk();
      disk.put(`${WAL}/${segmentName(lsn)}`, Uint8Array.from({ length: size }, () => random.below(256)));
      const what = `garbage of ${size} bytes at ${lsn}`;
      const result = check(disk, what);
      assert.ok(typeof result !== "string");
      assert.ok(isReported(result), what);
      assert.equal(result.report.records, WRITTEN.records, what);
      assert.equal(result.endLsn, WRITTEN.endLsn, what);
    }
  }
});

Deno.test("garbage behind the last block is a torn tail at the end, and a loss nowhere", () => {
  for (const [segment, extra] of [[0, 40], [1, 33], [2, 1], [2, 500]] as const) {
    const disk = makeDisk();
    const { bytes } = WRITTEN.segments[segment]!;
    disk.put(pathOf(segment), Uint8Array.of(...bytes, ...new Uint8Array(extra).fill(0x42)));
    const result = check(disk, `${extra} bytes behind segment ${segment}`);
    assert.ok(typeof result !== "string");
    assert.deepEqual(result.report.losses, []);
    assert.equal(result.report.tornBytes, segment === 2 ? extra : 0);
    assert.equal(result.report.records, WRITTEN.records);
  }
});

Deno.test("random damage in several places at once is survived", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = new Random(seed);
    const disk = makeDisk();
    for (let wounds = 1 + random.below(4); wounds > 0; wounds--) {
      const path = pathOf(random.below(3));
      const size = disk.contents(path).length;
      if (size === 0) continue;
      const at = random.below(size);
      switch (random.below(4)) {
        case 0:
          disk.flipByte(path, at, 1 + random.below(255));
          break;
        case 1:
          // Never where a block ends, which of the youngest segment leaves nothing but a shorter log.
          disk.shrink(path, Math.min(size, (at & ~7) + 4));
          break;
        case 2:
          disk.zero(path, at, at + random.below(size - at + 1));
          break;
        case 3: {
          // Bytes of the log in a place where they do not belong.
          const bytes = disk.contents(path);
          bytes.copyWithin(random.below(size), at, at + random.below(size - at + 1));
          disk.put(path, bytes);
        }
      }
    }
    check(disk, `seed ${seed}`);
  }
});

Deno.test("a damaged block is reported exactly, skipped, and known at the next start", () => {
  const { blocks, bytes, firstLsn } = WRITTEN.segments[1]!;
  const disk = makeDisk();
  const damaged = blocks[2]!;
  // In the payload of its second message.
  disk.flipByte(pathOf(1), damaged - firstLsn + SEGMENT_HEADER_BYTES + 32 + 56 + 60);
  const damagedBytes = disk.contents(pathOf(1));
  const options = QUARANTINE;
  const expected: Omit<Loss, "isKnown"> = {
    firstLsn: damaged,
    endLsn: blocks[3]!,
    segment: pathOf(1),
    reason: "the checksum of the block does not match: its bytes are not what was written",
    topics: ["topic/1/b", "topic/1/c"],
    records: 3,
  };
  const first = recover(disk, WAL, loadedCheckpoint(), options);
  assert.deepEqual(first.report.losses, [{ ...expected, isKnown: false }]);
  assert.equal(first.report.records, WRITTEN.records - 3);
  assert.deepEqual([...first.state.retained.keys()].filter((topic) => topic.startsWith("topic/1")), ["topic/1/a"]);
  assert.deepEqual(disk.contents(`${pathOf(1)}.quarantine`), damagedBytes);
  assert.deepEqual(disk.contents(pathOf(1)).length, bytes.length);
  const second = recover(disk, WAL, loadedCheckpoint(), options);
  assert.deepEqual(second.report.losses, [{ ...expected, isKnown: true }]);
  assert.deepEqual(second.repairs, []);
});

Deno.test("a start that dies at any of its changes is made good by the next one", () => {
  let deaths = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const disk = makeDisk();
    const random = new Random(seed);
    // The youngest segment torn, another one missing or damaged, and one that was just begun.
    disk.shrink(pathOf(2), SEGMENT_HEADER_BYTES + random.below(WRITTEN.segments[2]!.bytes.length - 64));
    if (random.oneIn(3)) disk.remove(pathOf(random.below(2)));
    else disk.zero(pathOf(random.below(2)), random.below(600), 600 + random.below(200));
    if (random.oneIn(2)) disk.put(`${WAL}/${segmentName(WRITTEN.endLsn)}`, new Uint8Array(random.below(200)));
    disk.settle();
    const images: FaultyDisk[] = [];
    disk.onChange = () => images.push(disk.image(random, "kill"), disk.image(random, "power"));
    const whole = recover(disk, WAL, loadedCheckpoint(), QUARANTINE);
    for (const image of images) {
      const result = recover(image, WAL, loadedCheckpoint(), QUARANTINE);
      const what = `seed ${seed}, death ${deaths++}`;
      assert.deepEqual(result.state, whole.state, what);
      assert.equal(result.endLsn, whole.endLsn, what);
      assert.equal(result.report.losses.length > 0, whole.report.losses.length > 0, what);
    }
  }
  assert.ok(deaths > 100);
});

Deno.test("a segment that is too short is one loss, up to the next one", () => {
  const { blocks, firstLsn, endLsn } = WRITTEN.segments[1]!;
  const disk = makeDisk();
  disk.shrink(pathOf(1), blocks[2]! - firstLsn + SEGMENT_HEADER_BYTES + 40);
  const { report } = recover(disk, WAL, loadedCheckpoint(), QUARANTINE);
  assert.deepEqual(report.losses.map((loss) => [loss.firstLsn, loss.endLsn]), [[blocks[2], endLsn]]);
});

Deno.test("damage that the database has everything of is none", () => {
  const { blocks, firstLsn } = WRITTEN.segments[1]!;
  const disk = makeDisk();
  disk.flipByte(pathOf(1), blocks[0]! - firstLsn + SEGMENT_HEADER_BYTES + 40);
  const { report } = recover(disk, WAL, loadedCheckpoint({ appliedLsn: blocks[1]! }), QUARANTINE);
  assert.deepEqual(report.losses.filter(({ firstLsn: lsn }) => lsn <= blocks[1]!), []);
});

Deno.test("a header that is damaged costs nothing but a report", () => {
  for (let offset = 0; offset < SEGMENT_HEADER_BYTES; offset++) {
    const disk = makeDisk();
    disk.flipByte(pathOf(2), offset);
    const result = check(disk, `header byte ${offset}`);
    if (typeof result === "string") continue;
    assert.equal(result.report.records, WRITTEN.records);
    assert.deepEqual(result.report.losses.map(({ firstLsn, endLsn }) => endLsn - firstLsn), [0]);
    assert.equal(result.segments[2]!.isContinuation, true);
  }
});

Deno.test("a payload that looks like a block is not taken for one when its own block is damaged", () => {
  const log = new LogWriter();
  // The forged block stands at LSN 64 + 32 (block) + 40 (record) + 8 (topic): a multiple of 8, as it has to be.
  const forgedLsn = 144;
  const forger = new LogWriter(forgedLsn);
  forger.publish({ topic: "forged", retain: true });
  const forged = forger.segment().segments[0]!.bytes.subarray(SEGMENT_HEADER_BYTES);
  const size = 48 + forged.length;
  const record = new LogBuffer(size);
  record.words.set([size, 1 | 0x500, 0, 8]);
  record.words.set([0, forged.length], 8);
  record.bytes.set(new TextEncoder().encode("\0\x06attack"), 40);
  record.bytes.set(forged, 48);
  log.raw(record.bytes);
  log.block().publish({ topic: "next", retain: true });
  for (const tail of [0, 1]) {
    const disk = new FaultyDisk();
    disk.makeDirectory(WAL);
    log.save(disk, WAL);
    const path = `${WAL}/${log.segments[0]!.name}`;
    const next = log.segments[0]!.blocks[1]! - 64 + SEGMENT_HEADER_BYTES;
    if (tail === 1) disk.shrink(path, next);
    disk.flipByte(path, SEGMENT_HEADER_BYTES + 32 + 16);
    const { state } = recover(disk, WAL, loadedCheckpoint(), QUARANTINE);
    assert.deepEqual([...state.retained.keys()], tail === 1 ? [] : ["next"]);
  }
});

Deno.test("a block length that lies does not hide the blocks behind it", () => {
  const { blocks, firstLsn } = WRITTEN.segments[2]!;
  const disk = makeDisk();
  // Its length then reaches beyond the end of the file, as that of a torn block does.
  disk.flipByte(pathOf(2), blocks[1]! - firstLsn + SEGMENT_HEADER_BYTES + 17, 0x80);
  const { report } = recover(disk, WAL, loadedCheckpoint(), QUARANTINE);
  assert.deepEqual(report.losses.map((loss) => [loss.firstLsn, loss.endLsn])[0], [blocks[1], blocks[2]]);
  assert.equal(report.tornBytes, 0);
});

Deno.test("a block with a checksum that fits and records that do not is a loss", () => {
  const disk = new FaultyDisk();
  disk.makeDirectory(WAL);
  const buffer = new LogBuffer(1024);
  buffer.bytes.fill(0xa5);
  buffer.bytes.set(encodeSegmentHeader(64, CREATED_MS));
  sealBlock(buffer, SEGMENT_HEADER_BYTES, 512, 64, 9, CREATED_MS, 64);
  sealBlock(buffer, 512, 1024, 512, 3, CREATED_MS, 512);
  disk.put(`${WAL}/${segmentName(64)}`, buffer.bytes);
  const options = { validation: "checksum", onCorruption: "quarantine" } as const;
  const { report, state } = recover(disk, WAL, loadedCheckpoint(), options);
  assert.equal(report.losses.length, 2);
  assert.equal(state.retained.size, 0);
});
