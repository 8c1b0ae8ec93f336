/**
 * The obvious, slow way to match and merge, and generators of names and filters, for the tests of `topics/`.
 *
 * Nothing here is shared with the code under test: filters are matched level by level on split strings, and receivers
 * are merged from a plain list of subscriptions.
 */

import * as fc from "fast-check";
import type { Receiver } from "../../src/topics/receiver.ts";
import type { Subscriber, Subscription } from "../../src/topics/subscription.ts";

/** Few distinct levels, so that random names and filters meet: empty, `$`, non-ASCII and case variants included. */
const LEVELS = ["", "a", "b", "A", "$SYS", "$a", "é", "😀"];

/** Topic Names of one to five levels. */
export const topicName: fc.Arbitrary<string> = fc.array(fc.constantFrom(...LEVELS), { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join("/")).filter((name) => name !== "");

/** Valid Topic Filters of one to five levels, most of them with wildcards. */
export const topicFilter: fc.Arbitrary<string> = fc.tuple(
  fc.array(fc.constantFrom(...LEVELS, "+", "+", "+"), { minLength: 0, maxLength: 5 }),
  fc.boolean(),
).map(([levels, isMultiLevel]) => [...levels, ...(isMultiLevel ? ["#"] : [])].join("/")).filter((filter) =>
  filter !== ""
);

/** A subscriber that is online or not by assignment, and recorded if it was so before it subscribed. */
export class TestSubscriber implements Subscriber {
  isOnline = true;
  isRecorded = false;

  constructor(readonly clientId: string) {}
}

/** A subscription with everything off, but for what is given. */
export function subscriptionOf(
  subscriber: TestSubscriber,
  filter: string,
  options: Partial<Subscription<TestSubscriber>> = {},
): Subscription<TestSubscriber> {
  return {
    subscriber,
    filter,
    group: "",
    qos: 0,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    subscriptionIdentifier: 0,
    ...options,
  };
}

/** Matches level by level, straight from the text of section 4.7. */
export function matchesNaively(filter: string, name: string): boolean {
  if (name.startsWith("$") && (filter.startsWith("+") || filter.startsWith("#"))) return false;
  return levelsMatch(filter.split("/"), name.split("/"));
}

function levelsMatch(filter: readonly string[], name: readonly string[]): boolean {
  const [first, ...rest] = filter;
  if (first === undefined) return name.length === 0;
  if (first === "#") return true;
  const [level, ...below] = name;
  if (level === undefined) return false;
  return (first === "+" || first === level) && levelsMatch(rest, below);
}

/** What a Receiver says, as plain data that compares by value. */
export interface ReceiverFacts {
  readonly clientId: string;
  readonly qos: number;
  readonly retainAsPublished: boolean;
  readonly identifiers: readonly number[];
  /** What the subscriber gets of its own message. */
  readonly own: Omit<ReceiverFacts, "own" | "clientId"> | undefined;
}

/** Reads a Receiver the way a delivery does: `local` counts only when `noLocal` says so. */
export function factsOf(receiver: Receiver<TestSubscriber>): ReceiverFacts {
  const own = receiver.noLocal === 0 ? receiver : receiver.local;
  return {
    clientId: receiver.subscriber.clientId,
    ...deliveryFacts(receiver),
    own: own === undefined ? undefined : deliveryFacts(own),
  };
}

function deliveryFacts(receiver: Receiver<TestSubscriber>): Omit<ReceiverFacts, "own" | "clientId"> {
  return {
    qos: receiver.qos,
    retainAsPublished: receiver.retainAsPublished,
    identifiers: [...receiver.identifiers].sort((a, b) => a - b),
  };
}

/** The receivers that a list of subscriptions means for a name, sorted by Client Identifier. */
export function receiversNaively(
  subscriptions: readonly Subscription<TestSubscriber>[],
  name: string,
): ReceiverFacts[] {
  const matching = subscriptions.filter((each) => each.group === "" && matchesNaively(each.filter, name));
  const clientIds = [...new Set(matching.map((each) => each.subscriber.clientId))].sort();
  return clientIds.map((clientId) => {
    const all = matching.filter((each) => each.subscriber.clientId === clientId);
    const foreign = all.filter((each) => !each.noLocal);
    return { clientId, ...mergeNaively(all), own: foreign.length === 0 ? undefined : mergeNaively(foreign) };
  });
}

function mergeNaively(subscriptions: readonly Subscription<TestSubscriber>[]): Omit<ReceiverFacts, "own" | "clientId"> {
  return {
    qos: Math.max(...subscriptions.map((each) => each.qos)),
    retainAsPublished: subscriptions.some((each) => each.retainAsPublished),
    identifiers: subscriptions.map((each) => each.subscriptionIdentifier).filter((identifier) => identifier !== 0)
      .sort((a, b) => a - b),
  };
}
