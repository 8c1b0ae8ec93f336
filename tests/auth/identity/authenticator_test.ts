/**
 * The chain of identity providers, by itself.
 */
import assert from "node:assert/strict";
import { makeAuthenticator } from "../../../src/auth/identity/authenticator.ts";
import {
  type AnonymousPolicy,
  type Credentials,
  type IdentityProvider,
  named,
  type Verdict,
} from "../../../src/auth/identity/identity.ts";
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
      return Promise.resolve(verdict);
    },
  };
}

const ACCEPT: Verdict = { kind: "accept", identity: named("known") };
const REFUSE: Verdict = { kind: "refuse", reasonCode: ReasonCode.BAD_USER_NAME_OR_PASSWORD, reason: "bad_password" };

Deno.test("authenticator asks providers in turn and keeps the first verdict", async () => {
  const asked: string[] = [];
  const providers = [provider("a", undefined, asked), provider("b", REFUSE, asked), provider("c", ACCEPT, asked)];
  const authenticator = makeAuthenticator(() => "true", providers, []);
  assert.deepEqual(await authenticator.authenticate(credentials(true)), REFUSE);
  assert.deepEqual(asked, ["a", "b"]);
});

Deno.test("authenticator falls back to the anonymous policy when all providers pass, reading it every time", async () => {
  let policy: AnonymousPolicy = "false";
  const authenticator = makeAuthenticator(() => policy, [provider("a", undefined, [])], []);
  const refused = { kind: "refuse", reasonCode: ReasonCode.NOT_AUTHORIZED, reason: "anonymous" };
  assert.deepEqual(await authenticator.authenticate(credentials(true)), refused);
  policy = "true";
  assert.deepEqual(await authenticator.authenticate(credentials(false)), {
    kind: "accept",
    identity: named(undefined),
  });
});

Deno.test("authenticator refuses a name or a password that no provider knows, whatever the policy", async () => {
  const authenticator = makeAuthenticator(() => "true", [provider("a", undefined, [])], []);
  for (const claimed of [{ username: "u" }, { password: Uint8Array.of(1) }, { username: "" }]) {
    const verdict = await authenticator.authenticate(credentials(true, claimed));
    assert.deepEqual(verdict, { kind: "refuse", reasonCode: 0x86, reason: "unknown_user" });
  }
});

Deno.test("authenticator gives an anonymous client no name, whatever name it gives", () => {
  const authenticator = makeAuthenticator(() => "true", [], []);
  const verdict = authenticator.authenticate(credentials(true, { username: "admin" }));
  assert.deepEqual(verdict, { kind: "accept", identity: named(undefined) });
});

Deno.test("authenticator prefers the anonymous policy of the listener to that of the broker", () => {
  const kinds = ([["true", "false"], ["false", "true"], ["true", "loopback"]] as const).map(([policy, anonymous]) => {
    const verdict = makeAuthenticator(() => policy, [], []).authenticate(credentials(false, { anonymous }));
    assert(!(verdict instanceof Promise));
    return verdict.kind;
  });
  assert.deepEqual(kinds, ["refuse", "accept", "refuse"]);
});

Deno.test("authenticator without providers answers at once, by policy and by where the peer is", () => {
  const outcomes = (["true", "false", "loopback"] as const).map((policy) => {
    const authenticator = makeAuthenticator(() => policy, [], []);
    return [true, false].map((isLoopback) => {
      const verdict = authenticator.authenticate(credentials(isLoopback));
      assert(!(verdict instanceof Promise));
      return verdict.kind;
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
