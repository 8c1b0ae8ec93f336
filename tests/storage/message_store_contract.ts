/**
 * What every `MessageStore` must do, whatever it keeps messages in. An implementation runs the whole suite by calling
 * `messageStoreContract` from its own test file.
 */

import assert from "node:assert/strict";
import { Message } from "../../src/protocol/message.ts";
import { type MessageStore, STORE_FULL } from "../../src/storage/message_store.ts";

type Store = MessageStore["Service"];

/** A store under test. */
export interface StoreUnderTest {
  readonly store: Store;
  /** Resolves when everything committed so far has been heard of. A store that commits at once resolves at once. */
  readonly settled: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/**
 * Registers the suite.
 *
 * @param name Subject of the titles.
 * @param make Builds an empty store that holds at most `bytesMax` bytes of messages in memory.
 */
export function messageStoreContract(name: string, make: (bytesMax: number) => Promise<StoreUnderTest>): void {
  const test = (title: string, run: (subject: StoreUnderTest) => Promise<void>, bytesMax = 64 * MIB) => {
    Deno.test(`${name} ${title}`, async () => {
      const subject = await make(bytesMax);
      try {
        await run(subject);
      } finally {
        await subject.close();
      }
    });
  };

  test("gives positions that grow, and none of them is 0", async ({ store, settled }) => {
    const positions = Array.from({ length: 100 }, (_, index) => store.append(messageOf(`m${index}`), "client"));
    assert(positions[0]! > 0);
    for (let index = 1; index < positions.length; index++) assert(positions[index]! > positions[index - 1]!);
    store.commit();
    await settled();
    assert(store.append(messageOf("later"), "") > positions.at(-1)!);
  });

  test("calls the listener only after commit, outside of append, and covers what was appended", async (subject) => {
    const { store, settled } = subject;
    const heard: number[] = [];
    let isAppending = false;
    store.whenCommitted((committed) => {
      assert(!isAppending, "called from an append");
      assert.equal(store.committed, committed);
      heard.push(committed);
    });
    isAppending = true;
    const first = store.append(messageOf("1"), "client");
    store.appendSessionChange({ kind: "open", clientId: "client", sessionExpiryInterval: 60 });
    isAppending = false;
    await settled();
    assert.deepEqual(heard, [], "heard of a commit nobody asked for");
    assert(store.committed < first);
    store.commit();
    await settled();
    assert(heard.at(-1)! >= first);
    isAppending = true;
    const second = store.append(messageOf("2"), "client");
    const third = store.appendRelease("client", 7);
    isAppending = false;
    assert(third >= second);
    assert(store.committed < second);
    store.commit();
    await settled();
    assert(heard.at(-1)! >= third);
    assert.deepEqual(heard, heard.toSorted((a, b) => a - b), "commits out of order");
  });

  test("commits changes and releases in line with the messages before them", async ({ store, settled }) => {
    let committed = 0;
    store.whenCommitted((position) => committed = position);
    const message = store.append(messageOf("1"), "client");
    const changes = [
      store.appendSessionChange({ kind: "open", clientId: "client", sessionExpiryInterval: 1 }),
      store.appendSessionChange({ kind: "subscribe", clientId: "client", filter: "a/#", qos: 2 }),
      store.appendRelease("client", 65_535),
      store.appendSessionChange({ kind: "unsubscribe", clientId: "client", filter: "a/#" }),
      store.appendSessionChange({ kind: "end", clientId: "client" }),
    ];
    let previous = message;
    for (const position of changes) {
      assert(position >= previous, "a change before the message that came before it");
      previous = position;
    }
    store.commit();
    await settled();
    assert(committed >= previous);
  });

  test("copies: the message may change as soon as append returns", async ({ store, settled }) => {
    const message = messageOf("before");
    const position = store.append(message, "client");
    message.payloadBytes.fill(0);
    message.topicBytes.fill(0);
    message.retain = true;
    assert.equal(textAt(store, position), "before");
    store.commit();
    await settled();
    assert.equal(textAt(store, position), "before");
  });

  test("reads every field back, before and after the commit", async ({ store, settled }) => {
    const message = messageOf("payload");
    message.setProperties(Uint8Array.of(9, 9, 1, 1, 9), 2, 4);
    message.qos = 2;
    message.retain = true;
    message.expiresAtMs = 1_700_000_000_001;
    const position = store.append(message, "client");
    for (let round = 0; round < 2; round++) {
      const read = new Message();
      store.read(position, read);
      assert.equal(textAt(store, position), "payload");
      assert.deepEqual(read.topicBytes.slice(read.topicStart, read.topicEnd), TOPIC);
      assert.deepEqual(read.propertiesBytes.slice(read.propertiesStart, read.propertiesEnd), Uint8Array.of(1, 1));
      assert.deepEqual([read.qos, read.retain, read.expiresAtMs], [2, true, 1_700_000_000_001]);
      assert.equal(store.sizeOf(position), TOPIC.length + 2 + "payload".length);
      store.commit();
      await settled();
    }
  });

  test("answers for every position that holds a reference, however many others come and go", async (subject) => {
    const { store, settled } = subject;
    const kept = new Map<number, string>();
    const filler = messageOf("x".repeat(50_000));
    for (let count = 0; count < 300; count++) {
      const text = `kept ${count}`;
      const position = store.append(messageOf(text), "client");
      store.retain(position);
      store.release(position);
      kept.set(position, text);
      for (let other = 0; other < 10; other++) store.release(store.append(filler, "client"));
      if (count % 50 === 0) {
        store.commit();
        await settled();
      }
    }
    for (const [position, text] of kept) assert.equal(textAt(store, position), text);
    for (const position of kept.keys()) store.release(position);
    assert(store.bytesHeld < 16 * MIB, `${store.bytesHeld} bytes held for nothing`);
  });

  test("refuses what it has no room for and takes messages again after releases", async ({ store, settled }) => {
    const message = messageOf("x".repeat(400_000));
    const positions: number[] = [];
    // Bounded by the size of the store: it must refuse long before this many.
    for (let count = 0; count < 100; count++) {
      const position = store.append(message, "client");
      if (position === STORE_FULL) break;
      positions.push(position);
    }
    assert(positions.length > 0 && positions.length < 100);
    assert.equal(store.append(message, "client"), STORE_FULL);
    store.commit();
    await settled();
    for (const position of positions) {
      assert.equal(textAt(store, position).length, 400_000);
      store.release(position);
    }
    assert(store.append(message, "client") > positions.at(-1)!);
  }, 4 * MIB);

  test("notices a release too many", ({ store }) => {
    const position = store.append(messageOf("once"), "client");
    store.release(position);
    assert.throws(() => store.release(position));
    return Promise.resolve();
  });
}

const MIB = 1_048_576;
const TOPIC = Uint8Array.of(0, 3, 0x61, 0x2f, 0x62);

function messageOf(payload: string): Message {
  const bytes = new TextEncoder().encode(payload);
  const message = new Message();
  message.setTopic(TOPIC.slice());
  message.setPayload(bytes, 0, bytes.length);
  message.qos = 1;
  return message;
}

function textAt(store: Store, position: number): string {
  const message = new Message();
  store.read(position, message);
  return new TextDecoder().decode(message.payloadBytes.subarray(message.payloadStart, message.payloadEnd));
}
