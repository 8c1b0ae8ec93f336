/**
 * A Session without a broker: a store that counts references, a connection that keeps what is written, a clock that
 * only moves by hand. What a Session writes is read with `mqtt-packet` and told in short lines:
 *
 *     PUBLISH q1 #3 dup retain a/b hello        PUBREL #3        PUBREL #3 0x92
 */

import { type Packet, parser } from "mqtt-packet";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { CountedEvents } from "../../src/broker/counted_events.ts";
import { Counters } from "../../src/metrics/counters.ts";
import { Message } from "../../src/protocol/message.ts";
import type { ProtocolVersion, QoS } from "../../src/protocol/packets.ts";
import { AckFrame } from "../../src/protocol/publish_codec.ts";
import { NO_IDENTIFIERS, PublishEncoder } from "../../src/protocol/publish_encoder.ts";
import { WriteBuffer } from "../../src/protocol/write_buffer.ts";
import type { DeliveryOrigin } from "../../src/session/delivery_origin.ts";
import type { PacketSink } from "../../src/session/packet_sink.ts";
import { ProgressLine } from "../../src/session/progress_line.ts";
import { Session } from "../../src/session/session.ts";
import type { ConnectionTraits, SessionContext } from "../../src/session/session_context.ts";
import type { SessionLimits } from "../../src/session/session_limits.ts";
import { ProgressKind } from "../../src/storage/log/record.ts";
import { MemoryMessageStore } from "../../src/storage/message_store.ts";
import { MemoryLog } from "../../src/storage/volatile/memory_log.ts";

/** The clock of all tests starts here. */
export const START_MS = 1_700_000_000_000;
const LOG_BYTES_MAX = 268_435_456;

/** The defaults of the configuration. */
export function limitsOf(changes: Partial<SessionLimits> = {}): SessionLimits {
  return {
    packetBytesMax: 1_048_576,
    qosMax: 2,
    isRetainAvailable: true,
    isWildcardAvailable: true,
    isSharedAvailable: true,
    inflightMax: 20,
    receiveMaximum: 1024,
    topicAliasMax: 65_535,
    queuedMax: 100_000,
    queuedBytesMax: 0,
    queueFull: "drop-oldest",
    outboundBytesMax: 1_048_576,
    sessionExpirySecondsMax: 0,
    messageExpirySecondsMax: 0,
    keepAliveSecondsMax: 60,
    clientIdBytesMax: 65_535,
    subscriptionsMax: 0,
    isRecheckedOnDeliver: false,
    inflightBytesMax: 0,
    ...changes,
  };
}

/** The store in memory, counting the references that are held and writing down the progress of deliveries. */
export class CountingStore extends MemoryMessageStore {
  /** Times a message's size was asked for. */
  sizesAsked = 0;
  readonly progress: Progress[] = [];
  /** By position. */
  readonly payloads = new Map<number, string>();
  /** Payloads of messages that cannot be read any more. */
  readonly unreadable = new Set<string>();
  readonly #references = new Map<number, number>();

  /** References held, of all messages. */
  get references(): number {
    return [...this.#references.values()].reduce((sum, count) => sum + count, 0);
  }

  override append(message: Message): number {
    const position = super.append(message);
    if (position > 0) this.#references.set(position, 1);
    return position;
  }

  override retain(position: number): void {
    super.retain(position);
    this.#references.set(position, this.#references.get(position)! + 1);
  }

  override release(position: number): void {
    super.release(position);
    const left = this.#references.get(position)! - 1;
    if (left === 0) this.#references.delete(position);
    else this.#references.set(position, left);
  }

  override read(position: number, into: Message): boolean {
    return !this.unreadable.has(this.payloads.get(position)!) && super.read(position, into);
  }

  override sizeOf(position: number): number {
    this.sizesAsked++;
    return super.sizeOf(position);
  }

  override appendProgress(...record: readonly number[]): void {
    const [kind, session, position, packetId, group] = record as [number, number, number, number, number];
    assert(session > 0 || group > 0, "progress that concerns no recorded Session");
    assert(kind === ProgressKind.DONE || packetId > 0, "SENT or RECEIVED without Packet Identifier");
    this.progress.push({ kind, session, position, packetId, group });
  }
}

/** A PROGRESS record. */
export interface Progress {
  readonly kind: number;
  readonly session: number;
  readonly position: number;
  readonly packetId: number;
  readonly group: number;
}

const PROGRESS_NAMES = new Map(Object.entries(ProgressKind).map(([name, kind]) => [kind as number, name]));

/** A connection that keeps what is written until a test takes it. */
export class RecordingSink implements PacketSink {
  readonly remoteAddress = "127.0.0.1";
  readonly out = new WriteBuffer(64);
  writingBytes = 0;
  isTouched = false;
  isOpen = true;

  constructor(readonly version: ProtocolVersion) {}

  touch(): void {
    this.isTouched = true;
  }

  disconnect(): void {
    this.isOpen = false;
  }

  /** The packets written since the last call. What was written must have been announced with `touch`. */
  takePackets(): Packet[] {
    assert.equal(this.isTouched, !this.out.isEmpty, "written without touch, or touched without need");
    this.isTouched = false;
    const packets: Packet[] = [];
    const reader = parser({ protocolVersion: this.version });
    reader.on("packet", (packet) => packets.push(packet));
    reader.on("error", (error) => assert.fail(String(error)));
    while (!this.out.isEmpty) {
      const storage = this.out.take();
      reader.parse(Buffer.from(storage.subarray(0, this.out.takenLength)));
    }
    return packets;
  }

  /** `takePackets` as lines. */
  take(): string[] {
    return this.takePackets().map(lineOf);
  }
}

function lineOf(packet: Packet): string {
  const name = packet.cmd.toUpperCase();
  const id = packet.messageId === undefined ? "" : ` #${packet.messageId}`;
  if (packet.cmd !== "publish") {
    const code = "reasonCode" in packet && packet.reasonCode ? ` 0x${packet.reasonCode.toString(16)}` : "";
    return `${name}${id}${code}`;
  }
  const flags = `${packet.dup ? " dup" : ""}${packet.retain ? " retain" : ""}`;
  return `${name} q${packet.qos}${id}${flags} ${packet.topic} ${packet.payload.toString()}`;
}

/** What `SessionRig.publish` sends unless told otherwise. */
export interface Publication {
  readonly qos?: QoS;
  readonly retain?: boolean;
  readonly topic?: string;
  readonly properties?: Uint8Array;
  /** 0 = never. */
  readonly expirySeconds?: number;
  readonly origin?: DeliveryOrigin | null;
}

/** One Session and what it needs. */
export class SessionRig {
  readonly counters = new Counters();
  readonly store: CountingStore;
  readonly encoder = new PublishEncoder();
  readonly limits: SessionLimits;
  readonly context: SessionContext;
  readonly session: Session;
  nowMs = START_MS;
  sink = new RecordingSink(5);
  readonly #ack = new AckFrame();

  /** @param store Of another rig, where a Session is to take up what another one left there. */
  constructor(limits: Partial<SessionLimits> = {}, store = new CountingStore(new MemoryLog(LOG_BYTES_MAX))) {
    this.store = store;
    this.limits = limitsOf(limits);
    const { encoder, counters } = this;
    const progress = new ProgressLine(() => {});
    const events = new CountedEvents(counters);
    this.context = { store, encoder, counters, limits: this.limits, progress, events };
    this.session = new Session("client", this.context);
    this.session.expireAfter(3600);
  }

  /** Attaches a new connection and sends what waited, as a broker does with CONNACK. */
  connect(traits: Partial<ConnectionTraits> = {}): void {
    const version = traits.version ?? 5;
    this.sink = new RecordingSink(version);
    this.session.attach(this.sink, {
      version,
      receiveMaximum: 65_535,
      packetBytesMax: 268_435_460,
      topicAliasMaximum: 0,
      ...traits,
    });
    this.session.outbox.pump(this.nowMs);
  }

  /** The connection is lost; what it was not told is lost with it. */
  disconnect(): void {
    this.sink.isOpen = false;
    this.session.detach();
  }

  /** Commits and delivers one message as the router does, and keeps no reference. Returns what the Session said. */
  publish(payload: string, publication: Publication = {}): boolean {
    const { qos = 1, retain = false, origin = null } = publication;
    const message = this.messageOf(payload, publication);
    if (qos === 0) {
      this.encoder.begin(message, this.nowMs, 1);
      this.session.deliverOnce(message, retain, origin === null ? NO_IDENTIFIERS : origin.identifiers);
      return true;
    }
    const position = this.store.append(message);
    this.store.payloads.set(position, payload);
    this.store.commit();
    const stored = new Message();
    this.store.read(position, stored);
    this.encoder.begin(stored, this.nowMs, 1);
    const isTaken = this.session.outbox.deliverStored(stored, position, qos, retain, origin);
    this.store.release(position);
    return isTaken;
  }

  /** Puts a message at the end of the queue, as the broker does with a Retained Message of QoS 0. */
  enqueueRetained(payload: string, publication: Publication = {}): boolean {
    const { origin = null } = publication;
    const position = this.store.append(this.messageOf(payload, { ...publication, retain: true }));
    this.store.payloads.set(position, payload);
    const isTaken = this.session.outbox.enqueue(position, 4, origin);
    this.store.release(position);
    return isTaken;
  }

  /** Records of the log since the last call as lines: `SENT s7 #1 hello`, `DONE s0 #3 hello group 2`. */
  takeProgress(): string[] {
    return this.store.progress.splice(0).map(({ kind, session, position, packetId, group }) =>
      `${PROGRESS_NAMES.get(kind)} s${session} #${packetId} ${this.store.payloads.get(position)}` +
      (group === 0 ? "" : ` group ${group}`)
    );
  }

  /** A message as the packet handler fills it. */
  messageOf(payload: string, publication: Publication = {}): Message {
    const { qos = 1, retain = false, topic = "t", properties, expirySeconds = 0 } = publication;
    const name = new TextEncoder().encode(topic);
    const bytes = new TextEncoder().encode(payload);
    const message = new Message();
    message.setTopic(Uint8Array.of(name.length >> 8, name.length & 0xff, ...name));
    if (properties !== undefined) message.setProperties(properties, 0, properties.length);
    message.setPayload(bytes, 0, bytes.length);
    message.qos = qos;
    message.retain = retain;
    message.expiresAtMs = expirySeconds === 0 ? 0 : this.nowMs + expirySeconds * 1000;
    return message;
  }

  puback(packetId: number, reasonCode = 0): void {
    this.session.outbox.handlePuback(this.#ackOf(packetId, reasonCode), this.nowMs);
  }

  pubrec(packetId: number, reasonCode = 0): void {
    this.session.outbox.handlePubrec(this.#ackOf(packetId, reasonCode), this.nowMs);
  }

  pubcomp(packetId: number): void {
    this.session.outbox.handlePubcomp(this.#ackOf(packetId, 0), this.nowMs);
  }

  /** Asserts the gauges and the references that belong to the Session's queue and window. */
  assertHolds(expected: { readonly queued?: number; readonly inflight?: number; readonly references?: number }): void {
    const { queued = 0, inflight = 0, references = queued + inflight } = expected;
    const { session, counters, store } = this;
    assert.deepEqual(
      [
        session.outbox.queuedCount,
        counters.messagesQueued,
        session.outbox.inflightCount,
        counters.messagesInflight,
        store.references,
      ],
      [queued, queued, inflight, inflight, references],
      "queued, its gauge, in flight, its gauge, references",
    );
  }

  /** Asserts what was dropped, and that nothing else was. */
  assertDropped(expected: Partial<Counters["messagesDropped"]>): void {
    const dropped = Object.entries(this.counters.messagesDropped).filter(([, count]) => count !== 0);
    assert.deepEqual(Object.fromEntries(dropped), expected);
  }

  #ackOf(packetId: number, reasonCode: number): AckFrame {
    this.#ack.packetId = packetId;
    this.#ack.reasonCode = reasonCode;
    return this.#ack;
  }
}
