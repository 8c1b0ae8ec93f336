/**
 * The closed door: with its backend down, no provider lets anybody in and none passes the question on to the next one,
 * or to the policy for clients that prove nothing.
 *
 * Every backend is put behind a provider that would let everybody in and a policy that would too. Each is down in every
 * way that a test can make: nobody listens, the connection is closed at once, nothing is ever answered, and what is
 * answered is nonsense. Whoever knows of a further provider adds a line to `BACKENDS`.
 */
import * as Effect from "effect/Effect";
import * as Result from "effect/Result";
import assert from "node:assert/strict";
import { HttpAuth } from "../../src/auth/http/http_auth.ts";
import { HttpRules } from "../../src/auth/http/http_rules.ts";
import { makeAuthenticator } from "../../src/auth/identity/authenticator.ts";
import { BackendUnavailable } from "../../src/auth/identity/errors.ts";
import { type IdentityProvider, named, type Verdict } from "../../src/auth/identity/identity.ts";
import { Ldap } from "../../src/auth/ldap/ldap.ts";
import { EventQueue } from "../support/event_queue.ts";
import { credentials, describeVerdict, openRig, type RawServer, rawServer, type Rig, silent } from "./backend_rig.ts";
import { httpSettings } from "./http/http_rig.ts";

const LDAP = {
  startTls: false,
  searchFilter: "(uid={username})",
  groupFilter: "(member={dn})",
  groupAttribute: "cn",
  connections: 2,
};
/** Of virtual time; only the case in which nothing is ever answered waits for it. */
const TIMEOUT_MS = 100;

type OpenProvider = (port: number) => Promise<Rig<IdentityProvider>>;

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

type DownServer = RawServer & { readonly arrived: EventQueue<string> };

/** A server that tells of its connections, and does with a connection what the test says. */
function downServer(serve: (conn: Deno.TcpConn) => Promise<void>): DownServer {
  const arrived = new EventQueue<string>();
  const server = rawServer(async (conn) => {
    arrived.push("connection");
    await serve(conn);
  });
  return Object.assign(server, { arrived });
}

/** Ways to be down. */
const OUTAGES: readonly (readonly [name: string, open: () => Promise<DownServer>, isSilent?: boolean])[] = [
  ["nobody listens", async () => {
    const server = downServer(silent);
    await server[Symbol.asyncDispose]();
    return { ...server, [Symbol.asyncDispose]: () => Promise.resolve() };
  }],
  ["the connection is closed at once", () =>
    Promise.resolve(downServer((conn) => {
      conn.close();
      return Promise.resolve();
    }))],
  ["nothing is ever answered", () => Promise.resolve(downServer(silent)), true],
  ["the answer is nonsense", () =>
    Promise.resolve(downServer(async (conn) => {
      await conn.write(new TextEncoder().encode("\x00\xff220 nobody at home\r\n\r\n"));
      await silent(conn);
    }))],
];

const EVERYBODY: IdentityProvider = {
  name: "everybody",
  verify: () => ({ kind: "accept", identity: named("anybody") }),
};

for (const [name, open, verdict] of BACKENDS) {
  for (const [outage, openServer, isSilent = false] of OUTAGES) {
    Deno.test(`the door stays closed: ${name}, ${outage}`, async () => {
      await using server = await openServer();
      await using rig = await open(server.port);
      const authenticator = makeAuthenticator(() => "true", [rig.service, EVERYBODY], [], rig.ask);
      const answer = new Promise<Verdict>((resolve) =>
        authenticator.authenticate(credentials("alice", "secret"), resolve)
      );
      if (isSilent) {
        await server.arrived.next("the connection");
        await rig.adjust(TIMEOUT_MS);
      }
      assert.equal(describeVerdict(await answer), verdict);
    });
  }
}

for (const [outage, openServer, isSilent = false] of OUTAGES) {
  Deno.test(`the door stays closed: rules over http, ${outage}`, async () => {
    await using server = await openServer();
    const settings = httpSettings({ aclUrl: `http://127.0.0.1:${server.port}/`, timeoutMs: TIMEOUT_MS });
    await using rig = await openRig(HttpRules, HttpRules.layer(settings));
    const found = rig.service.rulesFor({ clientId: "c", ...named("alice") });
    assert(Effect.isEffect(found));
    const answer = new Promise((resolve) => rig.ask(Effect.result(found), resolve));
    if (isSilent) {
      await server.arrived.next("the connection");
      await rig.adjust(TIMEOUT_MS);
    }
    const result = await answer;
    assert(Result.isResult(result) && Result.isFailure(result) && result.failure instanceof BackendUnavailable);
  });
}
