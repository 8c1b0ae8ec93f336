/**
 * The durable store against the contract of all message stores, on the faulty disk and on a real one, and what is its own:
 * what need not be logged, what is refused, what a start finds.
 */
import assert from "node:assert/strict";
import { StorageCounters } from "../../src/metrics/storage_counters.ts";
import { Checkpoint } from "../../src/storage/checkpoint/checkpoint.ts";
import { openNodeDisk } from "../../src/storage/disk/node_disk.ts";
import { ProgressKind } from "../../src/storage/log/record.ts";
import { STORE_FULL } from "../../src/storage/message_store.ts";
import { openStore } from "../../src/storage/open_store.ts";
import { messageStoreContract, type StoreUnderTest } from "./message_store_contract.ts";
import { IMMEDIATE, messageOf, NEVER, payloadAt, SETTINGS, StoreRig, storeTest } from "./store_rig.ts";

messageStoreContract("DurableMessageStore on the faulty disk", async (bytesMax) => {
  const rig = await StoreRig.open({ memoryBytesMax: bytesMax });
  const close = async () => {
    await rig.group.flush();
    rig.close();
  };
  // Progress alone is committed when its interval is over.
  return { store: rig.store, settled: () => rig.advance(rig.commitPolicy.syncIntervalMs), close };
});

messageStoreContract("DurableMessageStore on a real disk", (bytesMax) => Promise.resolve(openReal(bytesMax)));

function openReal(memoryBytesMax: number): StoreUnderTest {
  const folder = Deno.makeTempDirSync({ prefix: "promptmq-store-" });
  const disk = openNodeDisk();
  disk.makeDirectory(`${folder}/wal`);
  const checkpoint = Checkpoint.open(`${folder}/promptmq.db`, SETTINGS);
  const cancels: (() => void)[] = [];
  const fail = (cause: Error) => {
    throw cause;
  };
  const { store, log, group } = openStore({
    disk,
    directory: `${folder}/wal`,
    checkpoint,
    validation: "records",
    onCorruption: "refuse",
    memoryBytesMax,
    segmentBytes: 16 * 1_048_576,
    commitPolicy: { ...IMMEDIATE },
    compactionPolicy: { ...NEVER },
    counters: new StorageCounters(),
    clock: Date.now,
    later: (ms, run) => {
      const timer = setTimeout(run, ms);
      const cancel = () => clearTimeout(timer);
      cancels.push(cancel);
      return cancel;
    },
    failures: { slowSync: () => {}, outOfSpace: fail, poisoned: fail, fatal: fail, recovered: () => {} },
    unreadable: (_position, cause) => fail(cause),
  });
  // What was asked for, and who waits until it is heard of.
  let asked = 0;
  let waiting: (() => void)[] = [];
  const { commit } = store;
  store.commit = () => {
    asked = Math.max(asked, store.lastPosition);
    commit.call(store);
  };
  store.whenCommitted((position) => {
    if (position < asked) return;
    for (const resolve of waiting.splice(0)) resolve();
  });
  return {
    store,
    settled: () => store.committed >= asked ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve)),
    close: async () => {
      await group.flush();
      for (const cancel of cancels) cancel();
      waiting = [];
      log.close();
      checkpoint.close();
      Deno.removeSync(folder, { recursive: true });
    },
  };
}

storeTest("logs only what must outlive the process when that is all that is asked for", {
  memoryBytesMax: 1_048_576,
}, async (rig) => {
  const { store, log } = rig;
  store.record = "required";
  const { endLsn } = log;
  const volatile = store.append(messageOf({ payload: "volatile" }), 0, 0, 0);
  assert.equal(log.endLsn, endLsn);
  assert(volatile > store.lastPosition);
  assert.equal(payloadAt(store, volatile), "volatile");
  assert.equal(store.sizeOf(volatile), 3 + "volatile".length);
  store.appendProgress(ProgressKind.SENT, 1, volatile, 1, 0);
  assert.equal(log.endLsn, endLsn, "progress of it is no more worth");
  store.retain(volatile);
  store.release(volatile);
  store.release(volatile);
  assert.throws(() => store.release(volatile));
  const route = store.appendRoute({ receivers: [], groups: [{ name: "g", filter: "t" }] });
  const logged = [
    store.append(messageOf({ payload: "routed" }), 0, 0, route),
    store.append(messageOf({ payload: "retained", retain: true }), 0, 0, 0),
    store.append(messageOf({ payload: "exactly once" }), 1, 9, 0),
  ];
  for (const position of logged) assert(position < log.endLsn);
  store.commit();
  await rig.advance();
  const found = await rig.crash("power");
  assert.deepEqual(logged.map((position) => payloadAt(found.store, position)), ["routed", "retained", "exactly once"]);
  found.abandon();
});

storeTest("refuses messages that are not logged, too, beyond the bound of memory", {
  memoryBytesMax: 1_048_576,
}, ({ store }) => {
  store.record = "required";
  const filler = messageOf({ payload: "x".repeat(600_000) });
  const first = store.append(filler, 0, 0, 0);
  assert.notEqual(first, STORE_FULL);
  assert.equal(store.append(filler, 0, 0, 0), STORE_FULL);
  assert.notEqual(store.append(messageOf({ payload: "x".repeat(600_000), retain: true }), 0, 0, 0), STORE_FULL);
});

storeTest("refuses messages while there is too little space, and takes changes", {}, async (rig) => {
  const { store } = rig;
  store.isLowOnSpace = true;
  assert.equal(store.isFull, true);
  assert.equal(store.append(messageOf(), 0, 0, 0), STORE_FULL);
  const change = store.appendSessionChange({ kind: "will-over", clientId: "c" });
  store.commit();
  await rig.advance();
  assert(store.committed >= change);
  store.isLowOnSpace = false;
  assert.equal(store.isFull, false);
  assert.notEqual(store.append(messageOf(), 0, 0, 0), STORE_FULL);
});

storeTest("is congested while too much waits for its commit, and only then", {}, async (rig) => {
  rig.disk.holdSyncs();
  const { store } = rig;
  const payload = "x".repeat(1_048_576);
  for (let count = 0; count < 64; count++) {
    assert.equal(store.isCongested, false, `after ${count} MiB`);
    store.append(messageOf({ payload }), 0, 0, 0);
    store.commit();
  }
  assert.equal(store.isCongested, true);
  rig.disk.releaseSyncs();
  await rig.advance();
  assert.equal(store.isCongested, false);
});

storeTest("gives what was recovered away once", {}, (rig) => {
  assert.equal(rig.store.takeRecovered(), undefined);
  assert.equal(rig.recovered.sessions.size, 0);
});

storeTest("never gives a session number twice, also after crashes and compaction", {
  segmentBytes: 500,
  compaction: { maxWalBytes: 0 },
}, async (rig) => {
  const seen = new Set<number>();
  let now = rig;
  for (let round = 0; round < 4; round++) {
    for (let count = 0; count < 5; count++) {
      const session = now.store.newSessionNumber();
      assert(session > 0 && !seen.has(session));
      seen.add(session);
      now.store.appendSessionChange({ kind: "open", session, clientId: `c${session}`, sessionExpiryInterval: 1 });
      if (count % 2 === 0) now.store.appendSessionChange({ kind: "end", session });
    }
    now.store.commit();
    await now.advance();
    now.store.setOwedWalk({ *walkOwed() {} });
    now.pass();
    now = await now.crash(round % 2 === 0 ? "power" : "kill", round + 1);
  }
  now.abandon();
});

storeTest("a Session without an owner of its releases leaves no record", {}, (rig) => {
  const { endLsn } = rig.log;
  assert.equal(rig.store.appendRelease(0, 7), rig.store.lastPosition);
  assert.equal(rig.log.endLsn, endLsn);
});
