/**
 * Where clients come in: all configured listeners, and the orderly end of them.
 *
 * Stopping runs backwards: stop accepting, say goodbye to every client (DISCONNECT 0x8B to v5), let the last bytes
 * leave, cut what is left when `server.shutdown-timeout` is over.
 */
import * as Context from "effect/Context";
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { Broker } from "../broker/broker.ts";
import { listenersOf } from "../config/checks/listener_list.ts";
import type { ListenerEntry, ListenerType } from "../config/options/listener_entry.ts";
import { ConfigStore } from "../config/reload.ts";
import { Supervisor } from "../logging/supervisor.ts";
import { Metrics } from "../metrics/metrics.ts";
import type { Family } from "../metrics/prometheus.ts";
import { Entrance } from "./entry/entrance.ts";
import { Listener } from "./entry/listener.ts";
import { listenPlain } from "./plain_listener.ts";
import { listenTls, type TlsListener } from "./tls/tls_listener.ts";

/** A listener that lets clients in. */
export interface OpenListener {
  readonly name: string;
  readonly type: ListenerType;
  /** As `host:port`, or the path of a Unix socket. */
  readonly address: string;
}

/** The open listeners. */
export class Listeners extends Context.Service<Listeners, {
  /** In the order of the configuration. */
  readonly open: readonly OpenListener[];
}>()("promptmq/listeners/Listeners") {
  static readonly layer = Layer.effect(
    Listeners,
    Effect.gen(function* () {
      const configStore = yield* ConfigStore;
      const metrics = yield* Metrics;
      const { core } = yield* Broker;
      const entrance = new Entrance(core, configStore);
      const listeners: Listener[] = [];
      yield* configStore.subscribe((changed) => {
        entrance.apply(changed);
        applyConnectRates(listeners, listenersOf(changed));
      });
      yield* Supervisor.fork("connections", Deferred.await(entrance.bug));
      yield* Effect.addFinalizer(() => entrance.leave());
      const open: OpenListener[] = [];
      const secured: [name: string, listener: TlsListener][] = [];
      for (const entry of listenersOf(configStore.current())) {
        const { name, type } = entry;
        const listener = new Listener(entry, core.wheel, core.clock());
        listeners.push(listener);
        if (type === "tls" || type === "wss") {
          const tls = yield* listenTls(listener, entrance);
          secured.push([name, tls]);
          open.push({ name, type, address: tls.address });
        } else open.push({ name, type, address: yield* listenPlain(listener, entrance) });
      }
      yield* metrics.addCollector(() => listenerFamilies(listeners, secured));
      return Listeners.of({ open });
    }),
  );
}

/** The one thing of a listener that a reload can change. */
function applyConnectRates(listeners: readonly Listener[], entries: readonly ListenerEntry[]): void {
  for (const listener of listeners) {
    const entry = entries.find(({ name }) => name === listener.name);
    if (entry !== undefined) listener.connectRate = entry.connectRate;
  }
}

function listenerFamilies(
  listeners: readonly Listener[],
  secured: readonly (readonly [name: string, listener: TlsListener])[],
): readonly Family[] {
  return [
    {
      type: "gauge",
      name: "promptmq_listener_connections",
      help: "Connections of a listener, those in a TLS handshake included.",
      samples: listeners.map(({ name, connections }) => ({ labels: { listener: name }, value: connections })),
    },
    {
      type: "gauge",
      name: "promptmq_tls_certificate_not_after_seconds",
      help: "When the certificate of a TLS listener expires, in seconds since the epoch.",
      samples: secured.map(([name, listener]) => ({ labels: { listener: name }, value: listener.notAfterMs() / 1000 })),
    },
  ];
}
