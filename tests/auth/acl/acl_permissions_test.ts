/**
 * Permissions of one client: what a list of rules answers, as a table; placeholders and hostile names; the order of the
 * sources; that answers are remembered and forgotten in time.
 */
import * as Effect from "effect/Effect";
import assert from "node:assert/strict";
import { makeAclAuthorizer } from "../../../src/auth/acl/acl_authorizer.ts";
import { AclPermissions, REMEMBERED_MAX } from "../../../src/auth/acl/acl_permissions.ts";
import { type DefaultEffect, type FileRule, RuleBook } from "../../../src/auth/acl/acl_rules.ts";
import type { AccessRule } from "../../../src/auth/identity/access_rule.ts";
import type { Authorizer, Principal } from "../../../src/auth/identity/authorizer.ts";
import { BackendBusy, BackendUnavailable } from "../../../src/auth/identity/errors.ts";
import { askBy } from "../../../src/auth/identity/questions.ts";
import type { QoS } from "../../../src/protocol/packets.ts";
import type { Permissions } from "../../../src/topics/permissions.ts";
import { Topic, TopicCache } from "../../../src/topics/topic.ts";

const TOPICS = new TopicCache();

function topic(name: string): Topic {
  const found = TOPICS.intern(name);
  assert.ok(found !== undefined, name);
  return found;
}

function principal(terms: Partial<Principal> = {}): Principal {
  return { username: "ann", clientId: "c1", groups: [], rules: undefined, expiresAtMs: undefined, ...terms };
}

/** `deny all a/#`, `allow publish a/+ b max-qos=1 retain=false`. */
function rule(text: string): AccessRule {
  const [effect, action, ...words] = text.split(" ") as [AccessRule["effect"], AccessRule["action"], ...string[]];
  const value = (key: string) => words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1);
  const qosMax = value("max-qos");
  return {
    effect,
    action,
    topics: words.filter((word) => !word.includes("=")),
    ...(qosMax === undefined ? {} : { qosMax: Number(qosMax) as QoS }),
    ...(value("retain") === undefined ? {} : { retain: value("retain") === "true" }),
  };
}

function bookOf(rules: readonly string[], effect: DefaultEffect = "deny"): RuleBook {
  const fileRules: FileRule[] = rules.map((text) => ({ ...rule(text), audience: {} }));
  return new RuleBook({ default: effect, groups: new Map(), rules: fileRules });
}

interface Setting {
  readonly book?: RuleBook | undefined;
  readonly isRechecked?: boolean;
  readonly own?: readonly AccessRule[];
  readonly principal?: Principal;
}

function permissions({ book, isRechecked = false, own, principal: client = principal() }: Setting): AclPermissions {
  return new AclPermissions(client, own, { book: () => book, recheckOnDeliver: () => isRechecked });
}

/** `pub TOPIC qos=1 retain` is answered by yes or no, `sub FILTER qos=1` by the granted QoS or no, `get TOPIC`. */
function ask(asked: AclPermissions, question: string): string {
  const [verb, name, ...words] = question.split(" ") as [string, string, ...string[]];
  const qos = Number(words.find((word) => word.startsWith("qos="))?.slice(4) ?? 0) as QoS;
  if (verb === "pub") return asked.mayPublish(topic(name), qos, words.includes("retain")) ? "yes" : "no";
  if (verb === "get") return asked.mayReceive(name) ? "yes" : "no";
  return String(asked.grantedQos(name, qos) ?? "no");
}

const MATRIX: readonly (readonly [rules: readonly string[], question: string, answer: string])[] = [
  // Nothing said is denied.
  [[], "pub a", "no"],
  [[], "sub a", "no"],
  [[], "get a", "no"],
  // What a rule is about.
  [["allow publish a"], "pub a", "yes"],
  [["allow publish a"], "pub a/b", "no"],
  [["allow publish a"], "sub a", "no"],
  [["allow publish a"], "get a", "no"],
  [["allow subscribe a"], "pub a", "no"],
  [["allow subscribe a"], "sub a qos=2", "2"],
  [["allow subscribe a"], "get a", "yes"],
  [["allow all a/# b"], "pub a", "yes"],
  [["allow all a/# b"], "sub b", "0"],
  // The first that applies decides.
  [["deny all a/b", "allow all a/#"], "pub a/b", "no"],
  [["deny all a/b", "allow all a/#"], "pub a/c", "yes"],
  [["allow all a/#", "deny all a/b"], "pub a/b", "yes"],
  [["allow all a/#", "deny all a/b"], "sub a/+", "0"],
  [["deny publish a", "allow all a"], "sub a", "0"],
  [["deny subscribe a", "allow all a"], "pub a", "yes"],
  // An allow does not cover messages beyond its bounds, and the rules after it decide about those.
  [["allow publish a max-qos=1"], "pub a qos=1", "yes"],
  [["allow publish a max-qos=1"], "pub a qos=2", "no"],
  [["allow publish a max-qos=1", "allow publish a/#"], "pub a qos=2", "yes"],
  [["allow publish a retain=false"], "pub a", "yes"],
  [["allow publish a retain=false"], "pub a retain", "no"],
  [["allow publish a retain=false", "allow publish + max-qos=0"], "pub a retain", "yes"],
  [["allow publish a retain=false", "allow publish + max-qos=0"], "pub a retain qos=1", "no"],
  [["allow publish a max-qos=1", "deny all #", "allow publish #"], "pub a qos=2", "no"],
  // A subscription is granted no more than the rule has.
  [["allow subscribe a max-qos=1"], "sub a qos=2", "1"],
  [["allow subscribe a max-qos=1"], "sub a qos=0", "0"],
  [["allow subscribe a/# max-qos=0", "allow subscribe a"], "sub a qos=2", "0"],
  [["allow all a retain=false"], "sub a", "0"],
  [["allow all a retain=false"], "get a", "yes"],
  // An allow must cover the whole subscription.
  [["allow subscribe a/b"], "sub a/+", "no"],
  [["allow subscribe a/+"], "sub a/#", "no"],
  [["allow subscribe a/#"], "sub a/#", "0"],
  [["allow subscribe a/#"], "sub a", "0"],
  [["allow subscribe a/#"], "sub a/+/c", "0"],
  [["allow subscribe a/+", "allow subscribe a/#"], "sub a/#", "0"],
  [["allow subscribe a b"], "sub +", "no"],
  // A deny is asked whether the subscription is about anything of it.
  [["deny subscribe a/b", "allow subscribe #"], "sub a/+", "no"],
  [["deny subscribe a/b", "allow subscribe #"], "sub a/c", "0"],
  [["deny subscribe +/secret/#", "allow subscribe #"], "sub a/+/c", "no"],
  [["deny subscribe +/secret/#", "allow subscribe #"], "sub a/+", "no"],
  [["deny subscribe +/secret/#", "allow subscribe #"], "sub +", "0"],
  [["deny publish a/b", "allow subscribe #"], "sub a/+", "0"],
  // Wildcards at the first level are not about topics that start with $.
  [["allow all #"], "sub #", "0"],
  [["allow all #"], "sub $SYS/#", "no"],
  [["allow all +/broker/#"], "get $SYS/broker/uptime", "no"],
  [["allow all #"], "get $SYS/broker/uptime", "no"],
  [["allow subscribe $SYS/broker/#"], "sub $SYS/broker/uptime", "0"],
  [["allow subscribe $SYS/broker/#"], "sub $SYS/#", "no"],
  [["deny all #", "allow all $SYS/#"], "sub $SYS/#", "0"],
  [["deny all $SYS/#", "allow all #"], "sub #", "0"],
  [["deny all #", "allow all $x/a"], "pub $x/a", "yes"],
  // Placeholders: ann is the user and c1 the Client Identifier.
  [["allow all in/%u"], "pub in/ann", "yes"],
  [["allow all in/%u"], "pub in/bob", "no"],
  [["allow all in/%u"], "pub in/%u", "no"],
  [["allow all %c/%u/#"], "sub c1/ann/+", "0"],
  [["allow all %c/%u/#"], "sub c1/bob/+", "no"],
  [["allow all %c/%u/#"], "sub +/ann/x", "no"],
  [["deny all in/%u", "allow all in/+"], "sub in/+", "no"],
  [["allow all in/50%"], "pub in/50%", "yes"],
];

for (const [rules, question, answer] of MATRIX) {
  Deno.test(`[${rules.join(", ")}] answers ${answer} to ${question}`, () => {
    assert.equal(ask(permissions({ book: bookOf(rules) }), question), answer);
    // As rules of the client itself, and behind an index, they say the same.
    assert.equal(ask(permissions({ own: rules.map(rule) }), question), answer);
    const others = Array.from({ length: 20 }, (_, index) => `allow all elsewhere/${index}`);
    assert.equal(ask(permissions({ book: bookOf([...others, ...rules]) }), question), answer);
  });
}

const RECHECKED: readonly (readonly [rules: readonly string[], question: string, answer: string])[] = [
  [["deny subscribe a/b", "allow subscribe #"], "sub a/+ qos=1", "1"],
  [["deny subscribe a/b", "allow subscribe #"], "sub a/b", "no"],
  [["deny subscribe a/#", "allow subscribe #"], "sub a/+", "no"],
  [["deny subscribe a/b", "allow subscribe #"], "get a/b", "no"],
  [["deny subscribe a/b", "allow subscribe #"], "get a/c", "yes"],
  [["deny subscribe %u", "allow subscribe #"], "sub #", "0"],
  [["allow subscribe a/b"], "sub a/+", "no"],
];

for (const [rules, question, answer] of RECHECKED) {
  Deno.test(`[${rules.join(", ")}] answers ${answer} to ${question} when deliveries are re-checked`, () => {
    assert.equal(ask(permissions({ book: bookOf(rules), isRechecked: true }), question), answer);
  });
}

Deno.test("the default of the file holds where no rule applies", () => {
  const asked = permissions({ book: bookOf(["deny all a", "allow publish b max-qos=0"], "allow") });
  assert.equal(ask(asked, "pub a"), "no");
  assert.equal(ask(asked, "pub b qos=2 retain"), "yes");
  assert.equal(ask(asked, "sub b qos=2"), "2");
  assert.equal(ask(asked, "sub + qos=2"), "no");
  assert.equal(ask(asked, "get b"), "yes");
  assert.equal(ask(asked, "get a"), "no");
});

const HOSTILE = [undefined, "", "+", "#", "a/b", "a/+", "/", "b#", "+a", "$SYS", "$"];

for (const name of HOSTILE) {
  Deno.test(`a topic filter with the placeholder of ${JSON.stringify(name)} does not apply`, () => {
    const book = bookOf(["allow all %u/# own/%u x/%u/y", "deny all %u", "allow all fixed"]);
    const client = principal({ username: name });
    const asked = permissions({ book, principal: client });
    const names = ["own/a", "own/b", "own/a/b", "own/", "a/b", "a", "$SYS/x", "x/a/y", "x/a/b/y", "own/+", "x//y"];
    for (const at of names.filter((text) => !text.includes("+"))) assert.equal(ask(asked, `pub ${at}`), "no", at);
    for (const filter of [...names, "own/#", "#", "+/#", "$SYS/#", "+"]) {
      assert.equal(ask(asked, `sub ${filter}`), "no", filter);
    }
    assert.equal(ask(asked, "pub fixed"), "yes");
    // The same by Client Identifier, in rules of the client's own.
    const own = [rule("allow all %c/# own/%c fixed")];
    const owned = permissions({ own, principal: principal({ clientId: name ?? "" }) });
    assert.equal(ask(owned, "sub own/#"), "no");
    assert.equal(ask(owned, "pub own/a"), "no");
    assert.equal(ask(owned, "pub fixed"), "yes");
  });
}

Deno.test("a name that looks like a placeholder is not replaced again", () => {
  const book = bookOf(["allow all in/%u"]);
  const asked = permissions({ book, principal: principal({ username: "%c", clientId: "c1" }) });
  assert.equal(ask(asked, "pub in/%c"), "yes");
  assert.equal(ask(asked, "pub in/c1"), "no");
  assert.equal(ask(asked, "sub in/c1"), "no");
});

Deno.test("rules of the client come before those of the file", () => {
  const asked = permissions({
    own: [rule("deny all a"), rule("allow all b")],
    book: bookOf(["allow all a", "deny all b"]),
  });
  assert.equal(ask(asked, "pub a"), "no");
  assert.equal(ask(asked, "pub b"), "yes");
  assert.equal(ask(asked, "sub a"), "no");
  assert.equal(ask(asked, "sub b"), "0");
});

Deno.test("a client without any source of rules may do everything, one with an empty source nothing", () => {
  assert.equal(ask(permissions({}), "sub # qos=2"), "2");
  assert.equal(ask(permissions({}), "pub $x/a retain"), "yes");
  assert.equal(ask(permissions({}), "get $SYS/x"), "yes");
  assert.equal(ask(permissions({ own: [] }), "sub a"), "no");
  assert.equal(ask(permissions({ own: [] }), "pub a"), "no");
  assert.equal(ask(permissions({ own: [] }), "get a"), "no");
  assert.equal(ask(permissions({ own: [], book: bookOf([], "allow") }), "pub a"), "yes");
});

Deno.test("permissions in use follow the file and the option", () => {
  let book: RuleBook | undefined = bookOf(["allow all a"]);
  let isRechecked = false;
  const asked = new AclPermissions(principal(), undefined, {
    book: () => book,
    recheckOnDeliver: () => isRechecked,
  });
  const questions = ["pub a", "sub a", "get a"];
  assert.deepEqual(questions.map((question) => ask(asked, question)), ["yes", "0", "yes"]);
  book = bookOf(["deny all a"]);
  assert.deepEqual(questions.map((question) => ask(asked, question)), ["no", "no", "no"]);
  book = bookOf(["deny all a", "allow all #"]);
  assert.equal(ask(asked, "sub +"), "no");
  isRechecked = true;
  assert.equal(ask(asked, "sub +"), "0");
  book = undefined;
  assert.deepEqual(questions.map((question) => ask(asked, question)), ["yes", "0", "yes"]);
});

Deno.test("answers are the same however many topics lie between two questions", () => {
  const asked = permissions({ book: bookOf(["deny all t/7", "allow all t/+ max-qos=1"]) });
  for (const count of [1, 2, REMEMBERED_MAX, REMEMBERED_MAX + 1, 3 * REMEMBERED_MAX]) {
    for (let round = 0; round < 3; round++) {
      for (let index = 0; index < count; index++) {
        const isOpen = index !== 7 ? "yes" : "no";
        assert.equal(ask(asked, `pub t/${index} qos=1`), isOpen);
        assert.equal(ask(asked, `pub t/${index} qos=2`), "no");
        assert.equal(ask(asked, `get t/${index}`), isOpen);
      }
    }
  }
});

Deno.test("no remembered answer outlives the file it came from", () => {
  let book = bookOf(["allow all #"]);
  const asked = new AclPermissions(principal(), undefined, { book: () => book, recheckOnDeliver: () => false });
  const answers = () =>
    ["a", "b", "c", "a", "b", "c"].flatMap((name) => [ask(asked, `pub ${name}`), ask(asked, `get ${name}`)]);
  assert.deepEqual(new Set(answers()), new Set(["yes"]));
  book = bookOf(["deny all #"]);
  assert.deepEqual(new Set(answers()), new Set(["no"]));
});

Deno.test("two Topics of one name are one topic, and names too long to remember are judged too", () => {
  const asked = permissions({ book: bookOf(["allow all a/#"]) });
  const one = topic("a/b");
  const other = new Topic("a/b", one.utf8, one.hash);
  const long = `a/${"x".repeat(2000)}`;
  for (let round = 0; round < 2; round++) {
    assert.equal(asked.mayPublish(one, 0, false), true);
    assert.equal(asked.mayPublish(other, 0, false), true);
    assert.equal(asked.mayPublish(topic(long), 0, false), true);
    assert.equal(asked.mayPublish(topic(`b${long}`), 0, false), false);
    assert.equal(asked.mayReceive(long), true);
    assert.equal(asked.mayReceive(`b${long}`), false);
  }
});

const UNAVAILABLE = new BackendUnavailable({ backend: "http", operation: "get rules", detail: "down" });

function permissionsOf(authorizer: Authorizer["Service"], client: Principal): Promise<Permissions | undefined> {
  return new Promise((resolve) => authorizer.permissionsOf(client, resolve));
}

Deno.test("makeAclAuthorizer asks the token, then the backend, then the file", async () => {
  const book = bookOf(["allow all a", "allow all b", "allow all c", "allow all d"]);
  const asked: Principal[] = [];
  const authorizer = makeAclAuthorizer({
    book: () => book,
    recheckOnDeliver: () => false,
    rulesFor: (client) => {
      asked.push(client);
      return Effect.promise(() => Promise.resolve([rule("allow all a"), rule("deny all b")]));
    },
  }, askBy(Effect.runFork));
  const client = principal({ rules: [rule("deny all a"), rule("allow all x")] });
  const granted = await permissionsOf(authorizer, client);
  assert.deepEqual(asked, [client]);
  assert.ok(granted instanceof AclPermissions);
  const questions = ["pub a", "pub b", "pub c", "pub x", "pub y"];
  assert.deepEqual(questions.map((question) => ask(granted, question)), ["no", "no", "yes", "yes", "no"]);
});

Deno.test("makeAclAuthorizer without a file denies what a backend does not allow", async () => {
  const options = { book: () => undefined, recheckOnDeliver: () => false };
  const authorizer = makeAclAuthorizer({ ...options, rulesFor: () => Effect.succeed([]) }, askBy(Effect.runFork));
  const granted = await permissionsOf(authorizer, principal());
  assert.equal(granted?.mayReceive("a"), false);
  for (const error of [new BackendBusy({ backend: "http" }), UNAVAILABLE]) {
    const refusing = makeAclAuthorizer({ ...options, rulesFor: () => error }, askBy(Effect.runFork));
    assert.equal(await permissionsOf(refusing, principal()), undefined);
  }
});

Deno.test("makeAclAuthorizer answers at once without a backend, and holds a client to the rules of its token", () => {
  const options = { book: () => undefined, recheckOnDeliver: () => false };
  const authorizer = makeAclAuthorizer(options, askBy(() => assert.fail("no fiber")));
  const heard: (Permissions | undefined)[] = [];
  authorizer.permissionsOf(principal(), (permissions) => heard.push(permissions));
  authorizer.permissionsOf(principal({ rules: [rule("allow all a")] }), (permissions) => heard.push(permissions));
  const [free, held] = heard;
  assert.ok(free instanceof AclPermissions && held instanceof AclPermissions);
  assert.equal(ask(free, "sub #"), "0");
  assert.equal(ask(held, "sub #"), "no");
  assert.equal(ask(held, "sub a"), "0");
});
