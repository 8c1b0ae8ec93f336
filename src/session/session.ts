/**
 * An MQTT Session: what the broker knows of one Client Identifier, with or without a connection. [MQTT 5.0, 4.1]
 *
 * This file owns who the client is, and its connection: what it asked for, and how packets are written to it. What it is
 * owed is in its `Outbox`, what it sends in its `Inbound`. All are sans-I/O: time comes as an argument, packets leave
 * through a `PacketSink`, and nothing waits for anything.
 *
 *   made ──▶ claim, record ──▶ open ──▶ attach ──▶ detach ──▶ open … ──▶ end
 *   made at the start ──▶ reopen ──▶ open …
 *
 * A field that others can read is written by the methods here alone.
 */
import assert from "node:assert/strict";
import type { PacketId } from "../protocol/distinct_number.ts";
import type { Message } from "../protocol/message.ts";
import type { ProtocolVersion } from "../protocol/packets.ts";
import { writeAck } from "../protocol/publish_codec.ts";
import { NO_IDENTIFIERS } from "../protocol/publish_encoder.ts";
import { decodeUtf8 } from "../protocol/utf8.ts";
import type { OpenChange, SessionNumber } from "../storage/model/stored.ts";
import { ALL_PERMITTED, type Permissions } from "../topics/permissions.ts";
import type { Subscriber, Subscription } from "../topics/subscription.ts";
import { Inbound } from "./inbound.ts";
import { Outbox } from "./outbox.ts";
import type { PacketSink } from "./packet_sink.ts";
import type { Recipient } from "./recipient.ts";
import type { ConnectionTraits, SessionContext } from "./session_context.ts";
import { OutboundAliases } from "./topic_aliases.ts";

/** Somebody who has more for a Session than it could take. */
export interface RoomListener {
  /** Nothing waits in the Session any more; told once for each `askWhenRoom`. */
  memberHasRoom(session: Session, nowMs: number): void;
}

/** See the head of this file. */
export class Session implements Subscriber, Recipient {
  /** The connection that serves the Session, or null while the client is away. */
  readonly sink: PacketSink | null = null;
  readonly version: ProtocolVersion = 5;
  readonly isV5: boolean = true;
  /** Maximum Packet Size of the present connection's client. */
  readonly packetBytesMax: number = 0;
  readonly receiveMaximum: number = 0;
  /** Seconds; 0xFFFFFFFF = never. [MQTT 5.0, 3.1.2.11.2] */
  readonly sessionExpiryInterval: number = 0;
  /** Number in the store's records, set once before the first subscription; 0 = not recorded. */
  readonly recordNumber: SessionNumber = 0;
  /** True once the Session State was discarded; nothing may be delivered to it any more. */
  readonly isEnded: boolean = false;
  /** The name that the client of the present or last connection proved; undefined for an anonymous one. */
  readonly username: string | undefined = undefined;
  /** What the client of the present connection may do. Means nothing while the client is away. */
  readonly permissions: Permissions = ALL_PERMITTED;
  /** True while the queue may hold what was promised under other permissions: until a resumed Session has sent it. */
  readonly isQueueRechecked: boolean = false;
  /** By Topic Filter as the client wrote it, `$share/…` included. */
  readonly subscriptions = new Map<string, Subscription<Session>>();
  readonly inbound = new Inbound();
  readonly outbox: Outbox;
  readonly #context: SessionContext;
  #aliases: OutboundAliases | undefined = undefined;
  #roomListener: RoomListener | undefined = undefined;

  constructor(readonly clientId: string, context: SessionContext) {
    this.#context = context;
    this.outbox = new Outbox(this, context);
  }

  get isOnline(): boolean {
    return this.sink !== null;
  }

  get isRecorded(): boolean {
    return this.recordNumber !== 0;
  }

  /** True when the Session State outlives the connection. */
  get isDurable(): boolean {
    return this.sessionExpiryInterval > 0;
  }

  /** True when the connection is there and takes more before it has sent what it holds. */
  get hasRoom(): boolean {
    const { sink } = this;
    return sink !== null && sink.isOpen &&
      sink.out.sealedBytes + sink.out.length + sink.writingBytes <= this.#context.limits.outboundBytesMax;
  }

  /** Gives a new Session that outlives its connection its number, before the first subscription. */
  record(recordNumber: SessionNumber): void {
    assert(this.recordNumber === 0, "a Session is recorded once");
    writable(this).recordNumber = recordNumber;
  }

  /** Takes up what the store knows of it. It is offline. */
  reopen({ session, sessionExpiryInterval, username }: OpenChange): void {
    this.record(session);
    this.expireAfter(sessionExpiryInterval);
    this.claim(username);
  }

  /** From now on it is this user's. */
  claim(username: string | undefined): void {
    writable(this).username = username;
  }

  /** Its connection was granted these; `attach` follows. */
  open(sessionExpiryInterval: number, permissions: Permissions): void {
    this.expireAfter(sessionExpiryInterval);
    this.permit(permissions);
  }

  /** Changes how long it outlives its connection. */
  expireAfter(sessionExpiryInterval: number): void {
    writable(this).sessionExpiryInterval = sessionExpiryInterval;
  }

  /** Changes what its client may do. */
  permit(permissions: Permissions): void {
    writable(this).permissions = permissions;
  }

  /** What waits was promised to a client that may have had other permissions. */
  recheckQueue(): void {
    writable(this).isQueueRechecked = this.permissions !== ALL_PERMITTED && this.outbox.queuedCount > 0;
  }

  get wantsMore(): boolean {
    return this.#roomListener !== undefined;
  }

  /** Has the listener told when the connection has taken everything that waits. */
  askWhenRoom(listener: RoomListener): void {
    this.#roomListener = listener;
  }

  queueSent(nowMs: number): void {
    writable(this).isQueueRechecked = false;
    const listener = this.#roomListener;
    if (listener === undefined) return;
    this.#roomListener = undefined;
    listener.memberHasRoom(this, nowMs);
  }

  /** Starts serving the Session through a connection. `outbox.pump` follows once CONNACK is written. [MQTT-4.4.0-1] */
  attach(sink: PacketSink, traits: ConnectionTraits): void {
    const own = writable(this);
    own.sink = sink;
    own.version = traits.version;
    own.isV5 = traits.version === 5;
    own.packetBytesMax = traits.packetBytesMax;
    own.receiveMaximum = traits.receiveMaximum;
    this.#aliases = traits.topicAliasMaximum > 0 ? new OutboundAliases(traits.topicAliasMaximum) : undefined;
    this.inbound.begin(this.#context.limits);
    this.outbox.restart();
  }

  /** Stops serving the Session: the client is away. */
  detach(): void {
    writable(this).sink = null;
    this.#roomListener = undefined;
    this.#aliases = undefined;
    this.inbound.end();
  }

  /** Discards the Session State: everything still owed is released and counted. */
  end(): void {
    writable(this).isEnded = true;
    this.outbox.discard();
    this.inbound.discard();
  }

  /** Delivers the encoder's present message, which is `message`, at QoS 0: now, or never when the connection is full. */
  deliverOnce(message: Message, retain: boolean, identifiers: readonly number[]): void {
    const { sink } = this;
    if (sink === null || !sink.isOpen) return;
    if (!this.hasRoom) this.#context.events.dropped("outbound_full", this.clientId);
    else if (this.mayReceive(message)) this.writePublish(message, retain ? 1 : 0, 0, identifiers);
  }

  /** Writes PUBACK, PUBREC, PUBREL or PUBCOMP, if a connection is there. */
  acknowledge(header: number, packetId: PacketId, reasonCode: number): void {
    const { sink } = this;
    if (sink === null || !sink.isOpen) return;
    writeAck(sink.out, header, packetId, reasonCode);
    this.#context.counters.packetsSent++;
    if (!sink.isTouched) sink.touch();
  }

  /**
   * Permissions asked once more for a message that is about to be sent, with `auth.recheck-on-deliver`.
   *
   * What was granted at SUBSCRIBE may have been taken back since, and a rule may forbid a part of what a wildcard covers.
   * It is asked at the last moment, so it also holds for what waited in a queue. For the queue of a Session that is
   * resumed it is asked in any case: its client may have come back with fewer rights than it had.
   */
  mayReceive(message: Message): boolean {
    if (this.isPermitted(message)) return true;
    this.#context.events.dropped("not_authorized", this.clientId);
    return false;
  }

  /** As `mayReceive`, for somebody who gives the message to another Session then. */
  isPermitted({ topicBytes, topicStart, topicEnd }: Message): boolean {
    if (!this.#context.limits.isRecheckedOnDeliver && !this.isQueueRechecked) return true;
    return this.permissions.mayReceive(decodeUtf8(topicBytes, topicStart + LENGTH_PREFIX_BYTES, topicEnd));
  }

  /**
   * The last step of every delivery: one PUBLISH in the client's version, with a Topic Alias where it has one, and never
   * above its Maximum Packet Size: it is dropped as if delivered then. [MQTT-3.1.2-25]
   */
  writePublish(message: Message, flags: number, packetId: PacketId, identifiers: readonly number[]): boolean {
    const { encoder, counters, events } = this.#context;
    const { isV5, packetBytesMax } = this;
    const sink = this.sink!;
    const aliases = this.#aliases;
    const own = isV5 ? identifiers : NO_IDENTIFIERS;
    const size = aliases === undefined
      ? encoder.write(sink.out, isV5, flags, packetId, own, packetBytesMax)
      : encoder.writeAliased(sink.out, aliases, flags, packetId, own, packetBytesMax);
    if (size === 0) {
      events.dropped("packet_too_large", this.clientId);
      return false;
    }
    counters.packetsSent++;
    counters.messagesDelivered++;
    counters.bytesDelivered += message.payloadEnd - message.payloadStart;
    if (!sink.isTouched) sink.touch();
    return true;
  }
}

/** The Session to its own methods, who write what others only read. */
function writable(session: Session): { -readonly [Field in keyof Session]: Session[Field] } {
  return session;
}

const LENGTH_PREFIX_BYTES = 2;
