/**
 * Who is let in, what they may do then, and until when: from CONNECT to the end of an identity.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { EnhancedAuthenticator } from "../../src/auth/identity/enhanced_authentication.ts";
import type { Identity, IdentityProvider, Verdict } from "../../src/auth/identity/identity.ts";
import { named } from "../../src/auth/identity/identity.ts";
import { ALL_PERMITTED } from "../../src/topics/permissions.ts";
import { asyncScenario, scenario, World } from "./harness.ts";
import { type ConnectOptions, publishPacket } from "./test_client.ts";

const BAD_PASSWORD: Verdict = { kind: "refuse", reasonCode: 0x86, reason: "bad_password" };

/** Lets in whoever gives its own name as password. */
const NAMES: IdentityProvider = {
  name: "names",
  verify: ({ username, password }) => {
    if (username === undefined) return undefined;
    const given = password === undefined ? "" : new TextDecoder().decode(password);
    return given === username ? { kind: "accept", identity: named(username) } : BAD_PASSWORD;
  },
};

function identities(changes: Partial<Identity>): IdentityProvider {
  return {
    name: "identities",
    verify: ({ username }) => ({ kind: "accept", identity: { ...named(username), ...changes } }),
  };
}

function login(username: string, options: ConnectOptions = {}): ConnectOptions {
  return { username, password: Buffer.from(username), ...options };
}

Deno.test(
  "a Session and what waits in it belong to the user who opened it",
  scenario({ providers: [NAMES] }, (world) => {
    const durable = { clientId: "c", clean: false, properties: { sessionExpiryInterval: 60 } };
    const alice = world.client("c", { ...login("alice"), ...durable });
    alice.subscribe(1, "t", 1);
    assert.deepEqual(alice.heard(), ["suback #1 1"]);
    const thief = (options: ConnectOptions) => world.open().sendConnect({ ...durable, ...options }).heard();
    assert.deepEqual(thief(login("mallory")), ["connack 0x85", "closed"]);
    assert.deepEqual(thief({ ...login("mallory"), clean: true }), ["connack 0x85", "closed"]);
    assert.deepEqual(thief({}), ["connack 0x85", "closed"]);
    assert.deepEqual(thief({ ...login("mallory"), protocolVersion: 4 }), ["connack 2", "closed"]);
    assert.deepEqual(alice.heard(), [], "the thieves did not cut the connection");
    alice.lose();
    world.settle();
    world.client("p", login("bob")).publish("t", "waits", { qos: 1, messageId: 1 });
    assert.deepEqual(thief(login("mallory")), ["connack 0x85", "closed"]);
    const back = world.open().sendConnect({ ...login("alice"), ...durable });
    assert.deepEqual(back.heard(), ["connack 0 present", "publish t 'waits' q1 #1"]);
    assert.deepEqual(world.counters.connectsRefused.entries(), [["session_of_another_user", 5]]);
  }),
);

Deno.test(
  "a Session belongs to its user from the moment it is asked for, before its record is committed",
  scenario({ providers: [NAMES] }, (world) => {
    const durable = { clientId: "c", clean: false, properties: { sessionExpiryInterval: 60 } };
    world.store.isSlow = true;
    const alice = world.open().sendConnect({ ...login("alice"), ...durable });
    const thief = world.open().sendConnect({ ...login("mallory"), ...durable });
    assert.deepEqual([alice.heard(), thief.heard()], [[], ["connack 0x85", "closed"]]);
    world.commit();
    assert.deepEqual(alice.heard(), ["connack 0"]);
  }),
);

Deno.test(
  "a Session without a name goes on with a name when a broker begins to ask for names",
  scenario({ providers: [NAMES] }, (world) => {
    world.durable("c").disconnect();
    world.settle();
    assert.equal(
      world.open().connect({ ...login("alice"), clientId: "c", clean: false }),
      "connack 0 present",
    );
  }),
);

Deno.test(
  "a ban refuses the client, the user or the address with 0x8A, before and after its proof",
  scenario({ providers: [NAMES] }, (world) => {
    world.guards.bans.replace([
      { kind: "client", value: "c", untilMs: undefined, reason: "test" },
      { kind: "user", value: "mallory", untilMs: world.nowMs + 10_000, reason: "test" },
      { kind: "address", value: "192.0.2.1", untilMs: undefined, reason: "test" },
    ]);
    assert.deepEqual(world.open().sendConnect({ clientId: "c" }).heard(), ["connack 0x8a", "closed"]);
    assert.deepEqual(world.open().sendConnect({ clientId: "c", protocolVersion: 4 }).heard(), ["connack 5", "closed"]);
    assert.deepEqual(world.open().sendConnect(login("mallory")).heard(), ["connack 0x8a", "closed"]);
    assert.deepEqual(world.open(false).sendConnect(login("alice")).heard(), ["connack 0x8a", "closed"]);
    assert.deepEqual(world.open().sendConnect(login("alice")).heard(), ["connack 0"]);
    // Who only claims a banned name learns nothing of the ban.
    assert.deepEqual(world.open().sendConnect({ username: "mallory" }).heard(), ["connack 0x86", "closed"]);
    world.pass(11_000);
    assert.deepEqual(world.open().sendConnect(login("mallory")).heard(), ["connack 0"]);
  }),
);

Deno.test(
  "failed attempts of an address are answered later and later, until their own user succeeds",
  scenario({ providers: [NAMES] }, (world) => {
    const wrong = { username: "alice" };
    for (let free = 0; free < 4; free++) {
      assert.deepEqual(world.open().sendConnect(wrong).heard(), ["connack 0x86", "closed"]);
    }
    const waiting = world.open().sendConnect(wrong);
    assert.deepEqual(waiting.heard(), []);
    // Another address does not pay for it, and neither does a client without credentials.
    assert.deepEqual(world.open(false).sendConnect(login("alice")).heard(), ["connack 0"]);
    assert.deepEqual(world.open().sendConnect({ clientId: "anonymous" }).heard(), ["connack 0"]);
    world.pass(300);
    assert.deepEqual(waiting.heard(), ["connack 0x86", "closed"]);
    const honest = world.open().sendConnect(login("bob"));
    assert.deepEqual(honest.heard(), []);
    world.pass(2_000);
    assert.deepEqual(honest.heard(), ["connack 0"]);
    // An account of one's own is no way to guess the passwords of others.
    assert.deepEqual(world.open().sendConnect(login("bob")).heard(), ["connack 0"]);
    const another = world.open().sendConnect(login("bob"));
    assert.deepEqual(another.heard(), []);
    world.pass(2_000);
    assert.deepEqual(another.heard(), ["connack 0"]);
    const owner = world.open().sendConnect(login("alice"));
    world.pass(2_000);
    assert.deepEqual(owner.heard(), ["connack 0"]);
    assert.deepEqual(world.open().sendConnect(login("bob")).heard(), ["connack 0"]);
  }),
);

Deno.test(
  "attempts that would have to wait too long are refused with 0x9F",
  scenario({ providers: [NAMES] }, (world) => {
    const refused: string[] = [];
    for (let attempt = 0; attempt < 500; attempt++) {
      refused.push(...world.open().sendConnect({ username: "a" }).heard());
    }
    assert(refused.includes("connack 0x9f"));
    assert.deepEqual(new Set(refused), new Set(["connack 0x86", "connack 0x9f", "closed"]));
  }),
);

/** Asks for `name=password`; whoever answers so is `name`. */
const PAIRS: EnhancedAuthenticator = {
  method: "PAIRS",
  begin: () => ({
    next: (data) => {
      const [name = "", word] = new TextDecoder().decode(data ?? new Uint8Array()).split("=");
      return name === word
        ? { kind: "success", data: undefined, identity: named(name) }
        : { kind: "failure", reasonCode: 0x87, reason: "wrong_word" };
    },
  }),
};

function exchange(pair: string, options: ConnectOptions = {}): ConnectOptions {
  return { properties: { authenticationMethod: "PAIRS", authenticationData: Buffer.from(pair) }, ...options };
}

Deno.test(
  "an account of one's own is no way to guess the passwords of others in an exchange, whatever name CONNECT gives",
  scenario({ enhanced: [PAIRS] }, (world) => {
    const guess = () => world.open().sendConnect(exchange("alice=guess", { username: "mallory" }));
    const own = () => world.open().sendConnect(exchange("mallory=mallory", { username: "mallory" }));
    for (let free = 0; free < 3; free++) {
      assert.deepEqual(guess().heard(), ["connack 0x87", "closed"]);
      assert.deepEqual(own().heard(), ["connack 0"]);
    }
    assert.deepEqual(guess().heard(), ["connack 0x87", "closed"]);
    assert.deepEqual(guess().heard(), [], "it waits, as for any address that failed so often");
  }),
);

Deno.test(
  "an exchange that proves another name than CONNECT gives is refused",
  scenario({ enhanced: [PAIRS] }, (world) => {
    const client = world.open().sendConnect(exchange("alice=alice", { username: "bob" }));
    assert.deepEqual(client.heard(), ["connack 0x86", "closed"]);
    assert.deepEqual(world.open().sendConnect(exchange("alice=alice")).heard(), ["connack 0"]);
  }),
);

Deno.test(
  "a client that connects again and again is banned with its user, and no other user with it",
  scenario({ providers: [NAMES] }, (world) => {
    world.guards.flappingLimits.connectsMax = 2;
    const connect = (username: string) => {
      const client = world.open().sendConnect(login(username, { clientId: "c" }));
      const heard = client.heard();
      client.lose();
      world.settle();
      return heard;
    };
    assert.deepEqual([connect("mallory"), connect("mallory")], [["connack 0"], ["connack 0"]]);
    assert.deepEqual(connect("mallory"), ["connack 0x8a", "closed"]);
    assert.deepEqual(connect("alice"), ["connack 0"]);
    world.pass(299_000);
    assert.deepEqual(connect("mallory"), ["connack 0x8a", "closed"]);
    world.pass(2_000);
    assert.deepEqual(connect("mallory"), ["connack 0"]);
  }),
);

Deno.test(
  "a client that leaves while its attempt waits is forgotten",
  scenario({ providers: [NAMES] }, (world) => {
    for (let free = 0; free < 4; free++) world.open().sendConnect({ username: "a" }).heard();
    const waiting = world.open().sendConnect(login("alice"));
    assert.deepEqual(waiting.heard(), []);
    waiting.lose();
    world.pass(5_000);
    assert.equal(world.core.sessions.sessions.size, 0);
  }),
);

Deno.test(
  "the connection ends with the identity: DISCONNECT 0xA0 in v5, a closed socket in v3, and the Will Message is sent",
  scenario({}, (world) => {
    const watcher = world.client("watcher");
    watcher.subscribe(1, "will", 0).heard();
    const expiring = new World({ providers: [identities({ expiresAtMs: world.nowMs + 5_000 })] }, world.feed);
    const v5 = expiring.client("v5");
    const v3 = expiring.client("v3", { protocolVersion: 4 });
    expiring.pass(4_000);
    assert.deepEqual([v5.heard(), v3.heard()], [[], []]);
    expiring.pass(1_500);
    assert.deepEqual(v5.heard(), ["disconnect 0xa0", "closed"]);
    assert.deepEqual(v3.heard(), ["closed"]);
    assert.deepEqual(expiring.open().sendConnect({ clientId: "late" }).heard(), ["connack 0x87", "closed"]);
    expiring.leaveNothing();
  }),
);

Deno.test(
  "an identity ends by the wall clock, and sooner or later when that is set",
  scenario({}, ({ feed, nowMs }) => {
    const expiring = (expiresAtMs: number) => {
      const world = new World({ providers: [identities({ expiresAtMs })] }, feed);
      world.setWallClock(-nowMs);
      return world;
    };
    const near = expiring(5_000);
    const one = near.client("one");
    const other = near.client("other");
    near.pass(4_000);
    other.disconnect();
    near.setWallClock(near.wallOffsetMs - 60_000);
    near.pass(60_000);
    assert.deepEqual(one.heard(), []);
    near.pass(1_500);
    assert.deepEqual(one.heard(), ["disconnect 0xa0", "closed"]);
    assert.deepEqual(near.open().sendConnect({ clientId: "late" }).heard(), ["connack 0x87", "closed"]);
    near.setWallClock(-near.nowMs);
    assert.deepEqual(near.open().sendConnect({ clientId: "in-time" }).heard(), ["connack 0"]);
    const far = expiring(86_400_000);
    const first = far.client("first");
    far.setWallClock(86_399_000 - far.nowMs);
    far.pass(500);
    assert.deepEqual(first.heard(), []);
    far.setWallClock(86_400_000 - far.nowMs);
    far.pass(100);
    assert.deepEqual(first.heard(), ["disconnect 0xa0", "closed"]);
  }),
);

Deno.test(
  "a ban until a day ends by the wall clock, and holds again when that is set back",
  scenario({}, (world) => {
    world.setWallClock(-world.nowMs);
    world.guards.bans.replace([{ kind: "client", value: "c", untilMs: 10_000, reason: "test" }]);
    assert.deepEqual(world.open().sendConnect({ clientId: "c" }).heard(), ["connack 0x8a", "closed"]);
    world.setWallClock(10_000 - world.nowMs);
    const client = world.client("c");
    assert.deepEqual(client.heard(), []);
    world.setWallClock(-world.nowMs);
    world.settle();
    assert.deepEqual(client.heard(), ["disconnect 0x98", "closed"]);
  }),
);

Deno.test(
  "a listener serves only its versions and asks its own anonymous policy",
  scenario({}, (world) => {
    const listener = { name: "v5 only", anonymous: undefined, versions: new Set([5 as const]) };
    assert.deepEqual(world.open({ listener }).sendConnect({ clientId: "c" }).heard(), ["connack 0"]);
    const old = world.open({ listener }).sendConnect({ clientId: "d", protocolVersion: 4 });
    assert.deepEqual(old.heard(), ["connack 1", "closed"]);
    const closed = { name: "closed", anonymous: "false" as const, versions: undefined };
    const stranger = world.open({ listener: closed }).sendConnect({ clientId: "e" });
    assert.deepEqual(stranger.heard(), ["connack 0x87", "closed"]);
  }),
);

Deno.test(
  "a broker that is short of memory refuses new clients with 0x89 and goes on with the others",
  scenario({}, (world) => {
    const client = world.client("c");
    world.core.memory.measure(100, 50);
    assert.deepEqual(world.open().sendConnect({ clientId: "d" }).heard(), ["connack 0x89", "closed"]);
    client.send({ cmd: "pingreq" });
    assert.deepEqual(client.heard(), ["pingresp"]);
    world.core.memory.measure(10, 50);
    assert.deepEqual(world.open().sendConnect({ clientId: "d" }).heard(), ["connack 0"]);
  }),
);

Deno.test(
  "a client has a maximum of subscriptions; what it has it may ask for again",
  scenario({ limits: { subscriptionsMax: 2 } }, (world) => {
    const client = world.client("c");
    client.subscribe(1, [{ topic: "a", qos: 0 }, { topic: "b", qos: 0 }, { topic: "c", qos: 0 }]);
    client.subscribe(2, "a", 1);
    client.unsubscribe(3, "b");
    client.subscribe(4, "c", 0);
    assert.deepEqual(client.heard(), ["suback #1 0,0,0x97", "suback #2 1", "unsuback #3 0", "suback #4 0"]);
  }),
);

Deno.test(
  "rules may lower the QoS of a subscription, and of what may be published",
  scenario({
    permissions: () => ({ grantedQos: () => 0, mayPublish: (_topic, qos, retain) => qos < 2 && !retain }),
  }, (world) => {
    const client = world.client("c");
    client.subscribe(1, "t", 2);
    client.sendTogether(
      publishPacket("t", "1", { qos: 1, messageId: 1 }),
      publishPacket("t", "2", { qos: 2, messageId: 2 }),
      publishPacket("t", "3", { qos: 1, messageId: 3, retain: true }),
    );
    assert.deepEqual(client.heard(), [
      "suback #1 0",
      "puback #1",
      "publish t '1' q0",
      "pubrec #2 0x87",
      "puback #3 0x87",
    ]);
  }),
);

let forbidden = new Set<string>();

Deno.test(
  "with recheck-on-deliver a message is sent only while its topic is allowed, also one that waited",
  scenario({
    limits: { isRecheckedOnDeliver: true },
    permissions: () => ({ mayReceive: (topicName) => !forbidden.has(topicName) }),
  }, (world) => {
    forbidden = new Set(["t/no"]);
    const publisher = world.client("p");
    publisher.publish("t/no", "kept", { retain: true });
    const client = world.durable("c");
    client.subscribe(1, "t/+", 1);
    assert.deepEqual(client.heard(), ["suback #1 1"]);
    for (const topic of ["t/yes", "t/no"]) {
      publisher.publish(topic, "q0").publish(topic, "q1", { qos: 1, messageId: 1 });
    }
    assert.deepEqual(client.heard(), ["publish t/yes 'q0' q0", "publish t/yes 'q1' q1 #1"]);
    client.puback(1);
    client.lose();
    world.settle();
    publisher.publish("t/yes", "waits", { qos: 1, messageId: 2 }).publish("t/no", "waits", { qos: 1, messageId: 3 });
    world.settle();
    forbidden = new Set(["t/yes"]);
    const back = world.open().sendConnect({ clientId: "c", clean: false, properties: { sessionExpiryInterval: 60 } });
    assert.deepEqual(back.heard(), ["connack 0 present", "publish t/no 'waits' q1 #2"]);
    assert.equal(world.counters.messagesDropped.not_authorized, 4);
    back.puback(2);
  }),
);

let narrow: "none" | "lower" | "gone" = "none";

Deno.test(
  "a client that comes back with fewer rights has fewer subscriptions, and gets nothing that waits and is not for it",
  scenario({
    permissions: () => ({
      grantedQos: (filter, qos) => narrow === "none" || filter === "mine" ? qos : narrow === "lower" ? 0 : undefined,
      mayReceive: (topicName) => narrow !== "gone" || topicName === "mine",
    }),
  }, (world) => {
    narrow = "none";
    const kept = { clean: false, properties: { sessionExpiryInterval: 60 } };
    const client = world.durable("c");
    client.subscribe(1, [{ topic: "wide/#", qos: 1 }, { topic: "mine", qos: 1 }]);
    assert.deepEqual(client.heard(), ["suback #1 1,1"]);
    client.lose();
    world.settle();
    const publisher = world.client("p");
    publisher.publish("wide/a", "1", { qos: 1, messageId: 1 }).publish("mine", "2", { qos: 1, messageId: 2 });
    world.settle();
    narrow = "gone";
    const back = world.open().sendConnect({ clientId: "c", ...kept });
    assert.deepEqual(back.heard(), ["connack 0 present", "publish mine '2' q1 #1"]);
    back.puback(1);
    publisher.publish("wide/a", "3").publish("mine", "4");
    assert.deepEqual(back.heard(), ["publish mine '4' q0"]);
    assert.equal(world.counters.messagesDropped.not_authorized, 1);
    narrow = "none";
    back.subscribe(2, "wide/#", 1);
    assert.deepEqual(back.heard(), ["suback #2 1"]);
    back.lose();
    world.settle();
    narrow = "lower";
    const lowered = world.open().sendConnect({ clientId: "c", ...kept });
    assert.deepEqual(lowered.heard(), ["connack 0 present"]);
    publisher.publish("wide/a", "5", { qos: 1, messageId: 3 });
    assert.deepEqual(lowered.heard(), ["publish wide/a '5' q0"]);
    if (world.store.isDurable) world.restart("committed");
    const { subscriptions } = world.core.sessions.sessions.get("c")!;
    assert.deepEqual([...subscriptions].map(([filter, { qos }]) => [filter, qos]), [["mine", 1], ["wide/#", 0]]);
  }),
);

let mayLeaveWill = true;

Deno.test(
  "a Will Message is checked again when it is published",
  scenario({ permissions: () => ({ mayPublish: () => mayLeaveWill }) }, (world) => {
    mayLeaveWill = true;
    const watcher = world.client("watcher");
    watcher.subscribe(1, "will", 0);
    assert.deepEqual(watcher.heard(), ["suback #1 0"]);
    const will = { topic: "will", payload: Buffer.from("gone"), qos: 0 as const, retain: false };
    const first = world.client("first", { will });
    const second = world.client("second", { will });
    first.lose();
    assert.deepEqual(watcher.heard(), ["publish will 'gone' q0"]);
    mayLeaveWill = false;
    second.lose();
    assert.deepEqual(watcher.heard(), []);
    assert.equal(world.counters.messagesDropped.not_authorized, 1);
  }),
);

Deno.test(
  "a client whose permissions cannot be had is refused with 0x88",
  asyncScenario(() => ({
    authorizer: {
      permissionsOf: ({ clientId }, heard) => {
        queueMicrotask(() => heard(clientId === "known" ? ALL_PERMITTED : undefined));
        return () => assert.fail("nobody leaves");
      },
    },
  }), async (world) => {
    const unknown = world.open().sendConnect({ clientId: "unknown" });
    await world.nextTurn();
    assert.deepEqual(unknown.heard(), ["connack 0x88", "closed"]);
    const known = world.open().sendConnect({ clientId: "known" });
    await world.nextTurn();
    assert.deepEqual(known.heard(), ["connack 0"]);
  }),
);
