/**
 * What all listeners share: who may come in, and what becomes of a socket that may.
 *
 *   accepted ──▶ (PROXY header) ──▶ mayEnter ──▶ (TLS handshake) ──▶ serve ──▶ left
 *       └──────── waiting: cut at a stop, and counted ────────┘
 *
 * A connection is admitted under the address of its client, once that is known: behind a proxy only after its header, so
 * before it such a socket is held under a count of its own. Every admitted visitor leaves exactly once.
 *
 * Sockets and clients are two things. `mqtt.max-connections` bounds clients, and the broker's Sessions count those, from
 * the verdict on CONNECT on. Sockets that are no client's, because they have said nothing yet, were refused or are on
 * their way out, take no place of a client. They are bounded here: there may be as many as places are free, so that all
 * clients can come back at once, and `SPARE_SOCKETS` more, so that at the bound, too, a client can take its Session over
 * and another one hear why it is refused.
 */
import * as Deferred from "effect/Deferred";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import type { BrokerCore } from "../../broker/broker_core.ts";
import type { Config } from "../../config/options/schema.ts";
import type { ConfigStore } from "../../config/reload.ts";
import { Connection, type ConnectionSettings } from "../transport/connection.ts";
import { ReadBufferPool } from "../transport/read_buffers.ts";
import { StreamTransport } from "../transport/stream.ts";
import { type HalfCloseSocket, WebSocketByteSocket } from "../transport/websocket.ts";
import type { RequestOrigin } from "../transport/websocket_handshake.ts";
import { AddressLimits, type AddressRefusal } from "./address_limits.ts";
import { isLoopbackAddress } from "./client_address.ts";
import { clientAddressOf } from "./forwarded.ts";
import type { Visitor } from "./gate.ts";
import type { ProxySource } from "./proxy_protocol.ts";

/** A socket without a connection yet. */
export interface WaitingSocket {
  /** Ends it at once. */
  cut(): void;
}

/** See the head of this file. */
export class Entrance {
  readonly core: BrokerCore;
  readonly settings: ConnectionSettings = {
    writeBufferBytes: 0,
    readTimeoutMs: 0,
    writeTimeoutMs: 0,
    limits: { messageRate: 0, byteRate: 0, isWait: true },
  };
  /** Fails with what a connection's loop threw: a bug, after which nothing can be trusted. */
  readonly bug = Deferred.makeUnsafe<never, unknown>();
  readonly #spareSockets: number;
  readonly #configStore: ConfigStore["Service"];
  readonly #readBuffers: ReadBufferPool;
  readonly #addressSettings = { connectRate: 0, connectionsMax: 0 };
  readonly #addresses = new AddressLimits(this.#addressSettings);
  readonly #connections = new Set<Connection>();
  readonly #waiting = new Set<WaitingSocket>();
  /** Visitors that were admitted. */
  #inside = 0;
  /** Sockets whose client is not known yet. */
  #unknown = 0;
  #emptied: (() => void) | undefined = undefined;

  /** @param spareSockets Most sockets without a client at once when no place of a client is free. */
  constructor(core: BrokerCore, configStore: ConfigStore["Service"], spareSockets = SPARE_SOCKETS) {
    this.core = core;
    this.#spareSockets = spareSockets;
    this.#configStore = configStore;
    this.#readBuffers = new ReadBufferPool(configStore.current().server.readBufferBytes);
    this.apply(configStore.current());
  }

  /** Takes over what is live. */
  apply({ server, limits }: Config): void {
    const { settings } = this;
    settings.writeBufferBytes = server.writeBufferBytes;
    settings.readTimeoutMs = server.readTimeoutMs;
    settings.writeTimeoutMs = server.writeTimeoutMs;
    settings.limits.messageRate = limits.messageRate;
    settings.limits.byteRate = limits.byteRate;
    settings.limits.isWait = limits.rateExceeded === "wait";
    this.#addressSettings.connectRate = limits.connectRatePerAddress;
    this.#addressSettings.connectionsMax = limits.connectionsPerAddress;
  }

  /** Whether an address is that of a proxy whose word counts; `server.trusted-proxies`. */
  isTrustedProxy(address: string): boolean {
    return this.#configStore.current().server.trustedProxies.includes(address);
  }

  /**
   * Asks whether a socket may wait until its client is known, and takes a place for it.
   *
   * @returns False = it must be closed. After true, `madeKnown` must be called once.
   */
  mayWait(visitor: Visitor): boolean {
    if (!this.#hasRoom) return this.refuse(visitor, "too_many_connections");
    this.#unknown++;
    return true;
  }

  /** Gives back the place of `mayWait`. */
  madeKnown(): void {
    this.#unknown--;
  }

  /**
   * Asks whether a client may come in, and takes a place for it. False when there are so many sockets without a client
   * that not even a refusal can be afforded.
   *
   * @returns False = its socket must be closed. After true, `left` must be called once.
   */
  mayEnter(visitor: Visitor): boolean {
    if (!this.#hasRoom) return this.refuse(visitor, "too_many_connections");
    if (visitor.listener.isFull) return this.refuse(visitor, "listener_full");
    // What a proxy passes on must not count as the proxy's own; its request will tell.
    if (!visitor.isRequestAwaited || !this.isTrustedProxy(visitor.remoteAddress)) {
      const refusal = this.#refusalOf(visitor.remoteAddress);
      if (refusal !== undefined) return this.refuse(visitor, refusal);
      visitor.isAddressCounted = true;
    }
    visitor.isInside = true;
    visitor.listener.connections++;
    this.#inside++;
    return true;
  }

  #refusalOf(address: string): "banned" | AddressRefusal | undefined {
    const nowMs = this.core.clock();
    return this.core.isBannedAddress(address, nowMs) ? "banned" : this.#addresses.admit(address, nowMs);
  }

  /** The end of what `mayEnter` began. Does nothing for a visitor that is not inside. */
  left(visitor: Visitor): void {
    if (!visitor.isInside) return;
    if (visitor.isAddressCounted) this.#addresses.left(visitor.remoteAddress);
    visitor.isInside = visitor.isAddressCounted = false;
    visitor.listener.connections--;
    this.#inside--;
  }

  /** Counts and logs that a visitor is turned away. Returns false, as the answer to give. */
  refuse(visitor: Visitor, reason: string, detail?: string): false {
    this.core.counters.connectsRefused.add(reason);
    this.core.log.limited(reason, "warn", "connection refused", {
      listener: visitor.listener.name,
      remoteAddress: visitor.remoteAddress,
      reason,
      detail,
    });
    return false;
  }

  /** Sets who the client is, as a PROXY header of a trusted proxy said it. */
  introduce(visitor: Visitor, source: ProxySource): void {
    if (source.kind === "client") {
      visitor.remoteAddress = source.address;
      visitor.isLoopback = isLoopbackAddress(source.address);
    } else if (source.kind === "unknown") visitor.isLoopback = false;
  }

  /**
   * Decides about the request of a WebSocket: who really sent it, and whether that client may come in.
   *
   * Whoever comes through an HTTP proxy, or from a page of another site, is not taken for a client on this host.
   */
  mayUpgrade(visitor: Visitor, origin: RequestOrigin): boolean {
    if (!origin.isLocal || origin.isForwarded) visitor.isLoopback = false;
    visitor.isRequestAwaited = false;
    if (visitor.isAddressCounted) return true;
    this.left(visitor);
    const client = clientAddressOf(origin.forwardedFor, (address) => this.isTrustedProxy(address));
    if (client !== undefined) visitor.remoteAddress = client;
    return this.mayEnter(visitor);
  }

  /** Cuts this socket, too, when the broker stops. Call `settled` when it is served or gone. */
  wait(socket: WaitingSocket): void {
    this.#waiting.add(socket);
  }

  /** A socket that waited does so no more. */
  settled(socket: WaitingSocket): void {
    this.#waiting.delete(socket);
  }

  /** Serves MQTT to a visitor that was admitted, until its connection is over. */
  serve(socket: HalfCloseSocket, visitor: Visitor): void {
    const { core, settings } = this;
    const framed = visitor.listener.isWebSocket
      ? new WebSocketByteSocket(socket, visitor.listener.entry.wsPath, (origin) => this.mayUpgrade(visitor, origin))
      : socket;
    const transport = new StreamTransport(framed, core.counters, core.clock, this.#readBuffers);
    const connection = new Connection(core, transport, visitor, settings, visitor.listener.traffic);
    transport.attach(connection);
    this.#connections.add(connection);
    // A plain promise and no fiber: with many idle connections a fiber each is a large part of the memory.
    transport.serve().then(() => {
      this.left(visitor);
      this.#connections.delete(connection);
      if (this.#connections.size === 0) this.#emptied?.();
    }, this.reportBug);
  }

  /** For promises that must not reject: ends the broker with what they reject with. */
  readonly reportBug = (bug: unknown): void => void Deferred.doneUnsafe(this.bug, Effect.die(bug));

  /**
   * Says goodbye to every client, also to those that have not said CONNECT. May be asked twice.
   *
   * @returns Resolves when every connection is closed.
   */
  #sayGoodbye(): Promise<void> {
    for (const socket of [...this.#waiting]) socket.cut();
    this.core.sessions.drain();
    for (const connection of this.#connections) connection.receiveEnded(this.core.clock());
    // Those that a turn which failed had touched already call for no other.
    this.core.turn.scheduleNow();
    return new Promise((resolve) => {
      if (this.#connections.size === 0) resolve();
      else this.#emptied = resolve;
    });
  }

  /** Says goodbye and cuts what is not closed within `server.shutdown-timeout`. */
  leave(): Effect.Effect<void> {
    const cut = Effect.suspend(() => {
      this.core.log.write("warn", "connections cut at shutdown", { connections: this.#connections.size });
      for (const connection of this.#connections) connection.abort();
      return Effect.timeoutOption(Effect.promise(() => this.#sayGoodbye()), Duration.millis(CUT_MS));
    });
    return Effect.suspend(() =>
      Effect.promise(() => this.#sayGoodbye()).pipe(
        Effect.timeoutOrElse({
          duration: Duration.millis(this.#configStore.current().server.shutdownTimeoutMs),
          orElse: () => cut,
        }),
        Effect.asVoid,
      )
    );
  }

  get #hasRoom(): boolean {
    const freePlaces = Math.max(0, this.#configStore.current().mqtt.maxConnections - this.core.sessions.places.taken);
    const withoutClient = this.#inside + this.#unknown - this.core.sessions.places.taken;
    return withoutClient < freePlaces + this.#spareSockets;
  }
}

/**
 * Sockets without a client, beyond the free places of clients. Enough that a storm of refused or silent peers does not keep
 * out who comes to take its Session over; at some 10 KiB each, more in a TLS handshake, they take tens of MiB at most.
 */
const SPARE_SOCKETS = 1_024;
/** Time the sockets that were cut get to say so. */
const CUT_MS = 500;
