/**
 * The compactor on a real store: which segments go, what of them stays readable, and that a pass that is disturbed at any
 * step by appends, by acknowledgements or by a database that fails leaves nothing wrong behind.
 */
import assert from "node:assert/strict";
import { ProgressKind } from "../../../src/storage/log/record.ts";
import { segmentName } from "../../../src/storage/log/segment.ts";
import { StorageFailed } from "../../../src/storage/model/errors.ts";
import { Random } from "../../support/random.ts";
import { ModelBroker } from "../model_broker.ts";
import { messageOf, payloadAt, type StoreRig, storeTest } from "../store_rig.ts";

const FAILURE = new StorageFailed({ operation: "write to", path: "the database", reason: "sqlite", detail: "no" });
const HOUR_MS = 3_600_000;
const SEGMENT = { segmentBytes: 2_000 };

/** Publishes to Sessions until there are so many more sealed segments. */
async function fillSegments(rig: StoreRig, broker: ModelBroker, count: number, sessions: readonly number[]) {
  const end = rig.log.sealedSegments.length + count;
  while (rig.log.sealedSegments.length < end) {
    broker.publish(sessions, 200);
    await broker.settle();
  }
}

storeTest(
  "compacts nothing before the broker is there",
  { ...SEGMENT, compaction: { maxWalBytes: 0 } },
  async (rig) => {
    for (let count = 0; count < 20; count++) rig.store.append(messageOf({ payload: "x".repeat(200) }), 0, 0, 0);
    rig.store.commit();
    await rig.advance();
    const segments = rig.segmentNames;
    assert.equal(rig.pass(), 0);
    assert.deepEqual(rig.segmentNames, segments);
  },
);

storeTest("by size: the oldest segments go until the log is below its bound", {
  ...SEGMENT,
  compaction: { maxWalBytes: 7_000 },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  await fillSegments(rig, broker, 8, [session]);
  const before = rig.segmentNames;
  assert(rig.compactor.isOverSize);
  rig.pass();
  const after = rig.segmentNames;
  assert(!rig.compactor.isOverSize && rig.log.fileBytes > 3_000, "no more than needed");
  assert(after.length > 1 && after.length < before.length);
  assert.deepEqual(after, before.slice(-after.length), "strictly oldest first");
  broker.checkReads();
  assert.equal(rig.counters.compactionRuns, 1);
  assert(rig.counters.compactionReclaimedBytes > 8_000);
});

storeTest("by age: what was last written longer ago goes, also the open segment", {
  ...SEGMENT,
  compaction: { maxMessageAgeMs: HOUR_MS },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  await fillSegments(rig, broker, 2, [session]);
  await rig.advance(HOUR_MS / 2);
  await fillSegments(rig, broker, 2, [session]);
  broker.publish([session]);
  await broker.settle();
  rig.pass();
  const all = rig.segmentNames;
  assert.equal(all.length, 5, "nothing is old yet");
  await rig.advance(HOUR_MS / 2 + 1);
  rig.pass();
  assert.deepEqual(rig.segmentNames, all.slice(2));
  await rig.advance(HOUR_MS);
  rig.pass();
  assert.equal(rig.blockBytes, 0);
  broker.checkReads();
  assert.deepEqual(rig.segmentNames, [segmentName(rig.log.endLsn)], "what says where the log has come to");
  await rig.advance(3 * HOUR_MS);
  rig.pass();
  assert.equal(rig.segmentNames.length, 1);
  broker.publish([session]);
  await broker.settle();
  const found = await rig.crash("power");
  broker.check(found, Infinity);
  found.abandon();
});

storeTest("a log of which everything was moved is not taken for lost, after one crash and after another", {
  ...SEGMENT,
  compaction: { maxWalBytes: 0 },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  await fillSegments(rig, broker, 2, [session]);
  rig.log.endSegment();
  rig.pass();
  assert.equal(rig.blockBytes, 0);
  let now = rig;
  for (const kind of ["kill", "power", "kill"] as const) {
    now = await now.crash(kind, 3);
    broker.check(now, Infinity);
    assert.deepEqual(now.opened.report.losses, []);
  }
  now.abandon();
});

storeTest("a start that removes the last segment does not make the next one take the log for lost", {
  ...SEGMENT,
  compaction: { maxWalBytes: 0, workers: 100 },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  await fillSegments(rig, broker, 2, [session]);
  rig.log.endSegment();
  const { endLsn } = rig.log;
  const pass = rig.compactor.pass(rig.time.nowMs);
  while (rig.checkpoint.load().appliedLsn < endLsn) pass.next();
  assert(rig.blockBytes > 0, "moved, and not removed");
  const first = await rig.crash("kill");
  assert.equal(first.blockBytes, 0);
  const second = await first.crash("kill");
  broker.check(second, Infinity);
  assert.deepEqual(second.opened.report.losses, []);
  second.abandon();
});

storeTest("without space for a header everything that was moved goes nevertheless", {
  ...SEGMENT,
  compaction: { maxWalBytes: 0 },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  broker.publish([session]);
  await broker.settle();
  rig.log.endSegment();
  rig.disk.capacityBytes = rig.disk.usedBytes();
  rig.pass();
  assert.equal(rig.blockBytes, 0);
  broker.checkReads();
  broker.publish([session]);
  await broker.settle();
  broker.checkReads();
});

storeTest("what is not synced stays", { ...SEGMENT, compaction: { maxWalBytes: 0 } }, async (rig) => {
  const broker = new ModelBroker(rig);
  rig.disk.holdSyncs();
  for (let count = 0; count < 40; count++) {
    broker.publish([], 200);
    broker.commit();
  }
  assert(rig.log.sealedSegments.length > 3);
  const segments = rig.segmentNames;
  rig.pass();
  assert.deepEqual(rig.segmentNames, segments);
  rig.disk.releaseSyncs();
  await rig.advance();
  rig.pass();
  assert(rig.segmentNames.length < 2);
});

storeTest("owed, retained and group messages are readable afterwards, and come back after a start", {
  ...SEGMENT,
  compaction: { maxWalBytes: 0 },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open("a/#", "b");
  const other = broker.open("c");
  broker.retain("r/1", "first");
  broker.retain("r/1", "second");
  broker.retain("r/2", "gone");
  broker.retain("r/2", undefined);
  broker.publish([session, other]);
  await fillSegments(rig, broker, 3, [session]);
  broker.send(other);
  broker.unsubscribe(session, "b");
  broker.retain("r/3", "third");
  await fillSegments(rig, broker, 3, []);
  rig.pass();
  broker.checkReads();
  const found = await rig.crash("power");
  broker.check(found, Infinity);
  found.abandon();
});

storeTest("the backlog of a shared group moves, in the hands of nobody and of a Session that is not recorded", {
  ...SEGMENT,
  compaction: { maxWalBytes: 0 },
}, async (rig) => {
  const { store } = rig;
  const session = store.newSessionNumber();
  store.appendSessionChange({ kind: "open", session, clientId: "c", sessionExpiryInterval: 60 });
  const options = { noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0 } as const;
  const filter = "$share/g/t";
  store.appendSessionChange({ kind: "subscribe", session, subscription: { filter, qos: 1, ...options } });
  const route = store.appendRoute({ receivers: [], groups: [{ name: "g", filter: "t" }] });
  const held = store.append(messageOf({ payload: "held" }), 0, 0, route);
  store.appendProgress(ProgressKind.SENT, 0, held, 5, 1);
  store.commit();
  await rig.advance();
  const group = { ordinal: 1, name: "g", filter: "t" };
  store.setOwedWalk({
    *walkOwed(_first, _end, visit) {
      visit(0, { position: held, size: 7, flags: 1, identifiers: [], packetId: 5, isReceived: false, group });
      yield;
    },
  });
  rig.log.endSegment();
  rig.pass();
  assert.equal(rig.blockBytes, 0);
  assert.equal(payloadAt(store, held), "held");
  const found = await rig.crash("kill");
  assert.deepEqual(found.recovered.groupBacklog, [{ position: held, group }]);
  assert.equal(payloadAt(found.store, held), "held");
  found.abandon();
});

storeTest("what a Session that is not recorded still has to be sent stays readable, and is not owed after a start", {
  ...SEGMENT,
  compaction: { maxWalBytes: 0 },
}, async (rig) => {
  const { store } = rig;
  const held = store.append(messageOf({ payload: "held" }), 0, 0, 0);
  store.commit();
  await rig.advance();
  store.setOwedWalk({
    *walkOwed(_first, _end, visit) {
      const owed = { size: 7, flags: 1, identifiers: [], packetId: 0, isReceived: false, group: undefined };
      visit(0, { position: held, ...owed });
      yield;
    },
  });
  rig.log.endSegment();
  rig.pass();
  assert.equal(rig.blockBytes, 0);
  assert.equal(payloadAt(store, held), "held");
  assert.deepEqual(rig.rowsOf("owed"), []);
  const found = await rig.crash("kill");
  assert.equal(found.recovered.owed.size, 0);
  found.abandon();
});

storeTest("a PUBREL that is owed outlives the message, although nobody holds a reference", {
  ...SEGMENT,
  compaction: { maxWalBytes: 0 },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  await fillSegments(rig, broker, 1, []);
  // The Session's own record must not be what keeps the next segment from being empty.
  rig.pass();
  broker.publish([session]);
  broker.send(session);
  broker.receive(session);
  await fillSegments(rig, broker, 1, []);
  rig.pass();
  assert.equal(rig.log.references.total, 0);
  const found = await rig.crash("power");
  broker.check(found, Infinity);
  assert.equal(found.recovered.owed.get(session)?.[0]?.isReceived, true);
  found.abandon();
});

storeTest("a PUBREL that is owed is kept when its PUBREC came in a later segment", {
  ...SEGMENT,
  compaction: { maxWalBytes: 3_000 },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  await fillSegments(rig, broker, 3, []);
  rig.pass();
  broker.publish([session]);
  broker.send(session);
  await fillSegments(rig, broker, 1, []);
  broker.receive(session);
  await broker.settle();
  await fillSegments(rig, broker, 1, []);
  rig.pass();
  const found = await rig.crash("power");
  broker.check(found, Infinity);
  found.abandon();
});

storeTest("messages that nobody needs leave the database", {
  ...SEGMENT,
  compaction: { maxWalBytes: 0 },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  await fillSegments(rig, broker, 3, [session]);
  rig.pass();
  const positions = broker.owedTo(session);
  assert.equal(rig.checkpoint.load().messages.positions.length, positions.length);
  while (broker.owedTo(session).length > 0) broker.finish(session);
  await broker.settle();
  rig.pass();
  assert.equal(rig.checkpoint.load().messages.positions.length, 0);
});

storeTest("a stretch of which few messages are needed is swept", {
  ...SEGMENT,
  compaction: { maxWalBytes: 0, workers: 4 },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  const slow = broker.open();
  await fillSegments(rig, broker, 2, [session]);
  broker.publish([session, slow]);
  broker.retain("kept", "kept");
  await fillSegments(rig, broker, 1, [session]);
  rig.pass();
  const before = rig.checkpoint.load().messages.positions.length;
  while (broker.owedTo(session).length > 0) broker.finish(session);
  await broker.settle();
  rig.pass();
  const after = [...rig.checkpoint.load().messages.positions];
  assert(after.length < before);
  for (const position of broker.owedTo(slow)) assert(after.includes(position));
  broker.checkReads();
});

storeTest("a Retained Message leaves the database only when it is not the one to find after a crash", {
  ...SEGMENT,
  compaction: { maxWalBytes: 0 },
  commit: { syncMode: "periodic", syncIntervalMs: HOUR_MS },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  broker.retain("r", "old");
  await fillSegments(rig, broker, 1, []);
  await rig.advance(HOUR_MS);
  rig.pass();
  assert.equal(rig.blockBytes, 0);
  // Far enough away that no page of positions has both.
  broker.publish([], 300_000);
  broker.retain("r", "new");
  await broker.settle();
  assert.equal(rig.log.references.total, 1);
  const { safeLsn } = rig;
  rig.pass();
  let lost = 0;
  for (let seed = 1; seed <= 8; seed++) {
    const found = await rig.openImage(rig.disk.image(new Random(seed), "power"));
    broker.check(found, safeLsn);
    if (payloadAt(found.store, found.recovered.retained.get("r")!).startsWith("old")) lost++;
    found.abandon();
  }
  assert(lost > 0, "the power never took the new one");
});

storeTest("a continuation goes together with the segment before it", { ...SEGMENT }, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  await fillSegments(rig, broker, 1, [session]);
  broker.publish([session]);
  await broker.settle();
  rig.disk.failSync(1, "io");
  broker.publish([session]);
  await broker.settle();
  const [, second, third] = rig.log.segments;
  assert.equal(third!.isContinuation, true);
  rig.compactionPolicy.maxWalBytes = rig.log.fileBytes - (rig.log.segments[0]!.endLsn - rig.log.segments[0]!.firstLsn);
  rig.compactionPolicy.maxWalBytes -= 1_00;
  rig.pass();
  assert.equal(rig.log.segments.includes(second!), rig.log.segments.includes(third!));
  assert(!rig.log.segments.includes(second!));
  broker.checkReads();
  const found = await rig.crash("power");
  broker.check(found, Infinity);
  found.abandon();
});

storeTest("a continuation that has to stay keeps the segment before it", { ...SEGMENT }, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  await fillSegments(rig, broker, 1, [session]);
  broker.publish([session]);
  await broker.settle();
  rig.disk.failSync(1, "io");
  rig.disk.holdSyncs();
  broker.publish([session]);
  broker.commit();
  rig.disk.finishSync();
  await rig.advance();
  assert.equal(rig.log.segments.at(-1)!.isContinuation, true);
  rig.compactionPolicy.maxWalBytes = 0;
  rig.pass();
  assert.equal(rig.log.segments.length, 3, "nothing goes while the log is not safe");
  rig.disk.releaseSyncs();
  await rig.advance();
  rig.pass();
  assert.equal(rig.blockBytes, 0);
  broker.checkReads();
});

storeTest("SQLite is told nothing that is not safe in the log yet", {
  ...SEGMENT,
  compaction: { maxWalBytes: 0 },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  await fillSegments(rig, broker, 2, [session]);
  const { appliedLsn } = rig.checkpoint.load();
  rig.disk.holdSyncs();
  // Known to the walk, and written, but not synced.
  broker.send(session);
  broker.commit();
  rig.pass();
  assert.equal(rig.checkpoint.load().appliedLsn, appliedLsn);
  broker.checkReads();
  rig.disk.releaseSyncs();
  await rig.advance();
  rig.pass();
  assert(rig.checkpoint.load().appliedLsn > appliedLsn);
  broker.checkReads();
  const found = await rig.crash("power");
  broker.check(found, Infinity);
  found.abandon();
});

for (const method of ["begin", "addMessages", "commit", "apply"] as const) {
  // Small segments are applied together.
  for (const n of method === "apply" ? [1] : [1, 2, 3]) {
    storeTest(`a database that fails in ${method} number ${n} leaves everything as it was`, {
      ...SEGMENT,
      compaction: { maxWalBytes: 0, batchSize: 3, workers: method === "apply" ? 1 : 2 },
    }, async (rig) => {
      const broker = new ModelBroker(rig);
      const session = broker.open("a");
      const other = broker.open();
      await fillSegments(rig, broker, 5, [session, other]);
      rig.failCheckpoint(method, n, FAILURE);
      assert.throws(() => rig.pass(), FAILURE);
      broker.checkReads();
      assert.equal(rig.log.segments[0]!.firstLsn, rig.opened.log.segments[0]!.firstLsn);
      // What was copied in vain is owed no more when the next pass comes.
      while (broker.owedTo(session).length > 0) broker.finish(session);
      await broker.settle();
      const image = await rig.openImage(rig.disk.image(new Random(1), "kill"));
      broker.check(image, Infinity);
      image.abandon();
      rig.pass();
      assert.deepEqual(rig.log.sealedSegments.length, 0);
      broker.checkReads();
      const found = await rig.crash("power");
      broker.check(found, Infinity);
      found.abandon();
    });
  }
}

storeTest("what was copied in vain is not owed for ever when it was done before the next pass", {
  ...SEGMENT,
  compaction: { maxWalBytes: 0, batchSize: 3, workers: 100 },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open();
  await fillSegments(rig, broker, 3, [session]);
  rig.failCheckpoint("apply", 1, FAILURE);
  assert.throws(() => rig.pass(), FAILURE);
  assert(rig.checkpoint.load().messages.positions.length > 3);
  while (broker.owedTo(session).length > 0) broker.finish(session);
  // What says so must be moved together with the messages.
  await fillSegments(rig, broker, 1, []);
  broker.publish([session]);
  await broker.settle();
  rig.pass();
  const found = await rig.crash("power");
  broker.check(found, Infinity);
  found.abandon();
});

storeTest("segments that could not be removed go with the next pass, and are not moved again", {
  ...SEGMENT,
  compaction: { maxWalBytes: 0, workers: 4 },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open("a", "b");
  await fillSegments(rig, broker, 1, [session]);
  broker.unsubscribe(session, "a");
  await fillSegments(rig, broker, 2, [session]);
  rig.disk.fail("remove", 2, "io");
  assert.throws(() => rig.pass(), StorageFailed);
  broker.checkReads();
  rig.failCheckpoint("apply", 1, FAILURE);
  rig.pass();
  assert.equal(rig.log.sealedSegments.length, 0);
  assert.deepEqual(rig.segmentNames.length, rig.log.segments.length);
  const found = await rig.crash("kill");
  broker.check(found, Infinity);
  assert.equal(found.blockBytes, 0);
  found.abandon();
});

for (const workers of [1, 3]) {
  for (const batchSize of [1, 7, 1_000]) {
    storeTest(`appends between all steps never wait: ${workers} workers, transactions of ${batchSize}`, {
      ...SEGMENT,
      compaction: { maxWalBytes: 4_000, workers, batchSize },
    }, async (rig) => {
      const broker = new ModelBroker(rig);
      const sessions = [broker.open("a"), broker.open("b"), broker.open()];
      await fillSegments(rig, broker, 8, sessions);
      let steps = 0;
      for (const _ of rig.compactor.pass(rig.time.nowMs)) {
        if (++steps > 500) break;
        const session = sessions[steps % sessions.length]!;
        broker.publish([session]);
        broker.send(session);
        if (steps % 3 === 0) broker.finish(session);
        if (steps % 5 === 0) broker.retain(`topic ${steps % 2}`, `value ${steps}`);
        await broker.settle();
        broker.checkReads();
      }
      assert(steps > 5);
      broker.checkReads();
      const found = await rig.crash("power");
      broker.check(found, Infinity);
      found.abandon();
    });
  }
}

storeTest("a message that changes hands during a walk is not lost", {
  ...SEGMENT,
  compaction: { maxWalBytes: 0 },
}, async (rig) => {
  const { store } = rig;
  const sessions = [1, 2].map((n) => {
    const session = store.newSessionNumber();
    store.appendSessionChange({ kind: "open", session, clientId: `c${n}`, sessionExpiryInterval: 60 });
    return session;
  });
  const position = store.append(messageOf({ payload: "moves" }), 0, 0, 0);
  store.commit();
  await rig.advance();
  let holder = sessions[1]!;
  const rowFor = { size: 6, flags: 1, identifiers: [], packetId: 0, isReceived: false, group: undefined };
  store.setOwedWalk({
    *walkOwed(_first, _end, visit) {
      for (const session of sessions) {
        if (session === holder) visit(session, { position, ...rowFor });
        yield;
      }
    },
  });
  rig.log.endSegment();
  let steps = 0;
  rig.pass(() => {
    // Every other step the message goes to the Session that was, or was not, walked.
    holder = sessions[++steps % 2]!;
    store.retain(position);
    store.release(position);
  });
  assert.equal(payloadAt(store, position), "moves");
  assert.equal(rig.checkpoint.load().messages.positions.length, 1);
});
