/**
 * Reads the rows of `promptmq.db` back into plain data at a start. Long tables are read in windows, so that only what
 * the result needs is in memory. This file writes nothing.
 */
import type { QoS } from "../../protocol/packets.ts";
import { FIRST_LSN } from "../log/segment.ts";
import {
  type DurableState,
  emptyState,
  type GroupBacklogEntry,
  type OwedMessage,
  sessionOf,
} from "../model/durable_state.ts";
import type { StoredSubscription, StoredWill } from "../model/stored.ts";
import type { LoadedCheckpoint, LoadedMessages } from "./checkpoint_rows.ts";
import type { Row, SqliteConnection, SqlValue } from "./sqlite_connection.ts";

/** Reads Sessions, Retained Messages, Will Messages, and how far they are. */
export function loadState(
  connection: SqliteConnection,
): { readonly state: DurableState; readonly appliedLsn: number; readonly nextSession: number } {
  const state = emptyState();
  for (const row of all(connection, SESSIONS, -1)) {
    const session = sessionOf(state, row[0] as number);
    session.opened = {
      kind: "open",
      session: row[0] as number,
      clientId: row[1] as string,
      sessionExpiryInterval: row[2] as number,
      ...(row[3] === null ? {} : { username: row[3] as string }),
    };
    session.offlineAtMs = row[4] as number | null;
  }
  for (const row of all(connection, SUBSCRIPTIONS, -1, "")) {
    const subscription = subscriptionOf(row);
    state.sessions.get(row[0] as number)?.subscriptions.set(subscription.filter, subscription);
  }
  for (const [session, packetId] of all(connection, INBOUND_PACKET_IDS, -1, -1)) {
    state.sessions.get(session as number)?.inboundPacketIds.set(packetId as number, true);
  }
  for (const [topic, position] of all(connection, RETAINED, "")) {
    state.retained.set(topic as string, position as number);
  }
  for (const [, clientId, will, dueMs] of all(connection, WILLS, -1)) {
    const stored = JSON.parse(will as string) as StoredWill;
    state.wills.set(clientId as string, { will: stored, dueMs: dueMs === null ? undefined : dueMs as number });
  }
  const progress = connection.statement("SELECT applied_lsn, next_session FROM store").row();
  return {
    state,
    appliedLsn: (progress?.[0] ?? FIRST_LSN) as number,
    nextSession: (progress?.[1] ?? 1) as number,
  };
}

/** Reads who is owed messages, in the order in which the rows were added. */
export function loadOwed(
  connection: SqliteConnection,
): Pick<LoadedCheckpoint, "owed" | "groupBacklog" | "unclaimed"> {
  const owed = new Map<number, OwedMessage[]>();
  const groupBacklog: GroupBacklogEntry[] = [];
  const unclaimed: GroupBacklogEntry[] = [];
  for (const row of all(connection, OWED, -1)) {
    const session = row[1] as number;
    const message = owedMessageOf(row);
    if (session !== 0) {
      const queue = owed.get(session);
      if (queue === undefined) owed.set(session, [message]);
      else queue.push(message);
    } else if (message.group !== undefined) {
      const list = message.isReceived ? unclaimed : groupBacklog;
      list.push({ position: message.position, group: message.group });
    }
  }
  groupBacklog.sort((a, b) => a.position - b.position);
  unclaimed.sort((a, b) => a.position - b.position);
  return { owed, groupBacklog, unclaimed };
}

/** Reads which messages are there. */
export function loadMessages(connection: SqliteConnection): LoadedMessages {
  let positions = new Float64Array(MESSAGES_AT_FIRST);
  let sizes = new Float64Array(MESSAGES_AT_FIRST);
  let flags = new Uint8Array(MESSAGES_AT_FIRST);
  let count = 0;
  for (const [position, size, messageFlags] of all(connection, MESSAGES, -1)) {
    if (count === positions.length) {
      positions = doubled(positions, new Float64Array(count * 2));
      sizes = doubled(sizes, new Float64Array(count * 2));
      flags = doubled(flags, new Uint8Array(count * 2));
    }
    positions[count] = position as number;
    sizes[count] = size as number;
    flags[count++] = messageFlags as number;
  }
  return { positions: positions.slice(0, count), sizes: sizes.slice(0, count), flags: flags.slice(0, count) };
}

function* all(connection: SqliteConnection, sql: string, ...before: SqlValue[]): Generator<Row> {
  for (const rows of connection.statement(sql).windows(...before)) yield* rows;
}

function doubled<A extends Float64Array | Uint8Array>(array: A, larger: A): A {
  larger.set(array);
  return larger;
}

/** The reverse of the Subscription Options byte. [MQTT-3.8.3.1] */
function subscriptionOf(row: Row): StoredSubscription {
  const options = row[2] as number;
  return {
    filter: row[1] as string,
    qos: (options & 3) as QoS,
    noLocal: (options & 4) !== 0,
    retainAsPublished: (options & 8) !== 0,
    retainHandling: (options >> 4) as 0 | 1 | 2,
    subscriptionIdentifier: row[3] as number,
  };
}

function owedMessageOf(row: Row): OwedMessage {
  const ordinal = row[8] as number;
  return {
    position: row[2] as number,
    size: row[3] as number,
    flags: row[4] as number,
    identifiers: row[5] === null ? NO_IDENTIFIERS : JSON.parse(row[5] as string) as number[],
    packetId: row[6] as number,
    isReceived: row[7] !== 0,
    group: ordinal === 0 ? undefined : { ordinal, name: row[9] as string, filter: row[10] as string },
  };
}

const NO_IDENTIFIERS: readonly number[] = [];
const MESSAGES_AT_FIRST = 4096;

const SESSIONS = `SELECT number, client_id, session_expiry_interval, username, offline_at_ms FROM sessions
  WHERE number > ? ORDER BY number LIMIT ?`;
const SUBSCRIPTIONS = `SELECT session, filter, options, subscription_identifier FROM subscriptions
  WHERE (session, filter) > (?, ?) ORDER BY session, filter LIMIT ?`;
const INBOUND_PACKET_IDS = `SELECT session, packet_id FROM inbound_packet_ids
  WHERE (session, packet_id) > (?, ?) ORDER BY session, packet_id LIMIT ?`;
const RETAINED = "SELECT topic, position FROM retained WHERE topic > ? ORDER BY topic LIMIT ?";
const WILLS = "SELECT rowid, client_id, will, due_ms FROM wills WHERE rowid > ? ORDER BY rowid LIMIT ?";
const OWED = `SELECT id, session, position, size, flags, identifiers, packet_id, is_received, group_ordinal, group_name,
    group_filter
  FROM owed WHERE id > ? ORDER BY id LIMIT ?`;
const MESSAGES = `SELECT position, length(topic) + length(properties) + length(payload), flags FROM messages
  WHERE position > ? ORDER BY position LIMIT ?`;
