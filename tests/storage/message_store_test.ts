/**
 * The message store in memory against the contract of all message stores, and the Layer that provides it.
 */

import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Logger from "effect/Logger";
import assert from "node:assert/strict";
import { load, type Sources } from "../../src/config/load.ts";
import { ConfigStore } from "../../src/config/reload.ts";
import { Message } from "../../src/protocol/message.ts";
import { MemoryMessageStore, MessageStore, STORE_FULL } from "../../src/storage/message_store.ts";
import { MemoryLog } from "../../src/storage/volatile/memory_log.ts";
import { boundedStoreContract, messageStoreContract, type StoreUnderTest } from "./message_store_contract.ts";

const CHUNK_BYTES = 1_048_576;

const makeStore = (bytesMax: number): Promise<StoreUnderTest> => {
  const store: MessageStore["Service"] = new MemoryMessageStore(new MemoryLog(bytesMax));
  return Promise.resolve({ store, settled: () => Promise.resolve(), close: () => Promise.resolve() });
};
messageStoreContract("MemoryMessageStore", makeStore);
boundedStoreContract("MemoryMessageStore", makeStore);

Deno.test("MemoryMessageStore tells of a commit before commit() returns", () => {
  const store = new MemoryMessageStore(new MemoryLog(CHUNK_BYTES));
  const heard: number[] = [];
  store.whenCommitted((committed) => heard.push(committed));
  store.commit();
  assert.deepEqual(heard, [0]);
});

Deno.test("MessageStore.layerMemory holds storage.memory-buffer, and a reload moves the bound at once", () => {
  const env: Record<string, string> = { PROMPTMQ_STORAGE_MEMORY_BUFFER: "1MiB" };
  const sources: Sources = { configPath: undefined, searchPaths: [], readEnv: () => env, flags: new Map() };
  const message = new Message();
  message.setPayload(new Uint8Array(CHUNK_BYTES), 0, CHUNK_BYTES);
  const program = Effect.gen(function* () {
    const store = yield* MessageStore;
    assert.equal(store.bytesHeld, CHUNK_BYTES);
    assert.equal(store.append(message, 0, 0, 0), STORE_FULL);
    env["PROMPTMQ_STORAGE_MEMORY_BUFFER"] = "4MiB";
    yield* (yield* ConfigStore).reload;
    assert.notEqual(store.append(message, 0, 0, 0), STORE_FULL);
  });
  const configStore = ConfigStore.layer(Effect.runSync(load(sources)), sources);
  const layers = Layer.mergeAll(Layer.provideMerge(MessageStore.layerMemory, configStore), Logger.layer([]));
  Effect.runSync(Effect.provide(program, layers));
});
