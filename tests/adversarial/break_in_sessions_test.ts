/**
 * Attempts of a client that is let in, with an account of its own, to have the Session or the topics of others.
 */
import assert from "node:assert/strict";
import { type IdentityProvider, named } from "../../src/auth/identity/identity.ts";
import { World } from "../broker/harness.ts";
import { cut, gone, honestConnect, planted, playDoor, refused } from "../support/break_in.ts";
import { OPENSSL } from "../support/certificates.ts";
import { credentialsOf, GuardedBroker } from "../support/guarded_broker.ts";
import { RawClient } from "../support/raw_client.ts";
import { testWithTools } from "../support/tools.ts";
import { encodeWire, type WireFields } from "../support/wire_packets.ts";
import type { WireProperty } from "../support/wire_properties.ts";
import type { Attempts } from "./break_in_attempts.ts";

const NOT_AUTHORIZED = 0x87;
const NOT_THEIRS = 0x85;
const KEPT: WireFields = { cleanStart: false, properties: [["sessionExpiryInterval", 300]] };
const mallory = (fields: WireFields = {}): WireFields => ({ ...credentialsOf("mallory"), ...fields });

const sessions: Attempts<"Sessions"> = {
  "taking over a connected Session": async (g) => {
    await using alice = await g.login("alice", { clientId: "victim", ...KEPT });
    await theft(g);
    await alice.expectQuiet();
  },
  "taking over a Session that waits": async (g) => {
    await using before = await g.login("alice", { clientId: "waiting", ...KEPT });
    await before.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "mail", qos: 1 }] });
    await before.expect("suback");
    await before.close();
    await using other = await g.login("alice", { clientId: "postman" });
    await other.sendPacket("publish", { topic: "mail", payload: "for alice alone", qos: 1, id: 1 });
    await other.expect("puback");
    await theft(g, "waiting");
    await using alice = await RawClient.open(g.endpoint("tcp"));
    await alice.send(honestConnect("alice", { clientId: "waiting", ...KEPT }));
    assert.equal((await alice.expect("connack")).wire.sessionPresent, true);
    assert.equal((await alice.expect("publish")).wire.payload, "for alice alone");
  },
  "other spelling of a Client Identifier": async (g) => {
    await using alice = await g.login("alice", { clientId: "victim", ...KEPT });
    for (const clientId of ["Victim", "victim ", "vict\u0456m"]) {
      await using own = await RawClient.open(g.endpoint("tcp"));
      await own.send(honestConnect("mallory", { ...KEPT, clientId }));
      assert.equal((await own.expect("connack")).wire.sessionPresent, false);
    }
    await alice.expectQuiet();
  },
  "Client Identifier with a zero byte": (g) =>
    cut(g.endpoint("tcp"), encodeWire("connect", mallory({ clientId: "victim\0" }), 5)),
  "race for a Session between two users": async (g) => {
    for (let round = 0; round < 20; round++) {
      const clientId = `race-${round}`;
      const one = await RawClient.open(g.endpoint("tcp"));
      const other = await RawClient.open(g.endpoint("tcp"));
      await Promise.all([
        one.send(honestConnect("alice", { clientId, ...KEPT })),
        other.send(honestConnect("mallory", { clientId, ...KEPT })),
      ]);
      const codes = [(await one.expect("connack")).wire, (await other.expect("connack")).wire];
      assert.deepEqual(codes.map(({ reasonCode }) => reasonCode).toSorted(), [0, NOT_THEIRS]);
      assert.deepEqual(codes.map(({ sessionPresent }) => sessionPresent), [false, false]);
      await (codes[0]?.reasonCode === 0 ? one : other).expectQuiet();
      await one.close();
      await other.close();
    }
  },
  "Will Message on a forbidden topic": async (g) => {
    for (const topic of ["intrusion/will", "users/alice/inbox", "$SYS/broker/version"]) {
      for (const retain of [false, true]) {
        await refused(g.endpoint("tcp"), mallory({ will: { topic, retain } }), NOT_AUTHORIZED);
      }
    }
    await refused(g.endpoint("tcp"), mallory({ version: 4, will: { topic: "intrusion/will" } }), 5);
  },
  "Will Message beyond what is allowed": async (g) => {
    await refused(g.endpoint("tcp"), mallory({ will: { topic: "limited/x", qos: 2 } }), NOT_AUTHORIZED);
    await refused(g.endpoint("tcp"), mallory({ will: { topic: "limited/x", retain: true } }), NOT_AUTHORIZED);
  },
  "Will Message in place of the owner's": async (g) => {
    await using listener = await g.login("alice", { clientId: "listener" });
    await listener.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "last/words" }] });
    await listener.expect("suback");
    await using alice = await g.login("alice", { clientId: "victim", will: { topic: "last/words", payload: "alice" } });
    await refused(g.endpoint("tcp"), mallory({ clientId: "victim", will: { topic: "users/mallory/x" } }), NOT_THEIRS);
    await alice.close();
    assert.equal((await listener.expect("publish")).wire.payload, "alice");
  },
};

/** Everything that might hand the Session of `victim` to another user. */
async function theft(g: GuardedBroker, clientId = "victim"): Promise<void> {
  for (const cleanStart of [false, true]) {
    await refused(g.endpoint("tcp"), mallory({ ...KEPT, clientId, cleanStart }), NOT_THEIRS);
    await refused(g.endpoint("tcp"), mallory({ clientId, cleanStart }), NOT_THEIRS);
    for (const version of [3, 4]) {
      await refused(g.endpoint("tcp"), mallory({ clientId, cleanStart, version }), 2);
    }
  }
  const token = await g.token({ sub: "mallory" });
  await refused(g.endpoint("tcp"), { ...KEPT, clientId, password: token }, NOT_THEIRS);
}

const topics: Attempts<"topics"> = {
  "publishing where it is forbidden": (g) =>
    asMallory(g, async (client) => {
      for (
        const topic of ["intrusion/x", "users/alice/inbox", "users", "users/mallory2", "public/x", "/users/mallory"]
      ) {
        await forbidden(client, topic);
      }
      await client.send(planted());
    }),
  "publishing with MQTT 3.1.1 where it is forbidden": async (g) => {
    await using client = await g.login("mallory", { version: 4 });
    await client.send(planted(4));
    for (const qos of [1, 2]) await client.sendPacket("publish", { topic: "intrusion/x", qos, id: qos });
    await untilQuiet(client);
  },
  "publishing beyond what is allowed": (g) =>
    asMallory(g, async (client) => {
      await client.sendPacket("publish", { topic: "limited/x", qos: 2, id: 1 });
      assert.equal((await client.expect("pubrec")).wire.reasonCode, NOT_AUTHORIZED);
      await client.sendPacket("publish", { topic: "limited/x", qos: 1, id: 1, retain: true });
      assert.equal((await client.expect("puback")).wire.reasonCode, NOT_AUTHORIZED);
    }),
  "publishing to topics with wildcards": (g) =>
    asMallory(g, async (client) => {
      await client.sendPacket("publish", { topic: "users/mallory/#", qos: 1, id: 1 });
      assert.ok(((await client.expect("disconnect")).wire.reasonCode ?? 0) >= 0x80);
    }),
  "publishing to $SYS and $share": async (g) => {
    for (const user of ["alice", "mallory"]) {
      await using client = await g.login(user, { clientId: `system-${user}` });
      for (const topic of ["$SYS/broker/version", "$SYS/x", "$share/g/intrusion/x"]) {
        await client.sendPacket("publish", { topic, qos: 1, id: 1, payload: "forged", retain: true });
        const { reasonCode } = (await client.expect("puback")).wire;
        assert.equal(reasonCode, NOT_AUTHORIZED, topic);
      }
    }
  },
  "Will Message to $SYS of who may everything": async (g) => {
    await using client = await RawClient.open(g.endpoint("tcp"));
    await client.send(
      honestConnect("alice", { will: { topic: "$SYS/broker/version", payload: "forged", retain: true } }),
    );
    await client.next("CONNACK");
    await client.close();
    await using reader = await g.login("alice", { clientId: "reader" });
    await reader.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "$SYS/broker/version" }] });
    await reader.expect("suback");
    for (const { wire } of await untilQuiet(reader)) assert.notEqual(wire.payload, "forged");
  },
  "Topic Alias of an allowed topic for a forbidden one": (g) =>
    asMallory(g, async (client) => {
      const alias: WireProperty[] = [["topicAlias", 1]];
      await client.sendPacket("publish", { topic: "users/mallory/x", qos: 1, id: 1, properties: alias });
      await acknowledged(client, 0x10, 0);
      await client.sendPacket("publish", { topic: "intrusion/x", qos: 1, id: 2, properties: alias });
      await acknowledged(client, NOT_AUTHORIZED);
      await client.sendPacket("publish", { topic: "", qos: 1, id: 3, properties: alias });
      await acknowledged(client, NOT_AUTHORIZED, 0x10, 0);
    }),
  "Topic Alias that a refused PUBLISH has set": (g) =>
    asMallory(g, async (client) => {
      const alias: WireProperty[] = [["topicAlias", 7]];
      await client.sendPacket("publish", { topic: "intrusion/x", qos: 1, id: 1, properties: alias });
      await acknowledged(client, NOT_AUTHORIZED);
      await client.sendPacket("publish", { topic: "", qos: 1, id: 2, properties: alias });
      await acknowledged(client, NOT_AUTHORIZED);
      await client.sendPacket("publish", { topic: "", properties: alias });
    }),
  "Topic Alias of another connection": (g) =>
    asMallory(g, async (client) => {
      await using alice = await g.login("alice", { clientId: "aliased" });
      const properties: WireProperty[] = [["topicAlias", 9]];
      await alice.sendPacket("publish", { topic: "elsewhere", qos: 1, id: 1, properties });
      await alice.expect("puback");
      await client.sendPacket("publish", { topic: "", qos: 1, id: 1, properties });
      assert.equal((await client.expect("disconnect")).wire.reasonCode, 0x82);
    }),
  "Packet Identifier of an allowed message for a forbidden one": (g) =>
    asMallory(g, async (client) => {
      await client.sendPacket("publish", { topic: "users/mallory/x", qos: 2, id: 5 });
      await client.expect("pubrec");
      await client.sendPacket("publish", { topic: "intrusion/x", qos: 2, id: 5, dup: true });
      await client.expect("pubrec");
      for (let count = 0; count < 3; count++) {
        await client.sendPacket("pubrel", { id: 5 });
        await client.expect("pubcomp");
      }
    }),
  "PUBREL of a message that was refused": (g) =>
    asMallory(g, async (client) => {
      await client.sendPacket("publish", { topic: "intrusion/x", qos: 2, id: 6 });
      assert.equal((await client.expect("pubrec")).wire.reasonCode, NOT_AUTHORIZED);
      await client.sendPacket("pubrel", { id: 6 });
      await client.expect("pubcomp");
    }),
  "response topic that is forbidden to read": (g) =>
    asMallory(g, async (client) => {
      const properties: WireProperty[] = [["responseTopic", "users/alice/inbox"]];
      await client.sendPacket("publish", { topic: "users/mallory/x", qos: 1, id: 1, properties });
      await client.expect("puback");
      await notSubscribed(client, "users/alice/inbox");
    }),
  "subscribing to everything": (g) =>
    asMallory(g, async (client) => {
      const filters = [
        "#",
        "+/#",
        "+",
        "+/+",
        "+/+/#",
        "users/#",
        "users/+/inbox",
        "$SYS/#",
        "$SYS/+",
        "intrusion/now",
      ];
      for (const filter of filters) await notSubscribed(client, filter);
    }),
  "subscribing around a rule that denies": (g) =>
    asMallory(g, async (client) => {
      const filters = ["public/#", "public/+", "public/hidden", "public/hidden/#", "public/+/x", "public/hidden/+/#"];
      for (const filter of filters) await notSubscribed(client, filter);
      await client.sendPacket("subscribe", { id: 9, subscriptions: [{ filter: "public/news/#" }] });
      assert.deepEqual((await client.expect("suback")).wire.reasonCodes, [0]);
    }),
  "subscribing through a group": (g) =>
    asMallory(g, async (client) => {
      for (const filter of ["#", "users/alice/inbox", "public/hidden/x", "$SYS/#", "+/#"]) {
        await notSubscribed(client, `$share/g/${filter}`);
      }
      for (const filter of ["$share/g", "$share/g/", "$share//#", "$share/+/#", "$share/#", "$share/g#/x"]) {
        await using other = await g.login("mallory", { clientId: "malformed" });
        await other.sendPacket("subscribe", { id: 1, subscriptions: [{ filter }] });
        const answer = await other.next("SUBACK or the end");
        const codes = answer?.wire.reasonCodes ?? [answer?.wire.reasonCode ?? 0x80];
        assert.ok(codes.every((code) => code >= 0x80), `${filter} is granted`);
      }
    }),
  "joining a group of another user": async (g) => {
    await using alice = await g.login("alice", { clientId: "member" });
    await alice.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "$share/jobs/work/#" }] });
    await alice.expect("suback");
    await asMallory(g, async (client) => {
      await notSubscribed(client, "$share/jobs/work/#");
      await notSubscribed(client, "$share/jobs/#");
      await using sender = await g.login("alice", { clientId: "sender" });
      await sender.sendPacket("publish", { topic: "work/1", payload: "job", qos: 1, id: 1 });
      await sender.expect("puback");
      await alice.expect("publish");
    });
  },
  "Retained Messages of forbidden topics": async (g) => {
    await using alice = await g.login("alice", { clientId: "keeper" });
    await alice.sendPacket("publish", { topic: "public/hidden/x", payload: "kept", retain: true, qos: 1, id: 1 });
    await alice.expect("puback");
    await asMallory(g, async (client) => {
      for (const filter of ["public/hidden/x", "public/#", "public/+/x", "#"]) await notSubscribed(client, filter);
    });
  },
  "placeholder with the name of all": async (g) => {
    for (const sub of ["+", "#", "a/b", "$SYS", "%u", "%c", "alice/../mallory", ""]) {
      if (sub === "") continue;
      await using client = await RawClient.connect(g.endpoint("tcp"), {
        ...{ clientId: `named-${sub.length}`, keepAlive: 0, password: await g.token({ sub }) },
      });
      for (const filter of ["users/alice/#", "users/+/#", "users/#", "users/+", "#"]) {
        await notSubscribed(client, filter);
      }
      await client.sendPacket("publish", { topic: "users/alice/x", qos: 1, id: 1 });
      await acknowledged(client, NOT_AUTHORIZED);
    }
  },
  "Client Identifier with the name of all": async (g) => {
    for (const clientId of ["+", "#", "+/#", "../alice", "$share"]) {
      await asMallory(g, async (client) => {
        for (const filter of ["clients/alice/x", "clients/+/+", "clients/mallory/#"]) {
          await notSubscribed(client, filter);
        }
      }, clientId);
    }
  },
};

async function asMallory(g: GuardedBroker, act: (client: RawClient) => Promise<void>, clientId = "own"): Promise<void> {
  await using client = await g.login("mallory", { clientId });
  await act(client);
  await client.sendPacket("pingreq").catch(gone);
  for (let packet = await client.next("PINGRESP"); packet !== undefined; packet = await client.next("PINGRESP")) {
    if (packet.wire.type === "pingresp") return;
    assert.notEqual(packet.wire.type, "publish", `got a message: ${JSON.stringify(packet.wire)}`);
  }
}

async function forbidden(client: RawClient, topic: string): Promise<void> {
  for (const retain of [false, true]) {
    await client.sendPacket("publish", { topic, qos: 1, id: 1, retain });
    await acknowledged(client, NOT_AUTHORIZED);
    await client.sendPacket("publish", { topic, qos: 2, id: 2, retain });
    assert.equal((await client.expect("pubrec")).wire.reasonCode, NOT_AUTHORIZED);
  }
}

async function acknowledged(client: RawClient, ...reasonCodes: readonly number[]): Promise<void> {
  const { reasonCode = -1 } = (await client.expect("puback")).wire;
  assert.ok(reasonCodes.includes(reasonCode), `PUBACK has Reason Code 0x${reasonCode.toString(16)}`);
}

async function notSubscribed(client: RawClient, filter: string): Promise<void> {
  await client.sendPacket("subscribe", { id: 3, subscriptions: [{ filter, qos: 2 }] });
  const codes = (await client.expect("suback")).wire.reasonCodes ?? [];
  assert.ok(codes.length === 1 && codes[0]! >= 0x80, `${filter} is granted: ${codes}`);
}

/** Packets up to the answer to a PINGREQ. */
async function untilQuiet(client: RawClient) {
  await client.sendPacket("pingreq");
  const packets = [];
  for (;;) {
    const packet = await client.next("PINGRESP");
    if (packet === undefined || packet.wire.type === "pingresp") return packets;
    packets.push(packet);
  }
}

playDoor("Sessions", sessions);
playDoor("topics", topics);

testWithTools(
  "break-in: a narrower token for a Session of the same user hears nothing that it may not",
  [OPENSSL],
  async () => {
    await using g = await GuardedBroker.start("", ["recheck-on-deliver: true"]);
    const clientId = "wide";
    await using wide = await g.login("alice", { clientId, ...KEPT });
    await wide.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "wide/#", qos: 1 }] });
    await wide.expect("suback");
    await wide.close();
    const acl = [{ effect: "deny", action: "all", topics: ["#"] }];
    const narrow = await RawClient.open(g.endpoint("tcp"));
    await narrow.sendPacket("connect", { clientId, ...KEPT, password: await g.token({ acl }), keepAlive: 0 });
    await narrow.expect("connack");
    await using other = await g.login("alice", { clientId: "other" });
    await other.sendPacket("publish", { topic: "wide/x", payload: "secret", qos: 1, id: 1 });
    await other.expect("puback");
    await narrow.expectQuiet();
    await narrow.close();
  },
);

Deno.test("break-in: a Session whose record is waited for belongs to who opened it already", () => {
  const provider: IdentityProvider = {
    name: "names",
    verify: ({ username }) => ({ kind: "accept", identity: named(username) }),
  };
  for (const clean of [false, true]) {
    const world = new World({ providers: [provider] });
    world.store.isSlow = true;
    const connect = (username: string, clean: boolean) =>
      world.open().sendConnect({ clientId: "c", username, clean, properties: { sessionExpiryInterval: 60 } });
    const owner = connect("alice", false);
    const thief = connect("mallory", clean);
    world.settle();
    assert.deepEqual(owner.heard(), [], "the record is waited for");
    assert.deepEqual(thief.heard(), ["connack 0x85", "closed"]);
    world.store.finishCommit();
    world.settle();
    assert.deepEqual(owner.heard(), ["connack 0"]);
  }
});
