/**
 * What a legal Topic Name, Topic Filter and Shared Subscription look like, and which names a filter matches.
 * [MQTT 5.0, 4.7 and 4.8.2]
 *
 * Checks return a `Fault` with the statement that was broken, or undefined. They cost O(n) and run once per distinct
 * Topic Name that is not cached, or once per SUBSCRIBE; `matchesFilter` is the definition of matching that the
 * subscription trie and the retained index must agree with.
 */

import { Fault } from "../protocol/packets.ts";
import { ReasonCode } from "../protocol/reason_codes.ts";
import { isValidUtf8String } from "../protocol/utf8.ts";

/** The broker's own bounds on names and filters, tighter than the protocol's. */
export interface TopicLimits {
  /** Bytes of UTF-8; at most 65 535. */
  readonly maxTopicLength: number;
  /** Levels, that is one more than the number of `/`. */
  readonly maxTopicLevels: number;
}

/** A Shared Subscription taken apart. */
export interface SharedFilter {
  /** The ShareName. */
  readonly group: string;
  readonly filter: string;
}

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
const DOLLAR = 0x24;
const SHARE_PREFIX = "$share/";
const ENCODER = new TextEncoder();

/**
 * Tells what is wrong with a Topic Name on the wire.
 *
 * @param start First byte of the name, after its length prefix.
 * @param end One past the last byte.
 * @returns undefined for a legal name, else a Fault: 0x81 not a UTF-8 string, 0x82 empty, 0x90 wildcard or over a
 *   limit.
 */
export function explainTopicName(
  bytes: Uint8Array,
  start: number,
  end: number,
  limits: TopicLimits,
): Fault | undefined {
  if (start === end) {
    return new Fault(ReasonCode.PROTOCOL_ERROR, "MQTT-4.7.3-1", "The Topic Name is empty.");
  }
  if (end - start > limits.maxTopicLength) {
    const text = `The Topic Name has ${end - start} bytes, the limit is ${limits.maxTopicLength}.`;
    return new Fault(ReasonCode.TOPIC_NAME_INVALID, "4.7.3", text);
  }
  let levels = 1;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte === SLASH) levels++;
    else if (byte === PLUS || byte === HASH) {
      return new Fault(ReasonCode.TOPIC_NAME_INVALID, "MQTT-3.3.2-2", "The Topic Name contains a wildcard character.");
    } else if (byte === 0) {
      return new Fault(ReasonCode.MALFORMED_PACKET, "MQTT-4.7.3-2", "The Topic Name contains U+0000.");
    }
  }
  if (levels > limits.maxTopicLevels) {
    const text = `The Topic Name has ${levels} levels, the limit is ${limits.maxTopicLevels}.`;
    return new Fault(ReasonCode.TOPIC_NAME_INVALID, "4.7.1.1", text);
  }
  if (!isValidUtf8String(bytes, start, end)) {
    return new Fault(ReasonCode.MALFORMED_PACKET, "MQTT-3.3.2-1", "The Topic Name is not a UTF-8 Encoded String.");
  }
  return undefined;
}

/**
 * Tells what is wrong with a Topic Filter, shared or not.
 *
 * @param filter Well-formed Unicode without U+0000, as the decoder of SUBSCRIBE gives it. A filter that starts with
 *   `$share/` is held to the rules of Shared Subscriptions too; the limits then apply to the filter inside.
 * @returns undefined for a legal filter, else a Fault with 0x8F.
 */
export function validateTopicFilter(filter: string, limits: TopicLimits): Fault | undefined {
  if (!filter.startsWith(SHARE_PREFIX)) return validatePlainFilter(filter, limits);
  const shared = parseSharedFilter(filter);
  return shared instanceof Fault ? shared : validatePlainFilter(shared.filter, limits);
}

/** True for a Topic Filter that asks for a Shared Subscription: it starts with `$share/`. [MQTT-4.8.2-1] */
export function isSharedFilter(filter: string): boolean {
  return filter.startsWith(SHARE_PREFIX);
}

/**
 * Takes `$share/group/filter` apart.
 *
 * @param sharedFilter A string for which `isSharedFilter` holds. The filter inside is not validated here.
 * @returns The two parts, or a Fault with 0x8F when there is no legal ShareName or no filter behind it.
 */
export function parseSharedFilter(sharedFilter: string): SharedFilter | Fault {
  const slash = sharedFilter.indexOf("/", SHARE_PREFIX.length);
  if (slash === -1 || slash === sharedFilter.length - 1) {
    return invalidFilter("MQTT-4.8.2-2", "The ShareName is not followed by a slash and a Topic Filter.");
  }
  const group = sharedFilter.slice(SHARE_PREFIX.length, slash);
  if (group === "") return invalidFilter("MQTT-4.8.2-1", "The ShareName is empty.");
  if (hasWildcard(group)) return invalidFilter("MQTT-4.8.2-2", "The ShareName contains a wildcard character.");
  return { group, filter: sharedFilter.slice(slash + 1) };
}

/** True for topics below `$SYS`, which the broker alone publishes: what stands there must be its own word. */
export function isReservedTopic(name: string): boolean {
  return name.startsWith("$SYS/");
}

/** Levels of a Topic Name or Topic Filter: one more than it has slashes. */
export function levelCount(name: string): number {
  let levels = 1;
  for (let at = name.indexOf("/"); at !== -1; at = name.indexOf("/", at + 1)) levels++;
  return levels;
}

/**
 * Levels that one tree of names or filters may hold, counted for each name as if it shared none with others.
 *
 * In long names a level of its own takes 60 to 84 bytes of heap (`LevelNode`): 90 MB at the bound. Short ones weigh
 * more per level, because each entry has a cost of its own: 200 bytes for a name of one level, without its message, and
 * 536 for such a filter with one subscription, which is 560 MB at the bound.
 */
export const TREE_LEVELS_MAX = 1_048_576;

/** True when a valid Topic Filter contains `+` or `#`. */
export function hasWildcard(filter: string): boolean {
  return filter.includes("+") || filter.includes("#");
}

/**
 * Tells whether a valid Topic Filter matches a valid Topic Name. O(n), allocates nothing.
 *
 * Wildcards at the first level never match names that start with `$`. [MQTT-4.7.2-1]
 */
export function matchesFilter(filter: string, name: string): boolean {
  const first = filter.charCodeAt(0);
  if (name.charCodeAt(0) === DOLLAR && (first === PLUS || first === HASH)) return false;
  let inName = 0;
  for (let inFilter = 0; inFilter < filter.length; inFilter++) {
    const char = filter.charCodeAt(inFilter);
    if (char === HASH) return true;
    if (char === PLUS) {
      while (inName < name.length && name.charCodeAt(inName) !== SLASH) inName++;
    } else if (inName === name.length) {
      // `sport/#` matches its parent level `sport` too. [MQTT 5.0, 4.7.1.2]
      return inFilter === filter.length - 2 && char === SLASH && filter.charCodeAt(inFilter + 1) === HASH;
    } else if (char !== name.charCodeAt(inName++)) {
      return false;
    }
  }
  return inName === name.length;
}

function validatePlainFilter(filter: string, limits: TopicLimits): Fault | undefined {
  if (filter === "") return invalidFilter("MQTT-4.7.3-1", "The Topic Filter is empty.");
  // Encoded only when it could be too long: no character takes more than three bytes per UTF-16 unit.
  if (filter.length * 3 > limits.maxTopicLength && ENCODER.encode(filter).length > limits.maxTopicLength) {
    return invalidFilter("4.7.3", `The Topic Filter is longer than ${limits.maxTopicLength} bytes.`);
  }
  let levels = 1;
  for (let at = 0; at < filter.length; at++) {
    const char = filter.charCodeAt(at);
    if (char === SLASH) levels++;
    else if (char === PLUS && !(startsLevel(filter, at) && endsLevel(filter, at))) {
      return invalidFilter("MQTT-4.7.1-2", "A + does not occupy an entire level of the Topic Filter.");
    } else if (char === HASH && !(startsLevel(filter, at) && at === filter.length - 1)) {
      return invalidFilter("MQTT-4.7.1-1", "A # is not alone in the last level of the Topic Filter.");
    }
  }
  if (levels > limits.maxTopicLevels) {
    return invalidFilter("4.7.1.1", `The Topic Filter has ${levels} levels, the limit is ${limits.maxTopicLevels}.`);
  }
  return undefined;
}

function startsLevel(filter: string, at: number): boolean {
  return at === 0 || filter.charCodeAt(at - 1) === SLASH;
}

function endsLevel(filter: string, at: number): boolean {
  return at === filter.length - 1 || filter.charCodeAt(at + 1) === SLASH;
}

function invalidFilter(statement: string, text: string): Fault {
  return new Fault(ReasonCode.TOPIC_FILTER_INVALID, statement, text);
}
