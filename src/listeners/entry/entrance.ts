/**
 * What all listeners share: who may come in, and what becomes of a socket that may.
 *
 *   accepted ──▶ (PROXY header) ──▶ mayEnter ──▶ (TLS handshake) ──▶ serve ──▶ left
 *       └──────── pending: cut at a stop, and counted ────────┘
 *
 * A connection is admitted under the address of its client, once that is known: behind a proxy only after its header, so
 * before it such a socket is held under a count of its own. Every admitted client leaves exactly once.
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
import type { IncomingClient } from "./incoming_client.ts";
import type { PendingSocket } from "./pending_socket.ts";
import type { ProxySource } from "./proxy_protocol.ts";

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
  /** Sockets without a connection yet. */
  readonly pending = new Set<PendingSocket>();
  /** Clients that were admitted. */
  #inside = 0;
  /** Sockets whose client is not known yet. */
  #unknown = 0;
  #emptied: (() => void) | undefined = undefined;
  #isLeaving = false;

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
  mayWait(client: IncomingClient): boolean {
    if (!this.#hasRoom) return this.refuse(client, "too_many_connections");
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
  mayEnter(client: IncomingClient): boolean {
    if (!this.#hasRoom) return this.refuse(client, "too_many_connections");
    if (client.listener.isFull) return this.refuse(client, "listener_full");
    // What a proxy passes on must not count as the proxy's own; its request will tell.
    if (!client.isRequestAwaited || !this.isTrustedProxy(client.remoteAddress)) {
      const refusal = this.#refusalOf(client.remoteAddress);
      if (refusal !== undefined) return this.refuse(client, refusal);
      client.isAddressCounted = true;
    }
    client.isInside = true;
    client.listener.connections++;
    this.#inside++;
    return true;
  }

  #refusalOf(address: string): "banned" | AddressRefusal | undefined {
    const nowMs = this.core.clock();
    return this.core.isBannedAddress(address, nowMs) ? "banned" : this.#addresses.admit(address, nowMs);
  }

  /** The end of what `mayEnter` began. Does nothing for a client that is not inside. */
  left(client: IncomingClient): void {
    if (!client.isInside) return;
    if (client.isAddressCounted) this.#addresses.left(client.remoteAddress);
    client.isInside = client.isAddressCounted = false;
    client.listener.connections--;
    this.#inside--;
  }

  /** Counts and logs that a client is turned away. Returns false, as the answer to give. */
  refuse(client: IncomingClient, reason: string, detail?: string): false {
    this.core.counters.connectsRefused.add(reason);
    this.core.log.limited(reason, "warn", "connection refused", {
      listener: client.listener.name,
      remoteAddress: client.remoteAddress,
      reason,
      detail,
    });
    return false;
  }

  /** Sets who the client is, as a PROXY header of a trusted proxy said it. */
  introduce(client: IncomingClient, source: ProxySource): void {
    if (source.kind === "client") {
      client.remoteAddress = source.address;
      client.isLoopback = isLoopbackAddress(source.address);
    } else if (source.kind === "unknown") client.isLoopback = false;
  }

  /**
   * Decides about the request of a WebSocket: who really sent it, and whether that client may come in.
   *
   * Whoever comes through an HTTP proxy, or from a page of another site, is not taken for a client on this host.
   */
  mayUpgrade(client: IncomingClient, origin: RequestOrigin): boolean {
    if (!origin.isLocal || origin.isForwarded) client.isLoopback = false;
    client.isRequestAwaited = false;
    if (client.isAddressCounted) return true;
    this.left(client);
    const address = clientAddressOf(origin.forwardedFor, (passing) => this.isTrustedProxy(passing));
    if (address !== undefined) client.remoteAddress = address;
    return this.mayEnter(client);
  }

  /** Serves MQTT to a client that was admitted, until its connection is over. */
  serve(socket: HalfCloseSocket, client: IncomingClient): void {
    const { core, settings } = this;
    const framed = client.listener.isWebSocket
      ? new WebSocketByteSocket(socket, client.listener.entry.wsPath, (origin) => this.mayUpgrade(client, origin))
      : socket;
    const transport = new StreamTransport(framed, core.counters, core.clock, this.#readBuffers);
    const connection = new Connection(core, transport, client, settings, client.listener.traffic);
    transport.attach(connection);
    this.#connections.add(connection);
    // It was accepted as the listeners closed: nobody would say goodbye to it, and the stop would wait for it.
    if (this.#isLeaving) connection.abort();
    // A plain promise and no fiber: with many idle connections a fiber each is a large part of the memory.
    transport.serve().then(() => {
      this.left(client);
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
    this.#isLeaving = true;
    for (const socket of [...this.pending]) socket.cut();
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
