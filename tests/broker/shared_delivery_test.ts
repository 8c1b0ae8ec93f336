/**
 * Shared Subscriptions, from the outside: who of a group gets a message, and what happens when a member goes.
 */
import assert from "node:assert/strict";
import { TICK_MS } from "../../src/broker/timer_wheel.ts";
import { scenario, type World } from "./harness.ts";
import type { TestClient } from "./test_client.ts";

const FILTER = "$share/group/t";

function member(world: World, clientId: string, qos: 0 | 1 | 2 = 2, isDurable = false): TestClient {
  const client = isDurable ? world.durable(clientId) : world.client(clientId);
  client.subscribe(1, FILTER, qos);
  assert.deepEqual(client.heard(), [`suback #1 ${qos}`]);
  return client;
}

function publish(publisher: TestClient, qos: 0 | 1 | 2, ...payloads: string[]): void {
  for (const payload of payloads) publisher.publish("t", payload, qos === 0 ? {} : { qos, messageId: Number(payload) });
  publisher.read();
}

function payloads(client: TestClient): string[] {
  return client.read().filter(({ cmd }) => cmd === "publish").map(({ payload }) => String(payload));
}

Deno.test(
  "a Shared Subscription gives each message to one member, in turn, at its granted QoS [MQTT-4.8.2-3]",
  scenario({}, (world) => {
    const [a, b, c] = [member(world, "a", 0), member(world, "b", 1), member(world, "c", 2)];
    publish(world.client("publisher"), 2, "1", "2", "3", "4", "5", "6");
    assert.deepEqual(a.heard(), ["publish t '1' q0", "publish t '4' q0"]);
    assert.deepEqual(b.heard(), ["publish t '2' q1 #1", "publish t '5' q1 #2"]);
    assert.deepEqual(c.heard(), ["publish t '3' q2 #1", "publish t '6' q2 #2"]);
  }),
);

Deno.test(
  "a Shared Subscription gets no retained messages when it is made, and an ordinary one beside it gets its own copy",
  scenario({}, (world) => {
    const publisher = world.client("publisher");
    publisher.publish("t", "kept", { retain: true });
    world.settle();
    const a = member(world, "a", 1);
    a.subscribe(2, "t", 0);
    assert.deepEqual(a.heard(), ["suback #2 0", "publish t 'kept' q0 retain"]);
    publisher.publish("t", "1", { qos: 1, messageId: 1 });
    assert.deepEqual(a.heard(), ["publish t '1' q0", "publish t '1' q1 #1"]);
  }),
);

Deno.test(
  "members that are away are passed over",
  scenario({}, (world) => {
    const [a, b] = [member(world, "a", 1, true), member(world, "b", 1, true)];
    b.lose();
    publish(world.client("publisher"), 1, "1", "2", "3");
    assert.deepEqual(payloads(a), ["1", "2", "3"]);
    const back = world.durable("b");
    assert.deepEqual(payloads(back), []);
  }),
);

Deno.test(
  "a member that goes leaves its unacknowledged QoS 1 messages to the others",
  scenario({}, (world) => {
    const [a, b] = [member(world, "a", 1), member(world, "b", 1)];
    publish(world.client("publisher"), 1, "1", "2", "3", "4");
    assert.deepEqual(payloads(a), ["1", "3"]);
    a.puback(1);
    world.settle();
    a.lose();
    assert.deepEqual(b.heard(), ["publish t '2' q1 #1", "publish t '4' q1 #2", "publish t '3' q1 #3"]);
    assert.equal(world.counters.messagesDropped.session_ended, 0);
  }),
);

Deno.test(
  "a durable member that goes leaves its unacknowledged QoS 1 messages to the others at once, and gets them no more",
  scenario({}, (world) => {
    const [a, b] = [member(world, "a", 1, true), member(world, "b", 1, true)];
    publish(world.client("publisher"), 1, "1", "2");
    assert.deepEqual([payloads(a), payloads(b)], [["1"], ["2"]]);
    a.lose();
    assert.deepEqual(payloads(b), ["1"]);
    const back = world.durable("a");
    assert.deepEqual(back.heard(), []);
  }),
);

Deno.test(
  "a member that goes leaves what was queued for it to the others",
  scenario({}, (world) => {
    const a = world.client("a", { properties: { receiveMaximum: 1 } });
    a.subscribe(1, FILTER, 1);
    assert.deepEqual(a.heard(), ["suback #1 1"]);
    publish(world.client("publisher"), 1, "1", "2", "3");
    assert.deepEqual(payloads(a), ["1"]);
    const b = member(world, "b", 1);
    a.lose();
    assert.deepEqual(payloads(b), ["1", "2", "3"]);
  }),
);

Deno.test(
  "a QoS 2 message begun with a member stays with it, and goes with its Session [MQTT-4.8.2-4] [MQTT-4.8.2-5]",
  scenario({}, (world) => {
    const [a, b] = [member(world, "a", 2, true), member(world, "b", 2, true)];
    publish(world.client("publisher"), 2, "1");
    assert.deepEqual(a.heard(), ["publish t '1' q2 #1"]);
    a.lose();
    assert.deepEqual(b.heard(), []);
    const back = world.durable("a");
    assert.deepEqual(back.heard(), ["publish t '1' q2 #1 dup"]);
    back.lose();
    world.pass(3_601_000);
    assert.deepEqual(b.heard(), []);
    assert.equal(world.counters.messagesDropped.session_ended, 1);
  }),
);

Deno.test(
  "while nobody is online a message waits with a durable member, and whoever comes first gets it",
  scenario({}, (world) => {
    member(world, "a", 1, true).lose();
    member(world, "b", 1, true).lose();
    publish(world.client("publisher"), 1, "1", "2", "3");
    publish(world.client("publisher"), 0, "lost");
    assert.equal(world.counters.messagesDropped.no_member, 1);
    const b = world.durable("b");
    assert.deepEqual(payloads(b).toSorted(), ["1", "2", "3"]);
    assert.equal(world.counters.messagesQueued, 0);
  }),
);

Deno.test(
  "a client that joins a group gets, after SUBACK, what waits with members that are away",
  scenario({}, (world) => {
    member(world, "a", 1, true).lose();
    member(world, "b", 1, true).lose();
    publish(world.client("publisher"), 1, "1", "2", "3");
    const stranger = world.client("stranger");
    stranger.subscribe(1, [{ topic: "t", qos: 1 }, { topic: "$share/other/t", qos: 1 }]);
    assert.deepEqual(stranger.heard(), ["suback #1 1,1"]);
    const joining = world.client("c");
    joining.subscribe(1, [{ topic: "u", qos: 0 }, { topic: FILTER, qos: 1 }]);
    const [suback, ...messages] = joining.read();
    assert.equal(suback?.cmd, "suback");
    assert.deepEqual(messages.map(({ payload, qos }) => `${payload} q${qos}`).toSorted(), ["1 q1", "2 q1", "3 q1"]);
    assert.equal(world.counters.messagesQueued, 0);
    assert.deepEqual(world.durable("a").heard(), []);
  }),
);

Deno.test(
  "a message that waited with an absent member is not handed on after it expired [MQTT-3.3.2-5]",
  scenario({}, (world) => {
    member(world, "a", 1, true).lose();
    member(world, "b", 1, true).lose();
    const publisher = world.client("publisher");
    for (const messageId of [1, 2]) {
      publisher.publish("t", "x", { qos: 1, messageId, properties: { messageExpiryInterval: 10 } });
    }
    world.pass(11_000);
    assert.deepEqual(world.durable("b").heard(), []);
    assert.equal(world.counters.messagesDropped.expired, 2);
  }),
);

Deno.test(
  "the messages of a member whose Session ends go on to a durable member that is away",
  scenario({}, (world) => {
    const a = member(world, "a", 1, true);
    member(world, "b", 1, true).lose();
    publish(world.client("publisher"), 1, "1", "2");
    assert.deepEqual(payloads(a), ["1", "2"]);
    a.disconnect(0, 0);
    world.settle();
    assert.equal(world.counters.messagesDropped.session_ended, 0);
    assert.deepEqual(payloads(world.durable("b")), ["1", "2"]);
  }),
);

Deno.test(
  "a shared message refused by its receiver is dropped [MQTT-4.8.2-6]",
  scenario({}, (world) => {
    const [a, b] = [member(world, "a", 2), member(world, "b", 2)];
    publish(world.client("publisher"), 2, "1");
    assert.deepEqual(a.heard(), ["publish t '1' q2 #1"]);
    a.pubrec(1, 0x97);
    assert.deepEqual([a.heard(), b.heard()], [[], []]);
    assert.equal(world.counters.messagesInflight, 0);
  }),
);

Deno.test(
  "groups of different names each get a copy, and a member that unsubscribes gets no more",
  scenario({}, (world) => {
    const a = member(world, "a", 0);
    const b = world.client("b");
    b.subscribe(1, "$share/other/t", 0);
    b.unsubscribe(2, "t", "$share/none/t");
    assert.deepEqual(b.heard(), ["suback #1 0", "unsuback #2 0x11,0x11"]);
    const publisher = world.client("publisher");
    publish(publisher, 0, "1");
    assert.deepEqual([payloads(a), payloads(b)], [["1"], ["1"]]);
    b.unsubscribe(3, "$share/other/t");
    assert.deepEqual(b.heard(), ["unsuback #3 0"]);
    publish(publisher, 0, "2");
    assert.deepEqual([payloads(a), payloads(b)], [["2"], []]);
  }),
);

/** A client that joins a group in which messages wait. */
function latecomer(world: World, clientId: string, qos: 0 | 1 | 2, isDurable = false): TestClient {
  return (isDurable ? world.durable(clientId) : world.client(clientId)).subscribe(1, FILTER, qos);
}

const FEW = { limits: { queuedMax: 4, inflightMax: 1 } };

Deno.test(
  "a backlog of an absent member is handed on a bounded part at a time, and needs no acknowledgement to go on",
  scenario({ limits: { inflightMax: 1_000 } }, (world) => {
    member(world, "absent", 1, true).lose();
    const publisher = world.client("publisher");
    for (let messageId = 1; messageId <= 600; messageId++) publish(publisher, 1, String(messageId));
    const back = latecomer(world, "back", 1);
    const counts = [payloads(back).length];
    for (let tick = 0; tick < 3; tick++) {
      world.pass(TICK_MS);
      counts.push(payloads(back).length);
    }
    assert.deepEqual(counts, [256, 256, 88, 0]);
    assert.equal(world.counters.messagesQueued, 0);
  }),
);

Deno.test(
  "what a member that went away left goes on as the others acknowledge, each as much as its window lets it",
  scenario(FEW, (world) => {
    const [a, b, c] = ["a", "b", "c"].map((clientId) => member(world, clientId, 1, true));
    publish(world.client("publisher"), 1, "1", "2", "3", "4", "5", "6");
    assert.deepEqual([a!, b!, c!].map((client) => payloads(client)), [["1"], ["2"], ["3"]]);
    a!.lose();
    world.settle();
    assert.deepEqual([payloads(b!), payloads(c!)], [[], []], "their windows are full");
    const got: string[] = [];
    for (let messageId = 1; got.length < 4; messageId++) {
      for (const client of [b!, c!]) got.push(...payloads(client.puback(messageId)));
    }
    assert.deepEqual(got.toSorted(), ["1", "4", "5", "6"]);
    assert.equal(world.counters.messagesQueued, 0);
  }),
);

Deno.test(
  "a member that may not have a message is passed over, while another may",
  scenario({
    limits: { isRecheckedOnDeliver: true },
    permissions: ({ clientId }) => clientId === "barred" ? { mayReceive: () => false } : {},
  }, (world) => {
    const [barred, other] = [member(world, "barred", 1), member(world, "other", 1)];
    publish(world.client("publisher"), 1, "1", "2", "3");
    assert.deepEqual([payloads(barred), payloads(other)], [[], ["1", "2", "3"]]);
    assert.equal(world.counters.messagesDropped.not_authorized, 0);
    other.lose();
    member(world, "absent", 1, true).lose();
    publish(world.client("publisher"), 1, "4");
    assert.deepEqual(payloads(barred), []);
    assert.deepEqual(payloads(world.durable("absent")), ["4"]);
  }),
);

Deno.test(
  "a message that waited is not given to a member that may not have it, but to the next",
  scenario({
    limits: { isRecheckedOnDeliver: true },
    permissions: ({ clientId }) => clientId === "barred" ? { mayReceive: () => false } : {},
  }, (world) => {
    member(world, "absent", 1, true).lose();
    publish(world.client("publisher"), 1, "1", "2");
    assert.deepEqual(payloads(member(world, "barred", 1)), []);
    const other = latecomer(world, "other", 1, true);
    assert.deepEqual(payloads(other), ["1", "2"]);
    other.lose();
    assert.deepEqual(payloads(world.durable("other")), ["1", "2"]);
  }),
);

Deno.test(
  "what a Session that ends leaves goes to members with room, and is dropped only where there is none",
  scenario(FEW, (world) => {
    const goes = member(world, "goes", 1, true);
    publish(world.client("publisher"), 1, "1", "2", "3", "4", "5");
    assert.deepEqual(payloads(goes), ["1"]);
    const [full, free] = [member(world, "full", 1, true), member(world, "free", 1)];
    full.subscribe(2, "own", 1);
    full.read();
    full.lose();
    const publisher = world.client("other publisher");
    for (let messageId = 1; messageId <= 3; messageId++) publisher.publish("own", "x", { qos: 1, messageId });
    world.settle();
    goes.disconnect(0, 0);
    const got: string[] = [];
    for (let messageId = 1; messageId <= 5; messageId++) {
      got.push(...payloads(free), ...payloads(free.puback(messageId)));
    }
    assert.deepEqual(got, ["1", "2", "3", "4", "5"]);
    assert.equal(world.counters.messagesDropped.session_ended, 0);
    assert.equal(world.counters.messagesDropped.queue_full_oldest, 0);
  }),
);

Deno.test(
  "a member at QoS 0 takes what waits as its connection takes it",
  scenario({ limits: { outboundBytesMax: 40 } }, (world) => {
    member(world, "absent", 1, true).lose();
    const publisher = world.client("publisher");
    for (let messageId = 1; messageId <= 30; messageId++) publish(publisher, 1, String(messageId));
    const direct = latecomer(world, "direct", 0);
    assert.equal(payloads(direct).length, 30);
    assert.equal(world.counters.messagesDropped.outbound_full, 0);
    assert.equal(world.counters.messagesQueued, 0);
  }),
);

Deno.test(
  "when nobody has room the policy for full queues decides, and says so",
  scenario(FEW, (world) => {
    member(world, "a", 1, true).lose();
    member(world, "b", 1, true).lose();
    publish(world.client("publisher"), 1, "1", "2", "3", "4", "5", "6", "7", "8", "9");
    assert.equal(world.counters.messagesQueued, 8);
    assert.equal(world.counters.messagesDropped.queue_full_oldest, 1);
  }),
);

Deno.test(
  "a message that a member at QoS 0 had no room for waits with an absent one, and comes when there is room",
  scenario({ limits: { outboundBytesMax: 40 } }, (world) => {
    const direct = member(world, "direct", 0);
    member(world, "absent", 1, true).lose();
    direct.isStalled = true;
    const publisher = world.client("publisher");
    for (let messageId = 1; messageId <= 30; messageId++) publish(publisher, 1, String(messageId));
    assert(world.counters.messagesQueued > 0);
    direct.isStalled = false;
    assert.equal(payloads(direct).length, 30);
    assert.equal(world.counters.messagesDropped.outbound_full, 0);
    assert.equal(world.counters.messagesQueued, 0);
  }),
);

Deno.test(
  "a long backlog that a member leaves goes on to all others in turn, a bounded part at a time",
  scenario({ limits: { inflightMax: 1_000 } }, (world) => {
    const goes = member(world, "goes", 1, true);
    const publisher = world.client("publisher");
    for (let messageId = 1; messageId <= 700; messageId++) publish(publisher, 1, String(messageId));
    assert.equal(payloads(goes).length, 700);
    const others = ["a", "b"].map((clientId) => member(world, clientId, 1));
    goes.lose();
    const first = others.map((client) => payloads(client).length);
    assert.deepEqual(first, [128, 128]);
    world.pass(2 * TICK_MS);
    const rest = others.map((client) => payloads(client).length);
    assert.equal(rest[0]! + rest[1]!, 700 - 256);
    assert(rest[0]! > 0 && rest[1]! > 0);
  }),
);
