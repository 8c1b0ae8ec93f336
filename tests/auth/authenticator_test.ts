/**
 * The chain of identity providers, by itself.
 */
import assert from "node:assert/strict";
import {
  type AnonymousPolicy,
  type Credentials,
  type IdentityProvider,
  makeAuthenticator,
  type Verdict,
} from "../../src/auth/authenticator.ts";
import { ReasonCode } from "../../src/protocol/reason_codes.ts";

function credentials(isLoopback: boolean): Credentials {
  return { clientId: "c", username: "u", password: undefined, isLoopback, remoteAddress: "192.0.2.1" };
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

const ACCEPT: Verdict = { kind: "accept", username: "known" };
const REFUSE: Verdict = { kind: "refuse", reasonCode: ReasonCode.BAD_USER_NAME_OR_PASSWORD };

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
  const refused = { kind: "refuse", reasonCode: ReasonCode.NOT_AUTHORIZED };
  assert.deepEqual(await authenticator.authenticate(credentials(true)), refused);
  policy = "true";
  assert.deepEqual(await authenticator.authenticate(credentials(false)), { kind: "accept", username: "u" });
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
  const words = { method: "WORDS", begin: () => ({ next: () => ({ kind: "failure", reasonCode: 0x87 }) as const }) };
  const authenticator = makeAuthenticator(() => "true", [], [words]);
  assert.equal(authenticator.enhanced("WORDS"), words);
  assert.equal(authenticator.enhanced("words"), undefined);
});
