/**
 * The tables of `promptmq.db` and how older ones become them. This file knows no rows; `checkpoint.ts` does.
 *
 *   store                one row: how far the log was moved here, and the next session number
 *   sessions             recorded Sessions by number; offline_at_ms is null while connected
 *   subscriptions        options as in SUBSCRIBE: QoS, No Local, Retain As Published, Retain Handling [MQTT-3.8.3.1]
 *   inbound_packet_ids   inbound QoS 2 Packet Identifiers that wait for PUBREL
 *   retained             position of the Retained Message of a topic, here or in the log
 *   wills                Will Messages as JSON; due_ms is null while the connection lives
 *   messages             archived Application Messages: QoS in bits 0 and 1 of flags, RETAIN in bit 2
 *   owed                 who is owed an archived message, in the order of `id`; session 0 = the backlog of the group, and
 *                        with `is_received` nobody, until a recorded Session is sent it. `flags` as in `OwedMessage`,
 *                        identifiers as JSON or null
 *
 * A row of `owed` is known by (position, session) or, when it comes from a shared group, by (position, group_ordinal),
 * as the message goes from member to member. It may stand without its message (PUBREL is to be sent, the message is
 * not) and before its session (messages move before the changes of their segments), so it refers to neither.
 *
 * `PRAGMA user_version` counts the migrations a file has seen, `PRAGMA application_id` says whose it is. Both change in
 * the transaction of the migration.
 */

/** "PMQT" as a number, at byte 68 of the file. */
export const APPLICATION_ID = 0x504d5154;

const VERSION_1 = [
  `CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    applied_lsn INTEGER NOT NULL,
    next_session INTEGER NOT NULL
  )`,
  `CREATE TABLE sessions (
    number INTEGER PRIMARY KEY,
    client_id TEXT NOT NULL,
    session_expiry_interval INTEGER NOT NULL,
    username TEXT,
    offline_at_ms INTEGER
  )`,
  `CREATE TABLE subscriptions (
    session INTEGER NOT NULL REFERENCES sessions (number),
    filter TEXT NOT NULL,
    options INTEGER NOT NULL,
    subscription_identifier INTEGER NOT NULL,
    PRIMARY KEY (session, filter)
  ) WITHOUT ROWID`,
  `CREATE INDEX shared_subscriptions ON subscriptions (filter) WHERE substr(filter, 1, 7) = '$share/'`,
  `CREATE TABLE inbound_packet_ids (
    session INTEGER NOT NULL REFERENCES sessions (number),
    packet_id INTEGER NOT NULL,
    PRIMARY KEY (session, packet_id)
  ) WITHOUT ROWID`,
  `CREATE TABLE retained (topic TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID`,
  `CREATE INDEX retained_by_position ON retained (position)`,
  `CREATE TABLE wills (client_id TEXT PRIMARY KEY, will TEXT NOT NULL, due_ms INTEGER)`,
  `CREATE TABLE messages (
    position INTEGER PRIMARY KEY,
    expires_at_ms INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    topic BLOB NOT NULL,
    properties BLOB NOT NULL,
    payload BLOB NOT NULL
  )`,
  `CREATE TABLE owed (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    position INTEGER NOT NULL,
    size INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    identifiers TEXT,
    packet_id INTEGER NOT NULL,
    is_received INTEGER NOT NULL,
    group_ordinal INTEGER NOT NULL,
    group_name TEXT,
    group_filter TEXT
  )`,
  `CREATE UNIQUE INDEX owed_to_session ON owed (position, session) WHERE group_ordinal = 0`,
  `CREATE UNIQUE INDEX owed_to_group ON owed (position, group_ordinal) WHERE group_ordinal > 0`,
  `CREATE INDEX owed_by_session ON owed (session)`,
];

/** Statements that lead from version `index` to `index + 1`. Only ever grows. */
export const MIGRATIONS: readonly (readonly string[])[] = [VERSION_1];
