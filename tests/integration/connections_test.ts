/**
 * The life of connections: admission, timeouts, half-closed and stalled sockets, shutdown.
 */
import assert from "node:assert/strict";
import { Broker } from "../support/broker.ts";
import { RawClient } from "../support/raw_client.ts";
import { concatBytes } from "../support/wire_bytes.ts";
import { encodeWire } from "../support/wire_packets.ts";

Deno.test("shutdown: v5 clients are told 0x8B, v3 clients are closed, the exit code is 0", async () => {
  await using broker = await Broker.start();
  await using modern = await RawClient.connect(broker.tcp, { clientId: "modern" });
  await using older = await RawClient.connect(broker.tcp, { clientId: "older", version: 4 });
  broker.signal("SIGTERM");
  const { wire } = await modern.expect("disconnect");
  assert.equal(wire.reasonCode, 0x8b);
  await modern.expectClose();
  await older.expectClose();
  const exit = await broker.ended();
  assert.equal(exit.code, 0);
});

Deno.test("shutdown: SIGINT ends the broker gracefully too", async () => {
  await using broker = await Broker.start();
  const exit = await broker.stop("SIGINT");
  assert.equal(exit.code, 0);
});

Deno.test("admission: a connection above max-connections is refused, and a freed place is given again", async () => {
  await using broker = await Broker.start({ flags: ["--max-connections", "2"] });
  const will = { topic: "will/one", payload: "place is free" };
  const first = await RawClient.connect(broker.tcp, { clientId: "one", will });
  await using second = await RawClient.connect(broker.tcp, { clientId: "two" });
  await second.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "will/one" }] });
  await second.expect("suback");
  const third = await RawClient.open(broker.tcp);
  await third.sendPacket("connect", { clientId: "three" });
  const refusal = (await third.drain()).map(({ wire }) => wire);
  await third.close();
  assert.ok(refusal.length <= 1);
  for (const wire of refusal) {
    assert.equal(wire.type, "connack");
    assert.equal(wire.reasonCode, 0x97);
  }
  await second.expectQuiet();
  await first.close();
  await second.expect("publish");
  await using fourth = await RawClient.connect(broker.tcp, { clientId: "four" });
  await fourth.expectQuiet();
});

Deno.test("admission: of one client too many, all at once, exactly one is refused, whoever else is connected", async () => {
  await using broker = await Broker.start({ flags: ["--max-connections", "100"] });
  await using opened = new AsyncDisposableStack();
  for (let count = 0; count < 20; count++) opened.use(await RawClient.open(broker.tcp));
  const clients: RawClient[] = [];
  for (let count = 0; count < 101; count++) clients.push(opened.use(await RawClient.open(broker.tcp)));
  // Half of them have a Session that has to be recorded first.
  const fields = clients.map((_, index) => ({
    clientId: `c${index}`,
    cleanStart: index % 2 === 0,
    properties: [["sessionExpiryInterval", index % 2 === 0 ? 0 : 60]] as const,
  }));
  await Promise.all(clients.map((client, index) => client.sendPacket("connect", fields[index]!)));
  const codes = await Promise.all(clients.map(async (client) => (await client.expect("connack")).wire.reasonCode!));
  assert.deepEqual(codes.filter((code) => code !== 0), [0x97]);
  const winner = codes.indexOf(0);
  await using heir = await RawClient.connect(broker.tcp, fields[winner]!);
  assert.equal((await clients[winner]!.expect("disconnect")).wire.reasonCode, 0x8e);
  await heir.expectQuiet();
  assert.equal(await broker.metric('promptmq_connects_refused_total{reason="quota_exceeded"}'), 1);
});

for (const [allowed, reasonCode] of [["loopback", 0], ["true", 0], ["false", 0x87]] as const) {
  Deno.test(`admission: allow-anonymous ${allowed} answers a loopback client with ${reasonCode}`, async () => {
    await using broker = await Broker.start({ flags: ["--allow-anonymous", allowed] });
    await using client = await RawClient.open(broker.tcp);
    await client.sendPacket("connect", { clientId: "anonymous" });
    const { wire } = await client.expect("connack");
    assert.equal(wire.reasonCode, reasonCode);
  });
}

Deno.test("timeout: a connection that sends no CONNECT is closed after read-timeout", async () => {
  await using broker = await Broker.start({ flags: ["--read-timeout", "300ms"] });
  await using silent = await RawClient.open(broker.tcp);
  await using halfway = await RawClient.open(broker.tcp);
  await halfway.send(encodeWire("connect", { clientId: "slow" }, 5).subarray(0, 7));
  await silent.expectClose();
  await halfway.expectClose();
});

Deno.test("timeout: read-timeout ends with CONNECT and does not touch an idle client", async () => {
  await using broker = await Broker.start({ flags: ["--read-timeout", "300ms"] });
  await using idle = await RawClient.connect(broker.tcp, { clientId: "idle" });
  await using silent = await RawClient.open(broker.tcp);
  await silent.expectClose();
  await idle.expectQuiet();
});

Deno.test("timeout: a client silent for 1.5 Keep Alive periods is closed [MQTT-3.1.2-22] [3.1.1:MQTT-3.1.2-24]", async () => {
  await using broker = await Broker.start();
  await using modern = await RawClient.connect(broker.tcp, { clientId: "modern", keepAlive: 1 });
  await using older = await RawClient.connect(broker.tcp, { clientId: "older", keepAlive: 1, version: 4 });
  assert.equal((await modern.expect("disconnect")).wire.reasonCode, 0x8d);
  await modern.expectClose();
  await older.expectClose();
});

Deno.test("half-closed: what a client sent before its FIN is answered, then the broker closes", async () => {
  await using broker = await Broker.start();
  await using subscriber = await RawClient.connect(broker.tcp, { clientId: "subscriber" });
  await subscriber.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "will/#", qos: 1 }] });
  await subscriber.expect("suback");
  await using client = await RawClient.connect(broker.tcp, {
    clientId: "half",
    will: { topic: "will/half", payload: "gone", qos: 1 },
  });
  await client.sendPacket("publish", { topic: "will/last", payload: "word", qos: 1, id: 1 });
  await client.closeWrite();
  const received = (await client.drain()).map(({ wire }) => wire.type);
  assert.ok(received.length <= 1 && received.every((type) => type === "puback"), received.join());
  assert.equal((await subscriber.expect("publish")).wire.topic, "will/last");
  assert.equal((await subscriber.expect("publish")).wire.topic, "will/half");
});

Deno.test("half-closed: a FIN before CONNECT closes the connection", async () => {
  await using broker = await Broker.start();
  await using client = await RawClient.open(broker.tcp);
  await client.closeWrite();
  await client.expectClose();
});

Deno.test("stalled writer: a client that stops reading is cut after write-timeout, others are not delayed", async () => {
  await using broker = await Broker.start({ flags: ["--write-timeout", "500ms"] });
  const stalled = await Deno.connect(broker.tcp);
  await stalled.write(concatBytes(
    encodeWire("connect", { clientId: "stalled", will: { topic: "will/stalled", payload: "cut" } }, 5),
    encodeWire("subscribe", { id: 1, subscriptions: [{ filter: "flood" }] }, 5),
  ));
  await using watcher = await RawClient.connect(broker.tcp, { clientId: "watcher" });
  await watcher.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "will/#" }] });
  await watcher.expect("suback");
  await using publisher = await RawClient.connect(broker.tcp, { clientId: "publisher" });
  const chunk = encodeWire("publish", { topic: "flood", payload: "x".repeat(60_000) }, 5);
  for (let sent = 0; sent < 600; sent += 1) await publisher.send(chunk);
  await publisher.expectQuiet();
  const { wire } = await watcher.expect("publish");
  assert.equal(wire.topic, "will/stalled");
  stalled.close();
});

Deno.test("health: /health, /health/ready and /metrics answer while the broker serves", async () => {
  await using broker = await Broker.start();
  for (const path of ["/health", "/health/live", "/health/ready", "/metrics"]) {
    const response = await fetch(`${broker.metricsUrl}${path}`);
    await response.body?.cancel();
    assert.equal(response.status, 200, path);
  }
});
