/**
 * What a Session owes its client at QoS 1 and 2, and Retained Messages that wait: the queue, the in-flight window, and
 * the acknowledgements that complete what was sent. [MQTT 5.0, 4.3, 4.4 and 4.9]
 *
 *   deliverStored into the connection while the window has room, else a position in the queue
 *   pump          moves what waits (first what an earlier connection left, then the queue) into the connection
 *
 * Invariant: one reference to the message store is held for every queue entry and for every in-flight entry that still
 * waits for PUBACK or PUBREC. It knows the connection only as a `Recipient`; `owed_messages.ts` has the stored form of
 * what is owed.
 *
 * The steps of a delivery (`ProgressKind`) are put on record for Sessions that outlive a crash, and for messages of a
 * Shared Subscription that such a Session has a part in: whoever takes one of these, it must not come to the others once
 * more. All other deliveries leave no trace; what is still queued when the Session ends needs no DONE.
 */
import type { PacketId } from "../protocol/distinct_number.ts";
import { Message } from "../protocol/message.ts";
import type { QoS } from "../protocol/packets.ts";
import { type AckFrame, AckHeader } from "../protocol/publish_codec.ts";
import { ReasonCode } from "../protocol/reason_codes.ts";
import { ProgressKind } from "../storage/log/record.ts";
import type { OwedMessage } from "../storage/model/durable_state.ts";
import type { Position } from "../storage/model/stored.ts";
import {
  type DeliveryOrigin,
  ENOUGH,
  type GroupOf,
  identifiersOf,
  isOwedToRecorded,
  type Surrender,
} from "./delivery_origin.ts";
import { boundedSize, InflightState, InflightWindow } from "./inflight.ts";
import { OutboundQueue } from "./outbound_queue.ts";
import { owedInflight, owedQueued, restoreInflight, restoreQueue } from "./owed_messages.ts";
import type { Recipient } from "./recipient.ts";
import type { SessionContext } from "./session_context.ts";

/** See the head of this file. */
export class Outbox {
  readonly #recipient: Recipient;
  readonly #context: SessionContext;
  #inflight: InflightWindow | undefined = undefined;
  #queue: OutboundQueue | undefined = undefined;

  constructor(recipient: Recipient, context: SessionContext) {
    this.#recipient = recipient;
    this.#context = context;
  }

  /** Messages sent and not completed. */
  get inflightCount(): number {
    return this.#inflight === undefined ? 0 : this.#inflight.count;
  }

  /** Messages waiting to be sent. */
  get queuedCount(): number {
    return this.#queue === undefined ? 0 : this.#queue.count;
  }

  /** True when `pump` may have something to send. */
  get hasWaiting(): boolean {
    return this.queuedCount > 0 || this.#recipient.wantsMore ||
      (this.#inflight !== undefined && this.#inflight.hasResends);
  }

  /** True when a packet for the client would leave with this turn. */
  get canSendNow(): boolean {
    return this.queuedCount === 0 && this.#recipient.hasRoom;
  }

  /** Takes up what was owed before a restart. Called once, while offline, before anything is delivered. */
  restore(owed: readonly OwedMessage[], groupOf: GroupOf): void {
    this.#inflight = restoreInflight(owed, groupOf, this.#context);
    this.#queue = restoreQueue(owed, groupOf, this.#context);
  }

  /** A new connection serves the Session: all that was sent is to be sent again. `pump` follows once CONNACK is written. */
  restart(): void {
    this.#inflight?.restart();
  }

  /**
   * Visits what is owed of the messages from `first` to below `end`: what was sent, in wire order, then the queue.
   *
   * A message that was received and waits for PUBCOMP is visited too, without size. O(window + queue).
   */
  walkOwed(first: Position, end: Position, visit: (owed: OwedMessage) => void): void {
    const inflight = this.#inflight;
    inflight?.sweep((slot, packetId) => {
      const position = inflight.positionOf(slot);
      if (position < first || position >= end) return false;
      visit(owedInflight(inflight, slot, packetId, this.#context));
      return false;
    });
    this.#queue?.forEachBetween(first, end, (position, flags, size, origin) => {
      visit(owedQueued(position, flags, size, origin));
    });
  }

  /**
   * Delivers the encoder's present message at QoS 1 or 2, or queues it.
   *
   * @param position Where the message is stored; the Outbox takes its own reference.
   * @returns False when it was dropped and counted: a full queue, or not for this client.
   */
  deliverStored(
    message: Message,
    position: Position,
    qos: QoS,
    retain: boolean,
    origin: DeliveryOrigin | null,
  ): boolean {
    const recipient = this.#recipient;
    if (!recipient.isOnline || this.queuedCount > 0 || !this.#canSend(boundedSize(position, this.#context))) {
      return this.enqueue(position, qos | (retain ? RETAIN_FLAG : 0), origin);
    }
    if (!recipient.mayReceive(message)) {
      this.#note(ProgressKind.DONE, position, 0, origin);
      return false;
    }
    this.#context.store.retain(position);
    this.#send(message, position, qos, retain, origin);
    return true;
  }

  /**
   * Puts a message at the end of the queue, within the bounds of the configuration.
   *
   * @param flags QoS in bits 0 and 1 (0 is allowed for Retained Messages), RETAIN in bit 2.
   * @returns False when it was refused and counted.
   */
  enqueue(position: Position, flags: number, origin: DeliveryOrigin | null): boolean {
    const { store, counters } = this.#context;
    if (this.#recipient.isEnded) return false;
    const queue = this.#queue ??= new OutboundQueue();
    const size = store.sizeOf(position);
    if (!this.#makeRoom(queue, size)) {
      this.#note(ProgressKind.DONE, position, 0, origin);
      return false;
    }
    store.retain(position);
    queue.push(position, flags, size, origin);
    counters.messagesQueued++;
    return true;
  }

  /** True when a message of `size` stored bytes would not have to wait. */
  canSendAtOnce(size: number): boolean {
    return this.#recipient.isOnline && this.queuedCount === 0 && this.#canSend(size);
  }

  /** True when a message of `size` stored bytes would have to wait and has no room to. */
  isQueueFullFor(size: number): boolean {
    return !this.canSendAtOnce(size) && (this.#queue ?? EMPTY_QUEUE).isFullFor(size, this.#context.limits);
  }

  /** Sends what waits while the window and the connection have room. */
  pump(nowMs: number): void {
    const recipient = this.#recipient;
    if (!recipient.isOnline) return;
    const inflight = this.#inflight;
    if (inflight !== undefined && inflight.hasResends) this.#resend(inflight, nowMs);
    const queue = this.#queue;
    const { store, encoder, counters, events } = this.#context;
    while (queue !== undefined && queue.peek()) {
      const isQos0 = (queue.flags & QOS_BITS) === 0;
      if (!(isQos0 ? recipient.hasRoom : this.#canSend(queue.size))) return;
      queue.shift();
      counters.messagesQueued--;
      const position = queue.position;
      const retain = (queue.flags & RETAIN_FLAG) !== 0;
      if (!store.read(position, WAITING)) events.dropped("unreadable", recipient.clientId);
      else if (WAITING.isExpired(nowMs)) events.dropped("expired", recipient.clientId);
      else if (recipient.mayReceive(WAITING)) {
        encoder.begin(WAITING, nowMs, 1);
        if (!isQos0) {
          this.#send(WAITING, position, (queue.flags & QOS_BITS) as QoS, retain, queue.origin);
          continue;
        }
        recipient.writePublish(WAITING, retain ? 1 : 0, 0, identifiersOf(queue.origin));
      }
      this.#note(ProgressKind.DONE, position, 0, queue.origin);
      store.release(position);
    }
    recipient.queueSent(nowMs);
  }

  /**
   * Handles PUBACK. [MQTT-4.3.2-3]
   *
   * An unknown Packet Identifier is ignored: the message may have been handed on meanwhile.
   */
  handlePuback(ack: AckFrame, nowMs: number): void {
    this.#handleLast(InflightState.AWAITING_PUBACK, ack.packetId, nowMs);
  }

  /** Handles PUBREC: answers PUBREL, or forgets the message when the client refused it. [MQTT-4.3.3-4, -8] */
  handlePubrec(ack: AckFrame, nowMs: number): void {
    const recipient = this.#recipient;
    if (!recipient.isOnline) return;
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
      const code = recipient.isV5 ? ReasonCode.PACKET_IDENTIFIER_NOT_FOUND : 0;
      recipient.acknowledge(AckHeader.PUBREL, ack.packetId, code);
      return;
    }
    recipient.acknowledge(AckHeader.PUBREL, ack.packetId, 0);
  }

  /** Handles PUBCOMP. [MQTT-4.3.3-6] */
  handlePubcomp(ack: AckFrame, nowMs: number): void {
    this.#handleLast(InflightState.AWAITING_PUBCOMP, ack.packetId, nowMs);
  }

  /**
   * Gives up the messages of Shared Subscriptions that this client will not get now, so that others can have them:
   * queued ones, and QoS 1 ones it left unacknowledged, in their order. QoS 2 ones already sent stay. [MQTT-4.8.2-4]
   *
   * Only while no connection serves the Session. What becomes of a message that is taken over is its taker's to record.
   *
   * @returns False when the taker had enough before it saw everything.
   */
  surrenderShared(give: Surrender): boolean {
    const { counters } = this.#context;
    const inflight = this.#inflight;
    let isEnough = false;
    inflight?.sweep((slot) => {
      const origin = inflight.originOf(slot);
      if (isEnough || origin === null || origin.group === null) return false;
      if (inflight.stateOf(slot) !== InflightState.AWAITING_PUBACK) return false;
      const answer = give(inflight.positionOf(slot), origin);
      isEnough = answer === ENOUGH;
      if (answer !== true) return false;
      counters.messagesInflight--;
      return true;
    });
    const queue = this.#queue;
    if (isEnough || queue === undefined) return !isEnough;
    const before = queue.count;
    const isAll = queue.surrender(give);
    counters.messagesQueued -= before - queue.count;
    return isAll;
  }

  /**
   * Gives up everything, as the Session ends: released and counted as `session_ended`.
   *
   * The `end` record of a recorded Session tells what became of its own messages. What it or any other Session took from
   * a Shared Subscription with a recorded member, and nobody took over, is recorded as done: no other member may get
   * what this client was sent at QoS 2. [MQTT-4.8.2-5]
   */
  discard(): void {
    const { store, counters, events } = this.#context;
    const { clientId } = this.#recipient;
    const inflight = this.#inflight;
    inflight?.sweep((slot, packetId) => {
      const position = inflight.positionOf(slot);
      this.#noteShared(position, packetId, inflight.originOf(slot));
      counters.messagesInflight--;
      if (inflight.stateOf(slot) !== InflightState.AWAITING_PUBCOMP) {
        events.dropped("session_ended", clientId);
        store.release(position);
      }
      return true;
    });
    const queue = this.#queue;
    while (queue !== undefined && queue.shift()) {
      this.#noteShared(queue.position, 0, queue.origin);
      events.dropped("session_ended", clientId);
      counters.messagesQueued--;
      store.release(queue.position);
    }
  }

  /** Makes room as the policy says. @returns False when the message itself must go: it was counted, and that is all. */
  #makeRoom(queue: OutboundQueue, size: number): boolean {
    const { store, counters, limits, events } = this.#context;
    const { clientId } = this.#recipient;
    const canEverFit = limits.queuedBytesMax === 0 || size <= limits.queuedBytesMax;
    while (queue.isFullFor(size, limits)) {
      if (limits.queueFull !== "drop-oldest" || !canEverFit || !queue.shift()) {
        events.dropped(limits.queueFull === "reject" ? "queue_full_rejected" : "queue_full_newest", clientId);
        return false;
      }
      events.dropped("queue_full_oldest", clientId);
      counters.messagesQueued--;
      this.#note(ProgressKind.DONE, queue.position, 0, queue.origin);
      store.release(queue.position);
    }
    return true;
  }

  #canSend(size: number): boolean {
    const recipient = this.#recipient;
    if (!recipient.hasRoom) return false;
    const inflight = this.#inflight;
    return inflight === undefined ||
      (inflight.hasRoomFor(size, recipient.receiveMaximum, this.#context.limits) &&
        !inflight.hasResends && !inflight.isExhausted);
  }

  /** Sends a message whose reference the Outbox holds already. */
  #send(message: Message, position: Position, qos: QoS, retain: boolean, origin: DeliveryOrigin | null): void {
    const inflight = this.#inflight ??= new InflightWindow();
    const state = qos === 1 ? InflightState.AWAITING_PUBACK : InflightState.AWAITING_PUBREC;
    const packetId = inflight.add(position, state, retain, origin, boundedSize(position, this.#context));
    this.#context.counters.messagesInflight++;
    const flags = (qos << 1) | (retain ? 1 : 0);
    if (this.#recipient.writePublish(message, flags, packetId, identifiersOf(origin))) {
      this.#note(ProgressKind.SENT, position, packetId, origin);
    } else this.#complete(inflight, inflight.find(packetId), packetId);
  }

  #resend(inflight: InflightWindow, nowMs: number): void {
    const recipient = this.#recipient;
    const { store, encoder, counters, limits, events } = this.#context;
    for (let released = inflight.nextRelease(); released !== 0; released = inflight.nextRelease()) {
      recipient.acknowledge(AckHeader.PUBREL, released, 0);
    }
    for (let slot = inflight.slotToResend(); slot !== -1; slot = inflight.slotToResend()) {
      const position = inflight.positionOf(slot);
      const size = boundedSize(position, this.#context);
      if (!recipient.hasRoom || !inflight.hasRoomFor(size, recipient.receiveMaximum, limits)) return;
      const packetId = inflight.packetIdToResend;
      const identifiers = identifiersOf(inflight.originOf(slot));
      const qosBits = inflight.stateOf(slot) === InflightState.AWAITING_PUBACK ? 2 : 4;
      const isRead = store.read(position, WAITING);
      if (isRead) encoder.begin(WAITING, nowMs, 1);
      else events.dropped("unreadable", recipient.clientId);
      const flags = DUP | qosBits | (inflight.retainOf(slot) ? 1 : 0);
      // Its expiry counts no more: delivery has begun. [MQTT-4.3.3-7]
      if (isRead && recipient.writePublish(WAITING, flags, packetId, identifiers)) {
        inflight.noteResent(size);
      } else {
        counters.messagesInflight--;
        this.#note(ProgressKind.DONE, position, packetId, inflight.originOf(slot));
        store.release(position);
        inflight.dropResend();
      }
    }
  }

  /** The acknowledgement that completes a message in `state` came. */
  #handleLast(state: number, packetId: PacketId, nowMs: number): void {
    const inflight = this.#inflight;
    const slot = inflight === undefined ? -1 : inflight.find(packetId);
    if (slot === -1 || inflight!.stateOf(slot) !== state) return;
    this.#complete(inflight!, slot, packetId);
    if (this.hasWaiting) this.pump(nowMs);
  }

  #complete(inflight: InflightWindow, slot: number, packetId: PacketId): void {
    const position = inflight.positionOf(slot);
    this.#note(ProgressKind.DONE, position, packetId, inflight.originOf(slot));
    if (inflight.stateOf(slot) !== InflightState.AWAITING_PUBCOMP) this.#context.store.release(position);
    inflight.complete(slot);
    this.#context.counters.messagesInflight--;
  }

  /** Appends a step of a delivery, if it matters. */
  #note(kind: ProgressKind, position: Position, packetId: PacketId, origin: DeliveryOrigin | null): void {
    const { recordNumber } = this.#recipient;
    if (recordNumber === 0 && (origin === null || !isOwedToRecorded(origin))) return;
    this.#context.store.appendProgress(kind, recordNumber, position, packetId, origin === null ? 0 : origin.ordinal);
  }

  /** Appends that a delivery is given up, if another Session could get the message instead. */
  #noteShared(position: Position, packetId: PacketId, origin: DeliveryOrigin | null): void {
    if (origin !== null && isOwedToRecorded(origin)) this.#note(ProgressKind.DONE, position, packetId, origin);
  }
}

const DUP = 8;
const QOS_BITS = 3;
/** RETAIN in the flags of a queue entry. */
const RETAIN_FLAG = 4;
/** What a Session has before its first message waits; nothing is ever put into it. */
const EMPTY_QUEUE = new OutboundQueue();
/** View of the queued message being sent. `pump` and `resend` are never nested, so one serves all Sessions. */
const WAITING = new Message();
