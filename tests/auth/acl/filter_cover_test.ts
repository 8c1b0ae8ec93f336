/**
 * Covering and overlapping, compared with brute force: every pair of filters over a small alphabet, against the set of
 * topics each of them matches by the definition of section 4.7.
 *
 * Topics have one level more than the longest filter, and a level `z` that no filter names, so that a `+` or `#` always
 * has something that a literal has not. The empty name is among them.
 */
import assert from "node:assert/strict";
import { coversFilter, filtersOverlap } from "../../../src/auth/acl/filter_cover.ts";
import { matchesNaively } from "../../topics/topic_model.ts";

const FILTER_LEVELS = ["a", "b", "", "+", "$s"];
const TOPIC_LEVELS = ["a", "b", "", "z", "$s"];
const FILTER_DEPTH_MAX = 3;

const FILTERS = pathsOf(FILTER_LEVELS, FILTER_DEPTH_MAX).flatMap((path) => [path, `${path}/#`]).concat("#")
  .filter((filter) => filter !== "" && filter.split("/").length <= FILTER_DEPTH_MAX + 1);
const TOPICS = pathsOf(TOPIC_LEVELS, FILTER_DEPTH_MAX + 1);
const MATCHED = FILTERS.map((filter) => TOPICS.map((topic) => matchesNaively(filter, topic)));

/** All names of one to `depthMax` levels. */
function pathsOf(levels: readonly string[], depthMax: number): string[] {
  let last = [...levels];
  const paths = [...last];
  for (let depth = 2; depth <= depthMax; depth++) {
    last = last.flatMap((path) => levels.map((level) => `${path}/${level}`));
    paths.push(...last);
  }
  return paths;
}

/** Calls for every pair of filters with what the topics say about it; O(pairs × topics). */
function forEachPair(visit: (one: string, other: string, covers: boolean, overlap: boolean) => void): void {
  FILTERS.forEach((one, oneIndex) => {
    const ofOne = MATCHED[oneIndex]!;
    FILTERS.forEach((other, otherIndex) => {
      const ofOther = MATCHED[otherIndex]!;
      let covers = true;
      let overlap = false;
      for (let topic = 0; topic < ofOne.length; topic++) {
        if (!ofOther[topic]) continue;
        if (ofOne[topic]) overlap = true;
        else covers = false;
      }
      visit(one, other, covers, overlap);
    });
  });
}

Deno.test("coversFilter is true exactly when no topic tells the filters apart", () => {
  let covering = 0;
  forEachPair((one, other, covers) => {
    assert.equal(coversFilter(one, other), covers, `${one} covers ${other}`);
    if (covers && one !== other) covering++;
  });
  assert.ok(covering > 1000, `${covering} pairs`);
});

Deno.test("filtersOverlap is true exactly when some topic is matched by both", () => {
  let overlapping = 0;
  forEachPair((one, other, _covers, overlap) => {
    assert.equal(filtersOverlap(one, other), overlap, `${one} overlaps ${other}`);
    if (overlap && one !== other) overlapping++;
  });
  assert.ok(overlapping > 1000, `${overlapping} pairs`);
});

Deno.test("a topic without wildcards is covered by a filter exactly when the filter matches it", () => {
  for (const [index, filter] of FILTERS.entries()) {
    for (const [topic, name] of TOPICS.entries()) {
      assert.equal(coversFilter(filter, name), MATCHED[index]![topic], `${filter} covers ${name}`);
    }
  }
});

const COVERS: readonly (readonly [outer: string, inner: string, covers: boolean])[] = [
  ["sensors/#", "sensors/+/temperature", true],
  ["sensors/#", "sensors", true],
  ["sensors/+", "sensors/#", false],
  ["sensors/+/#", "sensors/#", false],
  ["+/#", "#", true],
  ["#", "+/#", true],
  ["#", "$SYS/#", false],
  ["+/broker", "$SYS/broker", false],
  ["$SYS/#", "$SYS/broker/+", true],
  ["sensor", "sensors", false],
  ["a/b", "a/+", false],
];

for (const [outer, inner, covers] of COVERS) {
  Deno.test(`${outer} ${covers ? "covers" : "does not cover"} ${inner}`, () => {
    assert.equal(coversFilter(outer, inner), covers);
  });
}
