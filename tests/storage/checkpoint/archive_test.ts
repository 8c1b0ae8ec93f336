/**
 * Messages in the database: what comes back, how many queries it takes, and what is said of those that are not there.
 */
import assert from "node:assert/strict";
import { Message } from "../../../src/protocol/message.ts";
import { Archive } from "../../../src/storage/checkpoint/archive.ts";
import type { ArchivedMessage } from "../../../src/storage/checkpoint/checkpoint_rows.ts";
import { StorageFailed } from "../../../src/storage/model/errors.ts";

/** Counts the queries it answers from messages at multiples of 100. */
class CountingCheckpoint {
  queries = 0;
  readonly #messages: readonly ArchivedMessage[];

  constructor(count: number, payloadBytes = 10) {
    this.#messages = Array.from({ length: count }, (_, index) => ({
      position: (index + 1) * 100,
      expiresAtMs: index,
      qos: 2,
      retain: index % 2 === 1,
      topic: Uint8Array.of(0, 1, 0x74),
      properties: Uint8Array.of(1, 2),
      payload: new Uint8Array(payloadBytes).fill(index),
    }));
  }

  readMessages(first: number, max: number, maxBytes: number): ArchivedMessage[] {
    this.queries++;
    let bytes = 0;
    return this.#messages.filter(({ position }) => position >= first).slice(0, max).filter(({ payload }, index) => {
      bytes += payload.length;
      return index === 0 || bytes <= maxBytes;
    });
  }
}

function payloadIn(archive: Archive, position: number): number {
  const message = new Message();
  archive.read(position, message);
  return message.payloadBytes[message.payloadStart]!;
}

Deno.test("Archive gives back every field of a message", () => {
  const archive = new Archive(new CountingCheckpoint(4), 1_000);
  const message = new Message();
  archive.read(200, message);
  assert.deepEqual(message.topicBytes.slice(message.topicStart, message.topicEnd), Uint8Array.of(0, 1, 0x74));
  assert.deepEqual(
    message.propertiesBytes.slice(message.propertiesStart, message.propertiesEnd),
    Uint8Array.of(1, 2),
  );
  assert.deepEqual(message.payloadBytes.slice(message.payloadStart, message.payloadEnd), new Uint8Array(10).fill(1));
  assert.deepEqual([message.qos, message.retain, message.expiresAtMs], [2, true, 1]);
  assert.equal(archive.sizeOf(200), 15);
});

Deno.test("Archive reads a queue in windows, also two at once", () => {
  const checkpoint = new CountingCheckpoint(5_000);
  const archive = new Archive(checkpoint, 1e9);
  for (let index = 0; index < 2_000; index++) {
    assert.equal(payloadIn(archive, (index + 1) * 100), index % 256);
    assert.equal(payloadIn(archive, (index + 3_001) * 100), (index + 3_000) % 256);
  }
  assert(checkpoint.queries <= 40, `${checkpoint.queries} queries for 4 000 messages`);
});

Deno.test("Archive asks for one message alone when nobody reads on from it", () => {
  const checkpoint = new CountingCheckpoint(200_000);
  const archive = new Archive(checkpoint, 1e9);
  for (const position of [15_000_000, 100, 10_000_000]) payloadIn(archive, position);
  assert.equal(checkpoint.queries, 3);
  payloadIn(archive, 15_000_000);
  assert.equal(checkpoint.queries, 3, "kept for a while");
});

Deno.test("Archive says that a message is not there, and passes on what the database says", () => {
  const checkpoint = new CountingCheckpoint(2);
  const archive = new Archive(checkpoint, 1_000);
  for (const position of [150, 900]) {
    assert.throws(() => archive.sizeOf(position), (failure) => {
      return failure instanceof StorageFailed && failure.reason === "corrupt" && failure.detail.includes(`${position}`);
    });
  }
  const failure = new StorageFailed({ operation: "read", path: "x", reason: "sqlite", detail: "no" });
  checkpoint.readMessages = () => {
    throw failure;
  };
  assert.throws(() => archive.sizeOf(100), failure);
});
