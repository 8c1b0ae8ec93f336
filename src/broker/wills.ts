/**
 * Will Messages: published when a connection ends without a proper goodbye, at once or after the Will Delay Interval.
 * [MQTT 5.0, 3.1.2.5 and 3.1.3.2.2]
 *
 * A client has one Will Message at most: that of its connection, or one that waits for its delay. A store that outlives
 * the process is told of every change by `#record`, which compares what is with what was recorded last. So a Will Message
 * may be recorded before its connection is accepted (`announce`), and whatever comes of that is put right.
 *
 * An orderly stop announces nobody as gone: the clients are there, it is the broker that leaves. What their connections had
 * stays on record, and the next start publishes it as after a crash, unless the client returns within the delay.
 */
import { Message } from "../protocol/message.ts";
import type { Will } from "../protocol/packets.ts";
import type { Session } from "../session/session.ts";
import type { SessionContext } from "../session/session_context.ts";
import type { SessionChange } from "../storage/model/stored.ts";
import { ALL_PERMITTED, type Permissions } from "../topics/permissions.ts";
import type { TopicCache } from "../topics/topic.ts";
import { WILL } from "./publish_source.ts";
import type { Router } from "./router.ts";
import { Timer, type TimerWheel } from "./timer_wheel.ts";
import { storedWillOf } from "./will_record.ts";

/** A Will Message that waits for its delay. */
interface Delayed {
  readonly will: Will;
  readonly dueMs: number;
  readonly timer: Timer;
}

/** Keeps the Will Messages that wait for their delay. At most one per Session. */
export class Wills {
  readonly #router: Router;
  readonly #topics: TopicCache;
  readonly #wheel: TimerWheel;
  readonly #context: SessionContext;
  /** Will Messages of present connections, until they are published or removed. */
  readonly #held = new Map<Session, Will>();
  readonly #delayed = new Map<Session, Delayed>();
  /** What the store knows, by Client Identifier: the Will Message of a connection, or one that is delayed. */
  readonly #recorded = new Map<string, Will | Delayed>();
  /** Will Messages that an orderly stop left on record, by Client Identifier. */
  readonly deferred = new Map<string, Will>();
  #isDeferring = false;
  readonly #message = new Message();
  #bytes = 0;

  constructor(router: Router, topics: TopicCache, wheel: TimerWheel, context: SessionContext) {
    this.#router = router;
    this.#topics = topics;
    this.#wheel = wheel;
    this.#context = context;
  }

  /** False when the Will Messages of all Sessions take as much memory as they may. */
  hasRoomFor(will: Will): boolean {
    return this.#bytes + sizeOf(will) <= WILL_BYTES_MAX;
  }

  /** Records the Will Message of a connection that is about to be accepted; `set` or `correct` follows. */
  announce(session: Session, will: Will): void {
    this.#record(session.clientId, will);
  }

  /** Makes the records say the truth again, after a CONNECT that was given up. */
  correct(session: Session): void {
    this.#record(session.clientId, this.of(session));
  }

  /** Sets or removes the Will Message of a Session's present connection. */
  set(session: Session, will: Will | undefined): void {
    this.#hold(session, will);
    this.correct(session);
  }

  /** Takes up the Will Message of a connection that a restart ended; `connectionLost` follows. */
  restore(session: Session, will: Will): void {
    this.#recorded.set(session.clientId, will);
    this.#hold(session, will);
  }

  /** Takes up a Will Message that waited for its delay at a restart. */
  restoreDelayed(session: Session, will: Will, dueMs: number): void {
    this.#recorded.set(session.clientId, this.#delay(session, will, dueMs));
  }

  /** Publishes the Will Message of a client whose Session a restart ended. */
  publishLeft(clientId: string, will: Will, nowMs: number): void {
    this.#recorded.set(clientId, will);
    this.#publish(clientId, will, ALL_PERMITTED, nowMs);
    this.#record(clientId, undefined);
  }

  /** The broker stops: Will Messages of connections that end from now on are left to the next start. */
  defer(): void {
    this.#isDeferring = true;
  }

  /** The connection of a Session ended: publishes its Will Message, or lets it wait. [MQTT-3.1.2-8] */
  connectionLost(session: Session, nowMs: number): void {
    const will = this.#held.get(session);
    if (will === undefined) return;
    this.#hold(session, undefined);
    if (this.#isDeferring) {
      this.deferred.set(session.clientId, will);
      return;
    }
    // [MQTT-3.1.3-9] The delay ends with the Session, whichever comes first.
    const delaySeconds = Math.min(will.willDelayInterval, session.sessionExpiryInterval);
    if (delaySeconds === 0) this.#publish(session.clientId, will, session.permissions, nowMs);
    else this.#delay(session, will, nowMs + delaySeconds * 1000);
    this.correct(session);
  }

  /** The client came back in time: its delayed Will Message is not published. [MQTT-3.1.3-9] */
  cancel(session: Session): void {
    const delayed = this.#delayed.get(session);
    if (delayed === undefined) return;
    this.#forget(session, delayed);
    this.correct(session);
  }

  /** The Session ended before the delay did: its delayed Will Message is published now. */
  sessionEnded(session: Session, nowMs: number): void {
    const delayed = this.#delayed.get(session);
    if (delayed === undefined) return;
    this.#forget(session, delayed);
    this.#publish(session.clientId, delayed.will, session.permissions, nowMs);
    this.correct(session);
  }

  /** The Will Message that a client has: that of its connection, or one that waits for its delay or the next start. */
  of(session: Session): Will | Delayed | undefined {
    return this.#delayed.get(session) ?? this.#held.get(session) ?? this.deferred.get(session.clientId);
  }

  #hold(session: Session, will: Will | undefined): void {
    const held = this.#held.get(session);
    if (held !== undefined) this.#bytes -= sizeOf(held);
    if (will === undefined) this.#held.delete(session);
    else {
      this.#held.set(session, will);
      this.#bytes += sizeOf(will);
    }
  }

  #delay(session: Session, will: Will, dueMs: number): Delayed {
    const timer = new Timer({ timedOut: (firedMs) => this.sessionEnded(session, firedMs) });
    const delayed = { will, dueMs, timer };
    this.#delayed.set(session, delayed);
    this.#bytes += sizeOf(will);
    this.#wheel.schedule(timer, dueMs);
    return delayed;
  }

  #forget(session: Session, delayed: Delayed): void {
    this.#delayed.delete(session);
    this.#bytes -= sizeOf(delayed.will);
    this.#wheel.cancel(delayed.timer);
  }

  /** Everything was checked at CONNECT; a limit or a rule that has changed since then refuses it now. */
  #publish(clientId: string, will: Will, permissions: Permissions, nowMs: number): void {
    const { limits } = this.#context;
    const topic = this.#topics.intern(will.topic);
    if (topic === undefined || will.qos > limits.qosMax) return;
    if (!permissions.mayPublish(topic, will.qos, will.retain)) {
      this.#context.events.dropped("not_authorized", clientId);
      return;
    }
    const message = this.#message;
    message.qos = will.qos;
    message.retain = will.retain && limits.isRetainAvailable;
    message.setTopic(topic.utf8);
    message.setProperties(will.properties, 0, will.properties.length);
    message.setPayload(will.payload, 0, will.payload.length);
    const secondsMax = limits.messageExpirySecondsMax;
    const asked = will.messageExpiryInterval ?? Infinity;
    const seconds = secondsMax > 0 ? Math.min(asked, secondsMax) : asked;
    message.expiresAtMs = seconds === Infinity ? 0 : nowMs + seconds * 1000;
    topic.messages++;
    topic.bytes += will.payload.length;
    this.#router.publish(WILL, message, topic, 0, nowMs);
  }

  /** After a publication, so that the log holds the message before it forgets that the message is to come. */
  #record(clientId: string, truth: Will | Delayed | undefined): void {
    if (!this.#context.store.isDurable || truth === this.#recorded.get(clientId)) return;
    if (truth === undefined) this.#recorded.delete(clientId);
    else this.#recorded.set(clientId, truth);
    this.#context.store.appendSessionChange(changeOf(clientId, truth));
    this.#router.commitSoon();
  }
}

function changeOf(clientId: string, truth: Will | Delayed | undefined): SessionChange {
  if (truth === undefined) return { kind: "will-over", clientId };
  if (!("dueMs" in truth)) return { kind: "will", clientId, will: storedWillOf(truth) };
  return { kind: "will-delayed", clientId, will: storedWillOf(truth.will), dueMs: truth.dueMs };
}

function sizeOf(will: Will): number {
  return will.topic.length + will.payload.length + will.properties.length;
}

/** Memory of all Will Messages together; a CONNECT that would pass it is refused. */
const WILL_BYTES_MAX = 67_108_864;
