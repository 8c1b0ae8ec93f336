/**
 * Clients that hold or flood connections: each is answered or closed, memory stays within the stated bound, and an
 * honest QoS 1 flow beside them is complete and in order.
 */
import assert from "node:assert/strict";
import { Broker } from "../support/broker.ts";
import { isDisconnect, RawClient } from "../support/raw_client.ts";
import { concatBytes, fromHex } from "../support/wire_bytes.ts";
import { encodeWire } from "../support/wire_packets.ts";
import { HonestFlow } from "./honest_flow.ts";

const MEBIBYTE = 1024 * 1024;

/** Plays `attack` beside an honest flow; the broker may grow by `growthBytesMax`. */
async function besideHonestFlow(
  broker: Broker,
  growthBytesMax: number,
  attack: (flow: HonestFlow) => Promise<void>,
): Promise<void> {
  const before = await broker.rssBytes();
  await using flow = await HonestFlow.start(broker.tcp);
  await attack(flow);
  const after = await broker.rssBytes();
  const { acknowledged, delivered } = await flow.finish();
  assert.equal(delivered, acknowledged);
  if (before !== undefined && after !== undefined) {
    assert.ok(after - before < growthBytesMax, `memory grew by ${Math.round((after - before) / MEBIBYTE)} MiB`);
  }
}

async function openMany(count: number, open: (index: number) => Promise<RawClient>): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  for (let index = 0; index < count; index += 1) clients.push(await open(index));
  return clients;
}

async function closeAll(clients: readonly RawClient[]): Promise<void> {
  for (const client of clients) await client.close();
}

Deno.test("hostile: two hundred connections that trickle their CONNECT are closed after read-timeout", async () => {
  await using broker = await Broker.start({ flags: ["--read-timeout", "500ms"] });
  await besideHonestFlow(broker, 100 * MEBIBYTE, async () => {
    const clients = await openMany(200, () => RawClient.open(broker.tcp));
    for (let round = 0; round < 3; round += 1) {
      const byte = encodeWire("connect", { clientId: "slow" }, 5).subarray(round, round + 1);
      for (const client of clients) await client.send(byte);
    }
    for (const client of clients) await client.expectClose();
    await closeAll(clients);
  });
});

Deno.test("hostile: two hundred unfinished packets of 1 MiB cost no memory and run into Keep Alive", async () => {
  await using broker = await Broker.start();
  await besideHonestFlow(broker, 100 * MEBIBYTE, async () => {
    const clients = await openMany(
      200,
      (index) => RawClient.connect(broker.tcp, { clientId: `half${index}`, keepAlive: 2 }),
    );
    for (const client of clients) await client.send(fromHex("30 f0ff3f 0004 68616c66 00"), new Uint8Array(1000));
    for (const client of clients) {
      assert.equal((await client.expect("disconnect")).wire.reasonCode, 0x8d);
      await client.expectClose();
    }
    await closeAll(clients);
  });
});

Deno.test("hostile: a flood towards a client that never reads is bounded and dropped for it alone", async () => {
  await using broker = await Broker.start();
  await besideHonestFlow(broker, 150 * MEBIBYTE, async () => {
    const deaf = await Deno.connect(broker.tcp);
    await deaf.write(concatBytes(
      encodeWire("connect", { clientId: "deaf", keepAlive: 60 }, 5),
      encodeWire("subscribe", { id: 1, subscriptions: [{ filter: "flood" }] }, 5),
    ));
    await using publisher = await RawClient.connect(broker.tcp, { clientId: "flooder" });
    const block = concatBytes(
      ...Array.from({ length: 100 }, () => encodeWire("publish", { topic: "flood", payload: "x".repeat(10_000) }, 5)),
    );
    for (let sent = 0; sent < 300; sent += 1) await publisher.send(block);
    await publisher.expectQuiet();
    deaf.close();
  });
});

Deno.test("hostile: PINGREQ by the hundred thousand from a client that does not read is bounded", async () => {
  await using broker = await Broker.start({ flags: ["--write-timeout", "1s"] });
  await besideHonestFlow(broker, 100 * MEBIBYTE, async () => {
    const connection = await Deno.connect(broker.tcp);
    await connection.write(encodeWire("connect", { clientId: "pinger" }, 5));
    const block = concatBytes(...Array.from({ length: 10_000 }, () => fromHex("c000")));
    try {
      // Either the broker swallows it all, or it cuts a client that does not take its answers.
      for (let sent = 0; sent < 10; sent += 1) {
        let position = 0;
        while (position < block.length) position += await connection.write(block.subarray(position));
      }
    } catch (error) {
      assert.ok(isDisconnect(error), String(error));
    }
    connection.close();
  });
});

Deno.test("hostile: five hundred takeovers of one Client Identifier leave one connection", async () => {
  await using broker = await Broker.start();
  await besideHonestFlow(broker, 100 * MEBIBYTE, async () => {
    const clients = await openMany(500, () => RawClient.connect(broker.tcp, { clientId: "contested" }));
    const last = clients.pop();
    for (const client of clients) {
      assert.equal((await client.expect("disconnect")).wire.reasonCode, 0x8e);
      await client.expectClose();
    }
    await last?.expectQuiet();
    await last?.close();
    await closeAll(clients);
  });
});

Deno.test("hostile: a thousand connections that vanish without DISCONNECT are forgotten", async () => {
  await using broker = await Broker.start();
  await besideHonestFlow(broker, 100 * MEBIBYTE, async () => {
    for (let round = 0; round < 10; round += 1) {
      const clients = await openMany(100, (index) => RawClient.connect(broker.tcp, { clientId: `gone${index}` }));
      await closeAll(clients);
    }
    await using witness = await RawClient.connect(broker.tcp, { clientId: "witness" });
    await witness.expectQuiet();
    // The flow's two clients, the witness, and at most the last hundred whose end has not been read yet.
    assert.ok(await broker.metric("promptmq_connections_current") <= 103);
  });
});
