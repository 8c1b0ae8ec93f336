/**
 * What a Session owes its client at QoS 1 and 2, and Retained Messages that wait: the queue, and what leaves it when.
 * [MQTT 5.0, 4.3, 4.4 and 4.9]
 *
 *   deliverStored into the connection while the window has room, else a position in the queue
 *   pump          moves what waits (first what has its place in the window, then the queue) into the connection
 *
 * Invariant: one reference to the message store is held for every queue entry. It knows the connection only as a
 * `Recipient`. What is on its way to the client, and which steps of it are on record, is in `deliveries.ts`;
 * `owed_messages.ts` has the stored form of what is owed.
 */
import type { PacketId } from "../protocol/distinct_number.ts";
import { Message } from "../protocol/message.ts";
import type { QoS } from "../protocol/packets.ts";
import type { AckFrame } from "../protocol/publish_codec.ts";
import { ProgressKind } from "../storage/log/record.ts";
import type { OwedMessage } from "../storage/model/durable_state.ts";
import type { Position } from "../storage/model/stored.ts";
import { Deliveries } from "./deliveries.ts";
import { type DeliveryOrigin, type GroupOf, identifiersOf, type Surrender } from "./delivery_origin.ts";
import { boundedSize, InflightState } from "./inflight.ts";
import { OutboundQueue } from "./outbound_queue.ts";
import { owedQueued, restoreQueue } from "./owed_messages.ts";
import type { ProgressWaiter } from "./progress_line.ts";
import type { Recipient } from "./recipient.ts";
import type { SessionContext } from "./session_context.ts";

/** See the head of this file. */
export class Outbox implements ProgressWaiter {
  readonly #recipient: Recipient;
  readonly #context: SessionContext;
  readonly #deliveries: Deliveries;
  #queue: OutboundQueue | undefined = undefined;
  /** The last message that `reserve` found no room for, while it is being routed: later ones must not overtake it. */
  #unreserved: Position = 0;

  constructor(recipient: Recipient, context: SessionContext) {
    this.#recipient = recipient;
    this.#context = context;
    this.#deliveries = new Deliveries(recipient, context, this);
  }

  /** Messages sent and not completed. */
  get inflightCount(): number {
    return this.#deliveries.count;
  }

  /** Messages waiting to be sent. */
  get queuedCount(): number {
    return this.#queue === undefined ? 0 : this.#queue.count;
  }

  /** True when `pump` may have something to send. */
  get hasWaiting(): boolean {
    return this.queuedCount > 0 || this.#recipient.wantsMore || this.#deliveries.hasUnsent;
  }

  /** True when a packet for the client would leave with this turn. */
  get canSendNow(): boolean {
    return this.queuedCount === 0 && this.#recipient.hasRoom;
  }

  /** Takes up what was owed before a restart. Called once, while offline, before anything is delivered. */
  restore(owed: readonly OwedMessage[], groupOf: GroupOf): void {
    this.#deliveries.restore(owed, groupOf);
    this.#queue = restoreQueue(owed, groupOf, this.#context);
  }

  /** A new connection serves the Session: all that was sent is to be sent again. `pump` follows once CONNACK is written. */
  restart(): void {
    this.#deliveries.restart();
  }

  /**
   * Visits what is owed of the messages from `first` to below `end`: what was sent, in wire order, then the queue.
   *
   * A message that was received and waits for PUBCOMP is visited too, without size. O(window + queue).
   */
  walkOwed(first: Position, end: Position, visit: (owed: OwedMessage) => void): void {
    this.#deliveries.walkOwed(first, end, visit);
    this.#queue?.forEachBetween(first, end, (position, flags, size, origin) => {
      visit(owedQueued(position, flags, size, origin));
    });
  }

  /**
   * Gives a QoS 2 message that is being routed to a recorded Session its Packet Identifier, if it could be sent now.
   * `deliverStored` or `dropReserved` follows once it is committed. [MQTT-4.6.0-5]
   */
  reserve(position: Position, retain: boolean, origin: DeliveryOrigin | null): void {
    const mustWait = !this.#recipient.isOnline || this.queuedCount > 0 || this.#unreserved !== 0;
    if (mustWait || !this.#deliveries.canTake(boundedSize(position, this.#context))) {
      this.#unreserved = position;
      return;
    }
    this.#context.store.retain(position);
    this.#deliveries.reserve(position, retain, origin);
  }

  /** Takes back what `reserve` did, if it did: the message expired before it was committed, or cannot be read. */
  dropReserved(position: Position): boolean {
    const slot = this.#routed(position);
    if (slot === -1) return false;
    this.#deliveries.drop(slot);
    this.#pumpLater();
    return true;
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
    const deliveries = this.#deliveries;
    if (qos === 2 && (origin === null || origin.group === null)) {
      const slot = this.#routed(position);
      if (slot !== -1) {
        const isTaken = deliveries.sendReserved(slot, message);
        this.#pumpLater();
        return isTaken;
      }
    }
    const size = boundedSize(position, this.#context);
    const isPromised = qos === 2 && deliveries.isPromised;
    const canTake = recipient.isOnline && this.queuedCount === 0 &&
      (isPromised ? deliveries.canTake(size) : deliveries.canSend(size));
    if (!canTake) return this.enqueue(position, qos | (retain ? RETAIN_FLAG : 0), origin);
    if (!recipient.mayReceive(message)) {
      this.#deliveries.note(ProgressKind.DONE, position, 0, origin);
      return false;
    }
    this.#context.store.retain(position);
    if (isPromised) deliveries.promise(position, retain, origin);
    else deliveries.send(message, position, qos, retain, origin);
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
      this.#deliveries.note(ProgressKind.DONE, position, 0, origin);
      return false;
    }
    store.retain(position);
    queue.push(position, flags, size, origin);
    counters.messagesQueued++;
    return true;
  }

  /** True when a message of `size` stored bytes would not have to wait. */
  canSendAtOnce(size: number): boolean {
    return this.#recipient.isOnline && this.queuedCount === 0 && this.#deliveries.canSend(size);
  }

  /** True when a message of `size` stored bytes would have to wait and has no room to. */
  isQueueFullFor(size: number): boolean {
    return !this.canSendAtOnce(size) && (this.#queue ?? EMPTY_QUEUE).isFullFor(size, this.#context.limits);
  }

  /** Sends what waits while the window and the connection have room. */
  pump(nowMs: number): void {
    const recipient = this.#recipient;
    if (!recipient.isOnline) return;
    const deliveries = this.#deliveries;
    if (deliveries.hasUnsent) deliveries.sendUnsent(nowMs);
    const queue = this.#queue;
    const { store, encoder, counters, events } = this.#context;
    while (queue !== undefined && queue.peek()) {
      const isQos0 = (queue.flags & QOS_BITS) === 0;
      if (!(isQos0 ? recipient.hasRoom : deliveries.canTake(queue.size))) return;
      queue.shift();
      counters.messagesQueued--;
      const position = queue.position;
      const retain = (queue.flags & RETAIN_FLAG) !== 0;
      if (!store.read(position, WAITING)) events.dropped("unreadable", recipient.clientId);
      else if (WAITING.isExpired(nowMs)) events.dropped("expired", recipient.clientId);
      else if (recipient.mayReceive(WAITING)) {
        if (!isQos0) {
          this.#take(position, (queue.flags & QOS_BITS) as QoS, retain, queue.origin, nowMs);
          continue;
        }
        encoder.begin(WAITING, nowMs, 1);
        recipient.writePublish(WAITING, retain ? 1 : 0, 0, identifiersOf(queue.origin));
      }
      this.#deliveries.note(ProgressKind.DONE, position, 0, queue.origin);
      store.release(position);
    }
    recipient.queueSent(nowMs);
  }

  progressSafe(packetId: PacketId, nowMs: number): void {
    if (packetId !== 0) this.#deliveries.confirm(packetId);
    if (this.hasWaiting) this.pump(nowMs);
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
    if (this.#recipient.isOnline && this.#deliveries.handlePubrec(ack)) this.pump(nowMs);
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
    const isEnough = !this.#deliveries.surrenderShared(give);
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
    this.#deliveries.discard();
    const queue = this.#queue;
    while (queue !== undefined && queue.shift()) {
      this.#deliveries.noteShared(queue.position, 0, queue.origin);
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
      this.#deliveries.note(ProgressKind.DONE, queue.position, 0, queue.origin);
      store.release(queue.position);
    }
    return true;
  }

  /** A message comes out of the queue, `WAITING`, whose reference goes with it. */
  #take(position: Position, qos: QoS, retain: boolean, origin: DeliveryOrigin | null, nowMs: number): void {
    const deliveries = this.#deliveries;
    if (qos === 2 && deliveries.isPromised) deliveries.promise(position, retain, origin);
    else if (deliveries.hasUnsent) deliveries.follow(position, qos, retain, origin);
    else {
      this.#context.encoder.begin(WAITING, nowMs, 1);
      deliveries.send(WAITING, position, qos, retain, origin);
    }
  }

  /** A message that `reserve` was asked for is routed. @returns Its slot, or -1 when it was not reserved. */
  #routed(position: Position): number {
    if (this.#unreserved === position) this.#unreserved = 0;
    return this.#deliveries.routed(position);
  }

  /** What is behind a message that was just sent or dropped may leave; but another one is being delivered. */
  #pumpLater(): void {
    if (this.#recipient.isOnline && this.hasWaiting) this.#context.progress.push(0, this, 0);
  }

  /** The acknowledgement that completes a message in `state` came. */
  #handleLast(state: number, packetId: PacketId, nowMs: number): void {
    if (this.#deliveries.handleLast(state, packetId) && this.hasWaiting) this.pump(nowMs);
  }
}

const QOS_BITS = 3;
/** RETAIN in the flags of a queue entry. */
const RETAIN_FLAG = 4;
/** What a Session has before its first message waits; nothing is ever put into it. */
const EMPTY_QUEUE = new OutboundQueue();
/** View of the queued message being sent. `pump` is never nested, so one serves all Sessions. */
const WAITING = new Message();
