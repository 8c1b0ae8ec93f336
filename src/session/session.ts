/**
 * An MQTT Session: what the broker knows of one Client Identifier, with or without a connection. [MQTT 5.0, 4.1]
 *
 * This file owns the way out: messages owed to the client (queue), sent and unacknowledged (in-flight window), and
 * the acknowledgements that complete them. The way in is `packet_handler.ts`. It is sans-I/O: time comes as an
 * argument, packets leave through a `PacketSink`, and it never waits for anything. `owed_messages.ts` deals with all
 * that is owed at once, `delivery_progress.ts` with what of it is on record.
 *
 *   deliverOnce   QoS 0: straight into the sink, or dropped and counted when the sink is full or away
 *   deliverStored QoS 1, 2: into the sink while the window has room, else a position in the queue
 *   pump          moves what waits (first what an earlier connection left, then the queue) into the sink
 *
 * Invariant: one reference to the message store is held for every queue entry and for every in-flight entry that
 * still waits for PUBACK or PUBREC.
 */
import { Message } from "../protocol/message.ts";
import type { ProtocolVersion, QoS, Will } from "../protocol/packets.ts";
import { type AckFrame, AckHeader, writeAck } from "../protocol/publish_codec.ts";
import { ReasonCode } from "../protocol/reason_codes.ts";
import { ProgressKind } from "../storage/log/record.ts";
import type { OwedMessage } from "../storage/model/durable_state.ts";
import type { Position } from "../storage/model/stored.ts";
import { ALL_PERMITTED, type Permissions } from "../topics/permissions.ts";
import type { Subscriber, Subscription } from "../topics/subscription.ts";
import { type DeliveryOrigin, type GroupOf, identifiersOf, type Surrender } from "./delivery_origin.ts";
import { appendProgress } from "./delivery_progress.ts";
import { boundedSize, InflightState, InflightWindow } from "./inflight.ts";
import { OutboundQueue } from "./outbound_queue.ts";
import { discardOwed, restoreInflight, restoreQueue, surrenderShared, walkOwed } from "./owed_messages.ts";
import { PacketIdSet } from "./packet_id_set.ts";
import type { PacketSink } from "./packet_sink.ts";
import { writePublish } from "./publish_writer.ts";
import { isQueueFull, makeQueueRoom } from "./queue_bounds.ts";
import { mayReceive } from "./receive_check.ts";
import type { ConnectionTraits, SessionContext } from "./session_context.ts";
import { type InboundAliases, OutboundAliases } from "./topic_aliases.ts";

/** See the head of this file. */
export class Session implements Subscriber {
  /** The connection that serves the Session, or null while the client is away. */
  sink: PacketSink | null = null;
  version: ProtocolVersion = 5;
  isV5 = true;
  /** Maximum Packet Size of the present connection's client. */
  packetBytesMax = 0;
  /** Seconds; 0xFFFFFFFF = never. [MQTT 5.0, 3.1.2.11.2] */
  sessionExpiryInterval = 0;
  /** Number in the store's records, set once before the first subscription; 0 = not recorded. */
  recordNumber = 0;
  /** True once the Session State was discarded; nothing may be delivered to it any more. */
  isEnded = false;
  /** Will Message of the present connection, until it is published or removed. */
  will: Will | undefined = undefined;
  /** The name that the client of the present or last connection proved; undefined for an anonymous one. */
  username: string | undefined = undefined;
  /** What the client of the present connection may do. Means nothing while the client is away. */
  permissions: Permissions = ALL_PERMITTED;
  /** True while the queue may hold what was promised under other permissions: until a resumed Session has sent it. */
  isQueueRechecked = false;
  /** By Topic Filter as the client wrote it, `$share/…` included. */
  readonly subscriptions = new Map<string, Subscription<Session>>();
  /** Packet Identifiers of inbound QoS 2 messages between PUBLISH and PUBREL. [MQTT-4.3.3-10] */
  readonly inboundQos2 = new PacketIdSet();
  /** Aliases of the present connection. */
  inboundAliases: InboundAliases | undefined = undefined;
  outboundAliases: OutboundAliases | undefined = undefined;
  /** Inbound QoS 1 and 2 messages of this connection that count against the announced Receive Maximum. */
  inboundUnacknowledged = 0;
  /** Receive Maximum that the present connection was told; a reload changes it for later ones. */
  inboundReceiveMaximum = 0;
  /** Topic Alias Maximum that the present connection was told. */
  inboundAliasMax = 0;
  readonly #context: SessionContext;
  #windowMax = 0;
  #inflight: InflightWindow | undefined = undefined;
  #queue: OutboundQueue | undefined = undefined;

  constructor(readonly clientId: string, context: SessionContext) {
    this.#context = context;
  }

  get isOnline(): boolean {
    return this.sink !== null;
  }

  get isRecorded(): boolean {
    return this.recordNumber !== 0;
  }

  /** Messages sent and not completed. */
  get inflightCount(): number {
    return this.#inflight === undefined ? 0 : this.#inflight.count;
  }

  /** Messages waiting to be sent. */
  get queuedCount(): number {
    return this.#queue === undefined ? 0 : this.#queue.count;
  }

  /** True when the Session State outlives the connection. */
  get isDurable(): boolean {
    return this.sessionExpiryInterval > 0;
  }

  /** True when `pump` may have something to send. */
  get hasWaiting(): boolean {
    return this.queuedCount > 0 || (this.#inflight !== undefined && this.#inflight.hasResends);
  }

  /** True when a packet for the client would leave with this turn. */
  get canSendNow(): boolean {
    return this.sink !== null && this.queuedCount === 0 && this.#hasRoom(this.sink);
  }

  /** Takes up what was owed before a restart. Called once, while offline, before anything is delivered. */
  restore(owed: readonly OwedMessage[], groupOf: GroupOf): void {
    this.#inflight = restoreInflight(owed, groupOf, this.#context);
    this.#queue = restoreQueue(owed, groupOf, this.#context);
  }

  /** Takes up the inbound QoS 2 messages that waited for PUBREL before a restart. [MQTT-4.3.3-10] */
  restoreInbound(packetIds: Iterable<number>): void {
    for (const packetId of packetIds) this.inboundQos2.add(packetId);
  }

  /**
   * Visits what is owed of the messages from `first` to below `end`: what was sent, in wire order, then the queue.
   *
   * A message that was received and waits for PUBCOMP is visited too, without size. O(window + queue).
   */
  walkOwed(first: Position, end: Position, visit: (owed: OwedMessage) => void): void {
    walkOwed(this.#inflight, this.#queue, this.#context, first, end, visit);
  }

  /** Starts serving the Session through a connection. `pump` follows once CONNACK is written. [MQTT-4.4.0-1] */
  attach(sink: PacketSink, traits: ConnectionTraits): void {
    this.sink = sink;
    this.version = traits.version;
    this.isV5 = traits.version === 5;
    this.packetBytesMax = traits.packetBytesMax;
    this.#windowMax = traits.receiveMaximum;
    this.outboundAliases = traits.topicAliasMaximum > 0 ? new OutboundAliases(traits.topicAliasMaximum) : undefined;
    this.inboundAliases = undefined;
    this.inboundUnacknowledged = 0;
    this.inboundReceiveMaximum = this.#context.limits.receiveMaximum;
    this.inboundAliasMax = this.#context.limits.topicAliasMax;
    this.#inflight?.restart();
  }

  /** Stops serving the Session: the client is away. */
  detach(): void {
    this.sink = null;
    this.outboundAliases = undefined;
    this.inboundAliases = undefined;
  }

  /** Delivers the encoder's present message, which is `message`, at QoS 0. */
  deliverOnce(message: Message, retain: boolean, identifiers: readonly number[]): void {
    const sink = this.sink;
    if (sink === null || !sink.isOpen) return;
    if (!this.#hasRoom(sink)) this.#context.counters.messagesDropped.outbound_full++;
    else if (mayReceive(this, message, this.#context)) {
      writePublish(this, this.#context, sink, message, retain ? 1 : 0, 0, identifiers);
    }
  }

  /**
   * Delivers the encoder's present message at QoS 1 or 2, or queues it.
   *
   * @param position Where the message is stored; the Session takes its own reference.
   * @returns False when it was dropped and counted: a full queue (`mqtt.queue-full`), or not for this client.
   */
  deliverStored(
    message: Message,
    position: number,
    qos: QoS,
    retain: boolean,
    origin: DeliveryOrigin | null,
  ): boolean {
    const sink = this.sink;
    if (sink === null || this.queuedCount > 0 || !this.#canSend(sink, boundedSize(position, this.#context))) {
      return this.enqueue(position, qos | (retain ? 4 : 0), origin);
    }
    if (!mayReceive(this, message, this.#context)) {
      this.#note(ProgressKind.DONE, position, 0, origin);
      return false;
    }
    this.#context.store.retain(position);
    this.#send(sink, message, position, qos, retain, origin);
    return true;
  }

  /**
   * Puts a message at the end of the queue, within the bounds of the configuration.
   *
   * @param flags QoS in bits 0 and 1 (0 is allowed for Retained Messages), RETAIN in bit 2.
   * @returns False when it was refused and counted.
   */
  enqueue(position: number, flags: number, origin: DeliveryOrigin | null): boolean {
    const { store, counters } = this.#context;
    if (this.isEnded) return false;
    const queue = this.#queue ??= new OutboundQueue();
    const size = store.sizeOf(position);
    if (!makeQueueRoom(queue, size, this.#context, this.recordNumber)) {
      this.#note(ProgressKind.DONE, position, 0, origin);
      return false;
    }
    store.retain(position);
    queue.push(position, flags, size, origin);
    counters.messagesQueued++;
    return true;
  }

  /** True when a message of `size` stored bytes would have to wait and has no room to. */
  isQueueFullFor(size: number): boolean {
    const mustWait = this.sink === null || this.queuedCount > 0 || !this.#canSend(this.sink, size);
    return mustWait && isQueueFull(this.#queue, size, this.#context.limits);
  }

  /** Sends what waits while the window and the sink have room. */
  pump(nowMs: number): void {
    const sink = this.sink;
    if (sink === null) return;
    const inflight = this.#inflight;
    if (inflight !== undefined && inflight.hasResends) this.#resend(sink, inflight, nowMs);
    const queue = this.#queue;
    if (queue === undefined) return;
    const { store, encoder, counters } = this.#context;
    while (queue.peek()) {
      const isQos0 = (queue.flags & 3) === 0;
      if (!(isQos0 ? this.#hasRoom(sink) : this.#canSend(sink, queue.size))) return;
      queue.shift();
      counters.messagesQueued--;
      const position = queue.position;
      store.read(position, WAITING);
      const retain = (queue.flags & 4) !== 0;
      if (WAITING.isExpired(nowMs)) counters.messagesDropped.expired++;
      else if (mayReceive(this, WAITING, this.#context)) {
        encoder.begin(WAITING, nowMs, 1);
        if (!isQos0) {
          this.#send(sink, WAITING, position, (queue.flags & 3) as QoS, retain, queue.origin);
          continue;
        }
        writePublish(this, this.#context, sink, WAITING, retain ? 1 : 0, 0, identifiersOf(queue.origin));
      }
      this.#note(ProgressKind.DONE, position, 0, queue.origin);
      store.release(position);
    }
    this.isQueueRechecked = false;
  }

  /**
   * Handles PUBACK. [MQTT-4.3.2-3]
   *
   * An unknown Packet Identifier is ignored: the message may have been handed on meanwhile.
   */
  handlePuback(ack: AckFrame, nowMs: number): void {
    const inflight = this.#inflight;
    const slot = inflight === undefined ? -1 : inflight.find(ack.packetId);
    if (slot === -1 || inflight!.stateOf(slot) !== InflightState.AWAITING_PUBACK) return;
    this.#complete(inflight!, slot, ack.packetId);
    if (this.queuedCount > 0 || inflight!.hasResends) this.pump(nowMs);
  }

  /** Handles PUBREC: answers PUBREL, or forgets the message when the client refused it. [MQTT-4.3.3-4, -8] */
  handlePubrec(ack: AckFrame, nowMs: number): void {
    const sink = this.sink;
    if (sink === null) return;
    const inflight = this.#inflight;
    const slot = inflight === undefined ? -1 : inflight.find(ack.packetId);
    const state = slot === -1 ? InflightState.FREE : inflight!.stateOf(slot);
    if (state === InflightState.AWAITING_PUBREC) {
      if (ack.reasonCode >= 0x80) {
        this.#complete(inflight!, slot, ack.packetId);
        this.pump(nowMs);
        return;
      }
      const position = inflight!.positionOf(slot);
      this.#note(ProgressKind.RECEIVED, position, ack.packetId, inflight!.originOf(slot));
      this.#context.store.release(position);
      inflight!.setAwaitingPubcomp(slot);
    } else if (state !== InflightState.AWAITING_PUBCOMP) {
      if (ack.reasonCode >= 0x80) return;
      this.acknowledge(AckHeader.PUBREL, ack.packetId, this.isV5 ? ReasonCode.PACKET_IDENTIFIER_NOT_FOUND : 0);
      return;
    }
    this.acknowledge(AckHeader.PUBREL, ack.packetId, 0);
  }

  /** Handles PUBCOMP. [MQTT-4.3.3-6] */
  handlePubcomp(ack: AckFrame, nowMs: number): void {
    const inflight = this.#inflight;
    const slot = inflight === undefined ? -1 : inflight.find(ack.packetId);
    if (slot === -1 || inflight!.stateOf(slot) !== InflightState.AWAITING_PUBCOMP) return;
    this.#complete(inflight!, slot, ack.packetId);
    if (this.queuedCount > 0 || inflight!.hasResends) this.pump(nowMs);
  }

  /** Writes PUBACK, PUBREC, PUBREL or PUBCOMP, if a connection is there. */
  acknowledge(header: number, packetId: number, reasonCode: number): void {
    const sink = this.sink;
    if (sink === null || !sink.isOpen) return;
    writeAck(sink.out, header, packetId, reasonCode);
    this.#context.counters.packetsSent++;
    if (!sink.isTouched) sink.touch();
  }

  /**
   * Gives up the messages of Shared Subscriptions that this client will not get now, so that others can have them:
   * queued ones, and QoS 1 ones it left unacknowledged. QoS 2 ones already sent stay with the Session. [MQTT-4.8.2-4]
   *
   * Only while no connection serves the Session. What becomes of a message that is taken over is its taker's to record.
   */
  surrenderShared(give: Surrender): void {
    surrenderShared(this.#inflight, this.#queue, this.#context, give);
  }

  /** Discards the Session State: everything still owed is released and counted. */
  end(): void {
    this.isEnded = true;
    discardOwed(this.#inflight, this.#queue, this.#context, this.recordNumber);
    this.inboundQos2.clear();
  }

  #hasRoom(sink: PacketSink): boolean {
    return sink.isOpen &&
      sink.out.sealedBytes + sink.out.length + sink.writingBytes <= this.#context.limits.outboundBytesMax;
  }

  #canSend(sink: PacketSink, size: number): boolean {
    if (!this.#hasRoom(sink)) return false;
    const inflight = this.#inflight;
    return inflight === undefined ||
      (inflight.hasRoomFor(size, this.#windowMax, this.#context.limits) &&
        !inflight.hasResends && !inflight.isExhausted);
  }

  /** Sends a message whose reference the Session holds already. */
  #send(
    sink: PacketSink,
    message: Message,
    position: number,
    qos: QoS,
    retain: boolean,
    origin: DeliveryOrigin | null,
  ): void {
    const inflight = this.#inflight ??= new InflightWindow();
    const state = qos === 1 ? InflightState.AWAITING_PUBACK : InflightState.AWAITING_PUBREC;
    const packetId = inflight.add(position, state, retain, origin, boundedSize(position, this.#context));
    this.#context.counters.messagesInflight++;
    const flags = (qos << 1) | (retain ? 1 : 0);
    if (writePublish(this, this.#context, sink, message, flags, packetId, identifiersOf(origin))) {
      this.#note(ProgressKind.SENT, position, packetId, origin);
    } else this.#complete(inflight, inflight.find(packetId), packetId);
  }

  #resend(sink: PacketSink, inflight: InflightWindow, nowMs: number): void {
    const { store, encoder, counters, limits } = this.#context;
    for (let released = inflight.nextRelease(); released !== 0; released = inflight.nextRelease()) {
      this.acknowledge(AckHeader.PUBREL, released, 0);
    }
    for (let slot = inflight.slotToResend(); slot !== -1; slot = inflight.slotToResend()) {
      const position = inflight.positionOf(slot);
      const size = boundedSize(position, this.#context);
      if (!this.#hasRoom(sink) || !inflight.hasRoomFor(size, this.#windowMax, limits)) return;
      const packetId = inflight.packetIdToResend;
      const identifiers = identifiersOf(inflight.originOf(slot));
      const qosBits = inflight.stateOf(slot) === InflightState.AWAITING_PUBACK ? 2 : 4;
      store.read(position, WAITING);
      encoder.begin(WAITING, nowMs, 1);
      const flags = DUP | qosBits | (inflight.retainOf(slot) ? 1 : 0);
      // Its expiry counts no more: delivery has begun. [MQTT-4.3.3-7]
      if (writePublish(this, this.#context, sink, WAITING, flags, packetId, identifiers)) {
        inflight.noteResent(size);
      } else {
        counters.messagesInflight--;
        this.#note(ProgressKind.DONE, position, packetId, inflight.originOf(slot));
        store.release(position);
        inflight.dropResend();
      }
    }
  }

  #complete(inflight: InflightWindow, slot: number, packetId: number): void {
    const position = inflight.positionOf(slot);
    this.#note(ProgressKind.DONE, position, packetId, inflight.originOf(slot));
    if (inflight.stateOf(slot) !== InflightState.AWAITING_PUBCOMP) this.#context.store.release(position);
    inflight.complete(slot);
    this.#context.counters.messagesInflight--;
  }

  #note(kind: number, position: Position, packetId: number, origin: DeliveryOrigin | null): void {
    appendProgress(this.#context.store, kind, this.recordNumber, position, packetId, origin);
  }
}

const DUP = 8;
/** View of the queued message being sent. `pump` and `resend` are never nested, so one serves all Sessions. */
const WAITING = new Message();
