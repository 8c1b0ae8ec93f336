/**
 * How two Topic Filters stand to each other: does one cover the other, is there a topic that both match?
 *
 * A rule is written for topics, and a client subscribes to a filter, so a rule is compared with all topics that filter
 * stands for. Both answers are exact, with the two traps of MQTT: `a/#` matches `a` as well, and a wildcard at the first
 * level matches no name that starts with `$`. [MQTT 5.0, 4.7.1.2 and 4.7.2] The name of no characters counts as a topic,
 * although it is none: `/#` and `+` have only that in common, and telling them apart would be worth nobody's while.
 *
 * The filters must be valid. O(n), allocates nothing.
 */

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
const DOLLAR = 0x24;

/** Tells whether `outer` matches every topic that `inner` matches. */
export function coversFilter(outer: string, inner: string): boolean {
  if (startsWithWildcard(outer) && inner.charCodeAt(0) === DOLLAR) return false;
  let outerAt = 0;
  let innerAt = 0;
  for (;;) {
    const char = outer.charCodeAt(outerAt);
    if (char === HASH) return true;
    // No literal and no `+` stands for any number of levels. Only at the first level there is one at least, so that
    // `+/#` says the same as `#`.
    if (inner.charCodeAt(innerAt) === HASH) return innerAt === 0 && outer === "+/#";
    const outerEnd = levelEnd(outer, outerAt);
    const innerEnd = levelEnd(inner, innerAt);
    if (char !== PLUS && !isSameLevel(outer, outerAt, outerEnd, inner, innerAt, innerEnd)) return false;
    if (innerEnd === inner.length) return outerEnd === outer.length || endsInHash(outer, outerEnd);
    if (outerEnd === outer.length) return false;
    outerAt = outerEnd + 1;
    innerAt = innerEnd + 1;
  }
}

/** Tells whether there is a topic that both filters match. */
export function filtersOverlap(one: string, other: string): boolean {
  if (startsWithWildcard(one) && other.charCodeAt(0) === DOLLAR) return false;
  if (startsWithWildcard(other) && one.charCodeAt(0) === DOLLAR) return false;
  let oneAt = 0;
  let otherAt = 0;
  for (;;) {
    const char = one.charCodeAt(oneAt);
    const otherChar = other.charCodeAt(otherAt);
    if (char === HASH || otherChar === HASH) return true;
    const oneEnd = levelEnd(one, oneAt);
    const otherEnd = levelEnd(other, otherAt);
    if (char !== PLUS && otherChar !== PLUS && !isSameLevel(one, oneAt, oneEnd, other, otherAt, otherEnd)) return false;
    if (oneEnd === one.length) return otherEnd === other.length || endsInHash(other, otherEnd);
    if (otherEnd === other.length) return endsInHash(one, oneEnd);
    oneAt = oneEnd + 1;
    otherAt = otherEnd + 1;
  }
}

function startsWithWildcard(filter: string): boolean {
  const first = filter.charCodeAt(0);
  return first === PLUS || first === HASH;
}

/** True when nothing but `/#` follows, which matches the level before it too. */
function endsInHash(filter: string, slashAt: number): boolean {
  return filter.charCodeAt(slashAt + 1) === HASH;
}

function levelEnd(filter: string, start: number): number {
  let at = start;
  while (at < filter.length && filter.charCodeAt(at) !== SLASH) at++;
  return at;
}

function isSameLevel(
  one: string,
  oneStart: number,
  oneEnd: number,
  other: string,
  otherStart: number,
  otherEnd: number,
): boolean {
  if (oneEnd - oneStart !== otherEnd - otherStart) return false;
  for (let at = oneStart, otherAt = otherStart; at < oneEnd; at++, otherAt++) {
    if (one.charCodeAt(at) !== other.charCodeAt(otherAt)) return false;
  }
  return true;
}
