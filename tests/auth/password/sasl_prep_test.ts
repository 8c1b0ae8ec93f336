/**
 * SASLprep: the examples of RFC 4013, section 3, and one of each class of characters.
 */
import assert from "node:assert/strict";
import { saslPrep } from "../../../src/auth/password/sasl_prep.ts";

const EXAMPLES: readonly (readonly [given: string, prepared: string | undefined, what: string])[] = [
  ["I\u00ADX", "IX", "soft hyphen"],
  ["user", "user", "nothing to do"],
  ["USER", "USER", "case is kept"],
  ["\u00AA", "a", "NFKC"],
  ["\u2168", "IX", "NFKC of one character to two"],
  ["a\u00A0b\u3000c\u200Bd", "a b c d", "non-ASCII spaces"],
  ["a\uFEFFb\uFE0Fc\u200Dd", "abcd", "mapped to nothing"],
  ["e\u0301", "\u00E9", "composed"],
  ["\u0007", undefined, "ASCII control character"],
  ["a\u0085b", undefined, "control character"],
  ["a\u2028b", undefined, "line separator"],
  ["\uE000", undefined, "private use"],
  ["\u{10FFFF}", undefined, "non-character"],
  ["\uD800", undefined, "surrogate"],
  ["\uFFFD", undefined, "replacement character"],
  ["\u2FF0", undefined, "ideographic description"],
  ["a\u202Eb", undefined, "changes the direction"],
  ["\u{E0041}", undefined, "tag"],
  ["", undefined, "empty"],
  ["\u00AD", undefined, "empty when prepared"],
  // RFC 4013 refuses this one for its directions of writing; see the head of sasl_prep.ts.
  ["\u0627\u0031", "\u0627\u0031", "directions mixed"],
];

Deno.test("saslPrep maps, normalizes and prohibits as RFC 4013 does, except for directions of writing", () => {
  for (const [given, prepared, what] of EXAMPLES) assert.equal(saslPrep(given), prepared, what);
});
