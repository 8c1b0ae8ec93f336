/**
 * What SCRAM makes of a password before hashing it, so that the same password typed on two systems is the same bytes:
 * SASLprep. [RFC 4013]
 *
 * As there: non-ASCII spaces become a space; what is commonly mapped to nothing (soft hyphen, joiners, variation
 * selectors) goes; the rest is normalized with NFKC; control characters, private use, non-characters, surrogates and
 * the other tables of prohibited output (RFC 3454, C.2 to C.9) are refused.
 *
 * Otherwise than there: NFKC is that of the Unicode version of the runtime and not of Unicode 3.2; unassigned code
 * points pass, as they do for a query; and the rule about mixing directions of writing is not applied. So no password
 * that RFC 4013 accepts is refused, and some that it refuses are accepted.
 */

/** @returns The prepared text, or undefined when it has something that is prohibited, or is empty then. */
export function saslPrep(text: string): string | undefined {
  const prepared = text.replace(NON_ASCII_SPACE, " ").replace(MAPPED_TO_NOTHING, "").normalize("NFKC");
  return prepared === "" || PROHIBITED.test(prepared) ? undefined : prepared;
}

/** RFC 3454, C.1.2. U+200B is in B.1 too; as a space it makes no two words one. */
const NON_ASCII_SPACE = /[\u{A0}\u{1680}\u{2000}-\u{200B}\u{202F}\u{205F}\u{3000}]/gu;

/** RFC 3454, B.1. */
const MAPPED_TO_NOTHING = /[\u{AD}\u{34F}\u{1806}\u{180B}-\u{180D}\u{200C}\u{200D}\u{2060}\u{FE00}-\u{FE0F}\u{FEFF}]/gu;

/** RFC 3454, C.1.2, C.2.1, C.2.2 and C.4 to C.9, each class on a line; `\p{Cs}` is a surrogate without its partner. */
const PROHIBITED = new RegExp(
  [
    "[\\u{A0}\\u{1680}\\u{2000}-\\u{200B}\\u{202F}\\u{205F}\\u{3000}]",
    "[\\u{0}-\\u{1F}\\u{7F}-\\u{9F}\\u{6DD}\\u{70F}\\u{180E}\\u{200C}\\u{200D}\\u{2028}\\u{2029}]",
    "[\\u{2060}-\\u{2063}\\u{206A}-\\u{206F}\\u{FEFF}\\u{FFF9}-\\u{FFFC}\\u{1D173}-\\u{1D17A}]",
    "\\p{Co}",
    "\\p{Noncharacter_Code_Point}",
    "\\p{Cs}",
    "[\\u{FFFD}]",
    "[\\u{2FF0}-\\u{2FFB}]",
    "[\\u{340}\\u{341}\\u{200E}\\u{200F}\\u{202A}-\\u{202E}]",
    "[\\u{E0001}\\u{E0020}-\\u{E007F}]",
  ].join("|"),
  "u",
);
