import * as assert from "node:assert/strict";
import * as fc from "fast-check";
import { Fault } from "../../src/protocol/packets.ts";
import {
  explainTopicName,
  hasWildcard,
  isSharedFilter,
  matchesFilter,
  parseSharedFilter,
  validateTopicFilter,
} from "../../src/topics/topic_rules.ts";
import { matchesNaively, topicFilter, topicName } from "./topic_model.ts";

const LIMITS = { maxTopicLength: 65_535, maxTopicLevels: 128 };

function explain(name: string | Uint8Array, limits = LIMITS): Fault | undefined {
  const text = typeof name === "string" ? new TextEncoder().encode(name) : name;
  // Surrounded by wildcards and zeros, which must not be looked at.
  const bytes = new Uint8Array([0x23, 0, ...text, 0, 0x23]);
  return explainTopicName(bytes, 2, 2 + text.length, limits);
}

function assertFault(fault: Fault | undefined, statement: string, reasonCode: number): void {
  assert.ok(fault instanceof Fault, "expected a fault");
  assert.deepEqual([fault.statement, fault.reasonCode], [statement, reasonCode]);
}

Deno.test("explainTopicName accepts spaces, empty levels, `$`, other scripts and U+FEFF", () => {
  for (const name of ["a", "/", "//", "/a", "a/", " ", "$SYS/x", "Accounts payable", "é/😀", "\u{FEFF}a"]) {
    assert.equal(explain(name), undefined, name);
  }
});

Deno.test("explainTopicName refuses the empty name [MQTT-4.7.3-1]", () => {
  assertFault(explain(""), "MQTT-4.7.3-1", 0x82);
});

Deno.test("explainTopicName refuses wildcard characters at any place [MQTT-3.3.2-2] [MQTT-4.7.0-1]", () => {
  for (const name of ["+", "#", "a/+", "a/#", "a+b", "a#", "+a/b"]) {
    assertFault(explain(name), "MQTT-3.3.2-2", 0x90);
  }
});

Deno.test("explainTopicName refuses U+0000 [MQTT-4.7.3-2]", () => {
  assertFault(explain("a\0b"), "MQTT-4.7.3-2", 0x81);
});

Deno.test("explainTopicName refuses what is not UTF-8: surrogates, overlong and cut forms [MQTT-3.3.2-1]", () => {
  for (const bytes of [[0xed, 0xa0, 0x80], [0xc0, 0xaf], [0x61, 0xc3], [0xff], [0xf4, 0x90, 0x80, 0x80]]) {
    assertFault(explain(new Uint8Array(bytes)), "MQTT-3.3.2-1", 0x81);
  }
});

Deno.test("explainTopicName holds names to the limits in bytes and levels, and to no less", () => {
  const limits = { maxTopicLength: 4, maxTopicLevels: 2 };
  assert.equal(explain("éé", limits), undefined);
  assertFault(explain("ééa", limits), "4.7.3", 0x90);
  assert.equal(explain("a/b", limits), undefined);
  assertFault(explain("a//b", limits), "4.7.1.1", 0x90);
});

Deno.test("validateTopicFilter accepts wildcards that fill a level and # at the end", () => {
  const legal = [
    "#",
    "+",
    "/",
    "/+",
    "+/",
    "/#",
    "a/#",
    "a/+",
    "+/b",
    "+/+/#",
    "$SYS/#",
    "a//+",
    "sport/tennis/player1",
  ];
  for (const filter of legal) assert.equal(validateTopicFilter(filter, LIMITS), undefined, filter);
});

Deno.test("validateTopicFilter refuses # inside a level or before the last one [MQTT-4.7.1-1]", () => {
  for (const filter of ["a#", "a/#/b", "#/", "##", "a/b#", "#a", "+/#/+"]) {
    assertFault(validateTopicFilter(filter, LIMITS), "MQTT-4.7.1-1", 0x8f);
  }
});

Deno.test("validateTopicFilter refuses + that shares its level [MQTT-4.7.1-2]", () => {
  for (const filter of ["a+", "+a", "a/+b", "++", "a/b+/c", "+#"]) {
    assertFault(validateTopicFilter(filter, LIMITS), "MQTT-4.7.1-2", 0x8f);
  }
});

Deno.test("validateTopicFilter refuses the empty filter [MQTT-4.7.3-1]", () => {
  assertFault(validateTopicFilter("", LIMITS), "MQTT-4.7.3-1", 0x8f);
});

Deno.test("validateTopicFilter holds filters to the limits, inside a shared one too", () => {
  const limits = { maxTopicLength: 4, maxTopicLevels: 2 };
  assert.equal(validateTopicFilter("éé", limits), undefined);
  assertFault(validateTopicFilter("ééa", limits), "4.7.3", 0x8f);
  assert.equal(validateTopicFilter("+/#", limits), undefined);
  assertFault(validateTopicFilter("+/+/", limits), "4.7.1.1", 0x8f);
  assert.equal(validateTopicFilter("$share/workers/+/#", limits), undefined);
  assertFault(validateTopicFilter("$share/workers/+/+/", limits), "4.7.1.1", 0x8f);
});

Deno.test("validateTopicFilter checks the filter inside a shared one [MQTT-4.8.2-2]", () => {
  assertFault(validateTopicFilter("$share/g/a#", LIMITS), "MQTT-4.7.1-1", 0x8f);
  assertFault(validateTopicFilter("$share/g", LIMITS), "MQTT-4.8.2-2", 0x8f);
});

Deno.test("parseSharedFilter takes group and filter apart, slashes in the filter included", () => {
  assert.deepEqual(parseSharedFilter("$share/consumer1/sport/tennis/+"), {
    group: "consumer1",
    filter: "sport/tennis/+",
  });
  assert.deepEqual(parseSharedFilter("$share/g//finance"), { group: "g", filter: "/finance" });
  assert.deepEqual(parseSharedFilter("$share/g/#"), { group: "g", filter: "#" });
});

Deno.test("parseSharedFilter refuses an empty ShareName [MQTT-4.8.2-1]", () => {
  assertFault(parseSharedFilter("$share//a") as Fault, "MQTT-4.8.2-1", 0x8f);
});

Deno.test("parseSharedFilter refuses wildcards in the ShareName and a missing filter [MQTT-4.8.2-2]", () => {
  for (const filter of ["$share/+/a", "$share/g#/a", "$share/g+h/a", "$share/g", "$share/g/", "$share/"]) {
    assertFault(parseSharedFilter(filter) as Fault, "MQTT-4.8.2-2", 0x8f);
  }
});

Deno.test("isSharedFilter and hasWildcard tell the kinds of filters apart", () => {
  assert.deepEqual(["$share/g/a", "$share/", "$share", "$shared/g/a", "share/g/a"].map(isSharedFilter), [
    true,
    true,
    false,
    false,
    false,
  ]);
  assert.deepEqual(["a/b", "a/+", "#", "$SYS/x"].map(hasWildcard), [false, true, true, false]);
});

Deno.test("matchesFilter follows the examples of the specification [MQTT 5.0, 4.7]", () => {
  const player = "sport/tennis/player1";
  const rows: [filter: string, name: string, isMatch: boolean][] = [
    [`${player}/#`, player, true],
    [`${player}/#`, `${player}/ranking`, true],
    [`${player}/#`, `${player}/score/wimbledon`, true],
    ["sport/#", "sport", true],
    ["sport/#", "sports", false],
    ["sport/tennis/+", player, true],
    ["sport/tennis/+", `${player}/ranking`, false],
    ["sport/+", "sport", false],
    ["sport/+", "sport/", true],
    ["+/+", "/finance", true],
    ["/+", "/finance", true],
    ["+", "/finance", false],
    ["ACCOUNTS", "Accounts", false],
    ["/finance", "finance", false],
    ["Accounts payable", "Accounts payable", true],
  ];
  for (const [filter, name, isMatch] of rows) assert.equal(matchesFilter(filter, name), isMatch, `${filter} ${name}`);
});

Deno.test("matchesFilter keeps first-level wildcards away from `$` names [MQTT-4.7.2-1]", () => {
  assert.equal(matchesFilter("#", "$SYS/uptime"), false);
  assert.equal(matchesFilter("+/uptime", "$SYS/uptime"), false);
  assert.equal(matchesFilter("$SYS/#", "$SYS/uptime"), true);
  assert.equal(matchesFilter("$SYS/+", "$SYS/uptime"), true);
  assert.equal(matchesFilter("a/+", "a/$x"), true);
});

Deno.test("matchesFilter normalizes nothing: composed and decomposed names differ [MQTT-4.7.3-4]", () => {
  assert.equal(matchesFilter("caf\u00e9", "cafe\u0301"), false);
  assert.equal(matchesFilter("a//b", "a/b"), false);
});

Deno.test("matchesFilter agrees with matching level by level", () => {
  fc.assert(
    fc.property(topicFilter, topicName, (filter, name) => {
      assert.equal(matchesFilter(filter, name), matchesNaively(filter, name));
    }),
    { numRuns: 2000 },
  );
});
