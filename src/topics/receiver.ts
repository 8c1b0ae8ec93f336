/**
 * What one subscriber gets of one Application Message: the merge of all its matching ordinary subscriptions.
 *
 * The specification lets a server send one copy per subscription or a single copy; PromptMQ sends a single copy, with
 * the largest granted QoS [MQTT-3.3.4-2] and the Subscription Identifiers of all matching subscriptions
 * [MQTT-3.3.4-4]. A shared subscription is never merged with an ordinary one: it is its own delivery.
 *
 * No Local removes a subscription only when the publisher is the subscriber itself. [MQTT-3.8.3-3] The merge
 * therefore has two answers, one for everybody and one for "the receiver is the publisher". Nearly always they are the
 * same, so `noLocal` tells in one compare whether the second one needs a look:
 *
 *     if (receiver.noLocal !== NoLocal.NONE && receiver.subscriber === publisher) use receiver.local (may be undefined)
 *
 * A record of one subscription is made once and shared by every match result; a merged record belongs to the one
 * result it was built for. Neither changes after the result was handed out.
 */

import type { QoS } from "../protocol/packets.ts";
import type { Subscriber, Subscription } from "./subscription.ts";

/** How many of the merged subscriptions have the No Local option. */
export const NoLocal = {
  /** None: the publisher gets what everybody gets. */
  NONE: 0,
  /** All: the publisher gets nothing. */
  ALL: 1,
  /** Some: the publisher gets `local`, the merge of the others. */
  MIXED: 2,
} as const;

/** One value of the `NoLocal` table. */
export type NoLocal = (typeof NoLocal)[keyof typeof NoLocal];

/** One delivery of a matched Application Message. Immutable for everyone but the builder of the result. */
export interface Receiver<S extends Subscriber> {
  readonly subscriber: S;
  /** Largest granted QoS of the matching subscriptions. [MQTT-3.3.4-2] */
  readonly qos: QoS;
  /** True when any matching subscription asks for Retain As Published. [MQTT-3.3.1-13] */
  readonly retainAsPublished: boolean;
  /**
   * The Subscription Identifiers of the matching subscriptions that have one. An identifier given to two of them
   * appears twice, as MQTT 5.0 section 3.3.4 describes.
   */
  readonly identifiers: readonly number[];
  readonly noLocal: NoLocal;
  /** What the subscriber gets of its own message: this object (NONE), undefined (ALL) or another record (MIXED). */
  readonly local: Receiver<S> | undefined;
}

/** The mutable side of a Receiver, for the code that builds match results. */
export class ReceiverRecord<S extends Subscriber> implements Receiver<S> {
  local: ReceiverRecord<S> | undefined;

  /**
   * @param subscriptionCount How many subscriptions are merged in it. 1 = shared between results, so it is copied
   *   before it absorbs another.
   * @param local Ignored for NONE, where it is the record itself.
   */
  constructor(
    readonly subscriber: S,
    public qos: QoS,
    public retainAsPublished: boolean,
    public identifiers: number[],
    public subscriptionCount: number,
    public noLocal: NoLocal,
    local: ReceiverRecord<S> | undefined,
  ) {
    this.local = noLocal === NoLocal.NONE ? this : local;
  }
}

/** Makes the record of a single subscription. */
export function receiverOf<S extends Subscriber>(subscription: Subscription<S>): ReceiverRecord<S> {
  const identifier = subscription.subscriptionIdentifier;
  return new ReceiverRecord(
    subscription.subscriber,
    subscription.qos,
    subscription.retainAsPublished,
    identifier === 0 ? NO_IDENTIFIERS : [identifier],
    1,
    subscription.noLocal ? NoLocal.ALL : NoLocal.NONE,
    undefined,
  );
}

/**
 * Merges the record of one more subscription of the same subscriber. Amortised O(1).
 *
 * @param merged What is merged so far. Changed in place if it is a merge already, left alone if it is the record of
 *   a single subscription.
 * @param single The record of a single subscription.
 * @returns The record that stands for both.
 */
export function mergeReceivers<S extends Subscriber>(
  merged: ReceiverRecord<S>,
  single: ReceiverRecord<S>,
): ReceiverRecord<S> {
  const target = merged.subscriptionCount === 1 ? copyOf(merged) : merged;
  if (single.noLocal === NoLocal.NONE) {
    if (target.noLocal === NoLocal.ALL) target.local = single;
    else if (target.noLocal === NoLocal.MIXED) target.local = mergeReceivers(target.local!, single);
  } else if (target.noLocal === NoLocal.NONE) {
    target.local = copyOf(target);
  }
  if (target.noLocal !== single.noLocal) target.noLocal = NoLocal.MIXED;
  if (single.qos > target.qos) target.qos = single.qos;
  if (single.retainAsPublished) target.retainAsPublished = true;
  for (const identifier of single.identifiers) target.identifiers.push(identifier);
  target.subscriptionCount++;
  return target;
}

/** Shared by all records without identifier; never pushed to, because only copies are. */
const NO_IDENTIFIERS: number[] = [];

function copyOf<S extends Subscriber>(record: ReceiverRecord<S>): ReceiverRecord<S> {
  return new ReceiverRecord(
    record.subscriber,
    record.qos,
    record.retainAsPublished,
    record.identifiers.slice(),
    record.subscriptionCount,
    record.noLocal,
    record.local,
  );
}
