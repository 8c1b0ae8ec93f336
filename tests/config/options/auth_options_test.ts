/** The options of authentication and what belongs to it: their defaults, their flags, and what changes live. */

import assert from "node:assert/strict";
import { limits } from "../../../src/config/options/limit_options.ts";
import { OPTIONS } from "../../../src/config/options/schema.ts";
import { loadGiven } from "../loading.ts";

const AUTH_DEFAULTS = {
  allowAnonymous: "loopback",
  chain: ["certificate", "jwt", "password-file", "ldap", "http"],
  passwordFile: undefined,
  certificate: { username: "cn" },
  jwt: {
    keyFile: undefined,
    secretFile: undefined,
    jwksUrl: undefined,
    jwksCacheMs: 600_000,
    algorithms: [],
    issuer: undefined,
    audience: undefined,
    usernameClaim: "sub",
    groupsClaim: "groups",
    aclClaim: "acl",
    leewaySeconds: 5,
    requireExpiry: true,
    timeoutMs: 5000,
  },
  ldap: {
    url: undefined,
    startTls: false,
    caFile: undefined,
    bindDn: undefined,
    bindPasswordFile: undefined,
    userDn: undefined,
    searchBase: undefined,
    searchFilter: "(uid={username})",
    groupBase: undefined,
    groupFilter: "(member={dn})",
    groupAttribute: "cn",
    timeoutMs: 5000,
    connections: 4,
  },
  http: {
    url: undefined,
    aclUrl: undefined,
    tokenFile: undefined,
    timeoutMs: 5000,
    cacheTtlMs: 60_000,
    cacheSize: 10_000,
    concurrency: 32,
  },
  aclFile: undefined,
  recheckOnDeliver: false,
  banFile: undefined,
  failureDelayMs: 250,
  failureDelayMaxMs: 10_000,
  failuresFree: 3,
};

const LIMIT_DEFAULTS = {
  connectRate: 0,
  connectRatePerAddress: 0,
  connectionsPerAddress: 0,
  messageRate: 0,
  byteRate: 0,
  rateExceeded: "wait",
  subscriptionsPerClient: 65_536,
  flappingCount: 0,
  flappingWindowMs: 60_000,
  flappingBanMs: 300_000,
  memoryHighWaterBytes: 0,
};

Deno.test("load without sources gives the defaults of listeners, authentication and limits", () => {
  const { server, listeners, auth, limits, mqtt } = loadGiven({}).config;
  assert.deepEqual([server.tls, server.tlsCert, server.tlsKey, server.tlsCa], [false, undefined, undefined, undefined]);
  assert.deepEqual([server.tlsBind?.port, server.wssBind?.port, server.tlsClientAuth], [8883, 8084, "none"]);
  assert.deepEqual([server.unixSocket, server.proxyProtocol], [undefined, false]);
  assert.deepEqual(server.trustedProxies.networks, ["127.0.0.0/8", "::1"]);
  assert.deepEqual(listeners, []);
  assert.deepEqual(auth, AUTH_DEFAULTS);
  assert.deepEqual(limits, LIMIT_DEFAULTS);
  assert.equal(mqtt.maxInflightBytes, 0);
});

Deno.test("load takes the short flags of TLS and of files", () => {
  const names = ["tls-cert", "tls-key", "password-file", "acl-file"];
  const flags = Object.fromEntries(names.map((name) => [name, `/etc/${name}`]));
  const binds = { tls: "true", "tls-bind": "127.0.0.1:1", "wss-bind": "" };
  const { server, auth } = loadGiven({ flags: { ...flags, ...binds } }).config;
  assert.deepEqual([server.tlsCert, server.tlsKey], ["/etc/tls-cert", "/etc/tls-key"]);
  assert.deepEqual([auth.passwordFile, auth.aclFile], ["/etc/password-file", "/etc/acl-file"]);
  assert.deepEqual([server.tls, server.tlsBind?.port, server.wssBind], [true, 1, undefined]);
});

Deno.test("only what is said to be live changes without a restart in the sections of security", () => {
  const live = OPTIONS.options.filter(({ key, reload }) =>
    reload === "live" && /^(auth|limits|listeners|server)\b/.test(key)
  ).map(({ key }) => key);
  assert.deepEqual(live, [
    "server.trusted-proxies",
    "server.read-timeout",
    "server.write-timeout",
    "server.shutdown-timeout",
    ...Object.values(limits).map(({ key }) => key),
    "auth.allow-anonymous",
    "auth.recheck-on-deliver",
    "auth.failure-delay",
    "auth.failure-delay-max",
    "auth.failures-free",
  ]);
});
