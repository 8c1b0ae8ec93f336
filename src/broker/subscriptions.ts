/**
 * SUBSCRIBE and UNSUBSCRIBE: what is granted, what the trie learns, and the Retained Messages that follow.
 * [MQTT 5.0, 3.8 to 3.11]
 *
 * The subscription takes effect at once. SUBACK and UNSUBACK wait in line with the acknowledgements, and for their
 * record when the Session outlives its connection. Retained Messages follow SUBACK: a retained message that came before
 * the subscription has then been stored, one that came after it is delivered as any other. That a recorded Session is
 * owed one is itself recorded, before the message is sent: no route gave it.
 */
import { encodeSuback, encodeUnsuback } from "../protocol/codec_encode.ts";
import type { Message } from "../protocol/message.ts";
import {
  Fault,
  type QoS,
  type SubscribePacket,
  type SubscriptionRequest,
  type UnsubscribePacket,
} from "../protocol/packets.ts";
import { NO_IDENTIFIERS } from "../protocol/publish_encoder.ts";
import { ReasonCode } from "../protocol/reason_codes.ts";
import { type DeliveryOrigin, identifiersOf } from "../session/delivery_origin.ts";
import type { Session } from "../session/session.ts";
import { STORE_FULL } from "../storage/message_store.ts";
import type { Position, Route, StoredSubscription } from "../storage/model/stored.ts";
import { ALL_PERMITTED } from "../topics/permissions.ts";
import type { Subscription } from "../topics/subscription.ts";
import type { SubscriptionTrie } from "../topics/subscription_trie.ts";
import {
  hasWildcard,
  isSharedFilter,
  parseSharedFilter,
  type TopicLimits,
  validateTopicFilter,
} from "../topics/topic_rules.ts";
import type { BrokerContext } from "./broker_events.ts";
import type { RetainedMessages } from "./retained_messages.ts";
import type { Router } from "./router.ts";
import type { SharedDelivery } from "./shared_delivery.ts";

/** See the head of this file. */
export class Subscriptions {
  readonly #context: BrokerContext;
  readonly #trie: SubscriptionTrie<Session>;
  readonly #retained: RetainedMessages;
  readonly #router: Router;
  readonly #shared: SharedDelivery;
  readonly #topicLimits: TopicLimits;
  /** Characters of the filters of each Session that has any. */
  readonly #filterChars = new Map<Session, number>();

  constructor(
    context: BrokerContext,
    trie: SubscriptionTrie<Session>,
    retained: RetainedMessages,
    router: Router,
    shared: SharedDelivery,
    topicLimits: TopicLimits,
  ) {
    this.#context = context;
    this.#trie = trie;
    this.#retained = retained;
    this.#router = router;
    this.#shared = shared;
    this.#topicLimits = topicLimits;
  }

  /** Handles SUBSCRIBE. [MQTT-3.8.4-1, -5, -6] */
  subscribe(session: Session, packet: SubscribePacket): void {
    const codes: number[] = [];
    // By filter: one that stands in the packet twice gets its Retained Messages once.
    const wantRetained = new Map<string, Subscription<Session>>();
    let position: Position = 0;
    for (const request of packet.subscriptions) {
      const { filter } = splitFilter(request.filter);
      const refusal = codes.length < FILTERS_PER_PACKET_MAX
        ? this.#refusalOf(session, request, filter)
        : ReasonCode.QUOTA_EXCEEDED;
      const qos = refusal === undefined
        ? session.permissions.grantedQos(filter, Math.min(request.qos, this.#context.limits.qosMax) as QoS)
        : undefined;
      if (qos === undefined) {
        codes.push(refusal ?? ReasonCode.NOT_AUTHORIZED);
        continue;
      }
      const subscription = grant(session, request, qos, packet.subscriptionIdentifier);
      this.#sharedChanges(session, request.filter);
      const isNew = this.#add(session, request.filter, subscription);
      codes.push(subscription.qos);
      const handling = request.retainHandling;
      // [MQTT-3.3.1-9, -10, -11]; a Shared Subscription gets no Retained Messages. [MQTT 5.0, 4.8.2]
      if (subscription.group === "" && (handling === 0 || (handling === 1 && isNew))) {
        wantRetained.set(subscription.filter, subscription);
      }
      if (session.isRecorded) position = this.#record(session, request.filter, subscription);
    }
    const hasJoinedGroup = packet.subscriptions.some((request) => isSharedFilter(request.filter));
    this.#whenCommitted(session, position, (nowMs) => {
      this.#send(session, encodeSuback(session.version, packet.packetId, codes));
      // SUBACK may have been too large for the client, which ended the connection.
      if (session.sink === null) return;
      if (wantRetained.size > 0) this.#sendAllRetained(session, wantRetained.values(), nowMs);
      if (hasJoinedGroup) this.#shared.memberOnline(session, nowMs);
    });
  }

  /** Handles UNSUBSCRIBE. [MQTT-3.10.4-4] */
  unsubscribe(session: Session, packet: UnsubscribePacket): void {
    const codes: number[] = [];
    let position: Position = 0;
    for (const filter of packet.filters) {
      this.#sharedChanges(session, filter);
      const dropped = this.#drop(session, filter);
      codes.push(dropped === undefined ? this.#unsubscribeFailure(filter) : ReasonCode.SUCCESS);
      position = dropped || position;
    }
    this.#whenCommitted(session, position, () => {
      this.#send(session, encodeUnsuback(session.version, packet.packetId, codes));
    });
  }

  /** Takes up a subscription from before the start. What was granted then counts, whatever the limits are now. */
  restore(session: Session, stored: StoredSubscription): void {
    const { filter: fullFilter, ...options } = stored;
    this.#add(session, fullFilter, { subscriber: session, ...splitFilter(fullFilter), ...options });
  }

  /**
   * Takes from a Session that is resumed what the client may not have any more: rules have changed, or it came with a
   * narrower token. What waits for it is checked when it is sent. O(subscriptions).
   */
  narrow(session: Session): void {
    const { permissions } = session;
    session.recheckQueue();
    if (permissions === ALL_PERMITTED) return;
    for (const [fullFilter, subscription] of [...session.subscriptions]) {
      const qos = permissions.grantedQos(subscription.filter, subscription.qos);
      if (qos === subscription.qos) continue;
      this.#sharedChanges(session, fullFilter);
      if (qos === undefined) this.#drop(session, fullFilter);
      else {
        const lowered = { ...subscription, qos };
        this.#add(session, fullFilter, lowered);
        if (session.isRecorded) this.#record(session, fullFilter, lowered);
      }
    }
  }

  /** Removes all subscriptions of a Session that ends. */
  removeAll(session: Session): void {
    for (const subscription of session.subscriptions.values()) {
      this.#trie.remove(session, subscription.filter, subscription.group);
    }
    session.subscriptions.clear();
    this.#filterChars.delete(session);
    this.#context.counters.subscriptions = this.#trie.size;
  }

  /** What speaks against a request, permissions apart. */
  #refusalOf(session: Session, request: SubscriptionRequest, filter: string): number | undefined {
    const { limits } = this.#context;
    if (validateTopicFilter(request.filter, this.#topicLimits) !== undefined) return ReasonCode.TOPIC_FILTER_INVALID;
    if (!limits.isSharedAvailable && isSharedFilter(request.filter)) {
      return ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED;
    }
    if (!limits.isWildcardAvailable && hasWildcard(filter)) return ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED;
    if (!this.#trie.hasRoomFor(filter)) return ReasonCode.QUOTA_EXCEEDED;
    // One that is known already may be asked for again: clients do that before they take what waits for them.
    if (session.subscriptions.has(request.filter)) return undefined;
    const hasAll = limits.subscriptionsMax > 0 && session.subscriptions.size >= limits.subscriptionsMax;
    const isLong = (this.#filterChars.get(session) ?? 0) + request.filter.length > FILTER_CHARS_MAX;
    return hasAll || isLong || (session.isRecorded && this.#context.store.isFull)
      ? ReasonCode.QUOTA_EXCEEDED
      : undefined;
  }

  #record(session: Session, filter: string, subscription: Subscription<Session>): Position {
    const { qos, noLocal, retainAsPublished, retainHandling, subscriptionIdentifier } = subscription;
    return this.#context.store.appendSessionChange({
      kind: "subscribe",
      session: session.recordNumber,
      subscription: { filter, qos, noLocal, retainAsPublished, retainHandling, subscriptionIdentifier },
    });
  }

  /** Returns true when the Session had no subscription to this filter. [MQTT-3.8.4-3] */
  #add(session: Session, fullFilter: string, subscription: Subscription<Session>): boolean {
    const replaced = this.#trie.add(subscription);
    if (!session.subscriptions.has(fullFilter)) this.#countChars(session, fullFilter.length);
    session.subscriptions.set(fullFilter, subscription);
    this.#context.counters.subscriptions = this.#trie.size;
    this.#context.events.subscribed(session, fullFilter, subscription.qos);
    return replaced === undefined;
  }

  #countChars(session: Session, change: number): void {
    this.#filterChars.set(session, (this.#filterChars.get(session) ?? 0) + change);
  }

  #sharedChanges(session: Session, fullFilter: string): void {
    const subscription = session.subscriptions.get(fullFilter);
    if (subscription === undefined || subscription.group === "") return;
    this.#shared.memberChanges(session, subscription.group, subscription.filter);
  }

  /** Removes a subscription. @returns Position of its record, 0 = none; undefined when there is no such subscription. */
  #drop(session: Session, fullFilter: string): Position | undefined {
    const subscription = session.subscriptions.get(fullFilter);
    if (subscription === undefined) return undefined;
    session.subscriptions.delete(fullFilter);
    this.#countChars(session, -fullFilter.length);
    this.#trie.remove(session, subscription.filter, subscription.group);
    this.#context.counters.subscriptions = this.#trie.size;
    this.#context.events.unsubscribed(session, fullFilter);
    if (!session.isRecorded) return 0;
    const change = { kind: "unsubscribe", session: session.recordNumber, filter: fullFilter } as const;
    return this.#context.store.appendSessionChange(change);
  }

  #unsubscribeFailure(filter: string): number {
    return validateTopicFilter(filter, this.#topicLimits) === undefined
      ? ReasonCode.NO_SUBSCRIPTION_EXISTED
      : ReasonCode.TOPIC_FILTER_INVALID;
  }

  #whenCommitted(session: Session, position: Position, finish: (nowMs: number) => void): void {
    const sink = session.sink;
    this.#router.runWhenCommitted(position, (nowMs) => {
      if (session.sink === sink) finish(nowMs);
    });
  }

  #sendAllRetained(session: Session, subscriptions: Iterable<Subscription<Session>>, nowMs: number): void {
    const owed = new Set<Position>();
    const unreadable = () => this.#context.events.dropped("unreadable", session.clientId);
    if (session.isRecorded) session.outbox.walkOwed(0, Infinity, ({ position }) => owed.add(position));
    for (const subscription of subscriptions) {
      const identifier = subscription.subscriptionIdentifier;
      const identifiers = identifier === 0 ? NO_IDENTIFIERS : [identifier];
      const origin = identifier === 0 ? null : { identifiers, group: null, ordinal: 0 };
      this.#retained.match(subscription.filter, nowMs, (message, position) => {
        this.#sendOneRetained(session, subscription.qos, message, position, origin, owed, nowMs);
      }, unreadable);
    }
  }

  #sendOneRetained(
    session: Session,
    granted: QoS,
    message: Message,
    retained: Position,
    origin: DeliveryOrigin | null,
    owed: Set<Position>,
    nowMs: number,
  ): void {
    const { store, encoder, events } = this.#context;
    if (session.outbox.isQueueFullFor(store.sizeOf(retained))) {
      // Whatever the policy: a Retained Message can be asked for again, what waits cannot.
      events.dropped("queue_full_newest", session.clientId);
      return;
    }
    const qos = Math.min(message.qos, granted) as QoS;
    encoder.begin(message, nowMs, 1);
    if (qos === 0 && session.outbox.canSendNow) return session.deliverOnce(message, true, identifiersOf(origin));
    const copy = session.isRecorded && owed.has(retained) ? this.#copy(message) : STORE_FULL;
    const position = copy === STORE_FULL ? retained : copy;
    if (session.isRecorded) {
      owed.add(position);
      const flags = qos | RETAIN_FLAG;
      const identifiers = identifiersOf(origin);
      store.appendSessionChange({ kind: "owe", session: session.recordNumber, position, flags, identifiers });
    }
    if (qos > 0) session.outbox.deliverStored(message, position, qos, true, origin);
    // Unlike a live message, a retained one would not come again: it waits for room.
    else session.outbox.enqueue(position, RETAIN_FLAG, origin);
    if (copy !== STORE_FULL) store.release(copy);
  }

  /**
   * Stores a Retained Message once more, for a recorded Session that is owed it already: the store knows what is owed by
   * its position, and could not tell the two deliveries apart after a crash. As it is not to be retained anew, a route
   * that leads to nobody keeps it in the log.
   */
  #copy(message: Message): Position {
    const { store } = this.#context;
    const route = store.appendRoute(NOBODY);
    message.retain = false;
    const position = store.append(message, 0, 0, route);
    message.retain = true;
    return position;
  }

  #send(session: Session, packet: Uint8Array): void {
    const sink = session.sink;
    if (sink === null || !sink.isOpen) return;
    // [MQTT-3.1.2-24] What the client cannot take must not be sent, and it cannot go on without it.
    if (packet.length > session.packetBytesMax) return sink.disconnect(ReasonCode.PACKET_TOO_LARGE);
    sink.out.append(packet);
    this.#context.counters.packetsSent++;
    if (!sink.isTouched) sink.touch();
  }
}

function grant(
  session: Session,
  request: SubscriptionRequest,
  qos: QoS,
  identifier: number,
): Subscription<Session> {
  const { noLocal, retainAsPublished, retainHandling } = request;
  const split = splitFilter(request.filter);
  return {
    subscriber: session,
    ...split,
    qos,
    noLocal,
    retainAsPublished,
    retainHandling,
    subscriptionIdentifier: identifier,
  };
}

function splitFilter(fullFilter: string): { readonly group: string; readonly filter: string } {
  if (!isSharedFilter(fullFilter)) return { group: "", filter: fullFilter };
  const shared = parseSharedFilter(fullFilter);
  return shared instanceof Fault ? { group: "", filter: fullFilter } : shared;
}

/** Characters of all filters of one Session: 256 for each of `limits.subscriptions-per-client`. */
const FILTER_CHARS_MAX = 16_777_216;
/** Filters of one SUBSCRIBE that are granted; the rest of the packet is told 0x97 and may be sent again. */
const FILTERS_PER_PACKET_MAX = 16_384;
const NOBODY: Route = { receivers: [], groups: [] };
/** RETAIN in the flags of a queue entry. */
const RETAIN_FLAG = 4;
