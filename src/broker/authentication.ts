/**
 * Authentication of connections: the one question of a simple CONNECT, and the exchange of AUTH packets that an
 * Authentication Method asks for, at CONNECT and again later. [MQTT 5.0, 4.12]
 *
 * Keeps the running exchanges: by connection until CONNACK, by Session afterwards.
 */
import type { Authenticator } from "../auth/identity/authenticator.ts";
import { AuthenticationExchange, type ExchangeStep } from "../auth/identity/enhanced_authentication.ts";
import { type Identity, refuse, type Verdict } from "../auth/identity/identity.ts";
import type { TakeBack } from "../auth/identity/questions.ts";
import { encodeAuth } from "../protocol/codec_encode.ts";
import { type AuthPacket, type ConnectPacket, Fault } from "../protocol/packets.ts";
import { ReasonCode } from "../protocol/reason_codes.ts";
import type { PacketSink } from "../session/packet_sink.ts";
import type { Session } from "../session/session.ts";
import type { ConnectingClient } from "./connecting_client.ts";

/** Hears the verdict, and the last Authentication Data of an exchange, which CONNACK carries. */
export type VerdictListener = (verdict: Verdict, authenticationData: Uint8Array | undefined) => void;

/** See the head of this file. */
export class Authentication {
  readonly #authenticator: Authenticator["Service"];
  // Weak, so that an exchange lives no longer than what it belongs to, whichever way that ends.
  readonly #connecting = new WeakMap<PacketSink, { exchange: AuthenticationExchange; heard: VerdictListener }>();
  readonly #connected = new WeakMap<Session, AuthenticationExchange>();
  /** The question about a connection that was asked last; it may have been answered. */
  readonly #asked = new WeakMap<PacketSink, TakeBack>();

  readonly #onRenewed: (session: Session, identity: Identity) => void;

  /** @param onRenewed Called when a client has authenticated itself again, as the same user. */
  constructor(authenticator: Authenticator["Service"], onRenewed: (session: Session, identity: Identity) => void) {
    this.#authenticator = authenticator;
    this.#onRenewed = onRenewed;
  }

  /** Decides on a CONNECT; `heard` is called once, now or later. */
  verify(client: ConnectingClient, packet: ConnectPacket, clientId: string, heard: VerdictListener): void {
    if (packet.authenticationMethod === undefined) {
      const credentials = {
        clientId,
        username: packet.username,
        password: packet.password,
        isLoopback: client.origin.isLoopback,
        remoteAddress: client.origin.remoteAddress,
        certificate: client.origin.certificate,
        anonymous: client.origin.listener.anonymous,
      };
      this.asked(client, this.#authenticator.authenticate(credentials, (verdict) => heard(verdict, undefined)));
      return;
    }
    const authenticator = this.#authenticator.enhanced(packet.authenticationMethod);
    if (authenticator === undefined) {
      // [MQTT-4.12.0-1]
      heard(METHOD_UNKNOWN, undefined);
      return;
    }
    const exchange = new AuthenticationExchange(authenticator, clientId);
    this.#connecting.set(client, { exchange, heard });
    exchange.start(packet.authenticationData, (step) => this.#stepConnecting(client, step));
  }

  /** AUTH before CONNACK. [MQTT-4.12.0-3] */
  answer(client: ConnectingClient, packet: AuthPacket): Fault | undefined {
    const connecting = this.#connecting.get(client);
    if (connecting === undefined || !connecting.exchange.isWaiting) return AUTH_UNEXPECTED;
    if (packet.reasonCode !== ReasonCode.CONTINUE_AUTHENTICATION) return AUTH_UNEXPECTED;
    if (packet.authenticationMethod !== connecting.exchange.method) return METHOD_CHANGED;
    connecting.exchange.answer(packet.authenticationData, (step) => this.#stepConnecting(client, step));
    return undefined;
  }

  /** AUTH after CONNACK: re-authentication. [MQTT-4.12.1-1] */
  reauthenticate(session: Session, packet: AuthPacket): Fault | undefined {
    const exchange = this.#connected.get(session);
    const sink = session.sink;
    if (exchange === undefined || sink === null) return AUTH_UNEXPECTED;
    if (packet.authenticationMethod !== exchange.method) return METHOD_CHANGED;
    const hear = (step: ExchangeStep) => this.#stepConnected(session, sink, exchange, step);
    if (packet.reasonCode === ReasonCode.RE_AUTHENTICATE && !exchange.isRunning) {
      exchange.start(packet.authenticationData, hear);
    } else if (packet.reasonCode === ReasonCode.CONTINUE_AUTHENTICATION && exchange.isWaiting) {
      exchange.answer(packet.authenticationData, hear);
    } else return AUTH_UNEXPECTED;
    return undefined;
  }

  /** CONNACK is being written: later AUTH packets belong to the Session. */
  adopt(client: PacketSink, session: Session): void {
    const connecting = this.#connecting.get(client);
    if (connecting === undefined) return;
    this.#connecting.delete(client);
    this.#connected.set(session, connecting.exchange);
  }

  /** The connection of a Session ended. */
  forget(session: Session): void {
    this.#connected.delete(session);
  }

  /** Remembers how to take back a question about a connection that may end before the answer. */
  asked(client: PacketSink, takeBack: TakeBack | undefined): void {
    if (takeBack !== undefined) this.#asked.set(client, takeBack);
  }

  /** A connection ended before its CONNACK. */
  abandon(client: PacketSink): void {
    this.#connecting.delete(client);
    this.#asked.get(client)?.();
  }

  #stepConnecting(client: ConnectingClient, step: ExchangeStep): void {
    const connecting = this.#connecting.get(client);
    if (connecting === undefined || !client.isOpen) return;
    if (step.kind === "continue") {
      send(client, ReasonCode.CONTINUE_AUTHENTICATION, connecting.exchange.method, step.data);
    } else if (step.kind === "success") {
      connecting.heard({ kind: "accept", identity: step.identity }, step.data);
    } else {
      this.#connecting.delete(client);
      connecting.heard(refuse(step.reasonCode, step.reason), undefined);
    }
  }

  #stepConnected(session: Session, sink: PacketSink, exchange: AuthenticationExchange, step: ExchangeStep): void {
    if (session.sink !== sink) return;
    if (step.kind === "continue") send(sink, ReasonCode.CONTINUE_AUTHENTICATION, exchange.method, step.data);
    else if (step.kind === "failure") sink.disconnect(step.reasonCode);
    // The Session, its permissions and all that was decided since CONNECT belong to one user.
    else if (step.identity.username !== session.username) sink.disconnect(ReasonCode.NOT_AUTHORIZED);
    else {
      this.#onRenewed(session, step.identity);
      send(sink, ReasonCode.SUCCESS, exchange.method, step.data);
    }
  }
}

function send(sink: PacketSink, reasonCode: number, authenticationMethod: string, data: Uint8Array | undefined): void {
  sink.out.append(encodeAuth(reasonCode, { authenticationMethod, authenticationData: data }));
  sink.touch();
}

const METHOD_UNKNOWN = refuse(ReasonCode.BAD_AUTHENTICATION_METHOD, "bad_authentication_method");
const AUTH_UNEXPECTED = new Fault(
  ReasonCode.PROTOCOL_ERROR,
  "MQTT-4.12.0-6",
  "AUTH where no authentication exchange allows one",
);
const METHOD_CHANGED = new Fault(
  ReasonCode.PROTOCOL_ERROR,
  "MQTT-4.12.0-5",
  "AUTH names another Authentication Method than CONNECT",
);
