/**
 * The messages of a Session that are on their way to its client: the in-flight window, how its PUBLISHes and PUBRELs
 * leave, what the client answers, and which steps of it all are put on record. [MQTT 5.0, 4.3, 4.4 and 4.9]
 *
 * The steps of a delivery (`ProgressKind`) are put on record for Sessions that outlive a crash, and for messages of a
 * Shared Subscription that such a Session has a part in: whoever takes one of these, it must not come to the others once
 * more. All other deliveries leave no trace; what is still queued when the Session ends needs no DONE.
 *
 * At QoS 2 a recorded client acts on two of these steps, so where a commit outlives a power cut they are promises: PUBLISH
 * leaves when its Packet Identifier is safe, PUBREL when it is safe that PUBREC came. Such a message is `reserve`d while it
 * is routed, if it could be sent at once: its identifier is on record with it and costs no commit of its own. Any other
 * gets its identifier as it comes (`promise`), and waits in the window. What comes later waits behind it.
 *
 * Invariant: one reference to the message store is held for every entry that was not received by the client.
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
import { owedInflight, restoreInflight } from "./owed_messages.ts";
import type { ProgressWaiter } from "./progress_line.ts";
import type { Recipient } from "./recipient.ts";
import type { SessionContext } from "./session_context.ts";

/** See the head of this file. */
export class Deliveries {
  readonly #recipient: Recipient;
  readonly #context: SessionContext;
  readonly #waiter: ProgressWaiter;
  #inflight: InflightWindow | undefined = undefined;
  /** Reserved messages that are still being routed. */
  #routing = 0;

  /** @param waiter Told when a step that was promised is safe; it calls `confirm`. */
  constructor(recipient: Recipient, context: SessionContext, waiter: ProgressWaiter) {
    this.#recipient = recipient;
    this.#context = context;
    this.#waiter = waiter;
  }

  /** Messages that have their Packet Identifier and are not completed. */
  get count(): number {
    return this.#inflight === undefined ? 0 : this.#inflight.count;
  }

  /** True while messages of the window have not been sent on this connection. */
  get hasUnsent(): boolean {
    return this.#inflight !== undefined && this.#inflight.hasUnsent;
  }

  /** True for a Session that is told of its QoS 2 messages only once that is safe. */
  get isPromised(): boolean {
    return this.#recipient.recordNumber !== 0 && this.#context.store.isProgressPromised;
  }

  /** True when a message of `size` stored bytes may be sent now. */
  canSend(size: number): boolean {
    return this.canTake(size) && !this.hasUnsent;
  }

  /** True when a message may take its place in the window, behind what is not sent yet. */
  canTake(size: number): boolean {
    const recipient = this.#recipient;
    if (!recipient.hasRoom) return false;
    const inflight = this.#inflight;
    return inflight === undefined ||
      (inflight.hasRoomFor(size, recipient.receiveMaximum, this.#context.limits) &&
        !inflight.hasResends && !inflight.isExhausted);
  }

  /** As for `Outbox.restore`. */
  restore(owed: readonly OwedMessage[], groupOf: GroupOf): void {
    this.#inflight = restoreInflight(owed, groupOf, this.#context);
  }

  /** As for `Outbox.restart`. */
  restart(): void {
    this.#inflight?.restart();
  }

  /** Visits what is owed of the messages from `first` to below `end`, in wire order. */
  walkOwed(first: Position, end: Position, visit: (owed: OwedMessage) => void): void {
    const inflight = this.#inflight;
    inflight?.sweep((slot, packetId) => {
      const position = inflight.positionOf(slot);
      if (position < first || position >= end) return false;
      visit(owedInflight(inflight, slot, packetId, this.#context));
      return false;
    });
  }

  /** Sends the encoder's present message, whose reference is held already. */
  send(message: Message, position: Position, qos: QoS, retain: boolean, origin: DeliveryOrigin | null): void {
    const inflight = this.#inflight ??= new InflightWindow();
    const packetId = inflight.add(position, awaitingAt(qos), retain, origin, boundedSize(position, this.#context));
    this.#context.counters.messagesInflight++;
    const flags = (qos << 1) | (retain ? 1 : 0);
    if (this.#recipient.writePublish(message, flags, packetId, identifiersOf(origin))) {
      this.note(ProgressKind.SENT, position, packetId, origin);
    } else this.#complete(inflight, inflight.find(packetId), packetId);
  }

  /** Gives a message that was stored before its Packet Identifier, and sends it once that is safe. */
  promise(position: Position, retain: boolean, origin: DeliveryOrigin | null): void {
    const packetId = this.#add(position, InflightState.RESERVED, retain, origin);
    this.#waitFor(ProgressKind.SENT, position, packetId, origin);
  }

  /** Gives a message its place behind those that are not sent yet. */
  follow(position: Position, qos: QoS, retain: boolean, origin: DeliveryOrigin | null): void {
    const packetId = this.#add(position, awaitingAt(qos), retain, origin);
    this.note(ProgressKind.SENT, position, packetId, origin);
  }

  /** Gives a QoS 2 message that is being routed its Packet Identifier. */
  reserve(position: Position, retain: boolean, origin: DeliveryOrigin | null): void {
    const packetId = this.#add(position, InflightState.RESERVED, retain, origin);
    this.note(ProgressKind.SENT, position, packetId, origin);
    this.#routing++;
  }

  /** The message at a position is routed. @returns Its slot when it was reserved, for `sendReserved` or `drop`, else -1. */
  routed(position: Position): number {
    if (this.#routing === 0) return -1;
    const slot = this.#inflight!.reservedSlotOf(position);
    if (slot !== -1) this.#routing--;
    return slot;
  }

  /** Sends a reserved message, which is the encoder's present one; or it waits for what is before it, or a connection. */
  sendReserved(slot: number, message: Message): boolean {
    const recipient = this.#recipient;
    const inflight = this.#inflight!;
    if (recipient.isOnline && !recipient.mayReceive(message)) {
      this.drop(slot);
      return false;
    }
    inflight.confirm(slot);
    if (recipient.hasRoom && !inflight.hasResends && inflight.slotToSend() === slot) {
      this.#write(inflight, slot, message, 0);
    }
    return true;
  }

  /** Drops a message that has its place in the window and was not sent on this connection. */
  drop(slot: number): void {
    const inflight = this.#inflight!;
    const position = inflight.positionOf(slot);
    this.note(ProgressKind.DONE, position, inflight.packetIdOf(slot), inflight.originOf(slot));
    this.#context.counters.messagesInflight--;
    this.#context.store.release(position);
    inflight.drop(slot);
  }

  /** What was promised of a Packet Identifier is safe: PUBREL leaves, PUBLISH with the next `sendUnsent`. */
  confirm(packetId: PacketId): void {
    const inflight = this.#inflight!;
    const slot = inflight.slotOf(packetId);
    // The Session may have ended meanwhile, or the message was dropped.
    if (slot === -1) return;
    const state = inflight.stateOf(slot);
    if (state !== InflightState.RESERVED && state !== InflightState.RELEASING) return;
    inflight.confirm(slot);
    if (state === InflightState.RELEASING) this.#recipient.acknowledge(AckHeader.PUBREL, packetId, 0);
  }

  /** Sends what has its place in the window already, as far as it may leave. */
  sendUnsent(nowMs: number): void {
    const inflight = this.#inflight!;
    const recipient = this.#recipient;
    const { store, encoder, limits, events } = this.#context;
    while (inflight.hasResends) {
      const released = inflight.nextRelease();
      if (released === 0) break;
      recipient.acknowledge(AckHeader.PUBREL, released, 0);
    }
    for (let slot = inflight.slotToSend(); slot !== -1; slot = inflight.slotToSend()) {
      if (!recipient.hasRoom) return;
      const position = inflight.positionOf(slot);
      const isAgain = inflight.hasResends;
      const size = isAgain ? boundedSize(position, this.#context) : 0;
      if (isAgain && !inflight.hasRoomFor(size, recipient.receiveMaximum, limits)) return;
      if (store.read(position, UNSENT)) {
        encoder.begin(UNSENT, nowMs, 1);
        this.#write(inflight, slot, UNSENT, size);
      } else {
        events.dropped("unreadable", recipient.clientId);
        this.drop(slot);
      }
    }
  }

  /** PUBACK or PUBCOMP. @returns True when it completed a message. */
  handleLast(state: number, packetId: PacketId): boolean {
    const inflight = this.#inflight;
    const slot = inflight === undefined ? -1 : inflight.find(packetId);
    if (slot === -1 || inflight!.stateOf(slot) !== state) return false;
    this.#complete(inflight!, slot, packetId);
    return true;
  }

  /** PUBREC: PUBREL is the answer, at once or when that is safe. @returns True when the client refused, and it is over. */
  handlePubrec({ packetId, reasonCode }: AckFrame): boolean {
    const recipient = this.#recipient;
    const inflight = this.#inflight;
    const slot = inflight === undefined ? -1 : inflight.find(packetId);
    switch (slot === -1 ? InflightState.FREE : inflight!.stateOf(slot)) {
      case InflightState.AWAITING_PUBREC:
        if (reasonCode >= 0x80) {
          this.#complete(inflight!, slot, packetId);
          return true;
        }
        this.#received(inflight!, slot, packetId);
        return false;
      case InflightState.AWAITING_PUBCOMP:
        recipient.acknowledge(AckHeader.PUBREL, packetId, 0);
        return false;
      case InflightState.RELEASING:
        return false;
      default:
        if (reasonCode >= 0x80) return false;
        recipient.acknowledge(AckHeader.PUBREL, packetId, recipient.isV5 ? ReasonCode.PACKET_IDENTIFIER_NOT_FOUND : 0);
        return false;
    }
  }

  /** The part of `Outbox.surrenderShared` that was sent. @returns False when the taker had enough. */
  surrenderShared(give: Surrender): boolean {
    const inflight = this.#inflight;
    let isEnough = false;
    inflight?.sweep((slot) => {
      const origin = inflight.originOf(slot);
      if (isEnough || origin === null || origin.group === null) return false;
      if (inflight.stateOf(slot) !== InflightState.AWAITING_PUBACK) return false;
      const answer = give(inflight.positionOf(slot), origin);
      isEnough = answer === ENOUGH;
      if (answer !== true) return false;
      this.#context.counters.messagesInflight--;
      return true;
    });
    return !isEnough;
  }

  /** The part of `Outbox.discard` that was sent. */
  discard(): void {
    const { store, counters, events } = this.#context;
    const inflight = this.#inflight;
    inflight?.sweep((slot, packetId) => {
      const position = inflight.positionOf(slot);
      this.noteShared(position, packetId, inflight.originOf(slot));
      counters.messagesInflight--;
      if (!inflight.isReceived(slot)) {
        events.dropped("session_ended", this.#recipient.clientId);
        store.release(position);
      }
      return true;
    });
  }

  /** Appends a step of a delivery, if it matters. */
  note(kind: ProgressKind, position: Position, packetId: PacketId, origin: DeliveryOrigin | null): void {
    const { recordNumber } = this.#recipient;
    if (recordNumber === 0 && (origin === null || !isOwedToRecorded(origin))) return;
    this.#context.store.appendProgress(kind, recordNumber, position, packetId, origin === null ? 0 : origin.ordinal);
  }

  /** Appends that a delivery is given up, if another Session could get the message instead. */
  noteShared(position: Position, packetId: PacketId, origin: DeliveryOrigin | null): void {
    if (origin !== null && isOwedToRecorded(origin)) this.note(ProgressKind.DONE, position, packetId, origin);
  }

  /** Appends a step that is waited for. */
  #waitFor(kind: ProgressKind, position: Position, packetId: PacketId, origin: DeliveryOrigin | null): void {
    const { store, progress } = this.#context;
    const ordinal = origin === null ? 0 : origin.ordinal;
    const safeAt = store.promiseProgress(kind, this.#recipient.recordNumber, position, packetId, ordinal);
    progress.push(safeAt, this.#waiter, packetId);
  }

  #add(position: Position, state: number, retain: boolean, origin: DeliveryOrigin | null): PacketId {
    this.#context.counters.messagesInflight++;
    const inflight = this.#inflight ??= new InflightWindow();
    return inflight.reserve(position, state, retain, origin, boundedSize(position, this.#context));
  }

  /** Writes the encoder's present message. Its expiry counts no more: delivery has begun. [MQTT-4.3.3-7] */
  #write(inflight: InflightWindow, slot: number, message: Message, size: number): void {
    const qosBits = inflight.stateOf(slot) === InflightState.AWAITING_PUBACK ? 2 : 4;
    const flags = (inflight.hasResends ? DUP : 0) | qosBits | (inflight.retainOf(slot) ? 1 : 0);
    const identifiers = identifiersOf(inflight.originOf(slot));
    if (this.#recipient.writePublish(message, flags, inflight.packetIdOf(slot), identifiers)) inflight.noteSent(size);
    else this.drop(slot);
  }

  /** PUBREC came: the message is the client's, and only its Packet Identifier is left. */
  #received(inflight: InflightWindow, slot: number, packetId: PacketId): void {
    const position = inflight.positionOf(slot);
    const origin = inflight.originOf(slot);
    if (this.isPromised) {
      inflight.setReleasing(slot);
      this.#waitFor(ProgressKind.RECEIVED, position, packetId, origin);
    } else {
      inflight.setAwaitingPubcomp(slot);
      this.note(ProgressKind.RECEIVED, position, packetId, origin);
      this.#recipient.acknowledge(AckHeader.PUBREL, packetId, 0);
    }
    this.#context.store.release(position);
  }

  #complete(inflight: InflightWindow, slot: number, packetId: PacketId): void {
    const position = inflight.positionOf(slot);
    this.note(ProgressKind.DONE, position, packetId, inflight.originOf(slot));
    if (!inflight.isReceived(slot)) this.#context.store.release(position);
    inflight.complete(slot);
    this.#context.counters.messagesInflight--;
  }
}

/** What a message that is sent at a QoS waits for. */
function awaitingAt(qos: QoS): number {
  return qos === 1 ? InflightState.AWAITING_PUBACK : InflightState.AWAITING_PUBREC;
}

const DUP = 8;
/** View of the message being sent. `sendUnsent` is never nested, so one serves all Sessions. */
const UNSENT = new Message();
