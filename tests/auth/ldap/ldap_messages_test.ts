/**
 * Messages of LDAP as bytes. Requests are read by another implementation, ldapts; answers are written by hand, cut off,
 * and changed at random, which must end in an answer or in `MalformedLdap` and never in anything else.
 */
import fc from "fast-check";
import { BerReader as OtherReader, BindRequest, FilterParser, SearchRequest } from "ldapts";
import assert from "node:assert/strict";
import {
  BerReader,
  element,
  elementLength,
  MalformedLdap,
  numberElement,
  Tag,
} from "../../../src/auth/ldap/ldap_ber.ts";
import { parseFilter } from "../../../src/auth/ldap/ldap_filter.ts";
import {
  type Answer,
  bindRequest,
  readAnswer,
  type Search,
  searchRequest,
  startTlsRequest,
  unbindRequest,
} from "../../../src/auth/ldap/ldap_messages.ts";

const hex = (bytes: Uint8Array) => bytes.toHex();
const fromHex = (text: string) => Uint8Array.fromHex(text.replaceAll(" ", ""));

/** A whole entry: two attributes, one value of them no UTF-8. */
const ENTRY = fromHex(
  "30 25 02 01 02 64 20 04 04 75 3d 61 6c 30 18 30 0a 04 03 55 49 44 31 03 04 01 61 30 0a 04 02 63 6e 31 04 04 00 04 00",
);
const BIND_OK = fromHex("30 0c 02 01 01 61 07 0a 01 00 04 00 04 00");

Deno.test("a number is encoded in as few bytes as its sign allows, and read back", () => {
  assert.equal(hex(numberElement(Tag.INTEGER, 0)), "020100");
  assert.equal(hex(numberElement(Tag.INTEGER, 127)), "02017f");
  assert.equal(hex(numberElement(Tag.INTEGER, 128)), "02020080");
  assert.equal(hex(numberElement(Tag.INTEGER, 256)), "02020100");
  fc.assert(fc.property(fc.nat({ max: 2 ** 31 - 1 }), (value) => {
    assert.equal(new BerReader(numberElement(Tag.INTEGER, value)).number(Tag.INTEGER), value);
  }));
});

Deno.test("an element of any length is read back", () => {
  for (const length of [0, 1, 127, 128, 255, 256, 65_535, 65_536]) {
    const bytes = element(Tag.OCTET_STRING, new Uint8Array(length));
    assert.equal(elementLength(bytes), bytes.length);
    assert.equal(new BerReader(bytes).content(Tag.OCTET_STRING).length, length);
  }
});

Deno.test("a bind request is read by another implementation", () => {
  const reader = new OtherReader(Buffer.from(bindRequest(7, "uid=é", new TextEncoder().encode("pässword"))));
  reader.readSequence();
  assert.equal(reader.readInt(), 7);
  assert.equal(reader.readSequence(), 0x60);
  const request = new BindRequest({ messageId: 7 });
  request.parse(reader, []);
  assert.deepEqual([request.dn, request.password], ["uid=é", "pässword"]);
});

Deno.test("a search request is the one that another implementation writes", () => {
  const source = "(&(uid=a)(cn=b))";
  const filter = parseFilter(source);
  assert(typeof filter !== "string");
  const attributes = ["uid", "mail"];
  for (const [scope, theirs] of [["subtree", "sub"], ["base", "base"]] as const) {
    const limits = { entriesMax: 1, timeLimitSeconds: 200 };
    const search: Search = { base: "dc=x", scope, filter: filter.encode({}), attributes, ...limits };
    const other = new SearchRequest({
      messageId: 3,
      baseDN: "dc=x",
      scope: theirs,
      filter: FilterParser.parseString(source),
      attributes,
      sizeLimit: 1,
      timeLimit: 200,
    });
    assert.equal(hex(searchRequest(3, search)), hex(other.write()));
  }
});

Deno.test("StartTLS and unbind are the bytes of the standard", () => {
  assert.equal(hex(startTlsRequest(1)), "301d02010177188016312e332e362e312e342e312e313436362e3230303337");
  assert.equal(hex(unbindRequest(5)), "30050201054200");
});

Deno.test("an answer is read: bind, entry, reference", () => {
  assert.deepEqual(readAnswer(BIND_OK), { kind: "result", messageId: 1, tag: 0x61, code: 0 });
  const attributes = new Map([["uid", ["a"]], ["cn", ["", ""]]]);
  assert.deepEqual(readAnswer(ENTRY), { kind: "entry", messageId: 2, entry: { dn: "u=al", attributes } });
  assert.deepEqual(readAnswer(fromHex("30 06 02 01 02 73 01 04")), { kind: "reference", messageId: 2 });
});

for (
  const [title, text] of [
    ["is no sequence", "31 0c 02 01 01 61 07 0a 01 00 04 00 04 00"],
    ["has a result of no bytes", "30 0b 02 01 01 61 06 0a 00 04 00 04 00"],
    ["has no result", "30 05 02 01 01 61 00"],
    ["has a negative number", "30 0c 02 01 ff 61 07 0a 01 00 04 00 04 00"],
    ["has an element longer than itself", "30 0c 02 01 01 61 7f 0a 01 00 04 00 04 00"],
    ["has an indefinite length", "30 80 02 01 01 61 07 0a 01 00 04 00 04 00 00 00"],
    ["has a length of five bytes", "30 85 00 00 00 00 0c 02 01 01"],
    ["is a request", "30 0c 02 01 01 60 07 02 01 03 04 00 80 00"],
    ["has a value that is cut off", "30 14 02 01 02 64 0f 04 01 75 30 0a 30 08 04 01 61 31 03 04 7f 61"],
    ["has an attribute that is a value", "30 0c 02 01 02 64 07 04 01 75 30 02 04 84"],
  ] as const
) {
  Deno.test(`an answer that ${title} is malformed`, () => {
    assert.throws(() => readAnswer(fromHex(text)), MalformedLdap);
  });
}

Deno.test("an answer that is cut off at any byte is malformed or not whole yet", () => {
  for (const whole of [BIND_OK, ENTRY]) {
    for (let length = 0; length < whole.length; length++) {
      const part = whole.subarray(0, length);
      assert.notEqual(elementLength(part), length);
      assert.throws(() => readAnswer(part), MalformedLdap);
    }
  }
});

Deno.test("an answer with changed bytes is read or malformed, and nothing else", () => {
  const change = fc.tuple(fc.nat(), fc.nat({ max: 255 }));
  fc.assert(
    fc.property(fc.constantFrom(BIND_OK, ENTRY), fc.array(change, { minLength: 1, maxLength: 4 }), (whole, changes) => {
      const bytes = whole.slice();
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      let answer: Answer | undefined;
      try {
        answer = readAnswer(bytes);
      } catch (error) {
        assert(error instanceof MalformedLdap);
      }
      assert(answer === undefined || ["result", "entry", "reference"].includes(answer.kind));
    }),
    { numRuns: 5000 },
  );
});
