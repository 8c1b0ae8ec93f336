/**
 * A Session across a restart of the broker: what it owed is taken up again, goes on with the same Packet Identifiers
 * in the same order, and can be told apart by position while messages move out of the log.
 */

import assert from "node:assert/strict";
import type { DeliveryOrigin } from "../../src/session/delivery_origin.ts";
import type { Session } from "../../src/session/session.ts";
import type { OwedMessage } from "../../src/storage/model/durable_state.ts";
import { SharedGroup } from "../../src/topics/shared_subscriptions.ts";
import { SessionRig } from "./session_rig.ts";

const GROUP = new SharedGroup<Session>("workers", "t/#");

/** Stores messages for a Session to take up, as recovery leaves them: without a reference to spare. */
class Leftovers {
  readonly rig = new SessionRig();
  readonly owed: OwedMessage[] = [];

  add(payload: string, fields: Partial<OwedMessage> = {}): void {
    const { store } = this.rig;
    const position = store.append(this.rig.messageOf(payload));
    store.payloads.set(position, payload);
    const { identifiers = [], packetId = 0, isReceived = false, flags = 1, group } = fields;
    this.owed.push({ position, size: store.sizeOf(position), flags, identifiers, packetId, isReceived, group });
  }

  /** Restores; the positions then belong to the Session alone. */
  restore(groupOf: () => SharedGroup<Session> | undefined = () => undefined): SessionRig {
    this.rig.session.outbox.restore(this.owed, groupOf);
    for (const { position } of this.owed) this.rig.store.release(position);
    return this.rig;
  }
}

function allOwed(session: Session, first = 0, end = Infinity): OwedMessage[] {
  const owed: OwedMessage[] = [];
  session.outbox.walkOwed(first, end, (each) => owed.push(each));
  return owed;
}

Deno.test("Outbox.restore takes up what was sent and what waits, counts it, and sends it on connect [MQTT-4.4.0-1]", () => {
  const left = new Leftovers();
  left.add("queued", { flags: 2 });
  left.add("one", { packetId: 4 });
  left.add("received", { packetId: 3, flags: 2, isReceived: true });
  left.add("two", { packetId: 6, flags: 2 | 4, identifiers: [5] });
  left.add("retained", { flags: 4 });
  const rig = left.restore();
  rig.assertHolds({ inflight: 3, queued: 2, references: 4 });
  rig.connect();
  assert.deepEqual(rig.sink.take(), [
    "PUBREL #3",
    "PUBLISH q1 #4 dup t one",
    "PUBLISH q2 #6 dup retain t two",
    "PUBLISH q2 #7 t queued",
    "PUBLISH q0 retain t retained",
  ]);
  rig.pubcomp(3);
  rig.puback(4);
  for (const id of [6, 7]) {
    rig.pubrec(id);
    rig.pubcomp(id);
  }
  rig.assertHolds({});
  rig.publish("next");
  assert.equal(rig.sink.take().at(-1), "PUBLISH q1 #8 t next");
});

Deno.test("Outbox.restore of nothing leaves a Session as it was made", () => {
  const rig = new Leftovers().restore();
  rig.assertHolds({});
  rig.connect();
  rig.publish("a");
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #1 t a"]);
});

Deno.test("Outbox.restore sends again in wire order across Packet Identifier 65535, whatever order was given", () => {
  const left = new Leftovers();
  for (const packetId of [2, 65_534, 1, 65_530, 65_535]) left.add(`${packetId}`, { packetId });
  const rig = left.restore();
  rig.connect();
  rig.publish("next");
  assert.deepEqual(rig.sink.take(), [
    "PUBLISH q1 #65530 dup t 65530",
    "PUBLISH q1 #65534 dup t 65534",
    "PUBLISH q1 #65535 dup t 65535",
    "PUBLISH q1 #1 dup t 1",
    "PUBLISH q1 #2 dup t 2",
    "PUBLISH q1 #3 t next",
  ]);
});

Deno.test("Outbox.restore takes up a window whose Packet Identifiers lie far apart", () => {
  const left = new Leftovers();
  for (const packetId of [100, 20_000, 40_000]) left.add(`${packetId}`, { packetId });
  const rig = left.restore();
  assert.deepEqual(allOwed(rig.session).map((each) => each.packetId), [100, 20_000, 40_000]);
  rig.connect();
  assert.equal(rig.sink.take().length, 3);
  rig.puback(20_000);
  rig.puback(20_001);
  rig.puback(100);
  rig.assertHolds({ inflight: 1 });
  rig.publish("next");
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #40001 t next"]);
});

Deno.test("Outbox.restore with all Packet Identifiers in use has no room for another until the oldest is done", () => {
  const left = new Leftovers();
  for (let packetId = 65_535; packetId > 0; packetId--) left.add("x", { packetId });
  const rig = left.restore();
  rig.limits.inflightMax = 65_535;
  rig.limits.outboundBytesMax = Number.MAX_SAFE_INTEGER;
  rig.connect();
  assert.equal(rig.sink.take().length, 65_535);
  rig.publish("waits");
  rig.assertHolds({ inflight: 65_535, queued: 1 });
  rig.puback(1);
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #1 t waits"]);
});

Deno.test("Outbox.restore believes the newer of two messages with one Packet Identifier", () => {
  const left = new Leftovers();
  left.add("older", { packetId: 9 });
  left.add("newer", { packetId: 9, flags: 2 });
  left.add("other", { packetId: 10 });
  const rig = left.restore();
  rig.assertHolds({ inflight: 2 });
  rig.connect();
  assert.deepEqual(rig.sink.take(), ["PUBLISH q2 #9 dup t newer", "PUBLISH q1 #10 dup t other"]);
});

Deno.test("Outbox.restore looks at no bound: what was within it before is not dropped", () => {
  const left = new Leftovers();
  for (let count = 1; count <= 5; count++) left.add(`${count}`);
  left.rig.limits.queuedMax = 2;
  const rig = left.restore();
  rig.assertHolds({ queued: 5 });
  rig.connect({ receiveMaximum: 1 });
  assert.deepEqual(rig.sink.take(), ["PUBLISH q1 #1 t 1"]);
});

Deno.test("Outbox.restore puts shared messages back into their group, from where others can have them", () => {
  const left = new Leftovers();
  const group = { ordinal: 2, name: "workers", filter: "t/#" };
  left.add("sent", { packetId: 1, group, identifiers: [8] });
  left.add("queued", { group });
  const rig = left.restore(() => GROUP);
  const given: [string | undefined, DeliveryOrigin][] = [];
  rig.session.outbox.surrenderShared((position, origin) => {
    given.push([rig.store.payloads.get(position), origin]);
    rig.store.release(position);
    return true;
  });
  assert.deepEqual(given, [
    ["sent", { identifiers: [8], group: GROUP, ordinal: 2 }],
    ["queued", { identifiers: [], group: GROUP, ordinal: 2 }],
  ]);
  assert(given.every(([, origin]) => origin.group === GROUP));
  rig.assertHolds({});
});

Deno.test("Outbox.restore goes on naming a group that everybody left, so that its records find the message", () => {
  const left = new Leftovers();
  left.rig.session.record(7);
  const group = { ordinal: 2, name: "workers", filter: "t/#" };
  left.add("sent", { packetId: 1, group });
  const rig = left.restore();
  assert.deepEqual(allOwed(rig.session), left.owed);
  rig.connect();
  rig.puback(1);
  assert.deepEqual(rig.takeProgress(), ["DONE s7 #1 sent group 2"]);
});

Deno.test("Inbound.restore knows the QoS 2 messages that wait for PUBREL [MQTT-4.3.3-10]", () => {
  const { session } = new SessionRig();
  session.inbound.restore(new Set([1, 65_535]));
  assert.deepEqual([1, 2, 65_535].map((id) => session.inbound.isOpen(id)), [true, false, true]);
});

Deno.test("Outbox.walkOwed visits from the first position to below the end: sent ones in wire order, then the queue", () => {
  const rig = new SessionRig({ inflightMax: 3 });
  const origin: DeliveryOrigin = { identifiers: [4], group: GROUP, ordinal: 1 };
  rig.connect();
  rig.publish("a", { qos: 2 });
  rig.publish("bb", { retain: true, origin });
  rig.publish("ccc", { qos: 2 });
  rig.publish("dddd", { qos: 2, retain: true });
  rig.enqueueRetained("eeeee", { origin: { identifiers: [6], group: null, ordinal: 0 } });
  rig.pubrec(1);
  const positions = [...rig.store.payloads.keys()];
  const group = { ordinal: 1, name: "workers", filter: "t/#" };
  const expected: OwedMessage[] = [
    { size: 0, flags: 2, identifiers: [], packetId: 1, isReceived: true, group: undefined },
    { size: 5, flags: 1 | 4, identifiers: [4], packetId: 2, isReceived: false, group },
    { size: 6, flags: 2, identifiers: [], packetId: 3, isReceived: false, group: undefined },
    { size: 7, flags: 2 | 4, identifiers: [], packetId: 0, isReceived: false, group: undefined },
    { size: 8, flags: 4, identifiers: [6], packetId: 0, isReceived: false, group: undefined },
  ].map((each, index) => ({ position: positions[index]!, ...each }));
  assert.deepEqual(allOwed(rig.session), expected);
  for (let first = 0; first <= 5; first++) {
    for (let end = first; end <= 5; end++) {
      const [from, to] = [first, end].map((index) => positions[index] ?? Infinity) as [number, number];
      assert.deepEqual(allOwed(rig.session, from, to), expected.slice(first, end));
    }
  }
  rig.assertHolds({ inflight: 3, queued: 2, references: 4 });
});

Deno.test("Outbox.walkOwed of a Session that owes nothing visits nothing", () => {
  const rig = new SessionRig();
  assert.deepEqual(allOwed(rig.session), []);
  rig.connect();
  rig.publish("a");
  rig.puback(1);
  assert.deepEqual(allOwed(rig.session), []);
});

Deno.test("Outbox.surrenderShared asks the store for no sizes, which may lie on disk, and keeps those it knew", () => {
  const rig = new SessionRig({ queuedBytesMax: 30, queueFull: "drop-newest" });
  const origin: DeliveryOrigin = { identifiers: [], group: GROUP, ordinal: 1 };
  for (const payload of ["1234567", "1234567"]) rig.publish(payload, { origin });
  rig.store.sizesAsked = 0;
  rig.session.outbox.surrenderShared(() => false);
  assert.equal(rig.store.sizesAsked, 0);
  assert.deepEqual([rig.session.outbox.isQueueFullFor(10), rig.session.outbox.isQueueFullFor(11)], [false, true]);
});
