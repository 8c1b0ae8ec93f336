import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeUtf8, isValidUtf8String, isWellFormedUtf8 } from "../../src/protocol/utf8.ts";

const ENCODER = new TextEncoder();

/** Ill-formed sequences by what is wrong with them. */
const ILL_FORMED: readonly [what: string, ...bytes: number[]][] = [
  ["a lone continuation byte", 0x80],
  ["a lead byte at the end", 0xc3],
  ["a lead byte before ASCII", 0xc3, 0x28],
  ["two of three bytes", 0xe2, 0x82],
  ["three of four bytes", 0xf0, 0x9f, 0x98],
  ["an overlong slash in two bytes", 0xc0, 0xaf],
  ["an overlong U+0000 in two bytes", 0xc0, 0x80],
  ["an overlong slash in three bytes", 0xe0, 0x80, 0xaf],
  ["an overlong slash in four bytes", 0xf0, 0x80, 0x80, 0xaf],
  ["the first surrogate U+D800", 0xed, 0xa0, 0x80],
  ["the last surrogate U+DFFF", 0xed, 0xbf, 0xbf],
  ["a surrogate pair for U+1F600", 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80],
  ["U+110000", 0xf4, 0x90, 0x80, 0x80],
  ["a lead byte of five-byte forms", 0xf8, 0x88, 0x80, 0x80, 0x80],
  ["0xFE", 0xfe],
  ["0xFF", 0xff],
];

for (const [what, ...sequence] of ILL_FORMED) {
  Deno.test(`isValidUtf8String refuses ${what} at every place of a string [MQTT-1.5.4-1]`, () => {
    for (const before of ["", "a", "ä", "topic/level/that/is/longer/than/one/word"]) {
      for (const after of ["", "z", "😀"]) {
        const bytes = Uint8Array.of(...ENCODER.encode(before), ...sequence, ...ENCODER.encode(after));
        assert.equal(isValidUtf8String(bytes, 0, bytes.length), false, `after "${before}", before "${after}"`);
        assert.equal(isWellFormedUtf8(bytes, 0, bytes.length), false);
      }
    }
  });
}

Deno.test("isValidUtf8String refuses U+0000 among ASCII and after other characters [MQTT-1.5.4-2]", () => {
  for (const text of ["\0", "a\0", "\0a", "ä\0", "\0ä", "😀 and \0"]) {
    const bytes = ENCODER.encode(text);
    assert.equal(isValidUtf8String(bytes, 0, bytes.length), false, JSON.stringify(text));
    assert.equal(isWellFormedUtf8(bytes, 0, bytes.length), true, "a payload may contain U+0000");
  }
});

Deno.test("isValidUtf8String accepts control characters, non-characters and the ends of every length [MQTT-1.5.4-1]", () => {
  const edges = [0x01, 0x1f, 0x7f, 0x80, 0x9f, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xfdd0, 0xfffe, 0xffff, 0x10000, 0x10ffff];
  for (const edge of edges) {
    const text = String.fromCodePoint(edge);
    const bytes = ENCODER.encode(text);
    assert.equal(isValidUtf8String(bytes, 0, bytes.length), true, edge.toString(16));
    assert.equal(decodeUtf8(bytes, 0, bytes.length), text);
  }
});

Deno.test("isValidUtf8String agrees with a strict decoder on any bytes [MQTT-1.5.4-1] [MQTT-1.5.4-2]", () => {
  // Bytes drawn around the borders of the lead and continuation ranges make near misses likely.
  const border = fc.constantFrom(
    0x00,
    0x41,
    0x7f,
    0x80,
    0x8f,
    0x90,
    0x9f,
    0xa0,
    0xbf,
    0xc1,
    0xc2,
    0xe0,
    0xed,
    0xf0,
    0xf4,
    0xf5,
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(border, fc.nat(255)), { maxLength: 8 }), (list) => {
      const bytes = Uint8Array.from(list);
      const isWellFormed = decodesStrictly(bytes);
      assert.equal(isWellFormedUtf8(bytes, 0, bytes.length), isWellFormed);
      assert.equal(isValidUtf8String(bytes, 0, bytes.length), isWellFormed && !list.includes(0));
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("isValidUtf8String looks at nothing outside its range", () => {
  const bytes = Uint8Array.of(0xff, 0x00, 0x61, 0xc3, 0xa4, 0x00, 0xff);
  assert.equal(isValidUtf8String(bytes, 2, 5), true);
  assert.equal(isValidUtf8String(bytes, 2, 4), false);
  assert.equal(isValidUtf8String(bytes, 3, 3), true);
  assert.equal(decodeUtf8(bytes, 2, 5), "aä");
  assert.equal(decodeUtf8(bytes, 3, 3), "");
});

Deno.test("decodeUtf8 keeps U+FEFF wherever it stands [MQTT-1.5.4-3]", () => {
  for (const text of ["\ufeff", "\ufeffa", "a\ufeff", "\ufeff\ufeff"]) {
    const bytes = ENCODER.encode(text);
    assert.equal(isValidUtf8String(bytes, 0, bytes.length), true);
    assert.equal(decodeUtf8(bytes, 0, bytes.length), text);
  }
});

Deno.test("decodeUtf8 returns what was encoded", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 200 }), fc.nat(5), (text, offset) => {
    const bytes = new Uint8Array([...new Uint8Array(offset), ...ENCODER.encode(text)]);
    assert.equal(decodeUtf8(bytes, offset, bytes.length), text);
  }));
});

function decodesStrictly(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch (error) {
    assert(error instanceof TypeError);
    return false;
  }
}
