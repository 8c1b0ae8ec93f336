/**
 * What a broker holds against what its store would give it back: while nothing waits for a commit, a crash must change
 * nothing but connections. So every promise that the broker keeps in memory is on record, and nothing else is.
 */
import assert from "node:assert/strict";
import type { OwedMessage, RecoveredState } from "../../src/storage/model/durable_state.ts";
import type { World } from "./harness.ts";
import { replay } from "./naive_replay.ts";
import { VOLATILE_FROM } from "./slow_store.ts";

/** Demands that the records of a world at rest say what its broker says. */
export function assertAgreement(world: World): void {
  assert.deepEqual(recordedFacts(replay(world.store.entries), expiredAt(world)), heldFacts(world));
}

/** Positions of messages that have expired; the broker notices when it comes across them. */
function expiredAt({ store, nowMs }: World): ReadonlySet<number> {
  const expired = new Set<number>();
  for (const entry of store.entries) {
    if (entry.kind !== "publish") continue;
    const { expiresAtMs } = entry.stored;
    if (expiresAtMs !== 0 && expiresAtMs <= nowMs) expired.add(entry.position);
  }
  return expired;
}

/** Facts as lines, sorted, so that a difference can be read. */
function recordedFacts(state: RecoveredState, expired: ReadonlySet<number>): string[] {
  const facts: string[] = [];
  for (const [number, { opened, offlineAtMs, subscriptions, inboundPacketIds }] of state.sessions) {
    const connection = offlineAtMs === null ? "online" : "offline";
    facts.push(
      `session ${number} ${opened!.clientId} ${opened!.sessionExpiryInterval} ${opened!.username} ${connection}`,
    );
    for (const subscription of subscriptions.values()) {
      const { filter, qos, noLocal, retainAsPublished, subscriptionIdentifier } = subscription!;
      facts.push(`subscription ${number} ${filter} ${qos} ${noLocal} ${retainAsPublished} ${subscriptionIdentifier}`);
    }
    for (const packetId of inboundPacketIds.keys()) facts.push(`inbound ${number} ${packetId}`);
  }
  for (const position of state.retained.values()) if (!expired.has(position!)) facts.push(`retained @${position}`);
  for (const [clientId, will] of state.wills) facts.push(willFact(clientId, will!.dueMs));
  for (const [number, owed] of state.owed) for (const each of owed) facts.push(owedFact(number, each));
  for (const { position, group } of state.groupBacklog) facts.push(`owed to group @${position} ${group.ordinal}`);
  return facts.sort();
}

function heldFacts(world: World): string[] {
  const facts: string[] = [];
  const { sessions } = world.core.sessions;
  for (const session of sessions.values()) {
    const { recordNumber, clientId, sessionExpiryInterval, username, isOnline } = session;
    const will = world.core.wills.of(session);
    if (will !== undefined) facts.push(willFact(clientId, "dueMs" in will ? will.dueMs : undefined));
    if (!session.isRecorded) continue;
    const connection = isOnline ? "online" : "offline";
    facts.push(`session ${recordNumber} ${clientId} ${sessionExpiryInterval} ${username} ${connection}`);
    for (const [filter, { qos, noLocal, retainAsPublished, subscriptionIdentifier }] of session.subscriptions) {
      facts.push(
        `subscription ${recordNumber} ${filter} ${qos} ${noLocal} ${retainAsPublished} ${subscriptionIdentifier}`,
      );
    }
    for (let packetId = 1; packetId <= PACKET_ID_MAX; packetId++) {
      if (session.inbound.isOpen(packetId)) facts.push(`inbound ${recordNumber} ${packetId}`);
    }
  }
  for (const clientId of world.core.wills.deferred.keys()) {
    if (!sessions.has(clientId)) facts.push(willFact(clientId, undefined));
  }
  for (const filter of ["#", "$SYS/#"]) {
    world.core.retained.match(filter, world.nowMs, (_, position) => {
      // What is not on record, as the broker's own numbers, has nothing to agree with.
      if (position < VOLATILE_FROM) facts.push(`retained @${position}`);
    }, () => assert.fail("a Retained Message cannot be read"));
  }
  const visit = (number: number, owed: OwedMessage) => {
    // What a Session that is not recorded holds is nobody's after a start, unless its group has a recorded member.
    if (number !== 0 || (owed.group !== undefined && !owed.isReceived)) facts.push(owedFact(number, owed));
  };
  for (const _ of world.core.walkOwed(0, Infinity, visit));
  return facts.sort();
}

/** What waits for a group waits somewhere in the broker, but the records do not say where. */
function owedFact(session: number, owed: OwedMessage): string {
  const { position, flags, packetId, isReceived, group, identifiers } = owed;
  if (group !== undefined && (session === 0 || packetId === 0)) return `owed to group @${position} ${group.ordinal}`;
  return `owed to ${session} @${position} ${flags} #${packetId} ${isReceived} ${group?.ordinal ?? 0} ${identifiers}`;
}

function willFact(clientId: string, dueMs: number | undefined): string {
  return `will ${clientId} ${dueMs}`;
}

/** The identifiers that clients in tests use stay below. */
const PACKET_ID_MAX = 2_000;
