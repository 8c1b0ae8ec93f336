/**
 * Topics, filters and aliases in numbers and shapes that hurt: the broker answers or closes, stays within the stated
 * memory, and serves an honest client next to it.
 */
import assert from "node:assert/strict";
import { Broker } from "../support/broker.ts";
import { RawClient } from "../support/raw_client.ts";
import { concatBytes } from "../support/wire_bytes.ts";
import { encodeWire } from "../support/wire_packets.ts";
import { HonestFlow } from "./honest_flow.ts";

Deno.test("hostile: ten thousand subscriptions of one client are granted, matched and removed", async () => {
  await using broker = await Broker.start();
  await using flow = await HonestFlow.start(broker.tcp);
  await using client = await RawClient.connect(broker.tcp, { clientId: "collector" });
  const filters = Array.from({ length: 10_000 }, (_, index) => `many/${index % 100}/${index}`);
  for (let first = 0; first < filters.length; first += 500) {
    const subscriptions = filters.slice(first, first + 500).map((filter) => ({ filter, qos: 1 }));
    await client.sendPacket("subscribe", { id: first + 1, subscriptions });
    const { wire } = await client.expect("suback");
    assert.deepEqual(wire.reasonCodes, subscriptions.map(() => 1));
  }
  await client.sendPacket("publish", { topic: "many/42/9942", payload: "found" });
  assert.equal((await client.expect("publish")).wire.payload, "found");
  for (let first = 0; first < filters.length; first += 500) {
    await client.sendPacket("unsubscribe", { id: first + 1, filters: filters.slice(first, first + 500) });
    const { wire } = await client.expect("unsuback");
    assert.ok(wire.reasonCodes?.every((code) => code === 0));
  }
  await client.sendPacket("publish", { topic: "many/42/9942", payload: "lost" });
  await client.expectQuiet();
  const { acknowledged, delivered } = await flow.finish();
  assert.equal(delivered, acknowledged);
});

Deno.test("hostile: all 65 535 Topic Aliases are accepted and stand for their topics [MQTT-3.3.2-12]", async () => {
  await using broker = await Broker.start();
  await using flow = await HonestFlow.start(broker.tcp);
  await using reader = await RawClient.connect(broker.tcp, { clientId: "reader" });
  await reader.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "alias/probe/+" }] });
  await reader.expect("suback");
  await using client = await RawClient.connect(broker.tcp, { clientId: "aliaser" });
  for (let first = 1; first <= 65_535; first += 1024) {
    const count = Math.min(1024, 65_536 - first);
    await client.send(...Array.from({ length: count }, (_, index) => {
      const alias = first + index;
      const topic = alias % 1000 === 0 ? `alias/probe/${alias}` : `alias/${alias}`;
      return encodeWire("publish", { topic, properties: [["topicAlias", alias]] }, 5);
    }));
  }
  await client.expectQuiet();
  for (let alias = 1000; alias <= 65_000; alias += 1000) await reader.expect("publish");
  await client.sendPacket("publish", { topic: "", payload: "by alias", properties: [["topicAlias", 64_000]] });
  const { wire } = await reader.expect("publish");
  assert.equal(wire.topic, "alias/probe/64000");
  assert.equal(wire.payload, "by alias");
  const { acknowledged, delivered } = await flow.finish();
  assert.equal(delivered, acknowledged);
});

Deno.test("hostile: a Topic Name of 65 535 bytes is delivered whole [MQTT-4.7.3-3]", async () => {
  await using broker = await Broker.start();
  await using reader = await RawClient.connect(broker.tcp, { clientId: "reader" });
  await reader.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "long/#" }] });
  await reader.expect("suback");
  await using client = await RawClient.connect(broker.tcp, { clientId: "writer" });
  const topic = `long/${"t".repeat(65_530)}`;
  await client.sendPacket("publish", { topic, payload: "x" });
  const { wire } = await reader.expect("publish");
  assert.equal(wire.topic, topic);
});

Deno.test("hostile: a packet of more than 1 MiB is refused with 0x95 before its body arrives", async () => {
  await using broker = await Broker.start();
  await using client = await RawClient.connect(broker.tcp, { clientId: "writer" });
  await client.send(encodeWire("publish", { topic: "big", payload: "x".repeat(1024 * 1024) }, 5).subarray(0, 100));
  assert.equal((await client.expect("disconnect")).wire.reasonCode, 0x95);
  await client.expectClose();
});

Deno.test("hostile: a payload that just fits into 1 MiB is delivered whole", async () => {
  await using broker = await Broker.start();
  await using client = await RawClient.connect(broker.tcp, { clientId: "writer" });
  await client.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "big" }] });
  await client.expect("suback");
  const payload = "x".repeat(1024 * 1024 - 10);
  const packet = encodeWire("publish", { topic: "big", payload }, 5);
  assert.equal(packet.length, 1024 * 1024);
  await client.send(packet);
  assert.equal((await client.expect("publish")).wire.payload, payload);
});

Deno.test("hostile: topics and filters of thirty thousand levels are refused", async () => {
  await using broker = await Broker.start();
  await using flow = await HonestFlow.start(broker.tcp);
  const deep = "a/".repeat(30_000);
  await using publisher = await RawClient.connect(broker.tcp, { clientId: "deep-publisher" });
  await publisher.sendPacket("publish", { topic: deep, payload: "x" });
  assert.equal((await publisher.expect("disconnect")).wire.reasonCode, 0x90);
  await publisher.expectClose();
  await using subscriber = await RawClient.connect(broker.tcp, { clientId: "deep-subscriber" });
  await subscriber.sendPacket("subscribe", {
    id: 1,
    subscriptions: [{ filter: deep }, { filter: "+/".repeat(30_000) }],
  });
  assert.deepEqual((await subscriber.expect("suback")).wire.reasonCodes, [0x8f, 0x8f]);
  await subscriber.expectQuiet();
  const { acknowledged, delivered } = await flow.finish();
  assert.equal(delivered, acknowledged);
});

Deno.test("hostile: four thousand overlapping wildcard filters deliver one copy and do not stop the broker", async () => {
  await using broker = await Broker.start();
  await using flow = await HonestFlow.start(broker.tcp);
  await using client = await RawClient.connect(broker.tcp, { clientId: "storm" });
  // Every combination of "a" and "+" over twelve levels: one topic matches all of them.
  const filters = Array.from({ length: 4096 }, (_, bits) => {
    return Array.from({ length: 12 }, (_, level) => ((bits >> level) & 1) === 1 ? "+" : "a").join("/");
  });
  for (let first = 0; first < filters.length; first += 512) {
    const subscriptions = filters.slice(first, first + 512).map((filter) => ({ filter }));
    await client.sendPacket("subscribe", { id: first + 1, subscriptions });
    await client.expect("suback");
  }
  const topic = Array.from({ length: 12 }, () => "a").join("/");
  for (let index = 0; index < 100; index += 1) {
    await client.sendPacket("publish", { topic, payload: String(index) });
    assert.equal((await client.expect("publish")).wire.payload, String(index));
  }
  await client.expectQuiet();
  const { acknowledged, delivered } = await flow.finish();
  assert.equal(delivered, acknowledged);
});

Deno.test("hostile: a subscription storm that comes and goes beside publications loses nothing for others", async () => {
  await using broker = await Broker.start();
  await using flow = await HonestFlow.start(broker.tcp);
  await using client = await RawClient.connect(broker.tcp, { clientId: "restless" });
  for (let round = 1; round <= 300; round += 1) {
    await client.send(concatBytes(
      encodeWire("subscribe", { id: round, subscriptions: [{ filter: "#" }, { filter: "honest/+" }] }, 5),
      encodeWire("unsubscribe", { id: round, filters: ["#", "honest/+"] }, 5),
    ));
  }
  let answers = 0;
  while (answers < 600) {
    const received = await client.next("an answer to the storm");
    assert.ok(received, "the broker closed the connection");
    if (received.wire.type !== "publish") answers += 1;
  }
  const { acknowledged, delivered } = await flow.finish();
  assert.equal(delivered, acknowledged);
});
