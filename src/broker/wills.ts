/**
 * Will Messages: published when a connection ends without a proper goodbye, at once or after the Will Delay Interval.
 * [MQTT 5.0, 3.1.2.5 and 3.1.3.2.2]
 */
import { Message } from "../protocol/message.ts";
import type { Will } from "../protocol/packets.ts";
import type { Session } from "../session/session.ts";
import type { SessionLimits } from "../session/session_limits.ts";
import type { TopicCache } from "../topics/topic.ts";
import type { Router } from "./router.ts";
import { Timer, type TimerWheel } from "./timer_wheel.ts";

/** Keeps the Will Messages that wait for their delay. At most one per Session. */
export class Wills {
  readonly #router: Router;
  readonly #topics: TopicCache;
  readonly #wheel: TimerWheel;
  readonly #limits: SessionLimits;
  readonly #delayed = new Map<Session, { readonly will: Will; readonly timer: Timer }>();
  readonly #message = new Message();
  #bytes = 0;

  constructor(router: Router, topics: TopicCache, wheel: TimerWheel, limits: SessionLimits) {
    this.#router = router;
    this.#topics = topics;
    this.#wheel = wheel;
    this.#limits = limits;
  }

  /** False when the Will Messages of all Sessions take as much memory as they may. */
  hasRoomFor(will: Will): boolean {
    return this.#bytes + sizeOf(will) <= WILL_BYTES_MAX;
  }

  /** Sets or removes the Will Message of a Session's present connection. */
  set(session: Session, will: Will | undefined): void {
    if (session.will !== undefined) this.#bytes -= sizeOf(session.will);
    session.will = will;
    if (will !== undefined) this.#bytes += sizeOf(will);
  }

  /** The connection of a Session ended: publishes its Will Message, or lets it wait. [MQTT-3.1.2-8] */
  connectionLost(session: Session, nowMs: number): void {
    const will = session.will;
    this.set(session, undefined);
    if (will === undefined) return;
    // [MQTT-3.1.3-9] The delay ends with the Session, whichever comes first.
    const delaySeconds = Math.min(will.willDelayInterval, session.sessionExpiryInterval);
    if (delaySeconds === 0) {
      this.#publish(will, nowMs);
      return;
    }
    const timer = new Timer({
      timedOut: (firedMs) => {
        this.#delayed.delete(session);
        this.#bytes -= sizeOf(will);
        this.#publish(will, firedMs);
      },
    });
    this.#delayed.set(session, { will, timer });
    this.#bytes += sizeOf(will);
    this.#wheel.schedule(timer, nowMs + delaySeconds * 1000);
  }

  /** The client came back in time: its delayed Will Message is not published. [MQTT-3.1.3-9] */
  cancel(session: Session): void {
    const delayed = this.#delayed.get(session);
    if (delayed === undefined) return;
    this.#delayed.delete(session);
    this.#bytes -= sizeOf(delayed.will);
    this.#wheel.cancel(delayed.timer);
  }

  /** The Session ended before the delay did: its delayed Will Message is published now. */
  sessionEnded(session: Session, nowMs: number): void {
    const delayed = this.#delayed.get(session);
    if (delayed === undefined) return;
    this.cancel(session);
    this.#publish(delayed.will, nowMs);
  }

  #publish(will: Will, nowMs: number): void {
    const topic = this.#topics.intern(will.topic);
    // Checked at CONNECT; a lower limit that was configured since then refuses it now.
    if (topic === undefined || will.qos > this.#limits.qosMax) return;
    const message = this.#message;
    message.qos = will.qos;
    message.retain = will.retain && this.#limits.isRetainAvailable;
    message.setTopic(topic.utf8);
    message.setProperties(will.properties, 0, will.properties.length);
    message.setPayload(will.payload, 0, will.payload.length);
    const secondsMax = this.#limits.messageExpirySecondsMax;
    const asked = will.messageExpiryInterval ?? Infinity;
    const seconds = secondsMax > 0 ? Math.min(asked, secondsMax) : asked;
    message.expiresAtMs = seconds === Infinity ? 0 : nowMs + seconds * 1000;
    topic.messages++;
    topic.bytes += will.payload.length;
    this.#router.publish(null, message, topic, 0, nowMs);
  }
}

function sizeOf(will: Will): number {
  return will.topic.length + will.payload.length + will.properties.length;
}

/** Memory of all Will Messages together; a CONNECT that would pass it is refused. */
const WILL_BYTES_MAX = 67_108_864;
