/**
 * What a Session owes its client, as a whole: the in-flight window and the queue put back after a restart, visited,
 * handed on, or given up. Sending and acknowledging one by one is `session.ts`.
 *
 * All of it happens while no connection serves the Session, but for `walkOwed`, which changes nothing. Every entry but
 * those that wait for PUBCOMP holds one reference to the message store.
 */
import { ProgressKind } from "../storage/log/record.ts";
import type { OwedMessage } from "../storage/model/durable_state.ts";
import { SharedGroup } from "../topics/shared_subscriptions.ts";
import { type DeliveryOrigin, type GroupOf, identifiersOf, type Surrender } from "./delivery_origin.ts";
import { appendProgress, isOwedToRecorded } from "./delivery_progress.ts";
import { InflightState, InflightWindow } from "./inflight.ts";
import { OutboundQueue } from "./outbound_queue.ts";
import type { Session } from "./session.ts";
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
  const found = groupOf(group) ?? new SharedGroup<Session>(group.name, group.filter);
  return { identifiers, group: found, ordinal: group.ordinal };
}

/** Visits what is owed of the messages from `first` to below `end`: in flight in wire order, then queued. */
export function walkOwed(
  inflight: InflightWindow | undefined,
  queue: OutboundQueue | undefined,
  context: SessionContext,
  first: number,
  end: number,
  visit: (owed: OwedMessage) => void,
): void {
  inflight?.sweep((slot, packetId) => {
    const position = inflight.positionOf(slot);
    if (position < first || position >= end) return false;
    const state = inflight.stateOf(slot);
    const isReceived = state === InflightState.AWAITING_PUBCOMP;
    // What was received may be gone from the store.
    const size = isReceived ? 0 : context.store.sizeOf(position);
    const flags = (state === InflightState.AWAITING_PUBACK ? 1 : 2) | (inflight.retainOf(slot) ? RETAIN_FLAG : 0);
    visit(owedOf(position, size, flags, packetId, isReceived, inflight.originOf(slot)));
    return false;
  });
  queue?.forEachBetween(first, end, (position, flags, size, origin) => {
    visit(owedOf(position, size, flags, 0, false, origin));
  });
}

function owedOf(
  position: number,
  size: number,
  flags: number,
  packetId: number,
  isReceived: boolean,
  origin: DeliveryOrigin | null,
): OwedMessage {
  const group = origin === null || origin.group === null
    ? undefined
    : { ordinal: origin.ordinal, name: origin.group.group, filter: origin.group.filter };
  return { position, size, flags, identifiers: identifiersOf(origin), packetId, isReceived, group };
}

/** Offers the messages of Shared Subscriptions that are queued, or unacknowledged at QoS 1, in their order. */
export function surrenderShared(
  inflight: InflightWindow | undefined,
  queue: OutboundQueue | undefined,
  context: SessionContext,
  give: Surrender,
): void {
  const { counters } = context;
  inflight?.sweep((slot) => {
    const origin = inflight.originOf(slot);
    if (origin === null || origin.group === null) return false;
    if (inflight.stateOf(slot) !== InflightState.AWAITING_PUBACK) return false;
    if (!give(inflight.positionOf(slot), origin)) return false;
    counters.messagesInflight--;
    return true;
  });
  for (let left = queue === undefined || !queue.hasOrigins ? 0 : queue.count; left > 0; left--) {
    queue!.shift();
    const { position, flags, size, origin } = queue!;
    if (origin !== null && origin.group !== null && give(position, origin)) counters.messagesQueued--;
    else queue!.push(position, flags, size, origin);
  }
}

/**
 * Gives up everything: released and counted as `session_ended`.
 *
 * The `end` record of a recorded Session tells what became of its own messages. What it or any other Session took from
 * a Shared Subscription with a recorded member, and nobody took over, is recorded as done: no other member may get
 * what this client was sent at QoS 2. [MQTT-4.8.2-5]
 */
export function discardOwed(
  inflight: InflightWindow | undefined,
  queue: OutboundQueue | undefined,
  context: SessionContext,
  recordNumber: number,
): void {
  const { store, counters } = context;
  inflight?.sweep((slot, packetId) => {
    const position = inflight.positionOf(slot);
    discardShared(position, packetId, inflight.originOf(slot), context, recordNumber);
    counters.messagesInflight--;
    if (inflight.stateOf(slot) !== InflightState.AWAITING_PUBCOMP) {
      counters.messagesDropped.session_ended++;
      store.release(position);
    }
    return true;
  });
  while (queue !== undefined && queue.shift()) {
    discardShared(queue.position, 0, queue.origin, context, recordNumber);
    counters.messagesDropped.session_ended++;
    counters.messagesQueued--;
    store.release(queue.position);
  }
}

function discardShared(
  position: number,
  packetId: number,
  origin: DeliveryOrigin | null,
  context: SessionContext,
  recordNumber: number,
): void {
  if (origin === null || !isOwedToRecorded(origin)) return;
  appendProgress(context.store, ProgressKind.DONE, recordNumber, position, packetId, origin);
}

/** Packet Identifiers that exist. [MQTT-2.2.1-3] */
const PACKET_IDS = 65_535;
const QOS_BITS = 3;
const RETAIN_FLAG = 4;
