/**
 * What a broker is to start from, worked out from everything the store was told, in the plainest way there is: one list of
 * what is owed, searched from the front for every entry. A second opinion beside the recovery of the real store.
 */
import assert from "node:assert/strict";
import { ProgressKind } from "../../src/storage/log/record.ts";
import {
  type OwedGroup,
  type OwedMessage,
  type RecoveredState,
  sessionOf,
} from "../../src/storage/model/durable_state.ts";
import type { Position, Route, SessionChange } from "../../src/storage/model/stored.ts";
import type { LogEntry, ProgressEntry, PublishEntry, Stored } from "./store_log.ts";

/** Something owed: to a Session, or (0) to a Shared Subscription as long as none of its recorded members took it. */
interface Debt {
  readonly position: Position;
  readonly size: number;
  readonly group: OwedGroup | undefined;
  session: number;
  flags: number;
  identifiers: readonly number[];
  packetId: number;
  isReceived: boolean;
  /** When it was sent, as a position in the log. */
  sentAt: Position;
  /** False while nobody recorded has a claim on it: it came when none was in its group, or the last one left. */
  isClaimed: boolean;
}

/** Replays a log from its beginning. */
export function replay(entries: readonly LogEntry[]): RecoveredState {
  const replayed = new Replay();
  for (const entry of entries) replayed.take(entry);
  return replayed.result();
}

class Replay {
  readonly #state: RecoveredState = {
    sessions: new Map(),
    retained: new Map(),
    wills: new Map(),
    owed: new Map(),
    groupBacklog: [],
  };
  readonly #routes = new Map<Position, Route>();
  readonly #messages = new Map<Position, Stored>();
  #debts: Debt[] = [];

  take(entry: LogEntry): void {
    switch (entry.kind) {
      case "route":
        this.#routes.set(entry.position, entry.route);
        return;
      case "publish":
        return this.#takePublish(entry, entry.position);
      case "progress":
        return this.#takeProgress(entry, entry.position);
      case "release":
        // One that was not open was released before, and its client asked once more.
        sessionOf(this.#state, entry.session).inboundPacketIds.delete(entry.packetId);
        return;
      case "change":
        return this.#takeChange(entry.change);
    }
  }

  result(): RecoveredState {
    const { owed, sessions, retained, wills } = this.#state;
    const groupBacklog = this.#debts.filter((debt) => debt.session === 0 && !debt.isReceived && debt.isClaimed)
      .map(({ position, group }) => ({ position, group: group! })).sort((a, b) => a.position - b.position);
    const sent = this.#debts.filter(({ packetId }) => packetId > 0).sort((a, b) => a.sentAt - b.sentAt);
    for (const debt of [...sent, ...this.#debts.filter(({ packetId }) => packetId === 0)]) {
      if (debt.session === 0) continue;
      owed.set(debt.session, [...owed.get(debt.session) ?? [], owedOf(debt)]);
    }
    return { sessions, retained, wills, owed, groupBacklog };
  }

  #takePublish({ stored, publisher, packetId, route }: PublishEntry, position: Position): void {
    if (packetId > 0) {
      const { inboundPacketIds } = sessionOf(this.#state, publisher);
      assert(!inboundPacketIds.has(packetId), "a Packet Identifier is open once");
      inboundPacketIds.set(packetId, true);
    }
    this.#messages.set(position, stored);
    if (stored.retain) {
      if (stored.payloadSize > 0) this.#state.retained.set(stored.topicName, position);
      else this.#state.retained.delete(stored.topicName);
    }
    if (route === 0) return;
    const named = this.#routes.get(route);
    assert(named !== undefined, "a message names a route that was recorded before");
    for (const receiver of named.receivers) {
      const isOwn = publisher === receiver.session && receiver.local !== undefined;
      const share = isOwn ? receiver.local : receiver;
      const qos = Math.min(stored.qos, share?.qos ?? 0);
      if (share === null || share === undefined || qos === 0 || !this.#isAlive(receiver.session)) continue;
      const flags = qos | (stored.retain && share.retainAsPublished ? 4 : 0);
      this.#owe(receiver.session, position, flags, share.identifiers, undefined);
    }
    named.groups.forEach(({ name, filter }, index) => {
      if (stored.qos > 0) this.#owe(0, position, 0, [], { ordinal: index + 1, name, filter });
    });
  }

  #owe(
    session: number,
    position: Position,
    flags: number,
    identifiers: readonly number[],
    group: OwedGroup | undefined,
  ): void {
    const size = this.#messages.get(position)!.bytes.length;
    const isClaimed = group === undefined || this.#hasRecordedMember(`$share/${group.name}/${group.filter}`);
    const untouched = { packetId: 0, isReceived: false, sentAt: 0, isClaimed };
    this.#debts.push({ position, size, group, session, flags, identifiers, ...untouched });
  }

  #takeProgress({ progress, session, of, packetId, group }: ProgressEntry, at: Position): void {
    const debt = this.#debts.find((each) => {
      if (each.position !== of || (each.group?.ordinal ?? 0) !== group) return false;
      // One message may be owed to a Session twice: by its route, and as a Retained Message it asked for.
      return group > 0 ||
        (each.session === session && each.packetId === (progress === ProgressKind.SENT ? 0 : packetId));
    });
    if (debt === undefined) return;
    if (progress === ProgressKind.DONE) this.#debts.splice(this.#debts.indexOf(debt), 1);
    else if (progress === ProgressKind.RECEIVED) debt.isReceived = true;
    else {
      if (session !== 0 && session !== debt.session) this.#fillShare(debt, session);
      debt.session = session;
      debt.packetId = session === 0 ? 0 : packetId;
      debt.sentAt = at;
      debt.isClaimed = true;
    }
  }

  /** What a member gets is said by its subscription; the route only names the group. */
  #fillShare(debt: Debt, session: number): void {
    if (debt.group === undefined) return;
    const { name, filter } = debt.group;
    const { qos, retain } = this.#messages.get(debt.position)!;
    const subscription = this.#state.sessions.get(session)!.subscriptions.get(`$share/${name}/${filter}`);
    // A client that left the group goes on with what it has.
    debt.flags = Math.min(qos, subscription?.qos ?? 2) | (retain && subscription?.retainAsPublished ? 4 : 0);
    debt.identifiers = subscription?.subscriptionIdentifier ? [subscription.subscriptionIdentifier] : [];
  }

  #takeChange(change: SessionChange): void {
    const { sessions, wills } = this.#state;
    switch (change.kind) {
      case "open": {
        const session = sessionOf(this.#state, change.session);
        session.opened = change;
        session.offlineAtMs = null;
        return;
      }
      case "offline":
        this.#alive(change.session).offlineAtMs = change.atMs;
        return;
      case "subscribe":
        this.#alive(change.session).subscriptions.set(change.subscription.filter, change.subscription);
        return;
      case "unsubscribe":
        assert(this.#alive(change.session).subscriptions.delete(change.filter), "it was subscribed");
        return this.#forgetGroups();
      case "end":
        this.#alive(change.session);
        sessions.delete(change.session);
        this.#debts = this.#debts.filter(({ session }) => session !== change.session);
        return this.#forgetGroups();
      case "owe":
        this.#alive(change.session);
        return this.#owe(change.session, change.position, change.flags, change.identifiers, undefined);
      case "will":
        wills.set(change.clientId, { will: change.will, dueMs: undefined });
        return;
      case "will-delayed":
        wills.set(change.clientId, { will: change.will, dueMs: change.dueMs });
        return;
      case "will-over":
        assert(wills.delete(change.clientId), "there was a Will Message");
        return;
    }
  }

  /** A group that lost its last recorded member is owed nothing more. */
  #forgetGroups(): void {
    for (const debt of this.#debts) {
      const { session, group } = debt;
      if (session === 0 && !this.#hasRecordedMember(`$share/${group!.name}/${group!.filter}`)) debt.isClaimed = false;
    }
  }

  #hasRecordedMember(fullFilter: string): boolean {
    return [...this.#state.sessions.values()].some(({ subscriptions }) => subscriptions.has(fullFilter));
  }

  #isAlive(session: number): boolean {
    return this.#state.sessions.get(session)?.opened !== undefined;
  }

  #alive(session: number) {
    assert(this.#isAlive(session), `the Session ${session} was opened and has not ended`);
    return this.#state.sessions.get(session)!;
  }
}

function owedOf({ position, size, flags, identifiers, packetId, isReceived, group }: Debt): OwedMessage {
  return { position, size, flags, identifiers, packetId, isReceived, group };
}
