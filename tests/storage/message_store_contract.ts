/**
 * What every `MessageStore` must do, whatever it keeps messages in. An implementation runs the whole suite by calling
 * `messageStoreContract` from its own test file; one that refuses messages beyond a bound of memory also calls
 * `boundedStoreContract`.
 */

import assert from "node:assert/strict";
import { Message } from "../../src/protocol/message.ts";
import { ProgressKind } from "../../src/storage/log/record.ts";
import { type MessageStore, STORE_FULL } from "../../src/storage/message_store.ts";
import type { Position } from "../../src/storage/model/stored.ts";

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
  const test = (title: string, run: (subject: StoreUnderTest) => Promise<void>) =>
    register(`${name} ${title}`, () => make(64 * MIB), run);

  test("gives positions that grow, and none of them is 0", async ({ store, settled }) => {
    const positions = Array.from({ length: 100 }, (_, index) => append(store, messageOf(`m${index}`)));
    assert(positions[0]! > 0);
    for (let index = 1; index < positions.length; index++) assert(positions[index]! > positions[index - 1]!);
    store.commit();
    await settled();
    assert(append(store, messageOf("later")) > positions.at(-1)!);
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
    append(store, messageOf("1"));
    const first = store.lastPosition;
    store.appendSessionChange({ kind: "open", session: 1, clientId: "client", sessionExpiryInterval: 60 });
    isAppending = false;
    await settled();
    assert.deepEqual(heard, [], "heard of a commit nobody asked for");
    assert(store.committed < first);
    store.commit();
    await settled();
    assert(heard.at(-1)! >= first);
    isAppending = true;
    append(store, messageOf("2"));
    const second = store.lastPosition;
    const third = store.appendRelease(1, 7);
    isAppending = false;
    assert(third >= second);
    assert(store.committed < second);
    store.commit();
    await settled();
    assert(heard.at(-1)! >= third);
    assert.deepEqual(heard, heard.toSorted((a, b) => a - b), "commits out of order");
  });

  test("tells every listener in the order in which they came, until it is taken away", async ({ store, settled }) => {
    const heard: string[] = [];
    const commit = async (payload: string) => {
      append(store, messageOf(payload));
      store.commit();
      await settled();
      return heard.splice(0);
    };
    const stop = store.whenCommitted(() => heard.push("first"));
    store.whenCommitted(() => heard.push("second"));
    assert.deepEqual((await commit("1")).slice(0, 2), ["first", "second"]);
    stop();
    stop();
    assert.deepEqual(new Set(await commit("2")), new Set(["second"]));
    store.whenCommitted(() => heard.push("third"));
    assert.deepEqual((await commit("3")).slice(0, 2), ["second", "third"]);
  });

  test("gives nothing away that was recovered once it is taken", ({ store }) => {
    store.takeRecovered();
    assert.equal(store.takeRecovered(), undefined);
    return Promise.resolve();
  });

  test("commits changes and releases in line with the messages before them", async ({ store, settled }) => {
    let committed = 0;
    store.whenCommitted((position) => committed = position);
    append(store, messageOf("1"));
    const message = store.lastPosition;
    const session = store.newSessionNumber();
    const options = { noLocal: false, retainAsPublished: true, retainHandling: 0, subscriptionIdentifier: 7 } as const;
    const changes = [
      store.appendSessionChange({ kind: "open", session, clientId: "client", sessionExpiryInterval: 1 }),
      store.appendSessionChange({ kind: "subscribe", session, subscription: { filter: "a/#", qos: 2, ...options } }),
      store.appendRelease(session, 65_535),
      store.appendSessionChange({ kind: "unsubscribe", session, filter: "a/#" }),
      store.appendSessionChange({ kind: "offline", session, atMs: 1_700_000_000_000 }),
      store.appendSessionChange({ kind: "end", session }),
    ];
    let previous = message;
    for (const position of changes) {
      assert(position >= previous, "a change before the message that came before it");
      previous = position;
    }
    assert(store.lastPosition >= previous);
    store.commit();
    await settled();
    assert(committed >= previous);
  });

  test("gives a new Session a number that no other has, or 0 when it records none", ({ store }) => {
    const numbers = [store.newSessionNumber(), store.newSessionNumber(), store.newSessionNumber()];
    if (store.isDurable) {
      for (const number of numbers) assert(Number.isInteger(number) && number > 0 && number < 2 ** 32);
      assert.equal(new Set(numbers).size, numbers.length);
    } else assert.deepEqual(numbers, [0, 0, 0]);
    return Promise.resolve();
  });

  test("takes progress of a message at any time, and is not asked to wait for it", async ({ store, settled }) => {
    const route = store.appendRoute({ receivers: [], groups: [{ name: "group", filter: "a/b" }] });
    assert(route >= 0 && route >= store.routesValidFrom);
    const position = store.append(messageOf("1"), 0, 0, route);
    store.appendProgress(ProgressKind.SENT, 1, position, 7, 1);
    store.commit();
    await settled();
    store.appendProgress(ProgressKind.RECEIVED, 1, position, 7, 1);
    store.release(position);
    store.appendProgress(ProgressKind.DONE, 1, position, 7, 1);
    const last = store.lastPosition;
    store.commit();
    await settled();
    assert(store.committed >= last);
  });

  test("leaves a view alone until the next read, whatever is appended and released meanwhile", ({ store }) => {
    const kept = append(store, messageOf("kept".repeat(1_000)));
    const filler = messageOf("x".repeat(100_000));
    const view = new Message();
    store.read(kept, view);
    // Enough to make a store that tidies up do so, around the one message that is looked at.
    const held: Position[] = [];
    for (let count = 0; count < 2_000; count++) {
      held.push(append(store, filler));
      // At last nothing is given back, so that all memory the store has to spare is used.
      if (held.length > 15 && count < 1_900) store.release(held.shift()!);
    }
    assert.equal(textOf(view), "kept".repeat(1_000));
    return Promise.resolve();
  });

  test("copies: the message may change as soon as append returns", async ({ store, settled }) => {
    const message = messageOf("before");
    const position = append(store, message);
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
    const position = append(store, message);
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
      const position = append(store, messageOf(text));
      store.retain(position);
      store.release(position);
      kept.set(position, text);
      for (let other = 0; other < 10; other++) store.release(append(store, filler));
      if (count % 50 === 0) {
        store.commit();
        await settled();
      }
    }
    for (const [position, text] of kept) assert.equal(textAt(store, position), text);
    for (const position of kept.keys()) store.release(position);
    // A store that makes messages safe holds them at least until they are.
    store.commit();
    await settled();
    assert(store.bytesHeld < 16 * MIB, `${store.bytesHeld} bytes held for nothing`);
  });

  test("notices a release too many", ({ store }) => {
    const position = append(store, messageOf("once"));
    store.release(position);
    assert.throws(() => store.release(position));
    return Promise.resolve();
  });
}

/**
 * Registers what a store must do that refuses messages beyond `bytesMax`.
 *
 * @param name Subject of the titles.
 */
export function boundedStoreContract(name: string, make: (bytesMax: number) => Promise<StoreUnderTest>): void {
  const test = (title: string, run: (subject: StoreUnderTest) => Promise<void>) =>
    register(`${name} ${title}`, () => make(4 * MIB), run);

  test("refuses what it has no room for and takes messages again after releases", async ({ store, settled }) => {
    const message = messageOf("x".repeat(400_000));
    const positions: number[] = [];
    // Bounded by the size of the store: it must refuse long before this many.
    for (let count = 0; count < 100; count++) {
      const position = append(store, message);
      if (position === STORE_FULL) break;
      positions.push(position);
    }
    assert(positions.length > 0 && positions.length < 100);
    assert.equal(append(store, message), STORE_FULL);
    store.commit();
    await settled();
    for (const position of positions) {
      assert.equal(textAt(store, position).length, 400_000);
      store.release(position);
    }
    assert(append(store, message) > positions.at(-1)!);
  });
}

function register(
  title: string,
  make: () => Promise<StoreUnderTest>,
  run: (subject: StoreUnderTest) => Promise<void>,
): void {
  Deno.test(title, async () => {
    const subject = await make();
    try {
      await run(subject);
    } finally {
      await subject.close();
    }
  });
}

const MIB = 1_048_576;
const TOPIC = Uint8Array.of(0, 3, 0x61, 0x2f, 0x62);

/** Appends a message that nobody is owed. */
function append(store: Store, message: Message): Position {
  return store.append(message, 0, 0, 0);
}

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
  return textOf(message);
}

function textOf(message: Message): string {
  return new TextDecoder().decode(message.payloadBytes.subarray(message.payloadStart, message.payloadEnd));
}
