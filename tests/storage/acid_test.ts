/**
 * The four promises of a store, by name: a turn is recorded whole or not at all, what is found after a crash fits
 * together, damage costs only what it hit, and what was committed stays.
 */
import assert from "node:assert/strict";
import { BLOCK_HEADER_BYTES, SEGMENT_HEADER_BYTES } from "../../src/storage/log/segment.ts";
import { Random } from "../support/random.ts";
import { subscription } from "./log/log_writer.ts";
import { ModelBroker } from "./model_broker.ts";
import { messageOf, payloadAt, type StoreRig, storeTest, WAL } from "./store_rig.ts";

const FILTERS = ["a", "b/+", "c/#", "$share/g/d", "e".repeat(200)];

/** A SUBSCRIBE of a Session that is there already, in a turn of its own, written but not synced. */
async function subscribeAtOnce(rig: StoreRig): Promise<number> {
  const { store } = rig;
  const session = store.newSessionNumber();
  store.appendSessionChange({ kind: "open", session, clientId: "c", sessionExpiryInterval: 60 });
  store.commit();
  await rig.advance();
  rig.disk.holdSyncs("all");
  for (const filter of FILTERS) {
    store.appendSessionChange({ kind: "subscribe", session, subscription: subscription(filter) });
  }
  store.commit();
  return session;
}

storeTest("atomicity: of a SUBSCRIBE with several Topic Filters a power cut leaves all or none", {}, async (rig) => {
  const session = await subscribeAtOnce(rig);
  const counts = new Set<number>();
  for (let seed = 1; seed <= 40; seed++) {
    const found = await rig.openImage(rig.disk.image(new Random(seed), "power"));
    counts.add(found.recovered.sessions.get(session)!.subscriptions.size);
    found.abandon();
  }
  assert.deepEqual([...counts].sort(), [0, FILTERS.length], "both must come up, and nothing in between");
});

storeTest(
  "atomicity: however many bytes of a turn reached the device, it counts whole or not at all",
  {},
  async (rig) => {
    const session = await subscribeAtOnce(rig);
    const { path } = rig.log.segments.at(-1)!;
    const size = rig.disk.contents(path).length;
    const turnBytes = rig.log.endLsn - rig.log.safeLsn;
    for (let cut = 0; cut <= turnBytes; cut += 24) {
      const disk = rig.disk.image(new Random(1), "kill");
      disk.shrink(path, size - cut);
      const found = await rig.openImage(disk);
      const { subscriptions } = found.recovered.sessions.get(session)!;
      assert.equal(subscriptions.size, cut === 0 ? FILTERS.length : 0, `${cut} bytes are missing`);
      found.abandon();
    }
  },
);

storeTest("atomicity: a message and who is owed it are found together", {}, async (rig) => {
  const broker = new ModelBroker(rig);
  const sessions = [broker.open(), broker.open(), broker.open()];
  await broker.settle();
  rig.disk.holdSyncs("all");
  const position = broker.publish(sessions, 2_000);
  broker.commit();
  for (let seed = 1; seed <= 20; seed++) {
    const found = await rig.openImage(rig.disk.image(new Random(seed), "power"));
    const owedTo = sessions.filter((session) => {
      return found.recovered.owed.get(session)?.some((owed) => owed.position === position);
    });
    assert([0, sessions.length].includes(owedTo.length));
    found.abandon();
  }
});

storeTest("consistency: whatever is found after a power cut fits together", {
  segmentBytes: 1_000,
  compaction: { maxWalBytes: 3_000, batchSize: 4 },
}, async (rig) => {
  const random = new Random(7);
  let now = rig;
  const broker = new ModelBroker(rig);
  const sessions: number[] = [];
  for (let life = 0; life < 8; life++) {
    for (let turn = 0; turn < 25; turn++) {
      if (sessions.length < 3) sessions.push(broker.open(`filter ${turn}`));
      const session = random.pick(sessions);
      broker.publish(sessions.filter(() => random.oneIn(2)), 20 + random.below(300));
      if (random.oneIn(2)) broker.send(session);
      if (random.oneIn(4)) broker.receive(session);
      if (random.oneIn(3)) broker.finish(session);
      if (random.oneIn(4)) broker.retain(`topic ${random.below(3)}`, random.oneIn(3) ? undefined : "value");
      if (random.oneIn(20)) broker.end(sessions.splice(sessions.indexOf(session), 1)[0]!);
      await broker.settle();
      if (random.oneIn(6)) now.pass();
    }
    broker.checkReads();
    broker.publish(sessions);
    const { safeLsn } = now;
    now = await now.crash("power", life + 1);
    broker.check(now, safeLsn);
    broker.resume(now);
    assert.deepEqual(now.opened.report.losses, []);
    assert.deepEqual(now.opened.report.shortfall, { sessions: 0, owed: 0, retained: 0 });
  }
});

storeTest("isolation: a damaged block costs only itself, and is told", { onCorruption: "quarantine" }, async (rig) => {
  const positions: number[] = [];
  for (let count = 0; count < 20; count++) {
    positions.push(
      rig.store.append(messageOf({ topic: `topic/${count}`, payload: `${count}`, retain: true }), 0, 0, 0),
    );
    rig.store.commit();
    await rig.advance();
  }
  const [segment] = rig.log.segments;
  for (const hit of [0, 7, 18]) {
    const disk = rig.disk.image(new Random(1), "kill");
    disk.flipByte(segment!.path, positions[hit]! - segment!.firstLsn + SEGMENT_HEADER_BYTES + 45);
    const found = await rig.openImage(disk);
    const { losses } = found.opened.report;
    assert.equal(losses.length, 1);
    assert.equal(losses[0]!.firstLsn, positions[hit]! - BLOCK_HEADER_BYTES);
    assert.equal(losses[0]!.endLsn, positions[hit + 1]! - BLOCK_HEADER_BYTES);
    positions.forEach((position, index) => {
      if (index === hit) assert.equal(found.recovered.retained.get(`topic/${index}`), undefined);
      else assert.equal(payloadAt(found.store, position), `${index}`);
    });
    assert(found.disk.list(WAL).some((name) => name.endsWith(".quarantine")));
    found.abandon();
  }
});

storeTest("durability: what was committed is there after any number of power cuts", {
  segmentBytes: 800,
  compaction: { maxWalBytes: 2_000 },
}, async (rig) => {
  const broker = new ModelBroker(rig);
  const session = broker.open("for ever");
  broker.retain("topic", "for ever");
  let now = rig;
  for (let life = 0; life < 10; life++) {
    broker.publish([session], 300);
    await broker.settle();
    now.pass();
    now = await now.crash("power", life + 1);
    broker.check(now, Infinity);
    broker.resume(now);
  }
  assert.equal(broker.owedTo(session).length, 10);
  broker.checkReads();
});
