/**
 * One CONNECT from its admission to its answer: which Session it gets, and when. [MQTT 5.0, 3.1.4]
 *
 *                ┌───── its Session ended meanwhile ─────┐
 *                ▼                                       │
 *   start ──▶ CHOOSING ──▶ RECORDING ── committed ──▶ RETURNING ──▶ ATTACHING ──▶ served
 *                │                                       │              │
 *                └──────────▶ GIVEN UP ◀─────────────────┘              └──▶ CONNACK too large
 *
 * - CHOOSING finds the client's Session, asks whether it is this user's, and resumes it or replaces it by a new one. An
 *   older connection is told and closed.
 * - RECORDING is the only state that lasts: the record of the opening, or the end of the Session that was replaced, waits
 *   for its commit. Meanwhile anything may happen. An opening with nothing to wait for passes it at once.
 * - RETURNING looks at what did happen: the client went away, the broker is stopping, another connection took the Session
 *   (the later CONNECT wins), or the Session's time came: then it begins anew, unless the client has yet another Session.
 * - ATTACHING serves the Session through the connection: CONNACK, then what waited.
 * - GIVEN UP undoes what was done for this CONNECT alone: a Session made for it ends, and the records of one that was
 *   there say the truth again.
 *
 * Openings come back in the order in which they began to wait, because the line for the commit is one. So the last one of
 * a Session is enough to know whether a later CONNECT will have the last word about its records.
 */
import type { LogWriter } from "../logging/log.ts";
import { encodeConnack } from "../protocol/codec_encode.ts";
import type { ConnectPacket } from "../protocol/packets.ts";
import { ReasonCode } from "../protocol/reason_codes.ts";
import type { PacketSink } from "../session/packet_sink.ts";
import type { Session } from "../session/session.ts";
import type { Admission, Admitted } from "./admission.ts";
import type { Authentication } from "./authentication.ts";
import type { BrokerContext } from "./broker_events.ts";
import type { ClientPlaces } from "./client_places.ts";
import {
  BANNED,
  CAME_TOO_LATE,
  NO_SESSION_NUMBER,
  NOT_THEIRS,
  type Refusal,
  refuseConnect,
  SHUTTING_DOWN,
  STORE_IS_FULL,
  TOO_MANY_CONNECTIONS,
  TOO_MANY_SESSIONS,
} from "./connect_refusals.ts";
import { connackProperties, grantedKeepAlive, grantedSessionExpiry } from "./connect_rules.ts";
import type { ConnectingClient } from "./connecting_client.ts";
import type { Router } from "./router.ts";
import type { SessionRecords } from "./session_records.ts";
import type { SharedDelivery } from "./shared_delivery.ts";
import type { Subscriptions } from "./subscriptions.ts";
import type { Wills } from "./wills.ts";

/** A CONNECT whose client may have its Session. */
export interface AdmittedConnect {
  readonly client: ConnectingClient;
  readonly packet: ConnectPacket;
  /** The client's own, or the one it was given. */
  readonly clientId: string;
  readonly admitted: Admitted;
  readonly clock: () => number;
}

/** The parts of the broker that an opening needs. */
export interface OpeningParts {
  readonly context: BrokerContext;
  readonly router: Router;
  readonly records: SessionRecords;
  readonly shared: SharedDelivery;
  readonly subscriptions: Subscriptions;
  readonly wills: Wills;
  readonly admission: Admission;
  readonly authentication: Authentication;
  readonly log: LogWriter;
  /** Most clients at once; read with every CONNECT. */
  readonly connectionsMax: () => number;
}

/** Whoever has all Sessions; `SessionManager`. */
export interface OpeningHost {
  /** All Sessions, by Client Identifier. */
  readonly sessions: ReadonlyMap<string, Session>;
  /** The places of clients. */
  readonly places: ClientPlaces;
  /** The last opening of each Session for which one waits; openings enter and leave themselves. */
  readonly openings: Map<Session, Opening>;
  /** True once no connection is wanted any more. */
  readonly isDraining: boolean;
  /** Makes a Session, offline; the Client Identifier must have none. The caller fills it in and tells that it is open. */
  create(clientId: string): Session;
  /** Tells and closes the connection that serves a Session, if one does. [MQTT-3.1.4-3] */
  takeOver(session: Session, nowMs: number): void;
  /** A Session is served by a connection; called right after `Session.attach`. */
  connectionMade(session: Session, identityExpiresAtMs: number | undefined): void;
  /** @param reasonCode See `BrokerEvents.disconnected`. */
  connectionLost(session: Session, sink: PacketSink, nowMs: number, reasonCode: number | undefined): void;
  /** Ends a Session that no connection serves. */
  end(session: Session, nowMs: number): void;
}

/** See the head of this file. */
export class Opening {
  readonly #connect: AdmittedConnect;
  readonly #parts: OpeningParts;
  readonly #host: OpeningHost;
  readonly #sessionExpiryInterval: number;
  #isResumed = false;

  constructor(connect: AdmittedConnect, parts: OpeningParts, host: OpeningHost) {
    this.#connect = connect;
    this.#parts = parts;
    this.#host = host;
    this.#sessionExpiryInterval = grantedSessionExpiry(connect.packet.sessionExpiryInterval, parts.context.limits);
  }

  /** CHOOSING. */
  start(): void {
    const { clientId, packet, clock, admitted: { identity: { username } } } = this.#connect;
    const { context, admission, records } = this.#parts;
    const host = this.#host;
    const nowMs = clock();
    const known = host.sessions.get(clientId);
    if (known !== undefined && !mayHave(known, username)) return this.#refuse(NOT_THEIRS);
    if (host.places.isFullFor(known)) return this.#refuse(TOO_MANY_CONNECTIONS);
    if (admission.isFlapping(clientId, username, nowMs)) return this.#refuse(BANNED);
    const isKept = this.#sessionExpiryInterval > 0;
    const resumed = packet.cleanStart || !this.#canResume(known, isKept) ? undefined : known;
    if (resumed === undefined && isKept && records.isFull) return this.#refuse(STORE_IS_FULL);
    if (resumed === undefined && isKept && !records.hasNumbers) return this.#refuse(NO_SESSION_NUMBER);
    if (known !== undefined) host.takeOver(known, nowMs);
    if (known !== undefined && resumed === undefined && !known.isEnded) host.end(known, nowMs);
    if (resumed === undefined && isKept && !this.#mayKeepAnother()) return this.#refuse(TOO_MANY_SESSIONS);
    this.#isResumed = resumed !== undefined;
    const session = resumed ?? host.create(clientId);
    // At once: another user may ask for it before the record of this one is committed.
    session.claim(username);
    if (resumed === undefined && isKept) records.begin(session);
    if (resumed === undefined) context.events.opened(session);
    this.#record(session);
  }

  /** RECORDING. */
  #record(session: Session): void {
    const { clientId, packet, admitted } = this.#connect;
    const { context, records, router, wills } = this.#parts;
    const { openings } = this.#host;
    const endPosition = records.pendingEndOf(clientId);
    const isKept = this.#sessionExpiryInterval > 0;
    if (!isKept && !session.isRecorded && endPosition === 0 && !openings.has(session)) return this.#return(session);
    openings.set(session, this);
    if (session.isRecorded) {
      records.opened(session, this.#sessionExpiryInterval, admitted.identity.username);
      if (packet.will !== undefined) wills.announce(session, packet.will);
    }
    // Without a record of its own it still comes after those that wait for theirs, and after the end of the Session
    // that it replaces: a Session that the client was told is gone must not come back.
    const position = session.isRecorded ? context.store.lastPosition : endPosition;
    router.runWhenCommitted(position, () => {
      if (openings.get(session) === this) openings.delete(session);
      this.#return(session);
    });
  }

  /** RETURNING. */
  #return(session: Session): void {
    const { client, packet, clientId, admitted, clock } = this.#connect;
    const { subscriptions, wills } = this.#parts;
    const host = this.#host;
    if (!client.isOpen) return this.#giveUp(session);
    if (host.isDraining) {
      this.#refuse(SHUTTING_DOWN);
      return this.#giveUp(session);
    }
    host.takeOver(session, clock());
    if (session.isEnded) return host.sessions.has(clientId) ? this.#refuse(CAME_TOO_LATE) : this.start();
    session.open(this.#sessionExpiryInterval, admitted.permissions);
    if (this.#isResumed) subscriptions.narrow(session);
    wills.cancel(session);
    wills.set(session, packet.will);
    this.#attach(session, clock());
  }

  /** ATTACHING. */
  #attach(session: Session, nowMs: number): void {
    const { client, packet, admitted: { identity, authenticationData } } = this.#connect;
    const { context: { counters, limits }, records, shared, authentication } = this.#parts;
    const host = this.#host;
    session.attach(client, {
      version: packet.version,
      receiveMaximum: packet.receiveMaximum,
      packetBytesMax: packet.maximumPacketSize,
      topicAliasMaximum: Math.min(packet.topicAliasMaximum, limits.topicAliasMax),
    });
    host.connectionMade(session, identity.expiresAtMs);
    // Another connection may have come and gone since this one was recorded. A later CONNECT that waits comes last.
    if (!host.openings.has(session)) records.correct(session);
    const keepAliveSeconds = grantedKeepAlive(packet, limits);
    const properties = connackProperties(packet, limits, session, keepAliveSeconds, authenticationData);
    if (packet.authenticationMethod !== undefined) authentication.adopt(client, session);
    const { version, maximumPacketSize } = packet;
    const connack = encodeConnack(version, this.#isResumed, ReasonCode.SUCCESS, properties, maximumPacketSize);
    // [MQTT-3.1.2-24] A client that cannot take its CONNACK cannot be served.
    if (connack.length > maximumPacketSize) {
      host.connectionLost(session, client, nowMs, ReasonCode.PACKET_TOO_LARGE);
      return client.refused();
    }
    client.out.append(connack);
    counters.packetsSent++;
    if (!client.isTouched) client.touch();
    session.outbox.pump(nowMs);
    shared.memberOnline(session, nowMs);
    client.connected(session, keepAliveSeconds);
  }

  /** GIVEN UP, after a Session was chosen. */
  #giveUp(session: Session): void {
    if (session.isEnded) return;
    if (session.sink === null && !session.isDurable) this.#host.end(session, this.#connect.clock());
    else if (!this.#host.openings.has(session)) {
      this.#parts.records.correct(session);
      this.#parts.wills.correct(session);
    }
  }

  #refuse(refusal: Refusal): void {
    const { context, log } = this.#parts;
    refuseConnect(this.#connect.client, this.#connect.packet, refusal, context, log);
  }

  /** True when a CONNECT without Clean Start finds its Session. */
  #canResume(known: Session | undefined, isKept: boolean): boolean {
    if (known === undefined) return false;
    // One without expiry ends with its connection.
    if (known.sink !== null) return known.isDurable;
    // One that is being opened may be there for one connection only: a Session is recorded from the beginning or never.
    return !isKept || known.isRecorded || !this.#parts.records.isDurable;
  }

  #mayKeepAnother(): boolean {
    const { context: { counters }, connectionsMax } = this.#parts;
    return counters.sessionsOffline < connectionsMax() * SESSIONS_KEPT_PER_CONNECTION;
  }
}

/**
 * True when a Session is this user's: a Session with a name belongs to it, and with it what waits in its queue. One
 * without a name is anybody's, so that Sessions go on when a broker begins to ask for names.
 */
function mayHave(session: Session, username: string | undefined): boolean {
  return session.username === undefined || session.username === username;
}

/** Sessions without a connection that are kept, for each of `mqtt.max-connections`. */
const SESSIONS_KEPT_PER_CONNECTION = 10;
