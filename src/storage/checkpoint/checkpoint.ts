/**
 * What has left the log: Sessions, subscriptions, Retained Messages, Will Messages and open inbound Packet Identifiers as
 * of the *applied LSN*, and the Application Messages that were owed or retained when their segment was moved. All of it
 * is in the SQLite database `promptmq.db`; `checkpoint_schema.ts` describes its tables. This file knows nothing of segments
 * and of who asks.
 *
 * A move is two steps: `addMessages` in as many transactions as it takes, then one `apply` that brings the state forward
 * together with the applied LSN. After a crash in between, rows at or above the applied LSN are leftovers
 * (`discardFrom`). Doing a step again changes nothing.
 *
 * A removal takes what nobody refers to any more, but not every row of `owed`: one that is owed at QoS 2 to a recorded
 * Session outlives its message, as PUBREL is sent without it, and the log may know of a PUBREC that was not applied here
 * yet. Those rows go when the delivery is done or the Session ends.
 */
import type { QoS } from "../../protocol/packets.ts";
import type { DurableState } from "../model/durable_state.ts";
import type { Position } from "../model/stored.ts";
import { applyState, applyStep, dropLonelyBacklog } from "./checkpoint_changes.ts";
import { loadMessages, loadOwed, loadState } from "./checkpoint_loading.ts";
import type { ArchivedMessage, ArchivedStep, LoadedCheckpoint, OwedRow } from "./checkpoint_rows.ts";
import { SqliteConnection } from "./sqlite_connection.ts";
import { type SqliteSettings, weaknessesOf } from "./sqlite_settings.ts";
import { type SqliteWatch, unwatched } from "./sqlite_watch.ts";

/** See the head of this file. Every method is synchronous and throws `StorageFailed`. */
export class Checkpoint {
  /** One sentence for each setting that is weaker than safe, naming what it can cost. */
  readonly weaknesses: readonly string[];
  readonly #connection: SqliteConnection;
  readonly #watch: SqliteWatch;

  private constructor(connection: SqliteConnection, settings: SqliteSettings, watch: SqliteWatch) {
    this.#connection = connection;
    this.#watch = watch;
    this.weaknesses = weaknessesOf(settings);
  }

  /**
   * Opens the database, or makes it in a directory that exists.
   *
   * Fails with reason `pragma` when a setting does not take, `format` for a file of a newer version or of another
   * application, which is not touched, and `sqlite` for one that is damaged.
   */
  static open(path: string, settings: SqliteSettings, watch: SqliteWatch = unwatched()): Checkpoint {
    return new Checkpoint(watch.operation("open", () => SqliteConnection.open(path, settings, watch)), settings, watch);
  }

  /** Reads everything but the messages; about a second per million rows. */
  load(): LoadedCheckpoint {
    const connection = this.#connection;
    return this.#watch.operation("load", () =>
      connection.read("load", () => ({
        ...loadState(connection),
        ...loadOwed(connection),
        messages: loadMessages(connection),
      })));
  }

  /**
   * Opens a transaction that takes in `addMessages` until `commit` or `rollback`. Others may read meanwhile, and see what
   * it added; nobody may `apply`.
   */
  begin(): void {
    this.#connection.begin();
  }

  /** Ends what `begin` opened. On failure nothing of it stays. */
  commit(): void {
    this.#connection.commit();
  }

  /** Takes back what `begin` opened; does nothing when a failure has already. */
  rollback(): void {
    this.#connection.rollBack();
  }

  /**
   * Adds messages and who is owed them, in one transaction or as part of the open one, which a failure takes back as a
   * whole. A row that is there already takes the new values.
   */
  addMessages(messages: readonly ArchivedMessage[], owed: readonly OwedRow[]): void {
    const connection = this.#connection;
    connection.write("add messages to", () => {
      const addMessage = connection.statement(ADD_MESSAGE);
      for (const { position, expiresAtMs, qos, retain, topic, properties, payload } of messages) {
        addMessage.run(position, expiresAtMs, qos | (retain ? RETAIN_FLAG : 0), topic, properties, payload);
      }
      const addOwed = connection.statement(ADD_OWED);
      for (const { session, owed: { position, size, flags, identifiers, packetId, isReceived, group } } of owed) {
        addOwed.run(
          session,
          position,
          size,
          flags,
          identifiers.length === 0 ? null : JSON.stringify(identifiers),
          packetId,
          isReceived ? 1 : 0,
          group?.ordinal ?? 0,
          group?.name ?? null,
          group?.filter ?? null,
        );
      }
    });
  }

  /** Removes what a move that did not finish left: messages and owed rows at or above the position. */
  discardFrom(position: Position): void {
    const connection = this.#connection;
    connection.write("discard leftovers in", () => {
      connection.statement("DELETE FROM messages WHERE position >= ?").run(position);
      connection.statement("DELETE FROM owed WHERE group_ordinal = 0 AND position >= ?").run(position);
      connection.statement("DELETE FROM owed WHERE group_ordinal > 0 AND position >= ?").run(position);
    });
  }

  /**
   * Applies progress ahead of the `apply` that it belongs to, so that this one is short. All of it has to be given in order,
   * here first and the rest to `apply`; after a crash or a failure in between it is given again.
   */
  applyAhead(progress: readonly ArchivedStep[]): void {
    const connection = this.#connection;
    connection.write("apply progress to", () => {
      for (const step of progress) applyStep(connection, step);
    });
  }

  /**
   * Brings the state forward to an applied LSN, in one transaction that is safe when it returns, whatever `synchronous`
   * is, and with it everything added before.
   *
   * @param change What the CHANGE, PUBLISH and RELEASE records up to there come to.
   * @param progress PROGRESS records, and `owe` changes of messages that were archived before, in order; those of unknown
   *   messages change nothing.
   */
  apply(change: DurableState, progress: readonly ArchivedStep[], appliedLsn: number, nextSession: number): void {
    const connection = this.#connection;
    connection.writeSynced("apply changes to", () => {
      // Progress first: there is none of a Session after its end, but a message it leaves to its group may be sent to
      // it before, and to another member after its end.
      for (const step of progress) applyStep(connection, step);
      applyState(connection, change);
      dropLonelyBacklog(connection, change);
      connection.statement(SET_PROGRESS).run(appliedLsn, nextSession);
    });
  }

  /**
   * Reads archived messages from position `first` on, ascending.
   *
   * @param max Messages at most.
   * @param maxBytes Bytes of topic, properties and payload at most, but at least one message.
   */
  readMessages(first: Position, max: number, maxBytes: number): ArchivedMessage[] {
    const connection = this.#connection;
    return connection.read("read messages from", () => {
      let last = -1;
      let bytes = 0;
      for (const [position, size] of connection.statement(MESSAGE_SIZES).rows(first, max)) {
        bytes += size as number;
        if (last !== -1 && bytes > maxBytes) break;
        last = position as number;
      }
      if (last === -1) return [];
      return connection.statement(READ_MESSAGES).rows(first, last).map((row) => ({
        position: row[0] as number,
        expiresAtMs: row[1] as number,
        qos: ((row[2] as number) & QOS_MASK) as QoS,
        retain: ((row[2] as number) & RETAIN_FLAG) !== 0,
        topic: row[3] as Uint8Array,
        properties: row[4] as Uint8Array,
        payload: row[5] as Uint8Array,
      }));
    });
  }

  /** Removes the messages from `first` to below `end`, and their owed rows; see the head of this file. */
  removeRange(first: Position, end: Position): void {
    const connection = this.#connection;
    connection.write("remove messages from", () => {
      removeRows(connection, first, end);
      connection.giveBackPages();
    });
  }

  /**
   * Removes the messages from `first` to below `end` that are not in `keep`, and their owed rows; see the head of this
   * file. One transaction: the caller bounds the range.
   *
   * @returns Messages removed.
   */
  removeAllBut(first: Position, end: Position, keep: ReadonlySet<Position>): number {
    const connection = this.#connection;
    return connection.write("remove messages from", () => {
      let removed = 0;
      // The range that lies behind the last message to keep, and whether a message to remove was seen in it.
      let from = first;
      let isEmpty = true;
      for (const position of positionsBetween(connection, first, end)) {
        if (!keep.has(position)) {
          isEmpty = false;
          continue;
        }
        if (!isEmpty) removed += removeRows(connection, from, position);
        from = position + 1;
        isEmpty = true;
      }
      if (!isEmpty) removed += removeRows(connection, from, end);
      if (removed > 0) connection.giveBackPages();
      return removed;
    });
  }

  /** Positions of Retained Messages from `first` to below `end`, ascending. */
  retainedPositions(first: Position, end: Position): Position[] {
    const connection = this.#connection;
    return connection.read(
      "read Retained Messages from",
      () => connection.statement(RETAINED_POSITIONS).rows(first, end).map((row) => row[0] as number),
    );
  }

  /** Bytes that the database file needs, and those of its WAL. */
  get sizeBytes(): number {
    return this.#connection.sizeBytes;
  }

  /** Journal mode WAL: moves the WAL into the database file and empties it, unless another process reads there. */
  flush(): void {
    this.#connection.checkpoint();
  }

  /** Checkpoints and closes. */
  close(): void {
    this.#connection.close();
  }
}

function* positionsBetween(connection: SqliteConnection, first: Position, end: Position): Generator<Position> {
  for (const rows of connection.statement(POSITIONS).windows(first - 1)) {
    for (const [position] of rows) {
      if (position as number >= end) return;
      yield position as number;
    }
  }
}

/** Returns the number of messages removed. */
function removeRows(connection: SqliteConnection, first: Position, end: Position): number {
  for (const sql of REMOVE_OWED) connection.statement(sql).run(first, end);
  return connection.statement(REMOVE_MESSAGES).run(first, end);
}

const QOS_MASK = 3;
const RETAIN_FLAG = 4;

const ADD_MESSAGE = `INSERT INTO messages (position, expires_at_ms, flags, topic, properties, payload)
  VALUES (?, ?, ?, ?, ?, ?)
  ON CONFLICT (position) DO UPDATE SET expires_at_ms = excluded.expires_at_ms, flags = excluded.flags,
    topic = excluded.topic, properties = excluded.properties, payload = excluded.payload`;
const OWED_VALUES = `SET session = excluded.session, size = excluded.size, flags = excluded.flags,
  identifiers = excluded.identifiers, packet_id = excluded.packet_id, is_received = excluded.is_received,
  group_name = excluded.group_name, group_filter = excluded.group_filter`;
const ADD_OWED = `INSERT INTO owed (session, position, size, flags, identifiers, packet_id, is_received, group_ordinal,
    group_name, group_filter)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (position, session) WHERE group_ordinal = 0 DO UPDATE ${OWED_VALUES}
  ON CONFLICT (position, group_ordinal) WHERE group_ordinal > 0 DO UPDATE ${OWED_VALUES}`;
const SET_PROGRESS = `INSERT INTO store (id, applied_lsn, next_session) VALUES (1, ?, ?)
  ON CONFLICT (id) DO UPDATE SET applied_lsn = excluded.applied_lsn, next_session = excluded.next_session`;
const SIZE = "length(topic) + length(properties) + length(payload)";
const MESSAGE_SIZES = `SELECT position, ${SIZE} FROM messages WHERE position >= ? ORDER BY position LIMIT ?`;
const READ_MESSAGES = `SELECT position, expires_at_ms, flags, topic, properties, payload FROM messages
  WHERE position BETWEEN ? AND ? ORDER BY position`;
const POSITIONS = "SELECT position FROM messages WHERE position > ? ORDER BY position LIMIT ?";
const RETAINED_POSITIONS = "SELECT position FROM retained WHERE position >= ? AND position < ? ORDER BY position";
const REMOVE_MESSAGES = "DELETE FROM messages WHERE position >= ? AND position < ?";
const REMOVE_OWED = [
  `DELETE FROM owed WHERE group_ordinal = 0 AND position >= ? AND position < ? AND (flags & 3) <> 2`,
  `DELETE FROM owed WHERE group_ordinal > 0 AND position >= ? AND position < ?
    AND ((flags & 3) <> 2 OR session = 0)`,
];
