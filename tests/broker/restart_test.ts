/**
 * The broker dies and starts again: what a client finds is where the protocol says it left off.
 *
 * Nothing here is on a disk: the store keeps what it was told, and `naive_replay.ts` says what that amounts to.
 */
import assert from "node:assert/strict";
import { scenario, type World } from "./harness.ts";
import { type ConnectOptions, publishPacket, type TestClient } from "./test_client.ts";

const HOUR = { sessionExpiryInterval: 3_600 };

/** A durable client with one subscription. */
function subscriber(world: World, clientId: string, filter: string, qos: 0 | 1 | 2): TestClient {
  const client = world.durable(clientId);
  client.subscribe(1, filter, qos);
  assert.deepEqual(client.heard(), [`suback #1 ${qos}`]);
  return client;
}

function publish(world: World, topic: string, qos: 1 | 2, ...payloads: string[]): void {
  const publisher = world.client("passing");
  payloads.forEach((payload, index) => publisher.publish(topic, payload, { qos, messageId: index + 1 }));
  world.settle();
  for (let messageId = 1; qos === 2 && messageId <= payloads.length; messageId++) publisher.pubrel(messageId);
  world.settle();
  publisher.disconnect();
  world.settle();
}

/** Connects again; the Session must be there. Returns what follows CONNACK. */
function resume(
  world: World,
  clientId: string,
  options: ConnectOptions = {},
): { readonly client: TestClient; readonly heard: string[] } {
  const client = world.open();
  assert.equal(client.connect({ clientId, clean: false, properties: HOUR, ...options }), "connack 0 present");
  return { client, heard: client.heard() };
}

Deno.test(
  "a restart keeps a Session with its subscriptions, their options and identifiers [MQTT-4.1.0-1]",
  scenario({}, (world) => {
    const client = world.durable("c", { username: "somebody" });
    const options = { rap: true, nl: true, rh: 2 as const };
    client.subscribe(1, [{ topic: "t/+", qos: 1, ...options }, { topic: "gone", qos: 1 }], 1, 77);
    client.unsubscribe(2, "gone");
    assert.deepEqual(client.heard(), ["suback #1 1,1", "unsuback #2 0"]);
    const before = [...world.core.sessions.sessions.get("c")!.subscriptions.values()];
    world.restart("committed");
    const session = world.core.sessions.sessions.get("c")!;
    assert.deepEqual(
      [...session.subscriptions.values()],
      before.map((subscription) => ({ ...subscription, subscriber: session })),
    );
    assert.equal(session.username, "somebody");
    assert.deepEqual([world.counters.sessionsOffline, world.counters.subscriptions], [1, 1]);
    const { client: back } = resume(world, "c", { username: "somebody" });
    back.publish("t/own", "not to itself", { qos: 1, messageId: 1 });
    world.client("other").publish("t/other", "x", { qos: 1, messageId: 1, retain: true });
    const [puback, message] = back.read();
    assert.equal(puback?.cmd, "puback");
    assert.deepEqual([message?.topic, message?.retain, message?.qos], ["t/other", true, 1]);
    assert.equal(message?.properties?.["subscriptionIdentifier"], 77);
  }),
);

Deno.test(
  "QoS 1 messages unacknowledged at a restart are sent again with DUP and the same Packet Identifiers, before those never sent [MQTT-4.4.0-1] [MQTT-3.3.1-1]",
  scenario({ limits: { inflightMax: 3 } }, (world) => {
    const client = subscriber(world, "c", "t", 1);
    publish(world, "t", 1, "a", "b", "c", "d", "e");
    assert.equal(client.heard().length, 3);
    client.puback(2);
    assert.deepEqual(client.heard(), ["publish t 'd' q1 #4"]);
    world.restart("written");
    assert.deepEqual([world.counters.messagesInflight, world.counters.messagesQueued], [3, 1]);
    const { client: back, heard } = resume(world, "c");
    assert.deepEqual(heard, ["publish t 'a' q1 #1 dup", "publish t 'c' q1 #3 dup", "publish t 'd' q1 #4 dup"]);
    back.puback(1).puback(3).puback(4);
    assert.deepEqual(back.heard(), ["publish t 'e' q1 #5"]);
    back.puback(5);
    world.settle();
    world.restart("written");
    assert.deepEqual(resume(world, "c").heard, []);
  }),
);

Deno.test(
  "a QoS 2 message goes on where its handshake was: before PUBREC, after PUBREC, after PUBCOMP [MQTT-4.3.3-2] [MQTT-4.4.0-1]",
  scenario({}, (world) => {
    const client = subscriber(world, "c", "t", 2);
    publish(world, "t", 2, "a", "b", "c");
    assert.equal(client.heard().length, 3);
    client.pubrec(1).pubrec(2);
    assert.deepEqual(client.heard(), ["pubrel #1", "pubrel #2"]);
    client.pubcomp(1);
    world.settle();
    world.restart("written");
    const { client: back, heard } = resume(world, "c");
    assert.deepEqual(heard, ["pubrel #2", "publish t 'c' q2 #3 dup"]);
    back.pubcomp(2).pubrec(3);
    assert.deepEqual(back.heard(), ["pubrel #3"]);
    back.pubcomp(3);
    world.settle();
    assert.equal(world.counters.messagesInflight, 0);
  }),
);

Deno.test(
  "a QoS 2 PUBLISH that comes again after a restart is acknowledged again and not routed again [MQTT-4.3.3-10]",
  scenario({}, (world) => {
    subscriber(world, "c", "t", 2);
    const publisher = world.durable("publisher");
    publisher.publish("t", "x", { qos: 2, messageId: 9 });
    assert.deepEqual(publisher.heard(), ["pubrec #9"]);
    world.restart("committed");
    const { client: back } = resume(world, "publisher");
    back.publish("t", "x", { qos: 2, messageId: 9, dup: true });
    assert.deepEqual(back.heard(), ["pubrec #9"]);
    back.pubrel(9);
    assert.deepEqual(back.heard(), ["pubcomp #9"]);
    // The identifier is free again, after one more restart as well. [MQTT-4.3.3-12]
    world.restart("committed");
    const { client: again } = resume(world, "publisher");
    again.publish("t", "y", { qos: 2, messageId: 9 });
    assert.deepEqual(again.heard(), ["pubrec #9"]);
    const { heard } = resume(world, "c");
    assert.deepEqual(heard.map((line) => line.split(" ")[2]), ["'x'", "'y'"]);
  }),
);

Deno.test(
  "what was not acknowledged before a power cut may be gone, what was acknowledged is not",
  scenario({}, (world) => {
    subscriber(world, "c", "t", 1);
    const publisher = world.client("publisher");
    publisher.publish("t", "kept", { qos: 1, messageId: 1 });
    assert.deepEqual(publisher.heard(), ["puback #1"]);
    world.store.isSlow = true;
    publisher.publish("t", "in doubt", { qos: 1, messageId: 2 });
    assert.deepEqual(publisher.heard(), []);
    world.restart("committed");
    // The first was sent, and that was written down: it comes with DUP if the record is left, without if it is not.
    const { heard } = resume(world, "c");
    assert.equal(heard.length, 1);
    assert.match(heard[0]!, /^publish t 'kept' q1 #1/);
  }),
);

Deno.test(
  "a message that was written but not acknowledged when the broker was killed is delivered all the same",
  scenario({}, (world) => {
    subscriber(world, "c", "t", 1);
    world.store.isSlow = true;
    const publisher = world.client("publisher");
    publisher.publish("t", "in doubt", { qos: 1, messageId: 1 });
    assert.deepEqual(publisher.heard(), []);
    world.restart("written");
    assert.deepEqual(resume(world, "c").heard, ["publish t 'in doubt' q1 #1"]);
  }),
);

Deno.test(
  "Retained Messages and their removal survive a restart; one that expired meanwhile does not [MQTT-3.3.1-5] [MQTT-3.3.1-6]",
  scenario({}, (world) => {
    const publisher = world.client("publisher");
    publisher.sendTogether(
      publishPacket("kept", "1", { retain: true }),
      publishPacket("replaced", "1", { qos: 1, messageId: 1, retain: true }),
      publishPacket("replaced", "2", { qos: 1, messageId: 2, retain: true }),
      publishPacket("removed", "1", { qos: 1, messageId: 3, retain: true }),
      publishPacket("removed", "", { retain: true }),
      publishPacket("expires", "1", { retain: true, properties: { messageExpiryInterval: 5 } }),
    );
    world.settle();
    assert.equal(world.counters.retainedMessages, 3);
    world.nowMs += 6_000;
    world.restart("committed");
    assert.equal(world.counters.retainedMessages, 2);
    assert.equal(world.store.liveMessages, 2);
    const client = world.client("c");
    client.subscribe(1, "#", 1);
    assert.deepEqual(client.heard().toSorted(), [
      "publish kept '1' q0 retain",
      "publish replaced '2' q1 #1 retain",
      "suback #1 1",
    ]);
  }),
);

Deno.test(
  "a Retained Message that a Session was sent or waits for is owed to it after a restart",
  scenario({ limits: { inflightMax: 1 } }, (world) => {
    world.client("publisher").sendTogether(
      publishPacket("t/1", "x", { qos: 1, messageId: 1, retain: true }),
      publishPacket("t/2", "x", { qos: 1, messageId: 2, retain: true }),
      publishPacket("t/3", "x", { retain: true }),
    );
    world.settle();
    const client = world.durable("c");
    client.subscribe(1, "t/#", 1, 5);
    world.settle();
    const sentBefore = client.read().slice(1).map(({ topic }) => topic);
    assert(sentBefore.length < 3);
    world.restart("written");
    const back = world.open().sendConnect({ clientId: "c", clean: false, properties: HOUR });
    const seen: unknown[] = [];
    for (let packets = back.read(); packets.length > 0; packets = back.read()) {
      for (const { cmd, topic, qos, retain, messageId, properties } of packets) {
        if (cmd !== "publish") continue;
        assert.deepEqual([retain, properties?.["subscriptionIdentifier"]], [true, 5]);
        seen.push(topic);
        if (qos === 1) back.puback(messageId!);
      }
    }
    // At QoS 0 what left has left.
    const unseen = ["t/1", "t/2", ...(sentBefore.includes("t/3") ? [] : ["t/3"])];
    assert.deepEqual(seen.toSorted(), unseen);
    assert.deepEqual(world.counters.messagesQueued, 0);
  }),
);

Deno.test(
  "a Retained Message asked for twice is owed twice, and each acknowledgement counts for its own",
  scenario({}, (world) => {
    const client = subscriber(world, "c", "t", 1);
    world.client("publisher").publish("t", "x", { qos: 1, messageId: 1, retain: true });
    assert.deepEqual(client.heard(), ["publish t 'x' q1 #1"]);
    client.subscribe(2, "t", 1);
    assert.deepEqual(client.heard(), ["suback #2 1", "publish t 'x' q1 #2 retain"]);
    client.puback(1);
    world.settle();
    world.restart("written");
    assert.deepEqual(resume(world, "c").heard, ["publish t 'x' q1 #2 retain dup"]);
  }),
);

Deno.test(
  "the Will Message of a connection that a crash ended is published at the restart, of unrecorded Sessions as well [MQTT-3.1.2-8]",
  scenario({}, (world) => {
    subscriber(world, "watcher", "will/+", 1).lose();
    const will = (name: string) => ({ topic: `will/${name}`, payload: "gone", qos: 1 as const });
    world.durable("durable", { will: will("durable") });
    world.client("passing", { will: will("passing") });
    const properties = { messageExpiryInterval: 100, contentType: "text" };
    world.client("with-properties", { will: { ...will("with-properties"), retain: true, properties } });
    world.client("polite", { will: will("polite") }).disconnect();
    world.durable("published", { will: will("published") }).lose();
    world.settle();
    world.restart("committed");
    assert.deepEqual(world.store.linesOf("will-over").toSorted(), [
      "will-over durable",
      "will-over passing",
      "will-over polite",
      "will-over published",
      "will-over with-properties",
    ]);
    const client = world.open().sendConnect({ clientId: "watcher", clean: false, properties: HOUR });
    const wills = client.read().slice(1).toSorted((a, b) => a.topic! < b.topic! ? -1 : 1);
    assert.deepEqual(wills.map(({ topic }) => topic), [
      "will/durable",
      "will/passing",
      "will/published",
      "will/with-properties",
    ]);
    const { contentType, messageExpiryInterval } = wills[3]!.properties as Record<string, unknown>;
    assert.deepEqual([contentType, messageExpiryInterval], ["text", 100]);
    world.restart("written");
    assert.equal(world.store.linesOf("will-over").length, 5);
    assert.equal(world.counters.retainedMessages, 1);
  }),
);

Deno.test(
  "a Will Message that waits for its delay goes on waiting through a restart, and a client that comes back stops it [MQTT-3.1.3-9]",
  scenario({}, (world) => {
    subscriber(world, "watcher", "will/+", 1).lose();
    const delayed = (name: string, willDelayInterval: number) =>
      world.durable(name, {
        will: { topic: `will/${name}`, payload: "gone", qos: 1, properties: { willDelayInterval } },
      });
    delayed("pending", 20).lose();
    delayed("stopped", 20).lose();
    delayed("alive", 20);
    delayed("past", 5).lose();
    world.settle();
    world.nowMs += 10_000;
    world.restart("written");
    const watcher = world.open().sendConnect({ clientId: "watcher", clean: false, properties: HOUR });
    const heard = () => watcher.read().filter(({ cmd }) => cmd === "publish").map(({ topic }) => topic);
    world.pass(100);
    assert.deepEqual(heard(), ["will/past"]);
    resume(world, "stopped");
    world.pass(9_700);
    assert.deepEqual(heard(), []);
    world.pass(300);
    assert.deepEqual(heard(), ["will/pending"]);
    world.pass(9_700);
    assert.deepEqual(heard(), []);
    world.pass(300);
    assert.deepEqual(heard(), ["will/alive"]);
  }),
);

Deno.test(
  "the clock of a Session goes on through a restart; the connection of one that was online ends with it [MQTT-3.1.2-23]",
  scenario({}, (world) => {
    const properties = { sessionExpiryInterval: 100 };
    world.durable("long-gone", { properties }).lose();
    world.nowMs += 50_000;
    world.durable("gone", { properties }).lose();
    world.durable("online", { properties });
    world.durable("forever", { properties: { sessionExpiryInterval: 0xffff_ffff } });
    world.settle();
    world.nowMs += 60_000;
    world.restart("committed");
    const left = () => [...world.core.sessions.sessions.keys()];
    assert.deepEqual(left(), ["gone", "online", "forever"]);
    assert.equal(world.counters.sessionsOffline, 3);
    // The time a broker was down counts for those who were away, and not for those it threw out.
    world.pass(41_000);
    assert.deepEqual(left(), ["online", "forever"]);
    world.pass(60_000);
    assert.deepEqual(left(), ["forever"]);
    world.restart("written");
    assert.deepEqual(left(), ["forever"]);
  }),
);

Deno.test(
  "a Session that was resumed without expiry ends with the broker",
  scenario({}, (world) => {
    subscriber(world, "c", "t", 1).lose();
    assert.equal(world.open().connect({ clientId: "c", clean: false }), "connack 0 present");
    world.restart("committed");
    assert.equal(world.core.sessions.sessions.size, 0);
    assert.equal(world.counters.subscriptions, 0);
    assert.deepEqual(world.store.linesOf("end"), ["end c"]);
  }),
);

Deno.test(
  "a changed Session Expiry Interval counts after a restart",
  scenario({}, (world) => {
    const properties = { sessionExpiryInterval: 10 };
    world.durable("by-disconnect", { properties }).disconnect(0, 1_000);
    world.durable("by-connect", { properties }).lose();
    world.durable("by-connect", { properties: { sessionExpiryInterval: 1_000 } }).lose();
    world.settle();
    world.restart("committed");
    world.pass(500_000);
    assert.equal(world.core.sessions.sessions.size, 2);
    world.pass(501_000);
    assert.equal(world.core.sessions.sessions.size, 0);
  }),
);

Deno.test(
  "Clean Start over a recorded Session: a crash before the commit brings the old one back, one after it does not [MQTT-3.1.2-4]",
  scenario({}, (world) => {
    for (const sessionExpiryInterval of [0, 60]) {
      subscriber(world, "c", "t", 1).lose();
      world.store.isSlow = true;
      const properties = { sessionExpiryInterval };
      const early = world.open().sendConnect({ clientId: "c", clean: true, properties });
      assert.deepEqual(early.heard(), []);
      world.restart("committed");
      assert.equal(world.counters.subscriptions, 1);
      world.store.isSlow = true;
      const late = world.open().sendConnect({ clientId: "c", clean: true, properties });
      world.commit();
      assert.deepEqual(late.heard(), ["connack 0"]);
      world.restart("committed");
      assert.equal(world.counters.subscriptions, 0);
      assert.equal(world.core.sessions.sessions.has("c"), sessionExpiryInterval > 0);
      world.open().connect({ clientId: "c", clean: true });
      world.clients.at(-1)!.disconnect();
      world.settle();
    }
  }),
);

Deno.test(
  "CONNACK without Session Present waits until the Session that ended just before cannot come back",
  scenario({}, (world) => {
    const client = subscriber(world, "c", "t", 1);
    world.store.isSlow = true;
    client.disconnect(0, 0);
    world.settle();
    const next = world.open().sendConnect({ clientId: "c", clean: false });
    const stranger = world.client("stranger");
    assert.deepEqual(next.heard(), []);
    world.commit();
    assert.deepEqual(next.heard(), ["connack 0"]);
    assert.equal(stranger.isGone, false);
  }),
);

Deno.test(
  "messages that wait for a Shared Subscription go to the first member that comes after a restart",
  scenario({}, (world) => {
    for (const clientId of ["a", "b"]) subscriber(world, clientId, "$share/group/t", 1).lose();
    publish(world, "t", 1, "1", "2", "3");
    world.restart("committed");
    assert.equal(world.counters.messagesQueued, 3);
    const { client, heard } = resume(world, "b");
    assert.deepEqual(heard.map((line) => line.split(" ")[2]).toSorted(), ["'1'", "'2'", "'3'"]);
    for (const id of [1, 2, 3]) client.puback(id);
    world.settle();
    world.restart("written");
    assert.equal(world.counters.messagesQueued + world.counters.messagesInflight, 0);
    assert.deepEqual(resume(world, "a").heard, []);
  }),
);

Deno.test(
  "a shared message sent to a member stays with it through a restart until another one may have it [MQTT-4.8.2-4]",
  scenario({}, (world) => {
    const [a, b] = [subscriber(world, "a", "$share/group/t", 2), subscriber(world, "b", "$share/group/t", 2)];
    publish(world, "t", 2, "1", "2");
    assert.deepEqual([a.heard(), b.heard()], [["publish t '1' q2 #1"], ["publish t '2' q2 #1"]]);
    b.pubrec(1);
    assert.deepEqual(b.heard(), ["pubrel #1"]);
    world.restart("written");
    assert.deepEqual(resume(world, "b").heard, ["pubrel #1"]);
    assert.deepEqual(resume(world, "a").heard, ["publish t '1' q2 #1 dup"]);
  }),
);

Deno.test(
  "a shared message held by a client without a recorded Session goes to a recorded member after a crash",
  scenario({}, (world) => {
    subscriber(world, "recorded", "$share/group/t", 1).lose();
    const passing = world.client("member");
    passing.subscribe(1, "$share/group/t", 1);
    assert.deepEqual(passing.heard(), ["suback #1 1"]);
    publish(world, "t", 1, "1", "2");
    assert.equal(passing.heard().length, 2);
    passing.puback(1);
    world.settle();
    world.restart("written");
    assert.deepEqual(resume(world, "recorded").heard, ["publish t '2' q1 #1"]);
  }),
);

Deno.test(
  "a shared message that left a member for the queue of another survives the end of the first",
  scenario({}, (world) => {
    const a = subscriber(world, "a", "$share/group/t", 1);
    subscriber(world, "b", "$share/group/t", 1).lose();
    publish(world, "t", 1, "1");
    assert.deepEqual(a.heard(), ["publish t '1' q1 #1"]);
    a.disconnect(0, 0);
    world.settle();
    world.restart("committed");
    assert.deepEqual([...world.core.sessions.sessions.keys()], ["b"]);
    assert.deepEqual(resume(world, "b").heard, ["publish t '1' q1 #1"]);
  }),
);

Deno.test(
  "a message owed before a restart that expires before its client comes is not delivered [MQTT-3.3.2-5]",
  scenario({}, (world) => {
    subscriber(world, "c", "t", 1).lose();
    subscriber(world, "member", "$share/group/t", 1).lose();
    const properties = { messageExpiryInterval: 10 };
    world.client("publisher").publish("t", "x", { qos: 1, messageId: 1, properties });
    world.settle();
    world.nowMs += 11_000;
    world.restart("committed");
    assert.deepEqual(resume(world, "c").heard, []);
    assert.deepEqual(resume(world, "member").heard, []);
    assert.equal(world.counters.messagesDropped.expired, 2);
  }),
);

Deno.test(
  "a broker without connections that only times out still commits the ends of Sessions",
  scenario({}, (world) => {
    world.durable("c", { properties: { sessionExpiryInterval: 10 } }).lose();
    world.settle();
    world.pass(11_000);
    world.restart("committed");
    assert.equal(world.core.sessions.sessions.size, 0);
    assert.deepEqual(world.store.linesOf("end"), ["end c"]);
  }),
);

Deno.test(
  "a store that forgets is told of no Session and no route",
  scenario({ isDurable: false }, (world) => {
    const client = subscriber(world, "c", "t", 2);
    world.client("passing", { will: { topic: "t", payload: "gone", qos: 1 } }).lose();
    assert.deepEqual(client.heard(), ["publish t 'gone' q1 #1"]);
    client.puback(1).publish("t", "x", { qos: 2, messageId: 1 });
    assert.deepEqual(client.heard(), ["pubrec #1", "publish t 'x' q2 #2"]);
    client.pubrel(1).lose();
    world.settle();
    assert.deepEqual(world.store.linesAfter(0), ["publish t", "publish t"]);
  }),
);
