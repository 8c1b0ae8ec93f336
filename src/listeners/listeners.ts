/**
 * Where clients come in: the TCP and the WebSocket listener, and the orderly end of both.
 *
 * Stopping runs backwards: stop accepting, say goodbye to every client (DISCONNECT 0x8B to v5), let the last bytes
 * leave, cut what is left when `server.shutdown-timeout` is over.
 */
import * as Context from "effect/Context";
import * as Deferred from "effect/Deferred";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { Broker } from "../broker/broker.ts";
import type { BrokerCore } from "../broker/broker_core.ts";
import type { Peer } from "../broker/session_manager.ts";
import { ConfigStore } from "../config/reload.ts";
import type { Config } from "../config/schema.ts";
import { type BindAddress, formatBindAddress } from "../config/value_types.ts";
import { Log, type LogWriter } from "../logging/log.ts";
import { Supervisor } from "../logging/supervisor.ts";
import { Connection, type ConnectionSettings } from "./connection.ts";
import { ListenError } from "./errors.ts";
import { ReadBufferPool } from "./read_buffers.ts";
import { type ByteSocket, StreamTransport } from "./stream.ts";
import { WebSocketByteSocket } from "./websocket.ts";

/** The open listeners. */
export class Listeners extends Context.Service<Listeners, {
  /** Address of the TCP listener as `host:port`, or undefined when it is disabled. */
  readonly tcp: string | undefined;
  /** The same for the WebSocket listener. */
  readonly websocket: string | undefined;
}>()("promptmq/listeners/Listeners") {
  static readonly layer = Layer.effect(
    Listeners,
    Effect.gen(function* () {
      const configStore = yield* ConfigStore;
      const config = configStore.current();
      const entrance = new Entrance((yield* Broker).core, configStore, yield* Log);
      yield* configStore.subscribe((changed) => entrance.apply(changed));
      yield* Supervisor.fork("connections", Deferred.await(entrance.bug));
      yield* Effect.addFinalizer(() => entrance.leave());
      const { bind, wsBind, wsPath } = config.server;
      return Listeners.of({
        tcp: bind === undefined ? undefined : yield* listen("tcp", bind, entrance, withoutFrames),
        websocket: wsBind === undefined
          ? undefined
          : yield* listen("websocket", wsBind, entrance, withWebSocketFrames(wsPath)),
      });
    }),
  );
}

/** What both listeners share: admission, settings, and the set of open connections. */
class Entrance {
  readonly settings: ConnectionSettings;
  readonly readBuffers: ReadBufferPool;
  /** Fails with what a connection's loop threw: a bug, after which nothing can be trusted. */
  readonly bug = Deferred.makeUnsafe<never, unknown>();
  readonly #connections = new Set<Connection>();
  #emptied: (() => void) | undefined = undefined;

  constructor(
    readonly core: BrokerCore,
    readonly configStore: ConfigStore["Service"],
    readonly log: LogWriter,
  ) {
    this.settings = { writeBufferBytes: 0, readTimeoutMs: 0, writeTimeoutMs: 0 };
    this.apply(configStore.current());
    this.readBuffers = new ReadBufferPool(configStore.current().server.readBufferBytes);
  }

  apply(config: Config): void {
    this.settings.writeBufferBytes = config.server.writeBufferBytes;
    this.settings.readTimeoutMs = config.server.readTimeoutMs;
    this.settings.writeTimeoutMs = config.server.writeTimeoutMs;
  }

  /** False when there are so many connections that not even a refusal can be afforded. */
  mayEnter(peer: Peer): boolean {
    const max = this.configStore.current().mqtt.maxConnections;
    if (this.core.counters.connectionsCurrent < max + REFUSALS_MAX) return true;
    this.core.counters.connectsRefused.add("too_many_connections");
    this.log.limited("too_many_connections", "warn", "connection refused", {
      remoteAddress: peer.remoteAddress,
      reason: "too_many_connections",
    });
    return false;
  }

  /**
   * Keeps a connection until it is over. Its loop is a plain promise and no fiber: with many idle connections a fiber
   * each is a large part of the memory.
   */
  keep(connection: Connection, over: Promise<void>): void {
    this.#connections.add(connection);
    over.then(() => {
      this.#connections.delete(connection);
      if (this.#connections.size === 0) this.#emptied?.();
    }, (bug) => Deferred.doneUnsafe(this.bug, Effect.die(bug)));
  }

  /**
   * Says goodbye to every client, also to those that have not said CONNECT. May be asked twice.
   *
   * @returns Resolves when every connection is closed.
   */
  sayGoodbye(): Promise<void> {
    this.core.sessions.drain();
    for (const connection of this.#connections) connection.receiveEnded(this.core.clock());
    return new Promise((resolve) => {
      if (this.#connections.size === 0) resolve();
      else this.#emptied = resolve;
    });
  }

  /** Says goodbye and cuts what is not closed within `server.shutdown-timeout`. */
  leave(): Effect.Effect<void> {
    const cut = Effect.suspend(() => {
      this.log.write("warn", "connections cut at shutdown", { connections: this.#connections.size });
      for (const connection of this.#connections) connection.abort();
      return Effect.timeoutOption(Effect.promise(() => this.sayGoodbye()), Duration.millis(CUT_MS));
    });
    return Effect.suspend(() =>
      Effect.promise(() => this.sayGoodbye()).pipe(
        Effect.timeoutOrElse({
          duration: Duration.millis(this.configStore.current().server.shutdownTimeoutMs),
          orElse: () => cut,
        }),
        Effect.asVoid,
      )
    );
  }
}

/** Opens one listener and lets in who comes, until the scope ends. */
const listen = Effect.fnUntraced(function* (
  name: ListenError["listener"],
  bind: BindAddress,
  entrance: Entrance,
  frame: (socket: Deno.TcpConn, peer: LocalPeer) => ByteSocket,
) {
  const listener = yield* Effect.acquireRelease(
    Effect.try({
      try: () => Deno.listen({ hostname: bind.hostname, port: bind.port, tcpBacklog: BACKLOG }),
      catch: (cause) => new ListenError({ listener: name, ...bind, cause }),
    }),
    (open) =>
      Effect.sync(() => {
        try {
          open.close();
        } catch (error) {
          // The accept loop may have closed it by ending.
          if (!(error instanceof Deno.errors.BadResource)) throw error;
        }
      }),
  );
  yield* Supervisor.fork(`${name} accept loop`, Effect.promise(() => acceptAll(listener, entrance, frame)));
  return formatBindAddress(listener.addr);
});

async function acceptAll(
  listener: Deno.TcpListener,
  entrance: Entrance,
  frame: (socket: Deno.TcpConn, peer: LocalPeer) => ByteSocket,
): Promise<void> {
  for (;;) {
    try {
      admit(await listener.accept(), entrance, frame);
    } catch (error) {
      if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) return;
      // Out of file descriptors, or a peer that was gone before it was accepted: others may still come in.
      entrance.log.limited("accept_failed", "error", "cannot accept a connection", { cause: String(error) });
      await new Promise((resolve) => setTimeout(resolve, ACCEPT_RETRY_MS));
    }
  }
}

/** Closes the socket itself when its peer is gone before it was let in. */
function admit(
  socket: Deno.TcpConn,
  entrance: Entrance,
  frame: (socket: Deno.TcpConn, peer: LocalPeer) => ByteSocket,
): void {
  const peer = peerOf(socket.remoteAddr);
  if (!entrance.mayEnter(peer)) {
    socket.close();
    return;
  }
  socket.setNoDelay(true);
  // A peer that vanished without a word is noticed by the system, also where no MQTT Keep Alive was agreed.
  socket.setKeepAlive(true);
  const { core, settings } = entrance;
  const transport = new StreamTransport(frame(socket, peer), core.counters, core.clock, entrance.readBuffers);
  const connection = new Connection(core, transport, peer, settings);
  transport.attach(connection);
  entrance.keep(connection, transport.serve());
}

/** A peer that may lose its trust before it sends CONNECT. */
interface LocalPeer extends Peer {
  isLoopback: boolean;
}

function withoutFrames(socket: Deno.TcpConn): ByteSocket {
  return socket;
}

/** From the first byte on, the request included, a WebSocket is a connection like any other. */
function withWebSocketFrames(path: string): (socket: Deno.TcpConn, peer: LocalPeer) => ByteSocket {
  return (socket, peer) =>
    new WebSocketByteSocket(socket, path, () => {
      peer.isLoopback = false;
    });
}

function peerOf(address: Deno.Addr): LocalPeer {
  if (address.transport !== "tcp" && address.transport !== "udp") return { remoteAddress: "local", isLoopback: true };
  const { hostname } = address;
  const plain = hostname.startsWith("::ffff:") ? hostname.slice("::ffff:".length) : hostname;
  return { remoteAddress: plain, isLoopback: plain === "::1" || plain.startsWith("127.") };
}

/** Connections beyond `mqtt.max-connections` that are let in only to be told so. */
const REFUSALS_MAX = 256;
const BACKLOG = 4_096;
const ACCEPT_RETRY_MS = 100;
/** Time the sockets that were cut get to say so. */
const CUT_MS = 500;
