/**
 * Rules made ready for being asked: one file as a `RuleBook`, and the rules of one client as sections.
 *
 * A section holds the rules of one audience, because most files have few audiences and many rules or many audiences
 * with a rule or two each. Sections belong to the book and are shared by all clients, so that a client costs one
 * reference for each section that is about it. Every rule has a rank, its place in the order of all; what the sections
 * of a client find is put in that order again before it decides.
 */
import type { QoS } from "../../protocol/packets.ts";
import { matchesFilter } from "../../topics/topic_rules.ts";
import type { AccessRule } from "../identity/access_rule.ts";
import type { Identity } from "../identity/identity.ts";
import { Audience, type AudienceMember, type AudienceTerms, NameSet } from "./acl_audience.ts";
import { FilterIndex } from "./acl_index.ts";
import { hasPlaceholder, type PlaceholderValues, resolvePlaceholders } from "./acl_placeholders.ts";
import { filtersOverlap } from "./filter_cover.ts";

/** What applies where no rule does. */
export type DefaultEffect = AccessRule["effect"];

/** One rule of a file. */
export interface FileRule extends AccessRule {
  readonly audience: AudienceTerms;
}

/** What a file of rules says. */
export interface RuleBookTerms {
  readonly default: DefaultEffect;
  /** Usernames by group, literal or with `*`. */
  readonly groups: ReadonlyMap<string, readonly string[]>;
  readonly rules: readonly FileRule[];
}

/** Kinds of messages as bits: QoS 0, 1 and 2, each without and with RETAIN. */
export const EVERY_KIND = 0b111111;

/** The bit of one kind. */
export function kindBit(qos: QoS, retain: boolean): number {
  return 1 << (qos * 2 + (retain ? 1 : 0));
}

/** A rule with its place in the order of all that hold for a client. */
export class RankedRule {
  readonly isAllow: boolean;
  readonly isForPublish: boolean;
  readonly isForSubscribe: boolean;
  /** Kinds of messages that it decides about, as bits. */
  readonly kinds: number;
  /** Most that a subscription is granted. */
  readonly qosMax: QoS;
  /** With placeholders. */
  readonly topics: readonly string[];
  readonly #hasPlaceholder: boolean;

  /** @param rank Lower decides first. */
  constructor(rule: AccessRule, readonly rank: number) {
    this.isAllow = rule.effect === "allow";
    this.isForPublish = rule.action !== "subscribe";
    this.isForSubscribe = rule.action !== "publish";
    this.kinds = this.isAllow ? kindsOf(rule) : EVERY_KIND;
    this.qosMax = this.isAllow ? rule.qosMax ?? 2 : 2;
    this.topics = rule.topics;
    this.#hasPlaceholder = rule.topics.some(hasPlaceholder);
  }

  /** Topic Filters that apply to a client. Allocates only where a placeholder is to be replaced. */
  filtersFor(values: PlaceholderValues): readonly string[] {
    return this.#hasPlaceholder
      ? this.topics.flatMap((topic) => resolvePlaceholders(topic, values) ?? [])
      : this.topics;
  }
}

/** Rules that hold for the same clients, in their order. */
export class RuleSection {
  readonly #rules: readonly RankedRule[];
  /** Undefined when comparing with each is quicker, and smaller. */
  readonly #index: FilterIndex<RankedRule> | undefined;

  constructor(rules: readonly RankedRule[]) {
    this.#rules = rules;
    this.#index = rules.reduce((sum, { topics }) => sum + topics.length, 0) > COMPARED_MAX ? indexOf(rules) : undefined;
  }

  /** Appends the rules that are about a topic, in no order and perhaps twice. */
  collect(name: string, values: PlaceholderValues, into: RankedRule[]): void {
    if (this.#index !== undefined) return this.#index.collect(name, values, into);
    for (const rule of this.#rules) {
      for (const filter of rule.filtersFor(values)) {
        if (matchesFilter(filter, name)) into.push(rule);
      }
    }
  }

  /** Appends the rules for subscribing that are about some topic a filter matches. O(topics). */
  collectOverlapping(subscribed: string, values: PlaceholderValues, into: RankedRule[]): void {
    for (const rule of this.#rules) {
      if (rule.isForSubscribe && isAboutSome(rule, subscribed, values)) into.push(rule);
    }
  }
}

/** One file of rules, immutable. */
export class RuleBook {
  readonly isAllowedByDefault: boolean;
  /** Rules in the file. */
  readonly ruleCount: number;
  readonly #groups: readonly (readonly [name: string, users: NameSet])[];
  readonly #sections: readonly (readonly [Audience, RuleSection])[];

  /** O(topics of all rules). */
  constructor({ default: effect, groups, rules }: RuleBookTerms) {
    this.isAllowedByDefault = effect === "allow";
    this.ruleCount = rules.length;
    this.#groups = [...groups].map(([name, users]) => [name, new NameSet(users)] as const);
    const byAudience = new Map<string, { readonly audience: Audience; readonly rules: RankedRule[] }>();
    for (const [rank, rule] of rules.entries()) {
      const { users, groups, clients, anonymous } = rule.audience;
      const key = JSON.stringify([users, groups, clients, anonymous]);
      let section = byAudience.get(key);
      if (section === undefined) byAudience.set(key, section = { audience: new Audience(rule.audience), rules: [] });
      section.rules.push(new RankedRule(rule, rank));
    }
    this.#sections = [...byAudience.values()].map((section) =>
      [section.audience, new RuleSection(section.rules)] as const
    );
  }

  /** The sections about one client. O(audiences); once per connection and reload. */
  sectionsFor(identity: Pick<Identity, "username" | "groups">, clientId: string): RuleSection[] {
    const { username } = identity;
    const groups = new Set(identity.groups);
    if (username !== undefined) {
      for (const [name, users] of this.#groups) {
        if (users.has(username)) groups.add(name);
      }
    }
    const member: AudienceMember = { username, clientId, groups };
    const sections: RuleSection[] = [];
    for (const [audience, section] of this.#sections) {
      if (audience.includes(member)) sections.push(section);
    }
    return sections;
  }
}

/**
 * Rules that came with a client, as a section that ranks before any book.
 *
 * @param rules In their order.
 */
export function ownSection(rules: readonly AccessRule[]): RuleSection {
  return new RuleSection(rules.map((rule, index) => new RankedRule(rule, index - rules.length)));
}

/** Above so many topic filters a section has an index. */
const COMPARED_MAX = 16;

function indexOf(rules: readonly RankedRule[]): FilterIndex<RankedRule> {
  const index = new FilterIndex<RankedRule>();
  for (const rule of rules) {
    for (const topic of rule.topics) index.add(topic, rule);
  }
  return index;
}

function isAboutSome(rule: RankedRule, subscribed: string, values: PlaceholderValues): boolean {
  for (const filter of rule.filtersFor(values)) {
    if (filtersOverlap(filter, subscribed)) return true;
  }
  return false;
}

function kindsOf({ qosMax = 2, retain = true }: AccessRule): number {
  let kinds = 0;
  for (const qos of [0, 1, 2] as const) {
    if (qos > qosMax) break;
    kinds |= kindBit(qos, false);
    if (retain) kinds |= kindBit(qos, true);
  }
  return kinds;
}
