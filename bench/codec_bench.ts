/**
 * Protocol: finding packets in a chunk, reading and writing PUBLISH and its acknowledgements.
 *
 * Targets: framing and decoding a small PUBLISH below 15 ns, an acknowledgement below 10 ns. Cases marked ×100 handle
 * that many packets per timed call, as one read chunk would hold them: divide by 100. `mqtt-packet` is measured beside
 * our own path as the reference.
 */

import { Buffer } from "node:buffer";
import mqttPacket from "mqtt-packet";
import { Frame, Framer } from "../src/protocol/framer.ts";
import { Message } from "../src/protocol/message.ts";
import {
  AckFrame,
  AckHeader,
  decodeAck,
  decodePublish,
  PublishFrame,
  writeAck,
} from "../src/protocol/publish_codec.ts";
import { NO_IDENTIFIERS, PublishEncoder } from "../src/protocol/publish_encoder.ts";
import { WriteBuffer } from "../src/protocol/write_buffer.ts";

const PACKETS = 100;
const TOPIC = "site/12/device/345/temperature";

type Version = 4 | 5;

/** Encodes a chunk of PUBLISH packets with the reference codec. */
function publishChunk(version: Version, qos: 0 | 1, payloadBytes: number, packets: number): Uint8Array {
  const properties = version === 5 ? { contentType: "application/json", userProperties: { unit: "celsius" } } : {};
  const chunk: Uint8Array[] = [];
  for (let index = 0; index < packets; index++) {
    const fields = { topic: TOPIC, payload: Buffer.alloc(payloadBytes, 0x78), qos, messageId: index + 1 };
    const packet = { cmd: "publish", dup: false, retain: false, ...fields, properties } as const;
    chunk.push(mqttPacket.generate(packet, { protocolVersion: version }));
  }
  return new Uint8Array(Buffer.concat(chunk));
}

function ackChunk(): Uint8Array {
  const out = new WriteBuffer(4096);
  for (let index = 0; index < PACKETS; index++) writeAck(out, AckHeader.PUBACK, index + 1, 0);
  return out.bytes.slice(0, out.length);
}

/** Reads every PUBLISH of a chunk and returns the sum of their payload sizes, so that nothing is optimised away. */
function decodeChunk(framer: Framer, frame: PublishFrame, chunk: Uint8Array, isV5: boolean): number {
  let payloadBytes = 0;
  for (let at = 0; framer.next(chunk, at, chunk.length) === Frame.WHOLE; at = framer.packetEnd) {
    const fault = decodePublish(chunk, chunk[at]!, framer.bodyStart, framer.packetEnd, isV5, frame);
    if (fault !== undefined) throw new Error(fault.statement);
    payloadBytes += frame.payloadEnd - frame.payloadStart;
  }
  return payloadBytes;
}

function benchDecode(name: string, version: Version, qos: 0 | 1, payloadBytes: number, isBaseline = false): void {
  const packets = payloadBytes > 10_000 ? 1 : PACKETS;
  const chunk = publishChunk(version, qos, payloadBytes, packets);
  const framer = new Framer();
  const frame = new PublishFrame();
  Deno.bench({ name: `decode PUBLISH ×${packets}: ${name}`, group: "decode", baseline: isBaseline }, () => {
    if (decodeChunk(framer, frame, chunk, version === 5) !== packets * payloadBytes) throw new Error("wrong payload");
  });
}

benchDecode("v3.1.1, QoS 0, 64 B", 4, 0, 64, true);
benchDecode("v3.1.1, QoS 1, 64 B", 4, 1, 64);
benchDecode("v3.1.1, QoS 0, 1 KiB", 4, 0, 1024);
benchDecode("v3.1.1, QoS 0, 64 KiB", 4, 0, 65_536);
benchDecode("v5 with two properties, QoS 1, 64 B", 5, 1, 64);

{
  const chunk = Buffer.from(publishChunk(4, 0, 64, PACKETS));
  Deno.bench({ name: `decode PUBLISH ×${PACKETS}: v3.1.1, QoS 0, 64 B, mqtt-packet`, group: "decode" }, () => {
    let packets = 0;
    const parser = mqttPacket.parser({ protocolVersion: 4 });
    parser.on("packet", () => packets++);
    parser.parse(chunk);
    if (packets !== PACKETS) throw new Error("wrong count");
  });
}

{
  const chunk = ackChunk();
  const framer = new Framer();
  const frame = new AckFrame();
  Deno.bench({ name: `decode PUBACK ×${PACKETS}`, group: "acknowledge", baseline: true }, () => {
    let sum = 0;
    for (let at = 0; framer.next(chunk, at, chunk.length) === Frame.WHOLE; at = framer.packetEnd) {
      decodeAck(chunk, chunk[at]!, framer.bodyStart, framer.packetEnd, false, frame);
      sum += frame.packetId;
    }
    if (sum !== PACKETS * (PACKETS + 1) / 2) throw new Error("wrong identifiers");
  });
  const out = new WriteBuffer(4096);
  Deno.bench({ name: `encode PUBACK ×${PACKETS}`, group: "acknowledge" }, () => {
    out.length = 0;
    for (let index = 1; index <= PACKETS; index++) writeAck(out, AckHeader.PUBACK, index, 0);
  });
}

function messageOf(payloadBytes: number): Message {
  const name = new TextEncoder().encode(TOPIC);
  const message = new Message();
  message.setTopic(Uint8Array.of(0, name.length, ...name));
  message.setPayload(new Uint8Array(payloadBytes).fill(0x78), 0, payloadBytes);
  return message;
}

/** Writes one message to a number of receivers that share a buffer; the buffer starts empty every time. */
function benchEncode(
  name: string,
  receivers: number,
  payloadBytes: number,
  packetId: number,
  isBaseline = false,
): void {
  const message = messageOf(payloadBytes);
  const encoder = new PublishEncoder();
  const out = new WriteBuffer(65_536);
  const flags = packetId === 0 ? 0 : 2;
  Deno.bench({ name: `encode PUBLISH: ${name}`, group: "encode", baseline: isBaseline }, () => {
    out.length = 0;
    encoder.begin(message, 0, receivers);
    for (let receiver = 0; receiver < receivers; receiver++) {
      if (encoder.write(out, false, flags, packetId, NO_IDENTIFIERS, Infinity) === 0) throw new Error("not written");
    }
  });
}

benchEncode("1 receiver, QoS 0, 64 B", 1, 64, 0, true);
benchEncode("1 receiver, QoS 1, 64 B", 1, 64, 7);
benchEncode("100 receivers, QoS 0, 64 B", 100, 64, 0);
benchEncode("100 receivers, QoS 1, 64 B", 100, 64, 7);
benchEncode("100 receivers, QoS 0, 1 KiB", 100, 1024, 0);
benchEncode("1 receiver, QoS 0, 64 KiB", 1, 65_536, 0);
