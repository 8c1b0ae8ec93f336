/**
 * One listener over real sockets without a broker behind it: whoever is let in gets back what it sends.
 *
 * Admission, PROXY headers, TLS and the way of bytes are the real ones. Time is real too, so tests wait for events.
 */
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Layer from "effect/Layer";
import * as Logger from "effect/Logger";
import * as Scope from "effect/Scope";
import assert from "node:assert/strict";
import type { BrokerCore } from "../../src/broker/broker_core.ts";
import { TimerWheel } from "../../src/broker/timer_wheel.ts";
import { load } from "../../src/config/load.ts";
import type { ListenerEntry } from "../../src/config/options/listener_entry.ts";
import type { Config } from "../../src/config/options/schema.ts";
import type { ConfigStore } from "../../src/config/reload.ts";
import { Entrance } from "../../src/listeners/entry/entrance.ts";
import type { IncomingClient } from "../../src/listeners/entry/incoming_client.ts";
import { Listener } from "../../src/listeners/entry/listener.ts";
import { listenPlain } from "../../src/listeners/plain_listener.ts";
import { listenTls } from "../../src/listeners/tls/tls_listener.ts";
import { type HalfCloseSocket, WebSocketByteSocket } from "../../src/listeners/transport/websocket.ts";
import { Level, type LogWriter } from "../../src/logging/log.ts";
import { Supervisor } from "../../src/logging/supervisor.ts";
import { Counters } from "../../src/metrics/counters.ts";
import { AddressList } from "../../src/system/address_list.ts";
import { EventQueue } from "../support/event_queue.ts";
import type { Endpoint } from "../support/raw_client.ts";

/** What differs from an open listener with the usual settings. */
export interface RigOptions {
  readonly readTimeoutMs?: number;
  /** `mqtt.max-connections`; two spare sockets come on top, and nobody becomes a client here. */
  readonly connectionsMax?: number;
  readonly connectionsPerAddress?: number;
  /** As `server.trusted-proxies`. */
  readonly trustedProxies?: string;
}

/** A line that was logged. */
export interface LoggedLine {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** See the head of this file. */
export class ListenerRig implements AsyncDisposable {
  readonly counters = new Counters();
  readonly listener: Listener;
  /** Lines at info and above, as they come. */
  readonly lines = new EventQueue<LoggedLine>();
  /** Whoever was let in, as it is let in. */
  readonly entered = new EventQueue<IncomingClient>();
  /** Whoever was let in, as its connection ends. */
  readonly left = new EventQueue<IncomingClient>();
  /** Counts of bytes sent back, as they are. */
  readonly echoed = new EventQueue<number>();
  address = "";
  readonly #scope = Scope.makeUnsafe();
  readonly #entrance: EchoEntrance;

  private constructor(listener: Listener, options: RigOptions) {
    this.listener = listener;
    const config = configOf(options);
    const log: LogWriter = {
      level: Level.info,
      write: (level, message, fields = {}) => void this.lines.push({ level, message, fields }),
      limited: (_key, level, message, fields = {}) => {
        if (level !== "debug") this.lines.push({ level, message, fields });
      },
    };
    // The parts of a core that are asked before a connection exists.
    const core = {
      counters: this.counters,
      log,
      clock: () => performance.now(),
      sessions: { drain() {}, places: { taken: 0 } },
      turn: { scheduleNow() {} },
      isBannedAddress: () => false,
    };
    const store: Pick<ConfigStore["Service"], "current"> = { current: () => config };
    this.#entrance = new EchoEntrance(this, core as unknown as BrokerCore, store as ConfigStore["Service"]);
  }

  /** Opens a listener on a free port of this host, or on a path. Rejects with what it fails with. */
  static async open(entry: Partial<ListenerEntry> = {}, options: RigOptions = {}): Promise<ListenerRig> {
    const rig = new ListenerRig(new Listener({ ...ENTRY, ...entry }, new TimerWheel(0), performance.now()), options);
    const isTls = rig.listener.entry.type === "tls" || rig.listener.entry.type === "wss";
    const opened = Effect.gen(function* () {
      yield* Supervisor.fork("bugs", Deferred.await(rig.#entrance.bug));
      return isTls
        ? (yield* listenTls(rig.listener, rig.#entrance)).address
        : yield* listenPlain(rig.listener, rig.#entrance);
    });
    const program = Effect.gen(function* () {
      const context = yield* Layer.buildWithScope(Layer.merge(Supervisor.layer, Logger.layer([])), rig.#scope);
      return yield* Scope.provide(Effect.provideContext(opened, context), rig.#scope);
    });
    try {
      rig.address = await Effect.runPromise(program);
      return rig;
    } catch (error) {
      await rig[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Where it listens. */
  get endpoint(): Endpoint {
    const colon = this.address.lastIndexOf(":");
    return { hostname: this.address.slice(0, colon), port: Number(this.address.slice(colon + 1)) };
  }

  /** Waits for the next line, which must have this message. */
  async expectLine(message: string): Promise<LoggedLine> {
    const line = await this.lines.next(`the line "${message}"`);
    assert.equal(line?.message, message, JSON.stringify(line));
    return line;
  }

  /** Waits for the next one to be let in. */
  async expectClient(): Promise<IncomingClient> {
    const client = await this.entered.next("somebody to be let in");
    assert.ok(client);
    return client;
  }

  /** Ends our side of all connections that were let in. */
  hangUp(): void {
    this.#entrance.hangUp();
  }

  /** Ends all there is, as a stop of the broker does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Effect.runPromise(Scope.close(this.#scope, Exit.void));
    await Effect.runPromise(this.#entrance.leave());
    await this.#entrance.cutAll();
  }
}

/** Serves an echo where the broker would serve MQTT. */
class EchoEntrance extends Entrance {
  readonly #rig: ListenerRig;
  readonly #serving = new Map<HalfCloseSocket, Promise<void>>();

  constructor(rig: ListenerRig, core: BrokerCore, store: ConfigStore["Service"]) {
    super(core, store, 2);
    this.#rig = rig;
  }

  override serve(socket: HalfCloseSocket, client: IncomingClient): void {
    const framed = client.listener.isWebSocket
      ? new WebSocketByteSocket(socket, "/mqtt", (origin) => this.mayUpgrade(client, origin))
      : socket;
    this.#rig.entered.push(client);
    const served = echo(framed, this.#rig).finally(() => {
      this.#serving.delete(socket);
      this.left(client);
      this.#rig.left.push(client);
    });
    this.#serving.set(socket, served);
  }

  hangUp(): void {
    for (const socket of this.#serving.keys()) socket.closeWrite().catch(() => {});
  }

  async cutAll(): Promise<void> {
    for (const socket of this.#serving.keys()) closeQuietly(socket);
    await Promise.all(this.#serving.values());
  }
}

async function echo(socket: HalfCloseSocket | WebSocketByteSocket, rig: ListenerRig): Promise<void> {
  const buffer = new Uint8Array(16_384);
  try {
    for (let count = await socket.read(buffer); count !== null; count = await socket.read(buffer)) {
      for (let sent = 0; sent < count;) sent += await socket.write(buffer.subarray(sent, count));
      rig.echoed.push(count);
    }
    if ("farewell" in socket) await socket.farewell();
    else await socket.closeWrite();
  } catch {
    // Whatever a socket says is its end.
  }
  closeQuietly(socket);
}

function closeQuietly(socket: Pick<HalfCloseSocket, "close">): void {
  try {
    socket.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

/** The configuration of a rig. */
export function configOf(options: RigOptions): Config {
  const sources = { configPath: undefined, searchPaths: [], readEnv: () => ({}), flags: new Map<string, string>() };
  const { config } = Effect.runSync(load(sources));
  const trustedProxies = AddressList.parse(options.trustedProxies ?? config.server.trustedProxies.toString());
  assert.ok(trustedProxies);
  const readTimeoutMs = options.readTimeoutMs ?? config.server.readTimeoutMs;
  return {
    ...config,
    server: { ...config.server, readTimeoutMs, trustedProxies },
    mqtt: { ...config.mqtt, maxConnections: options.connectionsMax ?? config.mqtt.maxConnections },
    limits: { ...config.limits, connectionsPerAddress: options.connectionsPerAddress ?? 0 },
  };
}

/** A listener on a free port of this host. */
export const ENTRY: ListenerEntry = {
  name: "door",
  type: "tcp",
  bind: { hostname: "127.0.0.1", port: 0 },
  socketPath: undefined,
  wsPath: "/mqtt",
  tlsCert: undefined,
  tlsKey: undefined,
  tlsCa: undefined,
  clientAuth: "none",
  proxyProtocol: false,
  protocolVersions: [],
  allowAnonymous: undefined,
  maxConnections: 0,
  connectRate: 0,
  messageRate: 0,
  byteRate: 0,
};
