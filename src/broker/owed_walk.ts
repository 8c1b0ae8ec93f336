/**
 * The walk over what the broker owes, for messages that move out of the log. [`OwedWalk` in `message_store.ts`]
 *
 * Recorded Sessions come first. On the way the walk notes the Shared Subscriptions they are members of: a message that a
 * Session without a record holds for one of those is owed to the group, should the broker die, and to nobody otherwise.
 * What else such a Session holds is visited with number 0 and without group: it is still to be read, while the broker
 * lives. What it holds of a group without recorded member is visited as received: nobody's, but a member that is recorded
 * may join and be sent it.
 */
import type { Session } from "../session/session.ts";
import type { OwedGroup, OwedMessage } from "../storage/model/durable_state.ts";
import type { Position, SessionNumber } from "../storage/model/stored.ts";
import type { SubscriptionTrie } from "../topics/subscription_trie.ts";

/**
 * Walks the given Sessions; yields after each. Sessions that end meanwhile are passed over.
 *
 * @param first Messages from here…
 * @param end …to below here.
 */
export function* walkOwed(
  sessions: readonly Session[],
  trie: SubscriptionTrie<Session>,
  first: Position,
  end: Position,
  visit: (session: SessionNumber, owed: OwedMessage) => void,
): Generator<void> {
  const recordedGroups = new Set<string>();
  for (const session of sessions) {
    if (!session.isRecorded || session.isEnded) continue;
    for (const { group, filter } of trie.sharedGroupsOf(session)) recordedGroups.add(groupKey(group, filter));
    session.outbox.walkOwed(first, end, (owed) => visit(session.recordNumber, owed));
    yield;
  }
  for (const session of sessions) {
    if (session.isRecorded || session.isEnded) continue;
    session.outbox.walkOwed(first, end, (owed) => {
      if (owed.group !== undefined && isOwedToGroup(owed.group, recordedGroups)) visit(0, owed);
      else if (!owed.isReceived) visit(0, unclaimed(owed));
    });
    yield;
  }
}

/** One text for a Shared Subscription; a ShareName has no `/`. [MQTT-4.8.2-1] */
export function groupKey(name: string, filter: string): string {
  return `${name}/${filter}`;
}

function unclaimed(owed: OwedMessage): OwedMessage {
  if (owed.group === undefined) return owed;
  return owed.group.ordinal === 0 ? { ...owed, group: undefined } : { ...owed, isReceived: true };
}

function isOwedToGroup({ ordinal, name, filter }: OwedGroup, recordedGroups: ReadonlySet<string>): boolean {
  return ordinal > 0 && recordedGroups.has(groupKey(name, filter));
}
