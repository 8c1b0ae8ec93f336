/**
 * What outlives the process, as plain data: what SQLite keeps, what recovery puts together and the broker starts from.
 *
 * The same shape serves as a *whole* state (recovery) and as a *change* of one (the compactor applies the CHANGE
 * records of the segments it moves): an entry that is `null` was removed, and a session that the change did not open
 * has no `opened`. `applyChange` works for both.
 */
import type { PacketId } from "../../protocol/distinct_number.ts";
import type {
  GroupOrdinal,
  OpenChange,
  Position,
  SessionChange,
  SessionNumber,
  StoredSubscription,
  StoredWill,
} from "./stored.ts";

/** One recorded Session. */
export interface SessionState {
  /** The last `open`; undefined in a change that touches a session opened before. */
  opened: OpenChange | undefined;
  /** True once it ended; it is kept as a mark for the rest of the replay. */
  isEnded: boolean;
  /** When its connection ended, in milliseconds of broker time; `null` while it is connected; undefined = not changed. */
  offlineAtMs: number | null | undefined;
  /** By Topic Filter as the client wrote it; `null` = unsubscribed. */
  readonly subscriptions: Map<string, StoredSubscription | null>;
  /** Inbound QoS 2 Packet Identifiers: true = open, false = released. */
  readonly inboundPacketIds: Map<PacketId, boolean>;
}

/** A Will Message that was not published and not taken back. */
export interface WillState {
  readonly will: StoredWill;
  /** When it is due, in milliseconds of broker time; undefined while its connection lives. */
  dueMs: number | undefined;
}

/** See the head of this file. */
export interface DurableState {
  /** By session number. */
  readonly sessions: Map<SessionNumber, SessionState>;
  /** Position of the Retained Message by Topic Name; `null` = removed. */
  readonly retained: Map<string, Position | null>;
  /** By Client Identifier; `null` = gone. */
  readonly wills: Map<string, WillState | null>;
}

/** A message that is owed to a Session, in the order in which it must go out. */
export interface OwedMessage {
  readonly position: Position;
  /** Bytes of topic, properties and payload. */
  readonly size: number;
  /** Granted QoS in bits 0 and 1 (0 only for Retained Messages), RETAIN in bit 2. */
  readonly flags: number;
  readonly identifiers: readonly number[];
  /** Packet Identifier it was sent with, 0 = never sent. */
  readonly packetId: PacketId;
  /** True when its PUBREC came: PUBREL is to be sent (again), the message is not owed any more. */
  readonly isReceived: boolean;
  /** The Shared Subscription it comes from, if any. */
  readonly group: OwedGroup | undefined;
}

/** A message's place in its shared group. */
export interface OwedGroup {
  /** 1 + index of the group in the message's ROUTE record. */
  readonly ordinal: GroupOrdinal;
  readonly name: string;
  readonly filter: string;
}

/** A message of a shared group that no recorded Session took. */
export interface GroupBacklogEntry {
  readonly position: Position;
  readonly group: OwedGroup;
}

/** What the broker starts from. */
export interface RecoveredState extends DurableState {
  /** Messages owed, by session number, in order: sent ones first, in the order they were sent. */
  readonly owed: Map<SessionNumber, readonly OwedMessage[]>;
  /** In the order of positions. */
  readonly groupBacklog: readonly GroupBacklogEntry[];
}

/** A state with nothing in it. */
export function emptyState(): DurableState {
  return { sessions: new Map(), retained: new Map(), wills: new Map() };
}

/** The session's entry, made if need be. */
export function sessionOf(state: DurableState, session: SessionNumber): SessionState {
  let known = state.sessions.get(session);
  if (known === undefined) {
    known = {
      opened: undefined,
      isEnded: false,
      offlineAtMs: undefined,
      subscriptions: new Map(),
      inboundPacketIds: new Map(),
    };
    state.sessions.set(session, known);
  }
  return known;
}

/** Applies one CHANGE record. `owe` concerns queues, not this state. Applying records twice in order changes nothing. */
export function applyChange(state: DurableState, change: SessionChange): void {
  switch (change.kind) {
    case "open": {
      const session = sessionOf(state, change.session);
      session.opened = change;
      session.offlineAtMs = null;
      return;
    }
    case "offline":
      sessionOf(state, change.session).offlineAtMs = change.atMs;
      return;
    case "subscribe":
      sessionOf(state, change.session).subscriptions.set(change.subscription.filter, change.subscription);
      return;
    case "unsubscribe":
      sessionOf(state, change.session).subscriptions.set(change.filter, null);
      return;
    case "end": {
      const session = sessionOf(state, change.session);
      session.isEnded = true;
      session.subscriptions.clear();
      session.inboundPacketIds.clear();
      return;
    }
    case "will":
      state.wills.set(change.clientId, { will: change.will, dueMs: undefined });
      return;
    case "will-delayed":
      state.wills.set(change.clientId, { will: change.will, dueMs: change.dueMs });
      return;
    case "will-over":
      state.wills.set(change.clientId, null);
      return;
    case "owe":
      return;
  }
}

/** Walks what the broker owes; set by the broker, used when messages move out of the log. */
export interface OwedWalk {
  /**
   * Visits all messages from `first` to below `end` that are owed: to recorded Sessions, by session number, and with
   * number 0 those that a Session which is not recorded holds, with their shared group when it has a recorded member
   * and without one otherwise: those are nobody's after a start. Yields between Sessions, so that the caller can let
   * others work. What is retained (`MessageStore.retain`) during the walk may or
   * may not be visited.
   */
  walkOwed(first: Position, end: Position, visit: (session: SessionNumber, owed: OwedMessage) => void): Iterable<void>;
}
