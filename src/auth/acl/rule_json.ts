/**
 * Permission rules as JSON: the claim of a token, or the answer of an HTTP server.
 *
 * Long form, where the order counts and anything may be said:
 *
 *     [{ "effect": "deny", "action": "all", "topics": ["plant/secret/#"] },
 *      { "effect": "allow", "action": "publish", "topics": ["plant/+/state"], "max-qos": 1, "retain": false }]
 *
 * Short form, which can only allow: `{ "publish": ["device/%c/#"], "subscribe": ["news/#"] }`. Either list may be
 * missing. `[]` and `{}` are rules that permit nothing.
 *
 * Rules are taken as a whole or not at all. Whoever wrote a rule with a mistake meant something by it; leaving out a
 * `deny` would open what it was to close, and so would a key that is spelt wrongly.
 */
import type { QoS } from "../../protocol/packets.ts";
import { isSharedFilter, validateTopicFilter } from "../../topics/topic_rules.ts";
import type { AccessAction, AccessRule } from "../identity/access_rule.ts";

/** Rules in one list. */
export const JSON_RULES_MAX = 1000;

/** Topic Filters in one rule. */
export const JSON_RULE_TOPICS_MAX = 100;

/**
 * Reads rules from a value that came out of `JSON.parse`.
 *
 * @returns The rules in their order, or undefined when the value is neither of the two forms in every detail.
 */
export function rulesFromJson(value: unknown): readonly AccessRule[] | undefined {
  if (Array.isArray(value)) return value.length <= JSON_RULES_MAX ? readAll(value, readRule) : undefined;
  return isRecord(value) ? readShortForm(value) : undefined;
}

const SHORT_KEYS: ReadonlySet<string> = new Set(["publish", "subscribe"]);
const RULE_KEYS: ReadonlySet<string> = new Set(["effect", "action", "topics", "max-qos", "retain"]);

function readShortForm(value: Record<string, unknown>): readonly AccessRule[] | undefined {
  if (!hasOnly(value, SHORT_KEYS)) return undefined;
  const rules: AccessRule[] = [];
  for (const action of ["publish", "subscribe"] as const) {
    if (value[action] === undefined) continue;
    const topics = readTopics(value[action]);
    if (topics === undefined) return undefined;
    if (topics.length > 0) rules.push({ effect: "allow", action, topics });
  }
  return rules;
}

function readRule(value: unknown): AccessRule | undefined {
  if (!isRecord(value) || !hasOnly(value, RULE_KEYS)) return undefined;
  const { effect, action, retain, "max-qos": qosMax } = value;
  const topics = readTopics(value["topics"]);
  if (topics === undefined || topics.length === 0 || !isAction(action)) return undefined;
  // A prohibition that holds for some messages only is none of our rules, so these keys say nothing beside `deny`.
  if (effect === "deny") return qosMax === undefined && retain === undefined ? { effect, action, topics } : undefined;
  if (effect !== "allow") return undefined;
  if (qosMax !== undefined && !isQos(qosMax)) return undefined;
  if (retain !== undefined && typeof retain !== "boolean") return undefined;
  return {
    effect,
    action,
    topics,
    ...(qosMax === undefined ? {} : { qosMax }),
    ...(retain === undefined ? {} : { retain }),
  };
}

function readTopics(value: unknown): readonly string[] | undefined {
  if (!Array.isArray(value) || value.length > JSON_RULE_TOPICS_MAX) return undefined;
  return readAll(value, (topic) => typeof topic === "string" && isRuleTopic(topic) ? topic : undefined);
}

/** Only what no Topic Filter can exceed: the broker's own limits are for clients. */
const LIMITS = { maxTopicLength: 65_535, maxTopicLevels: 65_535 };

/**
 * Shared Subscriptions are asked about without `$share/group/`, so that a rule with it would never apply. A placeholder
 * inside a level would let one name run into the next: `%u` of client `a` and `b%u` of client `aa`.
 */
function isRuleTopic(topic: string): boolean {
  if (!topic.isWellFormed() || topic.includes("\0") || isSharedFilter(topic)) return false;
  if (validateTopicFilter(topic, LIMITS) !== undefined) return false;
  return topic.split("/").every((level) => level === "%u" || level === "%c" || !/%[uc]/.test(level));
}

/** Reads every element, or nothing when one of them is not legal. */
function readAll<T>(values: readonly unknown[], read: (value: unknown) => T | undefined): readonly T[] | undefined {
  const result: T[] = [];
  for (const value of values) {
    const one = read(value);
    if (one === undefined) return undefined;
    result.push(one);
  }
  return result;
}

function isAction(value: unknown): value is AccessAction {
  return value === "publish" || value === "subscribe" || value === "all";
}

function isQos(value: unknown): value is QoS {
  return value === 0 || value === 1 || value === 2;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function hasOnly(value: Record<string, unknown>, keys: ReadonlySet<string>): boolean {
  return Object.keys(value).every((key) => keys.has(key));
}
