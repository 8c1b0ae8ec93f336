/**
 * WebSocket clients at the door and at the end: bad handshakes, pages of other sites, a stop of the broker.
 */
import assert from "node:assert/strict";
import { Broker } from "../support/broker.ts";
import { concatBytes } from "../support/wire_bytes.ts";
import { encodeWire } from "../support/wire_packets.ts";
import { Opcode, WsClient } from "../support/ws_client.ts";

const CONNECT = encodeWire("connect", { clientId: "ws" }, 5);
const REASON_CODE_OFFSET = 3;

for (
  const [what, headers, status] of [
    ["without a key", { "Sec-WebSocket-Key": undefined }, 400],
    ["with a key that is not sixteen bytes", { "Sec-WebSocket-Key": "c2hvcnQ=" }, 400],
    ["of another version", { "Sec-WebSocket-Version": "8" }, 426],
  ] as const
) {
  Deno.test(`websocket: a handshake ${what} is refused with ${status}`, async () => {
    await using broker = await Broker.start();
    const { client, answer } = await WsClient.open(broker.ws, { headers });
    await using _ = client;
    assert.equal(answer.status, status);
  });
}

for (
  const [origin, reasonCode] of [
    ["https://elsewhere.example", 0x87],
    ["https://localhost.elsewhere.example", 0x87],
    ["null", 0x87],
    ["http://localhost:3000", 0],
    ["http://127.0.0.1", 0],
    ["http://[::1]:8000", 0],
    [undefined, 0],
  ] as const
) {
  Deno.test(`websocket: a page of ${origin ?? "no origin"} gets CONNACK ${reasonCode} without credentials`, async () => {
    await using broker = await Broker.start();
    const { client } = await WsClient.open(broker.ws, { headers: { Origin: origin } });
    await using _ = client;
    await client.sendFrame(Opcode.BINARY, CONNECT);
    const connack = await client.expectFrame(Opcode.BINARY);
    assert.equal(connack.payload[0], 0x20);
    assert.equal(connack.payload[REASON_CODE_OFFSET], reasonCode);
  });
}

Deno.test("websocket: what follows CONNECT in pieces is handled once, whatever the pieces", async () => {
  await using broker = await Broker.start();
  const { client } = await WsClient.open(broker.ws);
  await using _ = client;
  const pingreq = encodeWire("pingreq", {}, 5);
  const stream = concatBytes(CONNECT, pingreq, pingreq);
  for (let start = 0; start < stream.length; start += 7) {
    await client.sendFrame(Opcode.BINARY, stream.subarray(start, start + 7));
  }
  const connack = await client.expectFrame(Opcode.BINARY);
  let rest = connack.payload.subarray(2 + connack.payload[1]!);
  while (rest.length < 4) rest = concatBytes(rest, (await client.expectFrame(Opcode.BINARY)).payload);
  assert.deepEqual([...rest], [0xd0, 0, 0xd0, 0]);
});

Deno.test("websocket: a v5 client hears DISCONNECT 0x8B before the broker stops", async () => {
  await using broker = await Broker.start();
  const { client } = await WsClient.open(broker.ws);
  await using _ = client;
  await client.sendFrame(Opcode.BINARY, CONNECT);
  await client.expectFrame(Opcode.BINARY);
  const stopped = broker.stop();
  const goodbye = await client.expectFrame(Opcode.BINARY);
  assert.deepEqual([...goodbye.payload.subarray(0, 3)], [0xe0, 1, 0x8b]);
  await client.expectFrame(Opcode.CLOSE);
  await client.close();
  await stopped;
});
