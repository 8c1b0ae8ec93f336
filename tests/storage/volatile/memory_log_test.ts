/**
 * The log in memory. Goal: whatever is appended, retained and released in whatever order, every position that holds a
 * reference reads back as it was written, positions only grow, the bound holds, and nothing stays held when all is
 * released.
 *
 * Method: directed tests for chunks, evacuation and the bound; then random steps on a log and a Map. Payloads are
 * slices of one block of random bytes, so that a record in the wrong place is seen.
 */

import fc from "fast-check";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Message } from "../../../src/protocol/message.ts";
import type { QoS } from "../../../src/protocol/packets.ts";
import { MemoryLog } from "../../../src/storage/volatile/memory_log.ts";

const KIB = 1024;
const CHUNK_BYTES = 1024 * KIB;
const MIB = CHUNK_BYTES;
const UNBOUNDED = Number.MAX_SAFE_INTEGER;
const SOURCE_BYTES = 4 * MIB;
const SOURCE = randomBytes(SOURCE_BYTES);
const VIEW = new Message();

/** What a stored message must read back as. */
interface Stored {
  readonly topic: string;
  readonly propertiesBytes: number;
  readonly payloadStart: number;
  readonly payloadBytes: number;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly expiresAtMs: number;
}

function storedOf(payloadBytes: number, fields: Partial<Stored> = {}): Stored {
  const defaults = {
    topic: "a/b",
    propertiesBytes: 0,
    payloadStart: 0,
    qos: 1,
    retain: false,
    expiresAtMs: 0,
  } as const;
  return { ...defaults, payloadBytes, ...fields };
}

function append(log: MemoryLog, stored: Stored): number {
  const name = new TextEncoder().encode(stored.topic);
  const message = new Message();
  message.setTopic(Uint8Array.of(name.length >> 8, name.length & 0xff, ...name));
  message.setProperties(SOURCE, 7, 7 + stored.propertiesBytes);
  message.setPayload(SOURCE, stored.payloadStart, stored.payloadStart + stored.payloadBytes);
  message.qos = stored.qos;
  message.retain = stored.retain;
  message.expiresAtMs = stored.expiresAtMs;
  return log.append(message);
}

function appendOrFail(log: MemoryLog, stored: Stored): number {
  const position = append(log, stored);
  assert.notEqual(position, -1, "refused");
  return position;
}

function assertReads(log: MemoryLog, position: number, stored: Stored): void {
  log.read(position, VIEW);
  const { topicBytes, topicStart, topicEnd, propertiesBytes, propertiesStart, propertiesEnd } = VIEW;
  const name = new TextEncoder().encode(stored.topic);
  assert.equal((topicBytes[topicStart]! << 8) | topicBytes[topicStart + 1]!, name.length);
  assert.deepEqual(topicBytes.slice(topicStart + 2, topicEnd), name);
  assertSame(propertiesBytes, propertiesStart, propertiesEnd, 7, stored.propertiesBytes);
  assertSame(VIEW.payloadBytes, VIEW.payloadStart, VIEW.payloadEnd, stored.payloadStart, stored.payloadBytes);
  assert.deepEqual([VIEW.qos, VIEW.retain, VIEW.expiresAtMs], [stored.qos, stored.retain, stored.expiresAtMs]);
  assert.equal(log.sizeOf(position), 2 + name.length + stored.propertiesBytes + stored.payloadBytes);
}

function assertSame(bytes: Uint8Array, start: number, end: number, sourceStart: number, sourceBytes: number): void {
  const actual = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start);
  const expected = Buffer.from(SOURCE.buffer, sourceStart, sourceBytes);
  assert.equal(Buffer.compare(actual, expected), 0, "other bytes than were appended");
}

Deno.test("MemoryLog reads back every field of a message, empty and odd-sized ones too", () => {
  const log = new MemoryLog(UNBOUNDED);
  const messages = [
    storedOf(2),
    storedOf(0, { topic: "t", qos: 0, retain: true }),
    storedOf(1, { topic: "é/😀", propertiesBytes: 13, qos: 2, expiresAtMs: 1_700_000_000_123.5 }),
    storedOf(65, { topic: "x".repeat(300), propertiesBytes: 1, payloadStart: 11, retain: true }),
  ];
  const positions = messages.map((message) => append(log, message));
  messages.forEach((message, index) => assertReads(log, positions[index]!, message));
});

Deno.test("MemoryLog gives positions as its head describes: the example record takes 40 bytes", () => {
  const log = new MemoryLog(UNBOUNDED);
  assert.equal(append(log, storedOf(2)), 1);
  assert.equal(append(log, storedOf(2)), 41);
  assert.equal(log.lastPosition, 41);
  const large = append(log, storedOf(2 * MIB));
  assert.equal(large, CHUNK_BYTES + 1);
  assert.equal(append(log, storedOf(2)), 2 * CHUNK_BYTES + 1);
});

Deno.test("MemoryLog keeps a message until its last reference is released and refuses one release more", () => {
  const log = new MemoryLog(UNBOUNDED);
  const message = storedOf(100);
  const position = append(log, message);
  log.retain(position);
  log.retain(position);
  log.release(position);
  log.release(position);
  assertReads(log, position, message);
  log.release(position);
  assert.throws(() => log.release(position), /released more often/);
});

Deno.test("MemoryLog refuses a position whose chunk is gone", () => {
  const log = new MemoryLog(UNBOUNDED);
  const position = append(log, storedOf(600 * KIB));
  append(log, storedOf(600 * KIB));
  log.release(position);
  assert.throws(() => log.read(position, VIEW), /without a reference/);
  assert.throws(() => log.retain(position), /without a reference/);
});

Deno.test("MemoryLog runs in one chunk for ever when every message is released before the next", () => {
  const log = new MemoryLog(UNBOUNDED);
  let previous = 0;
  for (let count = 0; count < 20_000; count++) {
    const position = append(log, storedOf(1000));
    assert(position > previous);
    previous = position;
    log.release(position);
  }
  assert.equal(log.bytesHeld, CHUNK_BYTES);
});

Deno.test("MemoryLog uses released chunks again before it takes new memory", () => {
  const log = new MemoryLog(UNBOUNDED);
  for (let round = 0; round < 10; round++) {
    const positions = Array.from({ length: 40 }, () => append(log, storedOf(100 * KIB)));
    assert(log.bytesHeld <= 6 * CHUNK_BYTES, `${log.bytesHeld} bytes held in round ${round}`);
    positions.forEach((position) => log.release(position));
  }
});

Deno.test("MemoryLog gives memory back after a burst, but for a few chunks", () => {
  const log = new MemoryLog(UNBOUNDED);
  const positions = Array.from({ length: 400 }, () => append(log, storedOf(100 * KIB)));
  assert(log.bytesHeld >= 39 * CHUNK_BYTES);
  positions.forEach((position) => log.release(position));
  assert(log.bytesHeld <= 9 * CHUNK_BYTES, `${log.bytesHeld} bytes held`);
});

Deno.test("MemoryLog gives the memory of a large message back with the next one", () => {
  const log = new MemoryLog(UNBOUNDED);
  for (let count = 0; count < 5; count++) {
    log.release(append(log, storedOf(3 * MIB)));
    log.release(append(log, storedOf(10)));
    assert(log.bytesHeld <= 3 * CHUNK_BYTES, `${log.bytesHeld} bytes held after ${count + 1} large messages`);
  }
});

/** Appends a chunk's worth at a time and keeps one message of each; released ones fill the rest. */
function appendSparseChunks(log: MemoryLog, chunks: number, kept: Map<number, Stored>): void {
  for (let chunk = 0; chunk < chunks; chunk++) {
    const message = storedOf(1000, { topic: `kept/${kept.size}`, payloadStart: kept.size * 8, propertiesBytes: 5 });
    kept.set(appendOrFail(log, message), message);
    for (let filler = 0; filler < 10; filler++) log.release(appendOrFail(log, storedOf(100 * KIB)));
  }
}

Deno.test("MemoryLog evacuates chunks that few messages pin, and their messages keep their positions", () => {
  const log = new MemoryLog(UNBOUNDED);
  const kept = new Map<number, Stored>();
  appendSparseChunks(log, 200, kept);
  assert(log.bytesHeld <= 60 * CHUNK_BYTES, `${log.bytesHeld} bytes held for ${kept.size} kB`);
  for (const [position, message] of kept) assertReads(log, position, message);
  for (const position of kept.keys()) {
    log.retain(position);
    log.release(position);
    assertReads(log, position, kept.get(position)!);
    log.release(position);
  }
  assert(log.bytesHeld <= 9 * CHUNK_BYTES, `${log.bytesHeld} bytes held for nothing`);
});

Deno.test("MemoryLog reaches sparse chunks behind chunks that stay live", () => {
  const log = new MemoryLog(UNBOUNDED);
  for (let count = 0; count < 50; count++) append(log, storedOf(900 * KIB));
  const kept = new Map<number, Stored>();
  appendSparseChunks(log, 200, kept);
  assert(log.bytesHeld <= 130 * CHUNK_BYTES, `${log.bytesHeld} bytes held`);
  for (const [position, message] of kept) assertReads(log, position, message);
});

Deno.test("MemoryLog leaves a chunk alone when its messages would take more memory outside of it", () => {
  const log = new MemoryLog(UNBOUNDED);
  // One in five of the smallest messages stays: a fifth of the bytes, but thousands of records.
  const perChunk = Math.floor(CHUNK_BYTES / 40);
  const message = new Message();
  message.setTopic(Uint8Array.of(0, 3, 0x61, 0x2f, 0x62));
  message.setPayload(SOURCE, 0, 2);
  for (let count = 0; count < 60 * perChunk; count++) {
    const position = log.append(message);
    if (count % 5 !== 0) log.release(position);
  }
  assert.equal(log.bytesHeld, 60 * CHUNK_BYTES);
});

Deno.test("MemoryLog refuses what would pass its bound, without a trace, and recovers with a release", () => {
  const log = new MemoryLog(4 * MIB);
  const message = storedOf(500 * KIB);
  const positions: number[] = [];
  for (let position = append(log, message); position !== -1; position = append(log, message)) positions.push(position);
  assert.equal(positions.length, 8);
  assert.equal(log.lastPosition, positions.at(-1));
  assert.equal(log.bytesHeld, 4 * MIB);
  assert.equal(append(log, message), -1);
  positions.forEach((position) => assertReads(log, position, message));
  log.release(positions[0]!);
  assert.equal(append(log, message), -1, "its neighbour still pins the chunk");
  log.release(positions[1]!);
  const next = append(log, message);
  assert(next > positions.at(-1)!);
  positions.slice(2).forEach((position) => assertReads(log, position, message));
  assertReads(log, next, message);
});

Deno.test("MemoryLog keeps to a bound that is changed while it runs", () => {
  const log = new MemoryLog(2 * MIB);
  const message = storedOf(900 * KIB);
  append(log, message);
  append(log, message);
  assert.equal(append(log, message), -1);
  log.bytesMax = 3 * MIB;
  assert(append(log, message) > 0);
  assert.equal(append(log, message), -1);
});

Deno.test("MemoryLog takes one large message after the other within its bound", () => {
  const log = new MemoryLog(4 * MIB);
  for (let count = 0; count < 20; count++) {
    const position = append(log, storedOf(2.5 * MIB));
    assert(position > 0, `refused large message ${count + 1} while nothing was held`);
    log.release(position);
  }
});

Deno.test("MemoryLog gives up released chunks for a large message", () => {
  const log = new MemoryLog(6 * MIB);
  const positions = Array.from({ length: 5 }, () => append(log, storedOf(900 * KIB)));
  positions.forEach((position) => log.release(position));
  const large = storedOf(3.5 * MIB);
  const position = append(log, large);
  assert(position > 0, "refused although nothing was held");
  assertReads(log, position, large);
});

Deno.test("MemoryLog still takes small messages after it refused a large one", () => {
  const log = new MemoryLog(2 * MIB);
  assert.equal(append(log, storedOf(3 * MIB)), -1);
  assert.equal(append(log, storedOf(3 * MIB)), -1);
  const message = storedOf(10);
  assertReads(log, append(log, message), message);
  assert(log.bytesHeld <= 2 * MIB);
});

Deno.test("MemoryLog goes on in its chunk after it refused a large message, and loses nothing in it", () => {
  const log = new MemoryLog(3 * MIB);
  const kept = new Map<number, Stored>();
  const message = storedOf(1000, { payloadStart: 99 });
  kept.set(append(log, message), message);
  for (let count = 0; count < 5; count++) log.release(append(log, storedOf(100 * KIB)));
  assert.equal(append(log, storedOf(4 * MIB)), -1);
  for (let count = 0; count < 20; count++) {
    const later = storedOf(100 * KIB, { payloadStart: count });
    kept.set(appendOrFail(log, later), later);
  }
  for (const [position, stored] of kept) assertReads(log, position, stored);
});

Deno.test("MemoryLog within a small bound evacuates sparse chunks before it refuses", () => {
  const log = new MemoryLog(8 * MIB);
  const kept = new Map<number, Stored>();
  appendSparseChunks(log, 100, kept);
  for (const [position, message] of kept) assertReads(log, position, message);
  assert(log.bytesHeld <= 8 * MIB);
});

const message = fc.record({
  topic: fc.constantFrom("a", "a/b", "long/".repeat(40)),
  propertiesBytes: fc.constantFrom(0, 0, 3, 200),
  payloadStart: fc.nat(1000),
  payloadBytes: fc.oneof(
    { arbitrary: fc.nat(200), weight: 4 },
    { arbitrary: fc.integer({ min: 50 * KIB, max: 500 * KIB }), weight: 8 },
    { arbitrary: fc.integer({ min: MIB - 300, max: 3 * MIB }), weight: 1 },
  ),
  qos: fc.constantFrom<QoS>(0, 1, 2),
  retain: fc.boolean(),
  expiresAtMs: fc.constantFrom(0, 1_700_000_000_000, 0.5),
});

const step = fc.oneof(
  {
    arbitrary: fc.tuple(message, fc.constantFrom(1, 1, 2, 12)).map(([stored, times]) =>
      ({ kind: "append", stored, times }) as const
    ),
    weight: 5,
  },
  // Releases nearly everything, so that chunks become sparse.
  { arbitrary: fc.integer({ min: 2, max: 30 }).map((spared) => ({ kind: "sweep", spared }) as const), weight: 1 },
  { arbitrary: fc.nat().map((which) => ({ kind: "release", which } as const)), weight: 4 },
  { arbitrary: fc.nat().map((which) => ({ kind: "retain", which } as const)), weight: 1 },
);

Deno.test("MemoryLog says what a Map of messages says, keeps its bound, and leaks nothing", () => {
  const bound = fc.constantFrom(UNBOUNDED, 4 * MIB, 12 * MIB);
  fc.assert(
    fc.property(bound, fc.array(step, { maxLength: 120, size: "max" }), (bytesMax, steps) => {
      const log = new MemoryLog(bytesMax);
      const model = new Map<number, { stored: Stored; references: number }>();
      let last = 0;
      for (const each of steps) {
        if (each.kind === "append") {
          for (let count = 0; count < each.times; count++) {
            const position = append(log, each.stored);
            if (position === -1) {
              assertJustlyRefused(each.stored, model, bytesMax);
            } else {
              assert(position > last);
              assert.equal(log.lastPosition, last = position);
              model.set(position, { stored: each.stored, references: 1 });
            }
          }
        } else if (each.kind === "sweep") {
          for (const [position, { references }] of [...model]) {
            if (position % each.spared === 0) continue;
            for (let count = 0; count < references; count++) log.release(position);
            model.delete(position);
          }
        } else if (model.size > 0) {
          const position = [...model.keys()][each.which % model.size]!;
          const known = model.get(position)!;
          log[each.kind](position);
          known.references += each.kind === "retain" ? 1 : -1;
          if (known.references === 0) model.delete(position);
        }
        assert(log.bytesHeld <= bytesMax, "above the bound");
      }
      for (const [position, { stored }] of model) assertReads(log, position, stored);
      for (const [position, { references }] of model) {
        for (let count = 0; count < references; count++) log.release(position);
      }
      log.release(appendOrFail(log, storedOf(1)));
      log.release(appendOrFail(log, storedOf(900 * KIB)));
      assert(log.bytesHeld <= 9 * CHUNK_BYTES, `${log.bytesHeld} bytes held for nothing`);
    }),
    { numRuns: 60 },
  );
});

/** A refusal needs a reason: chunks that are not even a quarter live are evacuated first. */
function assertJustlyRefused(refused: Stored, model: Map<number, { stored: Stored }>, bytesMax: number): void {
  let liveBytes = 0;
  for (const { stored } of model.values()) liveBytes += recordBytesOf(stored);
  const heldBytesMax = liveBytes * 4 + 2 * CHUNK_BYTES;
  assert(heldBytesMax + recordBytesOf(refused) > bytesMax, `refused while ${liveBytes} bytes were live`);
}

/** Upper bound of what one message takes, in a chunk or out of it. */
function recordBytesOf(stored: Stored): number {
  return stored.topic.length + stored.propertiesBytes + stored.payloadBytes + KIB;
}

function randomBytes(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let state = 0x9e3779b9;
  for (let at = 0; at < size; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state;
  }
  return bytes;
}
