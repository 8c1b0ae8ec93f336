/**
 * The broker without its surroundings: all plain parts, put together. No clock, no socket, no Effect.
 *
 * `broker.ts` wraps it in a Layer and gives it time; `listeners/` gives it bytes; tests drive it with neither. It is
 * also the one implementation of `SessionHost`: what the packet handler asks for is passed on to the part that owns it.
 */
import type { Authenticator } from "../auth/identity/authenticator.ts";
import type { Authorizer } from "../auth/identity/authorizer.ts";
import type { LogWriter } from "../logging/log.ts";
import type { Counters } from "../metrics/counters.ts";
import type { PacketId } from "../protocol/distinct_number.ts";
import type { Message } from "../protocol/message.ts";
import type { AuthPacket, DisconnectPacket, Fault, SubscribePacket, UnsubscribePacket } from "../protocol/packets.ts";
import { AckHeader } from "../protocol/publish_codec.ts";
import { PublishEncoder } from "../protocol/publish_encoder.ts";
import { PacketHandler } from "../session/packet_handler.ts";
import { ProgressLine } from "../session/progress_line.ts";
import type { Session } from "../session/session.ts";
import type { SessionHost } from "../session/session_host.ts";
import type { SessionLimits } from "../session/session_limits.ts";
import type { MessageStore } from "../storage/message_store.ts";
import type { OwedMessage, OwedWalk } from "../storage/model/durable_state.ts";
import type { Position, SessionNumber } from "../storage/model/stored.ts";
import { SubscriptionTrie } from "../topics/subscription_trie.ts";
import type { Topic, TopicCache } from "../topics/topic.ts";
import { Admission, type Guards } from "./admission.ts";
import { Authentication } from "./authentication.ts";
import { type BrokerContext, type BrokerEvents, EventPair } from "./broker_events.ts";
import { CountedEvents } from "./counted_events.ts";
import { MemoryPressure } from "./memory_pressure.ts";
import { walkOwed } from "./owed_walk.ts";
import { PromisedRoom } from "./promised_room.ts";
import { restore } from "./restore.ts";
import { RetainedMessages } from "./retained_messages.ts";
import { Router } from "./router.ts";
import { SessionManager } from "./session_manager.ts";
import { SessionRecords } from "./session_records.ts";
import { SharedDelivery } from "./shared_delivery.ts";
import { Subscriptions } from "./subscriptions.ts";
import { TimerWheel } from "./timer_wheel.ts";
import { Turn } from "./turn.ts";
import { Wills } from "./wills.ts";

/** What the core needs from outside. */
export interface BrokerSurroundings {
  readonly store: MessageStore["Service"];
  readonly counters: Counters;
  readonly limits: SessionLimits;
  readonly authenticator: Authenticator["Service"];
  readonly authorizer: Authorizer["Service"];
  readonly guards: Guards;
  readonly log: LogWriter;
  /** Its limits are the caller's to set, before and later. */
  readonly topics: TopicCache;
  /** Most connections at once; read with every CONNECT. */
  readonly connectionsMax: () => number;
  /** Broker time in milliseconds, never going back; may have fractions. See `system/clock.ts`. */
  readonly clock: () => number;
  /** Wall time minus broker time in milliseconds, for what is compared with the world. */
  readonly wallOffsetMs: () => number;
  /** See `Turn`. */
  readonly defer: (end: () => void) => void;
  /** A Client Identifier nobody else has. */
  readonly newClientId: () => string;
}

/** See the head of this file. */
export class BrokerCore implements SessionHost, OwedWalk {
  readonly turn: Turn;
  readonly wheel: TimerWheel;
  readonly topics: TopicCache;
  readonly trie = new SubscriptionTrie<Session>();
  readonly router: Router;
  readonly sessions: SessionManager;
  readonly retained: RetainedMessages;
  readonly wills: Wills;
  readonly handler: PacketHandler;
  readonly authentication: Authentication;
  readonly memory = new MemoryPressure();
  readonly counters: Counters;
  readonly limits: SessionLimits;
  readonly log: LogWriter;
  readonly clock: () => number;
  readonly #context: BrokerContext;
  readonly #admission: Admission;
  readonly #subscriptions: Subscriptions;
  readonly #store: MessageStore["Service"];

  /** Takes up what the store recovered, before anybody connects. */
  constructor(surroundings: BrokerSurroundings) {
    const { store, counters, limits, authorizer, clock, wallOffsetMs, topics } = surroundings;
    const events = new CountedEvents(counters);
    const turn = new Turn(surroundings.defer, () => this.#commit(), (ended) => this.#turnEnded(ended), clock);
    const progress = new ProgressLine(() => turn.scheduleNow());
    const context: BrokerContext = { store, counters, limits, encoder: new PublishEncoder(), progress, events };
    this.turn = turn;
    this.#context = context;
    this.counters = counters;
    this.limits = limits;
    this.log = surroundings.log;
    this.clock = clock;
    this.topics = topics;
    this.#store = store;
    this.wheel = new TimerWheel(clock());
    const retained = new RetainedMessages(store, counters);
    const promised = new PromisedRoom(limits);
    const shared = new SharedDelivery(context, this.trie, promised, this.wheel);
    this.router = new Router(context, this.trie, retained, shared, promised, this.turn);
    const { authenticator, guards } = surroundings;
    this.authentication = new Authentication(authenticator, (of, identity) => this.sessions.renewed(of, identity));
    const subscriptions = new Subscriptions(context, this.trie, retained, this.router, shared, topics);
    this.#subscriptions = subscriptions;
    const wills = new Wills(this.router, topics, this.wheel, context);
    this.retained = retained;
    this.wills = wills;
    const { authentication, memory, wheel, log } = this;
    this.#admission = new Admission({ authentication, authorizer, guards, memory, topics, wheel, wallOffsetMs, log });
    this.sessions = new SessionManager({
      context,
      topics,
      router: this.router,
      records: new SessionRecords(store, this.router),
      shared,
      subscriptions,
      wills,
      wheel,
      wallOffsetMs,
      admission: this.#admission,
      authentication,
      authorizer,
      log,
      connectionsMax: surroundings.connectionsMax,
      newClientId: surroundings.newClientId,
    });
    this.handler = new PacketHandler(context, topics, this);
    store.setOwedWalk(this);
    const { trie, sessions } = this;
    const recovered = store.takeRecovered();
    if (recovered === undefined) return;
    restore(recovered, { context, trie, sessions, subscriptions, retained, shared, wills }, clock());
  }

  /** Tells another listener all events from now on. What the start restored was told before. */
  listen(listener: BrokerEvents): void {
    this.#context.events = new EventPair(this.#context.events, listener);
  }

  /** True when connections from the address need not even be listened to. */
  isBannedAddress(address: string, nowMs: number): boolean {
    return this.#admission.isBanned({ clientId: "", username: undefined, address }, nowMs);
  }

  publish(publisher: Session, message: Message, topic: Topic, packetId: PacketId, nowMs: number): void {
    this.router.publish(publisher, message, topic, packetId, nowMs);
  }

  acknowledge(publisher: Session, header: number, packetId: PacketId, reasonCode: number): void {
    this.router.acknowledge(publisher, header, packetId, reasonCode);
  }

  release(publisher: Session, packetId: PacketId, reasonCode: number): void {
    const position = publisher.isRecorded ? this.#store.appendRelease(publisher.recordNumber, packetId) : 0;
    this.router.acknowledgeWhenCommitted(position, publisher, AckHeader.PUBCOMP, packetId, reasonCode);
  }

  subscribe(session: Session, packet: SubscribePacket): void {
    this.#subscriptions.subscribe(session, packet);
  }

  unsubscribe(session: Session, packet: UnsubscribePacket): void {
    this.#subscriptions.unsubscribe(session, packet);
  }

  disconnected(session: Session, packet: DisconnectPacket): Fault | undefined {
    return this.sessions.disconnected(session, packet.reasonCode, packet.sessionExpiryInterval);
  }

  authenticate(session: Session, packet: AuthPacket): Fault | undefined {
    return this.authentication.reauthenticate(session, packet);
  }

  walkOwed(first: Position, end: Position, visit: (session: SessionNumber, owed: OwedMessage) => void): Iterable<void> {
    return walkOwed([...this.sessions.sessions.values()], this.trie, first, end, visit);
  }

  /** Until nothing new was appended: deliveries are on record before their packets leave. */
  #commit(): void {
    const store = this.#store;
    let written: Position;
    do {
      written = store.lastPosition;
      store.commit();
      this.router.settleCommitted();
    } while (store.lastPosition !== written);
  }

  #turnEnded(turn: Turn): void {
    if (turn.publications === 0) return;
    const microseconds = Math.max(0, (this.clock() - turn.startedMs) * 1000);
    this.counters.messageProcessingLatencyMicroseconds.observeMany(microseconds, turn.publications);
    turn.publications = 0;
  }
}
