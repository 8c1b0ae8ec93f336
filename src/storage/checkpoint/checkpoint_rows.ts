/**
 * What goes into the database and comes out of it: messages that have left the log, who is owed them, and what the log
 * says of them later.
 */
import type { PacketId } from "../../protocol/distinct_number.ts";
import type { QoS } from "../../protocol/packets.ts";
import type { ProgressKind } from "../log/record.ts";
import type { DurableState, GroupBacklogEntry, OwedMessage } from "../model/durable_state.ts";
import type { GroupOrdinal, Position, SessionChange, SessionNumber, StoredSubscription } from "../model/stored.ts";

/** A Session is owed a Retained Message. */
export type OweChange = Extract<SessionChange, { readonly kind: "owe" }>;

/** An Application Message outside of the log. */
export interface ArchivedMessage {
  readonly position: Position;
  /** In ms since the epoch, 0 = never. */
  readonly expiresAtMs: number;
  readonly qos: QoS;
  readonly retain: boolean;
  /** With its two-byte length prefix. */
  readonly topic: Uint8Array;
  readonly properties: Uint8Array;
  readonly payload: Uint8Array;
}

/** Who is owed a message. */
export interface OwedRow {
  /** Session number; 0 = the backlog of the message's shared group, or nobody when it is received. */
  readonly session: SessionNumber;
  readonly owed: OwedMessage;
}

/** A PROGRESS record. */
export interface ArchivedProgress {
  readonly kind: ProgressKind;
  readonly session: SessionNumber;
  readonly position: Position;
  readonly packetId: PacketId;
  readonly group: GroupOrdinal;
  /** SENT to a group: Shared Subscriptions of the Session that were made or changed in this stretch of the log before. */
  readonly shared?: ReadonlyMap<string, StoredSubscription>;
}

/** Something in the log that concerns one message that has left it. */
export type ArchivedStep = ArchivedProgress | OweChange;

/** What is known of archived messages without reading them, ascending by position. */
export interface LoadedMessages {
  readonly positions: Float64Array;
  /** Bytes of topic, properties and payload. */
  readonly sizes: Float64Array;
  /** QoS in bits 0 and 1, RETAIN in bit 2, as they were published. */
  readonly flags: Uint8Array;
}

/** Everything but the messages themselves. */
export interface LoadedCheckpoint {
  readonly state: DurableState;
  /** By session number, in the order in which the rows were added. */
  readonly owed: Map<number, OwedMessage[]>;
  readonly groupBacklog: GroupBacklogEntry[];
  /** Messages of groups that no recorded Session has any claim on yet, ascending by position. */
  readonly unclaimed: GroupBacklogEntry[];
  /** All archived messages. */
  readonly messages: LoadedMessages;
  /** Everything below is here; `FIRST_LSN` when new. */
  readonly appliedLsn: number;
  /** Above every session number that was given out below the applied LSN. */
  readonly nextSession: number;
}
