/**
 * MQTT over WebSocket at the level of frames. [MQTT 5.0, 6]
 */
import assert from "node:assert/strict";
import { Broker } from "../support/broker.ts";
import { RawClient } from "../support/raw_client.ts";
import { concatBytes } from "../support/wire_bytes.ts";
import { encodeWire } from "../support/wire_packets.ts";
import { Opcode, WsClient } from "../support/ws_client.ts";

const CONNECT = encodeWire("connect", { clientId: "ws" }, 5);
const PINGREQ = encodeWire("pingreq", {}, 5);

Deno.test("websocket: the subprotocol mqtt is selected [MQTT-6.0.0-3] [MQTT-6.0.0-4]", async () => {
  await using broker = await Broker.start();
  const { client, answer } = await WsClient.open(broker.ws, { protocols: ["other", "mqtt"] });
  await using _ = client;
  assert.equal(answer.status, 101);
  assert.equal(answer.headers.get("sec-websocket-protocol"), "mqtt");
});

Deno.test("websocket: the older subprotocol name mqttv3.1 is accepted", async () => {
  await using broker = await Broker.start();
  const { client, answer } = await WsClient.open(broker.ws, { protocols: ["mqttv3.1"] });
  await using _ = client;
  assert.equal(answer.status, 101);
  assert.equal(answer.headers.get("sec-websocket-protocol"), "mqttv3.1");
  await using mqtt = new RawClient(client.asByteStream(), 3);
  await mqtt.sendPacket("connect", { clientId: "old", version: 3 });
  await mqtt.expect("connack");
});

for (const protocols of [[], ["chat"]]) {
  Deno.test(`websocket: a handshake offering [${protocols.join()}] is refused [MQTT-6.0.0-3]`, async () => {
    await using broker = await Broker.start();
    const { client, answer } = await WsClient.open(broker.ws, { protocols });
    await using _ = client;
    assert.ok(answer.status >= 400 && answer.status < 500, `status ${answer.status}`);
  });
}

Deno.test("websocket: the paths /mqtt and / are served, others are not", async () => {
  await using broker = await Broker.start();
  for (const [path, isServed] of [["/mqtt", true], ["/", true], ["/other", false]] as const) {
    const { client, answer } = await WsClient.open(broker.ws, { path });
    await using _ = client;
    assert.equal(answer.status === 101, isServed, `${path} answers ${answer.status}`);
  }
});

Deno.test("websocket: packets may be split and joined across frames [MQTT-6.0.0-2]", async () => {
  await using broker = await Broker.start();
  const { client } = await WsClient.open(broker.ws);
  await using _ = client;
  for (const byte of CONNECT) await client.sendFrame(Opcode.BINARY, Uint8Array.of(byte));
  const connack = await client.expectFrame(Opcode.BINARY);
  assert.equal(connack.payload[0], 0x20);
  await client.sendFrame(Opcode.BINARY, concatBytes(PINGREQ, PINGREQ, PINGREQ.subarray(0, 1)));
  await client.sendFrame(Opcode.BINARY, PINGREQ.subarray(1));
  let answered = 0;
  while (answered < 3 * 2) {
    const frame = await client.expectFrame(Opcode.BINARY);
    for (let index = 0; index < frame.payload.length; index += 2) assert.equal(frame.payload[index], 0xd0);
    answered += frame.payload.length;
  }
  assert.equal(answered, 6);
});

Deno.test("websocket: one message in several fragments is one stretch of bytes [MQTT-6.0.0-2]", async () => {
  await using broker = await Broker.start();
  const { client } = await WsClient.open(broker.ws);
  await using _ = client;
  await client.sendFrame(Opcode.BINARY, CONNECT.subarray(0, 4), { isFinal: false });
  await client.sendFrame(Opcode.CONTINUATION, CONNECT.subarray(4, 9), { isFinal: false });
  await client.sendFrame(Opcode.CONTINUATION, CONNECT.subarray(9));
  const connack = await client.expectFrame(Opcode.BINARY);
  assert.equal(connack.payload[0], 0x20);
});

Deno.test("websocket: a text frame ends the connection [MQTT-6.0.0-1]", async () => {
  await using broker = await Broker.start();
  const { client } = await WsClient.open(broker.ws);
  await using _ = client;
  await client.sendFrame(Opcode.BINARY, CONNECT);
  await client.expectFrame(Opcode.BINARY);
  await client.sendFrame(Opcode.TEXT, PINGREQ);
  const rest = await client.drain();
  const isAnswered = rest.some((frame) => frame.opcode === Opcode.BINARY && frame.payload[0] === 0xd0);
  assert.equal(isAnswered, false, "the text frame was taken as MQTT");
  const close = rest.at(-1);
  assert.deepEqual([close?.opcode, ...close?.payload ?? []], [Opcode.CLOSE, 1003 >> 8, 1003 & 255]);
});

Deno.test("websocket: a ping is answered by a pong with its payload", async () => {
  await using broker = await Broker.start();
  const { client } = await WsClient.open(broker.ws);
  await using _ = client;
  await client.sendFrame(Opcode.PING, new TextEncoder().encode("are you there"));
  const pong = await client.expectFrame(Opcode.PONG);
  assert.equal(new TextDecoder().decode(pong.payload), "are you there");
});

Deno.test("websocket: a message of 200 KiB passes between WebSocket and TCP unchanged", async () => {
  await using broker = await Broker.start();
  const { client } = await WsClient.open(broker.ws);
  await using _ = client;
  await using viaWs = new RawClient(client.asByteStream(), 5);
  await viaWs.sendPacket("connect", { clientId: "ws" });
  await viaWs.expect("connack");
  await viaWs.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "big" }] });
  await viaWs.expect("suback");
  await using viaTcp = await RawClient.connect(broker.tcp, { clientId: "tcp" });
  const payload = "0123456789abcdef".repeat(200 * 64);
  await viaTcp.sendPacket("publish", { topic: "big", payload });
  const { wire } = await viaWs.expect("publish");
  assert.equal(wire.payload, payload);
});
