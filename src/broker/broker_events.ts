/**
 * What happens to clients and their Sessions, for whoever wants to hear of it: counters, a ledger of dropped messages,
 * traces, webhooks. The parts of the broker call one object, once per event, where the thing happens; nobody has to know
 * who listens.
 *
 * What a listener can rely on:
 * - An event is told after the state has changed: an opened Session can be found, one that lost its connection has none.
 * - The events of one Session come in the order opened, (connected, disconnected)*, ended, with all others between.
 * - Objects are the broker's own and not copies. What has to outlive the call is taken out of them.
 *
 * What the broker relies on:
 * - A listener returns soon: it is called per packet in the worst case, amid the handling of that packet.
 * - It does not call the broker, nor change what it is given. What it wants done it does in a later turn.
 * - It does not throw. That is a bug and is treated as one: nothing here catches it.
 *
 * A call is one direct call without a closure or an object made for it. A second listener costs everybody one call more.
 */
import type { DropReason } from "../metrics/counters.ts";
import type { ConnectPacket, QoS } from "../protocol/packets.ts";
import type { Session } from "../session/session.ts";
import type { DropListener, SessionContext } from "../session/session_context.ts";
import type { ConnectingClient } from "./connecting_client.ts";

/** The events; see the head of this file. */
export interface BrokerEvents extends DropListener {
  /** A CONNECT was refused. */
  refused(client: ConnectingClient, packet: ConnectPacket, reason: string): void;
  /** A Session was made, or found in the store at the start. It is offline. */
  opened(session: Session): void;
  /** A connection serves the Session; CONNACK is about to be written. */
  connected(session: Session): void;
  /**
   * No connection serves the Session any more.
   *
   * @param reasonCode That of the DISCONNECT of either side, or what a client of MQTT 3 would have been told; undefined when
   *   the network connection ended without a word.
   */
  disconnected(session: Session, reasonCode: number | undefined): void;
  /** The Session State was discarded, and all its subscriptions with it. */
  ended(session: Session): void;
  /**
   * A Session has a subscription, or has it with other options.
   *
   * @param filter As the client wrote it, `$share/…` included.
   */
  subscribed(session: Session, filter: string, qos: QoS): void;
  /** A Session that goes on has lost a subscription. */
  unsubscribed(session: Session, filter: string): void;
}

/** What Sessions share, with all events. */
export interface BrokerContext extends SessionContext {
  events: BrokerEvents;
}

/** Hears everything and does nothing: the base of listeners that want a few events only. */
export class IgnoredEvents implements BrokerEvents {
  refused(_client: ConnectingClient, _packet: ConnectPacket, _reason: string): void {}
  opened(_session: Session): void {}
  connected(_session: Session): void {}
  disconnected(_session: Session, _reasonCode: number | undefined): void {}
  ended(_session: Session): void {}
  subscribed(_session: Session, _filter: string, _qos: QoS): void {}
  unsubscribed(_session: Session, _filter: string): void {}
  dropped(_reason: DropReason, _clientId: string): void {}
}

/** Tells two listeners, one of which may be another pair. */
export class EventPair implements BrokerEvents {
  readonly #first: BrokerEvents;
  readonly #second: BrokerEvents;

  constructor(first: BrokerEvents, second: BrokerEvents) {
    this.#first = first;
    this.#second = second;
  }

  refused(client: ConnectingClient, packet: ConnectPacket, reason: string): void {
    this.#first.refused(client, packet, reason);
    this.#second.refused(client, packet, reason);
  }

  opened(session: Session): void {
    this.#first.opened(session);
    this.#second.opened(session);
  }

  connected(session: Session): void {
    this.#first.connected(session);
    this.#second.connected(session);
  }

  disconnected(session: Session, reasonCode: number | undefined): void {
    this.#first.disconnected(session, reasonCode);
    this.#second.disconnected(session, reasonCode);
  }

  ended(session: Session): void {
    this.#first.ended(session);
    this.#second.ended(session);
  }

  subscribed(session: Session, filter: string, qos: QoS): void {
    this.#first.subscribed(session, filter, qos);
    this.#second.subscribed(session, filter, qos);
  }

  unsubscribed(session: Session, filter: string): void {
    this.#first.unsubscribed(session, filter);
    this.#second.unsubscribed(session, filter);
  }

  dropped(reason: DropReason, clientId: string): void {
    this.#first.dropped(reason, clientId);
    this.#second.dropped(reason, clientId);
  }
}
