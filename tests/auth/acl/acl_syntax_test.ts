/**
 * The file of rules: what is understood, and what is refused with its line.
 */
import assert from "node:assert/strict";
import { AclPermissions } from "../../../src/auth/acl/acl_permissions.ts";
import { RuleBook } from "../../../src/auth/acl/acl_rules.ts";
import { FILE_RULES_MAX, readRuleBook } from "../../../src/auth/acl/acl_syntax.ts";
import { TopicCache } from "../../../src/topics/topic.ts";

const TOPICS = new TopicCache();

function bookOf(text: string): RuleBook {
  const book = readRuleBook("acl.yaml", text);
  assert.ok(book instanceof RuleBook, String(book));
  return book;
}

function permissionsIn(text: string, username: string | undefined, clientId = "c"): AclPermissions {
  const book = bookOf(text);
  const principal = { username, clientId, groups: [], rules: undefined, expiresAtMs: undefined };
  return new AclPermissions(principal, undefined, { book: () => book, recheckOnDeliver: () => false });
}

Deno.test("a file with every key means what it says", () => {
  const text = `
default: allow
groups: { team: [ann, "b*"], one: cid }
rules:
  - { allow: [publish, subscribe], groups: team, topics: [a/%u, 'b/#'], max-qos: 1, retain: false }
  - { deny: all, users: [ann, bob, 007], clients: [x, "c*"], anonymous: false, topics: [b/#, a/#] }
  - { deny: subscribe, anonymous: true, topics: [secret] }`;
  assert.equal(bookOf(text).ruleCount, 3);
  const ann = permissionsIn(text, "ann");
  assert.equal(ann.mayPublish(TOPICS.intern("a/ann")!, 1, false), true);
  assert.equal(ann.mayPublish(TOPICS.intern("a/ann")!, 2, false), false);
  assert.equal(ann.mayPublish(TOPICS.intern("a/ann")!, 0, true), false);
  assert.equal(ann.grantedQos("b/+", 2), 1);
  assert.equal(ann.grantedQos("a/+", 2), undefined);
  assert.equal(ann.grantedQos("secret", 2), 2);
  assert.equal(permissionsIn(text, "ann", "d").mayPublish(TOPICS.intern("a/ann")!, 2, true), true);
  assert.equal(permissionsIn(text, "007").grantedQos("b/x", 0), undefined);
  assert.equal(permissionsIn(text, undefined).grantedQos("secret", 0), undefined);
  assert.equal(permissionsIn(text, undefined).grantedQos("b/x", 2), 2);
});

Deno.test("a file denies what no rule allows, unless it has another default", () => {
  assert.equal(permissionsIn("rules: []", "ann").mayReceive("a"), false);
  assert.equal(permissionsIn("default: deny", "ann").mayReceive("a"), false);
  assert.equal(permissionsIn("default: allow", "ann").mayReceive("a"), true);
});

for (
  const [action, publish, subscribe] of [
    ["publish", true, false],
    ["subscribe", false, true],
    ["all", true, true],
    ["[publish]", true, false],
    ["[subscribe, publish]", true, true],
    ["[publish, all]", true, true],
  ] as const
) {
  Deno.test(`a rule that says ${action} is about that`, () => {
    const allowing = permissionsIn(`rules: [{ allow: ${action}, topics: a }]`, "ann");
    assert.equal(allowing.mayPublish(TOPICS.intern("a")!, 0, false), publish);
    assert.equal(allowing.mayReceive("a"), subscribe);
    const denying = permissionsIn(`{ default: allow, rules: [{ deny: ${action}, topics: a }] }`, "ann");
    assert.equal(denying.mayPublish(TOPICS.intern("a")!, 0, false), !publish);
    assert.equal(denying.mayReceive("a"), !subscribe);
  });
}

const RULE_KEYS = "allow, deny, users, groups, clients, anonymous, topics, max-qos, retain";

const REFUSED: readonly (readonly [text: string, problem: string])[] = [
  ["", "1: expected the keys default, groups, rules, got nothing"],
  ["# nothing\n", "1: expected the keys default, groups, rules, got nothing"],
  ["- allow: all", "1: expected the keys default, groups, rules, got a list"],
  ["defualt: allow", '1: unknown key "defualt"; known are default, groups, rules'],
  ["default: yes", '1: default: expected allow or deny, got "yes"'],
  ["default:", "1: default: expected allow or deny, got nothing"],
  ["groups: [a]", "1: groups: expected names of groups with their users, got a list"],
  ["groups:\n  team: []", "2: team: an empty list is about nobody"],
  ["groups:\n  team: [a, [b]]", "2: team: expected a name, got a list"],
  ["rules: all", '1: rules: expected a list of rules, got "all"'],
  ["rules:\n- all", '2: expected a rule with the keys allow or deny, and topics, got "all"'],
  ["rules:\n- topics: a", "2: a rule needs allow or deny"],
  ["rules:\n- allow: all\n  deny: publish\n  topics: a", "2: a rule is either allow or deny, got both"],
  ["rules:\n- allow: all\n  topics: a\n  topic: b", `4: unknown key "topic"; known are ${RULE_KEYS}`],
  [
    "rules:\n- allow: write\n  topics: a",
    '2: allow: expected publish, subscribe or all, or a list of them, got "write"',
  ],
  ["rules:\n- deny:\n  topics: a", "2: deny: expected publish, subscribe or all, or a list of them, got nothing"],
  ["rules:\n- allow: all", "2: a rule needs topics; # stands for all but those that start with $"],
  ["rules:\n- allow: all\n  topics: []", "3: a rule needs topics; # stands for all but those that start with $"],
  [
    "rules:\n- allow: all\n  topics:\n  - a\n  - b#",
    '5: topics: "b#": A # is not alone in the last level of the Topic Filter.',
  ],
  [
    "rules:\n- allow: all\n  topics: [a/#/b]",
    '3: topics: "a/#/b": A # is not alone in the last level of the Topic Filter.',
  ],
  ["rules:\n- allow: all\n  topics: [a+]", '3: topics: "a+": A + does not occupy an entire level of the Topic Filter.'],
  ["rules:\n- allow: all\n  topics: ['']", '3: topics: "": The Topic Filter is empty.'],
  ['rules:\n- allow: all\n  topics: ["a\\0"]', '3: topics: "a\\u0000": not a UTF-8 string of MQTT'],
  ["rules:\n- allow: all\n  topics: [x%u/a]", '3: topics: "x%u/a": %u and %c stand for a whole level each'],
  ["rules:\n- allow: all\n  topics: [a/%c%c]", '3: topics: "a/%c%c": %u and %c stand for a whole level each'],
  [
    "rules:\n- allow: all\n  topics: [$share/g/a]",
    '3: topics: "$share/g/a": Shared Subscriptions are judged by what follows $share/group/, so write that',
  ],
  ["rules:\n- allow: all\n  topics: [{ a: b }]", "3: topics: keys with values: a topic filter was expected"],
  [`rules:\n- allow: all\n  topics: [${"a/".repeat(128)}b]`, ""],
  ["rules:\n- allow: all\n  topics: a\n  users: []", "4: users: an empty list is about nobody"],
  ["rules:\n- allow: all\n  topics: a\n  clients: ['']", '4: clients: expected a name, got ""'],
  ["rules:\n- allow: all\n  topics: a\n  groups:", "4: groups: an empty list is about nobody"],
  ["rules:\n- allow: all\n  topics: a\n  anonymous: no", '4: anonymous: expected true or false, got "no"'],
  ["rules:\n- allow: all\n  topics: a\n  max-qos: 3", '4: max-qos: expected 0, 1 or 2, got "3"'],
  ["rules:\n- deny: all\n  topics: a\n  max-qos: 1", "4: max-qos: only a rule that allows can have it"],
  ["rules:\n- deny: all\n  topics: a\n  retain: false", "4: retain: only a rule that allows can have it"],
  [
    "rules:\n- allow: subscribe\n  topics: a\n  retain: false",
    "4: retain: it is about publishing, which the rule is not",
  ],
  ["rules:\n- allow: all\n  topics: a\n  max-qos: 1\n  max_qos: 1", "5: max-qos: given twice"],
  ["default: [", "1: "],
  [`rules:\n${"- {}\n".repeat(FILE_RULES_MAX + 1)}`, `1: rules: more than ${FILE_RULES_MAX}`],
];

for (const [text, problem] of REFUSED) {
  Deno.test(`a file is refused: ${JSON.stringify(text.slice(0, 60))}`, () => {
    const problems = readRuleBook("acl.yaml", text);
    assert.ok(Array.isArray(problems));
    assert.equal(problems.length, 1, problems.join("\n"));
    if (problem === "" || problem.endsWith(": ")) assert.ok(problems[0].startsWith(`acl.yaml:${problem}`));
    else assert.equal(problems[0], `acl.yaml:${problem}`);
  });
}

Deno.test("all problems of a file come at once, in the order of their lines, and a bounded number", () => {
  const problems = readRuleBook("acl.yaml", "default: no\nrules:\n- allow: al\n  topics: a#\n- deny: all\nx: y");
  assert.deepEqual([...problems as string[]].map((line) => line.split(": ")[0]), [
    "acl.yaml:1",
    "acl.yaml:3",
    "acl.yaml:4",
    "acl.yaml:5",
    "acl.yaml:6",
  ]);
  const many = readRuleBook("acl.yaml", `rules:\n${"- {}\n".repeat(100)}`) as string[];
  assert.equal(many.length, 51);
  assert.equal(many.at(-1), "acl.yaml: and 150 more");
});

Deno.test("examples/acl.yaml is a valid file of rules that does what its comments say", () => {
  const text = Deno.readTextFileSync(new URL("../../../examples/acl.yaml", import.meta.url));
  const alice = permissionsIn(text, "alice");
  assert.equal(alice.mayPublish(TOPICS.intern("plant/locked/x")!, 0, false), false);
  assert.equal(alice.mayPublish(TOPICS.intern("other")!, 2, true), true);
  assert.equal(alice.grantedQos("#", 2), 2);
  assert.equal(alice.grantedQos("$SYS/#", 2), 2);
  const sensor = permissionsIn(text, "sensor-1");
  assert.equal(sensor.mayPublish(TOPICS.intern("plant/sensors/sensor-1/t")!, 1, false), true);
  assert.equal(sensor.mayPublish(TOPICS.intern("plant/sensors/sensor-1/t")!, 1, true), false);
  assert.equal(sensor.mayPublish(TOPICS.intern("plant/sensors/sensor-2/t")!, 1, false), false);
  assert.equal(sensor.grantedQos("plant/commands/sensor-1/+", 1), 1);
  assert.equal(sensor.grantedQos("plant/public/#", 1), 1);
  assert.equal(sensor.grantedQos("$SYS/#", 1), undefined);
  const display = permissionsIn(text, undefined, "display-4");
  assert.equal(display.grantedQos("plant/public/temperature", 0), 0);
  assert.equal(display.grantedQos("plant/public/#", 0), undefined);
});
