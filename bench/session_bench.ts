/**
 * Session: what one packet costs between the framer and the router, and what one delivery costs on the way out.
 *
 * The host is a stand-in that only counts, so routing and storing are not in the figures of the way in. Cases marked
 * ×100 handle that many packets per timed call, as one turn would: divide by 100. Targets: PUBLISH in below 60 ns,
 * a QoS 1 delivery with its PUBACK below 150 ns.
 */

import { CountedEvents } from "../src/broker/counted_events.ts";
import { Counters } from "../src/metrics/counters.ts";
import { Message } from "../src/protocol/message.ts";
import type { QoS } from "../src/protocol/packets.ts";
import { AckHeader, writeAck } from "../src/protocol/publish_codec.ts";
import { NO_IDENTIFIERS, PublishEncoder } from "../src/protocol/publish_encoder.ts";
import { WriteBuffer } from "../src/protocol/write_buffer.ts";
import { PacketHandler } from "../src/session/packet_handler.ts";
import { ProgressLine } from "../src/session/progress_line.ts";
import { Session } from "../src/session/session.ts";
import type { SessionContext } from "../src/session/session_context.ts";
import type { SessionHost } from "../src/session/session_host.ts";
import { MemoryMessageStore } from "../src/storage/message_store.ts";
import { MemoryLog } from "../src/storage/volatile/memory_log.ts";
import { TopicCache } from "../src/topics/topic.ts";
import { BENCH_LIMITS, BufferSink, V3_TRAITS } from "./bench_session.ts";

const PACKETS = 100;
const TOPIC = "site/12/device/345/temperature";
const LOG_BYTES_MAX = 67_108_864;

function newContext(): SessionContext {
  const counters = new Counters();
  return {
    store: new MemoryMessageStore(new MemoryLog(LOG_BYTES_MAX)),
    encoder: new PublishEncoder(),
    counters,
    events: new CountedEvents(counters),
    limits: BENCH_LIMITS,
    progress: new ProgressLine(() => {}),
  };
}

/** Counts what reaches the router, and takes the Receive Maximum off at once as an acknowledgement would. */
class CountingHost implements SessionHost {
  published = 0;

  publish(publisher: Session): void {
    this.published++;
    publisher.inbound.acknowledged(AckHeader.PUBACK, 0);
  }

  acknowledge(): void {}

  release(): void {}

  mayPublish(): boolean {
    return true;
  }

  subscribe(): void {}

  unsubscribe(): void {}

  disconnected(): undefined {}

  authenticate(): undefined {}
}

function messageOf(payloadBytes: number, qos: QoS): Message {
  const name = new TextEncoder().encode(TOPIC);
  const message = new Message();
  message.setTopic(Uint8Array.of(0, name.length, ...name));
  message.setPayload(new Uint8Array(payloadBytes).fill(0x78), 0, payloadBytes);
  message.qos = qos;
  return message;
}

/** One encoded PUBLISH in a buffer of its own. */
function publishPacket(payloadBytes: number, qos: QoS): Uint8Array {
  const encoder = new PublishEncoder();
  const out = new WriteBuffer(4096);
  encoder.begin(messageOf(payloadBytes, qos), 0, 1);
  encoder.write(out, false, qos << 1, qos === 0 ? 0 : 1, NO_IDENTIFIERS, Infinity);
  return out.bytes.slice(0, out.length);
}

function bodyStartOf(packet: Uint8Array): number {
  let offset = 1;
  while (packet[offset]! > 0x7f) offset++;
  return offset + 1;
}

function benchInbound(name: string, payloadBytes: number, qos: QoS, isBaseline = false): void {
  const host = new CountingHost();
  const context = newContext();
  const handler = new PacketHandler(context, new TopicCache(), host);
  const session = new Session("publisher", context);
  session.attach(new BufferSink(), V3_TRAITS);
  const packet = publishPacket(payloadBytes, qos);
  const bodyStart = bodyStartOf(packet);
  Deno.bench({ name: `PUBLISH in ×${PACKETS}: ${name}`, group: "in", baseline: isBaseline }, () => {
    host.published = 0;
    for (let count = 0; count < PACKETS; count++) {
      handler.handlePacket(session, packet, 0, bodyStart, packet.length, 1000);
    }
    if (host.published !== PACKETS) throw new Error("not all published");
  });
}

benchInbound("QoS 0, 64 B", 64, 0, true);
benchInbound("QoS 1, 64 B", 64, 1);
benchInbound("QoS 0, 1 KiB", 1024, 0);
benchInbound("QoS 0, 64 KiB", 65_536, 0);

{
  const context = newContext();
  const sink = new BufferSink();
  const session = new Session("subscriber", context);
  session.attach(sink, V3_TRAITS);
  const message = messageOf(64, 0);
  Deno.bench({ name: `deliver ×${PACKETS}: QoS 0, 64 B`, group: "out", baseline: true }, () => {
    for (let count = 0; count < PACKETS; count++) {
      context.encoder.begin(message, 1000, 1);
      session.deliverOnce(message, false, NO_IDENTIFIERS);
    }
    sink.clear();
  });
}

/** The Packet Identifier of the last PUBLISH in a sink; it stands behind the Topic Name. */
function packetIdAt(out: WriteBuffer, start: number): number {
  const body = bodyStartOf(out.bytes.subarray(start, out.length)) + start;
  const at = body + 2 + ((out.bytes[body]! << 8) | out.bytes[body + 1]!);
  return (out.bytes[at]! << 8) | out.bytes[at + 1]!;
}

/** Delivers a stored message and answers it the way a client does, one after the other. */
function benchAcknowledged(name: string, qos: 1 | 2): void {
  const context = newContext();
  const handler = new PacketHandler(context, new TopicCache(), new CountingHost());
  const sink = new BufferSink();
  const session = new Session("subscriber", context);
  session.attach(sink, V3_TRAITS);
  const message = messageOf(64, qos);
  const position = context.store.append(message, 0, 0, 0);
  const answer = new WriteBuffer(64);
  const respond = (header: number, packetId: number) => {
    answer.length = 0;
    writeAck(answer, header, packetId, 0);
    handler.handlePacket(session, answer.bytes, 0, 2, answer.length, 1000);
  };
  Deno.bench({ name: `deliver ×${PACKETS}: ${name}`, group: "out" }, () => {
    for (let count = 0; count < PACKETS; count++) {
      const start = sink.out.length;
      context.encoder.begin(message, 1000, 1);
      session.outbox.deliverStored(message, position, qos, false, null);
      const packetId = packetIdAt(sink.out, start);
      respond(qos === 1 ? AckHeader.PUBACK : AckHeader.PUBREC, packetId);
      if (qos === 2) respond(AckHeader.PUBCOMP, packetId);
    }
    sink.clear();
    if (session.outbox.inflightCount !== 0) throw new Error("not all acknowledged");
  });
}

benchAcknowledged("QoS 1, 64 B, with PUBACK", 1);
benchAcknowledged("QoS 2, 64 B, with PUBREC and PUBCOMP", 2);

{
  const context = newContext();
  const message = messageOf(64, 1);
  const position = context.store.append(message, 0, 0, 0);
  Deno.bench({ name: `open a Session, queue ×${PACKETS} while away, end it`, group: "queue" }, () => {
    const session = new Session("absent", context);
    for (let count = 0; count < PACKETS; count++) session.outbox.deliverStored(message, position, 1, false, null);
    if (session.outbox.queuedCount !== PACKETS) throw new Error("not all queued");
    session.end();
  });
}
