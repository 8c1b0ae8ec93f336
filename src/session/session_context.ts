/**
 * What a Session is given: the parts of the broker it shares with all others, and the traits of its connection.
 */
import type { Counters } from "../metrics/counters.ts";
import type { ProtocolVersion } from "../protocol/packets.ts";
import type { PublishEncoder } from "../protocol/publish_encoder.ts";
import type { MessageStore } from "../storage/message_store.ts";
import type { SessionLimits } from "./session_limits.ts";

/** What all Sessions of a broker share. */
export interface SessionContext {
  readonly store: MessageStore["Service"];
  readonly encoder: PublishEncoder;
  readonly counters: Counters;
  readonly limits: SessionLimits;
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
