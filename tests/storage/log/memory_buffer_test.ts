import assert from "node:assert/strict";
import { CHUNK_BYTES, MemoryBuffer } from "../../../src/storage/log/memory_buffer.ts";

const never = () => false;
const always = () => true;

/** Appends `count` full chunks; returns the LSN behind them. */
function fill(memory: MemoryBuffer, count: number): number {
  for (let index = 0; index < count; index++) {
    memory.current.used = memory.current.buffer.bytes.length;
    memory.advance(8);
  }
  return memory.current.firstLsn;
}

Deno.test("MemoryBuffer finds every LSN that it holds and no other", () => {
  const memory = new MemoryBuffer(1e9, 64);
  fill(memory, 5);
  for (let index = 0; index < 5; index++) {
    for (const offset of [0, CHUNK_BYTES - 1]) {
      const chunk = memory.find(64 + index * CHUNK_BYTES + offset);
      assert.equal(chunk?.firstLsn, 64 + index * CHUNK_BYTES);
    }
  }
  assert.equal(memory.find(63), undefined);
});

Deno.test("MemoryBuffer keeps bytes that are not safe, whatever its bound", () => {
  const memory = new MemoryBuffer(CHUNK_BYTES, 64);
  const end = fill(memory, 4);
  memory.trim(64 + 2 * CHUNK_BYTES, never);
  assert.equal(memory.find(64), undefined);
  assert.equal(memory.find(64 + CHUNK_BYTES), undefined);
  assert.notEqual(memory.find(64 + 2 * CHUNK_BYTES), undefined);
  memory.trim(end, never);
  assert.equal(memory.find(end - 1), undefined);
  assert.equal(memory.bytesHeld, CHUNK_BYTES, "only the current chunk is left");
});

Deno.test("MemoryBuffer lets go of chunks that nobody needs and uses them again", () => {
  const memory = new MemoryBuffer(1e9, 64);
  const first = memory.current;
  const end = fill(memory, 3);
  memory.trim(end, (start) => start === 64);
  assert.equal(memory.find(64), undefined);
  assert.notEqual(memory.find(64 + CHUNK_BYTES), undefined);
  fill(memory, 1);
  assert.equal(memory.current, first, "the chunk that was freed");
  assert.equal(memory.find(64), undefined);
});

Deno.test("MemoryBuffer lets go of the chunk of one LSN when its last reference went, if it is safe", () => {
  const memory = new MemoryBuffer(1e9, 64);
  const end = fill(memory, 3);
  memory.trimAt(64 + CHUNK_BYTES, 64 + CHUNK_BYTES, always);
  assert.notEqual(memory.find(64 + CHUNK_BYTES), undefined, "not safe yet");
  memory.trimAt(64 + CHUNK_BYTES, end, never);
  assert.notEqual(memory.find(64 + CHUNK_BYTES), undefined, "still needed");
  memory.trimAt(64 + CHUNK_BYTES, end, always);
  assert.equal(memory.find(64 + CHUNK_BYTES), undefined);
  assert.notEqual(memory.find(64), undefined);
  memory.trimAt(end, end, always);
  assert.notEqual(memory.find(end), undefined, "the current chunk stays");
});

Deno.test("MemoryBuffer gives a record larger than a chunk one of its own", () => {
  const memory = new MemoryBuffer(1e9, 64);
  memory.current.used = 8;
  memory.advance(3 * CHUNK_BYTES);
  assert.equal(memory.current.buffer.bytes.length, 3 * CHUNK_BYTES);
  assert.equal(memory.current.firstLsn, 72);
  assert.equal(memory.bytesHeld, 4 * CHUNK_BYTES);
});

Deno.test("MemoryBuffer visits everything from an LSN on, across chunks", () => {
  const memory = new MemoryBuffer(1e9, 64);
  fill(memory, 2);
  memory.current.used = 16;
  const seen: number[][] = [];
  memory.forEachFrom(64 + CHUNK_BYTES + 8, (chunk, start, end) => seen.push([chunk.firstLsn, start, end]));
  assert.deepEqual(seen, [[64 + CHUNK_BYTES, 8, CHUNK_BYTES], [64 + 2 * CHUNK_BYTES, 0, 16]]);
});
