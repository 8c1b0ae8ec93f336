/**
 * What one client may do, by the rules that came with it and by the file of rules.
 *
 * Rules are asked in order and the first that applies decides; where none does, the default:
 *
 *     publish     A rule applies when a topic filter of it matches the Topic Name. `allow` does not apply to messages
 *                 above its QoS, nor with `retain: false` to those with RETAIN.
 *     subscribe   `deny` applies when it is about some topic of the subscription, `allow` only when one of its topic
 *                 filters covers all of them. So what is granted is permitted topic by topic, and a delivery needs no
 *                 further question.
 *     receive     Rules for subscribing, asked about a single topic.
 *
 * With re-checking on delivery a subscription may ask for more than is permitted, and gets what is: `deny` then applies
 * only when it covers the subscription.
 *
 * The file may change at any time; what was compiled and remembered is made anew at the next question. Answers are
 * remembered by topic: the last one, found by comparing a pointer, and up to `2 × REMEMBERED_MAX` by name. A client
 * that keeps to one topic has no table.
 */
import type { QoS } from "../../protocol/packets.ts";
import type { Permissions } from "../../topics/permissions.ts";
import type { Topic } from "../../topics/topic.ts";
import type { AccessRule } from "../identity/access_rule.ts";
import type { Principal } from "../identity/authorizer.ts";
import { type PlaceholderValues, placeholderValues } from "./acl_placeholders.ts";
import { EVERY_KIND, kindBit, ownSection, type RankedRule, type RuleBook, type RuleSection } from "./acl_rules.ts";
import { coversFilter } from "./filter_cover.ts";

/** Where rules come from that hold for more than one client. Asked per packet, so both must be plain reads. */
export interface RuleSources {
  /** The rules of the file; another object after each change. Undefined = there is no file. */
  book(): RuleBook | undefined;
  /** Are deliveries asked about with `mayReceive`? `auth.recheck-on-deliver` */
  recheckOnDeliver(): boolean;
}

/** See the head of this file. */
export class AclPermissions implements Permissions {
  readonly #sources: RuleSources;
  readonly #principal: Principal;
  readonly #values: PlaceholderValues;
  readonly #own: RuleSection | undefined;
  #book: RuleBook | undefined;
  #sections: readonly RuleSection[] = [];
  #isAllowedByDefault = false;
  #lastPublished: Topic | undefined = undefined;
  #lastPublishedKinds = 0;
  #published: RecentAnswers | undefined = undefined;
  #lastReceived: string | undefined = undefined;
  #lastReceivedAnswer = 0;
  #received: RecentAnswers | undefined = undefined;

  /** @param own Rules of the client's token and of backends, in order; undefined = it has no such source. */
  constructor(principal: Principal, own: readonly AccessRule[] | undefined, sources: RuleSources) {
    this.#sources = sources;
    this.#principal = principal;
    this.#values = placeholderValues(principal.username, principal.clientId);
    this.#own = own && ownSection(own);
    this.#adopt(sources.book());
  }

  mayPublish(topic: Topic, qos: QoS, retain: boolean): boolean {
    const book = this.#sources.book();
    if (book !== this.#book) this.#adopt(book);
    const kinds = topic === this.#lastPublished ? this.#lastPublishedKinds : this.#kindsFor(topic);
    return (kinds & kindBit(qos, retain)) !== 0;
  }

  grantedQos(filter: string, qos: QoS): QoS | undefined {
    const book = this.#sources.book();
    if (book !== this.#book) this.#adopt(book);
    const rules: RankedRule[] = [];
    for (const section of this.#sections) section.collectOverlapping(filter, this.#values, rules);
    rules.sort(byRank);
    const isRechecked = this.#sources.recheckOnDeliver();
    for (const rule of rules) {
      if (rule.isAllow) {
        if (this.#covers(rule, filter)) return rule.qosMax < qos ? rule.qosMax : qos;
      } else if (!isRechecked || this.#covers(rule, filter)) return undefined;
    }
    return this.#isAllowedByDefault ? qos : undefined;
  }

  mayReceive(topicName: string): boolean {
    const book = this.#sources.book();
    if (book !== this.#book) this.#adopt(book);
    return (topicName === this.#lastReceived ? this.#lastReceivedAnswer : this.#answerFor(topicName)) !== 0;
  }

  #adopt(book: RuleBook | undefined): void {
    const sections = book === undefined ? [] : book.sectionsFor(this.#principal, this.#principal.clientId);
    if (this.#own !== undefined) sections.unshift(this.#own);
    this.#book = book;
    this.#sections = sections;
    // Without any source of rules there is nothing to be permitted by; with one, what it does not say is not permitted.
    this.#isAllowedByDefault = book === undefined ? this.#own === undefined : book.isAllowedByDefault;
    this.#lastPublished = undefined;
    this.#published = undefined;
    this.#lastReceived = undefined;
    this.#received = undefined;
  }

  #kindsFor(topic: Topic): number {
    const { name } = topic;
    let kinds = this.#published?.get(name);
    if (kinds === undefined) {
      kinds = publishedKinds(this.#rulesAbout(name), this.#isAllowedByDefault);
      if (name.length > REMEMBERED_LENGTH_MAX) return kinds;
      if (this.#lastPublished !== undefined) (this.#published ??= new RecentAnswers()).set(name, kinds);
    }
    this.#lastPublished = topic;
    this.#lastPublishedKinds = kinds;
    return kinds;
  }

  #answerFor(name: string): number {
    let answer = this.#received?.get(name);
    if (answer === undefined) {
      answer = isReceived(this.#rulesAbout(name), this.#isAllowedByDefault) ? 1 : 0;
      if (name.length > REMEMBERED_LENGTH_MAX) return answer;
      if (this.#lastReceived !== undefined) (this.#received ??= new RecentAnswers()).set(name, answer);
    }
    this.#lastReceived = name;
    this.#lastReceivedAnswer = answer;
    return answer;
  }

  #rulesAbout(name: string): readonly RankedRule[] {
    const rules: RankedRule[] = [];
    for (const section of this.#sections) section.collect(name, this.#values, rules);
    return rules.length > 1 ? rules.sort(byRank) : rules;
  }

  #covers(rule: RankedRule, subscribed: string): boolean {
    for (const filter of rule.filtersFor(this.#values)) {
      if (coversFilter(filter, subscribed)) return true;
    }
    return false;
  }
}

/** Answers in one half of `RecentAnswers`. */
export const REMEMBERED_MAX = 64;
/** Longer Topic Names are not remembered, so that a client cannot fill the memory with them; in UTF-16 units. */
const REMEMBERED_LENGTH_MAX = 1024;

/** The last answers by topic, in two halves: when the younger is full the older is forgotten. */
class RecentAnswers {
  #young = new Map<string, number>();
  #old: Map<string, number> | undefined = undefined;

  get(name: string): number | undefined {
    const answer = this.#young.get(name);
    if (answer !== undefined || this.#old === undefined) return answer;
    const older = this.#old.get(name);
    if (older !== undefined) this.set(name, older);
    return older;
  }

  set(name: string, answer: number): void {
    if (this.#young.size === REMEMBERED_MAX) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(name, answer);
  }
}

/** @param rules About one topic, in order. @returns Kinds of messages that may be published there, as bits. */
function publishedKinds(rules: readonly RankedRule[], isAllowedByDefault: boolean): number {
  let undecided = EVERY_KIND;
  let allowed = 0;
  for (const rule of rules) {
    if (!rule.isForPublish) continue;
    if (rule.isAllow) allowed |= undecided & rule.kinds;
    undecided &= ~rule.kinds;
    if (undecided === 0) return allowed;
  }
  return isAllowedByDefault ? allowed | undecided : allowed;
}

function isReceived(rules: readonly RankedRule[], isAllowedByDefault: boolean): boolean {
  for (const rule of rules) {
    if (rule.isForSubscribe) return rule.isAllow;
  }
  return isAllowedByDefault;
}

function byRank(one: RankedRule, other: RankedRule): number {
  return one.rank - other.rank;
}
