/**
 * The vocabulary of subscribing: who subscribes, and with which Subscription Options.
 *
 * These are the values that the session and the broker hand to the trie. What the trie answers with is a `Receiver`
 * (see `receiver.ts`): one subscriber may hold several subscriptions that match the same Topic Name.
 */

import type { QoS } from "../protocol/packets.ts";

/** What a subscription points at; in the broker, a session. Subscribers are told apart by object identity. */
export interface Subscriber {
  readonly clientId: string;
  /** True while a Network Connection serves the session. Read when a shared subscription picks a member. */
  readonly isOnline: boolean;
  /** True when it outlives its connection and a crash. The same from its first subscription on. */
  readonly isRecorded: boolean;
}

/** One subscription as it was granted. [MQTT 5.0, 3.8.3.1 and 4.8] */
export interface Subscription<S extends Subscriber> {
  readonly subscriber: S;
  /** A valid Topic Filter without the `$share/group/` prefix. */
  readonly filter: string;
  /** ShareName, or "" for a subscription that is not shared. */
  readonly group: string;
  /** Granted, not requested, QoS. */
  readonly qos: QoS;
  /** Must be false when `group` is set. [MQTT-3.8.3-4] */
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
  /** 0 when the SUBSCRIBE carried none. */
  readonly subscriptionIdentifier: number;
}
