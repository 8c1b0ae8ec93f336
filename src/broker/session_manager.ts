/**
 * Sessions by Client Identifier: opening, taking over, leaving, expiring. [MQTT 5.0, 3.1.4, 4.1 and 4.13]
 *
 *   connect ──▶ rules ──▶ admission ──▶ record ──▶ attach, CONNACK, what waited
 *   close   ──▶ detach ──▶ Will ──▶ Session ends now, later, or never
 *   restart ──▶ restore ──▶ resume: Will ──▶ Session ends now, later, or never
 *
 * A Session is attached to its connection at the moment CONNACK is written, never before: nothing can reach a client
 * ahead of it, and of two connections with one Client Identifier the later one wins. [MQTT-3.1.4-3]
 */
import type { Authorizer } from "../auth/identity/authorizer.ts";
import type { Identity } from "../auth/identity/identity.ts";
import type { LogWriter } from "../logging/log.ts";
import { encodeConnack } from "../protocol/codec_encode.ts";
import { type ConnectPacket, Fault } from "../protocol/packets.ts";
import { ReasonCode } from "../protocol/reason_codes.ts";
import type { PacketSink } from "../session/packet_sink.ts";
import { Session } from "../session/session.ts";
import type { SessionContext } from "../session/session_context.ts";
import type { OpenChange } from "../storage/model/stored.ts";
import type { Permissions } from "../topics/permissions.ts";
import type { TopicCache } from "../topics/topic.ts";
import { type Admission, type Admitted, isAdmitted } from "./admission.ts";
import type { Authentication } from "./authentication.ts";
import { ClientPlaces } from "./client_places.ts";
import {
  BANNED,
  CAME_TOO_LATE,
  LOGGED_CHARS_MAX,
  NO_ROOM_FOR_WILL,
  NOT_THEIRS,
  type Refusal,
  refuseConnect,
  SHUTTING_DOWN,
  STORE_IS_FULL,
  TOO_MANY_CONNECTIONS,
  TOO_MANY_SESSIONS,
} from "./connect_refusals.ts";
import { connackProperties, grantedKeepAlive, grantedSessionExpiry, validateConnect } from "./connect_rules.ts";
import type { ConnectingClient } from "./connecting_client.ts";
import { IdentityExpiry } from "./identity_expiry.ts";
import type { Router } from "./router.ts";
import type { SessionRecords } from "./session_records.ts";
import type { SharedDelivery } from "./shared_delivery.ts";
import type { Subscriptions } from "./subscriptions.ts";
import { Timer, type TimerWheel } from "./timer_wheel.ts";
import type { Wills } from "./wills.ts";

/** The parts of the broker that opening and closing a Session needs. */
export interface SessionParts {
  readonly context: SessionContext;
  readonly topics: TopicCache;
  readonly router: Router;
  readonly records: SessionRecords;
  readonly shared: SharedDelivery;
  readonly subscriptions: Subscriptions;
  readonly wills: Wills;
  readonly wheel: TimerWheel;
  /** Wall time minus broker time in milliseconds. */
  readonly wallOffsetMs: () => number;
  readonly admission: Admission;
  readonly authentication: Authentication;
  readonly authorizer: Authorizer["Service"];
  readonly log: LogWriter;
  /** Most clients at once; read with every CONNECT. */
  readonly connectionsMax: () => number;
  /** A Client Identifier nobody else has. */
  readonly newClientId: () => string;
}

/** See the head of this file. */
export class SessionManager {
  /** Who counts as a client. */
  readonly places: ClientPlaces;
  readonly #parts: SessionParts;
  readonly #sessions = new Map<string, Session>();
  readonly #expiries = new Map<Session, Timer>();
  readonly #identities: IdentityExpiry;
  #isDraining = false;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    this.places = new ClientPlaces(parts.context.counters, parts.connectionsMax);
    this.#identities = new IdentityExpiry(parts.wheel, parts.wallOffsetMs);
  }

  /** All Sessions, by Client Identifier. */
  get sessions(): ReadonlyMap<string, Session> {
    return this.#sessions;
  }

  /** Handles the CONNECT of a new connection; the answer goes to `client`, now or later. */
  connect(client: ConnectingClient, packet: ConnectPacket, clock: () => number): void {
    const refusal = this.#refusalOf(packet);
    if (refusal !== undefined) return this.#refuse(client, packet, refusal);
    const clientId = packet.clientId === "" ? this.#parts.newClientId() : packet.clientId;
    this.#parts.admission.decide(client, packet, clientId, clock, (decision) => {
      if (!isAdmitted(decision)) this.#refuse(client, packet, decision);
      else if (this.#isDraining) this.#refuse(client, packet, SHUTTING_DOWN);
      else this.#open(client, packet, clientId, decision, clock);
    });
  }

  /** A client has authenticated itself again, as the same user: its rights are what they are now. */
  renewed(session: Session, identity: Identity): void {
    const { sink } = session;
    this.#identities.set(session, identity.expiresAtMs);
    const permissions = this.#parts.authorizer.permissionsOf({ clientId: session.clientId, ...identity });
    const apply = (renewed: Permissions | undefined) => {
      if (session.sink !== sink) return;
      if (renewed === undefined) sink?.disconnect(ReasonCode.NOT_AUTHORIZED);
      else session.permit(renewed);
    };
    if (permissions instanceof Promise) permissions.then(apply);
    else apply(permissions);
  }

  /** A connection that served a Session ended, for whatever reason. */
  connectionLost(session: Session, sink: PacketSink, nowMs: number): void {
    if (session.sink !== sink) return;
    const { context, records, wills, shared, authentication } = this.#parts;
    session.detach();
    authentication.forget(session);
    this.#identities.forget(session);
    context.counters.sessionsOnline--;
    context.counters.sessionsOffline++;
    if (this.#isDraining) wills.set(session, undefined);
    wills.connectionLost(session, nowMs);
    shared.memberOffline(session, nowMs);
    if (session.isDurable) records.offline(session, nowMs);
    this.#endLater(session, nowMs, nowMs);
  }

  /** Takes in a Session from before the start. It is offline; `resume` follows when all it had is restored. */
  restore(opened: OpenChange): Session {
    const session = this.#create(opened.clientId);
    session.reopen(opened);
    return session;
  }

  /**
   * Goes on where the clock of a restored Session stands.
   *
   * @param offlineAtMs When its connection ended; `null` = it lived when the broker died, and so ends now.
   */
  resume(session: Session, offlineAtMs: number | null, nowMs: number): void {
    const { records, wills } = this.#parts;
    records.restored(session, offlineAtMs);
    if (offlineAtMs === null && session.isDurable) records.offline(session, nowMs);
    wills.connectionLost(session, nowMs);
    this.#endLater(session, offlineAtMs ?? nowMs, nowMs);
  }

  /** DISCONNECT from the client. [MQTT 5.0, 3.14] */
  disconnected(session: Session, reasonCode: number, sessionExpiryInterval: number | undefined): Fault | undefined {
    if (sessionExpiryInterval !== undefined) {
      if (session.sessionExpiryInterval === 0 && sessionExpiryInterval !== 0) return EXPIRY_RAISED_FROM_0;
      const granted = grantedSessionExpiry(sessionExpiryInterval, this.#parts.context.limits);
      if (granted !== session.sessionExpiryInterval && granted > 0) {
        this.#parts.records.opened(session, granted, session.username);
      }
      session.expireAfter(granted);
    }
    // [MQTT-3.14.4-3] Only a normal goodbye takes the Will Message back.
    if (reasonCode === ReasonCode.SUCCESS) this.#parts.wills.set(session, undefined);
    return undefined;
  }

  /** Ends the connections of clients that are banned by now. O(Sessions). */
  disconnectBanned(nowMs: number): void {
    for (const session of this.#sessions.values()) {
      const { clientId, username, sink } = session;
      const subject = { clientId, username, address: sink?.remoteAddress ?? "" };
      if (this.#parts.admission.isBanned(subject, nowMs)) sink?.disconnect(ReasonCode.ADMINISTRATIVE_ACTION);
    }
  }

  /** The wall clock was set: identities and bans end, or hold, by what it says now. */
  wallClockSet(nowMs: number): void {
    this.#identities.wallClockSet();
    this.disconnectBanned(nowMs);
  }

  /** Says goodbye to every client and refuses new ones. */
  drain(): void {
    this.#isDraining = true;
    for (const session of this.#sessions.values()) session.sink?.disconnect(ReasonCode.SERVER_SHUTTING_DOWN);
  }

  /** What speaks against a CONNECT, whoever it comes from. */
  #refusalOf(packet: ConnectPacket): Refusal | undefined {
    const { context, topics, wills } = this.#parts;
    const fault = validateConnect(packet, context.limits, topics);
    if (fault !== undefined) return { reasonCode: fault.reasonCode, reasonString: fault.text };
    if (this.#isDraining) return SHUTTING_DOWN;
    return packet.will !== undefined && !wills.hasRoomFor(packet.will) ? NO_ROOM_FOR_WILL : undefined;
  }

  #refuse(client: ConnectingClient, packet: ConnectPacket, refusal: Refusal): void {
    refuseConnect(client, packet, refusal, this.#parts.context.counters, this.#parts.log);
  }

  #open(
    client: ConnectingClient,
    packet: ConnectPacket,
    clientId: string,
    admitted: Admitted,
    clock: () => number,
  ): void {
    const { context, router, records, wills } = this.#parts;
    const nowMs = clock();
    const { username } = admitted.identity;
    const known = this.#sessions.get(clientId);
    if (known !== undefined && !mayHave(known, username)) return this.#refuse(client, packet, NOT_THEIRS);
    if (this.places.isFullFor(known)) return this.#refuse(client, packet, TOO_MANY_CONNECTIONS);
    if (this.#parts.admission.isFlapping(clientId, username, nowMs)) return this.#refuse(client, packet, BANNED);
    const sessionExpiryInterval = grantedSessionExpiry(packet.sessionExpiryInterval, context.limits);
    const isKept = sessionExpiryInterval > 0;
    const resumed = packet.cleanStart || !this.#canResume(known, isKept) ? undefined : known;
    if (resumed === undefined && isKept && records.isFull) {
      return this.#refuse(client, packet, STORE_IS_FULL);
    }
    if (known !== undefined && known.sink !== null) this.#takeOver(known, known.sink, nowMs);
    if (known !== undefined && resumed === undefined && !known.isEnded) this.#end(known, nowMs);
    if (resumed === undefined && isKept && !this.#mayKeepAnother()) {
      return this.#refuse(client, packet, TOO_MANY_SESSIONS);
    }
    const session = resumed ?? this.#create(clientId);
    // At once: another user may ask for it before the record of this one is committed.
    session.claim(username);
    if (resumed === undefined && isKept) records.begin(session);
    const finish = () => {
      this.places.waited(session);
      if (!client.isOpen) return this.#abandon(session, clock());
      if (this.#isDraining) {
        this.#refuse(client, packet, SHUTTING_DOWN);
        return this.#abandon(session, clock());
      }
      // Between the record and now another connection may have taken the Session, or its time may have come.
      if (session.sink !== null) this.#takeOver(session, session.sink, clock());
      if (session.isEnded) {
        if (!this.#sessions.has(clientId)) {
          return this.#open(client, packet, clientId, admitted, clock);
        }
        return this.#refuse(client, packet, CAME_TOO_LATE);
      }
      session.open(sessionExpiryInterval, admitted.permissions);
      if (resumed !== undefined) this.#parts.subscriptions.narrow(session);
      wills.cancel(session);
      wills.set(session, packet.will);
      this.#attach(client, packet, session, resumed !== undefined, admitted, clock());
    };
    const endPosition = records.pendingEndOf(clientId);
    if (!isKept && !session.isRecorded && endPosition === 0 && !this.places.isOpening(session)) return finish();
    this.places.waits(session);
    if (session.isRecorded) {
      records.opened(session, sessionExpiryInterval, username);
      if (packet.will !== undefined) wills.announce(session, packet.will);
    }
    // Without a record of its own it still comes after those that wait for theirs, and after the end of the Session
    // that it replaces: a Session that the client was told is gone must not come back.
    router.runWhenCommitted(session.isRecorded ? context.store.lastPosition : endPosition, finish);
  }

  /** True when a CONNECT without Clean Start finds its Session. */
  #canResume(known: Session | undefined, isKept: boolean): boolean {
    if (known === undefined) return false;
    // One without expiry ends with its connection.
    if (known.sink !== null) return known.isDurable;
    // One that is being opened may be there for one connection only: a Session is recorded from the beginning or never.
    return !isKept || known.isRecorded || !this.#parts.records.isDurable;
  }

  #attach(
    client: ConnectingClient,
    packet: ConnectPacket,
    session: Session,
    isPresent: boolean,
    { identity, authenticationData }: Admitted,
    nowMs: number,
  ): void {
    const { context, records, shared, authentication } = this.#parts;
    const { counters, limits } = context;
    this.#cancelExpiry(session);
    session.attach(client, {
      version: packet.version,
      receiveMaximum: packet.receiveMaximum,
      packetBytesMax: packet.maximumPacketSize,
      topicAliasMaximum: Math.min(packet.topicAliasMaximum, limits.topicAliasMax),
    });
    this.#identities.set(session, identity.expiresAtMs);
    counters.sessionsOnline++;
    counters.sessionsOffline--;
    // Another connection may have come and gone since this one was recorded. A later CONNECT that waits comes last.
    if (!this.places.isOpening(session)) records.correct(session);
    const keepAliveSeconds = grantedKeepAlive(packet, limits);
    const properties = connackProperties(packet, limits, session, keepAliveSeconds, authenticationData);
    if (packet.authenticationMethod !== undefined) authentication.adopt(client, session);
    const connack = encodeConnack(packet.version, isPresent, ReasonCode.SUCCESS, properties, packet.maximumPacketSize);
    // [MQTT-3.1.2-24] A client that cannot take its CONNACK cannot be served.
    if (connack.length > packet.maximumPacketSize) {
      this.connectionLost(session, client, nowMs);
      return client.refused(ReasonCode.PACKET_TOO_LARGE);
    }
    client.out.append(connack);
    counters.packetsSent++;
    if (!client.isTouched) client.touch();
    session.outbox.pump(nowMs);
    shared.memberOnline(session, nowMs);
    client.connected(session, keepAliveSeconds);
  }

  #mayKeepAnother(): boolean {
    return this.#parts.context.counters.sessionsOffline < this.#parts.connectionsMax() * SESSIONS_KEPT_PER_CONNECTION;
  }

  #create(clientId: string): Session {
    const session = new Session(clientId, this.#parts.context);
    this.#sessions.set(clientId, session);
    this.#parts.context.counters.sessionsOffline++;
    return session;
  }

  /** [MQTT-3.1.4-3] The older connection is told and closed. */
  #takeOver(session: Session, sink: PacketSink, nowMs: number): void {
    this.#parts.log.limited("session_taken_over", "info", "session taken over by a new connection", {
      clientId: session.clientId.slice(0, LOGGED_CHARS_MAX),
    });
    this.connectionLost(session, sink, nowMs);
    sink.disconnect(ReasonCode.SESSION_TAKEN_OVER);
  }

  /** The client went away before its CONNACK: a Session made for it goes too, an older one stays as it was. */
  #abandon(session: Session, nowMs: number): void {
    if (session.isEnded) return;
    if (session.sink === null && !this.#expiries.has(session) && !session.isDurable) this.#end(session, nowMs);
    else if (!this.places.isOpening(session)) {
      this.#parts.records.correct(session);
      this.#parts.wills.correct(session);
    }
  }

  /** Ends a Session without connection when its time is over: now, later or never. */
  #endLater(session: Session, offlineAtMs: number, nowMs: number): void {
    const { sessionExpiryInterval } = session;
    if (sessionExpiryInterval === NEVER_EXPIRES) return;
    const dueMs = offlineAtMs + sessionExpiryInterval * 1000;
    if (sessionExpiryInterval === 0 || dueMs <= nowMs) return this.#end(session, nowMs);
    const timer = new Timer({ timedOut: (firedMs) => this.#end(session, firedMs) });
    this.#expiries.set(session, timer);
    this.#parts.wheel.schedule(timer, dueMs);
  }

  #end(session: Session, nowMs: number): void {
    const { context, records, wills, subscriptions, shared } = this.#parts;
    this.#cancelExpiry(session);
    wills.sessionEnded(session, nowMs);
    wills.set(session, undefined);
    subscriptions.removeAll(session);
    shared.memberEnded(session, nowMs);
    records.ended(session);
    session.end();
    this.#sessions.delete(session.clientId);
    context.counters.sessionsOffline--;
  }

  #cancelExpiry(session: Session): void {
    const timer = this.#expiries.get(session);
    if (timer === undefined) return;
    this.#expiries.delete(session);
    this.#parts.wheel.cancel(timer);
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
/** Session Expiry Interval of a Session that stays. [MQTT 5.0, 3.1.2.11.2] */
const NEVER_EXPIRES = 0xffff_ffff;
const EXPIRY_RAISED_FROM_0 = new Fault(
  ReasonCode.PROTOCOL_ERROR,
  "MQTT-3.1.2-23",
  "DISCONNECT sets a Session Expiry Interval although CONNECT set none",
);
