/**
 * The message store in memory against the contract of all message stores, and the Layer that provides it.
 */

import assert from "node:assert/strict";
import * as Effect from "effect/Effect";
import { MemoryLog } from "../../src/storage/memory_log.ts";
import { MemoryMessageStore, MessageStore } from "../../src/storage/message_store.ts";
import { messageStoreContract } from "./message_store_contract.ts";

const CHUNK_BYTES = 1_048_576;

messageStoreContract("MemoryMessageStore", (bytesMax) => {
  const store = new MemoryMessageStore(new MemoryLog(bytesMax));
  return Promise.resolve({ store, settled: () => Promise.resolve(), close: () => Promise.resolve() });
});

Deno.test("MemoryMessageStore tells of a commit before commit() returns", () => {
  const store = new MemoryMessageStore(new MemoryLog(CHUNK_BYTES));
  const heard: number[] = [];
  store.whenCommitted((committed) => heard.push(committed));
  store.commit();
  assert.deepEqual(heard, [0]);
});

Deno.test("MessageStore.layerMemory provides an empty store of the given bound", async () => {
  const held = await Effect.runPromise(
    MessageStore.pipe(
      Effect.map((store) => [store.committed, store.bytesHeld]),
      Effect.provide(MessageStore.layerMemory(CHUNK_BYTES)),
    ),
  );
  assert.deepEqual(held, [0, CHUNK_BYTES]);
});
