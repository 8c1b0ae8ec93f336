/**
 * The stored form of what a Session owes its client: told, and put back after a restart as an in-flight window and a
 * queue. What becomes of it then is the Outbox's.
 *
 * Every entry that is put back, but for those that wait for PUBCOMP, takes one reference to the message store.
 */
import type { PacketId } from "../protocol/distinct_number.ts";
import type { OwedGroup, OwedMessage } from "../storage/model/durable_state.ts";
import type { Position } from "../storage/model/stored.ts";
import { SharedGroup } from "../topics/shared_subscriptions.ts";
import type { Subscriber } from "../topics/subscription.ts";
import { type DeliveryOrigin, type GroupOf, identifiersOf } from "./delivery_origin.ts";
import { InflightState, InflightWindow } from "./inflight.ts";
import { OutboundQueue } from "./outbound_queue.ts";
import type { SessionContext } from "./session_context.ts";

/**
 * Rebuilds the window from what was sent, given in any order. O(n log n).
 *
 * The wire order is that of the Packet Identifiers, which go round: the oldest stands behind the largest gap. Where
 * lost progress leaves two messages with one identifier, the older one was completed before it was used again.
 */
export function restoreInflight(
  owed: readonly OwedMessage[],
  groupOf: GroupOf,
  context: SessionContext,
): InflightWindow | undefined {
  const sent = owed.filter((each) => each.packetId > 0).sort((a, b) =>
    a.packetId - b.packetId || a.position - b.position
  ).filter((each, index, all) => each.packetId !== all[index + 1]?.packetId);
  if (sent.length === 0) return undefined;
  const window = new InflightWindow();
  const oldest = behindLargestGap(sent);
  for (let count = 0; count < sent.length; count++) {
    const each = sent[(oldest + count) % sent.length]!;
    if (!each.isReceived) context.store.retain(each.position);
    const isRetained = (each.flags & RETAIN_FLAG) !== 0;
    window.restore(each.packetId, each.position, stateOf(each), isRetained, originOf(each, groupOf));
  }
  context.counters.messagesInflight += sent.length;
  return window;
}

/** Rebuilds the queue from what was never sent, in the order given. */
export function restoreQueue(
  owed: readonly OwedMessage[],
  groupOf: GroupOf,
  context: SessionContext,
): OutboundQueue | undefined {
  let queue: OutboundQueue | undefined;
  for (const each of owed) {
    if (each.packetId > 0) continue;
    queue ??= new OutboundQueue();
    context.store.retain(each.position);
    queue.push(each.position, each.flags, each.size, originOf(each, groupOf));
    context.counters.messagesQueued++;
  }
  return queue;
}

/** Index of the entry before which most Packet Identifiers are unused, going round. */
function behindLargestGap(sorted: readonly OwedMessage[]): number {
  let found = 0;
  let largest = sorted[0]!.packetId + PACKET_IDS - sorted.at(-1)!.packetId;
  for (let index = 1; index < sorted.length; index++) {
    const gap = sorted[index]!.packetId - sorted[index - 1]!.packetId;
    if (gap <= largest) continue;
    largest = gap;
    found = index;
  }
  return found;
}

function stateOf(owed: OwedMessage): number {
  if (owed.isReceived) return InflightState.AWAITING_PUBCOMP;
  return (owed.flags & QOS_BITS) === 2 ? InflightState.AWAITING_PUBREC : InflightState.AWAITING_PUBACK;
}

function originOf(owed: OwedMessage, groupOf: GroupOf): DeliveryOrigin | null {
  const { identifiers, group } = owed;
  if (group === undefined) return identifiers.length === 0 ? null : { identifiers, group: null, ordinal: 0 };
  // A group that everybody left goes on without members, as it did before: its records keep naming the message.
  const found = groupOf(group) ?? new SharedGroup<Subscriber>(group.name, group.filter);
  return { identifiers, group: found, ordinal: group.ordinal };
}

/** What the slot of a window stands for. One that was received has no size: its message may be gone from the store. */
export function owedInflight(
  window: InflightWindow,
  slot: number,
  packetId: PacketId,
  { store }: SessionContext,
): OwedMessage {
  const position = window.positionOf(slot);
  const state = window.stateOf(slot);
  const isReceived = window.isReceived(slot);
  const flags = (state === InflightState.AWAITING_PUBACK ? 1 : 2) | (window.retainOf(slot) ? RETAIN_FLAG : 0);
  const size = isReceived ? 0 : store.sizeOf(position);
  const origin = window.originOf(slot);
  const identifiers = identifiersOf(origin);
  return { position, size, flags, identifiers, packetId, isReceived, group: sharedOf(origin) };
}

/** What an entry of a queue stands for. */
export function owedQueued(
  position: Position,
  flags: number,
  size: number,
  origin: DeliveryOrigin | null,
): OwedMessage {
  const identifiers = identifiersOf(origin);
  return { position, size, flags, identifiers, packetId: 0, isReceived: false, group: sharedOf(origin) };
}

function sharedOf(origin: DeliveryOrigin | null): OwedGroup | undefined {
  if (origin === null || origin.group === null) return undefined;
  return { ordinal: origin.ordinal, name: origin.group.group, filter: origin.group.filter };
}

/** Packet Identifiers that exist. [MQTT-2.2.1-3] */
const PACKET_IDS = 65_535;
const QOS_BITS = 3;
const RETAIN_FLAG = 4;
