/**
 * The routing result of a topic as the store keeps it: who of the recorded Sessions is owed its messages, and which
 * Shared Subscriptions are. What it is good for is known to `message_store.ts`; this file only translates.
 */
import type { Session } from "../session/session.ts";
import type { Route, RouteReceiver } from "../storage/model/stored.ts";
import { NoLocal, type Receiver } from "../topics/receiver.ts";
import type { MatchResult } from "../topics/subscription_trie.ts";

/**
 * Translates a match result.
 *
 * Groups always stand in it: their members change without a new match. A receiver that gets everything at QoS 0 does
 * not: it is owed nothing.
 *
 * @returns undefined when no recorded Session and no group is owed anything. O(receivers + groups).
 */
export function routeOf(matched: MatchResult<Session>): Route | undefined {
  const receivers: RouteReceiver[] = [];
  for (const receiver of matched.receivers) {
    if (receiver.subscriber.isRecorded && receiver.qos > 0) receivers.push(routeReceiverOf(receiver));
  }
  if (receivers.length === 0 && matched.groups.length === 0) return undefined;
  return { receivers, groups: matched.groups.map(({ group, filter }) => ({ name: group, filter })) };
}

function routeReceiverOf(receiver: Receiver<Session>): RouteReceiver {
  const common = { session: receiver.subscriber.recordNumber, ...shareOf(receiver) };
  if (receiver.noLocal === NoLocal.NONE) return common;
  return { ...common, local: receiver.local === undefined ? null : shareOf(receiver.local) };
}

function shareOf({ qos, retainAsPublished, identifiers }: Receiver<Session>) {
  return { qos, retainAsPublished, identifiers };
}
