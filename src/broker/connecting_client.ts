/**
 * A connection between its CONNECT and the answer to it, as the broker sees it; `listeners/` has the only one.
 */
import type { PacketSink } from "../session/packet_sink.ts";
import type { Session } from "../session/session.ts";
import type { ClientOrigin } from "./client_origin.ts";

/** A connection that sent CONNECT. */
export interface ConnectingClient extends PacketSink {
  readonly origin: ClientOrigin;
  /** CONNACK was written and the Session attached; packets are handled from now on. */
  connected(session: Session, keepAliveSeconds: number): void;
  /** CONNECT was refused and CONNACK written; the connection ends. */
  refused(): void;
}
