/**
 * Rates and bounds of connections against a whole broker. What is waited for here is answers, counters and lines of the
 * log, never a time.
 */
import assert from "node:assert/strict";
import { connectCode, connectedFrom, proxyHeader } from "../support/connect_attempt.ts";
import { RawClient } from "../support/raw_client.ts";
import { readRefusalDocument } from "../support/refusal_reasons.ts";
import { WatchedBroker } from "../support/watched_broker.ts";
import { concatBytes } from "../support/wire_bytes.ts";
import { encodeWire } from "../support/wire_packets.ts";

const LIMITED = readRefusalDocument().clients_limited;
const ANYWHERE = "{name: anywhere, type: tcp, bind: '127.0.0.1:0', proxy-protocol: true, allow-anonymous: true}";

/** Sends publications with QoS 1 in one piece. */
async function burst(client: RawClient, count: number, payload = ""): Promise<void> {
  const packets = Array.from(
    { length: count },
    (_, index) => encodeWire("publish", { topic: "t", qos: 1, id: index + 1, payload }, 5),
  );
  await client.send(concatBytes(...packets));
}

/** Takes the acknowledgements of a burst: all of them, in their order. */
async function acknowledged(client: RawClient, count: number): Promise<void> {
  for (let id = 1; id <= count; id++) assert.equal((await client.expect("puback")).wire.id, id);
}

/** Demands that clients were limited for a reason, and that the log has it. */
async function limited(broker: WatchedBroker, reason: string, level: string, listener: string): Promise<void> {
  assert.ok(LIMITED.has(reason));
  assert.ok(await broker.count("clients_limited", reason) >= 1, reason);
  const line = await broker.logged("client limited", { reason, level, listener });
  assert.equal(line["remoteAddress"], "127.0.0.1");
}

Deno.test("rates: a client above its message rate or byte rate waits, loses nothing, and holds up nobody", async () => {
  const limits = (rates: string) => `log: {level: debug}\nlimits: {${rates}}\n`;
  await using broker = await WatchedBroker.start({ config: limits("message-rate: 30") });
  await using greedy = await RawClient.connect(broker.endpoint(), { clientId: "greedy" });
  await using modest = await RawClient.connect(broker.endpoint(), { clientId: "modest" });
  await burst(greedy, 60);
  await greedy.expect("puback");
  await burst(modest, 1);
  await acknowledged(modest, 1);
  for (let id = 2; id <= 60; id++) assert.equal((await greedy.expect("puback")).wire.id, id);
  await limited(broker, "message_rate_wait", "debug", "tcp");

  await broker.write("promptmq.yaml", limits("byte-rate: 40KiB"));
  broker.reload();
  await broker.logged("configuration reloaded");
  await burst(greedy, 60, "x".repeat(1024));
  await acknowledged(greedy, 60);
  await limited(broker, "byte_rate_wait", "debug", "tcp");
  assert.equal(await broker.count("clients_limited", "message_rate_disconnect"), 0);
});

Deno.test("rates: with rate-exceeded disconnect a client hears 0x96, before MQTT 5 it is closed", async () => {
  const limits = (rates: string) => `limits: {rate-exceeded: disconnect, ${rates}}\n`;
  await using broker = await WatchedBroker.start({ config: limits("message-rate: 10") });
  const cut = async (payload: string, count: number) => {
    for (const version of [5, 4]) {
      await using client = await RawClient.connect(broker.endpoint(), { version, clientId: "greedy" });
      const packet = encodeWire("publish", { topic: "t", payload }, version);
      // It may be cut while it is still sending.
      await client.send(...Array.from({ length: count }, () => packet)).catch(() => {});
      if (version === 5) assert.equal((await client.expect("disconnect")).wire.reasonCode, 0x96);
      await client.expectClose();
    }
  };
  await cut("", 1000);
  assert.equal(await broker.count("clients_limited", "message_rate_disconnect"), 2);
  await limited(broker, "message_rate_disconnect", "info", "tcp");
  await broker.write("promptmq.yaml", limits("byte-rate: 16KiB"));
  broker.reload();
  await broker.logged("configuration reloaded");
  await cut("x".repeat(20_000), 1);
  assert.equal(await broker.count("clients_limited", "byte_rate_disconnect"), 2);
  await limited(broker, "byte_rate_disconnect", "info", "tcp");
});

Deno.test("rates: the clients of a listener share its rates and all get their turn", async () => {
  const listeners = [
    "{name: messages, type: tcp, bind: '127.0.0.1:0', message-rate: 30}",
    "{name: bytes, type: tcp, bind: '127.0.0.1:0', byte-rate: 40KiB}",
  ];
  const config = `log: {level: debug}\nlimits: {rate-exceeded: disconnect}\nlisteners: [${listeners.join(", ")}]\n`;
  await using broker = await WatchedBroker.start({ config });
  for (const [listener, payload] of [["messages", ""], ["bytes", "x".repeat(1024)]] as const) {
    await using first = await RawClient.connect(broker.endpoint(listener), { clientId: "first" });
    await using second = await RawClient.connect(broker.endpoint(listener), { clientId: "second" });
    await burst(first, 30, payload);
    await burst(second, 30, payload);
    await Promise.all([acknowledged(first, 30), acknowledged(second, 30)]);
    const reason = listener === "messages" ? "listener_message_rate_wait" : "listener_byte_rate_wait";
    await limited(broker, reason, "debug", listener);
  }
});

Deno.test("rates: one address has so many connections, and opens so many per second; others are not concerned", async () => {
  const config = (limits: string) => `limits: {${limits}}\nlisteners: [${ANYWHERE}]\n`;
  await using broker = await WatchedBroker.start({ config: config("connections-per-address: 2") });
  const anywhere = broker.endpoint("anywhere");
  for (const addresses of [["192.0.2.1", "192.0.2.1"], ["2001:db8:1:2::3", "2001:db8:1:2::4"]] as const) {
    await using first = await connectedFrom(anywhere, { clientId: "first" }, addresses[0]);
    await using second = await connectedFrom(anywhere, { clientId: "second" }, addresses[1]);
    await using third = await RawClient.open(anywhere);
    await third.send(proxyHeader(addresses[0]));
    await third.expectClose();
    const fields = { reason: "address_connections", listener: "anywhere" };
    // In the second round the line may be held back until the second is over.
    await broker.logged("connection refused", { ...fields, remoteAddress: addresses[0] });
    for (const client of [first, second]) await client.expectQuiet();
  }
  assert.equal(await broker.count("connects_refused", "address_connections"), 2);
  assert.equal(await connectCode(anywhere, { clientId: "c" }, "2001:db8:1:3::3"), 0);

  await broker.write("promptmq.yaml", config("connect-rate-per-address: 1"));
  broker.reload();
  await broker.logged("configuration reloaded");
  for (let tries = 0; await broker.count("connects_refused", "address_rate") === 0; tries++) {
    assert.ok(tries < 100, "an address may connect as often as it likes");
    await using client = await RawClient.open(anywhere);
    await client.send(proxyHeader("192.0.2.9"));
    // Refused or not, it is over.
    await client.closeWrite().catch(() => {});
    await client.expectClose();
  }
  await broker.logged("connection refused", { reason: "address_rate", remoteAddress: "192.0.2.9" });
  assert.equal(await connectCode(anywhere, { clientId: "c" }, "192.0.2.10"), 0);
});

Deno.test("rates: connections above the connect rate of a listener wait and come in, none is refused", async () => {
  await using broker = await WatchedBroker.start({ config: "limits: {connect-rate: 5}\n" });
  await using clients = new AsyncDisposableStack();
  const opened = await Promise.all(
    Array.from({ length: 10 }, async (_, index) => {
      const client = clients.use(await RawClient.open(broker.endpoint()));
      await client.sendPacket("connect", { clientId: `c-${index}` });
      return client;
    }),
  );
  for (const client of opened) assert.equal((await client.expect("connack")).wire.reasonCode, 0);
  assert.doesNotMatch(await broker.metrics(), /^promptmq_connects_refused_total\{/m);
});
