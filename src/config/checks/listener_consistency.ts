/**
 * Whether listeners fit each other, their type and what they need: the part of `consistency.ts` about who is let in where.
 */

import { formatBindAddress } from "../../system/bind_address.ts";
import { isUrlPath } from "../kinds/value_types.ts";
import type { ListedListener } from "../options/listener_options.ts";
import type { Config } from "../options/schema.ts";
import { type ListenerSource, listenerSourcesOf, usesTls } from "./listener_list.ts";

/** Every contradiction of listeners, one line each. */
export function listenerProblems(config: Config): readonly string[] {
  const sources = listenerSourcesOf(config);
  return [
    ...config.listeners.flatMap((listed, position) => shapeProblems(listed, `listeners[${position}]`)),
    ...config.server.unixSocket === undefined ? [] : socketProblems("server.unix-socket", config.server.unixSocket),
    ...sources.flatMap(tlsProblems),
    ...idleTlsProblems(config, sources),
    ...idleCaProblems(config, sources),
    ...proxyProblems(config, sources),
    ...sharedProblems(sources),
  ];
}

/** What an entry of the list says that its type cannot use, and what its type needs and the entry does not say. */
function shapeProblems(listed: ListedListener, key: string): string[] {
  const { type, bind, socketPath, wsPath, tlsCert, tlsKey, tlsCa, clientAuth, proxyProtocol } = listed;
  const problems: string[] = [];
  const isUnix = type === "unix";
  const isWebSocket = type === "ws" || type === "wss";
  if (!isUnix && bind === undefined) problems.push(`${key}.bind: missing; give the address to listen on`);
  if (isUnix && bind !== undefined) {
    problems.push(`${key}.bind: without meaning for type unix; give the path of the socket in ${key}.path`);
  }
  if (isUnix && socketPath === undefined) problems.push(`${key}.path: missing; give the path of the socket`);
  if (socketPath !== undefined) problems.push(...socketProblems(`${key}.path`, socketPath));
  if (!isUnix && !isWebSocket && wsPath !== "") {
    problems.push(`${key}.path: without meaning for type ${type}; remove it, or set ${key}.type to ws, wss or unix`);
  }
  if (isWebSocket && wsPath !== "" && !isUrlPath(wsPath)) {
    problems.push(`${key}.path: no URL path; it starts with / and holds no white space, query or fragment`);
  }
  const tls = { cert: tlsCert, key: tlsKey, ca: tlsCa, "client-auth": clientAuth };
  for (const [name, value] of usesTls(type) ? [] : Object.entries(tls)) {
    if (value === undefined) continue;
    problems.push(`${key}.tls.${name}: without meaning for type ${type}; set ${key}.type to tls or wss, or remove it`);
  }
  if (isUnix && proxyProtocol) problems.push(`${key}.proxy-protocol: without meaning for type unix; remove it`);
  return problems;
}

/** Longest path of a Unix socket that Linux takes, in bytes, and the other systems take no more. */
const SOCKET_PATH_BYTES_MAX = 107;

function socketProblems(key: string, path: string): string[] {
  const lengthBytes = new TextEncoder().encode(path).length;
  if (lengthBytes <= SOCKET_PATH_BYTES_MAX) return [];
  return [
    `${key}: a path of ${lengthBytes} bytes; a socket has at most ${SOCKET_PATH_BYTES_MAX}, choose a shorter one`,
  ];
}

function tlsProblems({ key, entry }: ListenerSource): string[] {
  if (!usesTls(entry.type)) return [];
  const isListed = key.startsWith("listeners");
  const nameOf = (part: string) => isListed ? `${key}.tls.${part} or server.tls-${part}` : `server.tls-${part}`;
  const problems: string[] = [];
  for (const [part, path] of [["cert", entry.tlsCert], ["key", entry.tlsKey]] as const) {
    if (path === undefined) problems.push(`${nameOf(part)}: missing; TLS needs a certificate and its key as PEM files`);
  }
  if (entry.clientAuth !== "none" && entry.tlsCa === undefined) {
    const cause = isListed ? `${key}.tls.client-auth or server.tls-client-auth` : "server.tls-client-auth";
    problems.push(
      `${nameOf("ca")}: missing; ${cause} is ${entry.clientAuth}, which needs the authorities that sign the ` +
        "certificates of clients as a PEM file",
    );
  }
  return problems;
}

/** TLS that was prepared and is not spoken: without this, clients would come in as if nothing had been said. */
function idleTlsProblems({ server }: Config, sources: readonly ListenerSource[]): string[] {
  if (server.tls || sources.some(({ entry }) => usesTls(entry.type))) return [];
  const given = [
    ...server.tlsCert === undefined ? [] : ["server.tls-cert"],
    ...server.tlsKey === undefined ? [] : ["server.tls-key"],
    ...server.tlsClientAuth === "none" ? [] : ["server.tls-client-auth"],
  ];
  return given.map((key) => `${key}: no listener uses TLS; set server.tls to true, or remove ${key}`);
}

/** Authorities that no listener asks clients about: their certificates would be taken for checked and are not. */
function idleCaProblems({ server, listeners }: Config, sources: readonly ListenerSource[]): string[] {
  const problems: string[] = [];
  const asking = sources.filter(({ entry }) => entry.clientAuth !== "none");
  if (server.tlsCa !== undefined && !asking.some(({ entry }) => entry.tlsCa === server.tlsCa)) {
    problems.push("server.tls-ca: no client is asked for a certificate; set server.tls-client-auth, or remove it");
  }
  for (const [position, { type, tlsCa, clientAuth }] of listeners.entries()) {
    const isAsking = (clientAuth ?? server.tlsClientAuth) !== "none";
    if (tlsCa === undefined || isAsking || !usesTls(type)) continue;
    const key = `listeners[${position}].tls`;
    problems.push(`${key}.ca: no client is asked for a certificate; set ${key}.client-auth, or remove it`);
  }
  return problems;
}

function proxyProblems({ server }: Config, sources: readonly ListenerSource[]): string[] {
  if (server.trustedProxies.networks.length > 0) return [];
  return sources.filter(({ entry }) => entry.proxyProtocol).map(({ key }) => {
    const switchKey = key.startsWith("listeners") ? `${key}.proxy-protocol` : "server.proxy-protocol";
    return `${switchKey}: nobody may send the header; name the proxies in server.trusted-proxies, or set it to false`;
  });
}

/** Names, addresses and sockets that two listeners have in common. */
function sharedProblems(sources: readonly ListenerSource[]): string[] {
  const problems: string[] = [];
  const names = new Map<string, string>();
  const places = new Map<string, string>();
  for (const { key, entry: { name, bind, socketPath } } of sources) {
    const namesake = names.get(name);
    if (namesake === undefined) names.set(name, key);
    else problems.push(`${key}.name: ${name} is the name of ${namesake} as well; choose another`);
    const place = bind === undefined ? socketPath : bind.port === 0 ? undefined : formatBindAddress(bind).toLowerCase();
    if (place === undefined) continue;
    const other = places.get(place);
    if (other === undefined) places.set(place, key);
    else problems.push(`${key}: listens on ${place} like ${other}; choose another address or remove one of them`);
  }
  return problems;
}
