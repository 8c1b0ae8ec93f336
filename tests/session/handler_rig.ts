/**
 * A packet handler with a host that only writes down what it is asked. Packets are made by `mqtt-packet`, or by hand
 * where they break a rule.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { generate, type IPublishPacket, type Packet } from "mqtt-packet";
import { Frame, Framer } from "../../src/protocol/framer.ts";
import type { Message } from "../../src/protocol/message.ts";
import type { DisconnectPacket, Fault, ProtocolVersion } from "../../src/protocol/packets.ts";
import type { AuthPacket, SubscribePacket, UnsubscribePacket } from "../../src/protocol/packets.ts";
import { PacketHandler } from "../../src/session/packet_handler.ts";
import type { Session } from "../../src/session/session.ts";
import type { SessionHost } from "../../src/session/session_host.ts";
import type { SessionLimits } from "../../src/session/session_limits.ts";
import { type Topic, TopicCache } from "../../src/topics/topic.ts";
import { SessionRig } from "./session_rig.ts";

/** A message as the host got it; the view is copied. */
export interface Published {
  readonly topic: string;
  readonly payload: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly packetId: number;
  readonly properties: readonly number[];
  readonly expiresAtMs: number;
}

/** Writes down what it is asked, in order. */
export class RecordingHost implements SessionHost {
  readonly published: Published[] = [];
  /** Everything but `publish`, as lines. */
  readonly calls: string[] = [];
  fault: Fault | undefined = undefined;

  publish(_publisher: Session, message: Message, topic: Topic, packetId: number): void {
    const textOf = (bytes: Uint8Array, start: number, end: number) =>
      new TextDecoder().decode(bytes.subarray(start, end));
    const { topicBytes, topicStart, topicEnd, payloadBytes, payloadStart, payloadEnd } = message;
    const name = textOf(topicBytes, topicStart + 2, topicEnd);
    assert.equal(topic.name, name);
    assert.equal((topicBytes[topicStart]! << 8) | topicBytes[topicStart + 1]!, topicEnd - topicStart - 2);
    this.published.push({
      topic: name,
      payload: textOf(payloadBytes, payloadStart, payloadEnd),
      qos: message.qos,
      retain: message.retain,
      packetId,
      properties: [...message.propertiesBytes.subarray(message.propertiesStart, message.propertiesEnd)],
      expiresAtMs: message.expiresAtMs,
    });
  }

  acknowledge(_publisher: Session, header: number, packetId: number, reasonCode: number): void {
    this.calls.push(`acknowledge 0x${header.toString(16)} #${packetId} 0x${reasonCode.toString(16)}`);
  }

  release(_publisher: Session, packetId: number, reasonCode: number): void {
    this.calls.push(`release #${packetId}${reasonCode === 0 ? "" : ` 0x${reasonCode.toString(16)}`}`);
  }

  subscribe(_session: Session, packet: SubscribePacket): void {
    this.calls.push(`subscribe #${packet.packetId} ${packet.subscriptions.map((each) => each.filter)}`);
  }

  unsubscribe(_session: Session, packet: UnsubscribePacket): void {
    this.calls.push(`unsubscribe #${packet.packetId} ${packet.filters}`);
  }

  disconnected(_session: Session, packet: DisconnectPacket): Fault | undefined {
    this.calls.push(`disconnected 0x${packet.reasonCode.toString(16)}`);
    return this.fault;
  }

  authenticate(_session: Session, packet: AuthPacket): Fault | undefined {
    this.calls.push(`authenticate 0x${packet.reasonCode.toString(16)}`);
    return this.fault;
  }
}

/** A connected Session whose client sends packets. */
export class HandlerRig extends SessionRig {
  readonly host = new RecordingHost();
  readonly topics = new TopicCache();
  readonly #handler = new PacketHandler(this.context, this.topics, this.host);
  readonly #framer = new Framer();

  constructor(limits: Partial<SessionLimits> = {}, version: ProtocolVersion = 5) {
    super(limits);
    this.connect({ version });
  }

  /** Handles the bytes of one packet, in the middle of a larger buffer that is overwritten afterwards. */
  receiveBytes(packet: Uint8Array): Fault | undefined {
    const buffer = new Uint8Array(packet.length + 20).fill(0xee);
    buffer.set(packet, 10);
    assert.equal(this.#framer.next(buffer, 10, 10 + packet.length), Frame.WHOLE);
    const { bodyStart, packetEnd } = this.#framer;
    const fault = this.#handler.handlePacket(this.session, buffer, 10, bodyStart, packetEnd, this.nowMs);
    buffer.fill(0xee);
    return fault;
  }

  receive(packet: Packet): Fault | undefined {
    return this.receiveBytes(new Uint8Array(generate(packet, { protocolVersion: this.session.version })));
  }

  /** The client sends a PUBLISH; `a/b`, QoS 0 and payload `x` unless told otherwise. */
  send(fields: Partial<IPublishPacket> = {}): Fault | undefined {
    const { qos = 0, payload = "x", ...others } = fields;
    const bytes = typeof payload === "string" ? Buffer.from(payload) : payload;
    return this.receive({ cmd: "publish", topic: "a/b", dup: false, retain: false, qos, payload: bytes, ...others });
  }
}

/** Asserts which rule was broken and what a v5 client is told. */
export function assertFault(fault: Fault | undefined, reasonCode: number, statement: string): void {
  assert.deepEqual([fault?.reasonCode, fault?.statement], [reasonCode, statement]);
}
