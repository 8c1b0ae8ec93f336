/**
 * All listeners of a configuration in one form: those that the keys of section `server` describe, for the simple case,
 * and those of the `listeners` list with what they take over from section `server`.
 */

import type { BindAddress } from "../../system/bind_address.ts";
import type { ListenerEntry, ListenerType } from "../options/listener_entry.ts";
import type { Config } from "../options/schema.ts";

/** A listener and the key that describes it, for messages. */
export interface ListenerSource {
  /** `server.ws-bind`, or `listeners[1]`. */
  readonly key: string;
  readonly entry: ListenerEntry;
}

/**
 * The listeners to open, complete.
 *
 * After a reload only `connectRate` can differ: that of the listeners of section `server`, and of those in the list that
 * have none of their own.
 */
export function listenersOf(config: Config): readonly ListenerEntry[] {
  return listenerSourcesOf(config).map(({ entry }) => entry);
}

/** {@link listenersOf}, each with the key that describes it. */
export function listenerSourcesOf(config: Config): readonly ListenerSource[] {
  return [...simpleListeners(config), ...listedListeners(config)];
}

function simpleListeners(config: Config): readonly ListenerSource[] {
  const { server } = config;
  const sources: ListenerSource[] = [];
  const add = (key: string, type: ListenerType, bind: BindAddress | undefined) => {
    if (bind !== undefined) sources.push({ key, entry: { ...simpleEntry(config, type), bind } });
  };
  add("server.bind", "tcp", server.bind);
  add("server.ws-bind", "ws", server.wsBind);
  if (server.tls) {
    add("server.tls-bind", "tls", server.tlsBind);
    add("server.wss-bind", "wss", server.wssBind);
  }
  if (server.unixSocket !== undefined) {
    const entry = { ...simpleEntry(config, "unix"), socketPath: server.unixSocket };
    sources.push({ key: "server.unix-socket", entry });
  }
  return sources;
}

function simpleEntry({ server, limits }: Config, type: ListenerType): ListenerEntry {
  const isTls = usesTls(type);
  return {
    name: type,
    type,
    bind: undefined,
    socketPath: undefined,
    wsPath: server.wsPath,
    tlsCert: isTls ? server.tlsCert : undefined,
    tlsKey: isTls ? server.tlsKey : undefined,
    tlsCa: isTls ? server.tlsCa : undefined,
    clientAuth: isTls ? server.tlsClientAuth : "none",
    proxyProtocol: type !== "unix" && server.proxyProtocol,
    protocolVersions: [],
    allowAnonymous: undefined,
    maxConnections: 0,
    connectRate: limits.connectRate,
    messageRate: 0,
    byteRate: 0,
  };
}

function listedListeners({ server, limits, listeners }: Config): readonly ListenerSource[] {
  return listeners.map((listed, position) => {
    const isTls = usesTls(listed.type);
    const entry: ListenerEntry = {
      ...listed,
      wsPath: listed.wsPath === "" ? server.wsPath : listed.wsPath,
      tlsCert: isTls ? listed.tlsCert ?? server.tlsCert : undefined,
      tlsKey: isTls ? listed.tlsKey ?? server.tlsKey : undefined,
      tlsCa: isTls ? listed.tlsCa ?? server.tlsCa : undefined,
      clientAuth: isTls ? listed.clientAuth ?? server.tlsClientAuth : "none",
      connectRate: listed.connectRate === 0 ? limits.connectRate : listed.connectRate,
    };
    return { key: `listeners[${position}]`, entry };
  });
}

/** Whether connections of a type begin with a TLS handshake. */
export function usesTls(type: ListenerType): boolean {
  return type === "tls" || type === "wss";
}
