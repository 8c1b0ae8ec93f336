/**
 * Sessions by Client Identifier: opening, taking over, leaving, expiring. [MQTT 5.0, 3.1.4, 4.1 and 4.13]
 *
 *   connect ──▶ rules ──▶ admission ──▶ opening (`opening.ts`): record ──▶ attach, CONNACK, what waited
 *   close   ──▶ detach ──▶ Will ──▶ Session ends now, later, or never
 *   restart ──▶ restore ──▶ resume: Will ──▶ Session ends now, later, or never
 *
 * A Session is attached to its connection at the moment CONNACK is written, never before: nothing can reach a client
 * ahead of it, and of two connections with one Client Identifier the later one wins. [MQTT-3.1.4-3]
 */
import type { Authorizer } from "../auth/identity/authorizer.ts";
import type { Identity } from "../auth/identity/identity.ts";
import { type ConnectPacket, Fault } from "../protocol/packets.ts";
import { ReasonCode } from "../protocol/reason_codes.ts";
import type { PacketSink } from "../session/packet_sink.ts";
import { Session } from "../session/session.ts";
import type { OpenChange } from "../storage/model/stored.ts";
import type { TopicCache } from "../topics/topic.ts";
import { isAdmitted } from "./admission.ts";
import { ClientPlaces } from "./client_places.ts";
import { LOGGED_CHARS_MAX, NO_ROOM_FOR_WILL, type Refusal, refuseConnect, SHUTTING_DOWN } from "./connect_refusals.ts";
import { grantedSessionExpiry, validateConnect } from "./connect_rules.ts";
import type { ConnectingClient } from "./connecting_client.ts";
import { IdentityExpiry } from "./identity_expiry.ts";
import { Opening, type OpeningHost, type OpeningParts } from "./opening.ts";
import { Timer, type TimerWheel } from "./timer_wheel.ts";

/** The parts of the broker that opening and closing a Session needs. */
export interface SessionParts extends OpeningParts {
  readonly topics: TopicCache;
  readonly wheel: TimerWheel;
  /** Wall time minus broker time in milliseconds. */
  readonly wallOffsetMs: () => number;
  readonly authorizer: Authorizer["Service"];
  /** A Client Identifier nobody else has. */
  readonly newClientId: () => string;
}

/** See the head of this file. */
export class SessionManager implements OpeningHost {
  readonly openings = new Map<Session, Opening>();
  readonly places: ClientPlaces;
  readonly #parts: SessionParts;
  readonly #sessions = new Map<string, Session>();
  readonly #expiries = new Map<Session, Timer>();
  readonly #identities: IdentityExpiry;
  #isDraining = false;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    this.places = new ClientPlaces(parts.context.counters, this.openings, parts.connectionsMax);
    this.#identities = new IdentityExpiry(parts.wheel, parts.wallOffsetMs);
  }

  /** All Sessions, by Client Identifier. */
  get sessions(): ReadonlyMap<string, Session> {
    return this.#sessions;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Handles the CONNECT of a new connection; the answer goes to `client`, now or later. */
  connect(client: ConnectingClient, packet: ConnectPacket, clock: () => number): void {
    const refusal = this.#refusalOf(packet);
    if (refusal !== undefined) return this.#refuse(client, packet, refusal);
    const clientId = packet.clientId === "" ? this.#parts.newClientId() : packet.clientId;
    this.#parts.admission.decide(client, packet, clientId, clock, (decision) => {
      if (!isAdmitted(decision)) this.#refuse(client, packet, decision);
      else if (this.#isDraining) this.#refuse(client, packet, SHUTTING_DOWN);
      else new Opening({ client, packet, clientId, admitted: decision, clock }, this.#parts, this).start();
    });
  }

  /** A client has authenticated itself again, as the same user: its rights are what they are now. */
  renewed(session: Session, identity: Identity): void {
    const { sink } = session;
    this.#identities.set(session, identity.expiresAtMs);
    this.#parts.authorizer.permissionsOf({ clientId: session.clientId, ...identity }, (renewed) => {
      if (session.sink !== sink) return;
      if (renewed === undefined) sink?.disconnect(ReasonCode.NOT_AUTHORIZED);
      else session.permit(renewed);
    });
  }

  create(clientId: string): Session {
    const session = new Session(clientId, this.#parts.context);
    this.#sessions.set(clientId, session);
    return session;
  }

  connectionMade(session: Session, identityExpiresAtMs: number | undefined): void {
    this.#cancelExpiry(session);
    this.#identities.set(session, identityExpiresAtMs);
    this.#parts.context.events.connected(session);
  }

  takeOver(session: Session, nowMs: number): void {
    const { sink } = session;
    if (sink === null) return;
    this.#parts.log.limited("session_taken_over", "info", "session taken over by a new connection", {
      clientId: session.clientId.slice(0, LOGGED_CHARS_MAX),
    });
    this.connectionLost(session, sink, nowMs, ReasonCode.SESSION_TAKEN_OVER);
    sink.disconnect(ReasonCode.SESSION_TAKEN_OVER);
  }

  /**
   * A connection that served a Session ended, for whatever reason.
   *
   * @param reasonCode See `BrokerEvents.disconnected`.
   */
  connectionLost(session: Session, sink: PacketSink, nowMs: number, reasonCode: number | undefined): void {
    if (session.sink !== sink) return;
    const { context, records, wills, shared, authentication } = this.#parts;
    session.detach();
    authentication.forget(session);
    this.#identities.forget(session);
    context.events.disconnected(session, reasonCode);
    wills.connectionLost(session, nowMs);
    shared.memberOffline(session, nowMs);
    if (session.isDurable) records.offline(session, nowMs);
    this.#endLater(session, nowMs, nowMs);
  }

  end(session: Session, nowMs: number): void {
    const { context, records, wills, subscriptions, shared } = this.#parts;
    this.#cancelExpiry(session);
    wills.sessionEnded(session, nowMs);
    wills.set(session, undefined);
    subscriptions.removeAll(session);
    shared.memberEnded(session, nowMs);
    records.ended(session);
    session.end();
    this.#sessions.delete(session.clientId);
    context.events.ended(session);
  }

  /** Takes in a Session from before the start. It is offline; `resume` follows when all it had is restored. */
  restore(opened: OpenChange): Session {
    const session = this.create(opened.clientId);
    session.reopen(opened);
    this.#parts.context.events.opened(session);
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
    this.#parts.wills.defer();
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
    refuseConnect(client, packet, refusal, this.#parts.context, this.#parts.log);
  }

  /** Ends a Session without connection when its time is over: now, later or never. */
  #endLater(session: Session, offlineAtMs: number, nowMs: number): void {
    const { sessionExpiryInterval } = session;
    if (sessionExpiryInterval === NEVER_EXPIRES) return;
    const dueMs = offlineAtMs + sessionExpiryInterval * 1000;
    if (sessionExpiryInterval === 0 || dueMs <= nowMs) return this.end(session, nowMs);
    const timer = new Timer({ timedOut: (firedMs) => this.end(session, firedMs) });
    this.#expiries.set(session, timer);
    this.#parts.wheel.schedule(timer, dueMs);
  }

  #cancelExpiry(session: Session): void {
    const timer = this.#expiries.get(session);
    if (timer === undefined) return;
    this.#expiries.delete(session);
    this.#parts.wheel.cancel(timer);
  }
}

/** Session Expiry Interval of a Session that stays. [MQTT 5.0, 3.1.2.11.2] */
const NEVER_EXPIRES = 0xffff_ffff;
const EXPIRY_RAISED_FROM_0 = new Fault(
  ReasonCode.PROTOCOL_ERROR,
  "MQTT-3.1.2-23",
  "DISCONNECT sets a Session Expiry Interval although CONNECT set none",
);
