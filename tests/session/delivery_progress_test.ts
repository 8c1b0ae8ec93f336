/**
 * What of a delivery is on record: every step of a recorded Session, steps of others only where a message of a Shared
 * Subscription would go to a recorded member after a crash, and nothing else. See `takeProgress` for the lines.
 */

import assert from "node:assert/strict";
import type { DeliveryOrigin } from "../../src/session/delivery_origin.ts";
import { Session } from "../../src/session/session.ts";
import type { SessionLimits } from "../../src/session/session_limits.ts";
import { SharedGroup } from "../../src/topics/shared_subscriptions.ts";
import { SessionRig } from "./session_rig.ts";

/** A rig whose Session has the number 7. */
function recordedRig(limits: Partial<SessionLimits> = {}): SessionRig {
  const rig = new SessionRig(limits);
  rig.session.record(7);
  return rig;
}

/** A group whose members have these numbers. */
function groupOf(rig: SessionRig, ...recordNumbers: readonly number[]): SharedGroup<Session> {
  const group = new SharedGroup<Session>("workers", "t");
  for (const recordNumber of recordNumbers) {
    const subscriber = new Session(`member-${recordNumber}`, rig.context);
    subscriber.record(recordNumber);
    group.add({
      subscriber,
      filter: "t",
      group: "workers",
      qos: 2,
      noLocal: false,
      retainAsPublished: false,
      retainHandling: 0,
      subscriptionIdentifier: 0,
    });
  }
  return group;
}

Deno.test("Session is recorded once it has a number", () => {
  const rig = new SessionRig();
  assert.equal(rig.session.isRecorded, false);
  rig.session.record(1);
  assert.equal(rig.session.isRecorded, true);
});

Deno.test("Session that is recorded notes QoS 1 when it is sent and when PUBACK comes, whatever its code", () => {
  const rig = recordedRig();
  rig.connect();
  rig.publish("a");
  assert.deepEqual(rig.takeProgress(), ["SENT s7 #1 a"]);
  rig.publish("b");
  rig.puback(2, 0x97);
  rig.puback(1);
  rig.puback(1);
  assert.deepEqual(rig.takeProgress(), ["SENT s7 #2 b", "DONE s7 #2 b", "DONE s7 #1 a"]);
});

Deno.test("Session that is recorded notes every step of QoS 2, each once", () => {
  const rig = recordedRig();
  rig.connect();
  rig.publish("a", { qos: 2 });
  rig.pubrec(1);
  rig.pubrec(1);
  rig.pubcomp(1);
  rig.pubcomp(1);
  rig.pubrec(1);
  assert.deepEqual(rig.takeProgress(), ["SENT s7 #1 a", "RECEIVED s7 #1 a", "DONE s7 #1 a"]);
});

Deno.test("Session that is recorded notes that a PUBREC with an error completes the message", () => {
  const rig = recordedRig();
  rig.connect();
  rig.publish("a", { qos: 2 });
  rig.pubrec(1, 0x83);
  assert.deepEqual(rig.takeProgress(), ["SENT s7 #1 a", "DONE s7 #1 a"]);
});

Deno.test("Session that is recorded notes nothing of QoS 0", () => {
  const rig = recordedRig();
  rig.connect();
  rig.publish("a", { qos: 0 });
  rig.publish("b", { qos: 0, retain: true });
  assert.equal(rig.sink.take().length, 2);
  assert.deepEqual(rig.takeProgress(), []);
});

Deno.test("Session that is recorded notes a queued message when it leaves the queue, not before", () => {
  const rig = recordedRig();
  rig.publish("a");
  rig.publish("b", { qos: 2 });
  rig.enqueueRetained("c");
  assert.deepEqual(rig.takeProgress(), []);
  rig.connect();
  assert.deepEqual(rig.takeProgress(), ["SENT s7 #1 a", "SENT s7 #2 b", "DONE s7 #0 c"]);
});

Deno.test("Session that is recorded notes no resend, of PUBLISH or PUBREL", () => {
  const rig = recordedRig();
  rig.connect();
  rig.publish("a");
  rig.publish("b", { qos: 2 });
  rig.publish("c", { qos: 2 });
  rig.pubrec(3);
  rig.takeProgress();
  rig.disconnect();
  rig.connect();
  assert.equal(rig.sink.take().length, 3);
  assert.deepEqual(rig.takeProgress(), []);
});

Deno.test("Session that is recorded notes what is too large for the client as done, and never as sent", () => {
  const rig = recordedRig();
  rig.connect({ packetBytesMax: 20 });
  rig.publish("x".repeat(20));
  rig.publish("a");
  assert.deepEqual(rig.takeProgress(), [`DONE s7 #1 ${"x".repeat(20)}`, "SENT s7 #2 a"]);
  rig.connect({ packetBytesMax: 9 });
  assert.deepEqual(rig.takeProgress(), []);
  rig.connect({ packetBytesMax: 8 });
  assert.deepEqual(rig.takeProgress(), ["DONE s7 #2 a"]);
  rig.disconnect();
  rig.enqueueRetained("larger");
  rig.connect({ packetBytesMax: 8 });
  assert.deepEqual(rig.takeProgress(), ["DONE s7 #0 larger"]);
  rig.assertHolds({});
  rig.assertDropped({ packet_too_large: 3 });
});

Deno.test("Session that is recorded notes what expired in the queue as done", () => {
  const rig = recordedRig();
  rig.publish("a", { expirySeconds: 10 });
  rig.publish("b");
  rig.enqueueRetained("c", { expirySeconds: 10 });
  rig.nowMs += 10_000;
  rig.connect();
  assert.deepEqual(rig.takeProgress(), ["DONE s7 #0 a", "SENT s7 #1 b", "DONE s7 #0 c"]);
  rig.assertDropped({ expired: 2 });
});

Deno.test("Session that is recorded notes what drop-oldest drops as done", () => {
  const rig = recordedRig({ queuedMax: 2, queueFull: "drop-oldest" });
  for (const payload of ["1", "2", "3", "4"]) rig.publish(payload);
  assert.deepEqual(rig.takeProgress(), ["DONE s7 #0 1", "DONE s7 #0 2"]);
});

for (const queueFull of ["drop-newest", "reject"] as const) {
  Deno.test(`Session that is recorded notes what ${queueFull} refuses as done`, () => {
    const rig = recordedRig({ queuedMax: 2, queueFull });
    for (const payload of ["1", "2", "3"]) rig.publish(payload);
    assert.deepEqual(rig.takeProgress(), ["DONE s7 #0 3"]);
  });
}

Deno.test("Session that is recorded notes what can never fit its queue as done, and drops nothing for it", () => {
  const rig = recordedRig({ queuedBytesMax: 10, queueFull: "drop-oldest" });
  rig.publish("1");
  rig.publish("x".repeat(20));
  assert.deepEqual(rig.takeProgress(), [`DONE s7 #0 ${"x".repeat(20)}`]);
  rig.assertHolds({ queued: 1 });
});

Deno.test("Session that is recorded notes nothing when it ends, and nothing is delivered to it afterwards", () => {
  const rig = recordedRig({ inflightMax: 2 });
  rig.connect();
  for (const qos of [1, 2, 1] as const) rig.publish(`${qos}`, { qos });
  rig.takeProgress();
  rig.disconnect();
  rig.session.end();
  assert.equal(rig.publish("late"), false);
  assert.deepEqual(rig.takeProgress(), []);
  rig.assertHolds({});
});

Deno.test("Session that is not recorded notes nothing, with Subscription Identifiers or without", () => {
  const rig = new SessionRig({ queuedMax: 1, inflightMax: 2 });
  const origin = { identifiers: [1], group: null, ordinal: 0 };
  rig.connect();
  rig.publish("a", { origin });
  rig.publish("b", { qos: 2 });
  rig.publish("dropped", { origin });
  rig.publish("queued", { origin });
  rig.pubrec(2);
  rig.pubcomp(2);
  rig.puback(1);
  assert.deepEqual(rig.takeProgress(), []);
  rig.assertDropped({ queue_full_oldest: 1 });
});

Deno.test("Session names the shared group of a message in every record of it", () => {
  const rig = recordedRig({ inflightMax: 2, queuedMax: 1 });
  const origin: DeliveryOrigin = { identifiers: [], group: groupOf(rig, 7), ordinal: 3 };
  rig.connect();
  rig.publish("a", { origin });
  rig.publish("b", { qos: 2, origin });
  rig.publish("c", { origin });
  rig.publish("d");
  rig.pubrec(2);
  rig.pubcomp(2);
  assert.deepEqual(rig.takeProgress(), [
    "SENT s7 #1 a group 3",
    "SENT s7 #2 b group 3",
    "DONE s7 #0 c group 3",
    "RECEIVED s7 #2 b group 3",
    "DONE s7 #2 b group 3",
    "SENT s7 #3 d",
  ]);
});

Deno.test("Session that is not recorded notes what it takes from a group with a recorded member, under number 0", () => {
  const rig = new SessionRig();
  const group = groupOf(rig, 0, 9);
  rig.connect();
  rig.publish("a", { qos: 2, origin: { identifiers: [], group, ordinal: 1 } });
  rig.publish("b", { origin: { identifiers: [], group: groupOf(rig, 0), ordinal: 2 } });
  rig.pubrec(1);
  rig.pubcomp(1);
  rig.puback(2);
  assert.deepEqual(rig.takeProgress(), ["SENT s0 #1 a group 1", "RECEIVED s0 #1 a group 1", "DONE s0 #1 a group 1"]);
});

Deno.test("Session notes nothing of a shared message that is taken over: that is for who takes it", () => {
  const rig = recordedRig({ inflightMax: 1 });
  const origin: DeliveryOrigin = { identifiers: [], group: groupOf(rig, 7, 9), ordinal: 1 };
  rig.connect();
  rig.publish("sent", { origin });
  rig.publish("queued", { origin });
  rig.disconnect();
  rig.takeProgress();
  rig.session.outbox.surrenderShared((position) => {
    rig.store.release(position);
    return true;
  });
  assert.deepEqual(rig.takeProgress(), []);
  rig.assertHolds({});
});

Deno.test("Session that ends notes shared messages that nobody took over as done: others may not get them [MQTT-4.8.2-5]", () => {
  for (const recordNumber of [0, 7]) {
    const rig = new SessionRig({ inflightMax: 3 });
    rig.session.record(recordNumber);
    const origin: DeliveryOrigin = { identifiers: [], group: groupOf(rig, 9), ordinal: 2 };
    rig.connect();
    rig.publish("a", { qos: 2, origin });
    rig.publish("b", { qos: 2, origin });
    rig.publish("own", { qos: 2 });
    rig.publish("c", { origin });
    rig.publish("d", { origin: { identifiers: [], group: groupOf(rig, 0), ordinal: 3 } });
    rig.pubrec(2);
    rig.takeProgress();
    rig.disconnect();
    rig.session.end();
    const s = `s${recordNumber}`;
    assert.deepEqual(rig.takeProgress(), [
      `DONE ${s} #1 a group 2`,
      `DONE ${s} #2 b group 2`,
      `DONE ${s} #0 c group 2`,
    ]);
    rig.assertHolds({});
  }
});
