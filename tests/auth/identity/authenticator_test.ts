/**
 * The chain of identity providers, by itself.
 */
import * as Effect from "effect/Effect";
import assert from "node:assert/strict";
import {
  type Authenticator,
  makeAuthenticator as makeAuthenticatorAsking,
} from "../../../src/auth/identity/authenticator.ts";
import type { EnhancedAuthenticator } from "../../../src/auth/identity/enhanced_authentication.ts";
import { BackendBusy, BackendUnavailable } from "../../../src/auth/identity/errors.ts";
import {
  type AnonymousPolicy,
  type Credentials,
  type IdentityProvider,
  named,
  type Verdict,
} from "../../../src/auth/identity/identity.ts";
import { askBy } from "../../../src/auth/identity/questions.ts";
import { ReasonCode } from "../../../src/protocol/reason_codes.ts";

function credentials(isLoopback: boolean, changes: Partial<Credentials> = {}): Credentials {
  return {
    clientId: "c",
    username: undefined,
    password: undefined,
    isLoopback,
    remoteAddress: "192.0.2.1",
    certificate: undefined,
    anonymous: undefined,
    ...changes,
  };
}

function provider(name: string, verdict: Verdict | undefined, asked: string[]): IdentityProvider {
  return {
    name,
    verify: () => {
      asked.push(name);
      return Effect.promise(() => Promise.resolve(verdict));
    },
  };
}

function makeAuthenticator(
  policy: () => AnonymousPolicy,
  providers: readonly IdentityProvider[],
  enhanced: readonly EnhancedAuthenticator[],
): Authenticator["Service"] {
  return makeAuthenticatorAsking(policy, providers, enhanced, askBy(Effect.runFork));
}

function authenticate(authenticator: Authenticator["Service"], client: Credentials): Promise<Verdict> {
  return new Promise((resolve) => authenticator.authenticate(client, resolve));
}

/** The verdict of one that needs nobody to wait. */
function authenticateNow(authenticator: Authenticator["Service"], client: Credentials): Verdict {
  const heard: Verdict[] = [];
  assert.equal(authenticator.authenticate(client, (verdict) => heard.push(verdict)), undefined);
  assert.equal(heard.length, 1);
  return heard[0]!;
}

const ACCEPT: Verdict = { kind: "accept", identity: named("known") };
const REFUSE: Verdict = { kind: "refuse", reasonCode: ReasonCode.BAD_USER_NAME_OR_PASSWORD, reason: "bad_password" };

Deno.test("authenticator asks providers in turn and keeps the first verdict", async () => {
  const asked: string[] = [];
  const providers = [provider("a", undefined, asked), provider("b", REFUSE, asked), provider("c", ACCEPT, asked)];
  const authenticator = makeAuthenticator(() => "true", providers, []);
  assert.deepEqual(await authenticate(authenticator, credentials(true)), REFUSE);
  assert.deepEqual(asked, ["a", "b"]);
});

Deno.test("authenticator falls back to the anonymous policy when all providers pass, reading it every time", async () => {
  let policy: AnonymousPolicy = "false";
  const authenticator = makeAuthenticator(() => policy, [provider("a", undefined, [])], []);
  const refused = { kind: "refuse", reasonCode: ReasonCode.NOT_AUTHORIZED, reason: "anonymous" };
  assert.deepEqual(await authenticate(authenticator, credentials(true)), refused);
  policy = "true";
  assert.deepEqual(await authenticate(authenticator, credentials(false)), {
    kind: "accept",
    identity: named(undefined),
  });
});

Deno.test("authenticator refuses a name or a password that no provider knows, whatever the policy", async () => {
  const authenticator = makeAuthenticator(() => "true", [provider("a", undefined, [])], []);
  for (const claimed of [{ username: "u" }, { password: Uint8Array.of(1) }, { username: "" }]) {
    const verdict = await authenticate(authenticator, credentials(true, claimed));
    assert.deepEqual(verdict, { kind: "refuse", reasonCode: 0x86, reason: "unknown_user" });
  }
});

Deno.test("authenticator refuses when a backend fails, and asks nobody behind it", async () => {
  const unavailable = (["password-file", "jwt", "ldap", "http"] as const).map((backend) =>
    [backend, new BackendUnavailable({ backend, operation: "ask", detail: "down" })] as const
  );
  const busy = (["password-file", "ldap", "http"] as const).map((backend) =>
    [backend, new BackendBusy({ backend })] as const
  );
  const reasons: string[] = [];
  for (const [name, error] of [...unavailable, ...busy]) {
    const asked: string[] = [];
    const providers = [{ name, verify: () => error }, provider("next", ACCEPT, asked)];
    const verdict = await authenticate(makeAuthenticator(() => "true", providers, []), credentials(true));
    assert(verdict.kind === "refuse");
    reasons.push(`0x${verdict.reasonCode.toString(16)} ${verdict.reason}`);
    assert.deepEqual(asked, []);
  }
  assert.deepEqual(reasons, [
    "0x88 hash_failed",
    "0x88 jwt_unavailable",
    "0x88 ldap_unavailable",
    "0x88 http_unavailable",
    "0x89 hash_queue_full",
    "0x89 ldap_busy",
    "0x89 http_busy",
  ]);
});

Deno.test("authenticator gives an anonymous client no name, whatever name it gives", () => {
  const authenticator = makeAuthenticator(() => "true", [], []);
  const verdict = authenticateNow(authenticator, credentials(true, { username: "admin" }));
  assert.deepEqual(verdict, { kind: "accept", identity: named(undefined) });
});

Deno.test("authenticator prefers the anonymous policy of the listener to that of the broker", () => {
  const kinds = ([["true", "false"], ["false", "true"], ["true", "loopback"]] as const).map(([policy, anonymous]) => {
    return authenticateNow(makeAuthenticator(() => policy, [], []), credentials(false, { anonymous })).kind;
  });
  assert.deepEqual(kinds, ["refuse", "accept", "refuse"]);
});

Deno.test("authenticator without providers answers at once, by policy and by where the peer is", () => {
  const outcomes = (["true", "false", "loopback"] as const).map((policy) => {
    const authenticator = makeAuthenticator(() => policy, [], []);
    return [true, false].map((isLoopback) => {
      return authenticateNow(authenticator, credentials(isLoopback)).kind;
    });
  });
  assert.deepEqual(outcomes, [["accept", "accept"], ["refuse", "refuse"], ["accept", "refuse"]]);
});

Deno.test("authenticator finds an enhanced method by its exact name", () => {
  const words = {
    method: "WORDS",
    begin: () => ({ next: () => ({ kind: "failure", reasonCode: 0x87, reason: "no" }) as const }),
  };
  const authenticator = makeAuthenticator(() => "true", [], [words]);
  assert.equal(authenticator.enhanced("WORDS"), words);
  assert.equal(authenticator.enhanced("words"), undefined);
});
