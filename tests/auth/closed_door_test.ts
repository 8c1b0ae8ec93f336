/**
 * The closed door: with its backend down, no provider lets anybody in and none passes the question on to the next one,
 * or to the policy for clients that prove nothing.
 *
 * Every backend is put behind a provider that would let everybody in and a policy that would too. Each is down in every
 * way that a test can make: nobody listens, the connection is closed at once, nothing is ever answered, and what is
 * answered is nonsense. Whoever knows of a further provider adds a line to `BACKENDS`.
 */
import assert from "node:assert/strict";
import { HttpAuth } from "../../src/auth/http/http_auth.ts";
import { HttpRules } from "../../src/auth/http/http_rules.ts";
import { makeAuthenticator } from "../../src/auth/identity/authenticator.ts";
import { type IdentityProvider, named } from "../../src/auth/identity/identity.ts";
import { Ldap } from "../../src/auth/ldap/ldap.ts";
import { credentials, describeVerdict, openRig, type RawServer, rawServer, silent } from "./backend_rig.ts";
import { httpSettings } from "./http/http_rig.ts";

const LDAP = {
  startTls: false,
  searchFilter: "(uid={username})",
  groupFilter: "(member={dn})",
  groupAttribute: "cn",
  connections: 2,
};
/** Only the case in which nothing is ever answered waits for it. */
const TIMEOUT_MS = 100;

type OpenProvider = (port: number) => Promise<AsyncDisposable & { readonly service: IdentityProvider }>;

const ldap = (port: number, changes: object) =>
  openRig(Ldap, Ldap.layer({ url: `ldap://127.0.0.1:${port}`, timeoutMs: TIMEOUT_MS, ...LDAP, ...changes }));

const BACKENDS: readonly (readonly [name: string, open: OpenProvider, verdict: string])[] = [
  ["ldap, direct", (port) => ldap(port, { userDn: "uid={username}" }), "refuse 0x88 ldap_unavailable"],
  ["ldap, by search", (port) => ldap(port, { searchBase: "dc=x" }), "refuse 0x88 ldap_unavailable"],
  [
    "ldap, StartTLS",
    (port) => ldap(port, { userDn: "uid={username}", startTls: true }),
    "refuse 0x88 ldap_unavailable",
  ],
  [
    "ldaps",
    (port) => ldap(port, { userDn: "uid={username}", url: `ldaps://127.0.0.1:${port}` }),
    "refuse 0x88 ldap_unavailable",
  ],
  [
    "http",
    (port) => {
      const settings = httpSettings({ url: `http://127.0.0.1:${port}/`, timeoutMs: TIMEOUT_MS });
      return openRig(HttpAuth, HttpAuth.layer(settings));
    },
    "refuse 0x88 http_unavailable",
  ],
  [
    "https",
    (port) => {
      const settings = httpSettings({ url: `https://127.0.0.1:${port}/`, timeoutMs: TIMEOUT_MS });
      return openRig(HttpAuth, HttpAuth.layer(settings));
    },
    "refuse 0x88 http_unavailable",
  ],
];

/** Ways to be down. */
const OUTAGES: readonly (readonly [name: string, open: () => Promise<RawServer>])[] = [
  ["nobody listens", async () => {
    const server = rawServer(silent);
    await server[Symbol.asyncDispose]();
    return { port: server.port, [Symbol.asyncDispose]: () => Promise.resolve() };
  }],
  ["the connection is closed at once", () =>
    Promise.resolve(rawServer((conn) => {
      conn.close();
      return Promise.resolve();
    }))],
  ["nothing is ever answered", () => Promise.resolve(rawServer(silent))],
  ["the answer is nonsense", () =>
    Promise.resolve(rawServer(async (conn) => {
      await conn.write(new TextEncoder().encode("\x00\xff220 nobody at home\r\n\r\n"));
      await silent(conn);
    }))],
];

const EVERYBODY: IdentityProvider = {
  name: "everybody",
  verify: () => ({ kind: "accept", identity: named("anybody") }),
};

for (const [name, open, verdict] of BACKENDS) {
  for (const [outage, openServer] of OUTAGES) {
    Deno.test(`the door stays closed: ${name}, ${outage}`, async () => {
      await using server = await openServer();
      await using rig = await open(server.port);
      const authenticator = makeAuthenticator(() => "true", [rig.service, EVERYBODY], []);
      assert.equal(describeVerdict(await authenticator.authenticate(credentials("alice", "secret"))), verdict);
    });
  }
}

for (const [outage, openServer] of OUTAGES) {
  Deno.test(`the door stays closed: rules over http, ${outage}`, async () => {
    await using server = await openServer();
    const settings = httpSettings({ aclUrl: `http://127.0.0.1:${server.port}/`, timeoutMs: TIMEOUT_MS });
    await using rig = await openRig(HttpRules, HttpRules.layer(settings));
    assert.equal(await rig.service.rulesFor({ clientId: "c", ...named("alice") }), undefined);
  });
}
