/**
 * Which passwords are tokens.
 */
import assert from "node:assert/strict";
import { readToken, TOKEN_BYTES_MAX } from "../../../src/auth/token/jwt_token.ts";
import { tokenPart } from "./jwt_rig.ts";

const HEADER = { alg: "RS256", kid: "a", typ: "JWT" };

function read(text: string) {
  return readToken(new TextEncoder().encode(text));
}

Deno.test("readToken reads algorithm and kid of a token", () => {
  const text = `${tokenPart(HEADER)}.${tokenPart({ sub: "a" })}.c2ln`;
  assert.deepEqual(read(text), { text, algorithm: "RS256", kid: "a" });
  const nameless = `${tokenPart({ alg: "none" })}..`;
  assert.deepEqual(read(nameless), { text: nameless, algorithm: "none", kid: undefined });
  const spaced = `${tokenPart('\n{ "alg": "ES256" }')}.e30.c2ln`;
  assert.deepEqual(read(spaced), { text: spaced, algorithm: "ES256", kid: undefined });
});

Deno.test("readToken passes on what is no token", () => {
  const header = tokenPart(HEADER);
  const others = [
    ...["", ".", "..", "a", "a.b", "a.b.c", "correct.horse.battery", `${header}`, `${header}.e30`, `${header}.e30.x.y`],
    ...[`${header}.e30.x.y.z.z`, `.${header}.e30`, `${header}.e30.a b`, `${header}.e30.a=`, `${header}.e3+0.a`],
    ...[`${header}.e30.c2ln\n`, ` ${header}.e30.c2ln`, `Bearer ${header}.e30.c2ln`, `${header}.e30.ä`],
    ...[`${tokenPart([HEADER])}.e30.a`, `${tokenPart("null")}.e30.a`, `${tokenPart('{"alg":')}.e30.a`],
  ];
  for (const text of others) assert.equal(read(text), undefined, text);
  assert.equal(readToken(new Uint8Array([0xff, 0x2e, 0x2e])), undefined);
});

Deno.test("readToken refuses encrypted tokens, missing algorithms and what changes the meaning of the parts", () => {
  const of = (header: unknown) => read(`${tokenPart(header)}.e30.c2ln`);
  assert.equal(read(`${tokenPart({ alg: "dir", enc: "A256GCM" })}..aXY.Y2lwaGVy.dGFn`), "token_algorithm");
  assert.equal(of({}), "token_algorithm");
  assert.equal(of({ alg: null }), "token_algorithm");
  assert.equal(of({ alg: ["RS256"] }), "token_algorithm");
  assert.equal(of({ ...HEADER, kid: 7 }), "token_malformed");
  assert.equal(of({ ...HEADER, kid: null }), "token_malformed");
  assert.equal(of({ ...HEADER, b64: true }), "token_malformed");
  assert.equal(of({ ...HEADER, b64: false, crit: ["b64"] }), "token_malformed");
  assert.equal(of({ ...HEADER, crit: ["exp"], exp: 1 }), "token_malformed");
  assert.equal(of({ ...HEADER, zip: "DEF" }), "token_malformed");
  assert.equal(of({ ...HEADER, enc: "A256GCM" }), "token_malformed");
});

Deno.test("readToken bounds the length of tokens, not of other passwords", () => {
  const start = `${tokenPart(HEADER)}.e30.`;
  const whole = start + "a".repeat(TOKEN_BYTES_MAX - start.length);
  assert.deepEqual(read(whole), { text: whole, algorithm: "RS256", kid: "a" });
  assert.equal(read(`${whole}a`), "token_too_long");
  assert.equal(read("a.b." + "c".repeat(60_000)), undefined);
});
