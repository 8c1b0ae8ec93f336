/**
 * Permission rules: the question that every PUBLISH asks, and what a connection and a reload cost.
 *
 * Targets: the topic of the last question below 15 ns, one that is remembered below 40 ns, any other below 1 µs. Cases
 * with × repeat REPEAT times per timed call, because the timer is coarser than one of them: divide by 100.
 */

import { AclPermissions } from "../src/auth/acl/acl_permissions.ts";
import { type FileRule, RuleBook, type RuleBookTerms } from "../src/auth/acl/acl_rules.ts";
import { readRuleBook } from "../src/auth/acl/acl_syntax.ts";
import type { Principal } from "../src/auth/identity/authorizer.ts";
import { ALL_PERMITTED, type Permissions } from "../src/topics/permissions.ts";
import { type Topic, TopicCache } from "../src/topics/topic.ts";

const REPEAT = 100;
const RULES = 1000;
const TOPICS = new TopicCache();

const PRINCIPAL: Principal = {
  username: "sensor-500",
  clientId: "gateway-7",
  groups: ["devices"],
  rules: undefined,
  expiresAtMs: undefined,
};

function termsOf(rule: (index: number) => FileRule): RuleBookTerms {
  return { default: "deny", groups: new Map(), rules: Array.from({ length: RULES }, (_, index) => rule(index)) };
}

function allow(topic: string, audience: FileRule["audience"] = {}): FileRule {
  return { effect: "allow", action: "all", topics: [topic], audience };
}

/** Every rule holds for everybody. */
const OPEN = termsOf((index) => allow(`plant/line-${index % 10}/sensor-${index}/+`));
/** One rule per user, as generated files have it. */
const PER_USER = termsOf((index) =>
  allow(`plant/line-${index % 10}/sensor-${index}/+`, { users: [`sensor-${index}`] })
);
/** Few rules that say it for all, as written by hand. */
const PLACEHOLDER: RuleBookTerms = { default: "deny", groups: new Map(), rules: [allow("plant/+/%u/+")] };

function permissionsOf(terms: RuleBookTerms | undefined): Permissions {
  const book = terms && new RuleBook(terms);
  return new AclPermissions(PRINCIPAL, undefined, { book: () => book, recheckOnDeliver: () => false });
}

/** Topics that the middle rule of a file is about. */
function topicsOf(count: number): readonly Topic[] {
  return Array.from({ length: count }, (_, index) => TOPICS.intern(`plant/line-0/sensor-500/${index}`)!);
}

function benchPublish(group: string, name: string, permissions: Permissions, topics: readonly Topic[]): void {
  Deno.bench({ name: `mayPublish ×${REPEAT}: ${name}`, group, baseline: permissions === ALL_PERMITTED }, () => {
    let allowed = 0;
    for (let count = 0; count < REPEAT; count++) {
      if (permissions.mayPublish(topics[count % topics.length]!, 1, false)) allowed++;
    }
    if (allowed !== REPEAT) throw new Error("denied");
  });
}

const ONE = topicsOf(1);
const FEW = topicsOf(50);
/** Far more than are remembered, so that each is forgotten before it comes again. */
const MANY = topicsOf(2000);

benchPublish("one topic", "everything is permitted", ALL_PERMITTED, ONE);
benchPublish("one topic", "no rules", permissionsOf(undefined), ONE);
benchPublish("one topic", `${RULES} rules`, permissionsOf(OPEN), ONE);

benchPublish("50 topics in turn", "everything is permitted", ALL_PERMITTED, FEW);
benchPublish("50 topics in turn", "no rules", permissionsOf(undefined), FEW);
benchPublish("50 topics in turn", `${RULES} rules`, permissionsOf(OPEN), FEW);

/** The place in `MANY` is kept from call to call. */
function benchMiss(name: string, permissions: Permissions): void {
  let at = 0;
  Deno.bench({ name: `mayPublish ×${REPEAT}: ${name}`, group: "topics not remembered" }, () => {
    let allowed = 0;
    for (let count = 0; count < REPEAT; count++) {
      if (permissions.mayPublish(MANY[at++ % MANY.length]!, 1, false)) allowed++;
    }
    if (allowed !== REPEAT) throw new Error("denied");
  });
}

benchMiss("no rules", permissionsOf(undefined));
benchMiss("one rule with a placeholder", permissionsOf(PLACEHOLDER));
benchMiss(`${RULES} rules for everybody`, permissionsOf(OPEN));
benchMiss(`${RULES} rules, one of them for the client`, permissionsOf(PER_USER));

function benchSubscribe(name: string, permissions: Permissions): void {
  Deno.bench({ name: `grantedQos: ${name}`, group: "subscribe" }, () => {
    if (permissions.grantedQos("plant/line-0/sensor-500/+", 1) !== 1) throw new Error("denied");
  });
}

benchSubscribe("no rules", permissionsOf(undefined));
benchSubscribe("one rule with a placeholder", permissionsOf(PLACEHOLDER));
benchSubscribe(`${RULES} rules for everybody`, permissionsOf(OPEN));

function benchConnect(name: string, terms: RuleBookTerms): void {
  const book = new RuleBook(terms);
  const sources = { book: () => book, recheckOnDeliver: () => false };
  Deno.bench({ name: `permissions of one client: ${name}`, group: "connect" }, () => {
    new AclPermissions(PRINCIPAL, undefined, sources);
  });
}

benchConnect("one rule with a placeholder", PLACEHOLDER);
benchConnect(`${RULES} rules for everybody`, OPEN);
benchConnect(`${RULES} rules, one per user`, PER_USER);

const TEXT = `rules:\n${
  OPEN.rules.map((rule, index) => `- { allow: all, users: [sensor-${index}], topics: ${rule.topics[0]} }\n`).join("")
}`;

Deno.bench({ name: `compile ${RULES} rules for everybody`, group: "file" }, () => {
  new RuleBook(OPEN);
});
Deno.bench({ name: `compile ${RULES} rules, one per user`, group: "file" }, () => {
  new RuleBook(PER_USER);
});
Deno.bench({ name: `read and compile ${RULES} rules from YAML`, group: "file" }, () => {
  if (!(readRuleBook("acl.yaml", TEXT) instanceof RuleBook)) throw new Error("refused");
});
