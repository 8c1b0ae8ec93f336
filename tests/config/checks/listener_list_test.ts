/** All listeners in one form: those of section `server`, those of the list, and what the list takes over. */

import assert from "node:assert/strict";
import { listenersOf } from "../../../src/config/checks/listener_list.ts";
import type { ListenerEntry } from "../../../src/config/options/listener_entry.ts";
import { type Given, loadGiven } from "../loading.ts";

function listenersGiven(given: Given): readonly ListenerEntry[] {
  return listenersOf(loadGiven(given).config);
}

const SIMPLE = {
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
} as const;

Deno.test("listenersOf gives TCP and WebSocket by default", () => {
  assert.deepEqual(listenersGiven({}), [
    { ...SIMPLE, name: "tcp", type: "tcp", bind: { hostname: "0.0.0.0", port: 1883 } },
    { ...SIMPLE, name: "ws", type: "ws", bind: { hostname: "0.0.0.0", port: 8080 } },
  ]);
  assert.deepEqual(listenersGiven({ flags: { bind: "", "ws-bind": "" } }), []);
});

Deno.test("listenersOf gives TLS its files and every simple listener the PROXY protocol and the rate, but no header to the Unix socket", () => {
  const flags = {
    tls: "true",
    "tls-cert": "c",
    "tls-key": "k",
    "tls-ca": "ca",
    "server-tls-client-auth": "optional",
    "server-unix-socket": "/run/m.sock",
    "server-proxy-protocol": "true",
    "limits-connect-rate": "50",
    "server-ws-path": "/w",
  };
  const common = { ...SIMPLE, wsPath: "/w", connectRate: 50, proxyProtocol: true };
  const tls = { ...common, tlsCert: "c", tlsKey: "k", tlsCa: "ca", clientAuth: "optional" };
  assert.deepEqual(listenersGiven({ flags }), [
    { ...common, name: "tcp", type: "tcp", bind: { hostname: "0.0.0.0", port: 1883 } },
    { ...common, name: "ws", type: "ws", bind: { hostname: "0.0.0.0", port: 8080 } },
    { ...tls, name: "tls", type: "tls", bind: { hostname: "0.0.0.0", port: 8883 } },
    { ...tls, name: "wss", type: "wss", bind: { hostname: "0.0.0.0", port: 8084 } },
    { ...common, name: "unix", type: "unix", bind: undefined, socketPath: "/run/m.sock", proxyProtocol: false },
  ]);
  const some = listenersGiven({ flags: { ...flags, bind: "", "wss-bind": "" } });
  assert.deepEqual(some.map(({ name }) => name), ["ws", "tls", "unix"]);
});

Deno.test("listenersOf lets entries of the list take over what they do not say, and keep what they do", () => {
  const file =
    `server: {bind: "", ws-bind: "", ws-path: /w, tls-cert: c, tls-key: k, tls-ca: ca, tls-client-auth: require}
limits: {connect-rate: 9}
listeners:
  - {name: a, type: tls, bind: 1}
  - {name: b, type: wss, bind: 2, path: /b, connect-rate: 5, tls: {cert: c2, key: k2, client-auth: none}}
  - {name: c, type: ws, bind: 3, max-connections: 4}
  - {name: d, type: unix, path: /run/d}
`;
  const chosen = listenersGiven({ file }).map((entry) => [
    entry.name,
    entry.wsPath,
    [entry.tlsCert, entry.tlsKey, entry.tlsCa, entry.clientAuth],
    entry.connectRate,
    entry.maxConnections,
    entry.proxyProtocol,
  ]);
  assert.deepEqual(chosen, [
    ["a", "/w", ["c", "k", "ca", "require"], 9, 0, false],
    ["b", "/b", ["c2", "k2", "ca", "none"], 5, 0, false],
    ["c", "/w", [undefined, undefined, undefined, "none"], 9, 4, false],
    ["d", "/w", [undefined, undefined, undefined, "none"], 9, 0, false],
  ]);
});
