/**
 * Applies changes of state and progress of deliveries to the rows of `promptmq.db`. This file runs within the transaction
 * of its caller, `checkpoint.ts`.
 *
 * A Session that ends leaves to its shared groups what it was never sent and what it did not acknowledge at QoS 1: the
 * rows go to the backlog, from where the next SENT of any member takes them. What it was sent at QoS 2 goes with it.
 * [MQTT-4.8.2-5]
 */
import { ProgressKind } from "../log/record.ts";
import type { DurableState, SessionState } from "../model/durable_state.ts";
import { MESSAGE_FLAGS_UNKNOWN, type SessionNumber, type StoredSubscription } from "../model/stored.ts";
import { type ArchivedProgress, type ArchivedStep, OweChange } from "./checkpoint_rows.ts";
import type { SqliteConnection } from "./sqlite_connection.ts";

/**
 * Applies one PROGRESS record or `owe` change. Nothing changes when the message is not here, or not owed any more.
 */
export function applyStep(connection: SqliteConnection, step: ArchivedStep): void {
  if (step.kind !== "owe") {
    applyProgress(connection, step as ArchivedProgress);
    return;
  }
  const { session, position, flags, identifiers } = step as OweChange;
  const text = identifiers.length === 0 ? null : JSON.stringify(identifiers);
  connection.statement(OWE).run(session, flags, text, position);
}

/**
 * A Session may have been owed a message twice, with the other delivery gone or not moved here: the Packet Identifier
 * says which of the two a record is about.
 */
function applyProgress(connection: SqliteConnection, progress: ArchivedProgress): void {
  const { kind, session, position, packetId, group } = progress;
  if (group === 0) {
    switch (kind) {
      case ProgressKind.SENT:
        connection.statement(`UPDATE owed SET packet_id = ? WHERE ${TO_SESSION} AND packet_id = 0`)
          .run(packetId, position, session);
        return;
      case ProgressKind.RECEIVED:
        connection.statement(`UPDATE owed SET is_received = 1 WHERE ${TO_SESSION} AND packet_id = ?`)
          .run(position, session, packetId);
        return;
      case ProgressKind.DONE:
        connection.statement(`DELETE FROM owed WHERE ${TO_SESSION} AND packet_id = ?`)
          .run(position, session, packetId);
        return;
    }
    return;
  }
  switch (kind) {
    case ProgressKind.SENT: {
      if (session !== 0) grant(connection, progress);
      // A Packet Identifier of a Session that is not recorded means nothing to the next one.
      const known = session === 0 ? 0 : packetId;
      connection.statement(SENT_FROM_GROUP)
        .run(session, known, position, group);
      return;
    }
    case ProgressKind.RECEIVED:
      connection.statement(session === 0 ? RECEIVED_BY_NOBODY : RECEIVED_FROM_GROUP).run(position, group);
      return;
    case ProgressKind.DONE:
      connection.statement(`DELETE FROM owed WHERE ${TO_GROUP}`).run(position, group);
      return;
  }
}

/** A member of a group that takes a message over gets it as its own subscription says. */
function grant(connection: SqliteConnection, { session, position, group, shared }: ArchivedProgress): void {
  const held = connection.statement(HOLDER).row(position, group);
  if (held === undefined || held[0] === session) return;
  const subscription = subscriptionTo(connection, session, `$share/${held[1]}/${held[2]}`, shared);
  if (subscription === undefined) return;
  const [options, identifier] = subscription;
  const published = connection.statement("SELECT flags FROM messages WHERE position = ?").row(position)?.[0];
  const messageFlags = (published ?? MESSAGE_FLAGS_UNKNOWN) as number;
  const qos = Math.min(messageFlags & QOS_BITS, options & QOS_BITS);
  const retain = (options & RETAIN_AS_PUBLISHED) === 0 ? 0 : messageFlags & RETAIN_FLAG;
  const identifiers = identifier === 0 ? null : JSON.stringify([identifier]);
  connection.statement(`UPDATE owed SET flags = ?, identifiers = ? WHERE ${TO_GROUP}`)
    .run(qos | retain, identifiers, position, group);
}

/** Subscription Options and Subscription Identifier of a Session's subscription, which this stretch may have changed. */
function subscriptionTo(
  connection: SqliteConnection,
  session: SessionNumber,
  filter: string,
  changed: ArchivedProgress["shared"],
): readonly [options: number, identifier: number] | undefined {
  const subscription = changed?.get(filter);
  if (subscription !== undefined) return [optionsOf(subscription), subscription.subscriptionIdentifier];
  return connection.statement(SUBSCRIPTION).row(session, filter) as unknown as readonly [number, number] | undefined;
}

/** Applies a change of Sessions, Retained Messages and Will Messages. */
export function applyState(connection: SqliteConnection, change: DurableState): void {
  for (const [number, session] of change.sessions) {
    if (session.isEnded) endSession(connection, number);
    else changeSession(connection, number, session);
  }
  for (const [topic, position] of change.retained) {
    if (position === null) connection.statement("DELETE FROM retained WHERE topic = ?").run(topic);
    else connection.statement(SET_RETAINED).run(topic, position);
  }
  for (const [clientId, will] of change.wills) {
    if (will === null) connection.statement("DELETE FROM wills WHERE client_id = ?").run(clientId);
    else connection.statement(SET_WILL).run(clientId, JSON.stringify(will.will), will.dueMs ?? null);
  }
}

/**
 * Drops the backlog of groups that lost their last recorded member with this change. Somebody else may hold it yet, and
 * another recorded Session may come and be sent it: the rows stay, and are nobody's.
 */
export function dropLonelyBacklog(connection: SqliteConnection, change: DurableState): void {
  if (!mayEmptyGroup(change)) return;
  for (const [name, filter] of connection.statement(BACKLOG_GROUPS).rows()) {
    const shared = `$share/${name}/${filter}`;
    if (connection.statement(HAS_MEMBER).row(shared) !== undefined) continue;
    connection.statement("UPDATE owed SET is_received = 1 WHERE session = 0 AND group_name = ? AND group_filter = ?")
      .run(name!, filter!);
  }
}

function mayEmptyGroup(change: DurableState): boolean {
  for (const { isEnded, subscriptions } of change.sessions.values()) {
    if (isEnded) return true;
    for (const [filter, subscription] of subscriptions) {
      if (subscription === null && filter.startsWith("$share/")) return true;
    }
  }
  return false;
}

function endSession(connection: SqliteConnection, number: number): void {
  connection.statement(LEAVE_TO_GROUPS).run(number);
  connection.statement("DELETE FROM owed WHERE session = ?").run(number);
  connection.statement("DELETE FROM subscriptions WHERE session = ?").run(number);
  connection.statement("DELETE FROM inbound_packet_ids WHERE session = ?").run(number);
  connection.statement("DELETE FROM sessions WHERE number = ?").run(number);
}

function changeSession(connection: SqliteConnection, number: number, change: SessionState): void {
  const { opened, offlineAtMs } = change;
  if (opened !== undefined) {
    const { clientId, sessionExpiryInterval, username } = opened;
    connection.statement(OPEN_SESSION).run(number, clientId, sessionExpiryInterval, username ?? null);
  } else if (connection.statement("SELECT 1 FROM sessions WHERE number = ?").row(number) === undefined) {
    // Its opening was lost with a damaged part of the log: nobody could come back to it.
    return;
  }
  if (offlineAtMs !== undefined) {
    connection.statement("UPDATE sessions SET offline_at_ms = ? WHERE number = ?").run(offlineAtMs, number);
  }
  for (const [filter, subscription] of change.subscriptions) {
    if (subscription === null) {
      connection.statement("DELETE FROM subscriptions WHERE session = ? AND filter = ?").run(number, filter);
    } else {
      connection.statement(SUBSCRIBE).run(
        number,
        filter,
        optionsOf(subscription),
        subscription.subscriptionIdentifier,
      );
    }
  }
  for (const [packetId, isOpen] of change.inboundPacketIds) {
    connection.statement(isOpen ? OPEN_PACKET_ID : CLOSE_PACKET_ID).run(number, packetId);
  }
}

/** The Subscription Options byte of SUBSCRIBE. [MQTT-3.8.3.1] */
function optionsOf(subscription: StoredSubscription): number {
  const { qos, noLocal, retainAsPublished, retainHandling } = subscription;
  return qos | (noLocal ? 4 : 0) | (retainAsPublished ? RETAIN_AS_PUBLISHED : 0) | (retainHandling << 4);
}

const QOS_BITS = 3;
const RETAIN_FLAG = 4;
/** In the Subscription Options byte. */
const RETAIN_AS_PUBLISHED = 8;
const TO_SESSION = "position = ? AND session = ? AND group_ordinal = 0";
// The second condition is for the planner: the index covers only rows of which it holds.
const TO_GROUP = "position = ? AND group_ordinal = ? AND group_ordinal > 0";
const HOLDER = `SELECT session, group_name, group_filter FROM owed WHERE ${TO_GROUP}`;
const SUBSCRIPTION = "SELECT options, subscription_identifier FROM subscriptions WHERE session = ? AND filter = ?";
// What was nobody's is owed again.
const SENT_FROM_GROUP = `UPDATE owed SET session = ?, packet_id = ?,
    is_received = CASE WHEN session = 0 THEN 0 ELSE is_received END
  WHERE ${TO_GROUP}`;
const RECEIVED_FROM_GROUP = `UPDATE owed SET is_received = 1 WHERE ${TO_GROUP}`;
// Nobody else gets it, and nobody who is recorded goes on with it.
const RECEIVED_BY_NOBODY = `UPDATE owed SET session = 0, packet_id = 0, is_received = 1 WHERE ${TO_GROUP}`;
const OWE = `INSERT INTO owed (session, position, size, flags, identifiers, packet_id, is_received, group_ordinal)
  SELECT ?, position, length(topic) + length(properties) + length(payload), ?, ?, 0, 0, 0
  FROM messages WHERE position = ?
  ON CONFLICT (position, session) WHERE group_ordinal = 0 DO NOTHING`;
const SET_RETAINED = `INSERT INTO retained (topic, position) VALUES (?, ?)
  ON CONFLICT (topic) DO UPDATE SET position = excluded.position`;
const SET_WILL = `INSERT INTO wills (client_id, will, due_ms) VALUES (?, ?, ?)
  ON CONFLICT (client_id) DO UPDATE SET will = excluded.will, due_ms = excluded.due_ms`;
const BACKLOG_GROUPS = "SELECT DISTINCT group_name, group_filter FROM owed WHERE session = 0 AND is_received = 0";
const HAS_MEMBER = "SELECT 1 FROM subscriptions WHERE filter = ? AND substr(filter, 1, 7) = '$share/' LIMIT 1";
const LEAVE_TO_GROUPS = `UPDATE owed SET session = 0, packet_id = 0
  WHERE session = ? AND group_ordinal > 0 AND is_received = 0 AND (packet_id = 0 OR (flags & 3) <> 2)`;
const OPEN_SESSION = `INSERT INTO sessions (number, client_id, session_expiry_interval, username) VALUES (?, ?, ?, ?)
  ON CONFLICT (number) DO UPDATE SET client_id = excluded.client_id,
    session_expiry_interval = excluded.session_expiry_interval, username = excluded.username`;
const SUBSCRIBE = `INSERT INTO subscriptions (session, filter, options, subscription_identifier) VALUES (?, ?, ?, ?)
  ON CONFLICT (session, filter) DO UPDATE SET options = excluded.options,
    subscription_identifier = excluded.subscription_identifier`;
const OPEN_PACKET_ID = "INSERT INTO inbound_packet_ids (session, packet_id) VALUES (?, ?) ON CONFLICT DO NOTHING";
const CLOSE_PACKET_ID = "DELETE FROM inbound_packet_ids WHERE session = ? AND packet_id = ?";
