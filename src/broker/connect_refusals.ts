/**
 * Why a CONNECT is refused, and the one place where a refusal is counted, logged and told.
 *
 * A client learns the Reason Code, and a sentence only where it gives nothing away; the log and a counter get the reason.
 */
import type { LogWriter } from "../logging/log.ts";
import { encodeConnack } from "../protocol/codec_encode.ts";
import type { ConnectPacket } from "../protocol/packets.ts";
import { ReasonCode, reasonCodeName } from "../protocol/reason_codes.ts";
import type { BrokerContext } from "./broker_events.ts";
import type { ConnectingClient } from "./connecting_client.ts";

/** Why a CONNECT is refused. */
export interface Refusal {
  /** For the client. */
  readonly reasonCode: number;
  /** For counter and log, in snake_case; undefined = the name of the Reason Code. */
  readonly reason?: string | undefined;
  /** One sentence for a v5 client, and for the log. */
  readonly reasonString?: string | undefined;
}

/** Answers CONNECT with a refusal and ends the connection. Lines of one reason are logged once a second, with a count. */
export function refuseConnect(
  client: ConnectingClient,
  packet: ConnectPacket,
  refusal: Refusal,
  { counters, events }: BrokerContext,
  log: LogWriter,
): void {
  const { reasonCode, reasonString, reason = reasonCodeName(reasonCode) } = refusal;
  events.refused(client, packet, reason);
  log.limited(`connect_refused:${reason}`, "warn", "connect refused", {
    reason,
    detail: reasonString,
    clientId: packet.clientId.slice(0, LOGGED_CHARS_MAX),
    username: packet.username?.slice(0, LOGGED_CHARS_MAX),
    remoteAddress: client.origin.remoteAddress,
    listener: client.origin.listener.name,
  });
  const properties = reasonString === undefined ? {} : { reasonString };
  const connack = encodeConnack(packet.version, false, reasonCode, properties, packet.maximumPacketSize);
  if (connack.length <= packet.maximumPacketSize) {
    client.out.append(connack);
    counters.packetsSent++;
  }
  client.touch();
  client.refused();
}

/** A peer chooses what stands in its packets, so the log gets no more than a glimpse. */
export const LOGGED_CHARS_MAX = 128;

/** The broker is stopping. */
export const SHUTTING_DOWN: Refusal = { reasonCode: ReasonCode.SERVER_SHUTTING_DOWN };
/** All Will Messages together take what they may. */
export const NO_ROOM_FOR_WILL: Refusal = {
  reasonCode: ReasonCode.QUOTA_EXCEEDED,
  reasonString: "no room for another Will Message",
};
/** `mqtt.max-connections`. */
export const TOO_MANY_CONNECTIONS: Refusal = {
  reasonCode: ReasonCode.QUOTA_EXCEEDED,
  reasonString: "the broker has its maximum of connections",
};
/** As many Sessions without connection are kept as may be. */
export const TOO_MANY_SESSIONS: Refusal = {
  reasonCode: ReasonCode.QUOTA_EXCEEDED,
  reasonString: "the broker keeps its maximum of Sessions",
};
/** All session numbers of the store were used. */
export const NO_SESSION_NUMBER: Refusal = {
  reasonCode: ReasonCode.QUOTA_EXCEEDED,
  reasonString: "the store has used all of its session numbers",
};
/** The store takes nothing new. */
export const STORE_IS_FULL: Refusal = {
  reasonCode: ReasonCode.QUOTA_EXCEEDED,
  reasonString: "the store has no room for another Session",
};
/** Another connection with the same Client Identifier was faster. */
export const CAME_TOO_LATE: Refusal = {
  reasonCode: ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
  reasonString: "a later connection came first",
};
/** A Session, and what waits in its queue, belongs to the user who opened it. */
export const NOT_THEIRS: Refusal = {
  reasonCode: ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
  reason: "session_of_another_user",
  reasonString: "the Client Identifier belongs to another user",
};
/** `listeners[].protocol-versions`. */
export const VERSION_NOT_SERVED: Refusal = {
  reasonCode: ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
  reasonString: "this listener does not serve this version of MQTT",
};
/** `limits.memory-high-water`. */
export const MEMORY_HIGH: Refusal = { reasonCode: ReasonCode.SERVER_BUSY, reason: "memory_high" };
/** A ban of client, user or address holds. */
export const BANNED: Refusal = { reasonCode: ReasonCode.BANNED };
/** So many attempts of the address wait for their turn that this one is not taken. */
export const TOO_MANY_FAILURES: Refusal = {
  reasonCode: ReasonCode.CONNECTION_RATE_EXCEEDED,
  reason: "too_many_failures",
};
/** An exchange of AUTH packets proved another name than CONNECT gave. */
export const NAME_MISMATCH: Refusal = {
  reasonCode: ReasonCode.BAD_USER_NAME_OR_PASSWORD,
  reason: "username_mismatch",
};
/** What proves the identity has ended already. */
export const EXPIRED: Refusal = { reasonCode: ReasonCode.NOT_AUTHORIZED, reason: "expired" };
/** A backend did not say what the client may do. */
export const NO_PERMISSIONS: Refusal = { reasonCode: ReasonCode.SERVER_UNAVAILABLE, reason: "permissions_unavailable" };
/** The client may not publish its own Will Message. */
export const WILL_FORBIDDEN: Refusal = {
  reasonCode: ReasonCode.NOT_AUTHORIZED,
  reason: "will_not_authorized",
  reasonString: "the Will Topic is not allowed",
};
