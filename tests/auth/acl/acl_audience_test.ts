/**
 * Whom a rule is about: conditions in all their combinations, groups of the file and of the identity, and patterns.
 */
import assert from "node:assert/strict";
import { Audience, type AudienceTerms, NameSet } from "../../../src/auth/acl/acl_audience.ts";
import { AclPermissions } from "../../../src/auth/acl/acl_permissions.ts";
import { RuleBook } from "../../../src/auth/acl/acl_rules.ts";

/** `ann/c1 team,other` or `-/c1` for an anonymous client. */
function includes(terms: AudienceTerms, client: string): boolean {
  const [names = "", groups = ""] = client.split(" ");
  const [username = "", clientId = ""] = names.split("/");
  return new Audience(terms).includes({
    username: username === "-" ? undefined : username,
    clientId,
    groups: new Set(groups.split(",")),
  });
}

const CLIENTS = ["ann/c1 team", "ann/d1", "bob/c1", "bob/d1 team", "-/c1", "-/d1"];

const AUDIENCES: readonly (readonly [AudienceTerms, readonly string[]])[] = [
  [{}, CLIENTS],
  [{ users: ["ann"] }, ["ann/c1 team", "ann/d1"]],
  [{ users: ["*"] }, ["ann/c1 team", "ann/d1", "bob/c1", "bob/d1 team"]],
  [{ users: ["ann", "bob"], groups: ["team"] }, ["ann/c1 team", "bob/d1 team"]],
  [{ users: ["ann"], clients: ["c*"] }, ["ann/c1 team"]],
  [{ users: ["ann"], groups: ["team"], clients: ["d1"] }, []],
  [{ groups: ["none", "team"] }, ["ann/c1 team", "bob/d1 team"]],
  [{ groups: ["te*"] }, []],
  [{ clients: ["c1"] }, ["ann/c1 team", "bob/c1"]],
  [{ anonymous: true }, ["-/c1", "-/d1"]],
  [{ anonymous: false }, ["ann/c1 team", "ann/d1", "bob/c1", "bob/d1 team"]],
  [{ anonymous: true, users: ["ann"] }, ["ann/c1 team", "ann/d1", "-/c1", "-/d1"]],
  [{ anonymous: true, groups: ["team"] }, ["ann/c1 team", "bob/d1 team", "-/c1", "-/d1"]],
  [{ anonymous: true, clients: ["c1"] }, ["-/c1"]],
  [{ anonymous: true, users: ["ann"], clients: ["c1"] }, ["ann/c1 team", "-/c1"]],
  [{ anonymous: false, clients: ["c1"] }, ["ann/c1 team", "bob/c1"]],
  [{ anonymous: false, users: ["ann"] }, ["ann/c1 team", "ann/d1"]],
];

for (const [terms, expected] of AUDIENCES) {
  Deno.test(`the audience ${JSON.stringify(terms)} is ${expected.join(", ") || "nobody"}`, () => {
    assert.deepEqual(CLIENTS.filter((client) => includes(terms, client)), expected);
  });
}

const PATTERNS: readonly (readonly [pattern: string, name: string, matches: boolean])[] = [
  ["gw-*", "gw-1", true],
  ["gw-*", "gw-", true],
  ["gw-*", "xgw-1", false],
  ["*-gw", "a-gw", true],
  ["*-gw", "a-gw1", false],
  ["a*a", "aa", true],
  ["a*a", "a", false],
  ["a*b*c", "abc", true],
  ["a*b*c", "axbxbxc", true],
  ["a*b*c", "acb", false],
  ["a*bc*c", "abc", false],
  ["*", "", true],
  ["**", "x", true],
  ["a.c", "abc", false],
  ["[a]*", "a", false],
  ["gw", "GW", false],
  ["gw", "gw", true],
  ["*é*", "caféx", true],
];

for (const [pattern, name, matches] of PATTERNS) {
  Deno.test(`the name ${pattern} ${matches ? "stands" : "does not stand"} for ${JSON.stringify(name)}`, () => {
    assert.equal(new NameSet(["nobody", pattern]).has(name), matches);
  });
}

Deno.test("a pattern of many stars is judged at once for a long name", () => {
  assert.equal(new NameSet([`${"*a".repeat(200)}*b`]).has("a".repeat(60_000)), false);
});

Deno.test("groups of the file and of the identity are both asked, and each only of whom they name", () => {
  const book = new RuleBook({
    default: "deny",
    groups: new Map([["staff", ["ann", "adm-*"]]]),
    rules: [
      { effect: "allow", action: "all", topics: ["staff"], audience: { groups: ["staff"] } },
      { effect: "allow", action: "all", topics: ["remote"], audience: { groups: ["remote"] } },
    ],
  });
  const allowed = (username: string | undefined, groups: readonly string[]) => {
    const principal = { username, clientId: "ann", groups, rules: undefined, expiresAtMs: undefined };
    const asked = new AclPermissions(principal, undefined, { book: () => book, recheckOnDeliver: () => false });
    return ["staff", "remote"].filter((name) => asked.mayReceive(name));
  };
  assert.deepEqual(allowed("ann", []), ["staff"]);
  assert.deepEqual(allowed("adm-1", ["remote"]), ["staff", "remote"]);
  assert.deepEqual(allowed("bob", ["staff"]), ["staff"]);
  assert.deepEqual(allowed("bob", []), []);
  assert.deepEqual(allowed(undefined, []), []);
  assert.deepEqual(allowed(undefined, ["staff"]), []);
});
