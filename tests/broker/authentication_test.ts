/**
 * Authentication from the outside: providers that take their time, and the exchange of AUTH packets.
 */
import * as Effect from "effect/Effect";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { EnhancedAuthenticator, ExchangeStep } from "../../src/auth/identity/enhanced_authentication.ts";
import { type IdentityProvider, named, type Verdict } from "../../src/auth/identity/identity.ts";
import { Standing } from "../../src/auth/identity/questions.ts";
import { within } from "../support/event_queue.ts";
import { asyncScenario, scenario, type World } from "./harness.ts";
import type { TestClient } from "./test_client.ts";

/** Asks for `word`, then for `again`, and lets in who answers both. */
const WORDS: EnhancedAuthenticator = {
  method: "WORDS",
  begin: () => {
    const wanted = ["word", "again"];
    return {
      next: (data) => {
        const text = data === undefined ? "" : new TextDecoder().decode(data);
        if (text === "hello") return { kind: "continue", data: Buffer.from("say word") };
        if (text !== wanted.shift()) return { kind: "failure", reasonCode: 0x87, reason: "wrong_word" };
        if (wanted.length > 0) return { kind: "continue", data: Buffer.from("say again") };
        return { kind: "success", data: Buffer.from("welcome"), identity: named("talker") };
      },
    };
  },
};

function begin(world: World, hello = "hello", method = "WORDS"): TestClient {
  return world.open().sendConnect({
    clientId: "c",
    properties: { authenticationMethod: method, authenticationData: Buffer.from(hello) },
  });
}

/** A client that has passed the exchange. */
function passed(world: World): TestClient {
  const client = begin(world);
  client.read();
  client.auth(0x18, "WORDS", "word").read();
  assert.equal(client.auth(0x18, "WORDS", "again").read()[0]?.cmd, "connack");
  return client;
}

Deno.test(
  "an exchange goes on with AUTH 0x18 until CONNACK, which carries the last data and the method [MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5]",
  scenario({ enhanced: [WORDS] }, (world) => {
    const client = begin(world);
    const challenge = client.read()[0];
    assert.deepEqual([challenge?.cmd, challenge?.reasonCode], ["auth", 0x18]);
    assert.equal(challenge?.properties?.["authenticationMethod"], "WORDS");
    assert.deepEqual(client.auth(0x18, "WORDS", "word").heard(), ["auth 0x18 'say again'"]);
    const connack = client.auth(0x18, "WORDS", "again").read()[0];
    assert.deepEqual([connack?.cmd, connack?.reasonCode], ["connack", 0]);
    assert.equal(connack?.properties?.["authenticationMethod"], "WORDS");
    assert.equal(String(connack?.properties?.["authenticationData"]), "welcome");
    assert.equal(world.core.sessions.sessions.get("c")?.username, "talker");
  }),
);

Deno.test(
  "an unknown method is refused with 0x8C, a wrong answer with the code of the method [MQTT-4.12.0-1] [MQTT-4.12.0-4]",
  scenario({ enhanced: [WORDS] }, (world) => {
    assert.deepEqual(begin(world, "hello", "OTHER").heard(), ["connack 0x8c", "closed"]);
    const client = begin(world);
    client.read();
    assert.deepEqual(client.auth(0x18, "WORDS", "wrong").heard(), ["connack 0x87", "closed"]);
    assert.equal(world.core.sessions.sessions.size, 0);
  }),
);

Deno.test(
  "during an exchange only AUTH of its method and DISCONNECT may come [MQTT-3.1.4-6] [MQTT-4.12.0-5]",
  scenario({ enhanced: [WORDS] }, (world) => {
    const heard = (next: (client: TestClient) => TestClient) => {
      const client = begin(world);
      client.read();
      return next(client).heard();
    };
    assert.deepEqual(heard((client) => client.send({ cmd: "pingreq" })), ["closed"]);
    assert.deepEqual(heard((client) => client.auth(0x18, "OTHER", "word")), ["closed"]);
    assert.deepEqual(heard((client) => client.auth(0x19, "WORDS", "word")), ["closed"]);
    assert.deepEqual(heard((client) => client.disconnect()), ["closed"]);
    assert.equal(world.core.sessions.sessions.size, 0);
  }),
);

Deno.test(
  "an exchange that is not finished in time ends the connection",
  scenario({ enhanced: [WORDS], settings: { readTimeoutMs: 5_000 } }, (world) => {
    const client = begin(world);
    client.read();
    world.pass(5_100);
    assert.deepEqual(client.heard(), ["closed"]);
  }),
);

Deno.test(
  "a client re-authenticates with AUTH 0x19 while other packets go on",
  scenario({ enhanced: [WORDS] }, (world) => {
    const client = passed(world);
    assert.deepEqual(client.auth(0x19, "WORDS", "hello").heard(), ["auth 0x18 'say word'"]);
    assert.deepEqual(client.send({ cmd: "pingreq" }).heard(), ["pingresp"]);
    assert.deepEqual(client.auth(0x18, "WORDS", "word").heard(), ["auth 0x18 'say again'"]);
    assert.deepEqual(client.auth(0x18, "WORDS", "again").heard(), ["auth 0 'welcome'"]);
    assert.deepEqual(client.auth(0x19, "WORDS", "hello").heard(), ["auth 0x18 'say word'"]);
  }),
);

Deno.test(
  "a failed re-authentication ends the connection [MQTT-4.12.1-2]",
  scenario({ enhanced: [WORDS] }, (world) => {
    const client = passed(world);
    client.auth(0x19, "WORDS", "hello").read();
    assert.deepEqual(client.auth(0x18, "WORDS", "wrong").heard(), ["disconnect 0x87", "closed"]);
  }),
);

Deno.test(
  "AUTH that nothing asked for, or of another method, is a Protocol Error [MQTT-4.12.0-6] [MQTT-4.12.0-5]",
  scenario({ enhanced: [WORDS] }, (world) => {
    assert.deepEqual(passed(world).auth(0x18, "WORDS", "x").heard(), ["disconnect 0x82", "closed"]);
    assert.deepEqual(passed(world).auth(0x19, "OTHER", "x").heard(), ["disconnect 0x82", "closed"]);
    const plain = world.client("plain");
    assert.deepEqual(plain.auth(0x19, "WORDS", "hello").heard(), ["disconnect 0x82", "closed"]);
  }),
);

Deno.test(
  "a client that connects without a method gets neither AUTH nor a method in CONNACK [MQTT-4.12.0-6]",
  scenario({ enhanced: [WORDS] }, (world) => {
    const connack = world.open().sendConnect().read()[0];
    assert.equal(connack?.properties?.["authenticationMethod"], undefined);
  }),
);

Deno.test(
  "a CONNECT that is refused after its exchange succeeded ends with CONNACK alone",
  scenario({ enhanced: [WORDS] }, (world) => {
    const properties = {
      sessionExpiryInterval: 60,
      authenticationMethod: "WORDS",
      authenticationData: Buffer.from("hello"),
    };
    const client = world.open().sendConnect({ clientId: "c", properties });
    client.read();
    client.auth(0x18, "WORDS", "word").read();
    world.store.isSlow = true;
    client.auth(0x18, "WORDS", "again").read();
    world.core.sessions.drain();
    world.commit();
    assert.deepEqual(client.heard(), ["connack 0x8b", "closed"]);
  }),
);

/** A promise that the test keeps. */
function promised<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  return Promise.withResolvers<T>();
}

/** Steps of an exchange, each given by the test when it likes. */
function slowMethod() {
  const asked: ((step: ExchangeStep) => void)[] = [];
  const method: EnhancedAuthenticator = {
    method: "SLOW",
    begin: () => ({
      next: () => {
        const { promise, resolve } = promised<ExchangeStep>();
        asked.push(resolve);
        return promise;
      },
    }),
  };
  return { asked, method };
}

let slow = slowMethod();

Deno.test(
  "an exchange may take its time: AUTH meanwhile is out of turn, and steps come in order",
  asyncScenario(() => ({ enhanced: [(slow = slowMethod()).method] }), async (world) => {
    const client = begin(world, "x", "SLOW");
    assert.deepEqual(client.heard(), []);
    slow.asked[0]!({ kind: "continue", data: Buffer.from("more") });
    await world.nextTurn();
    assert.deepEqual(client.heard(), ["auth 0x18 'more'"]);
    client.auth(0x18, "SLOW", "y");
    assert.deepEqual(client.heard(), []);
    slow.asked[1]!({ kind: "success", data: undefined, identity: named("u") });
    await world.nextTurn();
    assert.deepEqual(client.heard(), ["connack 0"]);
    const hasty = world.open().sendConnect({ clientId: "h", properties: { authenticationMethod: "SLOW" } });
    assert.deepEqual(hasty.auth(0x18, "SLOW", "too soon").heard(), ["closed"]);
  }),
);

Deno.test(
  "a step that comes after its client is gone changes nothing",
  asyncScenario(() => ({ enhanced: [(slow = slowMethod()).method] }), async (world) => {
    const client = begin(world, "x", "SLOW");
    world.settle();
    client.lose();
    world.settle();
    const other = world.open().sendConnect({ clientId: "o", properties: { authenticationMethod: "SLOW" } });
    slow.asked[0]!({ kind: "success", data: undefined, identity: named("u") });
    slow.asked[1]!({ kind: "success", data: undefined, identity: named("u") });
    await world.nextTurn();
    assert.deepEqual(other.heard(), ["connack 0"]);
    assert.deepEqual([...world.core.sessions.sessions.keys()], ["o"]);
  }),
);

let verdict = promised<Verdict | undefined>();

function slowProvider(): IdentityProvider {
  verdict = promised();
  return { name: "slow", verify: () => Effect.promise(() => verdict.promise) };
}

Deno.test(
  "while a provider thinks, packets wait and are handled in order after CONNACK",
  asyncScenario(() => ({ providers: [slowProvider()] }), async (world) => {
    const client = world.open().sendConnect({ clientId: "c" });
    client.subscribe(1, "t", 1).publish("t", "1", { qos: 1, messageId: 1 }).publish("t", "2", { qos: 1, messageId: 2 });
    assert.deepEqual(client.heard(), []);
    verdict.resolve({ kind: "accept", identity: named("u") });
    await world.nextTurn();
    assert.deepEqual(client.heard(), [
      "connack 0",
      "suback #1 1",
      "puback #1",
      "publish t '1' q1 #1",
      "puback #2",
      "publish t '2' q1 #2",
    ]);
  }),
);

Deno.test(
  "a provider that refuses late closes the connection, and what waited is not handled [MQTT-3.1.4-6]",
  asyncScenario(() => ({ providers: [slowProvider()] }), async (world) => {
    const client = world.open().sendConnect({ clientId: "c" }).publish("t", "x", { qos: 1, messageId: 1 });
    verdict.resolve({ kind: "refuse", reasonCode: 0x86, reason: "bad_password" });
    await world.nextTurn();
    assert.deepEqual(client.heard(), ["connack 0x86", "closed"]);
    assert.equal(client.unreadBytes, 0);
    assert.equal(world.counters.messagesPublished, 0);
  }),
);

Deno.test(
  "a verdict that comes when the broker drains opens no Session",
  asyncScenario(() => ({ providers: [slowProvider()] }), async (world) => {
    const client = world.open().sendConnect({ clientId: "c" });
    world.settle();
    world.core.sessions.drain();
    verdict.resolve({ kind: "accept", identity: named("u") });
    await world.nextTurn();
    assert.deepEqual(client.heard(), ["connack 0x8b", "closed"]);
    assert.equal(world.core.sessions.sessions.size, 0);
  }),
);

let taken = promised<string>();

/** A provider whose line never moves. */
function crowdedProvider(): IdentityProvider {
  taken = promised();
  const stand = Effect.map(Standing, (standing) => {
    standing.isWaiting = true;
  });
  const leave = Effect.sync(() => taken.resolve("back"));
  return {
    name: "crowded",
    verify: () => Effect.onInterrupt(Effect.andThen(stand, Effect.never), () => leave),
  };
}

Deno.test(
  "a client that leaves while it waits for a provider takes its question back",
  asyncScenario(() => ({ providers: [crowdedProvider()] }), async (world) => {
    const client = world.open().sendConnect({ clientId: "c" });
    assert.deepEqual(client.heard(), []);
    client.lose();
    assert.equal(await within(taken.promise, "the end of the question"), "back");
  }),
);

let takenBack = 0;

Deno.test(
  "a client that leaves takes back what is asked about its permissions",
  scenario({ authorizer: { permissionsOf: () => () => void takenBack++ } }, (world) => {
    const client = world.open().sendConnect({ clientId: "c" });
    assert.deepEqual(client.heard(), []);
    const before = takenBack;
    client.lose();
    assert.equal(takenBack, before + 1);
  }),
);

Deno.test(
  "a wrong password counts, although its client did not wait for the answer",
  asyncScenario(() => ({ providers: [slowProvider()] }), async (world) => {
    world.guards.failureDelay.free = 0;
    const login = { username: "u", password: Buffer.from("wrong") };
    world.open({ remoteAddress: "192.0.2.7" }).sendConnect({ clientId: "c", ...login }).lose();
    const other = world.open({ remoteAddress: "192.0.2.8" }).sendConnect({ clientId: "d", ...login });
    verdict.resolve({ kind: "refuse", reasonCode: 0x86, reason: "bad_password" });
    await world.nextTurn();
    assert.deepEqual(other.heard(), ["connack 0x86", "closed"]);
    const delays = ["192.0.2.7", "192.0.2.8"].map((address) => world.guards.failures.delayMs(address, world.nowMs));
    assert.deepEqual(delays, [250, 250]);
  }),
);

Deno.test(
  "without a provider loopback clients are let in by default policy, others get 0x87",
  scenario({ anonymous: "loopback" }, (world) => {
    assert.deepEqual(world.open(true).sendConnect().heard(), ["connack 0"]);
    assert.deepEqual(world.open(false).sendConnect().heard(), ["connack 0x87", "closed"]);
    assert.deepEqual(world.open(false).sendConnect({ clientId: "c", protocolVersion: 4 }).heard(), [
      "connack 5",
      "closed",
    ]);
  }),
);
