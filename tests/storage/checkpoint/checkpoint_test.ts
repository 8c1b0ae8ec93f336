/**
 * The SQLite side of the durable store, on a real file: what goes in comes back after reopening, doing a step again
 * changes nothing, settings take or are refused, and files that are not ours, too new or damaged are left alone.
 */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { Checkpoint } from "../../../src/storage/checkpoint/checkpoint.ts";
import type {
  ArchivedMessage,
  ArchivedProgress,
  LoadedCheckpoint,
  OwedRow,
} from "../../../src/storage/checkpoint/checkpoint_rows.ts";
import { isDeviceFailure, sqliteFailure } from "../../../src/storage/checkpoint/sqlite_failure.ts";
import type { SqliteSettings } from "../../../src/storage/checkpoint/sqlite_settings.ts";
import { ProgressKind } from "../../../src/storage/log/record.ts";
import { FIRST_LSN } from "../../../src/storage/log/segment.ts";
import {
  type DurableState,
  emptyState,
  type OwedMessage,
  sessionOf,
} from "../../../src/storage/model/durable_state.ts";
import { StorageFailed, type StorageReason } from "../../../src/storage/model/errors.ts";
import type { StoredSubscription, StoredWill } from "../../../src/storage/model/stored.ts";

const DEFAULTS: SqliteSettings = {
  cacheSize: 50_000,
  tempStore: "MEMORY",
  mmapSize: 268_435_456,
  busyTimeoutMs: 0,
  synchronous: "NORMAL",
  journalMode: "WAL",
  foreignKeys: true,
};
const JOURNAL_MODES = ["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "WAL", "OFF"] as const;
/** Above what fits 32 bits, and above 2^51. */
const FAR = 2 ** 52 + 8;

test("of a new file is empty and starts at the first LSN", ({ checkpoint }) => {
  const loaded = checkpoint.load();
  assert.deepEqual(loaded.state, emptyState());
  assert.equal(loaded.owed.size, 0);
  assert.deepEqual(loaded.groupBacklog, []);
  assert.equal(loaded.messages.positions.length, 0);
  assert.equal(loaded.messages.sizes.length, 0);
  assert.equal(loaded.appliedLsn, FIRST_LSN);
  assert.equal(loaded.nextSession, 1);
  assert.deepEqual(checkpoint.readMessages(0, 10, 1000), []);
  assert.deepEqual(checkpoint.weaknesses, []);
});

test("gives back a rich state after reopening", (subject) => {
  const { checkpoint } = subject;
  const state = richState();
  checkpoint.addMessages([message(96), message(FAR)], RICH_OWED);
  checkpoint.apply(state, [], FAR + 1000, 4_000_000_000);
  const loaded = subject.reopen().load();
  assert.deepEqual(loaded.state, state);
  assert.equal(loaded.appliedLsn, FAR + 1000);
  assert.equal(loaded.nextSession, 4_000_000_000);
  assert.deepEqual([...loaded.messages.positions], [96, FAR]);
  assert.deepEqual([...loaded.messages.sizes], [sizeOf(message(96)), sizeOf(message(FAR))]);
  assert.deepEqual(loaded.owed, new Map([[1, [RICH_OWED[0]!.owed, RICH_OWED[1]!.owed]], [7, [RICH_OWED[2]!.owed]]]));
  assert.deepEqual(loaded.groupBacklog, [{ position: FAR, group: { ordinal: 2, name: "g", filter: "a/#" } }]);
});

test("doing every step of a move twice is doing it once", (subject) => {
  const { checkpoint } = subject;
  const steps = () => {
    checkpoint.addMessages([message(96), message(FAR)], RICH_OWED);
    checkpoint.apply(richState(), [progress("SENT", 7, 96, 5)], 2000, 9);
  };
  steps();
  const once = checkpoint.load();
  const bytesOnce = checkpoint.readMessages(0, 10, 10_000);
  steps();
  assert.deepEqual(checkpoint.load(), once);
  assert.deepEqual(checkpoint.readMessages(0, 10, 10_000), bytesOnce);
});

test("keeps owed messages in the order they were added, whatever their positions", ({ checkpoint }) => {
  checkpoint.addMessages([], [300, 100, 200].map((position) => ({ session: 1, owed: owed({ position }) })));
  checkpoint.addMessages([], [{ session: 1, owed: owed({ position: 50 }) }]);
  assert.deepEqual(positionsOwed(checkpoint, 1), [300, 100, 200, 50]);
});

test("adding a row again gives it the new values in its old place", ({ checkpoint }) => {
  const group = { ordinal: 1, name: "g", filter: "t" };
  checkpoint.addMessages([message(96)], [
    { session: 1, owed: owed({ position: 96 }) },
    { session: 1, owed: owed({ position: 200 }) },
    { session: 1, owed: owed({ position: 96, group }) },
  ]);
  const changed = owed({ position: 96, packetId: 8, isReceived: true, identifiers: [4] });
  const moved = owed({ position: 96, packetId: 9, group });
  checkpoint.addMessages([{ ...message(96), retain: true }], [{ session: 1, owed: changed }, {
    session: 2,
    owed: moved,
  }]);
  const loaded = checkpoint.load();
  assert.deepEqual(loaded.owed, new Map([[1, [changed, owed({ position: 200 })]], [2, [moved]]]));
  assert.equal(checkpoint.readMessages(0, 10, 1000)[0]!.retain, true);
});

test("adds all of a transaction or nothing", (subject) => {
  subject.withOther((other) =>
    other.exec("CREATE TRIGGER t BEFORE INSERT ON owed WHEN new.position = 200 BEGIN SELECT raise(ABORT, 'no'); END")
  );
  const { checkpoint } = subject;
  const rows = [100, 200].map((position) => ({ session: 1, owed: owed({ position }) }));
  const failure = failureOf(() => checkpoint.addMessages([message(100)], rows));
  assert.equal(failure.reason, "sqlite");
  assert(failure.cause instanceof Error);
  assert.equal(checkpoint.load().messages.positions.length, 0);
  assert.equal(checkpoint.load().owed.size, 0);
  checkpoint.addMessages([message(100)], [rows[0]!]);
  assert.deepEqual(positionsOwed(checkpoint, 1), [100]);
});

test("takes several steps into one transaction, and gives all of it back", (subject) => {
  const { checkpoint } = subject;
  checkpoint.begin();
  checkpoint.addMessages([message(100)], [{ session: 1, owed: owed({ position: 100 }) }]);
  checkpoint.addMessages([message(200)], []);
  assert.equal(checkpoint.readMessages(0, 10, 1000).length, 2);
  checkpoint.flush();
  assert.equal(loadCopy(subject.path).messages.positions.length, 0);
  checkpoint.rollback();
  assert.equal(checkpoint.load().messages.positions.length, 0);
  checkpoint.rollback();

  checkpoint.begin();
  checkpoint.addMessages([message(100)], []);
  checkpoint.addMessages([message(200)], []);
  checkpoint.commit();
  assert.deepEqual([...loadCopy(subject.path).messages.positions], [100, 200]);
  assert.throws(() => checkpoint.commit(), /no transaction is open/);

  checkpoint.begin();
  checkpoint.addMessages([message(300)], []);
  assert.throws(() => checkpoint.begin(), /a transaction is open already/);
  assert.throws(() => checkpoint.apply(emptyState(), [], 1, 1), /a transaction is open/);
  assert.deepEqual([...subject.reopen().load().messages.positions], [100, 200]);
});

test("takes back the whole open transaction when a step of it fails", (subject) => {
  subject.withOther((other) =>
    other.exec("CREATE TRIGGER t BEFORE INSERT ON owed WHEN new.position = 200 BEGIN SELECT raise(ABORT, 'no'); END")
  );
  const { checkpoint } = subject;
  checkpoint.begin();
  checkpoint.addMessages([message(100)], [{ session: 1, owed: owed({ position: 100 }) }]);
  const failure = failureOf(() =>
    checkpoint.addMessages([message(200)], [{ session: 1, owed: owed({ position: 200 }) }])
  );
  assert.equal(failure.reason, "sqlite");
  checkpoint.rollback();
  assert.equal(checkpoint.load().messages.positions.length, 0);
  checkpoint.begin();
  checkpoint.addMessages([message(100)], []);
  checkpoint.commit();
  assert.deepEqual([...checkpoint.load().messages.positions], [100]);
});

test("owes archived messages to Sessions that subscribe later", ({ checkpoint }) => {
  checkpoint.addMessages([message(96), message(200)], [{ session: 2, owed: owed({ position: 96, packetId: 3 }) }]);
  const owe = (session: number, position: number) =>
    ({ kind: "owe", session, position, flags: 5, identifiers: [session] }) as const;
  const steps = [
    owe(1, 96),
    owe(1, 200),
    owe(2, 96),
    owe(3, 96),
    owe(1, 300),
    progress("SENT", 1, 96, 4),
    progress("SENT", 1, 200, 5),
    progress("DONE", 1, 200, 5),
  ];
  for (let times = 0; times < 2; times++) {
    checkpoint.apply(ended(3), steps, 1000, 9);
    assert.deepEqual(
      checkpoint.load().owed,
      new Map([
        [2, [owed({ position: 96, packetId: 3 })]],
        [1, [owed({ position: 96, size: sizeOf(message(96)), flags: 5, identifiers: [1], packetId: 4 })]],
      ]),
    );
  }
});

test("discards leftovers at or above a position", ({ checkpoint }) => {
  const group = { ordinal: 1, name: "g", filter: "t" };
  const positions = [100, 200, 300];
  checkpoint.addMessages(positions.map(message), [
    ...positions.map((position) => ({ session: 1, owed: owed({ position, flags: 2, isReceived: true }) })),
    ...positions.map((position) => ({ session: 0, owed: owed({ position, group }) })),
  ]);
  checkpoint.discardFrom(200);
  const loaded = checkpoint.load();
  assert.deepEqual([...loaded.messages.positions], [100]);
  assert.deepEqual(positionsOwed(checkpoint, 1), [100]);
  assert.deepEqual(loaded.groupBacklog, [{ position: 100, group }]);
});

test("applies changes of a Session to what is there", (subject) => {
  const { checkpoint } = subject;
  checkpoint.apply(richState(), [], 1000, 9);
  const change = emptyState();
  const session = sessionOf(change, 1);
  session.offlineAtMs = 1_700_000_000_999;
  session.subscriptions.set("a/+", null);
  session.subscriptions.set("new", subscription({ filter: "new" }));
  session.subscriptions.set("$share/g/a/#", subscription({ filter: "$share/g/a/#", qos: 0 }));
  session.inboundPacketIds.set(10, false).set(12, true).set(65_535, true);
  change.retained.set("a/b", null).set("ü/€/😀", 4000).set("other", 5000);
  change.wills.set("alive", null).set("waiting", { will: WILL, dueMs: undefined });
  checkpoint.apply(change, [], 2000, 9);
  checkpoint.apply(change, [], 2000, 9);

  const expected = richState();
  const changed = sessionOf(expected, 1);
  changed.offlineAtMs = 1_700_000_000_999;
  changed.subscriptions.delete("a/+");
  changed.subscriptions.set("$share/g/a/#", subscription({ filter: "$share/g/a/#", qos: 0 }));
  changed.subscriptions.set("new", subscription({ filter: "new" }));
  changed.inboundPacketIds.delete(10);
  changed.inboundPacketIds.set(12, true);
  expected.retained.delete("a/b");
  expected.retained.set("ü/€/😀", 4000).set("other", 5000);
  expected.wills.delete("alive");
  expected.wills.set("waiting", { will: WILL, dueMs: undefined });
  assert.deepEqual(subject.reopen().load().state, expected);

  const opened = emptyState();
  Object.assign(sessionOf(opened, 1), { opened: openOf(1, "renamed", 5), offlineAtMs: null });
  subject.checkpoint.apply(opened, [], 3000, 9);
  Object.assign(changed, { opened: openOf(1, "renamed", 5), offlineAtMs: null });
  assert.deepEqual(subject.checkpoint.load().state, expected);
});

test("forgets a Session that ended with all that was its own", ({ checkpoint }) => {
  checkpoint.addMessages([message(96)], RICH_OWED);
  checkpoint.apply(richState(), [], 1000, 9);
  checkpoint.apply(ended(1), [], 2000, 9);
  const loaded = checkpoint.load();
  assert.deepEqual([...loaded.state.sessions.keys()], [7]);
  assert.deepEqual([...loaded.owed.keys()], [7]);
  checkpoint.apply(ended(1), [], 2000, 9);
  assert.deepEqual(checkpoint.load(), loaded);
});

test("leaves out what a change says of a Session whose opening was lost", ({ checkpoint }) => {
  const change = emptyState();
  const session = sessionOf(change, 5);
  session.offlineAtMs = 1;
  session.subscriptions.set("t", subscription({ filter: "t" }));
  session.inboundPacketIds.set(1, true);
  checkpoint.apply(change, [], 1000, 6);
  assert.deepEqual(checkpoint.load().state, emptyState());
});

test("applies progress of single messages in order, and again", ({ checkpoint }) => {
  checkpoint.addMessages(
    [],
    [1, 2].flatMap((session) => [100, 200, 300].map((position) => ({ session, owed: owed({ position, flags: 2 }) }))),
  );
  const steps = [
    progress("SENT", 1, 100, 11),
    progress("SENT", 1, 200, 12),
    progress("RECEIVED", 1, 100, 11),
    progress("SENT", 1, 300, 13),
    progress("DONE", 1, 300, 13),
    progress("DONE", 2, 100, 0),
    progress("DONE", 3, 200, 1),
    progress("SENT", 1, 999, 14),
  ];
  for (let times = 0; times < 2; times++) {
    checkpoint.apply(emptyState(), steps, 1000, 9);
    assert.deepEqual(checkpoint.load().owed.get(1), [
      owed({ position: 100, flags: 2, packetId: 11, isReceived: true }),
      owed({ position: 200, flags: 2, packetId: 12 }),
    ]);
    assert.deepEqual(positionsOwed(checkpoint, 2), [200, 300]);
  }
});

test("applies no record of one delivery to another one of the same message to the same Session", ({ checkpoint }) => {
  const rows = [
    owed({ position: 100, packetId: 5 }),
    owed({ position: 200, packetId: 6, flags: 2 }),
    owed({ position: 300, packetId: 7 }),
    owed({ position: 400 }),
  ];
  checkpoint.addMessages([], rows.map((row) => ({ session: 1, owed: row })));
  const steps = [
    progress("SENT", 1, 100, 9),
    progress("DONE", 1, 100, 9),
    progress("RECEIVED", 1, 200, 9),
    progress("DONE", 1, 300, 0),
    progress("DONE", 1, 400, 9),
  ];
  checkpoint.apply(emptyState(), steps, 1000, 9);
  assert.deepEqual(checkpoint.load().owed.get(1), rows);
});

test("gives nobody what a Session that is not recorded received of a group", ({ checkpoint }) => {
  const group = { ordinal: 1, name: "g", filter: "t" };
  checkpoint.apply(members(3, 4), [], 500, 9);
  checkpoint.addMessages([], [
    { session: 3, owed: owed({ position: 100, group, flags: 2, packetId: 5 }) },
    { session: 3, owed: owed({ position: 200, group, flags: 2, packetId: 6 }) },
    { session: 3, owed: owed({ position: 300, group, packetId: 7 }) },
  ]);
  const steps = [progress("RECEIVED", 0, 100, 0, 1), progress("SENT", 0, 200, 0, 1), progress("SENT", 4, 300, 0, 1)];
  checkpoint.apply(emptyState(), steps, 1000, 9);
  const loaded = checkpoint.load();
  assert.deepEqual([...loaded.owed], [[4, [owed({ position: 300, group })]]]);
  assert.deepEqual(loaded.groupBacklog, [{ position: 200, group }]);
});

test("moves a message of a shared group to the Session it was sent to", ({ checkpoint }) => {
  const group = { ordinal: 2, name: "g", filter: "t" };
  checkpoint.apply(members(3, 4), [], 500, 9);
  checkpoint.addMessages([], [
    { session: 0, owed: owed({ position: 100, group }) },
    { session: 3, owed: owed({ position: 200, group }) },
    { session: 3, owed: owed({ position: 200 }) },
    { session: 3, owed: owed({ position: 300, group }) },
    { session: 3, owed: owed({ position: 400, group }) },
    { session: 0, owed: owed({ position: 500, group, flags: 2 }) },
  ]);
  checkpoint.apply(
    emptyState(),
    [
      progress("SENT", 4, 100, 21, 2),
      progress("SENT", 4, 200, 22, 2),
      progress("RECEIVED", 4, 200, 22, 2),
      progress("SENT", 0, 300, 23, 2),
      progress("DONE", 9, 400, 24, 2),
      progress("SENT", 0, 500, 25, 2),
      progress("RECEIVED", 0, 500, 25, 2),
    ],
    1000,
    9,
  );
  const loaded = checkpoint.load();
  assert.deepEqual(loaded.owed.get(3), [owed({ position: 200 })]);
  assert.deepEqual(loaded.owed.get(4), [
    owed({ position: 100, group, packetId: 21 }),
    owed({ position: 200, group, packetId: 22, isReceived: true }),
  ]);
  // 500 was received by a Session that is not recorded: no member may get it again.
  assert.deepEqual(loaded.groupBacklog, [{ position: 300, group }]);
});

test("gives a shared message as the subscription of the member that takes it says", ({ checkpoint }) => {
  const group = { ordinal: 1, name: "g", filter: "t" };
  const filter = "$share/g/t";
  const before = members(3, 4, 5, 6);
  const of = (state: DurableState, session: number) => sessionOf(state, session).subscriptions;
  of(before, 4).set(filter, subscription({ filter, qos: 2, retainAsPublished: true, subscriptionIdentifier: 7 }));
  of(before, 6).set(filter, subscription({ filter, qos: 2 }));
  checkpoint.apply(before, [], 500, 9);
  const published = { qos: 2, retain: true } as const;
  const row = (session: number, position: number) => ({ session, owed: owed({ position, group, identifiers: [1] }) });
  const positions = [100, 200, 300, 400, 500];
  checkpoint.addMessages(
    positions.map((position) => ({ ...message(position), ...published })),
    [...positions.map((position) => row(3, position)), row(0, 600)],
  );
  const change = emptyState();
  of(change, 5).set(filter, subscription({ filter, qos: 1 }));
  const shared = new Map([[filter, subscription({ filter, qos: 2, subscriptionIdentifier: 8 })]]);
  of(change, 6).set(filter, null);
  checkpoint.apply(
    change,
    [
      progress("SENT", 4, 100, 11, 1),
      // Subscribed again in the same stretch, and once more after it was sent the message.
      { ...progress("SENT", 5, 200, 12, 1), shared },
      // Unsubscribed in the same stretch, after it was sent the message.
      progress("SENT", 6, 300, 13, 1),
      // The one that had it.
      progress("SENT", 3, 400, 14, 1),
      // To somebody in between.
      progress("SENT", 4, 500, 15, 1),
      progress("SENT", 3, 500, 16, 1),
      // Of a message that is not there.
      progress("SENT", 4, 600, 17, 1),
    ],
    1000,
    9,
  );
  assert.deepEqual(
    checkpoint.load().owed,
    new Map([
      [3, [
        owed({ position: 400, group, packetId: 14, flags: 1, identifiers: [1] }),
        owed({ position: 500, group, packetId: 16, flags: 1 }),
      ]],
      [4, [
        owed({ position: 100, group, packetId: 11, flags: 2 | 4, identifiers: [7] }),
        owed({ position: 600, group, packetId: 17, flags: 2, identifiers: [7] }),
      ]],
      [5, [owed({ position: 200, group, packetId: 12, flags: 2, identifiers: [8] })]],
      [6, [owed({ position: 300, group, packetId: 13, flags: 2 })]],
    ]),
  );
});

test("gives what an ended Session leaves to its shared group, and no more", ({ checkpoint }) => {
  const group = { ordinal: 1, name: "g", filter: "t" };
  checkpoint.apply(members(3, 4), [], 500, 9);
  checkpoint.addMessages([], [
    { session: 3, owed: owed({ position: 100, group, flags: 2 }) },
    { session: 3, owed: owed({ position: 200, group, flags: 1, packetId: 5 }) },
    { session: 3, owed: owed({ position: 300, group, flags: 2, packetId: 6 }) },
    { session: 3, owed: owed({ position: 400, group, flags: 2, packetId: 7, isReceived: true }) },
    { session: 3, owed: owed({ position: 500 }) },
    { session: 0, owed: owed({ position: 600, group }) },
    { session: 3, owed: owed({ position: 700, group, packetId: 8 }) },
  ]);
  // Sent to the ending Session within the same change, and taken from it by another member after its end.
  checkpoint.apply(ended(3), [progress("SENT", 3, 600, 9, 1), progress("SENT", 4, 700, 1, 1)], 1000, 9);
  const loaded = checkpoint.load();
  assert.deepEqual(loaded.groupBacklog.map((entry) => entry.position), [100, 200, 600]);
  assert.deepEqual(loaded.owed, new Map([[4, [owed({ position: 700, group, packetId: 1 })]]]));
});

test("drops the backlog of a shared group with its last member", ({ checkpoint }) => {
  const group = { ordinal: 1, name: "g", filter: "t" };
  const other = { ordinal: 2, name: "g", filter: "u" };
  const state = members(3, 4);
  sessionOf(state, 4).subscriptions.set("$share/g/u", subscription({ filter: "$share/g/u" }));
  checkpoint.apply(state, [], 500, 9);
  checkpoint.addMessages([], [
    { session: 0, owed: owed({ position: 100, group }) },
    { session: 0, owed: owed({ position: 100, group: other }) },
  ]);
  checkpoint.apply(ended(3), [], 600, 9);
  assert.equal(checkpoint.load().groupBacklog.length, 2);
  const change = emptyState();
  sessionOf(change, 4).subscriptions.set("$share/g/t", null);
  checkpoint.apply(change, [], 700, 9);
  assert.deepEqual(checkpoint.load().groupBacklog, [{ position: 100, group: other }]);
});

test("reads messages in windows of a number and of bytes", ({ checkpoint }) => {
  const messages = Array.from({ length: 600 }, (_, index) => message(1000 + index * 8, index % 5));
  checkpoint.addMessages(messages.toReversed(), []);
  const found: ArchivedMessage[] = [];
  for (let from = 0;;) {
    const window = checkpoint.readMessages(from, 256, 1_000_000);
    assert(window.length <= 256);
    if (window.length === 0) break;
    found.push(...window);
    from = window.at(-1)!.position + 1;
  }
  assert.deepEqual(found, messages);
  const sizes = messages.map(sizeOf);
  assert.equal(checkpoint.readMessages(0, 256, 1).length, 1);
  assert.equal(checkpoint.readMessages(0, 256, sizes[0]! + sizes[1]!).length, 2);
  assert.equal(checkpoint.readMessages(0, 256, sizes[0]! + sizes[1]! - 1).length, 1);
  assert.equal(checkpoint.readMessages(1001, 1, 100)[0]!.position, 1008);
});

test("loads more rows than it reads at once", ({ checkpoint }) => {
  const count = 9000;
  const messages = Array.from({ length: count }, (_, index) => message(64 + index * 8));
  const state = emptyState();
  for (let number = 1; number <= 5000; number++) {
    Object.assign(sessionOf(state, number), { opened: openOf(number, `c${number}`, 1), offlineAtMs: null });
    sessionOf(state, number).subscriptions.set("a", subscription({ filter: "a" }));
    sessionOf(state, number).inboundPacketIds.set(number, true);
    state.retained.set(`t${number}`, number);
    state.wills.set(`c${number}`, { will: WILL, dueMs: number });
  }
  sessionOf(state, 4096).subscriptions.set("b", subscription({ filter: "b" }));
  checkpoint.addMessages(messages, messages.map(({ position }) => ({ session: 1, owed: owed({ position }) })));
  checkpoint.apply(state, [], 1, 9999);
  const loaded = checkpoint.load();
  assert.deepEqual(loaded.state, state);
  assert.deepEqual([...loaded.messages.positions], messages.map((each) => each.position));
  assert.deepEqual(loaded.owed.get(1)!.map((each) => each.position), messages.map((each) => each.position));
});

test("removes a range with its owed rows, but not what is owed at QoS 2 to a recorded Session", ({ checkpoint }) => {
  const group = { ordinal: 1, name: "g", filter: "t" };
  const positions = [100, 200, 300, 400];
  checkpoint.addMessages(positions.map((position) => message(position)), [
    ...positions.map((position) => ({ session: 1, owed: owed({ position, flags: 1 }) })),
    ...positions.map((position) => ({ session: 2, owed: owed({ position, flags: 2 | 4, packetId: 1 }) })),
    ...positions.map((position) => ({ session: 0, owed: owed({ position, flags: 2, group }) })),
  ]);
  checkpoint.removeRange(200, 400);
  const loaded = checkpoint.load();
  assert.deepEqual([...loaded.messages.positions], [100, 400]);
  assert.deepEqual(positionsOwed(checkpoint, 1), [100, 400]);
  assert.deepEqual(positionsOwed(checkpoint, 2), positions);
  assert.deepEqual(loaded.groupBacklog.map((entry) => entry.position), [100, 400]);
  checkpoint.removeRange(200, 400);
  assert.deepEqual(checkpoint.load(), loaded);
});

test("removes all of a range but what is to be kept, and says how much", ({ checkpoint }) => {
  const positions = Array.from({ length: 10_000 }, (_, index) => 64 + index * 8);
  checkpoint.addMessages(positions.map((position) => message(position)), [
    { session: 1, owed: owed({ position: 64 }) },
    { session: 1, owed: owed({ position: 72 }) },
    { session: 1, owed: owed({ position: 96 }) },
  ]);
  const keep = new Set(positions.filter((position) => position % 24 === 0 || position === 64));
  const [first, end] = [72, 64 + 9000 * 8];
  const stay = positions.filter((position) => position < first || position >= end || keep.has(position));
  assert.equal(checkpoint.removeAllBut(first, end, keep), positions.length - stay.length);
  assert.deepEqual([...checkpoint.load().messages.positions], stay);
  assert.deepEqual(positionsOwed(checkpoint, 1), [64, 72, 96]);
  assert.equal(checkpoint.removeAllBut(first, end, keep), 0);
  assert.equal(checkpoint.removeAllBut(0, 100, new Set([64])), 2);
  assert.deepEqual(positionsOwed(checkpoint, 1), [64]);
});

test("says where Retained Messages are", ({ checkpoint }) => {
  const state = emptyState();
  state.retained.set("c", 300).set("a", 100).set("b", 200).set("d", FAR);
  checkpoint.apply(state, [], 1000, 1);
  assert.deepEqual(checkpoint.retainedPositions(0, FAR + 1), [100, 200, 300, FAR]);
  assert.deepEqual(checkpoint.retainedPositions(100, 300), [100, 200]);
});

test("gives space back after much was removed", ({ checkpoint }) => {
  const messages = Array.from({ length: 2000 }, (_, index) => message(64 + index * 8, 4000));
  checkpoint.addMessages(messages, []);
  checkpoint.flush();
  const full = checkpoint.sizeBytes;
  assert(full > 2000 * 4000);
  for (let from = 0; from < 2000; from += 100) checkpoint.removeRange(64 + from * 8, 64 + (from + 100) * 8);
  checkpoint.flush();
  assert(checkpoint.sizeBytes < full / 2, `${checkpoint.sizeBytes} of ${full}`);
});

test("measures the files it needs, also those not written yet", ({ checkpoint, path }) => {
  const onDisk = () => [path, `${path}-wal`].reduce((sum, each) => sum + Deno.statSync(each).size, 0);
  for (let round = 0; round < 40; round++) {
    checkpoint.addMessages(
      Array.from({ length: 100 }, (_, index) => message(64 + (round * 100 + index) * 8, 1000)),
      [],
    );
    assert(checkpoint.sizeBytes >= onDisk());
  }
  assert(checkpoint.sizeBytes < 2 * onDisk());
  checkpoint.flush();
  assert.equal(Deno.statSync(`${path}-wal`).size, 0);
  assert.equal(checkpoint.sizeBytes, onDisk());
});

test("keeps the WAL short by itself", ({ checkpoint, path }) => {
  for (let round = 0; round < 60; round++) {
    checkpoint.addMessages(Array.from({ length: 50 }, (_, index) => message(64 + (round * 50 + index) * 8, 8000)), []);
  }
  assert(Deno.statSync(`${path}-wal`).size < 8 * 1024 * 1024);
  assert(Deno.statSync(path).size > 10 * 1024 * 1024);
});

for (const journalMode of JOURNAL_MODES) {
  for (const synchronous of ["OFF", "NORMAL", "FULL", "EXTRA"] as const) {
    test(`works with journal mode ${journalMode} and synchronous ${synchronous}`, (subject) => {
      const { checkpoint } = subject;
      checkpoint.addMessages([message(96), message(FAR)], RICH_OWED);
      checkpoint.apply(richState(), [], 1000, 9);
      checkpoint.removeRange(96, 97);
      checkpoint.flush();
      assert.equal(checkpoint.sizeBytes, Deno.statSync(subject.path).size);
      const before = checkpoint.load();
      checkpoint.apply(emptyState(), [], 2000, 9);
      assert.equal(loadCopy(subject.path).appliedLsn, 2000);
      checkpoint.apply(emptyState(), [], 1000, 9);
      assert.deepEqual(before.state, richState());
      assert.deepEqual(subject.reopen().load(), before);
      assert.equal(subject.checkpoint.weaknesses.length, Number(WEAK.has(journalMode)) + Number(synchronous === "OFF"));
    }, { journalMode, synchronous });
  }
}

test("goes from every journal mode to every other", (subject) => {
  subject.checkpoint.apply(richState(), [], 1000, 9);
  for (const journalMode of [...JOURNAL_MODES, ...JOURNAL_MODES.toReversed()]) {
    subject.reopen({ journalMode });
    assert.deepEqual(subject.checkpoint.load().state, richState());
  }
});

test("names in each weakness the setting and what it can cost", (subject) => {
  assert.deepEqual(subject.reopen({ synchronous: "EXTRA", journalMode: "DELETE" }).weaknesses, []);
  const [journal, synchronous, ...more] = subject.reopen({ synchronous: "OFF", journalMode: "MEMORY" }).weaknesses;
  assert.match(journal!, /^storage\.sqlite\.journal-mode MEMORY: .* damage .*Retained Messages.*\.$/);
  assert.match(synchronous!, /^storage\.sqlite\.synchronous OFF: .*power cut.* damage .*Retained Messages.*\.$/);
  assert.deepEqual(more, []);
});

test("leaves out who refers to whom when foreign keys are off, and nothing else", (subject) => {
  const checkpoint = subject.reopen({ foreignKeys: false });
  checkpoint.apply(richState(), [], 1000, 9);
  checkpoint.apply(ended(1), [], 2000, 9);
  assert.deepEqual([...subject.reopen({ foreignKeys: true }).load().state.sessions.keys()], [7]);
});

test("says which pragma did not take, what was asked and what it got", (subject) => {
  const cases: [Partial<SqliteSettings>, RegExp][] = [
    [{ mmapSize: 2 ** 40 }, /pragma mmap_size did not take: asked for 1099511627776, got 2147418112/],
    [{ mmapSize: -5 }, /pragma mmap_size did not take: asked for -5, got 0/],
    [{ cacheSize: 2 ** 40 }, /pragma cache_size did not take: asked for 1099511627776, got/],
    [{ busyTimeoutMs: -1 }, /pragma busy_timeout did not take: asked for -1, got 0/],
    [{ busyTimeoutMs: 1.5 }, /pragma busy_timeout must be a whole number, not 1.5/],
    [{ synchronous: "1; DROP TABLE owed" as "OFF" }, /pragma synchronous must be one of OFF, NORMAL, FULL, EXTRA, not/],
    [{ journalMode: "wal" as "WAL" }, /pragma journal_mode must be one of DELETE, .*, not wal/],
    [{ tempStore: "" as "FILE" }, /pragma temp_store must be one of DEFAULT, FILE, MEMORY, not/],
  ];
  subject.checkpoint.close();
  for (const [settings, message] of cases) {
    const failure = failureOf(() => Checkpoint.open(subject.path, { ...DEFAULTS, ...settings }));
    assert.equal(failure.reason, "pragma");
    assert.match(failure.message, message);
  }
  subject.open({ cacheSize: -2048, tempStore: "FILE", mmapSize: 0, foreignKeys: false });
});

test("says so when journal mode WAL does not take", () => {
  const failure = failureOf(() => Checkpoint.open(":memory:", DEFAULTS));
  assert.equal(failure.reason, "pragma");
  assert.match(failure.message, /pragma journal_mode did not take: asked for WAL \(wal\), got memory/);
});

test("refuses a newer version and leaves the file as it is", (subject) => {
  subject.checkpoint.close();
  subject.withOther((other) => other.exec("PRAGMA user_version = 2"));
  const before = Deno.readFileSync(subject.path);
  const failure = failureOf(() => Checkpoint.open(subject.path, { ...DEFAULTS, journalMode: "DELETE" }));
  assert.equal(failure.reason, "format");
  assert.match(failure.message, /it has version 2, this program knows up to 1; it was not touched/);
  assert.deepEqual(Deno.readFileSync(subject.path), before);
  subject.withOther((other) => other.exec("PRAGMA user_version = 1"));
  subject.open();
});

test("refuses the database of another application and leaves it as it is", (subject) => {
  subject.checkpoint.close();
  for (const sql of ["CREATE TABLE theirs (a)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"]) {
    const path = `${subject.path}.${sql.length}`;
    const other = new DatabaseSync(path);
    other.exec(sql);
    other.close();
    const before = Deno.readFileSync(path);
    const failure = failureOf(() => Checkpoint.open(path, DEFAULTS));
    assert.equal(failure.reason, "format");
    assert.match(failure.message, /database of another application; it was not touched/);
    assert.deepEqual(Deno.readFileSync(path), before);
  }
  subject.open();
});

test("makes its tables in a file that a start left empty", (subject) => {
  subject.checkpoint.close();
  const path = `${subject.path}.empty`;
  Deno.writeFileSync(path, new Uint8Array());
  Checkpoint.open(path, DEFAULTS).close();
  const checkpoint = Checkpoint.open(path, DEFAULTS);
  assert.equal(checkpoint.load().appliedLsn, FIRST_LSN);
  checkpoint.close();
  subject.open();
});

test("tells an operator what to do with a file that is damaged", (subject) => {
  subject.checkpoint.addMessages(Array.from({ length: 500 }, (_, index) => message(64 + index * 8, 500)), []);
  subject.checkpoint.close();
  const whole = Deno.readFileSync(subject.path);
  const damages: [string, (bytes: Uint8Array) => void][] = [
    ["file is not a database", (bytes) => bytes.fill(0x78, 0, 100)],
    ["database disk image is malformed", (bytes) => bytes.fill(0x78, 4096)],
  ];
  for (const [words, damage] of damages) {
    const bytes = whole.slice();
    damage(bytes);
    Deno.writeFileSync(subject.path, bytes);
    const failure = failureOf(() => {
      const checkpoint = Checkpoint.open(subject.path, DEFAULTS);
      try {
        checkpoint.load();
      } finally {
        checkpoint.close();
      }
    });
    assert.equal(failure.reason, "sqlite");
    assert(failure.message.includes(words), failure.message);
    assert.match(failure.message, /promptmq\.db: .*restore it from a backup, or move it/);
    assert(failure.cause instanceof Error);
  }
  Deno.writeFileSync(subject.path, whole);
  assert.equal(subject.open().load().messages.positions.length, 500);
});

test("says that the directory must exist", ({ path }) => {
  const failure = failureOf(() => Checkpoint.open(`${path}.d/promptmq.db`, DEFAULTS));
  assert.equal(failure.reason, "sqlite");
  assert.match(failure.message, /its directory must exist/);
});

test("fails with reason locked while another process writes, and goes on afterwards", (subject) => {
  subject.withOther((other) => {
    other.exec("BEGIN IMMEDIATE");
    const failure = failureOf(() => subject.checkpoint.apply(richState(), [], 1000, 9));
    assert.equal(failure.reason, "locked");
    assert.match(failure.message, /Cannot apply changes to .*another process holds the database/);
    other.exec("ROLLBACK");
  });
  subject.checkpoint.apply(richState(), [], 1000, 9);
  assert.equal(subject.checkpoint.load().appliedLsn, 1000);
});

test("a reader elsewhere holds no checkpoint up", (subject) => {
  subject.withOther((other) => {
    other.exec("BEGIN");
    other.prepare("SELECT * FROM messages").all();
    for (let round = 0; round < 30; round++) {
      subject.checkpoint.addMessages(
        Array.from({ length: 50 }, (_, each) => message(64 + (round * 50 + each) * 8, 8000)),
        [],
      );
    }
    subject.checkpoint.flush();
    other.exec("ROLLBACK");
  });
  subject.checkpoint.flush();
  assert.equal(Deno.statSync(`${subject.path}-wal`).size, 0);
});

Deno.test("sqliteFailure takes its reason from the result code, extended ones included", () => {
  const reasons: [number | undefined, StorageReason][] = [
    [3, "permission"],
    [5 | 1 << 8, "locked"],
    [6, "locked"],
    [8, "read_only"],
    [10 | 4 << 8, "io"],
    [11, "sqlite"],
    [13, "no_space"],
    [14, "permission"],
    [19, "sqlite"],
    [26, "sqlite"],
    [undefined, "sqlite"],
  ];
  for (const [errcode, reason] of reasons) {
    const cause = Object.assign(new Error("words"), { errcode });
    const failure = sqliteFailure("read", "promptmq.db", cause);
    assert.equal(failure.reason, reason);
    assert.equal(failure.cause, cause);
    assert(failure.message.startsWith("Cannot read promptmq.db: words"));
    assert.equal(isDeviceFailure(cause), reason === "io");
    assert.equal(sqliteFailure("load", "other", failure), failure);
  }
});

test("writes nothing more once a write failed without a way back", (subject) => {
  const checkpoint = subject.reopen({ journalMode: "OFF" });
  checkpoint.addMessages([message(96)], []);
  subject.withOther((other) =>
    other.exec("CREATE TRIGGER t BEFORE INSERT ON owed BEGIN SELECT raise(ABORT, 'no'); END")
  );
  assert.equal(
    failureOf(() => checkpoint.addMessages([], [{ session: 1, owed: owed({ position: 1 }) }])).reason,
    "sqlite",
  );
  const failure = failureOf(() => checkpoint.removeRange(0, 1000));
  assert.equal(failure.reason, "io");
  assert.match(failure.message, /an earlier write failed \(no \(SQLite result code 19\)\), nothing can be written/);
  assert.equal(failureOf(() => checkpoint.apply(emptyState(), [], 1, 1)).reason, "io");
  assert.deepEqual([...checkpoint.load().messages.positions], [96]);
});

const WEAK = new Set<string>(["OFF", "MEMORY"]);
const WILL: StoredWill = {
  topic: "will/ü",
  qos: 2,
  retain: true,
  payload: "AAEC",
  properties: "",
  willDelayInterval: 30,
  messageExpiryInterval: 60,
};
const RICH_OWED: readonly OwedRow[] = [
  {
    session: 1,
    owed: owed({ position: FAR, flags: 6, identifiers: [1, 268_435_455], packetId: 65_535, isReceived: true }),
  },
  { session: 1, owed: owed({ position: 96, flags: 1, group: { ordinal: 1, name: "name", filter: "a/+" } }) },
  { session: 7, owed: owed({ position: 96, flags: 0, size: 268_435_455 }) },
  { session: 0, owed: owed({ position: FAR, group: { ordinal: 2, name: "g", filter: "a/#" } }) },
];

function richState(): DurableState {
  const state = emptyState();
  const first = sessionOf(state, 1);
  first.opened = { ...openOf(1, "client/ü", 0xffff_ffff), username: "" };
  first.offlineAtMs = 1_700_000_000_123;
  for (
    const each of [
      subscription({ filter: "$share/g/a/#", qos: 2, retainAsPublished: true, subscriptionIdentifier: 268_435_455 }),
      subscription({ filter: "a/+", qos: 1, noLocal: true, retainHandling: 2 }),
      subscription({ filter: "b", qos: 0, retainHandling: 1 }),
    ]
  ) first.subscriptions.set(each.filter, each);
  first.inboundPacketIds.set(10, true).set(65_535, true);
  const second = sessionOf(state, 7);
  second.opened = openOf(7, "", 0);
  second.offlineAtMs = null;
  state.retained.set("a/b", 96).set("ü/€/😀", FAR);
  state.wills.set("alive", { will: WILL, dueMs: undefined });
  const { messageExpiryInterval: _, ...eternal } = WILL;
  state.wills.set("waiting", { will: eternal, dueMs: 1_700_000_000_456 });
  return state;
}

/** Sessions that subscribe to the shared group `g` of Topic Filter `t`. */
function members(...numbers: number[]): DurableState {
  const state = emptyState();
  for (const number of numbers) {
    Object.assign(sessionOf(state, number), { opened: openOf(number, `c${number}`, 60), offlineAtMs: null });
    sessionOf(state, number).subscriptions.set("$share/g/t", subscription({ filter: "$share/g/t" }));
  }
  return state;
}

function ended(session: number): DurableState {
  const state = emptyState();
  sessionOf(state, session).isEnded = true;
  return state;
}

function openOf(session: number, clientId: string, sessionExpiryInterval: number) {
  return { kind: "open", session, clientId, sessionExpiryInterval } as const;
}

function subscription(of: Partial<StoredSubscription> & { readonly filter: string }): StoredSubscription {
  return { qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0, ...of };
}

function owed(of: Partial<OwedMessage> & { readonly position: number }): OwedMessage {
  return { size: 20, flags: 1, identifiers: [], packetId: 0, isReceived: false, group: undefined, ...of };
}

function progress(
  kind: keyof typeof ProgressKind,
  session: number,
  position: number,
  packetId: number,
  group = 0,
): ArchivedProgress {
  return { kind: ProgressKind[kind], session, position, packetId, group };
}

function message(position: number, payloadBytes = 3): ArchivedMessage {
  return {
    position,
    expiresAtMs: position % 16 === 0 ? 0 : 1_700_000_000_789,
    qos: (position / 8 % 3 | 0) as 0 | 1 | 2,
    retain: position % 5 === 0,
    topic: Uint8Array.of(0, 3, 97, 47, 98),
    properties: position % 16 === 0 ? new Uint8Array() : Uint8Array.of(1, 1),
    payload: new Uint8Array(payloadBytes).fill(position & 0xff),
  };
}

function sizeOf({ topic, properties, payload }: ArchivedMessage): number {
  return topic.length + properties.length + payload.length;
}

/** Loads from a copy of the files of a database that is open, as a killed process leaves them. */
function loadCopy(path: string): LoadedCheckpoint {
  const copy = `${path}.copy`;
  for (const suffix of ["", "-wal", "-journal"]) {
    try {
      Deno.copyFileSync(path + suffix, copy + suffix);
    } catch (failure) {
      if (!(failure instanceof Deno.errors.NotFound)) throw failure;
    }
  }
  const checkpoint = Checkpoint.open(copy, DEFAULTS);
  const loaded = checkpoint.load();
  checkpoint.close();
  return loaded;
}

function positionsOwed(checkpoint: Checkpoint, session: number): number[] {
  return (checkpoint.load().owed.get(session) ?? []).map((each) => each.position);
}

function failureOf(run: () => unknown): StorageFailed {
  try {
    run();
  } catch (failure) {
    assert(failure instanceof StorageFailed, String(failure));
    return failure;
  }
  return assert.fail("nothing was thrown");
}

interface Subject {
  readonly path: string;
  /** The one that is open now. */
  readonly checkpoint: Checkpoint;
  open(settings?: Partial<SqliteSettings>): Checkpoint;
  reopen(settings?: Partial<SqliteSettings>): Checkpoint;
  /** Lends another connection to the same file. */
  withOther(use: (other: DatabaseSync) => void): void;
}

function test(title: string, run: (subject: Subject) => void, settings: Partial<SqliteSettings> = {}): void {
  Deno.test(`checkpoint ${title}`, () => {
    const directory = Deno.makeTempDirSync();
    const path = `${directory}/promptmq.db`;
    let checkpoint = Checkpoint.open(path, { ...DEFAULTS, ...settings });
    const open = (changed: Partial<SqliteSettings> = {}) =>
      checkpoint = Checkpoint.open(path, { ...DEFAULTS, ...settings, ...changed });
    try {
      run({
        path,
        get checkpoint() {
          return checkpoint;
        },
        open,
        reopen(changed) {
          checkpoint.close();
          return open(changed);
        },
        withOther(use) {
          const other = new DatabaseSync(path);
          try {
            use(other);
          } finally {
            other.close();
          }
        },
      });
      checkpoint.close();
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
}
