/**
 * What a start makes of the log: each rule of `queue_replay.ts` and `recovery.ts` shown on a log of a few records.
 */
import assert from "node:assert/strict";
import { Message } from "../../../src/protocol/message.ts";
import type { LoadedCheckpoint } from "../../../src/storage/checkpoint/checkpoint_rows.ts";
import { LogBuffer } from "../../../src/storage/log/log_buffer.ts";
import { readMessage, RecordType } from "../../../src/storage/log/record.ts";
import { FIRST_LSN, SEGMENT_HEADER_BYTES, segmentName } from "../../../src/storage/log/segment.ts";
import { emptyState, type OwedMessage, sessionOf } from "../../../src/storage/model/durable_state.ts";
import { StorageFailed } from "../../../src/storage/model/errors.ts";
import { examine, recover, type Recovered, type RecoveryOptions } from "../../../src/storage/recovery/recovery.ts";
import { syncRepairs } from "../../../src/storage/recovery/repairs.ts";
import { FaultyDisk } from "../disk/faulty_disk.ts";
import { CREATED_MS, loadedCheckpoint, LogWriter, receiver, subscription } from "../log/log_writer.ts";

const WAL = "/wal";
const QUARANTINE: RecoveryOptions = { validation: "records", onCorruption: "quarantine" };

function diskWith(log: LogWriter): FaultyDisk {
  const disk = new FaultyDisk();
  disk.makeDirectory(WAL);
  log.save(disk, WAL);
  disk.settle();
  return disk;
}

/** Recovers a log without damage. */
function recovered(log: LogWriter, loaded: LoadedCheckpoint = loadedCheckpoint()): Recovered {
  const result = recover(diskWith(log), WAL, loaded, { validation: "records", onCorruption: "refuse" });
  assert.equal(result.report.tornBytes, 0);
  assert.deepEqual(result.report.losses, []);
  return result;
}

/** What a Session is owed, each as `position:flags`, with `#packetId` when sent and `!` when received. */
function owedTo(result: Recovered, session: number): string[] {
  return (result.state.owed.get(session) ?? []).map(textOf);
}

function textOf(owed: OwedMessage): string {
  const sent = owed.packetId === 0 ? "" : `#${owed.packetId}`;
  return `${owed.position}:${owed.flags}${sent}${owed.isReceived ? "!" : ""}`;
}

/** A log with open Sessions 1 to `sessions`. */
function logWithSessions(sessions: number): LogWriter {
  const log = new LogWriter();
  for (let session = 1; session <= sessions; session++) log.open(session);
  return log;
}

/** A database that holds archived QoS 2 messages of 7 bytes at the positions, and open Sessions 1 to `sessions`. */
function archive(appliedLsn: number, positions: readonly number[], sessions: number): LoadedCheckpoint {
  const state = emptyState();
  for (let session = 1; session <= sessions; session++) {
    const known = sessionOf(state, session);
    known.opened = { kind: "open", session, clientId: `client-${session}`, sessionExpiryInterval: 60 };
    known.offlineAtMs = null;
  }
  const sizes = new Float64Array(positions.length).fill(7);
  return loadedCheckpoint({
    state,
    appliedLsn,
    nextSession: sessions + 1,
    messages: { positions: Float64Array.from(positions), sizes, flags: new Uint8Array(positions.length).fill(2) },
  });
}

function owed(position: number, more: Partial<OwedMessage> = {}): OwedMessage {
  return { position, size: 7, flags: 1, identifiers: [], packetId: 0, isReceived: false, group: undefined, ...more };
}

Deno.test("recover of an empty directory and database is a new store", () => {
  const result = recovered(new LogWriter());
  assert.equal(result.endLsn, FIRST_LSN);
  assert.equal(result.nextSession, 1);
  assert.deepEqual(result.segments, []);
  assert.equal(result.state.sessions.size, 0);
});

Deno.test("recover reports what it read and where the log goes on", () => {
  const log = logWithSessions(2).block();
  log.publish({ topic: "a" });
  log.segment().publish({ topic: "b" });
  const result = recovered(log);
  const [first, second] = log.segments;
  assert.equal(result.endLsn, second!.endLsn);
  assert.deepEqual(result.segments, [
    {
      firstLsn: FIRST_LSN,
      endLsn: first!.endLsn,
      path: `${WAL}/${first!.name}`,
      fileBytes: first!.bytes.length,
      createdMs: CREATED_MS,
      lastWrittenMs: CREATED_MS + 1000,
      records: 3,
      isContinuation: false,
      damage: [],
    },
    {
      firstLsn: first!.endLsn,
      endLsn: second!.endLsn,
      path: `${WAL}/${second!.name}`,
      fileBytes: second!.bytes.length,
      createdMs: CREATED_MS,
      lastWrittenMs: CREATED_MS + 2000,
      records: 1,
      isContinuation: false,
      damage: [],
    },
  ]);
  const { segments, blocks, records, messages, bytes, shortfall } = result.report;
  assert.deepEqual({ segments, blocks, records, messages }, { segments: 2, blocks: 3, records: 4, messages: 2 });
  assert.equal(bytes, result.endLsn - FIRST_LSN);
  assert.deepEqual(shortfall, { sessions: 0, owed: 0, retained: 0 });
});

Deno.test("recover passes over files that are not named like segments", () => {
  const log = logWithSessions(1);
  const disk = diskWith(log);
  disk.put(`${WAL}/notes.txt`, Uint8Array.of(1));
  disk.put(`${WAL}/0000000000000041.wal`, Uint8Array.of(1));
  const result = recover(disk, WAL, loadedCheckpoint(), { validation: "records", onCorruption: "refuse" });
  assert.equal(result.segments.length, 1);
});

Deno.test("a message is owed at the lower QoS, with RETAIN only as published", () => {
  const log = logWithSessions(4);
  const route = log.route([
    receiver(1, { qos: 2, retainAsPublished: true, identifiers: [7, 9] }),
    receiver(2),
    receiver(3, { qos: 0 }),
  ]);
  const retained = log.publish({ topic: "t", qos: 2, retain: true, payload: "12", properties: [1, 2, 3], route });
  const plain = log.publish({ topic: "t", qos: 1, route });
  log.publish({ topic: "t", qos: 0, route });
  const result = recovered(log);
  assert.deepEqual(owedTo(result, 1), [`${retained}:6`, `${plain}:1`]);
  assert.deepEqual(owedTo(result, 2), [`${retained}:1`, `${plain}:1`]);
  assert.deepEqual([owedTo(result, 3), owedTo(result, 4)], [[], []]);
  assert.deepEqual(result.state.owed.get(1)![0]!.identifiers, [7, 9]);
  assert.equal(result.state.owed.get(1)![0]!.size, 3 + 3 + 2);
});

Deno.test("a Session gets of its own messages what No Local leaves", () => {
  const log = logWithSessions(3);
  const route = log.route([
    receiver(1, { local: null }),
    receiver(2, { qos: 2, local: { qos: 1, retainAsPublished: true, identifiers: [3] } }),
    receiver(3),
  ]);
  const positions = [1, 2, 3].map((publisher) => log.publish({ topic: "t", qos: 2, retain: true, publisher, route }));
  const result = recovered(log);
  assert.deepEqual(owedTo(result, 1), [`${positions[1]}:1`, `${positions[2]}:1`]);
  assert.deepEqual(owedTo(result, 2), [`${positions[0]}:2`, `${positions[1]}:5`, `${positions[2]}:2`]);
  assert.deepEqual(result.state.owed.get(2)!.map(({ identifiers }) => identifiers), [[], [3], []]);
  assert.equal(owedTo(result, 3).length, 3);
});

Deno.test("progress marks, receives and removes in any order, and again", () => {
  const log = logWithSessions(2);
  const route = log.route([receiver(1, { qos: 2 })]);
  const positions = Array.from({ length: 6 }, () => log.publish({ topic: "t", qos: 2, route }));
  const [a, b, c, d, e, f] = positions as [number, number, number, number, number, number];
  for (let again = 0; again < 2; again++) {
    log.sent(1, c, 3);
    log.sent(1, a, 1);
    log.sent(1, b, 2);
    log.sent(1, e, 5);
    log.received(1, a, 1);
    log.done(1, c, 3);
    log.done(1, f, 0);
    log.done(2, d, 4);
    log.sent(9, d, 4);
    log.done(1, d + 8, 4);
  }
  assert.deepEqual(owedTo(recovered(log), 1), [`${a}:2#1!`, `${b}:2#2`, `${e}:2#5`, `${d}:2`]);
});

Deno.test("progress finds every one of many messages, completed in any order", () => {
  const log = logWithSessions(1);
  const route = log.route([receiver(1)]);
  const count = 8000;
  const positions = Array.from({ length: count }, () => log.publish({ topic: "t", route }));
  const kept = new Set<number>();
  positions.forEach((_, index) => {
    // A prime step visits all of them.
    const position = positions[(index * 7919) % count]!;
    log.sent(1, position, index + 1);
    if (index % 10 === 0) kept.add(position);
    else log.done(1, position, index + 1);
  });
  const result = recovered(log);
  assert.deepEqual(new Set(result.state.owed.get(1)!.map(({ position }) => position)), kept);
  const ids = result.state.owed.get(1)!.map(({ packetId }) => packetId);
  assert.deepEqual(ids, [...ids].sort((a, b) => a - b));
});

Deno.test("an inbound Packet Identifier is open from PUBLISH to RELEASE", () => {
  const log = logWithSessions(2);
  log.publish({ topic: "t", qos: 2, publisher: 1, packetId: 5 });
  log.publish({ topic: "t", qos: 2, publisher: 1, packetId: 6 });
  log.publish({ topic: "t", qos: 2, publisher: 0, packetId: 7 });
  log.publish({ topic: "t", qos: 2, publisher: 2, packetId: 5 });
  log.release(1, 5);
  log.release(2, 9);
  const { sessions } = recovered(log).state;
  assert.deepEqual([...sessions.get(1)!.inboundPacketIds], [[6, true]]);
  assert.deepEqual([...sessions.get(2)!.inboundPacketIds], [[5, true]]);
});

Deno.test("the last Retained Message of a topic counts, and an empty one removes it", () => {
  const log = new LogWriter();
  log.publish({ topic: "a", retain: true });
  log.publish({ topic: "ü/b", qos: 0, retain: true });
  log.publish({ topic: "c", retain: true });
  const later = log.publish({ topic: "ü/b", retain: true, expiresAtMs: 1 });
  const other = log.publish({ topic: "a", retain: true });
  log.publish({ topic: "a" });
  log.publish({ topic: "c", retain: true, payload: "" });
  assert.deepEqual([...recovered(log).state.retained], [["a", other], ["ü/b", later]]);
});

Deno.test("Session changes leave the state they describe, without marks of what is gone", () => {
  const log = logWithSessions(3);
  log.subscribe(1, "a/+", { qos: 2, noLocal: true, subscriptionIdentifier: 4 });
  log.subscribe(1, "b");
  log.change({ kind: "unsubscribe", session: 1, filter: "b" });
  log.change({ kind: "offline", session: 1, atMs: 123 });
  log.change({ kind: "open", session: 2, clientId: "client-2", sessionExpiryInterval: 5, username: "u" });
  log.subscribe(3, "c");
  log.publish({ topic: "t", qos: 2, publisher: 3, packetId: 1 });
  log.change({ kind: "end", session: 3 });
  const will = { topic: "w", qos: 1, retain: false, payload: "", properties: "", willDelayInterval: 9 } as const;
  log.change({ kind: "will", clientId: "client-1", will });
  log.change({ kind: "will", clientId: "client-2", will });
  log.change({ kind: "will-delayed", clientId: "client-2", will, dueMs: 99 });
  log.change({ kind: "will", clientId: "x", will });
  log.change({ kind: "will-over", clientId: "x" });
  const { sessions, wills } = recovered(log).state;
  assert.deepEqual([...sessions.keys()], [1, 2]);
  assert.deepEqual(sessions.get(1), {
    opened: { kind: "open", session: 1, clientId: "client-1", sessionExpiryInterval: 3600 },
    isEnded: false,
    offlineAtMs: 123,
    subscriptions: new Map([["a/+", subscription("a/+", { qos: 2, noLocal: true, subscriptionIdentifier: 4 })]]),
    inboundPacketIds: new Map(),
  });
  assert.equal(sessions.get(2)!.opened!.username, "u");
  assert.equal(sessions.get(2)!.offlineAtMs, null);
  assert.deepEqual([...wills], [["client-1", { will, dueMs: undefined }], ["client-2", { will, dueMs: 99 }]]);
});

Deno.test("a Session that ends is owed nothing, whatever was and will be routed to it", () => {
  const log = logWithSessions(2);
  const route = log.route([receiver(1), receiver(2)]);
  log.publish({ topic: "t", route });
  log.change({ kind: "end", session: 1 });
  log.publish({ topic: "t", route });
  const result = recovered(log);
  assert.deepEqual([...result.state.owed.keys()], [2]);
  assert.equal(result.nextSession, 3);
});

Deno.test("nextSession is above every number that anything names", () => {
  const next = (write: (log: LogWriter) => void, loaded = loadedCheckpoint()) => {
    const log = new LogWriter();
    write(log);
    const disk = diskWith(log);
    return recover(disk, WAL, loaded, QUARANTINE).nextSession;
  };
  assert.equal(next((log) => log.open(41)), 42);
  assert.equal(next((log) => log.publish({ topic: "t", publisher: 42 })), 43);
  assert.equal(next((log) => log.sent(43, 100, 1)), 44);
  assert.equal(next((log) => log.done(44, 100, 1, 1)), 45);
  assert.equal(next((log) => log.release(45, 1)), 46);
  assert.equal(next((log) => log.publish({ topic: "t", route: log.route([receiver(46)]) })), 47);
  assert.equal(next((log) => log.open(3), loadedCheckpoint({ nextSession: 99 })), 99);
});

Deno.test("a Retained Message owed by itself takes its turn, and two of the same are told apart", () => {
  const log = logWithSessions(1);
  const retained = log.publish({ topic: "r", retain: true, payload: "123" });
  const route = log.route([receiver(1, { qos: 2 })]);
  const routed = log.publish({ topic: "t", qos: 2, route });
  const owe = (flags: number) =>
    log.change({ kind: "owe", session: 1, position: retained, flags, identifiers: [flags] });
  owe(5);
  log.sent(1, retained, 8);
  owe(6);
  owe(4);
  log.sent(1, retained, 9);
  log.done(1, retained, 8);
  const result = recovered(log);
  assert.deepEqual(owedTo(result, 1), [`${retained}:6#9`, `${routed}:2`, `${retained}:4`]);
  assert.deepEqual(result.state.owed.get(1)!.map(({ size }) => size), [3 + 3, 3 + 5, 3 + 3]);
});

Deno.test("a message that is not stored is not owed, unless only PUBREL is left to send", () => {
  const log = logWithSessions(2);
  for (const session of [1, 2]) log.change({ kind: "owe", session, position: 72, flags: 6, identifiers: [] });
  log.sent(1, 72, 3);
  log.sent(2, 72, 4);
  log.received(2, 72, 4);
  const result = recovered(log);
  assert.deepEqual(owedTo(result, 1), []);
  assert.deepEqual(owedTo(result, 2), ["72:6#4!"]);
  assert.deepEqual(result.report.shortfall, { sessions: 0, owed: 1, retained: 0 });
});

Deno.test("a group is owed messages only while a recorded Session subscribes to it", () => {
  const log = logWithSessions(2);
  const route = log.route([], [{ name: "g", filter: "t" }, { name: "h", filter: "t" }]);
  log.publish({ topic: "t", route });
  log.subscribe(1, "$share/g/t");
  log.publish({ topic: "t", route });
  log.change({ kind: "unsubscribe", session: 1, filter: "$share/g/t" });
  log.publish({ topic: "t", route });
  log.subscribe(2, "$share/g/t");
  log.subscribe(1, "$share/h/t");
  const kept = log.publish({ topic: "t", route });
  log.change({ kind: "end", session: 1 });
  log.subscribe(1, "$share/h/t");
  log.publish({ topic: "t", route: log.route([], [{ name: "h", filter: "t" }]) });
  const result = recovered(log);
  assert.deepEqual(result.state.groupBacklog, [{ position: kept, group: { ordinal: 1, name: "g", filter: "t" } }]);
  assert.equal(result.state.owed.size, 0);
});

Deno.test("a message of a group goes to whoever was sent it last, as that member was granted", () => {
  const log = logWithSessions(2);
  log.subscribe(1, "$share/g/t", { qos: 2, retainAsPublished: true, subscriptionIdentifier: 6 });
  log.subscribe(2, "$share/g/t");
  const route = log.route([], [{ name: "x", filter: "#" }, { name: "g", filter: "t" }]);
  const [a, b, c, d, e] = Array.from({ length: 5 }, () => log.publish({ topic: "t", qos: 2, retain: true, route }));
  log.sent(1, a!, 1, 2);
  log.sent(1, b!, 2, 2);
  log.sent(2, b!, 1, 2);
  log.sent(0, c!, 77, 2);
  log.sent(1, d!, 3, 2);
  log.sent(0, d!, 78, 2);
  log.sent(1, e!, 4, 2);
  log.received(1, e!, 4, 2);
  log.sent(1, a!, 1, 1);
  const result = recovered(log);
  assert.deepEqual(owedTo(result, 1), [`${a}:6#1`, `${e}:6#4!`]);
  assert.deepEqual(owedTo(result, 2), [`${b}:1#1`]);
  assert.deepEqual(result.state.owed.get(1)![0]!.identifiers, [6]);
  assert.deepEqual(result.state.owed.get(1)![0]!.group, { ordinal: 2, name: "g", filter: "t" });
  assert.deepEqual(result.state.groupBacklog.map(({ position }) => position), [c, d]);
});

Deno.test("a message of a group is done whoever holds it", () => {
  const log = logWithSessions(1);
  log.subscribe(1, "$share/g/t");
  const route = log.route([receiver(1)], [{ name: "g", filter: "t" }]);
  const [a, b] = Array.from({ length: 2 }, () => log.publish({ topic: "t", route }));
  log.done(0, a!, 9, 1);
  log.sent(1, b!, 1, 1);
  log.done(1, b!, 1, 1);
  const result = recovered(log);
  assert.deepEqual(result.state.groupBacklog, []);
  assert.deepEqual(owedTo(result, 1), [`${a}:1`, `${b}:1`]);
});

Deno.test("a Session that ends leaves to its group what it did not acknowledge at QoS 1 [MQTT-4.8.2-5]", () => {
  const log = logWithSessions(2);
  log.subscribe(1, "$share/g/t", { qos: 2 });
  log.subscribe(2, "$share/g/t");
  const route = log.route([], [{ name: "g", filter: "t" }]);
  const once = log.publish({ topic: "t", qos: 1, route });
  const twice = log.publish({ topic: "t", qos: 2, route });
  log.sent(1, once, 1, 1);
  log.sent(1, twice, 2, 1);
  log.change({ kind: "end", session: 1 });
  const result = recovered(log);
  assert.deepEqual(result.state.groupBacklog.map(({ position }) => position), [once]);
  assert.equal(result.state.owed.size, 0);
});

Deno.test("a Packet Identifier that was used again frees the message it was used for before", () => {
  const log = logWithSessions(1);
  log.subscribe(1, "$share/g/t");
  const route = log.route([receiver(1)], [{ name: "g", filter: "t" }]);
  const [a, b] = Array.from({ length: 2 }, () => log.publish({ topic: "t", route }));
  log.sent(1, a!, 1);
  log.sent(1, a!, 2, 1);
  // The first went elsewhere without a record, the second was handed on to somebody who was not sent it yet.
  log.sent(1, b!, 1);
  log.sent(1, b!, 2, 1);
  const result = recovered(log);
  assert.deepEqual(owedTo(result, 1), [`${b}:1#1`, `${b}:1#2`]);
  assert.deepEqual(result.state.groupBacklog.map(({ position }) => position), [a]);
});

Deno.test("records below the applied LSN are passed over, but for routes", () => {
  const log = logWithSessions(1);
  const route = log.route([receiver(1)]);
  log.publish({ topic: "t", route, retain: true });
  const appliedLsn = log.endLsn;
  const position = log.publish({ topic: "t", route });
  const loaded = archive(appliedLsn, [], 1);
  const result = recovered(log, loaded);
  assert.deepEqual(owedTo(result, 1), [`${position}:1`]);
  assert.equal(result.state.retained.size, 0);
  assert.equal(result.report.messages, 1);
});

Deno.test("segments that the database knows all of are removed", () => {
  const log = logWithSessions(1).segment();
  log.publish({ topic: "a" });
  log.segment().publish({ topic: "b" });
  const disk = diskWith(log);
  const [first, second, third] = log.segments;
  const loaded = archive(second!.firstLsn, [], 1);
  const result = recover(disk, WAL, loaded, { validation: "records", onCorruption: "refuse" });
  assert.deepEqual(disk.list(WAL), [second!.name, third!.name]);
  assert.deepEqual(result.repairs, [{ kind: "remove", path: `${WAL}/${first!.name}` }]);
  assert.deepEqual(result.segments.map(({ firstLsn }) => firstLsn), [second!.firstLsn, third!.firstLsn]);
});

Deno.test("the latest time is that of the last block, also when the database knows all of it", () => {
  const log = logWithSessions(1);
  log.block().publish({ topic: "a" });
  log.block().segment();
  const lastMs = CREATED_MS + 1000;
  assert.equal(recovered(log).latestMs, lastMs);
  assert.equal(recovered(log, archive(log.segments[0]!.endLsn, [], 1)).latestMs, lastMs);
});

Deno.test("the latest time is that of a segment without blocks, when everything else is in the database", () => {
  const log = new LogWriter().segment();
  assert.equal(recovered(log).latestMs, CREATED_MS);
  assert.equal(recovered(new LogWriter()).latestMs, 0);
});

Deno.test("archived messages go on where the log says, and leftovers of a move are ignored", () => {
  const log = new LogWriter(4096);
  log.sent(1, 100, 4);
  log.done(1, 200, 0);
  log.done(1, 208, 0);
  log.sent(2, 300, 8, 1);
  log.publish({ topic: "t" });
  const group = { ordinal: 1, name: "g", filter: "t" };
  const loaded = archive(4096, [100, 200, 208, 300, 304, 5000], 2);
  for (const session of [1, 2]) {
    loaded.state.sessions.get(session)!.subscriptions.set("$share/g/t", subscription("$share/g/t", { qos: 2 }));
  }
  // Rows are in the order in which they were added.
  loaded.owed.set(1, [owed(200), owed(100), owed(208), owed(72), owed(5000), owed(300, { packetId: 3, group })]);
  loaded.groupBacklog.push({ position: 304, group }, { position: 5000, group }, { position: 80, group });
  loaded.state.retained.set("kept", 208);
  loaded.state.retained.set("gone", 88);
  const result = recovered(log, loaded);
  assert.deepEqual(owedTo(result, 1), ["100:1#4"]);
  assert.deepEqual(owedTo(result, 2), ["300:2#8"]);
  assert.deepEqual(result.state.groupBacklog, [{ position: 304, group }]);
  assert.deepEqual([...result.state.retained], [["kept", 208]]);
  assert.deepEqual(result.report.shortfall, { sessions: 0, owed: 2, retained: 1 });
});

Deno.test("a member of a group gets of an archived message what it is granted, and no more than was published", () => {
  const log = new LogWriter(4096);
  for (const position of [100, 104, 108]) log.sent(1, position, position, 1);
  const group = { ordinal: 1, name: "g", filter: "t" };
  const loaded = archive(4096, [100, 104, 108], 2);
  loaded.messages.flags.set([1, 6, 2]);
  const all = subscription("$share/g/t", { qos: 2, retainAsPublished: true });
  loaded.state.sessions.get(1)!.subscriptions.set("$share/g/t", all);
  loaded.groupBacklog.push({ position: 100, group }, { position: 104, group });
  // The other member is granted less.
  loaded.owed.set(2, [owed(108, { packetId: 3, group })]);
  const result = recovered(log, loaded);
  assert.deepEqual(owedTo(result, 1), ["100:1#100", "104:6#104", "108:2#108"]);
  assert.deepEqual(owedTo(result, 2), []);
});

Deno.test("a record of one delivery is not applied to another one of the same message to the same Session", () => {
  const log = new LogWriter(4096);
  const loaded = archive(4096, [100, 104, 108], 1);
  // The database is ahead: what the log says of Packet Identifier 9 was another delivery, and is over.
  loaded.owed.set(1, [owed(100, { packetId: 5 }), owed(104, { packetId: 6, flags: 2 }), owed(108, { packetId: 7 })]);
  log.sent(1, 100, 9);
  log.done(1, 100, 9);
  log.received(1, 104, 9);
  log.done(1, 108, 0);
  const position = log.publish({ topic: "t", retain: true, route: log.route([receiver(1)]) });
  log.change({ kind: "owe", session: 1, position, flags: 5, identifiers: [] });
  log.sent(1, position, 10);
  log.sent(1, position, 11);
  log.done(1, position, 10);
  log.done(1, position, 10);
  assert.deepEqual(owedTo(recovered(log, loaded), 1), ["100:1#5", "104:2#6", "108:1#7", `${position}:5#11`]);
});

Deno.test("what a Session that is not recorded received of a group nobody else gets, whoever held it before", () => {
  const log = logWithSessions(2);
  for (const session of [1, 2]) log.subscribe(session, "$share/g/t", { qos: 2 });
  const route = log.route([], [{ name: "g", filter: "t" }]);
  const [a, b, c, d] = Array.from({ length: 4 }, () => log.publish({ topic: "t", qos: 2, route }));
  log.received(0, a!, 0, 1);
  log.sent(1, b!, 5, 1);
  log.received(0, b!, 0, 1);
  // Handed back, and waiting in the queue of a member.
  log.sent(1, c!, 6, 1);
  log.sent(0, c!, 0, 1);
  log.sent(0, d!, 7, 1);
  log.sent(2, d!, 0, 1);
  const result = recovered(log);
  assert.deepEqual(owedTo(result, 1), []);
  assert.deepEqual(owedTo(result, 2), [`${d}:2`]);
  assert.deepEqual(result.state.groupBacklog.map(({ position }) => position), [c]);
});

Deno.test("a Retained Message that was moved while it was owed is owed once", () => {
  const log = new LogWriter(4096);
  log.change({ kind: "owe", session: 1, position: 100, flags: 5, identifiers: [] });
  log.sent(1, 100, 4);
  const loaded = archive(4096, [100], 1);
  loaded.owed.set(1, [owed(100, { flags: 5, packetId: 4 })]);
  assert.deepEqual(owedTo(recovered(log, loaded), 1), ["100:5#4"]);
});

Deno.test("a Session whose opening is lost is not there, and of two for one client the younger is", () => {
  const log = new LogWriter();
  log.open(1, "same");
  log.open(3, "same");
  log.subscribe(2, "t");
  const route = log.route([receiver(1), receiver(2), receiver(3)]);
  log.publish({ topic: "t", route });
  const result = recovered(log);
  assert.deepEqual([...result.state.sessions.keys()], [3]);
  assert.deepEqual([...result.state.owed.keys()], [3]);
  assert.equal(result.report.shortfall.sessions, 2);
});

Deno.test("a message whose route is lost is owed to nobody, and reported", () => {
  const log = logWithSessions(1);
  const first = log.publish({ topic: "t", route: 72 });
  const last = log.publish({ topic: "t", route: 72 });
  const disk = diskWith(log);
  const { report, state } = recover(disk, WAL, loadedCheckpoint(), QUARANTINE);
  assert.equal(state.owed.size, 0);
  assert.equal(report.losses.length, 1);
  const loss = report.losses[0]!;
  assert.equal(loss.firstLsn, first);
  assert.equal(loss.records, 2);
  assert.ok(loss.endLsn > last && loss.reason.includes("72"));
  assert.throws(
    () => recover(disk, WAL, loadedCheckpoint(), { validation: "records", onCorruption: "refuse" }),
    (error) => error instanceof StorageFailed && error.reason === "corrupt",
  );
});

Deno.test("a text that makes no sense is reported and passed over", () => {
  const texts: [number, string][] = [
    [RecordType.CHANGE, ""],
    [RecordType.CHANGE, "null"],
    [RecordType.CHANGE, "{"],
    [RecordType.CHANGE, '{"kind":"subscribe","session":1}'],
    [RecordType.CHANGE, '{"kind":"end","session":-1}'],
    [RecordType.CHANGE, '{"kind":"open","session":1.5,"clientId":"c","sessionExpiryInterval":1}'],
    [RecordType.CHANGE, '{"kind":"strange"}'],
    [RecordType.CHANGE, '{"kind":"will","clientId":"c","will":[]}'],
    [RecordType.ROUTE, "[]"],
    [RecordType.ROUTE, '{"receivers":[null],"groups":[]}'],
    [RecordType.ROUTE, '{"receivers":[{"session":1,"qos":1,"identifiers":[],"local":3}],"groups":[]}'],
    [RecordType.ROUTE, '{"receivers":[],"groups":[{}]}'],
  ];
  for (const [type, text] of texts) {
    const log = logWithSessions(1);
    const lsn = log.text(type, text);
    const kept = log.publish({ topic: "t", retain: true });
    const { report, state } = recover(diskWith(log), WAL, loadedCheckpoint(), QUARANTINE);
    assert.deepEqual(report.losses.map(({ firstLsn }) => firstLsn), [lsn], text);
    assert.deepEqual([...state.retained.values()], [kept], text);
    assert.deepEqual([...state.sessions.keys()], [1], text);
  }
});

Deno.test("with checksums alone, what follows an impossible record is passed over to the end of its block", () => {
  const log = new LogWriter();
  log.publish({ topic: "a", retain: true });
  const lsn = log.raw(Uint8Array.of(16, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  log.publish({ topic: "b", retain: true });
  log.block().publish({ topic: "c", retain: true });
  const disk = diskWith(log);
  const checksum = recover(disk, WAL, loadedCheckpoint(), { validation: "checksum", onCorruption: "quarantine" });
  assert.deepEqual([...checksum.state.retained.keys()], ["a", "c"]);
  assert.deepEqual(checksum.report.losses.map(({ firstLsn }) => firstLsn), [lsn]);
  const records = recover(disk, WAL, loadedCheckpoint(), QUARANTINE);
  assert.deepEqual([...records.state.retained.keys()], ["c"]);
  assert.deepEqual(records.report.losses.map(({ isKnown }) => isKnown), [true]);
});

Deno.test("a torn tail is cut off, kept aside and no loss", async () => {
  const log = logWithSessions(1).block();
  const endLsn = log.endLsn;
  log.publish({ topic: "t" });
  const disk = diskWith(log);
  const { name, bytes } = log.segments[0]!;
  const path = `${WAL}/${name}`;
  const whole = endLsn - FIRST_LSN + SEGMENT_HEADER_BYTES;
  disk.shrink(path, bytes.length - 8);
  const result = recover(disk, WAL, loadedCheckpoint(), { validation: "records", onCorruption: "refuse" });
  assert.equal(result.endLsn, endLsn);
  assert.equal(result.report.tornBytes, bytes.length - 8 - whole);
  assert.deepEqual(result.report.losses, []);
  assert.deepEqual(disk.contents(path), bytes.slice(0, whole));
  assert.deepEqual(disk.contents(`${path}.broken`), bytes.slice(whole, bytes.length - 8));
  assert.equal(result.segments[0]!.fileBytes, whole);
  await syncRepairs(disk, WAL, result.repairs);
  assert.equal(disk.count("sync"), 1);
  assert.equal(disk.count("syncDirectory"), 1);
  const again = recover(disk, WAL, loadedCheckpoint(), { validation: "records", onCorruption: "refuse" });
  assert.equal(again.report.tornBytes, 0);
  assert.equal(again.endLsn, endLsn);
});

Deno.test("what a crash left of a new segment is moved aside, also again under the same name", () => {
  const log = logWithSessions(1).segment();
  const [first] = log.segments;
  const torn = segmentName(first!.endLsn);
  const disk = diskWith(log);
  for (const bytes of [new Uint8Array(0), Uint8Array.of(0x50, 0x52), new Uint8Array(300)]) {
    disk.put(`${WAL}/${torn}`, bytes);
    const result = recover(disk, WAL, loadedCheckpoint(), { validation: "records", onCorruption: "refuse" });
    assert.equal(result.endLsn, first!.endLsn);
    assert.equal(result.report.tornBytes, bytes.length);
    assert.equal(result.segments.length, 1);
  }
  assert.deepEqual(disk.list(WAL), [first!.name, `${torn}.broken`, `${torn}.broken.2`, `${torn}.broken.3`]);
});

Deno.test("a segment without blocks is left for the log that goes on there, and removed elsewhere", () => {
  const log = logWithSessions(1).segment();
  const [first] = log.segments;
  log.segment();
  const disk = diskWith(log);
  const refuse: RecoveryOptions = { validation: "records", onCorruption: "refuse" };
  const empty = `${WAL}/${segmentName(first!.endLsn)}`;
  assert.equal(recover(disk, WAL, loadedCheckpoint(), refuse).endLsn, first!.endLsn);
  assert.ok(disk.exists(empty));
  // Everything else was compacted: the log still goes on there.
  assert.equal(recover(disk, WAL, archive(first!.endLsn, [], 1), refuse).endLsn, first!.endLsn);
  assert.deepEqual(disk.list(WAL), [segmentName(first!.endLsn)]);
  // The database is ahead.
  assert.equal(recover(disk, WAL, archive(first!.endLsn + 800, [], 1), refuse).endLsn, first!.endLsn + 800);
  assert.deepEqual(disk.list(WAL), []);
});

Deno.test("a segment ends where the next one begins, and damage behind that is none", () => {
  const log = logWithSessions(1).block();
  const from = log.endLsn;
  const stale = log.publish({ topic: "stale", retain: true });
  log.segment();
  const disk = diskWith(log);
  const rewritten = new LogWriter(from);
  const position = rewritten.publish({ topic: "fresh", retain: true });
  rewritten.save(disk, WAL);
  const [old] = log.segments;
  const results = [0, 1].map((round) => {
    if (round === 1) disk.flipByte(`${WAL}/${old!.name}`, stale - FIRST_LSN + SEGMENT_HEADER_BYTES + 44);
    return recover(disk, WAL, loadedCheckpoint(), { validation: "records", onCorruption: "refuse" });
  });
  for (const result of results) {
    assert.deepEqual([...result.state.retained], [["fresh", position]]);
    assert.deepEqual(result.segments.map(({ endLsn }) => endLsn), [from, rewritten.endLsn]);
    assert.deepEqual([result.report.tornBytes, result.report.losses], [0, []]);
  }
});

Deno.test("an unknown version is refused before anything is changed", () => {
  const log = logWithSessions(1).segment();
  log.publish({ topic: "t" });
  const disk = diskWith(log);
  const [first, second] = log.segments;
  disk.shrink(`${WAL}/${second!.name}`, second!.bytes.length - 8);
  disk.flipByte(`${WAL}/${first!.name}`, 8, 0x06);
  const before = disk.list(WAL).map((name) => disk.contents(`${WAL}/${name}`));
  assert.throws(
    () => recover(disk, WAL, loadedCheckpoint(), QUARANTINE),
    (error) => error instanceof StorageFailed && error.reason === "format" && error.message.includes("version 7"),
  );
  assert.deepEqual(disk.list(WAL).map((name) => disk.contents(`${WAL}/${name}`)), before);
});

Deno.test("examine changes nothing and finds the same as recover", () => {
  const log = logWithSessions(1).block();
  log.publish({ topic: "t", retain: true });
  log.block().publish({ topic: "u", retain: true });
  log.block().publish({ topic: "v" });
  const disk = diskWith(log);
  const path = `${WAL}/${log.segments[0]!.name}`;
  disk.flipByte(path, log.segments[0]!.blocks[1]! - FIRST_LSN + SEGMENT_HEADER_BYTES + 40);
  disk.shrink(path, log.segments[0]!.bytes.length - 8);
  disk.isReadOnly = true;
  const examined = examine(disk, WAL, loadedCheckpoint(), QUARANTINE);
  disk.isReadOnly = false;
  assert.deepEqual(recover(disk, WAL, loadedCheckpoint(), QUARANTINE), examined);
  assert.deepEqual(examined.repairs.map(({ kind }) => kind), ["copy", "cut"]);
});

Deno.test("every position that is owed or retained has its message", () => {
  const log = logWithSessions(2);
  const route = log.route([receiver(1), receiver(2)]);
  const wanted = new Map<number, string>();
  for (let index = 0; index < 20; index++) {
    const position = log.publish({ topic: `t/${index}`, payload: `p${index}`, route, retain: index % 3 === 0 });
    wanted.set(position, `t/${index} p${index}`);
    if (index % 4 === 0) log.block();
    if (index % 7 === 0) log.segment();
  }
  const disk = diskWith(log);
  const result = recover(disk, WAL, loadedCheckpoint(), QUARANTINE);
  const message = new Message();
  const found = new Map<number, string>();
  for (const { position, size } of [...result.state.owed.values()].flat()) {
    const segment = result.segments.find(({ firstLsn, endLsn }) => firstLsn <= position && position < endLsn)!;
    const bytes = disk.contents(segment.path);
    const buffer = new LogBuffer((bytes.length + 7) & ~7);
    buffer.bytes.set(bytes);
    readMessage(buffer, position - segment.firstLsn + SEGMENT_HEADER_BYTES, message);
    const text = (start: number, end: number) => new TextDecoder().decode(buffer.bytes.subarray(start, end));
    found.set(
      position,
      `${text(message.topicStart + 2, message.topicEnd)} ${text(message.payloadStart, message.payloadEnd)}`,
    );
    assert.equal(size, message.payloadEnd - message.topicStart);
  }
  assert.deepEqual(found, wanted);
});

/** Blocks of one message each, none of which says that any of the others was synced; `|` begins a segment. */
function unsyncedLog(topics: string): LogWriter {
  const log = new LogWriter().synced(FIRST_LSN);
  for (const topic of topics) {
    if (topic === "|") log.segment();
    else {
      log.publish({ topic, retain: true });
      log.block();
    }
  }
  return log.segment();
}

/** Damages the last byte of the payload of a block's only message. */
function tear(disk: FaultyDisk, log: LogWriter, segment: number, block: number): void {
  const { name, firstLsn, blocks, endLsn } = log.segments[segment]!;
  const end = (blocks[block + 1] ?? endLsn) - firstLsn + SEGMENT_HEADER_BYTES;
  disk.zero(`${WAL}/${name}`, end - 16, end);
}

const REFUSE: RecoveryOptions = { validation: "records", onCorruption: "refuse" };

Deno.test("whole blocks behind one that was never synced are cut off with it", () => {
  const log = unsyncedLog("abcd");
  const disk = diskWith(log);
  const { name, bytes, blocks } = log.segments[0]!;
  tear(disk, log, 0, 1);
  const result = recover(disk, WAL, loadedCheckpoint(), REFUSE);
  assert.deepEqual([...result.state.retained.keys()], ["a"]);
  assert.equal(result.endLsn, blocks[1]);
  const whole = blocks[1]! - FIRST_LSN + SEGMENT_HEADER_BYTES;
  assert.deepEqual([result.report.losses, result.report.tornBytes], [[], bytes.length - whole]);
  assert.equal(disk.contents(`${WAL}/${name}`).length, whole);
  assert.deepEqual(disk.contents(`${WAL}/${name}.broken`).slice(-100), bytes.slice(-100));
});

Deno.test("segments behind damage that was never synced are moved aside, whatever is in them", () => {
  for (const block of [0, 1]) {
    const log = unsyncedLog("a|bc|d|e");
    const disk = diskWith(log);
    const [first, second, third, fourth] = log.segments;
    tear(disk, log, 1, block);
    disk.put(`${WAL}/${fourth!.name}`, new Uint8Array(90));
    const result = recover(disk, WAL, loadedCheckpoint(), REFUSE);
    assert.deepEqual([...result.state.retained.keys()], ["a", "b"].slice(0, 1 + block));
    assert.equal(result.endLsn, second!.blocks[block]);
    assert.deepEqual(result.report.losses, []);
    const kept = [first!.name, second!.name, `${second!.name}.broken`];
    assert.deepEqual(disk.list(WAL), [...kept, `${third!.name}.broken`, `${fourth!.name}.broken`]);
    assert.deepEqual(disk.contents(`${WAL}/${third!.name}.broken`), third!.bytes);
    // The log goes on, over the header that is left.
    const path = `${WAL}/${second!.name}`;
    assert.equal(result.segments.some((segment) => segment.path === path), block === 1);
    assert.deepEqual(recover(disk, WAL, loadedCheckpoint(), REFUSE).state.retained, result.state.retained);
  }
});

Deno.test("a gap that was never synced ends the log", () => {
  const log = unsyncedLog("a|b|c");
  const disk = diskWith(log);
  const [first, second, third] = log.segments;
  disk.remove(`${WAL}/${second!.name}`);
  const result = recover(disk, WAL, loadedCheckpoint(), REFUSE);
  assert.deepEqual([...result.state.retained.keys()], ["a"]);
  assert.equal(result.endLsn, first!.endLsn);
  assert.equal(result.report.tornBytes, third!.bytes.length);
  assert.deepEqual(disk.list(WAL), [first!.name, `${third!.name}.broken`]);
});

Deno.test("a header and a first block that were never synced end the log before their segment", () => {
  const log = unsyncedLog("a|bc");
  const disk = diskWith(log);
  const [first, second] = log.segments;
  disk.zero(`${WAL}/${second!.name}`, 0, SEGMENT_HEADER_BYTES + 8);
  const result = recover(disk, WAL, loadedCheckpoint(), REFUSE);
  assert.equal(result.endLsn, first!.endLsn);
  assert.deepEqual([result.report.losses, result.report.tornBytes], [[], second!.bytes.length]);
  assert.deepEqual(disk.list(WAL), [first!.name, `${second!.name}.broken`]);
});

Deno.test("one block anywhere that says damage was synced makes it corruption", () => {
  for (const proof of ["in the same segment", "in another segment"]) {
    const log = unsyncedLog(proof === "in the same segment" ? "abc" : "abc|d");
    log.synced(log.segments[0]!.blocks[2]).publish({ topic: "proof", retain: true });
    const end = log.segments.at(-1)!.endLsn;
    log.segment();
    const disk = diskWith(log);
    tear(disk, log, 0, 1);
    assert.throws(() => recover(disk, WAL, loadedCheckpoint(), REFUSE), StorageFailed, proof);
    const result = recover(disk, WAL, loadedCheckpoint(), QUARANTINE);
    const [, damaged, next] = log.segments[0]!.blocks;
    assert.deepEqual(result.report.losses.map(({ firstLsn, endLsn }) => [firstLsn, endLsn]), [[damaged, next]]);
    assert.ok(result.state.retained.has("proof") && result.endLsn > end);
    // What was synced and what was not: the next block may be torn.
    tear(disk, log, 0, 2);
    const { report, endLsn } = recover(disk, WAL, loadedCheckpoint(), QUARANTINE);
    assert.deepEqual(report.losses.map(({ isKnown }) => isKnown), [false], "the next block was whole before");
    assert.ok(endLsn > end);
  }
});

Deno.test("damage that was reported stays known when a torn block takes the proof of it along", () => {
  const log = unsyncedLog("ab");
  log.synced(undefined).publish({ topic: "c", retain: true });
  log.segment().synced(log.segments[1]!.blocks[0]).publish({ topic: "d", retain: true });
  log.block().publish({ topic: "e", retain: true });
  log.segment();
  const disk = diskWith(log);
  tear(disk, log, 0, 0);
  const before = recover(disk, WAL, loadedCheckpoint(), QUARANTINE);
  assert.deepEqual([...before.state.retained.keys()], ["b", "c", "d", "e"]);
  // The blocks of the second and the third segment are the proof.
  tear(disk, log, 1, 0);
  const { report, state, endLsn } = recover(disk, WAL, loadedCheckpoint(), QUARANTINE);
  assert.deepEqual(report.losses.map(({ isKnown }) => isKnown), [true]);
  assert.deepEqual([...state.retained.keys()], ["b"]);
  const again = recover(disk, WAL, loadedCheckpoint(), QUARANTINE);
  assert.deepEqual([...again.state.retained.keys()], ["b"]);
  assert.deepEqual([again.endLsn, again.report.tornBytes], [endLsn, 0]);
  assert.deepEqual(again.report.losses.map(({ isKnown }) => isKnown), [true]);
});

Deno.test("a block cannot know of what comes after it", () => {
  const log = unsyncedLog("a");
  log.synced(log.endLsn + 8).publish({ topic: "b", retain: true });
  const { report, state } = recover(diskWith(log), WAL, loadedCheckpoint(), REFUSE);
  assert.deepEqual([...state.retained.keys()], ["a"]);
  assert.ok(report.tornBytes > 0);
});

Deno.test("what the database holds counts as synced", () => {
  const log = unsyncedLog("ab|c");
  const disk = diskWith(log);
  const [first] = log.segments;
  tear(disk, log, 0, 0);
  // The damage is in the database, but for its last bytes.
  const loaded = archive(first!.blocks[1]! - 8, [], 1);
  assert.throws(() => recover(disk, WAL, loaded, REFUSE), StorageFailed);
  const { report, state } = recover(disk, WAL, archive(first!.blocks[1]!, [], 1), REFUSE);
  assert.deepEqual(report.losses, []);
  assert.deepEqual([...state.retained.keys()], ["b", "c"]);
});
