/**
 * A broker that is short of memory: it refuses new clients and stops reading publishers before anything is lost, and goes
 * on by itself when memory is free again.
 */
import assert from "node:assert/strict";
import { Broker } from "../support/broker.ts";
import { RawClient } from "../support/raw_client.ts";
import { encodeWire } from "../support/wire_packets.ts";

const HIGH = "memory is high, connects are refused and publishers wait until clients have taken what waits for them";
const RELIEVED = "memory is no longer high";
const READERS = 24;
const PAYLOAD = "x".repeat(65_000);

/** A subscriber that never reads what it subscribed to. */
async function deafSubscriber(broker: Broker, index: number): Promise<Deno.TcpConn> {
  const socket = await Deno.connect(broker.tcp);
  const answer = new Uint8Array(64);
  await socket.write(encodeWire("connect", { clientId: `deaf-${index}`, cleanStart: true }, 5));
  await socket.read(answer);
  assert.equal(answer[0]! >> 4, 2, "CONNACK");
  await socket.write(encodeWire("subscribe", { id: 1, subscriptions: [{ filter: "t", qos: 0 }] }, 5));
  await socket.read(answer);
  assert.equal(answer[0]! >> 4, 9, "SUBACK");
  return socket;
}

Deno.test("memory above the mark refuses connects and holds publishers back, and nothing is lost when it is over", async () => {
  const flags = ["--storage", "memory", "--limits-memory-high-water", "160MiB"];
  await using broker = await Broker.start({ flags });
  await using publisher = await RawClient.connect(broker.tcp, { clientId: "publisher", cleanStart: true });
  await using watcher = await RawClient.connect(broker.tcp, { clientId: "watcher", cleanStart: true });
  const deaf = await Promise.all(Array.from({ length: READERS }, (_, index) => deafSubscriber(broker, index)));
  let sent = 0;
  let isOver = false;
  const flood = (async () => {
    while (!isOver) {
      await publisher.sendPacket("publish", { topic: "t", qos: 0, payload: PAYLOAD });
      sent++;
    }
  })();
  await broker.logged(HIGH);
  await using refused = await RawClient.open(broker.tcp);
  await refused.sendPacket("connect", { clientId: "late", cleanStart: true });
  assert.equal((await refused.expect("connack")).wire.reasonCode, 0x89);
  await watcher.expectQuiet();
  for (const socket of deaf) socket.close();
  await broker.logged(RELIEVED);
  isOver = true;
  await flood;
  await publisher.sendPacket("publish", { topic: "t", qos: 1, id: 7, payload: "last" });
  assert.equal((await publisher.expect("puback")).wire.id, 7);
  assert.equal(await broker.metric("promptmq_messages_published_total"), sent + 1);
  await using late = await RawClient.connect(broker.tcp, { clientId: "late", cleanStart: true });
  await late.expectQuiet();
});
