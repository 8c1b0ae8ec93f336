/**
 * Names of clients in Distinguished Names and search filters: nothing a client calls itself becomes syntax.
 *
 * What goes out is read by another implementation, ldapts, which is used here for nothing else.
 */
import fc from "fast-check";
import { BerReader, BerWriter, DN, FilterParser } from "ldapts";
import assert from "node:assert/strict";
import {
  escapeDnValue,
  fillDn,
  type FilterTemplate,
  nameAttributeOfDn,
  parseFilter,
} from "../../../src/auth/ldap/ldap_filter.ts";

/** Usernames that try to be more than a value, and how they stand in a Distinguished Name. */
const HOSTILE: readonly (readonly [username: string, inDn: string])[] = [
  ["alice", "alice"],
  ["*", "*"],
  ["a*", "a*"],
  ["(", "("],
  [")", ")"],
  ["*)(uid=*", "*)(uid\\=*"],
  ["x)(|(uid=*))", "x)(|(uid\\=*))"],
  ["*)(objectClass=*))(&(uid=*", "*)(objectClass\\=*))(&(uid\\=*"],
  ["\\", "\\\\"],
  ["\\2a", "\\\\2a"],
  ["a\0b", "a\\00b"],
  ["a,ou=admins", "a\\,ou\\=admins"],
  ["a+cn=root", "a\\+cn\\=root"],
  ["=", "\\="],
  [" a", "\\20a"],
  ["a ", "a\\20"],
  ["  ", "\\20\\20"],
  [" ", "\\20"],
  ["a b", "a b"],
  ["#04026869", "\\#04026869"],
  ["a#b", "a#b"],
  ['"a"', '\\"a\\"'],
  ["<a>;b", "\\<a\\>\\;b"],
  ["a\nb\tc\x7f", "a\\0ab\\09c\\7f"],
  ["\u0085", "\\c2\\85"],
  ["zürich", "zürich"],
  ["名前😀", "名前😀"],
  ["\u202e", "\u202e"],
  ["{username}", "{username}"],
  ["{dn}", "{dn}"],
  ["$&", "$&"],
];

function template(source: string): FilterTemplate {
  const parsed = parseFilter(source);
  assert(typeof parsed !== "string", `${source}: ${String(parsed)}`);
  return parsed;
}

/** Reads encoded bytes as the other implementation understands them. */
function decoded(bytes: Uint8Array): unknown {
  return JSON.parse(JSON.stringify(FilterParser.parse(new BerReader(Buffer.from(bytes)))));
}

/** What the other implementation makes of a written filter. */
function reference(source: string): string {
  const writer = new BerWriter();
  FilterParser.parseString(source).write(writer);
  return writer.buffer.toString("hex");
}

for (const [username, inDn] of HOSTILE) {
  Deno.test(`a filter takes the username ${JSON.stringify(username)} for one value`, () => {
    const bytes = template("(&(objectclass=person)(uid={username}))").encode({ username });
    const person = { type: 0xa3, attribute: "objectclass", value: "person" };
    assert.deepEqual(decoded(bytes), {
      type: 0xa0,
      filters: [person, { type: 0xa3, attribute: "uid", value: username }],
    });
  });

  Deno.test(`a Distinguished Name takes the username ${JSON.stringify(username)} for one value`, () => {
    assert.equal(escapeDnValue(username), inDn);
    assert.equal(fillDn("uid={username},ou=people", username), `uid=${inDn},ou=people`);
  });
}

Deno.test("a Distinguished Name with any username has the levels of its template", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", minLength: 1 }), (username) => {
    const levels = splitDn(fillDn("uid={username},ou=people,dc=example", username));
    assert.equal(levels.length, 3);
    assert.deepEqual(levels.slice(1), ["ou=people", "dc=example"]);
    assert.equal(unescapeDn(levels[0]!.slice("uid=".length)), username);
  }));
});

Deno.test("a filter with any username and any entry has the structure of its template", () => {
  const group = template("(|(member={dn})(memberuid={username}))");
  fc.assert(fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (username, dn) => {
    assert.deepEqual(decoded(group.encode({ username, dn })), {
      type: 0xa1,
      filters: [{ type: 0xa3, attribute: "member", value: dn }, {
        type: 0xa3,
        attribute: "memberuid",
        value: username,
      }],
    });
  }));
});

Deno.test("a username within a substring and an extensible match stays a value", () => {
  const username = "*)(a=*";
  assert.deepEqual(decoded(template("(mail={username}@*)").encode({ username })), {
    type: 0xa4,
    attribute: "mail",
    initial: "*)(a=*@",
    any: [],
    final: "",
  });
  const extensible = decoded(template("(memberOf:1.2.840.113556.1.4.1941:={username})").encode({ username }));
  assert.equal((extensible as { value: string }).value, username);
});

for (
  const source of [
    "uid=x",
    "(uid=x)",
    "(&(a=1)(b=2))",
    "(|(a=1)(!(b=2*3))(c=*)(d>=5)(e<=6)(f~=g))",
    "(memberOf:1.2.840.113556.1.4.1941:=x)",
    "(cn:dn:=y)",
    "(cn:=z)",
    "(:dn:2.4.6:=z)",
    "(a=\\28\\29\\2a\\5c\\00)",
    "(y=*a*b*)",
    "(y=)",
    "(cn=zürich)",
  ]
) {
  Deno.test(`the filter ${source} is encoded as another implementation does`, () => {
    assert.equal(Buffer.from(template(source).encode({})).toString("hex"), reference(source));
  });
}

Deno.test("two asterisks beside each other in a filter are one", () => {
  assert.deepEqual(template("(y=a**b)").encode({}), template("(y=a*b)").encode({}));
});

Deno.test("an escaped sequence of UTF-8 in a filter is the character", () => {
  assert.deepEqual(template("(cn=z\\c3\\bcrich)").encode({}), template("(cn=zürich)").encode({}));
});

for (
  const [source, problem] of [
    ["", "expected a comparison such as uid=name at character 2"],
    ["()", "expected a comparison such as uid=name at character 2"],
    ["(a)", "expected a comparison such as uid=name at character 2"],
    ["(a=1", "expected ) at character 5"],
    ["(a=1))", "unexpected text at character 6"],
    ["(a=1)(b=2)", "unexpected text at character 6"],
    ["(a=(b)", "expected ) at character 4"],
    ["(&)", "expected ( at character 3"],
    ["(!a=1)", "expected ( at character 3"],
    ["({username}=x)", "expected a comparison such as uid=name at character 2"],
    ["(=x)", "expected := at character 2"],
    ["(:=x)", "expected an attribute or a matching rule at character 2"],
    ["(a>=*)", "a value is not escaped correctly at character 2"],
    ["(a=\\2)", "a value is not escaped correctly at character 2"],
    ["(a=\\ff)", "a value is not escaped correctly at character 2"],
    [`${"(!".repeat(40)}(a=1)${")".repeat(40)}`, "too many brackets in each other at character 67"],
  ] as const
) {
  Deno.test(`the text ${source.slice(0, 20)} is no filter`, () => assert.equal(parseFilter(source), problem));
}

Deno.test("a filter knows the attributes that its username must equal, outside of negations", () => {
  assert.deepEqual(template("(|(uid={username})(Mail={username})(cn=x{username})(!(sn={username})))").nameAttributes, [
    "uid",
    "mail",
  ]);
});

Deno.test("a template of a Distinguished Name knows the attribute of the username", () => {
  assert.equal(nameAttributeOfDn("UID={username},ou=people"), "uid");
  assert.equal(nameAttributeOfDn("o=a+cn = {username} ,dc=x"), "cn");
  assert.equal(nameAttributeOfDn("{username}@example.org"), undefined);
  assert.equal(nameAttributeOfDn("uid=x-{username},ou=people"), undefined);
});

Deno.test("a Distinguished Name that another implementation writes is what a template makes of a plain name", () => {
  const dn = new DN().addPairRDN("uid", "alice").addPairRDN("ou", "people");
  assert.equal(fillDn("uid={username},ou=people", "alice"), dn.toString());
});

/** Splits at commas that no backslash stands before. [RFC 4514, 3] */
function splitDn(dn: string): string[] {
  return (dn.match(/(?:\\[^]|[^\\,])+/g) ?? []) as string[];
}

function unescapeDn(value: string): string {
  const bytes: number[] = [];
  for (let at = 0; at < value.length;) {
    const pair = /^\\([0-9a-f]{2})/.exec(value.slice(at, at + 3));
    if (pair !== null) {
      bytes.push(parseInt(pair[1]!, 16));
      at += 3;
      continue;
    }
    if (value[at] === "\\") at++;
    const character = String.fromCodePoint(value.codePointAt(at)!);
    bytes.push(...new TextEncoder().encode(character));
    at += character.length;
  }
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));
}
