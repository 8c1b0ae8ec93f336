/**
 * Permission rules as JSON: both forms, and that a mistake anywhere refuses the whole.
 */
import assert from "node:assert/strict";
import { JSON_RULE_TOPICS_MAX, JSON_RULES_MAX, rulesFromJson } from "../../../src/auth/acl/rule_json.ts";

const RULE = { effect: "allow", action: "publish", topics: ["a/#"] };

Deno.test("rulesFromJson reads the long form in order, with its limits", () => {
  const value = [
    { effect: "deny", action: "all", topics: ["secret/#"] },
    { effect: "allow", action: "publish", topics: ["a/+", "b/%c"], "max-qos": 1, retain: false },
    { effect: "allow", action: "subscribe", topics: ["%u/#"], retain: true, "max-qos": 0 },
  ];
  assert.deepEqual(rulesFromJson(value), [
    { effect: "deny", action: "all", topics: ["secret/#"] },
    { effect: "allow", action: "publish", topics: ["a/+", "b/%c"], qosMax: 1, retain: false },
    { effect: "allow", action: "subscribe", topics: ["%u/#"], qosMax: 0, retain: true },
  ]);
});

Deno.test("rulesFromJson reads the short form as permissions", () => {
  assert.deepEqual(rulesFromJson({ subscribe: ["b/#"], publish: ["a/%c"] }), [
    { effect: "allow", action: "publish", topics: ["a/%c"] },
    { effect: "allow", action: "subscribe", topics: ["b/#"] },
  ]);
  assert.deepEqual(rulesFromJson({ publish: ["a"] }), [{ effect: "allow", action: "publish", topics: ["a"] }]);
});

Deno.test("rulesFromJson takes empty forms for rules that permit nothing", () => {
  for (const value of [[], {}, { publish: [] }, { publish: [], subscribe: [] }]) {
    assert.deepEqual(rulesFromJson(value), []);
  }
});

Deno.test("rulesFromJson refuses everything when one detail is wrong", () => {
  const mistakes: readonly unknown[] = [
    undefined,
    null,
    "a/#",
    7,
    [null],
    [["a"]],
    [RULE, { ...RULE, efect: "deny" }],
    [{ action: "publish", topics: ["a"] }],
    [{ ...RULE, effect: "Allow" }],
    [{ ...RULE, effect: undefined }],
    [{ ...RULE, action: "read" }],
    [{ ...RULE, action: undefined }],
    [{ ...RULE, topics: "a/#" }],
    [{ ...RULE, topics: [] }],
    [{ ...RULE, topics: ["a", 7] }],
    [{ ...RULE, "max-qos": 3 }],
    [{ ...RULE, "max-qos": "1" }],
    [{ ...RULE, "max-qos": null }],
    [{ ...RULE, retain: "no" }],
    [{ ...RULE, retain: null }],
    [{ ...RULE, effect: "deny", "max-qos": 1 }],
    [{ ...RULE, effect: "deny", retain: true }],
    { publish: "a" },
    { publish: null },
    { publish: ["a"], subscribes: ["b"] },
    { publish: ["a", ""] },
  ];
  for (const value of mistakes) assert.equal(rulesFromJson(value), undefined, JSON.stringify(value));
});

Deno.test("rulesFromJson holds Topic Filters to their rules and placeholders to whole levels", () => {
  const good = ["#", "+/+", "a/#", "%u", "%c/%u/#", "/a//b", "100%", "a%x", "$SYS/#", "$shared/a"];
  for (const topic of good) {
    assert.deepEqual(rulesFromJson({ publish: [topic] }), [{ effect: "allow", action: "publish", topics: [topic] }]);
  }
  const bad = [
    "",
    "a/#/b",
    "a#",
    "a+/b",
    "%us",
    "a%c",
    "x%c/b",
    "%u%c",
    "$share/g/a",
    "a\0b",
    "a\ud800",
    "x".repeat(65_536),
  ];
  for (const topic of bad) assert.equal(rulesFromJson({ publish: [topic] }), undefined, topic.slice(0, 20));
});

Deno.test("rulesFromJson bounds rules and their topics", () => {
  const rules = (count: number) => Array.from({ length: count }, () => RULE);
  assert.equal(rulesFromJson(rules(JSON_RULES_MAX))?.length, JSON_RULES_MAX);
  assert.equal(rulesFromJson(rules(JSON_RULES_MAX + 1)), undefined);
  const topics = (count: number) => ({ publish: Array.from({ length: count }, (_, i) => `a/${i}`) });
  assert.equal(rulesFromJson(topics(JSON_RULE_TOPICS_MAX))?.[0]?.topics.length, JSON_RULE_TOPICS_MAX);
  assert.equal(rulesFromJson(topics(JSON_RULE_TOPICS_MAX + 1)), undefined);
});
