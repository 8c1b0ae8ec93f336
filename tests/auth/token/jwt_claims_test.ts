/**
 * From claims to an identity, without signatures.
 */
import assert from "node:assert/strict";
import { type ClaimSettings, identityFromClaims, TOKEN_GROUPS_MAX } from "../../../src/auth/token/jwt_claims.ts";
import { NOW_SECONDS, settingsWith } from "./jwt_rig.ts";

const NOW_MS = NOW_SECONDS * 1000;
const GOOD = { sub: "gateway-7", exp: NOW_SECONDS + 60 };

function read(claims: unknown, settings: Partial<ClaimSettings> = {}, nowMs = NOW_MS) {
  const payload = new TextEncoder().encode(typeof claims === "string" ? claims : JSON.stringify(claims));
  return identityFromClaims(payload, settingsWith(settings), nowMs);
}

Deno.test("identityFromClaims gives username, groups, rules and end", () => {
  const acl = [{ effect: "allow", action: "publish", topics: ["a/#"], "max-qos": 1, retain: false }];
  assert.deepEqual(read({ ...GOOD, groups: ["ops", "dev"], acl }), {
    username: "gateway-7",
    groups: ["ops", "dev"],
    rules: [{ effect: "allow", action: "publish", topics: ["a/#"], qosMax: 1, retain: false }],
    expiresAtMs: NOW_MS + 65_000,
  });
  assert.deepEqual(read(GOOD), {
    username: "gateway-7",
    groups: [],
    rules: undefined,
    expiresAtMs: NOW_MS + 65_000,
  });
});

Deno.test("identityFromClaims looks where the settings say", () => {
  const settings = { usernameClaim: "https://example.org/name", groupsClaim: "scope", aclClaim: "mqtt" };
  const claims = { ...GOOD, "https://example.org/name": "pump", scope: "a b", mqtt: { subscribe: ["b/#"] } };
  const identity = read(claims, settings);
  assert(typeof identity !== "string");
  assert.equal(identity.username, "pump");
  assert.deepEqual(identity.groups, ["a", "b"]);
  assert.deepEqual(identity.rules, [{ effect: "allow", action: "subscribe", topics: ["b/#"] }]);
  assert.equal(read(claims, { ...settings, usernameClaim: "toString" }), "token_claims");
  assert.equal(read(claims, { ...settings, usernameClaim: "__proto__" }), "token_claims");
});

Deno.test("identityFromClaims refuses what is no claims set", () => {
  for (const text of ["", "null", "[]", '"a"', "{", "7", '{"sub":"a"} x']) {
    assert.equal(read(text), "token_claims", text);
  }
  const broken = new Uint8Array([...new TextEncoder().encode('{"sub":"a'), 0xff, ...new TextEncoder().encode('"}')]);
  assert.equal(identityFromClaims(broken, settingsWith({ requireExpiry: false }), NOW_MS), "token_claims");
});

Deno.test("identityFromClaims refuses names that no client may have", () => {
  for (const sub of [undefined, null, "", 7, ["a"], "a\u0000", "a\r\nb", "\u007f", "ä".repeat(32_768)]) {
    assert.equal(read({ ...GOOD, sub }), "token_claims", JSON.stringify(sub)?.slice(0, 20));
  }
  assert.equal(read(`{"sub":"\\ud800","exp":${GOOD.exp}}`), "token_claims");
});

Deno.test("identityFromClaims accepts a token in [nbf - leeway, exp + leeway)", () => {
  const claims = { sub: "a", nbf: NOW_SECONDS, exp: NOW_SECONDS + 60 };
  const at = (offsetMs: number) => {
    const identity = read(claims, {}, NOW_MS + offsetMs);
    return typeof identity === "string" ? identity : "accept";
  };
  assert.equal(at(-5001), "token_not_yet_valid");
  assert.equal(at(-5000), "accept");
  assert.equal(at(64_999), "accept");
  assert.equal(at(65_000), "token_expired");
});

Deno.test("identityFromClaims refuses a token that was issued in the future", () => {
  assert.equal(typeof read({ ...GOOD, iat: NOW_SECONDS + 5 }), "object");
  assert.equal(read({ ...GOOD, iat: NOW_SECONDS + 6 }), "token_not_yet_valid");
  assert.equal(read({ ...GOOD, iat: NOW_SECONDS + 6, nbf: 0 }), "token_not_yet_valid");
});

Deno.test("identityFromClaims refuses times that are none", () => {
  for (const name of ["exp", "nbf", "iat"]) {
    for (const value of ["1800000000", null, true, 1e300, -1e300]) {
      assert.equal(read({ ...GOOD, [name]: value }), "token_claims", `${name} ${value}`);
    }
  }
  assert.equal(read(`{"sub":"a","exp":1e999}`), "token_claims");
});

Deno.test("identityFromClaims wants an end only when it is required", () => {
  assert.equal(read({ sub: "a" }), "token_claims");
  const identity = read({ sub: "a" }, { requireExpiry: false });
  assert(typeof identity !== "string");
  assert.equal(identity.expiresAtMs, undefined);
  assert.equal(read({ sub: "a", exp: NOW_SECONDS - 5 }, { requireExpiry: false }), "token_expired");
});

Deno.test("identityFromClaims holds issuer and audience against the settings", () => {
  const settings = { issuer: "https://issuer.example.org", audience: "promptmq" };
  const good = { ...GOOD, iss: settings.issuer, aud: "promptmq" };
  assert.equal(typeof read(good, settings), "object");
  assert.equal(typeof read({ ...good, aud: ["other", "promptmq"] }, settings), "object");
  for (const iss of [undefined, "https://issuer.example.org/", [settings.issuer], null]) {
    assert.equal(read({ ...good, iss }, settings), "token_issuer");
  }
  for (const aud of [undefined, "other", ["other"], [], "promptmq2", { promptmq: 1 }, [["promptmq"]]]) {
    assert.equal(read({ ...good, aud }, settings), "token_audience");
  }
});

Deno.test("identityFromClaims reads groups from a list or a string with spaces, and refuses the rest", () => {
  const groupsOf = (groups: unknown) => {
    const identity = read({ ...GOOD, groups });
    return typeof identity === "string" ? identity : identity.groups;
  };
  assert.deepEqual(groupsOf("a  b c "), ["a", "b", "c"]);
  assert.deepEqual(groupsOf(""), []);
  assert.deepEqual(groupsOf([]), []);
  const many = Array.from({ length: TOKEN_GROUPS_MAX }, (_, i) => `g${i}`);
  assert.deepEqual(groupsOf(many), many);
  for (const groups of [null, 7, {}, ["a", 7], ["a", ""], ["a\n"], [...many, "one more"], [...many, "x"].join(" ")]) {
    assert.equal(groupsOf(groups), "token_claims");
  }
});

Deno.test("identityFromClaims refuses a token whose rules have a mistake, and keeps rules that permit nothing", () => {
  for (const acl of [null, "a/#", [{ effect: "deny", action: "publish", topics: ["a#"] }], { publishes: ["a"] }]) {
    assert.equal(read({ ...GOOD, acl }), "token_claims");
  }
  const identity = read({ ...GOOD, acl: [] });
  assert(typeof identity !== "string");
  assert.deepEqual(identity.rules, []);
});
