/** How lists of words and of addresses are read and written. */

import * as Result from "effect/Result";
import * as Schema from "effect/Schema";
import assert from "node:assert/strict";
import { addressList, wordList } from "../../../src/config/kinds/list_types.ts";

const WORDS = wordList("HS256", "RS256", "EdDSA");

function words(text: string): readonly string[] | undefined {
  const result = Schema.decodeResult(WORDS.codec)(text);
  return Result.isSuccess(result) ? result.success : undefined;
}

Deno.test("wordList keeps the order, knows its words in any case, and refuses others", () => {
  assert.deepEqual(words(""), []);
  assert.deepEqual(words("rs256"), ["RS256"]);
  assert.deepEqual(words("eddsa , HS256,HS256"), ["EdDSA", "HS256", "HS256"]);
  for (const text of ["none", "HS256;RS256", "HS256,,RS256", ",", "HS256,", "HS256 RS256"]) {
    assert.equal(words(text), undefined, text);
  }
  assert.equal(words(new Array(65).fill("HS256").join()), undefined);
  assert.equal(Schema.encodeSync(WORDS.codec)(["EdDSA", "HS256"]), "EdDSA,HS256");
});

Deno.test("addressList decodes to a list that can be asked, and encodes to its canonical text", () => {
  const { codec } = addressList();
  const list = Schema.decodeSync(codec)(" 127.1.2.3/8, ::1 ");
  assert.equal(list.includes("127.0.0.1"), true);
  assert.equal(list.includes("128.0.0.1"), false);
  assert.equal(Schema.encodeSync(codec)(list), "127.0.0.0/8,::1");
  assert.deepEqual(Schema.decodeSync(codec)("").networks, []);
  assert.equal(Result.isFailure(Schema.decodeResult(codec)("example.org")), true);
});
