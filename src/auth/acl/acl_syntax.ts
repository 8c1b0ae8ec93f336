/**
 * The file of rules: from its text to a `RuleBook`, or to everything that is wrong with it.
 *
 * Nothing is skipped. A key that nobody knows, a list without names, a `retain` where nothing is published: whoever
 * wrote it meant something by it, and a rule that is left out may be the one that closes a door.
 */
import type { QoS } from "../../protocol/packets.ts";
import { readYaml, type YamlEntry, type YamlMap, type YamlValue } from "../../system/yaml_document.ts";
import { isSharedFilter, validateTopicFilter } from "../../topics/topic_rules.ts";
import type { AccessAction } from "../identity/access_rule.ts";
import type { AudienceTerms } from "./acl_audience.ts";
import { CLIENT_PLACEHOLDER, USER_PLACEHOLDER } from "./acl_placeholders.ts";
import { type DefaultEffect, type FileRule, RuleBook } from "./acl_rules.ts";

/** Rules in one file. */
export const FILE_RULES_MAX = 10_000;
/** Levels of a rule's topic filter. */
export const FILE_RULE_LEVELS_MAX = 128;

/**
 * Reads a file of rules.
 *
 * @param name Name of the file as the user would know it; the first part of every problem.
 * @param text Its whole content. Refused when there is nothing in it: that is a file about to be written.
 * @returns The rules, or lines `file:line: …`, a bounded number and at least one.
 */
export function readRuleBook(name: string, text: string): RuleBook | readonly string[] {
  const { root, problems } = readYaml(name, text);
  if (root === undefined) return problems;
  const reader = new RuleBookReader(name);
  const book = reader.read(root);
  return reader.problemCount === 0 ? book : reader.problems();
}

const FILE_KEYS = ["default", "groups", "rules"];
const RULE_KEYS = ["allow", "deny", "users", "groups", "clients", "anonymous", "topics", "max-qos", "retain"];
const PROBLEMS_MAX = 50;
const TOPIC_LIMITS = { maxTopicLength: 65_535, maxTopicLevels: FILE_RULE_LEVELS_MAX };

type Entries = ReadonlyMap<string, YamlEntry>;

/** Goes on after a problem, so that all are found; what it returns counts only when there are none. */
class RuleBookReader {
  readonly #name: string;
  readonly #problems: { readonly line: number; readonly text: string }[] = [];
  problemCount = 0;

  constructor(name: string) {
    this.#name = name;
  }

  problems(): readonly string[] {
    const sorted = this.#problems.toSorted((one, other) => one.line - other.line);
    const lines = sorted.map(({ line, text }) => `${this.#name}:${line}: ${text}`);
    const more = this.problemCount - lines.length;
    return more === 0 ? lines : [...lines, `${this.#name}: and ${more} more`];
  }

  read(root: YamlValue): RuleBook {
    if (root.kind !== "map") {
      this.#complain(root.line, `expected the keys ${FILE_KEYS.join(", ")}, got ${describe(root)}`);
    }
    const entries: Entries = root.kind === "map" ? this.#entriesOf(root, FILE_KEYS) : new Map();
    return new RuleBook({
      default: this.#readDefault(entries.get("default")),
      groups: this.#readGroups(entries.get("groups")),
      rules: this.#readRules(entries.get("rules")),
    });
  }

  #readDefault(entry: YamlEntry | undefined): DefaultEffect {
    if (entry === undefined) return "deny";
    const word = textOf(entry.value);
    if (word === "allow" || word === "deny") return word;
    this.#complain(entry.line, `default: expected allow or deny, got ${describe(entry.value)}`);
    return "deny";
  }

  #readGroups(entry: YamlEntry | undefined): ReadonlyMap<string, readonly string[]> {
    const groups = new Map<string, readonly string[]>();
    if (entry === undefined) return groups;
    if (entry.value.kind !== "map") {
      this.#complain(entry.line, `groups: expected names of groups with their users, got ${describe(entry.value)}`);
      return groups;
    }
    for (const group of entry.value.entries) groups.set(group.key, this.#readNames(group));
    return groups;
  }

  #readRules(entry: YamlEntry | undefined): readonly FileRule[] {
    if (entry === undefined) return [];
    const { value } = entry;
    if (value.kind !== "list") {
      this.#complain(entry.line, `rules: expected a list of rules, got ${describe(value)}`);
      return [];
    }
    if (value.items.length > FILE_RULES_MAX) {
      this.#complain(entry.line, `rules: more than ${FILE_RULES_MAX}`);
      return [];
    }
    return value.items.flatMap((item) => this.#readRule(item) ?? []);
  }

  #readRule(item: YamlValue): FileRule | undefined {
    if (item.kind !== "map") {
      this.#complain(item.line, `expected a rule with the keys allow or deny, and topics, got ${describe(item)}`);
      return undefined;
    }
    const entries = this.#entriesOf(item, RULE_KEYS);
    const effect = this.#readEffect(item, entries);
    const topics = this.#readTopics(item, entries.get("topics"));
    const audience = this.#readAudience(entries);
    if (effect === undefined || topics === undefined) return undefined;
    if (effect === "deny") {
      const action = this.#readAction(entries.get("deny")!);
      for (const key of ["max-qos", "retain"]) this.#refuse(entries.get(key), "only a rule that allows can have it");
      return { effect, action, topics, audience };
    }
    const action = this.#readAction(entries.get("allow")!);
    if (action === "subscribe") this.#refuse(entries.get("retain"), "it is about publishing, which the rule is not");
    const qosMax = this.#readQos(entries.get("max-qos"));
    const retain = this.#readBoolean(entries.get("retain"));
    return {
      effect,
      action,
      topics,
      audience,
      ...(qosMax === undefined ? {} : { qosMax }),
      ...(retain === undefined ? {} : { retain }),
    };
  }

  #readEffect(rule: YamlMap, entries: Entries): "allow" | "deny" | undefined {
    const isAllow = entries.has("allow");
    if (isAllow !== entries.has("deny")) return isAllow ? "allow" : "deny";
    this.#complain(rule.line, isAllow ? "a rule is either allow or deny, got both" : "a rule needs allow or deny");
    return undefined;
  }

  #readAction(entry: YamlEntry): AccessAction {
    const words = itemsOf(entry.value).map(textOf);
    if (words.length === 0 || words.some((word) => word === undefined || !ACTIONS.has(word))) {
      const expected = "expected publish, subscribe or all, or a list of them";
      this.#complain(entry.line, `${entry.key}: ${expected}, got ${describe(entry.value)}`);
    }
    const isPublish = words.includes("publish");
    const isSubscribe = words.includes("subscribe");
    if (isPublish === isSubscribe || words.includes("all")) return "all";
    return isPublish ? "publish" : "subscribe";
  }

  #readAudience(entries: Entries): AudienceTerms {
    const users = entries.get("users");
    const groups = entries.get("groups");
    const clients = entries.get("clients");
    const anonymous = this.#readBoolean(entries.get("anonymous"));
    return {
      ...(users === undefined ? {} : { users: this.#readNames(users) }),
      ...(groups === undefined ? {} : { groups: this.#readNames(groups) }),
      ...(clients === undefined ? {} : { clients: this.#readNames(clients) }),
      ...(anonymous === undefined ? {} : { anonymous }),
    };
  }

  #readNames(entry: YamlEntry): readonly string[] {
    const names: string[] = [];
    const items = itemsOf(entry.value);
    if (items.length === 0) this.#complain(entry.line, `${entry.key}: an empty list is about nobody`);
    for (const item of items) {
      const name = textOf(item);
      if (name === undefined || name === "") {
        this.#complain(item.line, `${entry.key}: expected a name, got ${describe(item)}`);
      } else names.push(name);
    }
    return names;
  }

  #readTopics(rule: YamlMap, entry: YamlEntry | undefined): readonly string[] | undefined {
    const items = entry === undefined ? [] : itemsOf(entry.value);
    if (items.length === 0) {
      this.#complain(entry?.line ?? rule.line, "a rule needs topics; # stands for all but those that start with $");
      return undefined;
    }
    return items.flatMap((item) => {
      const topic = textOf(item);
      const problem = topic === undefined ? "a topic filter was expected" : problemOfTopic(topic);
      if (problem !== undefined) this.#complain(item.line, `topics: ${describe(item)}: ${problem}`);
      return topic ?? [];
    });
  }

  #readQos(entry: YamlEntry | undefined): QoS | undefined {
    if (entry === undefined) return undefined;
    const qos = ([0, 1, 2] as const).find((qos) => textOf(entry.value) === String(qos));
    if (qos === undefined) this.#complain(entry.line, `max-qos: expected 0, 1 or 2, got ${describe(entry.value)}`);
    return qos;
  }

  #readBoolean(entry: YamlEntry | undefined): boolean | undefined {
    if (entry === undefined) return undefined;
    const word = textOf(entry.value);
    if (word === "true" || word === "false") return word === "true";
    this.#complain(entry.line, `${entry.key}: expected true or false, got ${describe(entry.value)}`);
    return undefined;
  }

  /** The entries by key; words may be joined by `_` as in the configuration. */
  #entriesOf(map: YamlMap, known: readonly string[]): Entries {
    const entries = new Map<string, YamlEntry>();
    for (const entry of map.entries) {
      const key = entry.key.replaceAll("_", "-");
      if (!known.includes(key)) {
        this.#complain(entry.line, `unknown key ${JSON.stringify(cut(entry.key))}; known are ${known.join(", ")}`);
      } else if (entries.has(key)) this.#complain(entry.line, `${key}: given twice`);
      else entries.set(key, { ...entry, key });
    }
    return entries;
  }

  #refuse(entry: YamlEntry | undefined, why: string): void {
    if (entry !== undefined) this.#complain(entry.line, `${entry.key}: ${why}`);
  }

  #complain(line: number, problem: string): void {
    this.problemCount++;
    if (this.#problems.length < PROBLEMS_MAX) this.#problems.push({ line, text: problem });
  }
}

const ACTIONS: ReadonlySet<string> = new Set(["publish", "subscribe", "all"]);

function problemOfTopic(topic: string): string | undefined {
  if (!topic.isWellFormed() || topic.includes("\0")) return "not a UTF-8 string of MQTT";
  if (isSharedFilter(topic)) return "Shared Subscriptions are judged by what follows $share/group/, so write that";
  const fault = validateTopicFilter(topic, TOPIC_LIMITS);
  if (fault !== undefined) return fault.text;
  // Inside a level one name could run into the next: `x%u` of `yz` and `xy%u` of `z`.
  const isMixed = topic.split("/").some((level) =>
    /%[uc]/.test(level) && level !== USER_PLACEHOLDER && level !== CLIENT_PLACEHOLDER
  );
  return isMixed ? "%u and %c stand for a whole level each" : undefined;
}

/** A list, or a single value as a list of one; nothing is an empty list. */
function itemsOf(value: YamlValue): readonly YamlValue[] {
  if (value.kind === "list") return value.items;
  return value.kind === "scalar" && value.text === undefined ? [] : [value];
}

function textOf(value: YamlValue): string | undefined {
  return value.kind === "scalar" ? value.text : undefined;
}

function describe(value: YamlValue): string {
  if (value.kind !== "scalar") return value.kind === "map" ? "keys with values" : "a list";
  return value.text === undefined ? "nothing" : JSON.stringify(cut(value.text));
}

function cut(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
