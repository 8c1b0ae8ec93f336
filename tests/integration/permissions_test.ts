/**
 * Permission rules against a whole broker: who may publish, subscribe and leave a Will Message where, on the wire of
 * every version, and what a change of the rules does to clients that are connected.
 */
import assert from "node:assert/strict";
import { OPENSSL, TestAuthority } from "../support/certificates.ts";
import { attempt, connectCode, connectedFrom } from "../support/connect_attempt.ts";
import type { RawClient } from "../support/raw_client.ts";
import { connectSecurely, tlsOptions } from "../support/secure_broker.ts";
import { findTool, runTool, testWithTools } from "../support/tools.ts";
import { quickUserFile } from "../support/user_file.ts";
import { WatchedBroker } from "../support/watched_broker.ts";
import type { WireFields } from "../support/wire_packets.ts";

const PUBLISHER = findTool("mosquitto_pub");
const NOT_AUTHORIZED = 0x87;
const NO_SUBSCRIBERS = 0x10;
const PASSWORD = "Pa55word";

const RULES = `
default: deny
groups:
  operators: [alice]
rules:
  - {deny: publish, topics: plant/locked/#}
  - {allow: all, groups: operators, topics: ["#", $SYS/#]}
  - {allow: publish, users: "sensor-*", topics: plant/sensors/%u/#, max-qos: 1, retain: false}
  - {allow: subscribe, users: "sensor-*", topics: plant/commands/%u/+, max-qos: 1}
  - {allow: all, clients: "gw-*", topics: gateways/%c/#}
  - {allow: subscribe, anonymous: true, topics: public}
`;

/** A broker with these rules and users. */
async function openWorld(rules: string, options = "") {
  const config = `auth: {acl-file: acl.yaml, password-file: users${options}}\n`;
  const users = await quickUserFile({ alice: PASSWORD, "sensor-1": PASSWORD });
  const broker = await WatchedBroker.start({ config, files: { "acl.yaml": rules, users } });
  return {
    broker,
    connect: (clientId: string, username: string | undefined, fields: WireFields = {}) =>
      connectedFrom(broker.endpoint(), { clientId, ...credentials(username), ...fields }),
    [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
  };
}

function credentials(username: string | undefined): WireFields {
  return username === undefined ? {} : { username, password: PASSWORD };
}

/** Publishes with QoS 1 or 2. @returns Reason Code of the answer; a QoS 2 exchange that began is finished. */
async function publish(client: RawClient, topic: string, more: WireFields = {}): Promise<number | undefined> {
  const fields = { topic, qos: 1, id: 9, ...more };
  await client.sendPacket("publish", fields);
  const { wire } = await client.expect(fields.qos === 1 ? "puback" : "pubrec");
  if (fields.qos === 2 && (wire.reasonCode ?? 0) < 0x80) {
    await client.sendPacket("pubrel", { id: fields.id });
    await client.expect("pubcomp");
  }
  return wire.reasonCode;
}

async function subscribe(client: RawClient, ...filters: readonly string[]): Promise<readonly number[] | undefined> {
  await client.sendPacket("subscribe", { id: 8, subscriptions: filters.map((filter) => ({ filter, qos: 2 })) });
  return (await client.expect("suback")).wire.reasonCodes;
}

Deno.test("rules: PUBACK, PUBREC and SUBACK say packet by packet and filter by filter what a client may do", async () => {
  await using world = await openWorld(RULES);
  await using alice = await world.connect("a", "alice");
  await using sensor = await world.connect("gw-7", "sensor-1");
  await using nobody = await world.connect("n", undefined);

  assert.equal(await publish(alice, "plant/x"), NO_SUBSCRIBERS);
  assert.equal(await publish(alice, "plant/locked/x"), NOT_AUTHORIZED);
  assert.equal(await publish(sensor, "plant/sensors/sensor-1/t"), NO_SUBSCRIBERS);
  assert.equal(await publish(sensor, "plant/sensors/sensor-2/t"), NOT_AUTHORIZED);
  assert.equal(await publish(sensor, "plant/sensors/sensor-1/t", { qos: 2 }), NOT_AUTHORIZED, "max-qos");
  assert.equal(await publish(sensor, "plant/sensors/sensor-1/t", { retain: true }), NOT_AUTHORIZED, "retain");
  assert.equal(await publish(sensor, "gateways/gw-7/x", { qos: 2, retain: true }), 0, "%c");
  assert.equal(await publish(sensor, "gateways/gw-8/x"), NOT_AUTHORIZED);
  assert.equal(await publish(nobody, "public"), NOT_AUTHORIZED);

  assert.deepEqual(await subscribe(alice, "#", "$SYS/#", "$share/group/plant/#"), [2, 2, 2]);
  assert.deepEqual(
    await subscribe(sensor, "plant/commands/sensor-1/+", "plant/commands/+/+", "gateways/gw-7/#", "#"),
    [1, NOT_AUTHORIZED, 2, NOT_AUTHORIZED],
  );
  assert.deepEqual(await subscribe(nobody, "public", "$share/g/public", "+", "plant/x"), [2, 2, 0x87, 0x87]);

  await sensor.sendPacket("publish", { topic: "plant/sensors/sensor-2/t", qos: 0 });
  await sensor.expectQuiet();
  const dropped = (await world.broker.metrics()).match(
    /^promptmq_messages_dropped_total\{reason="not_authorized"\} (.*)$/m,
  );
  assert.equal(dropped?.[1], "7");
});

Deno.test("rules: before MQTT 5 a forbidden publication is acknowledged and dropped, and a filter gets 0x80", async () => {
  await using world = await openWorld(RULES);
  await using alice = await world.connect("a", "alice");
  assert.deepEqual(await subscribe(alice, "plant/#"), [2]);
  for (const version of [3, 4]) {
    await using sensor = await world.connect("s", "sensor-1", { version });
    await publish(sensor, "plant/sensors/sensor-2/t");
    await publish(sensor, "plant/sensors/sensor-1/t", { qos: 2 });
    assert.deepEqual(await subscribe(sensor, "plant/commands/sensor-1/+", "#"), [1, 0x80]);
    await publish(sensor, "plant/sensors/sensor-1/t", { payload: `from ${version}` });
    assert.equal((await alice.expect("publish")).wire.payload, `from ${version}`, "nothing came before it");
    await alice.sendPacket("puback", { id: version - 2 });
  }
});

Deno.test("rules: a Will Message that its client may not publish refuses the client", async () => {
  await using world = await openWorld(RULES);
  const { broker } = world;
  await using alice = await world.connect("a", "alice");
  await subscribe(alice, "plant/#");
  const leaves = (topic: string, more: WireFields = {}) =>
    attempt(broker.endpoint(), {
      clientId: "s",
      ...credentials("sensor-1"),
      will: { topic, payload: "gone" },
      ...more,
    });
  await using refused = await leaves("plant/sensors/sensor-2/will");
  assert.equal(refused.code, NOT_AUTHORIZED);
  await refused.client.expectClose();
  await using refusedToo = await leaves("plant/sensors/sensor-2/will", { version: 4 });
  assert.equal(refusedToo.code, 5);
  await using retained = await leaves("plant", { will: { topic: "plant/sensors/sensor-1/will", retain: true } });
  assert.equal(retained.code, NOT_AUTHORIZED);
  assert.equal(await broker.count("connects_refused", "will_not_authorized"), 3);
  await using accepted = await leaves("plant/sensors/sensor-1/will");
  assert.equal(accepted.code, 0);
  await accepted.client.close();
  const { wire } = await alice.expect("publish");
  assert.deepEqual([wire.topic, wire.payload], ["plant/sensors/sensor-1/will", "gone"]);
});

Deno.test("rules: a changed file holds for connected clients, and one with a mistake changes nothing", async () => {
  await using world = await openWorld(RULES);
  const { broker } = world;
  await using alice = await world.connect("a", "alice");
  await using sensor = await world.connect("s", "sensor-1");
  assert.deepEqual(await subscribe(sensor, "plant/commands/sensor-1/+"), [1]);
  assert.equal(await publish(sensor, "plant/sensors/sensor-1/t"), NO_SUBSCRIBERS);

  await broker.write(
    "acl.yaml",
    "default: deny\nrules:\n  - {allow: pubish, topics: '#'}\n  - {allow: all, topics: a/#/b}\n",
  );
  const problems = [await broker.logged("access rules refused"), await broker.logged("access rules refused")];
  assert.deepEqual(problems.map(({ problem }) => /:(\d+):/.exec(String(problem))?.[1]), ["3", "4"]);
  assert.equal(await publish(sensor, "plant/sensors/sensor-1/t"), NO_SUBSCRIBERS);

  const changed = "default: deny\nrules:\n  - {allow: all, users: alice, topics: '#'}\n" +
    "  - {allow: publish, topics: plant/sensors/sensor-2/t}\n";
  await broker.write("acl.yaml", changed);
  await broker.logged("access rules replaced", { rules: 2 });
  assert.equal(await publish(sensor, "plant/sensors/sensor-1/t"), NOT_AUTHORIZED);
  assert.equal(await publish(sensor, "plant/sensors/sensor-2/t"), NO_SUBSCRIBERS);
  assert.deepEqual(await subscribe(sensor, "plant/commands/sensor-1/x"), [NOT_AUTHORIZED]);
  assert.equal(await publish(alice, "plant/commands/sensor-1/go"), 0);
  assert.equal((await sensor.expect("publish")).wire.topic, "plant/commands/sensor-1/go", "granted earlier");
});

Deno.test("rules: with re-checking, a subscription hears only what is permitted when it is delivered", async () => {
  const rules = (closed: string) =>
    `default: deny\nrules:\n  - {allow: all, users: alice, topics: '#'}\n` +
    `  - {deny: subscribe, topics: ${closed}}\n  - {allow: subscribe, topics: 'plant/#'}\n`;
  await using world = await openWorld(rules("plant/secret"), ", recheck-on-deliver: true");
  await using alice = await world.connect("a", "alice");
  await using sensor = await world.connect("s", "sensor-1");
  assert.deepEqual(await subscribe(sensor, "plant/+", "plant/secret"), [2, NOT_AUTHORIZED]);
  const hears = async (...topics: readonly string[]) => {
    for (const topic of ["plant/secret", "plant/open"]) {
      await alice.sendPacket("publish", { topic, qos: 0 });
    }
    await alice.expectQuiet();
    const heard: unknown[] = [];
    while (heard.length < topics.length) heard.push((await sensor.expect("publish")).wire.topic);
    assert.deepEqual(heard, topics);
    await sensor.expectQuiet();
  };
  await hears("plant/open");
  await world.broker.write("acl.yaml", rules("plant/open"));
  await world.broker.logged("access rules replaced");
  await hears("plant/secret");
});

testWithTools(
  "certificate: its common name is the user that the rules are about",
  [OPENSSL, PUBLISHER],
  async () => {
    await using authority = await TestAuthority.create();
    const server = await authority.server();
    const tls = `tls: true, tls-cert: "${server.cert}", tls-key: "${server.key}", tls-ca: "${authority.cert}"`;
    await using broker = await WatchedBroker.start({
      config: `server: {${tls}, tls-bind: '127.0.0.1:0', tls-client-auth: require}\nauth: {acl-file: acl.yaml}\n`,
      files: {
        "acl.yaml": "default: deny\nrules:\n  - {allow: publish, topics: 'gateways/%u'}\n" +
          "  - {allow: subscribe, users: reader, topics: '#'}\n",
      },
    });
    const issue = (name: string) => authority.issue(name, { subject: `/O=Example/CN=${name}` });
    await using reader = await connectSecurely(
      broker.endpoint("tls"),
      tlsOptions(authority, await issue("reader")),
      { clientId: "r" },
    );
    assert.deepEqual(await subscribe(reader, "#"), [2]);
    const { cert, key } = await issue("gateway-7");
    const gateway = (topic: string) =>
      runTool(PUBLISHER, [
        ...["-h", "localhost", "-p", `${broker.endpoint("tls").port}`, "-V", "mqttv5", "-q", "1", "-m", "m"],
        ...["--cafile", authority.cert, "--cert", cert, "--key", key, "-t", topic],
      ]);
    const refused = await gateway("gateways/gateway-8");
    assert.match(refused.stdout + refused.stderr, /not authori[sz]ed/i);
    const accepted = await gateway("gateways/gateway-7");
    assert.equal(accepted.code, 0, accepted.stderr);
    assert.equal((await reader.expect("publish")).wire.topic, "gateways/gateway-7");
    assert.equal(await connectCode(broker.endpoint(), { clientId: "c", username: "gateway-7" }), 0x86);
  },
);
