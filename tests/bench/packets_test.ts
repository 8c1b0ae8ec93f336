/** The generator's own packets, checked against an independent codec. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import mqttPacket from "mqtt-packet";
import {
  encodeConnect,
  encodePublishTemplate,
  encodeSubscribe,
  type LoadQos,
  type LoadVersion,
  payloadOffsetOf,
} from "../../bench/load/packets.ts";

const VERSIONS: readonly LoadVersion[] = [4, 5];

function parse(bytes: Uint8Array, version: LoadVersion): mqttPacket.Packet {
  const packets: mqttPacket.Packet[] = [];
  const parser = mqttPacket.parser({ protocolVersion: version });
  parser.on("packet", (packet: mqttPacket.Packet) => packets.push(packet));
  parser.on("error", (cause: unknown) => {
    throw cause;
  });
  assert.equal(parser.parse(Buffer.from(bytes)), 0, "no bytes may be left over");
  assert.equal(packets.length, 1);
  return packets[0]!;
}

Deno.test("encodeConnect asks for a clean start with the version and Client Identifier", () => {
  for (const version of VERSIONS) {
    const packet = parse(encodeConnect(version, "client1"), version);
    assert.ok(packet.cmd === "connect");
    assert.deepEqual([packet.protocolVersion, packet.clientId, packet.clean], [version, "client1", true]);
  }
});

Deno.test("encodeSubscribe carries filter, QoS and Packet Identifier", () => {
  for (const version of VERSIONS) {
    const packet = parse(encodeSubscribe(version, 513, "a/#", 2), version);
    assert.ok(packet.cmd === "subscribe");
    assert.deepEqual([packet.messageId, packet.subscriptions[0]?.topic, packet.subscriptions[0]?.qos], [513, "a/#", 2]);
  }
});

Deno.test("encodePublishTemplate gives a PUBLISH whose fields are where it says", () => {
  for (const version of VERSIONS) {
    for (const qos of [0, 1, 2] as readonly LoadQos[]) {
      for (const payloadBytes of [16, 64, 1024, 20_000]) {
        const shape = { version, qos, retain: qos === 1, topic: "load/7", payloadBytes, publisher: 7 };
        const template = encodePublishTemplate(shape);
        const view = new DataView(template.packet.buffer);
        if (qos > 0) view.setUint16(template.packetIdOffset, 4660);
        view.setUint32(template.stampOffset + 4, 258);
        const packet = parse(template.packet, version);
        assert.ok(packet.cmd === "publish");
        assert.deepEqual([packet.topic, packet.qos, packet.retain], ["load/7", qos, qos === 1]);
        if (qos > 0) assert.equal(packet.messageId, 4660);
        const payload = Buffer.from(packet.payload);
        assert.deepEqual([payload.length, payload.readUInt32BE(0), payload.readUInt32BE(4)], [payloadBytes, 7, 258]);
      }
    }
  }
});

Deno.test("payloadOffsetOf skips topic, Packet Identifier and properties", () => {
  for (const version of VERSIONS) {
    for (const qos of [0, 1] as const) {
      const properties = version === 5 ? { userProperties: { key: "v".repeat(200) } } : {};
      const packet = {
        cmd: "publish",
        topic: "a/b",
        payload: "text",
        qos,
        messageId: 3,
        dup: false,
        retain: false,
      } as const;
      const bytes = mqttPacket.generate({ ...packet, properties }, { protocolVersion: version });
      const start = bytes.length > 129 ? 3 : 2;
      assert.equal(payloadOffsetOf(bytes, start, qos, version), bytes.length - 4);
    }
  }
});
