/**
 * Compiled permissions against a reference that is written straight from the rules' description, for random files,
 * clients and questions; and what a granted subscription promises.
 *
 * The reference shares nothing with the code under test: patterns are regular expressions, topics are matched level by
 * level, and covering and overlapping are found by trying every topic of a small world. The world has a level that no
 * rule or filter names and one level more than they have, so that wildcards always differ from literals.
 */
import * as fc from "fast-check";
import assert from "node:assert/strict";
import { AclPermissions } from "../../../src/auth/acl/acl_permissions.ts";
import { type FileRule, RuleBook, type RuleBookTerms } from "../../../src/auth/acl/acl_rules.ts";
import type { AccessRule } from "../../../src/auth/identity/access_rule.ts";
import type { Principal } from "../../../src/auth/identity/authorizer.ts";
import type { QoS } from "../../../src/protocol/packets.ts";
import { TopicCache } from "../../../src/topics/topic.ts";
import { matchesNaively } from "../../topics/topic_model.ts";

const NAMES = ["ann", "b", "a", "+", "$s"];
const WORLD = pathsOf(["a", "b", "ann", "", "z", "$s"], 4);
const TOPICS = new TopicCache(4 * WORLD.length);

function pathsOf(levels: readonly string[], depthMax: number): string[] {
  let last = [...levels];
  const paths = [...last];
  for (let depth = 2; depth <= depthMax; depth++) {
    last = last.flatMap((path) => levels.map((level) => `${path}/${level}`));
    paths.push(...last);
  }
  return paths;
}

const matchedBefore = new Map<string, readonly boolean[]>();

/** Which topics of the world a filter matches. */
function matched(filter: string): readonly boolean[] {
  let answer = matchedBefore.get(filter);
  if (answer === undefined) matchedBefore.set(filter, answer = WORLD.map((name) => matchesNaively(filter, name)));
  return answer;
}

function overlaps(one: string, other: string): boolean {
  const ofOther = matched(other);
  return matched(one).some((is, index) => is && ofOther[index]);
}

function covers(outer: string, inner: string): boolean {
  const ofOuter = matched(outer);
  return matched(inner).every((is, index) => !is || ofOuter[index]);
}

/** The reference. */
class NaivePermissions {
  readonly #filters: (rule: AccessRule) => readonly string[];
  readonly #rules: readonly AccessRule[];
  readonly #isAllowedByDefault: boolean;

  constructor(book: RuleBookTerms | undefined, client: Principal, readonly isRechecked: boolean) {
    const fromFile = book === undefined ? [] : book.rules.filter((rule) => isAbout(rule, book, client));
    this.#rules = [...client.rules ?? [], ...fromFile];
    this.#isAllowedByDefault = book === undefined ? client.rules === undefined : book.default === "allow";
    this.#filters = (rule) => rule.topics.flatMap((topic) => substituted(topic, client) ?? []);
  }

  mayPublish(name: string, qos: QoS, retain: boolean): boolean {
    for (const rule of this.#rules) {
      if (rule.action === "subscribe") continue;
      if (!this.#filters(rule).some((filter) => matchesNaively(filter, name))) continue;
      if (rule.effect === "deny") return false;
      if (qos <= (rule.qosMax ?? 2) && (!retain || rule.retain !== false)) return true;
    }
    return this.#isAllowedByDefault;
  }

  grantedQos(subscribed: string, qos: QoS): QoS | undefined {
    for (const rule of this.#rules) {
      if (rule.action === "publish") continue;
      const isWhole = this.#filters(rule).some((filter) => covers(filter, subscribed));
      const isPart = this.#filters(rule).some((filter) => overlaps(filter, subscribed));
      if (rule.effect === "allow" && isWhole) return Math.min(qos, rule.qosMax ?? 2) as QoS;
      if (rule.effect === "deny" && (this.isRechecked ? isWhole : isPart)) return undefined;
    }
    return this.#isAllowedByDefault ? qos : undefined;
  }

  mayReceive(name: string): boolean {
    const first = this.#rules.find((rule) =>
      rule.action !== "publish" && this.#filters(rule).some((filter) => matchesNaively(filter, name))
    );
    return first === undefined ? this.#isAllowedByDefault : first.effect === "allow";
  }
}

function isAbout({ audience }: FileRule, { groups }: RuleBookTerms, client: Principal): boolean {
  const { username } = client;
  const like = (patterns: readonly string[], name: string) =>
    patterns.some((pattern) =>
      new RegExp(`^${pattern.split("*").map((part) => part.replace(/[$+]/g, "\\$&")).join(".*")}$`).test(name)
    );
  const isClient = audience.clients === undefined || like(audience.clients, client.clientId);
  const namesNobody = audience.users === undefined && audience.groups === undefined;
  if (username === undefined) {
    return audience.anonymous === true
      ? isClient
      : audience.anonymous === undefined && namesNobody && audience.clients === undefined;
  }
  if (audience.anonymous === true && namesNobody) return false;
  const isUser = audience.users === undefined || like(audience.users, username);
  const isMember = audience.groups === undefined ||
    audience.groups.some((group) => client.groups.includes(group) || like(groups.get(group) ?? [], username));
  return isClient && isUser && isMember;
}

function substituted(topic: string, { username, clientId }: Principal): string | undefined {
  const levels: string[] = [];
  for (const level of topic.split("/")) {
    const name = level === "%u" ? username ?? "" : level === "%c" ? clientId : level;
    const isPlaceholder = level === "%u" || level === "%c";
    if (isPlaceholder && (name === "" || name.startsWith("$") || ["/", "+", "#"].some((at) => name.includes(at)))) {
      return undefined;
    }
    levels.push(name);
  }
  return levels.join("/");
}

const level = fc.constantFrom("a", "b", "", "$s", "+");
const ruleLevel = fc.oneof(level, level, fc.constantFrom("%u", "%c", "ann"));

function filters(levels: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.tuple(fc.array(levels, { maxLength: 3 }), fc.boolean())
    .map(([path, isDeep]) => [...path, ...(isDeep ? ["#"] : [])].join("/")).filter((filter) => filter !== "");
}

const accessRule: fc.Arbitrary<AccessRule> = fc.record({
  effect: fc.constantFrom("allow", "allow", "deny"),
  action: fc.constantFrom("publish", "subscribe", "all"),
  topics: fc.array(filters(ruleLevel), { minLength: 1, maxLength: 3 }),
  qosMax: fc.constantFrom<QoS>(0, 1, 2),
  retain: fc.boolean(),
}, { requiredKeys: ["effect", "action", "topics"] }).map((rule) => {
  const { qosMax: _qosMax, retain: _retain, ...denying } = rule;
  return rule.effect === "deny" ? denying : rule;
});

const nameList = fc.array(fc.constantFrom(...NAMES, "a*", "*b", "*n*"), { minLength: 1, maxLength: 2 });

const book: fc.Arbitrary<RuleBookTerms> = fc.record({
  default: fc.constantFrom("deny", "deny", "allow"),
  groups: fc.dictionary(fc.constantFrom("g", "h"), nameList, { noNullPrototype: true })
    .map((groups) => new Map(Object.entries(groups))),
  rules: fc.array(
    fc.tuple(
      accessRule,
      fc.oneof(
        { weight: 3, arbitrary: fc.constant({}) },
        {
          weight: 2,
          arbitrary: fc.record({
            users: nameList,
            groups: fc.constantFrom(["g"], ["h"], ["g", "h"]),
            clients: nameList,
            anonymous: fc.boolean(),
          }, { requiredKeys: [] }),
        },
      ),
    ).map(([rule, audience]): FileRule => ({ ...rule, audience })),
    { maxLength: 14 },
  ),
});

const client: fc.Arbitrary<Principal> = fc.record({
  username: fc.option(fc.constantFrom(...NAMES), { nil: undefined }),
  clientId: fc.constantFrom(...NAMES),
  groups: fc.subarray(["g", "h"]),
  rules: fc.option(fc.array(accessRule, { maxLength: 5 }), { nil: undefined, freq: 1 }),
  expiresAtMs: fc.constant(undefined),
});

const settings = fc.record({ book: fc.option(book, { nil: undefined, freq: 8 }), client, isRechecked: fc.boolean() });

function compiled({ book: terms, client: of, isRechecked }: {
  readonly book: RuleBookTerms | undefined;
  readonly client: Principal;
  readonly isRechecked: boolean;
}): AclPermissions {
  const ruleBook = terms && new RuleBook(terms);
  return new AclPermissions(of, of.rules, { book: () => ruleBook, recheckOnDeliver: () => isRechecked });
}

Deno.test("compiled permissions answer as the rules read, for every kind of message", () => {
  const names = fc.array(fc.constantFrom(...WORLD.filter((name) => name !== "")), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(settings, names, (setting, asked) => {
      const permissions = compiled(setting);
      const naive = new NaivePermissions(setting.book, setting.client, setting.isRechecked);
      for (const name of asked) {
        for (const qos of [0, 1, 2] as const) {
          for (const retain of [false, true]) {
            const question = `publish ${name} ${qos} ${retain}`;
            assert.equal(
              permissions.mayPublish(TOPICS.intern(name)!, qos, retain),
              naive.mayPublish(name, qos, retain),
              question,
            );
          }
        }
        assert.equal(permissions.mayReceive(name), naive.mayReceive(name), `receive ${name}`);
      }
    }),
    { numRuns: 1500 },
  );
});

Deno.test("compiled permissions grant subscriptions as the rules read", () => {
  const questions = fc.array(fc.tuple(filters(level), fc.constantFrom<QoS>(0, 1, 2)), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(settings, questions, (setting, asked) => {
      const permissions = compiled(setting);
      const naive = new NaivePermissions(setting.book, setting.client, setting.isRechecked);
      for (const [filter, qos] of asked) {
        assert.equal(permissions.grantedQos(filter, qos), naive.grantedQos(filter, qos), `subscribe ${filter} ${qos}`);
      }
    }),
    { numRuns: 1000 },
  );
});

Deno.test("whatever a granted subscription matches may be received, when deliveries are not re-checked", () => {
  let granted = 0;
  fc.assert(
    fc.property(settings, filters(level), (setting, filter) => {
      const permissions = compiled({ ...setting, isRechecked: false });
      if (permissions.grantedQos(filter, 0) === undefined) return;
      granted++;
      matched(filter).forEach((is, index) => {
        if (is) assert.ok(permissions.mayReceive(WORLD[index]!), `${filter} matches ${WORLD[index]}`);
      });
    }),
    { numRuns: 1500 },
  );
  assert.ok(granted > 100, `${granted} granted`);
});

Deno.test("re-checking on delivery never grants less", () => {
  fc.assert(
    fc.property(settings, filters(level), (setting, filter) => {
      const strict = compiled({ ...setting, isRechecked: false }).grantedQos(filter, 2);
      const lenient = compiled({ ...setting, isRechecked: true }).grantedQos(filter, 2);
      assert.ok(strict === undefined || lenient !== undefined, filter);
    }),
    { numRuns: 1000 },
  );
});
