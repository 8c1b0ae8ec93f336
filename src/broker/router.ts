/**
 * The router: what happens to an Application Message. The rule of the whole broker stands in `#settle`:
 *
 *     commit, then acknowledge, then deliver.
 *
 * A QoS 0 message that is not retained is delivered at once, straight from the read buffer, unless it would overtake a
 * retained one of its topic. Every other message is
 * appended to the store and waits; when its position is committed its publisher is acknowledged and its receivers get
 * it, in the order of positions. Acknowledgements without a message (refusals, PUBCOMP, SUBACK…) wait in the same
 * line, so they leave in the order in which their packets came. [MQTT-4.6.0-2, -3, -4]
 *
 * What a delivery waits for on its way to the client has a line of its own, settled after this one; see `outbox.ts`.
 */
import type { PacketId } from "../protocol/distinct_number.ts";
import { Message } from "../protocol/message.ts";
import type { QoS } from "../protocol/packets.ts";
import { AckHeader } from "../protocol/publish_codec.ts";
import { ReasonCode } from "../protocol/reason_codes.ts";
import type { DeliveryOrigin } from "../session/delivery_origin.ts";
import type { Session } from "../session/session.ts";
import type { SessionContext } from "../session/session_context.ts";
import { ProgressKind } from "../storage/log/record.ts";
import { STORE_FULL } from "../storage/message_store.ts";
import type { Position } from "../storage/model/stored.ts";
import { NoLocal, type Receiver } from "../topics/receiver.ts";
import type { MatchResult, SubscriptionTrie } from "../topics/subscription_trie.ts";
import type { Topic } from "../topics/topic.ts";
import { CommitQueue, Waiting, type WaitingEntry } from "./commit_queue.ts";
import { type PromisedRoom, storedSizeOf } from "./promised_room.ts";
import { OtherSource, type PublishSource } from "./publish_source.ts";
import type { RetainedMessages } from "./retained_messages.ts";
import { routeOf } from "./route_record.ts";
import type { SharedDelivery } from "./shared_delivery.ts";
import type { Turn } from "./turn.ts";

/** Somebody who reads from publishers. */
export interface Reader {
  /** May read on; called outside of any packet handling. */
  relieved(): void;
}

/** See the head of this file. */
export class Router {
  readonly #context: SessionContext;
  readonly #trie: SubscriptionTrie<Session>;
  readonly #retained: RetainedMessages;
  readonly #shared: SharedDelivery;
  readonly #turn: Turn;
  readonly #waiting = new CommitQueue();
  /** While entries are settled, and for good once that threw: the broker ends, and promises nothing more until then. */
  #isSettling = false;
  readonly #heldBack = new Set<Reader>();
  readonly #committed = new Message();
  readonly #promised: PromisedRoom;
  /** Topics of QoS 0 messages that wait for a commit, and how many: later ones must not overtake. [MQTT-4.6.0-5] */
  readonly #qos0Waiting = new Map<string, number>();

  constructor(
    context: SessionContext,
    trie: SubscriptionTrie<Session>,
    retained: RetainedMessages,
    shared: SharedDelivery,
    promised: PromisedRoom,
    turn: Turn,
  ) {
    this.#context = context;
    this.#trie = trie;
    this.#retained = retained;
    this.#shared = shared;
    this.#turn = turn;
    this.#promised = promised;
    context.store.whenCommitted((committed) => this.#settleUpTo(committed));
  }

  /**
   * Routes a message.
   *
   * @param packetId To acknowledge once committed; 0 at QoS 0 and for a source that is no client.
   */
  publish(source: PublishSource, message: Message, topic: Topic, packetId: PacketId, nowMs: number): void {
    const turn = this.#turn;
    turn.publications++;
    turn.schedule(nowMs);
    const matched = this.#trie.match(topic);
    if (message.qos === 0 && !message.retain && (this.#qos0Waiting.size === 0 || !this.#qos0Waiting.has(topic.name))) {
      this.#deliver(message, 0, matched, source, nowMs);
      return;
    }
    const publisher = source instanceof OtherSource ? null : source;
    const header = message.qos === 0 ? 0 : message.qos === 1 ? AckHeader.PUBACK : AckHeader.PUBREC;
    const promisedBytes = this.#context.limits.queueFull === "reject" && message.qos > 0 ? storedSizeOf(message) : 0;
    const promising = promisedBytes > 0 ? this.#promised.promise(matched, promisedBytes) : NOBODY;
    if (promising === undefined) {
      this.#refuse(publisher, header, packetId, "queue_full_rejected");
      return;
    }
    const hasRoom = !message.retain || message.payloadSize === 0 || this.#retained.hasRoomFor(topic.name);
    const stored = hasRoom ? this.#append(source, message, topic, matched, packetId) : STORE_FULL;
    if (stored === STORE_FULL) {
      this.#promised.fulfil(promising, promisedBytes);
      this.#refuse(publisher, header, packetId, "store_full");
      return;
    }
    if (message.qos === 0) this.#qos0Waiting.set(topic.name, (this.#qos0Waiting.get(topic.name) ?? 0) + 1);
    const { lastPosition } = this.#context.store;
    // Nobody is promised anything: what is not in the log, and what is no more than kept, waits for its turn alone.
    const mustBeSafe = message.qos > 0 && stored <= lastPosition;
    const entry = this.#push(Waiting.PUBLISH, mustBeSafe ? lastPosition : 0, source);
    entry.stored = stored;
    entry.isQos0 = message.qos === 0;
    entry.header = publisher === null ? 0 : header;
    entry.packetId = packetId;
    // [MQTT-3.4.2-1] Told to v5 publishers only; a retained message was stored, so it was not for nothing.
    const isForNobody = matched.receivers.length === 0 && matched.groups.length === 0 && !message.retain;
    entry.reasonCode = isForNobody && publisher !== null && publisher.isV5 ? ReasonCode.NO_MATCHING_SUBSCRIBERS : 0;
    entry.topic = topic;
    entry.matched = matched;
    entry.promising = promising;
    entry.promisedBytes = promisedBytes;
  }

  /** True while so much waits for its commit that what adds to it should not be read. */
  get isCongested(): boolean {
    return this.#waiting.count > WAITING_MAX || this.#context.store.isCongested;
  }

  /** True when also what adds little, as PUBREL and CONNECT do, must not get in line any more. */
  get isOverfull(): boolean {
    return this.#waiting.count > 2 * WAITING_MAX;
  }

  /**
   * Resumes a reader that stopped because of `isCongested`, once half of what waits has been settled and the store is not
   * congested either.
   */
  whenRelieved(reader: Reader): void {
    this.#heldBack.add(reader);
  }

  /** Acknowledges a packet in line with the others, after everything appended so far. */
  acknowledge(publisher: Session, header: number, packetId: PacketId, reasonCode: number): void {
    this.#acknowledgeAt(0, publisher, header, packetId, reasonCode);
  }

  /** Acknowledges a packet once `position` is committed. */
  acknowledgeWhenCommitted(
    position: Position,
    publisher: Session,
    header: number,
    packetId: PacketId,
    reasonCode: number,
  ): void {
    this.#acknowledgeAt(position, publisher, header, packetId, reasonCode);
  }

  /** Calls `run` once `position` is committed, in line with the acknowledgements. */
  runWhenCommitted(position: Position, run: (nowMs: number) => void): void {
    this.#push(Waiting.RUN, position, null).run = run;
    this.#turn.scheduleNow();
  }

  /** Makes sure that what was appended is committed, also when nobody waits for it. */
  commitSoon(): void {
    this.#turn.scheduleNow();
  }

  /** Settles what waits for nothing any more: acknowledgements that came without a record, behind none. */
  settleCommitted(): void {
    this.#settleUpTo(this.#context.store.committed);
  }

  #append(
    source: PublishSource,
    message: Message,
    topic: Topic,
    matched: MatchResult<Session>,
    packetId: PacketId,
  ): Position {
    const { store } = this.#context;
    // The broker's own numbers are new with every start.
    if (topic.isReserved) return store.appendVolatile(message);
    let route: Position = 0;
    if (message.qos > 0) {
      route = matched.route;
      if (route < 0 || (route > 0 && route < store.routesValidFrom)) route = this.#logRoute(matched);
    }
    const session = source.recordNumber;
    const position = store.append(message, session, session !== 0 && message.qos === 2 ? packetId : 0, route);
    if (message.qos === 2 && route > 0 && position !== STORE_FULL && store.isProgressPromised) {
      this.#reserve(message, position, matched, source);
    }
    return position;
  }

  /** Puts the Packet Identifiers that recorded receivers get on record with the message. */
  #reserve(message: Message, position: Position, { receivers }: MatchResult<Session>, source: PublishSource): void {
    for (let i = 0; i < receivers.length; i++) {
      const receiver = receiverFor(receivers[i]!, source);
      if (receiver === undefined || receiver.qos !== 2) continue;
      const session = receiver.subscriber;
      if (!session.isRecorded || session.isEnded) continue;
      session.outbox.reserve(position, message.retain && receiver.retainAsPublished, originOf(receiver));
    }
  }

  /** Finds out whether anybody whose Session is recorded is owed the topic's messages, and records who. */
  #logRoute(matched: MatchResult<Session>): Position {
    const { store } = this.#context;
    const route = store.isDurable ? routeOf(matched) : undefined;
    return matched.route = route === undefined ? 0 : store.appendRoute(route);
  }

  #acknowledgeAt(position: Position, publisher: Session, header: number, packetId: PacketId, reasonCode: number): void {
    const entry = this.#push(Waiting.ACKNOWLEDGE, position, publisher);
    entry.header = header;
    entry.packetId = packetId;
    // [MQTT 3.1.1, 3.3.5] v3 has no negative acknowledgement: the message is acknowledged and goes nowhere.
    entry.reasonCode = publisher.isV5 ? reasonCode : 0;
    this.#turn.scheduleNow();
  }

  #push(kind: number, position: Position, source: PublishSource | null): WaitingEntry {
    const entry = this.#waiting.push();
    entry.kind = kind;
    entry.position = position;
    entry.source = source;
    entry.sink = source === null || source instanceof OtherSource ? null : source.sink;
    return entry;
  }

  /** No room: a v5 publisher is told, a v3 one keeps its message and may send it again. */
  #refuse(
    publisher: Session | null,
    header: number,
    packetId: PacketId,
    reason: "store_full" | "queue_full_rejected",
  ): void {
    this.#context.events.dropped(reason, publisher === null ? "" : publisher.clientId);
    if (publisher === null || header === 0) return;
    if (header === AckHeader.PUBREC) publisher.inbound.release(packetId);
    if (!publisher.isV5) return;
    // In line with what its publisher waits for [MQTT-4.6.0-2]; with nothing of that, at once: the line may stand still
    // for want of space.
    if (publisher.inbound.hasSeveralUnacknowledged) {
      this.acknowledge(publisher, header, packetId, ReasonCode.QUOTA_EXCEEDED);
      return;
    }
    publisher.inbound.acknowledged(header, ReasonCode.QUOTA_EXCEEDED);
    publisher.acknowledge(header, packetId, ReasonCode.QUOTA_EXCEEDED);
  }

  #qos0Settled(topicName: string): void {
    const waiting = this.#qos0Waiting.get(topicName)!;
    if (waiting > 1) this.#qos0Waiting.set(topicName, waiting - 1);
    else this.#qos0Waiting.delete(topicName);
  }

  #settleUpTo(committed: Position): void {
    const waiting = this.#waiting;
    const { progress } = this.#context;
    let entry = this.#isSettling ? undefined : waiting.peek(committed);
    if (entry !== undefined || (!this.#isSettling && progress.isDue(committed))) {
      this.#isSettling = true;
      // Not the turn's: the commit may have taken its time, and a message may have expired meanwhile.
      const nowMs = this.#turn.clock();
      for (; entry !== undefined; entry = waiting.peek(committed)) {
        this.#settle(entry, nowMs);
        waiting.drop();
      }
      progress.settleUpTo(committed, nowMs);
      this.#isSettling = false;
    }
    if (this.#heldBack.size > 0 && waiting.count <= WAITING_MAX / 2 && !this.#context.store.isCongested) {
      this.#relieve();
    }
  }

  #relieve(): void {
    const readers = [...this.#heldBack];
    this.#heldBack.clear();
    for (const reader of readers) reader.relieved();
  }

  #settle(entry: WaitingEntry, nowMs: number): void {
    switch (entry.kind) {
      case Waiting.ACKNOWLEDGE:
        this.#writeAcknowledgement(entry);
        return;
      case Waiting.RUN:
        entry.run!(nowMs);
        return;
      default: {
        const { store } = this.#context;
        const position = entry.stored;
        const message = this.#committed;
        const matched = entry.matched!;
        this.#writeAcknowledgement(entry);
        this.#promised.fulfil(entry.promising, entry.promisedBytes);
        if (entry.isQos0) this.#qos0Settled(entry.topic!.name);
        if (!store.read(position, message)) {
          this.#unreadable(matched, position, entry.isQos0);
          store.release(position);
          return;
        }
        if (message.retain) this.#retained.apply(entry.topic!.name, position, message.payloadSize);
        if (!message.isExpired(nowMs)) this.#deliver(message, position, matched, entry.source!, nowMs);
        else this.#expired(position, matched);
        store.release(position);
      }
    }
  }

  #expired(position: Position, { receivers, groups }: MatchResult<Session>): void {
    const { events } = this.#context;
    for (const { subscriber } of receivers) {
      events.dropped("expired", subscriber.clientId);
      subscriber.outbox.dropReserved(position);
    }
    for (let count = groups.length; count > 0; count--) events.dropped("expired", "");
  }

  /** It left memory before it was settled, and cannot be read back: nobody is owed it any more. */
  #unreadable({ receivers, groups }: MatchResult<Session>, position: Position, isQos0: boolean): void {
    const { events, store } = this.#context;
    for (const { subscriber: { clientId, recordNumber, outbox } } of receivers) {
      events.dropped("unreadable", clientId);
      if (outbox.dropReserved(position) || recordNumber === 0 || isQos0) continue;
      store.appendProgress(ProgressKind.DONE, recordNumber, position, 0, 0);
    }
    for (let i = 0; i < groups.length; i++) this.#shared.lose(groups[i]!, isQos0 ? 0 : i + 1, position);
  }

  #writeAcknowledgement(entry: WaitingEntry): void {
    const { source: publisher, header, reasonCode } = entry;
    if (header === 0 || publisher === null || publisher instanceof OtherSource || publisher.sink !== entry.sink) return;
    publisher.inbound.acknowledged(header, reasonCode);
    publisher.acknowledge(header, entry.packetId, reasonCode);
  }

  #deliver(
    message: Message,
    position: Position,
    matched: MatchResult<Session>,
    source: PublishSource,
    nowMs: number,
  ): void {
    const { receivers, groups } = matched;
    const count = receivers.length;
    if (count + groups.length === 0) return;
    this.#context.encoder.begin(message, nowMs, count + groups.length);
    for (let i = 0; i < count; i++) {
      const receiver = receiverFor(receivers[i]!, source);
      if (receiver !== undefined) deliverTo(receiver, message, position);
    }
    for (let i = 0; i < groups.length; i++) this.#shared.deliver(groups[i]!, i + 1, message, position);
  }
}

/** What a receiver is owed of a source's messages; undefined = nothing. [MQTT-3.8.3-3] */
function receiverFor(receiver: Receiver<Session>, source: PublishSource): Receiver<Session> | undefined {
  // By Client Identifier: a publisher may have come back with a new Session before its message was committed.
  if (receiver.noLocal === NoLocal.NONE || receiver.subscriber.clientId !== source.clientId) return receiver;
  return receiver.local;
}

function deliverTo(receiver: Receiver<Session>, message: Message, position: Position): void {
  const session = receiver.subscriber;
  if (session.isEnded) return;
  // [MQTT-3.3.1-12, -13]
  const retain = message.retain && receiver.retainAsPublished;
  const qos = (message.qos < receiver.qos ? message.qos : receiver.qos) as QoS;
  if (qos === 0) session.deliverOnce(message, retain, receiver.identifiers);
  else session.outbox.deliverStored(message, position, qos, retain, originOf(receiver));
}

function originOf(receiver: Receiver<Session>): DeliveryOrigin | null {
  return receiver.identifiers.length === 0 ? null : { identifiers: receiver.identifiers, group: null, ordinal: 0 };
}

const NOBODY: readonly Session[] = [];
/**
 * Entries that may wait for a commit before what adds to them is not read any more, about 30 MB; as many again for the
 * answers that go on being given.
 */
const WAITING_MAX = 262_144;
