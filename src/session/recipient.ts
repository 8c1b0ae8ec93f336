/**
 * The way out of a Session as its Outbox sees it: a client that is there or away, and what it can be sent. Who it is, and
 * how its packets look, is the Session's to know.
 */
import type { PacketId } from "../protocol/distinct_number.ts";
import type { Message } from "../protocol/message.ts";
import type { SessionNumber } from "../storage/model/stored.ts";

/** Implemented by `Session`. Nothing is written while `isOnline` is false. */
export interface Recipient {
  readonly clientId: string;
  /** Number in the store's records; 0 = not recorded. */
  readonly recordNumber: SessionNumber;
  readonly isEnded: boolean;
  readonly isOnline: boolean;
  readonly isV5: boolean;
  /** Receive Maximum of the present connection's client. */
  readonly receiveMaximum: number;
  /** True when the connection is there and takes more. */
  readonly hasRoom: boolean;
  /** False when the client must not be sent the message; it was counted. */
  mayReceive(message: Message): boolean;
  /**
   * Writes the encoder's present message, which is `message`.
   *
   * @param flags Low four bits of the fixed header: DUP, QoS, RETAIN.
   * @returns False when it is larger than the client takes: it was counted.
   */
  writePublish(message: Message, flags: number, packetId: PacketId, identifiers: readonly number[]): boolean;
  /** True when somebody waits for room to give it more. */
  readonly wantsMore: boolean;
  /** Nothing waits any more. */
  queueSent(nowMs: number): void;
  /** Writes PUBREL. */
  acknowledge(header: number, packetId: PacketId, reasonCode: number): void;
}
