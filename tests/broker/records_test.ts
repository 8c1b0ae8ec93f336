/**
 * What the broker tells its store, and what it does when the store has no room.
 */
import assert from "node:assert/strict";
import type { OwedMessage } from "../../src/storage/model/durable_state.ts";
import { scenario, type World } from "./harness.ts";
import { publishPacket, type TestClient } from "./test_client.ts";

const HOUR = { sessionExpiryInterval: 3_600 };

function subscribed(client: TestClient, filter: string, qos: 0 | 1 | 2): TestClient {
  client.subscribe(1, filter, qos);
  assert.deepEqual(client.heard(), [`suback #1 ${qos}`]);
  return client;
}

function publish(world: World, topic: string, qos: 1 | 2 = 1): void {
  world.client("passing").publish(topic, "x", { qos, messageId: 1 });
  world.settle();
}

Deno.test(
  "who is owed the messages of a topic is recorded once, until a subscription changes or a segment begins",
  scenario({}, (world) => {
    subscribed(world.durable("a"), "t/+", 1);
    const b = subscribed(world.durable("b"), "t/1", 2);
    const start = world.store.lastPosition;
    const routes = () => world.store.linesAfter(start).filter((line) => line.startsWith("route "));
    publish(world, "t/1");
    publish(world, "t/1", 2);
    assert.deepEqual(routes(), ["route r:b,a g:"]);
    publish(world, "t/2");
    assert.deepEqual(routes(), ["route r:b,a g:", "route r:a g:"]);
    world.store.beginSegment();
    publish(world, "t/1");
    publish(world, "t/1");
    assert.equal(routes().length, 3);
    b.unsubscribe(2, "t/1");
    world.settle();
    publish(world, "t/1");
    assert.equal(routes().at(-1), "route r:a g:");
    assert.equal(routes().length, 4);
  }),
);

Deno.test(
  "a message that no recorded Session and no group is owed names no route, nor does one at QoS 0",
  scenario({}, (world) => {
    subscribed(world.client("passing-by"), "t", 2);
    subscribed(world.durable("at-most-once"), "t", 0);
    subscribed(world.durable("other"), "other", 1);
    const start = world.store.lastPosition;
    publish(world, "t");
    world.client("publisher").publish("other", "x", { retain: true });
    world.settle();
    assert.deepEqual(world.store.linesAfter(start), ["publish t", "publish other"]);
    // Its members change without a new match, so a group is always named.
    subscribed(world.client("member"), "$share/group/t", 1);
    publish(world, "t");
    assert.deepEqual(world.store.linesAfter(start).slice(2), ["route r: g:group/t", "publish t"]);
  }),
);

Deno.test(
  "No Local stands in the route, so that a publisher is not owed its own messages after a restart either [MQTT-3.8.3-3]",
  scenario({}, (world) => {
    const client = world.durable("c");
    client.subscribe(1, [{ topic: "t", qos: 2, nl: true }, { topic: "both", qos: 2, nl: true }]);
    client.subscribe(2, "+", 1, 9);
    client.unsubscribe(3, "t");
    client.subscribe(4, [{ topic: "t/#", qos: 2, nl: true }]);
    client.read();
    client.isStalled = true;
    for (const topic of ["t/own", "both"]) client.publish(topic, "x", { qos: 1, messageId: 1 });
    world.client("other").publish("t/other", "x", { qos: 2, messageId: 1 });
    world.settle();
    world.restart("written");
    const back = world.open().sendConnect({ clientId: "c", clean: false, properties: HOUR });
    const heard = back.read().slice(1).map(({ topic, qos, properties }) =>
      `${topic} q${qos} ${properties?.["subscriptionIdentifier"] ?? "none"}`
    );
    assert.deepEqual(heard, ["both q1 9", "t/other q2 none"]);
  }),
);

Deno.test(
  "a message that is not logged waits for what was logged before it, and is acknowledged and delivered",
  scenario({}, (world) => {
    world.store.isSparse = true;
    const client = subscribed(world.client("c"), "t", 1);
    const publisher = world.client("publisher");
    world.store.isSlow = true;
    publisher.publish("t", "1", { qos: 1, messageId: 1 });
    assert.deepEqual(publisher.heard(), ["puback #1"]);
    publisher.publish("kept", "2", { qos: 1, messageId: 2, retain: true });
    publisher.publish("t", "3", { qos: 1, messageId: 3 });
    assert.deepEqual(publisher.heard(), []);
    world.commit();
    assert.deepEqual(publisher.heard(), ["puback #2", "puback #3"]);
    assert.deepEqual(client.heard(), ["publish t '1' q1 #1", "publish t '3' q1 #2"]);
    client.puback(1).puback(2);
    world.settle();
    assert.equal(world.store.liveMessages, 1);
  }),
);

Deno.test(
  "a message written while another commit was finished leaves only once its delivery is on record",
  scenario({}, (world) => {
    const client = subscribed(world.durable("c"), "t", 2);
    publish(world, "t", 2);
    assert.deepEqual(client.heard(), ["publish t 'x' q2 #1"]);
    assert.deepEqual(world.store.survivor("written").linesOf("sent"), ["sent c @4 #1"]);
    client.pubrec(1);
    assert.deepEqual(client.heard(), ["pubrel #1"]);
    assert.deepEqual(world.store.survivor("written").linesOf("received"), ["received c @4 #1"]);
  }),
);

Deno.test(
  "CONNACK of a recorded Session waits for its Will Message as well",
  scenario({}, (world) => {
    const watcher = subscribed(world.durable("watcher"), "will", 1);
    watcher.lose();
    world.store.isSlow = true;
    const will = { topic: "will", payload: "gone", qos: 1 as const };
    const client = world.open().sendConnect({ clientId: "c", clean: false, will, properties: HOUR });
    assert.deepEqual(client.heard(), []);
    world.commit();
    assert.deepEqual(client.heard(), ["connack 0"]);
    world.restart("committed");
    world.settle();
    assert.deepEqual(world.durable("watcher").heard(), ["publish will 'gone' q1 #1"]);
  }),
);

Deno.test(
  "a CONNECT that was given up leaves no Will Message in the store, and the one that waited before it stays",
  scenario({}, (world) => {
    const watcher = subscribed(world.durable("watcher"), "will/+", 1);
    const will = (name: string, willDelayInterval: number) => ({
      topic: `will/${name}`,
      payload: "gone",
      qos: 1 as const,
      properties: { willDelayInterval },
    });
    world.durable("c", { will: will("first", 60) }).lose();
    world.settle();
    world.store.isSlow = true;
    const second = world.open().sendConnect({ clientId: "c", will: will("second", 0), clean: false, properties: HOUR });
    const fresh = world.open().sendConnect({ clientId: "new", will: will("new", 0), clean: false, properties: HOUR });
    world.settle();
    second.lose();
    fresh.lose();
    world.commit();
    world.commit();
    assert.deepEqual(watcher.heard(), []);
    watcher.lose();
    world.settle();
    world.restart("written");
    world.pass(61_000);
    assert.deepEqual(world.durable("watcher").heard(), ["publish will/first 'gone' q1 #1"]);
  }),
);

Deno.test(
  "a Retained Message that a recorded Session is owed already is stored once more, to tell the two deliveries apart",
  scenario({}, (world) => {
    world.client("passing").publish("t", "x", { qos: 1, messageId: 1, retain: true });
    world.settle();
    const client = subscribed(world.durable("c"), "u", 1);
    client.subscribe(2, "t", 1);
    client.subscribe(3, "t", 1);
    const retained = ["suback #2 1", "publish t 'x' q1 #1 retain", "suback #3 1", "publish t 'x' q1 #2 retain"];
    assert.deepEqual(client.heard(), retained);
    assert.equal(new Set(world.store.survivor("committed").linesOf("owe")).size, 2);
    client.lose();
    world.settle();
    world.restart("written");
    assert.equal(world.core.sessions.sessions.get("c")?.outbox.inflightCount, 2);
    assert.equal(world.counters.retainedMessages, 1);
    assert.deepEqual(
      world.durable("c").heard(),
      ["publish t 'x' q1 #1 retain dup", "publish t 'x' q1 #2 retain dup"],
    );
  }),
);

Deno.test(
  "a Will Message that may not be published any more when its time comes is over in the store as well",
  scenario({}, (world) => {
    const properties = { willDelayInterval: 10 };
    world.durable("c", { will: { topic: "will", payload: "gone", qos: 2, properties } }).lose();
    world.settle();
    world.limits.qosMax = 1;
    world.pass(11_000);
    assert.deepEqual(world.store.survivor("committed").linesOf("will-over"), ["will-over c"]);
  }),
);

Deno.test(
  "a CONNECT that wants a Session to stay does not take over one that was opened for a connection only",
  scenario({}, (world) => {
    world.durable("c").lose();
    world.settle();
    world.store.isSlow = true;
    const brief = world.open().sendConnect({ clientId: "c", clean: true });
    const lasting = world.open().sendConnect({ clientId: "c", clean: false, properties: HOUR });
    world.commit();
    assert.deepEqual(brief.heard(), ["connack 0x83", "closed"]);
    assert.deepEqual(lasting.heard(), ["connack 0"]);
    world.restart("committed");
    assert.equal(world.core.sessions.sessions.get("c")?.sessionExpiryInterval, 3_600);
  }),
);

Deno.test(
  "what a connection changed while the next CONNECT waited does not outlive it in the store",
  scenario({}, (world) => {
    world.durable("c").lose();
    world.settle();
    world.store.isSlow = true;
    const connect = (sessionExpiryInterval: number) =>
      world.open().sendConnect({ clientId: "c", clean: false, properties: { sessionExpiryInterval } });
    const [first, second] = [connect(100), connect(200)];
    world.commit();
    assert.deepEqual(first.heard(), ["connack 0 present", "disconnect 0x8e", "closed"]);
    assert.deepEqual(second.heard(), ["connack 0 present"]);
    world.nowMs += 150_000;
    world.restart("written");
    assert.equal(world.core.sessions.sessions.get("c")?.sessionExpiryInterval, 200);
    world.pass(199_000);
    assert.equal(world.core.sessions.sessions.size, 1);
  }),
);

Deno.test(
  "a full store takes no new Session and no subscription: 0x97 in v5, 0x03 and 0x80 in v3; everything else goes on",
  scenario({}, (world) => {
    const client = subscribed(world.durable("c"), "t", 2);
    publish(world, "t", 2);
    assert.deepEqual(client.heard(), ["publish t 'x' q2 #1"]);
    const v3 = world.client("v3", { protocolVersion: 4, clean: false });
    world.durable("away").lose();
    world.settle();
    world.store.isFull = true;
    assert.equal(world.open().connect({ clientId: "new", properties: HOUR }), "connack 0x97");
    assert.equal(world.open().connect({ clientId: "new", clean: false, protocolVersion: 4 }), "connack 3");
    assert.equal(world.open().connect({ clientId: "away", clean: true, properties: HOUR }), "connack 0x97");
    assert.equal(world.open().connect({ clientId: "away", clean: false, properties: HOUR }), "connack 0 present");
    const passing = world.client("passing-by");
    assert.deepEqual(passing.subscribe(1, "t", 1).heard(), ["suback #1 1"]);
    assert.deepEqual(client.subscribe(2, [{ topic: "u", qos: 1 }, { topic: "#/", qos: 1 }]).heard(), [
      "suback #2 0x97,0x8f",
    ]);
    assert.deepEqual(v3.subscribe(1, "t", 1).heard(), ["suback #1 0x80"]);
    assert.deepEqual(client.subscribe(4, "t", 2).heard(), ["suback #4 2"], "known already");
    client.pubrec(1).unsubscribe(3, "t");
    assert.deepEqual(client.heard(), ["pubrel #1", "unsuback #3 0"]);
    client.pubcomp(1).disconnect(0, 0);
    world.settle();
    assert.equal(world.counters.messagesInflight, 0);
    world.store.isFull = false;
    assert.equal(world.open().connect({ clientId: "new", properties: HOUR }), "connack 0");
  }),
);

Deno.test(
  "a store without session numbers takes no new Session, and resumes those it has; others come and go",
  scenario({}, (world) => {
    world.durable("known").lose();
    world.store.hasSessionNumbers = false;
    const refused = world.open().sendConnect({ clientId: "new", properties: HOUR }).read();
    const reasonString = "the store has used all of its session numbers";
    assert.deepEqual(refused.map((each) => [each.reasonCode, each.properties?.reasonString]), [[0x97, reasonString]]);
    assert.equal(world.open().connect({ clientId: "new", clean: false, protocolVersion: 4 }), "connack 3");
    assert.equal(world.open().connect({ clientId: "known", clean: true, properties: HOUR }), "connack 0x97");
    assert.equal(world.open().connect({ clientId: "known", clean: false, properties: HOUR }), "connack 0 present");
    assert.equal(world.open().connect({ clientId: "passing-by" }), "connack 0");
  }),
);

Deno.test(
  "publishers are not read from while the store is congested, and again with the commit after it",
  scenario({}, (world) => {
    const client = subscribed(world.client("c"), "t", 0);
    const publisher = world.client("publisher");
    world.store.isCongested = true;
    publisher.publish("t", "x");
    assert.deepEqual(client.heard(), []);
    assert(publisher.unreadBytes > 0);
    world.core.turn.scheduleNow();
    world.settle();
    assert(publisher.unreadBytes > 0);
    world.store.isCongested = false;
    world.core.turn.scheduleNow();
    assert.deepEqual(client.heard(), ["publish t 'x' q0"]);
    assert.equal(publisher.unreadBytes, 0);
  }),
);

Deno.test(
  "queue-full reject lets a message through that no queue could hold, when its receiver can take it at once",
  scenario({ limits: { queueFull: "reject", queuedBytesMax: 10 } }, (world) => {
    const client = subscribed(world.client("c", { properties: { receiveMaximum: 1 } }), "t", 1);
    const publisher = world.client("publisher");
    const large = "x".repeat(50);
    publisher.sendTogether(
      publishPacket("t", large, { qos: 1, messageId: 1 }),
      publishPacket("t", large, { qos: 1, messageId: 2 }),
    );
    assert.deepEqual(publisher.heard().toSorted(), ["puback #1", "puback #2 0x97"]);
    assert.deepEqual(client.heard(), [`publish t '${large}' q1 #1`]);
    assert.deepEqual(publisher.publish("t", large, { qos: 1, messageId: 3 }).heard(), ["puback #3 0x97"]);
    client.puback(1);
    world.settle();
    assert.deepEqual(publisher.publish("t", large, { qos: 1, messageId: 4 }).heard(), ["puback #4"]);
  }),
);

Deno.test(
  "a shared message waits with the absent member that can keep it, whoever's turn it is",
  scenario({}, (world) => {
    subscribed(world.durable("at-most-once"), "$share/group/t", 0).lose();
    subscribed(world.durable("keeps"), "$share/group/t", 1).lose();
    for (let count = 0; count < 3; count++) publish(world, "t");
    assert.equal(world.counters.messagesDropped.no_member, 0);
    assert.equal(world.durable("keeps").heard().length, 3);
  }),
);

Deno.test(
  "what waits for a client that leaves its group, or is granted less from now on, survives as it was [MQTT-3.10.4-3]",
  scenario({}, (world) => {
    for (const clientId of ["leaves", "changes"]) {
      const client = world.durable(clientId, { properties: { ...HOUR, receiveMaximum: 1 } });
      subscribed(client, `$share/${clientId}/t`, 2);
      publish(world, "t", 2);
      publish(world, "t", 2);
      assert.equal(client.heard().length, 1);
      if (clientId === "leaves") client.unsubscribe(2, "$share/leaves/t");
      else client.subscribe(2, "$share/changes/t", 1, 7);
      world.settle();
      world.restart("written");
      const back = world.durable(clientId);
      assert.deepEqual(back.heard(), ["publish t 'x' q2 #1 dup", "publish t 'x' q2 #2"]);
      world.restart("written");
      assert.deepEqual(world.durable(clientId).heard(), ["publish t 'x' q2 #1 dup", "publish t 'x' q2 #2 dup"]);
    }
  }),
);

Deno.test(
  "of two Sessions that a damaged log gives one client, the younger stays and the older ends",
  scenario({}, (world) => {
    subscribed(world.durable("c"), "old", 1).lose();
    world.settle();
    const session = world.store.newSessionNumber();
    world.store.appendSessionChange({ kind: "open", session, clientId: "c", sessionExpiryInterval: 60 });
    world.store.commit();
    world.restart("committed");
    assert.equal(world.core.sessions.sessions.get("c")?.recordNumber, session);
    assert.equal(world.counters.subscriptions, 0);
    world.settle();
    assert.deepEqual(world.store.survivor("committed").linesOf("end"), ["end c"]);
  }),
);

Deno.test(
  "the walk over what is owed visits recorded Sessions, and others with their group if it is recorded, within its bounds",
  scenario({ limits: { inflightMax: 2 } }, (world) => {
    const recorded = subscribed(world.durable("recorded"), "t", 2);
    subscribed(world.client("passing-by"), "t", 1);
    subscribed(world.client("lonely"), "$share/lonely/t", 1);
    subscribed(world.client("member"), "$share/group/t", 1);
    subscribed(world.durable("absent"), "$share/group/t", 1).lose();
    for (let count = 0; count < 3; count++) publish(world, "t", 2);
    recorded.pubrec(1);
    world.settle();
    const visits: [session: number, owed: OwedMessage][] = [];
    let steps = 0;
    const [first, second, third] = world.store.entries.filter(({ kind }) => kind === "publish").map((each) =>
      each.position
    );
    for (const _ of world.core.walkOwed(first!, third!, (session, owed) => visits.push([session, owed]))) steps++;
    assert(steps >= world.core.sessions.sessions.size - 1, "yields between Sessions");
    const number = world.core.sessions.sessions.get("recorded")!.recordNumber;
    assert.deepEqual(
      visits.map(([session, { position, packetId, isReceived, group }]) =>
        `${session} @${position} #${packetId} ${isReceived} ${group?.name}`
      ),
      [
        `${number} @${first} #1 true undefined`,
        `${number} @${second} #2 false undefined`,
        `0 @${first} #1 false undefined`,
        `0 @${second} #2 false undefined`,
        `0 @${first} #1 true lonely`,
        `0 @${second} #2 true lonely`,
        `0 @${first} #1 false group`,
        `0 @${second} #2 false group`,
      ],
    );
  }),
);
