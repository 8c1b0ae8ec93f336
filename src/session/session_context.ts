/**
 * What a Session is given: the parts of the broker it shares with all others, and the traits of its connection.
 */
import type { Counters, DropReason } from "../metrics/counters.ts";
import type { ProtocolVersion } from "../protocol/packets.ts";
import type { PublishEncoder } from "../protocol/publish_encoder.ts";
import type { MessageStore } from "../storage/message_store.ts";
import type { ProgressLine } from "./progress_line.ts";
import type { SessionLimits } from "./session_limits.ts";

/** Hears of messages that go no further. */
export interface DropListener {
  /**
   * A message did not reach somebody who should have got it.
   *
   * @param clientId Of the client that does not get it; of the publisher when the message was refused as a whole; empty
   *   when there is neither: a group without members, a message of the broker.
   */
  dropped(reason: DropReason, clientId: string): void;
}

/** What all Sessions of a broker share. */
export interface SessionContext {
  readonly store: MessageStore["Service"];
  readonly encoder: PublishEncoder;
  readonly counters: Counters;
  readonly limits: SessionLimits;
  /** Where deliveries wait for a step that must be safe first. */
  readonly progress: ProgressLine;
  /** Every dropped message is told here and counted nowhere else. Read at each event: listeners may come. */
  readonly events: DropListener;
}

/** What the client asked for with the CONNECT that serves the Session now. */
export interface ConnectionTraits {
  readonly version: ProtocolVersion;
  /** Its Receive Maximum; 65535 in v3. */
  readonly receiveMaximum: number;
  /** Its Maximum Packet Size in bytes. */
  readonly packetBytesMax: number;
  /** Its Topic Alias Maximum; 0 in v3. */
  readonly topicAliasMaximum: number;
}
