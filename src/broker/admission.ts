/**
 * Who is let in: everything that is asked about a CONNECT before a Session is opened for it.
 *
 *   listener's versions ──▶ memory ──▶ bans ──▶ delay after failures ──▶ who is it ──▶ bans ──▶ what may it do
 *        ──▶ its Will Message ──▶ admitted, once it is not flapping
 *
 * What costs nothing is asked first, so that a stranger who is turned away anyway makes no work. A client is told little:
 * the Reason Code, and a sentence only where it gives nothing away. The log and a counter get the reason.
 */
import type { BanList, BanSubject } from "../auth/guard/ban_list.ts";
import type { FailureDelay } from "../auth/guard/failure_delay.ts";
import type { Flapping } from "../auth/guard/flapping.ts";
import type { Authorizer } from "../auth/identity/authorizer.ts";
import type { Identity, Verdict } from "../auth/identity/identity.ts";
import type { LogWriter } from "../logging/log.ts";
import type { ConnectPacket, Will } from "../protocol/packets.ts";
import { ReasonCode } from "../protocol/reason_codes.ts";
import type { Permissions } from "../topics/permissions.ts";
import type { TopicCache } from "../topics/topic.ts";
import type { Authentication } from "./authentication.ts";
import {
  BANNED,
  EXPIRED,
  LOGGED_CHARS_MAX,
  MEMORY_HIGH,
  NAME_MISMATCH,
  NO_PERMISSIONS,
  type Refusal,
  TOO_MANY_FAILURES,
  VERSION_NOT_SERVED,
  WILL_FORBIDDEN,
} from "./connect_refusals.ts";
import type { ConnectingClient } from "./connecting_client.ts";
import type { MemoryPressure } from "./memory_pressure.ts";
import { Timer, type TimerWheel } from "./timer_wheel.ts";

/** A client that may have its Session. */
export interface Admitted {
  readonly identity: Identity;
  readonly permissions: Permissions;
  /** Last Authentication Data of an enhanced authentication, for CONNACK. */
  readonly authenticationData: Uint8Array | undefined;
}

/** Hears the decision once, unless the connection ends before. */
export type AdmissionListener = (decision: Admitted | Refusal) => void;

/** What remembers misbehaviour. */
export interface Guards {
  readonly bans: BanList;
  readonly failures: FailureDelay;
  readonly flapping: Flapping;
}

/** The parts of the broker that a decision needs. */
export interface AdmissionParts {
  readonly authentication: Authentication;
  readonly authorizer: Authorizer["Service"];
  readonly guards: Guards;
  readonly memory: MemoryPressure;
  readonly topics: TopicCache;
  readonly wheel: TimerWheel;
  /** Wall time minus broker time in milliseconds. */
  readonly wallOffsetMs: () => number;
  readonly log: LogWriter;
}

/** True for a decision that lets the client in. */
export function isAdmitted(decision: Admitted | Refusal): decision is Admitted {
  return "permissions" in decision;
}

/** See the head of this file. */
export class Admission {
  readonly #parts: AdmissionParts;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
  }

  /** Decides about a CONNECT whose form was checked; `heard` is called now or later. */
  decide(
    client: ConnectingClient,
    packet: ConnectPacket,
    clientId: string,
    clock: () => number,
    heard: AdmissionListener,
  ): void {
    const { guards: { failures }, wheel } = this.#parts;
    const nowMs = clock();
    const refusal = this.#refusalOfStranger(client, packet, clientId, nowMs);
    if (refusal !== undefined) return heard(refusal);
    if (!hasCredentials(packet)) return this.#identify(client, packet, clientId, clock, heard);
    const waitMs = failures.reserve(client.origin.remoteAddress, nowMs);
    if (waitMs === undefined) return heard(TOO_MANY_FAILURES);
    if (waitMs === 0) return this.#identify(client, packet, clientId, clock, heard);
    const timedOut = () => {
      if (client.isOpen) this.#identify(client, packet, clientId, clock, heard);
    };
    wheel.schedule(new Timer({ timedOut }), nowMs + waitMs);
  }

  /** What is known before the client has said who it is. */
  #refusalOfStranger(
    { origin }: ConnectingClient,
    packet: ConnectPacket,
    clientId: string,
    nowMs: number,
  ): Refusal | undefined {
    const { versions } = origin.listener;
    if (versions !== undefined && !versions.has(packet.version)) return VERSION_NOT_SERVED;
    if (this.#parts.memory.isHigh) return MEMORY_HIGH;
    const stranger = { clientId, username: undefined, address: origin.remoteAddress };
    return this.isBanned(stranger, nowMs) ? BANNED : undefined;
  }

  #identify(
    client: ConnectingClient,
    packet: ConnectPacket,
    clientId: string,
    clock: () => number,
    heard: AdmissionListener,
  ): void {
    const { failures } = this.#parts.guards;
    const address = client.origin.remoteAddress;
    this.#parts.authentication.verify(client, packet, clientId, (verdict, data) => {
      // The name of an exchange is in its own messages, whatever CONNECT says.
      const claimed = packet.authenticationMethod === undefined ? packet.username : undefined;
      if (isFailure(verdict) && hasCredentials(packet)) failures.failed(address, claimed, clock());
      if (!client.isOpen) return;
      if (verdict.kind === "refuse") return heard(verdict);
      const { username } = verdict.identity;
      if (hasCredentials(packet)) failures.succeeded(address, claimed ?? username);
      const isAnother = claimed === undefined && packet.username !== undefined && packet.username !== username;
      if (isAnother) return heard(NAME_MISMATCH);
      this.#authorize(client, packet, clientId, verdict.identity, data, clock, heard);
    });
  }

  #authorize(
    client: ConnectingClient,
    packet: ConnectPacket,
    clientId: string,
    identity: Identity,
    authenticationData: Uint8Array | undefined,
    clock: () => number,
    heard: AdmissionListener,
  ): void {
    const { username, expiresAtMs } = identity;
    const address = client.origin.remoteAddress;
    const nowMs = clock();
    if (this.isBanned({ clientId, username, address }, nowMs)) return heard(BANNED);
    if (expiresAtMs !== undefined && expiresAtMs <= nowMs + this.#parts.wallOffsetMs()) return heard(EXPIRED);
    const decide = (permissions: Permissions | undefined) => {
      if (!client.isOpen) return;
      if (permissions === undefined) heard(NO_PERMISSIONS);
      else if (packet.will !== undefined && !this.mayLeave(packet.will, permissions)) heard(WILL_FORBIDDEN);
      else heard({ identity, permissions, authenticationData });
    };
    const { authentication, authorizer } = this.#parts;
    authentication.asked(client, authorizer.permissionsOf({ clientId, ...identity }, decide));
  }

  /** True when a ban of the client, the user or the address holds. */
  isBanned(subject: BanSubject, nowMs: number): boolean {
    return this.#parts.guards.bans.isBanned(subject, nowMs + this.#parts.wallOffsetMs()) !== undefined;
  }

  /**
   * Counts a connection that is about to get its Session; true for a client that connects again and again, and while its
   * ban lasts. The ban is that of the user with this client, so that nobody gets the client of another banned.
   */
  isFlapping(clientId: string, username: string | undefined, nowMs: number): boolean {
    const untilMs = this.#parts.guards.flapping.connected(clientId, username, nowMs);
    if (untilMs === undefined) return false;
    this.#parts.log.limited("client_banned", "warn", "client banned, it connects again and again", {
      clientId: clientId.slice(0, LOGGED_CHARS_MAX),
      until: new Date(untilMs + this.#parts.wallOffsetMs()).toISOString(),
    });
    return true;
  }

  /** True when a Will Message may be published by such a client. */
  mayLeave(will: Will, permissions: Permissions): boolean {
    const topic = this.#parts.topics.intern(will.topic);
    return topic !== undefined && permissions.mayPublish(topic, will.qos, will.retain);
  }
}

function hasCredentials(packet: ConnectPacket): boolean {
  return packet.username !== undefined || packet.password !== undefined || packet.authenticationMethod !== undefined;
}

/** A refusal that the client brought on itself, by what it presented; a backend that is down is not its fault. */
function isFailure(verdict: Verdict): boolean {
  return verdict.kind === "refuse" &&
    (verdict.reasonCode === ReasonCode.BAD_USER_NAME_OR_PASSWORD || verdict.reasonCode === ReasonCode.NOT_AUTHORIZED);
}
