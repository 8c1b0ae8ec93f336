/**
 * The start: puts back what the store found, and lets time go on.
 *
 * First everything is put in its place, without a word to anyone: Sessions with their subscriptions and Packet
 * Identifiers, Retained Messages, what is owed, Will Messages. Then every connection that lived when the broker died is
 * lost: now, as far as anybody can tell. What that publishes takes the way of every message.
 *
 * Positions that come from the store have no references yet: each owner takes one.
 */
import type { Session } from "../session/session.ts";
import type { SessionContext } from "../session/session_context.ts";
import type { OwedGroup, RecoveredState, SessionState, WillState } from "../storage/model/durable_state.ts";
import type { OpenChange, Position, StoredWill } from "../storage/model/stored.ts";
import type { SharedGroup } from "../topics/shared_subscriptions.ts";
import type { SubscriptionTrie } from "../topics/subscription_trie.ts";
import { groupKey } from "./owed_walk.ts";
import type { RetainedMessages } from "./retained_messages.ts";
import type { SessionManager } from "./session_manager.ts";
import type { SharedDelivery } from "./shared_delivery.ts";
import type { Subscriptions } from "./subscriptions.ts";
import { willOf } from "./will_record.ts";
import type { Wills } from "./wills.ts";

/** The parts of the broker that take something up again. */
export interface RestoredParts {
  readonly context: SessionContext;
  readonly trie: SubscriptionTrie<Session>;
  readonly sessions: SessionManager;
  readonly subscriptions: Subscriptions;
  readonly retained: RetainedMessages;
  readonly shared: SharedDelivery;
  readonly wills: Wills;
}

/** A Session that is back, with what the store knows of its connection. */
interface Restored {
  readonly session: Session;
  readonly offlineAtMs: number | null;
}

/** Restores a broker that knows nobody yet. O(everything recovered). */
export function restore(recovered: RecoveredState, parts: RestoredParts, nowMs: number): void {
  const restored = restoreSessions(recovered, parts);
  restoreRetained(recovered, parts, nowMs);
  restoreOwed(recovered, restored, parts, nowMs);
  const left = restoreWills(recovered, parts);
  for (const { session, offlineAtMs } of restored) parts.sessions.resume(session, offlineAtMs, nowMs);
  for (const [clientId, will] of left) parts.wills.publishLeft(clientId, willOf(will), nowMs);
}

function restoreSessions(recovered: RecoveredState, parts: RestoredParts): Restored[] {
  const { sessions, subscriptions, context } = parts;
  const restored: Restored[] = [];
  for (const { opened, state } of newestByClient(recovered, context)) {
    const session = sessions.restore(opened);
    for (const subscription of state.subscriptions.values()) {
      if (subscription !== null) subscriptions.restore(session, subscription);
    }
    session.inbound.restore(openPacketIds(state));
    restored.push({ session, offlineAtMs: state.offlineAtMs ?? null });
  }
  return restored;
}

/** A client has one Session. Where a damaged log lost an `end`, the younger one counts and the older one ends now. */
function newestByClient(recovered: RecoveredState, { store }: SessionContext) {
  const newest = new Map<string, { readonly opened: OpenChange; readonly state: SessionState }>();
  for (const state of recovered.sessions.values()) {
    const { opened, isEnded } = state;
    if (opened === undefined || isEnded) continue;
    const other = newest.get(opened.clientId);
    if (other !== undefined) {
      const older = Math.min(other.opened.session, opened.session);
      store.appendSessionChange({ kind: "end", session: older });
      if (older === opened.session) continue;
    }
    newest.set(opened.clientId, { opened, state });
  }
  return newest.values();
}

function* openPacketIds(state: SessionState): Generator<number> {
  for (const [packetId, isOpen] of state.inboundPacketIds) if (isOpen) yield packetId;
}

function restoreRetained(recovered: RecoveredState, { retained }: RestoredParts, nowMs: number): void {
  const entries: [topicName: string, position: Position][] = [];
  for (const [topicName, position] of recovered.retained) if (position !== null) entries.push([topicName, position]);
  // Each is read to see whether it has expired, which is cheap in the order in which they are stored.
  entries.sort((a, b) => a[1] - b[1]);
  for (const [topicName, position] of entries) retained.restore(topicName, position, nowMs);
}

function restoreOwed(
  recovered: RecoveredState,
  restored: readonly Restored[],
  { trie, shared }: RestoredParts,
  nowMs: number,
): void {
  const groups = new Map<string, SharedGroup<Session>>();
  for (const { session } of restored) {
    for (const group of trie.sharedGroupsOf(session)) groups.set(groupKey(group.group, group.filter), group);
  }
  const groupOf = ({ name, filter }: OwedGroup) => groups.get(groupKey(name, filter));
  for (const { session } of restored) {
    const owed = recovered.owed.get(session.recordNumber);
    if (owed === undefined) continue;
    session.outbox.restore(owed, groupOf);
    shared.memberRestored(session);
  }
  for (const entry of recovered.groupBacklog) {
    const group = groupOf(entry.group);
    // The last recorded member took the backlog with it when it left.
    if (group !== undefined) shared.restore(entry, group, nowMs);
  }
}

/** Puts Will Messages in their places; returns those of clients whose Session did not outlive the broker. */
function restoreWills(recovered: RecoveredState, { sessions, wills }: RestoredParts): Map<string, StoredWill> {
  const left = new Map<string, StoredWill>();
  for (const [clientId, state] of recovered.wills) {
    if (state === null) continue;
    const session = sessions.sessions.get(clientId);
    if (session === undefined) left.set(clientId, state.will);
    else restoreWill(session, state, wills);
  }
  return left;
}

function restoreWill(session: Session, { will, dueMs }: WillState, wills: Wills): void {
  if (dueMs === undefined) wills.restore(session, willOf(will));
  else wills.restoreDelayed(session, willOf(will), dueMs);
}
