/**
 * Brings what a replay knows of queues into the form and order the broker starts from.
 */
import type { OwedMessage } from "../model/durable_state.ts";
import type { ReplayedGroups } from "./replayed_groups.ts";
import { type ReplayedEntry, SIZE_UNKNOWN } from "./replayed_queue.ts";
import type { ReplayedSession } from "./replayed_session.ts";

/** What had to be left out because something it depends on is not there; nothing of it after a crash without damage. */
export interface Shortfall {
  /** Sessions whose opening, or whose end, is lost. */
  sessions: number;
  /** Deliveries of messages that are not stored. */
  owed: number;
  /** Retained Messages that are not stored. */
  retained: number;
}

/** The queues of all Sessions that are owed anything. */
export function collectOwed(
  sessions: Iterable<ReplayedSession>,
  groups: ReplayedGroups,
  shortfall: Shortfall,
): Map<number, readonly OwedMessage[]> {
  const owed = new Map<number, readonly OwedMessage[]>();
  for (const { number, queue, state } of sessions) {
    if (state.isEnded) continue;
    const entries = [...queue.owed(), ...groups.heldBy(number)];
    const kept = entries.filter(isDeliverable);
    shortfall.owed += entries.length - kept.length;
    if (kept.length > 0) owed.set(number, inOrder(number, kept, groups));
  }
  return owed;
}

/** False when there is nothing left to send: no message, or no PUBREL for one that was received. */
function isDeliverable(entry: ReplayedEntry): boolean {
  return entry.isReceived ? entry.packetId !== 0 : entry.size !== SIZE_UNKNOWN;
}

/** Sent ones in the order in which they were sent, then the others in the order in which they came. */
function inOrder(number: number, entries: ReplayedEntry[], groups: ReplayedGroups): readonly OwedMessage[] {
  entries.sort((a, b) => a.sequence - b.sequence);
  const bySentId = new Map<number, ReplayedEntry>();
  for (const entry of entries) if (entry.packetId !== 0) bySentId.set(entry.packetId, entry);
  const sent: ReplayedEntry[] = [];
  const waiting: ReplayedEntry[] = [];
  for (const entry of entries) {
    if (entry.packetId === 0) waiting.push(entry);
    else if (bySentId.get(entry.packetId) === entry) sent.push(entry);
    // Its Packet Identifier was used again: the delivery was completed, or went to another member of the group.
    else if (entry.group !== undefined && !entry.isReceived) groups.giveBack(number, entry);
  }
  for (const entry of sent) if (entry.size === SIZE_UNKNOWN) entry.size = 0;
  return [...sent, ...waiting];
}
