/**
 * When a record counts as committed, in each mode, and what failures of the device do: the rules at the head of
 * `group_commit.ts`, one by one, on a disk whose syncs are held and whose writes fail on request.
 */
import assert from "node:assert/strict";
import { ProgressKind } from "../../../src/storage/log/record.ts";
import { STORE_FULL } from "../../../src/storage/message_store.ts";
import { messageOf, payloadAt, type StoreRig, storeTest, WAL } from "../store_rig.ts";
import { jobsDone } from "../virtual_time.ts";

/** Appends one message without writing it. */
function append(rig: StoreRig, payload = "payload"): number {
  return rig.store.append(messageOf({ payload }), 0, 0, 0);
}

/** Appends messages and ends the turn. Returns the position of the last. */
function turn(rig: StoreRig, count = 1): number {
  let last = 0;
  for (let index = 0; index < count; index++) last = append(rig);
  rig.store.commit();
  return last;
}

/** Appends progress of a message, which nobody waits for, and ends the turn. */
function progressTurn(rig: StoreRig, position: number, count = 1): void {
  for (let index = 0; index < count; index++) rig.store.appendProgress(ProgressKind.SENT, 1, position, 1, 0);
  rig.store.commit();
}

/** Appends and commits one message so that the segment and its name are there and safe. */
async function warmUp(rig: StoreRig): Promise<number> {
  const position = turn(rig);
  await rig.advance();
  assert(rig.store.committed >= position);
  return position;
}

storeTest("immediate: nothing is committed before its sync is done", {}, async (rig) => {
  rig.disk.holdSyncs();
  const position = turn(rig);
  await rig.advance(1_000_000);
  assert(rig.store.committed < position);
  rig.disk.finishSync();
  await jobsDone();
  assert.equal(rig.store.committed, rig.log.endLsn - 1);
});

storeTest("a sync that takes a second is told, a shorter one is not", {}, async (rig) => {
  for (const [milliseconds, told] of [[999, []], [1_000, ["slowSync 1000"]]] as const) {
    await warmUp(rig);
    rig.disk.holdSyncs();
    turn(rig);
    await rig.advance(milliseconds);
    rig.disk.releaseSyncs();
    await jobsDone();
    assert.deepEqual(rig.failures, told);
  }
});

storeTest("immediate: what is written while a sync is under way waits for the next, one at a time", {}, async (rig) => {
  rig.disk.holdSyncs();
  const first = turn(rig);
  const second = turn(rig);
  const third = turn(rig);
  assert.equal(rig.disk.heldSyncs.length, 1);
  rig.disk.finishSync();
  await jobsDone();
  assert(rig.store.committed >= first && rig.store.committed < second);
  assert.equal(rig.disk.heldSyncs.length, 1);
  rig.disk.finishSync();
  await jobsDone();
  assert(rig.store.committed >= third);
  assert.equal(rig.disk.heldSyncs.length, 0);
});

storeTest("immediate: a new segment is not committed before the directory is synced", {}, async (rig) => {
  rig.disk.holdSyncs("all");
  const position = turn(rig);
  rig.disk.finishSync();
  await jobsDone();
  assert.deepEqual(rig.disk.heldSyncs, [WAL]);
  assert(rig.store.committed < position);
  rig.disk.finishSync();
  await jobsDone();
  assert(rig.store.committed >= position);
});

storeTest("waiters hear of growing positions, and the next sync starts before they do", {}, async (rig) => {
  rig.disk.holdSyncs();
  const heldWhenHeard: number[] = [];
  rig.store.whenCommitted(() => heldWhenHeard.push(rig.disk.heldSyncs.length));
  turn(rig);
  turn(rig);
  rig.disk.finishSync();
  await jobsDone();
  rig.disk.finishSync();
  await jobsDone();
  assert.equal(rig.heard.length, 2);
  assert(rig.heard[0]! < rig.heard[1]!);
  assert.deepEqual(heldWhenHeard, [1, 0]);
});

storeTest("a turn that a commit begins is committed by a sync of its own", {}, async (rig) => {
  let answer = 0;
  rig.store.whenCommitted(() => {
    if (answer === 0) answer = turn(rig);
  });
  turn(rig);
  await rig.advance();
  assert(answer > 0 && rig.store.committed >= answer);
  assert.equal(rig.disk.count("sync"), 2);
});

storeTest("batch: commits what is written, up to batch-sync-size records that are not synced", {
  commit: { syncMode: "batch", batchSyncSize: 10 },
}, async (rig) => {
  rig.disk.holdSyncs();
  const position = turn(rig, 9);
  assert(rig.store.committed >= position);
  assert.deepEqual(rig.disk.heldSyncs, []);
  const tenth = turn(rig);
  assert(rig.store.committed >= tenth);
  assert.equal(rig.disk.heldSyncs.length, 1, "the batch is full");
  const eleventh = turn(rig);
  assert(rig.store.committed < eleventh, "eleven would be lost");
  rig.disk.finishSync();
  await jobsDone();
  assert(rig.store.committed >= eleventh);
  assert.equal(rig.disk.heldSyncs.length, 0, "one record is no batch");
});

storeTest("batch: a group larger than the batch waits for its sync", {
  commit: { syncMode: "batch", batchSyncSize: 10 },
}, async (rig) => {
  rig.disk.holdSyncs();
  const position = turn(rig, 11);
  assert(rig.store.committed < position);
  assert.equal(rig.disk.heldSyncs.length, 1);
  rig.disk.finishSync();
  await jobsDone();
  assert(rig.store.committed >= position);
});

storeTest("batch: what is not a batch is synced within the interval", {
  commit: { syncMode: "batch", batchSyncSize: 10, syncIntervalMs: 100 },
}, async (rig) => {
  turn(rig);
  assert(rig.group.unsyncedBytes > 0);
  await rig.advance(50);
  assert.equal(rig.disk.count("sync"), 0);
  assert.equal(rig.group.lossWindowSeconds, 0.05);
  await rig.advance(50);
  assert.equal(rig.disk.count("sync"), 1);
  assert.equal(rig.group.unsyncedBytes, 0);
  assert.equal(rig.group.lossWindowSeconds, 0);
});

storeTest("batch: never commits more unsynced records than its size, whatever the turns and syncs", {
  commit: { syncMode: "batch", batchSyncSize: 7 },
}, async (rig) => {
  rig.disk.holdSyncs();
  const appended: number[] = [];
  for (let round = 1; round <= 60; round++) {
    for (let index = 0; index < 1 + round % 4; index++) appended.push(append(rig));
    rig.store.commit();
    if (round % 5 === 0 && rig.disk.heldSyncs.length > 0) {
      rig.disk.finishSync();
      await jobsDone();
    }
    const unsynced = appended.filter((position) => position >= rig.safeLsn && position <= rig.store.committed);
    assert(unsynced.length <= 7, `${unsynced.length} records could be lost`);
  }
  rig.disk.releaseSyncs();
  await jobsDone();
  assert(rig.store.committed >= appended.at(-1)!);
});

storeTest("periodic: commits what is written, and syncs within the interval", {
  commit: { syncMode: "periodic", syncIntervalMs: 100 },
}, async (rig) => {
  const position = turn(rig, 1_000);
  assert(rig.store.committed >= position);
  assert.equal(rig.disk.count("sync"), 0);
  await rig.advance(99);
  assert.equal(rig.disk.count("sync"), 1);
  assert.equal(rig.group.unsyncedBytes, 0);
});

storeTest("periodic: commits nothing while something unsynced is older than the interval", {
  commit: { syncMode: "periodic", syncIntervalMs: 100 },
}, async (rig) => {
  rig.disk.holdSyncs();
  turn(rig);
  await rig.advance(99);
  assert.equal(rig.disk.heldSyncs.length, 1);
  const young = turn(rig);
  assert(rig.store.committed >= young);
  await rig.advance(1);
  const late = turn(rig);
  assert(rig.store.committed < late, "the first message is older than the interval and not synced");
  assert(rig.group.lossWindowSeconds >= 0.1);
  rig.disk.finishSync();
  await jobsDone();
  assert(rig.store.committed >= late);
});

for (const syncMode of ["batch", "periodic"] as const) {
  storeTest(`force-fsync: ${syncMode} commits like immediate`, {
    commit: { syncMode, forceFsync: true, noSync: true },
  }, async (rig) => {
    rig.disk.holdSyncs();
    const position = turn(rig);
    assert(rig.store.committed < position);
    assert.equal(rig.disk.heldSyncs.length, 1);
    assert.equal(rig.group.lossWindowSeconds, 0);
    rig.disk.finishSync();
    await jobsDone();
    assert(rig.store.committed >= position);
  });
}

for (const syncMode of ["immediate", "batch", "periodic"] as const) {
  storeTest(`no-sync: ${syncMode} commits what is written and never syncs`, {
    commit: { syncMode, noSync: true },
  }, async (rig) => {
    const position = turn(rig, 100);
    assert(rig.store.committed >= position);
    await rig.advance(1_000_000);
    assert.equal(rig.disk.count("sync"), 0);
    assert(rig.group.lossWindowSeconds >= 1_000);
    assert(rig.group.unsyncedBytes > 0);
  });
}

storeTest("progress alone starts no sync, but is synced within the interval", {
  commit: { syncIntervalMs: 100 },
}, async (rig) => {
  const position = await warmUp(rig);
  const syncs = rig.disk.count("sync");
  progressTurn(rig, position, 50);
  assert.equal(rig.disk.count("sync"), syncs);
  assert(rig.group.unsyncedBytes > 0);
  assert.equal(rig.group.lossWindowSeconds, 0, "nobody was promised anything");
  await rig.advance(99);
  assert.equal(rig.disk.count("sync"), syncs + 1);
  assert.equal(rig.group.unsyncedBytes, 0);
});

storeTest("progress goes with the next promise", {}, async (rig) => {
  const position = await warmUp(rig);
  progressTurn(rig, position);
  const last = turn(rig);
  await rig.advance();
  assert(rig.store.committed >= last);
  assert.equal(rig.group.unsyncedBytes, 0);
  assert.equal(rig.time.waiting, 0);
});

storeTest("progress is written when the turn ends: a killed process leaves it behind", {}, async (rig) => {
  const position = await warmUp(rig);
  const before = rig.disk.contents(rig.log.segments[0]!.path).length;
  progressTurn(rig, position);
  assert(rig.disk.contents(rig.log.segments[0]!.path).length > before);
});

storeTest("a sync that starts between an append and the end of its turn does not swallow the promise", {
  commit: { syncIntervalMs: 100 },
}, async (rig) => {
  const position = await warmUp(rig);
  progressTurn(rig, position);
  const promised = append(rig);
  // The timer of the progress is due before the turn of the message ends.
  await rig.advance(80);
  rig.store.commit();
  await rig.advance();
  assert(rig.store.committed >= promised);
});

storeTest("a live change to immediate makes safe what was committed before", {
  commit: { syncMode: "periodic", syncIntervalMs: 1_000_000 },
}, async (rig) => {
  rig.disk.holdSyncs();
  const before = turn(rig);
  assert(rig.store.committed >= before);
  rig.commitPolicy.syncMode = "immediate";
  rig.group.policyChanged();
  await rig.advance(1_000);
  assert.equal(rig.disk.heldSyncs.length, 1);
  assert.equal(rig.group.lossWindowSeconds, 1, "not yet");
  rig.disk.finishSync();
  await jobsDone();
  assert.equal(rig.group.unsyncedBytes, 0);
  const after = turn(rig);
  assert(rig.store.committed < after);
  rig.disk.finishSync();
  await jobsDone();
  assert(rig.store.committed >= after);
});

storeTest("a live change to batch or no-sync commits what waits", {}, async (rig) => {
  rig.disk.holdSyncs();
  const first = turn(rig);
  rig.commitPolicy.syncMode = "batch";
  rig.group.policyChanged();
  assert(rig.store.committed >= first);
  const large = turn(rig, 50);
  assert(rig.store.committed < large);
  rig.commitPolicy.noSync = true;
  rig.group.policyChanged();
  assert(rig.store.committed >= large);
  rig.disk.releaseSyncs();
  await jobsDone();
});

storeTest("a live change to a shorter interval counts at once", {
  commit: { syncMode: "periodic", syncIntervalMs: 1_000_000 },
}, async (rig) => {
  turn(rig);
  rig.commitPolicy.syncIntervalMs = 100;
  rig.group.policyChanged();
  await rig.advance(99);
  assert.equal(rig.disk.count("sync"), 1);
  assert.equal(rig.group.unsyncedBytes, 0);
});

storeTest("a live change from no-sync makes safe what was written meanwhile", {
  commit: { noSync: true },
  segmentBytes: 1_000,
}, async (rig) => {
  const messages = 40;
  for (let count = 0; count < messages; count++) turn(rig);
  assert(rig.log.segments.length > 2);
  rig.commitPolicy.noSync = false;
  rig.group.policyChanged();
  await rig.advance(1_000);
  assert.equal(rig.group.unsyncedBytes, 0);
  assert.equal(rig.group.lossWindowSeconds, 0);
  const found = await rig.crash("power");
  assert.equal(found.opened.report.messages, messages);
  found.abandon();
});

storeTest("no-sync never closes a file whose sync is under way", { segmentBytes: 500 }, async (rig) => {
  rig.disk.holdSyncs();
  turn(rig);
  turn(rig, 20);
  assert.equal(rig.log.sealedSegments.length, 1, "the file that is synced is not written to any more");
  rig.commitPolicy.noSync = true;
  rig.group.policyChanged();
  rig.disk.releaseSyncs();
  await jobsDone();
  assert.deepEqual(rig.watch.mistakes, []);
  turn(rig);
  await rig.group.flush();
  rig.log.close();
  assert.deepEqual(rig.watch.mistakes, []);
  assert.equal(rig.watch.openCount, 0);
});

// Failures.

for (const how of ["write", "sync", "syncDirectory", "create"] as const) {
  storeTest(
    `a failing ${how} sends what is not safe to a fresh segment, once, and nothing is lost`,
    {},
    async (rig) => {
      const isCreate = how === "create" || how === "syncDirectory";
      if (!isCreate) await warmUp(rig);
      rig.disk.fail(how, 1, "io");
      const position = append(rig, "in danger");
      rig.store.commit();
      await rig.advance();
      assert.deepEqual(rig.failures, ["poisoned io", "recovered"]);
      assert(rig.store.committed >= position);
      assert.equal(rig.group.isFailing, false);
      const next = turn(rig);
      await rig.advance();
      assert(rig.store.committed >= next);
      assert.equal(rig.counters.walWriteErrors, 1);
      const found = await rig.crash("power", 7);
      assert.equal(payloadAt(found.store, position), "in danger");
      assert.equal(payloadAt(found.store, next), "payload");
      assert.deepEqual(found.opened.report.losses, []);
      found.abandon();
    },
  );
}

storeTest("the fresh segment holds everything that was not safe, in every mode", {
  commit: { syncMode: "periodic", syncIntervalMs: 100 },
  segmentBytes: 2_000,
}, async (rig) => {
  const kept = await warmUp(rig);
  await rig.advance(100);
  assert.equal(rig.group.unsyncedBytes, 0);
  const positions = Array.from({ length: 60 }, (_, index) => {
    const position = append(rig, `unsafe ${index}`);
    rig.store.commit();
    return position;
  });
  assert(rig.log.segments.length > 2);
  rig.disk.failSync(2, "io");
  await rig.advance(100);
  assert.deepEqual(rig.failures, ["poisoned io", "recovered"]);
  assert.equal(rig.group.unsyncedBytes, 0);
  const found = await rig.crash("power", 3);
  assert.equal(payloadAt(found.store, kept), "payload");
  positions.forEach((position, index) => assert.equal(payloadAt(found.store, position), `unsafe ${index}`));
  assert.deepEqual(found.opened.report.losses, []);
  found.abandon();
});

for (const [how, reason] of [["sync", "io"], ["write", "io"], ["create", "read_only"]] as const) {
  storeTest(`a failing ${how} of the fresh segment is the end: nothing is committed ever again`, {}, async (rig) => {
    await warmUp(rig);
    const { committed } = rig.store;
    rig.disk.failSync(1, "io");
    // One sync fails; counted from now, a later sync is the second one, but a write or create is the next.
    turn(rig);
    rig.disk.fail(how, 1, reason);
    await rig.advance();
    assert.deepEqual(rig.failures, ["poisoned io", `fatal ${reason}`]);
    assert.equal(rig.group.isFailing, true);
    assert.equal(rig.store.append(messageOf(), 0, 0, 0), STORE_FULL);
    rig.disk.heal();
    const { endLsn } = rig.log;
    rig.store.appendSessionChange({ kind: "end", session: 1 });
    rig.store.commit();
    await rig.advance(1_000_000);
    await rig.group.flush();
    assert.equal(rig.store.committed, committed);
    assert.equal(rig.log.writtenLsn <= endLsn, true);
    assert.equal(rig.failures.length, 2);
    assert.equal(rig.time.waiting, 0);
  });
}

storeTest(
  "no space: nothing is committed, messages are refused, and it goes on when there is space",
  {},
  async (rig) => {
    await warmUp(rig);
    const { committed } = rig.store;
    rig.disk.capacityBytes = rig.disk.usedBytes() + 10;
    const position = append(rig, "waits");
    rig.store.commit();
    assert.equal(rig.store.isFull, true);
    assert.equal(append(rig), STORE_FULL);
    const change = rig.store.appendSessionChange({ kind: "will-over", clientId: "x" });
    rig.store.commit();
    await rig.advance(10_000);
    assert.equal(rig.store.committed, committed);
    assert.deepEqual(rig.failures, ["outOfSpace no_space"]);
    rig.disk.capacityBytes = 2 ** 40;
    await rig.advance(1_000);
    assert.deepEqual(rig.failures, ["outOfSpace no_space", "recovered"]);
    assert.equal(rig.store.isFull, false);
    await rig.advance();
    assert(rig.store.committed >= change);
    const next = turn(rig);
    await rig.advance();
    assert(rig.store.committed >= next);
    const found = await rig.crash("power");
    assert.equal(payloadAt(found.store, position), "waits");
    assert.deepEqual(found.opened.report.losses, []);
    found.abandon();
  },
);

storeTest("no space for a new segment: it goes on when there is space", {}, async (rig) => {
  rig.disk.capacityBytes = 10;
  const position = turn(rig);
  await rig.advance(3_000);
  assert.equal(rig.store.isFull, true);
  rig.disk.capacityBytes = 2 ** 40;
  await rig.advance(1_000);
  assert(rig.store.committed >= position);
  assert.equal(rig.watch.openCount, 1);
});

storeTest(
  "no space while a sync is under way: the sync counts, and the promises that wait are kept",
  {},
  async (rig) => {
    await warmUp(rig);
    rig.disk.holdSyncs();
    const first = turn(rig);
    rig.disk.capacityBytes = rig.disk.usedBytes();
    const second = turn(rig);
    assert.equal(rig.store.isFull, true);
    rig.disk.finishSync();
    await jobsDone();
    assert(rig.store.committed >= first && rig.store.committed < second);
    rig.disk.releaseSyncs();
    rig.disk.capacityBytes = 2 ** 40;
    await rig.advance(1_000);
    assert(rig.store.committed >= second, "at once, not after an interval");
  },
);

storeTest("no space: what was committed before is synced nevertheless", {
  commit: { syncMode: "periodic", syncIntervalMs: 100 },
}, async (rig) => {
  const first = turn(rig);
  assert(rig.store.committed >= first);
  rig.disk.capacityBytes = rig.disk.usedBytes();
  turn(rig);
  assert.equal(rig.store.isFull, true);
  await rig.advance(100);
  assert(rig.safeLsn > first, "a full disk must not keep what it holds from being synced");
  assert.equal(rig.group.lossWindowSeconds, 0);
});

storeTest("no space while a sync is held: what it does not cover is synced after it", {
  commit: { syncMode: "periodic", syncIntervalMs: 100 },
}, async (rig) => {
  turn(rig);
  rig.disk.holdSyncs();
  await rig.advance(80);
  assert.equal(rig.disk.heldSyncs.length, 1);
  const second = turn(rig);
  assert(rig.store.committed >= second);
  rig.disk.capacityBytes = rig.disk.usedBytes();
  turn(rig);
  rig.disk.releaseSyncs();
  await rig.advance(100);
  assert(rig.safeLsn > second);
});

storeTest("no space for the fresh segment: it is tried until there is some", {}, async (rig) => {
  await warmUp(rig);
  rig.disk.holdSyncs();
  const position = append(rig, "survives both");
  rig.store.commit();
  rig.disk.failSync(1, "io");
  const second = turn(rig);
  rig.disk.capacityBytes = rig.disk.usedBytes() + 100;
  rig.disk.finishSync();
  await jobsDone();
  rig.disk.releaseSyncs();
  rig.disk.heal();
  await rig.advance(5_000);
  assert.equal(rig.store.isFull, true);
  assert(rig.store.committed < second || rig.failures.includes("recovered"));
  rig.disk.capacityBytes = 2 ** 40;
  await rig.advance(1_000);
  assert(rig.store.committed >= second);
  assert.equal(rig.store.isFull, false);
  const found = await rig.crash("power", 5);
  assert.equal(payloadAt(found.store, position), "survives both");
  found.abandon();
});

storeTest("a write that fails while a sync is under way waits for its end", {}, async (rig) => {
  await warmUp(rig);
  rig.disk.holdSyncs();
  const first = turn(rig);
  rig.disk.failWrite(1, "io");
  const second = turn(rig);
  assert.deepEqual(rig.failures, ["poisoned io"]);
  assert.equal(rig.disk.heldSyncs.length, 1);
  rig.disk.finishSync();
  await jobsDone();
  assert(rig.store.committed >= first && rig.store.committed < second);
  rig.disk.releaseSyncs();
  await jobsDone();
  assert(rig.store.committed >= second);
  assert.deepEqual(rig.failures, ["poisoned io", "recovered"]);
  assert.deepEqual(rig.watch.mistakes, []);
});

storeTest("a write and the sync under way fail: still one fresh segment", {}, async (rig) => {
  await warmUp(rig);
  rig.disk.holdSyncs();
  turn(rig);
  rig.disk.failWrite(1, "io");
  const last = turn(rig);
  rig.disk.failSyncForever("io");
  rig.disk.heal();
  rig.disk.releaseSyncs();
  await rig.advance();
  assert(rig.store.committed >= last);
  assert.deepEqual(rig.failures, ["poisoned io", "recovered"]);
});

// The end.

storeTest("flush commits and syncs everything appended", { commit: { syncMode: "periodic" } }, async (rig) => {
  const position = append(rig);
  await rig.group.flush();
  assert(rig.store.committed >= position);
  assert.equal(rig.group.unsyncedBytes, 0);
  assert.equal(rig.time.waiting, 0);
});

storeTest("flush waits for a sync under way, and syncs what it does not cover", {}, async (rig) => {
  rig.disk.holdSyncs();
  turn(rig);
  const last = turn(rig);
  const flushed = rig.group.flush();
  rig.disk.releaseSyncs();
  await flushed;
  assert(rig.store.committed >= last);
});

storeTest("flush waits for the fresh segment after a failure, and for what came after", {}, async (rig) => {
  await warmUp(rig);
  rig.disk.holdSyncs();
  turn(rig);
  rig.disk.failWrite(1, "io");
  turn(rig);
  const last = rig.store.appendSessionChange({ kind: "will-over", clientId: "x" });
  const flushed = rig.group.flush();
  rig.disk.finishSync();
  await jobsDone();
  const later = rig.store.appendSessionChange({ kind: "will-over", clientId: "y" });
  rig.disk.releaseSyncs();
  await flushed;
  assert(rig.store.committed >= last);
  assert(rig.store.committed >= later);
});

storeTest("flush ends without space, and commits nothing that is not safe", {}, async (rig) => {
  await warmUp(rig);
  rig.disk.capacityBytes = rig.disk.usedBytes();
  const position = turn(rig);
  await rig.group.flush();
  assert(rig.store.committed < position);
  assert.equal(rig.time.waiting, 0);
});

storeTest(
  "flush ends after the end, and without sync when there is to be none",
  { commit: { noSync: true } },
  async (rig) => {
    const position = turn(rig);
    await rig.group.flush();
    assert(rig.store.committed >= position);
    await rig.group.flush();
    assert.equal(rig.disk.count("sync"), 0);
  },
);

storeTest("flush of an idle store syncs nothing", {}, async (rig) => {
  await rig.group.flush();
  assert.equal(rig.disk.count("sync"), 0);
});

storeTest("a waiter that throws holds up no flush that waits for the same sync", {}, async (rig) => {
  const uncaught = Promise.withResolvers<unknown>();
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    uncaught.resolve(event.reason);
  }, { once: true });
  rig.disk.holdSyncs();
  turn(rig);
  const leave = rig.store.whenCommitted(() => {
    leave();
    throw new Error("a bug");
  });
  const flushed = rig.group.flush();
  rig.disk.releaseSyncs();
  assert.match(String(await uncaught.promise), /a bug/);
  await flushed;
  assert.equal(rig.log.safeLsn, rig.log.endLsn);
});
