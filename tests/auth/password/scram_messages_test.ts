/**
 * The texts of SCRAM: the example of RFC 7677, section 3, and everything that is not to be accepted.
 */
import assert from "node:assert/strict";
import {
  CLIENT_NONCE_CHARS_MAX,
  formatServerFinal,
  formatServerFirst,
  isNonce,
  parseClientFinal,
  parseClientFirst,
  SCRAM_MESSAGE_BYTES_MAX,
  ScramProblem,
} from "../../../src/auth/password/scram_messages.ts";

const encoder = new TextEncoder();

Deno.test("client-first is taken apart", () => {
  assert.deepEqual(parseClientFirst(encoder.encode("n,,n=user,r=rOprNGfwEbeRWgbNEkqO")), {
    username: "user",
    nonce: "rOprNGfwEbeRWgbNEkqO",
    gs2Header: "n,,",
    bare: "n=user,r=rOprNGfwEbeRWgbNEkqO",
  });
});

const GOOD_FIRST: readonly (readonly [text: string, username: string, gs2Header: string])[] = [
  ["y,,n=user,r=x", "user", "y,,"],
  ["n,a=user,n=user,r=x", "user", "n,a=user,"],
  ["n,a=a=2Cb,n=a=2Cb,r=x", "a,b", "n,a=a=2Cb,"],
  ["n,,n=a=2Cb=3Dc,r=x", "a,b=c", "n,,"],
  ["n,,n=\u00FCser,r=!+-~", "\u00FCser", "n,,"],
  ["n,,n=user,r=x,f=ignored,g=also=this", "user", "n,,"],
  [`n,,n=user,r=${"x".repeat(CLIENT_NONCE_CHARS_MAX)}`, "user", "n,,"],
];

Deno.test("client-first may have escapes, the own name as authzid, and extensions that are ignored", () => {
  for (const [text, username, gs2Header] of GOOD_FIRST) {
    const parsed = parseClientFirst(encoder.encode(text));
    assert(!(parsed instanceof ScramProblem), text);
    assert.deepEqual([parsed.username, parsed.gs2Header, parsed.gs2Header + parsed.bare], [username, gs2Header, text]);
  }
});

const BAD_FIRST: readonly (readonly [text: string, reason: ScramProblem["reason"]])[] = [
  ["", "scram_malformed"],
  ["n", "scram_malformed"],
  ["n,,", "scram_malformed"],
  ["n,,n=user", "scram_malformed"],
  ["n,,r=x,n=user", "scram_malformed"],
  ["n,,n=,r=x", "scram_malformed"],
  ["n,,n=user,r=", "scram_malformed"],
  ["n,,n=user,r=a b", "scram_malformed"],
  ["n,,n=user,r=\u00FC", "scram_malformed"],
  [`n,,n=user,r=${"x".repeat(CLIENT_NONCE_CHARS_MAX + 1)}`, "scram_malformed"],
  ["n,,n=us=er,r=x", "scram_malformed"],
  ["n,,n=us=2cer,r=x", "scram_malformed"],
  ["n,,n=user=,r=x", "scram_malformed"],
  ["n,,n=us\u0001er,r=x", "scram_malformed"],
  ["n,,n=us\u0000er,r=x", "scram_malformed"],
  ["n,,n=user,r=x,", "scram_malformed"],
  ["n,,n=user,r=x,f=", "scram_malformed"],
  ["n,,n=user,r=x,m=f", "scram_malformed"],
  ["n,a=,n=user,r=x", "scram_malformed"],
  ["n,b=user,n=user,r=x", "scram_malformed"],
  ["N,,n=user,r=x", "scram_malformed"],
  ["x,,n=user,r=x", "scram_malformed"],
  ["\u{FEFF}n,,n=user,r=x", "scram_malformed"],
  ["n,,m=f,n=user,r=x", "scram_extension"],
  ["p=tls-unique,,n=user,r=x", "scram_channel_binding"],
  ["n,a=root,n=user,r=x", "scram_authzid"],
];

Deno.test("client-first that the grammar or the server does not allow is refused", () => {
  for (const [text, reason] of BAD_FIRST) {
    assert.deepEqual(parseClientFirst(encoder.encode(text)), new ScramProblem(reason), JSON.stringify(text));
  }
  const malformed = new ScramProblem("scram_malformed");
  assert.deepEqual(parseClientFirst(undefined), malformed);
  assert.deepEqual(
    parseClientFirst(Uint8Array.of(...encoder.encode("n,,n="), 0xff, ...encoder.encode(",r=x"))),
    malformed,
  );
  const long = `n,,n=user,r=x,f=${"x".repeat(SCRAM_MESSAGE_BYTES_MAX)}`;
  assert(!(parseClientFirst(encoder.encode(long.slice(0, SCRAM_MESSAGE_BYTES_MAX))) instanceof ScramProblem));
  assert.deepEqual(parseClientFirst(encoder.encode(long.slice(0, SCRAM_MESSAGE_BYTES_MAX + 1))), malformed);
});

const PROOF = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

Deno.test("client-final is taken apart, with and without extensions", () => {
  const parsed = parseClientFinal(encoder.encode(`c=biws,r=xy,p=${PROOF}`), "n,,", "xy");
  assert(!(parsed instanceof ScramProblem));
  assert.equal(parsed.withoutProof, "c=biws,r=xy");
  assert.equal(parsed.proof.length, 32);
  const extended = parseClientFinal(encoder.encode(`c=eSws,r=xy,f=x,p=${PROOF}`), "y,,", "xy");
  assert(!(extended instanceof ScramProblem));
  assert.equal(extended.withoutProof, "c=eSws,r=xy,f=x");
});

const BAD_FINAL: readonly (readonly [text: string, reason: ScramProblem["reason"]])[] = [
  ["", "scram_malformed"],
  [`c=biws,r=xy`, "scram_malformed"],
  [`r=xy,c=biws,p=${PROOF}`, "scram_malformed"],
  [`c=biws,p=${PROOF},r=xy`, "scram_malformed"],
  [`c=biws,r=xy,p=${PROOF},f=x`, "scram_malformed"],
  [`c=biws,r=xy,m=x,p=${PROOF}`, "scram_malformed"],
  [`c=biws,r=xy,p=`, "scram_malformed"],
  [`c=biws,r=xy,p=AAAA`, "scram_malformed"],
  [`c=biws,r=xy,p=${PROOF.slice(1)}`, "scram_malformed"],
  [`c=biws,r=xy,p=${PROOF}=`, "scram_malformed"],
  [`c=biws,r=x,p=${PROOF}`, "scram_nonce"],
  [`c=biws,r=xyz,p=${PROOF}`, "scram_nonce"],
  [`c=biws,r=,p=${PROOF}`, "scram_nonce"],
  [`c=eSws,r=xy,p=${PROOF}`, "scram_channel_binding"],
  [`c=,r=xy,p=${PROOF}`, "scram_channel_binding"],
];

Deno.test("client-final with another header, another nonce or a bad proof is refused", () => {
  for (const [text, reason] of BAD_FINAL) {
    assert.deepEqual(parseClientFinal(encoder.encode(text), "n,,", "xy"), new ScramProblem(reason), text);
  }
  assert.deepEqual(parseClientFinal(undefined, "n,,", "xy"), new ScramProblem("scram_malformed"));
});

Deno.test("messages of the server are those of the example", () => {
  const salt = Uint8Array.fromBase64("W22ZaJ0SNY7soEsUEjb6gQ==");
  assert.equal(
    formatServerFirst("rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", salt, 4096),
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
  );
  assert.equal(formatServerFinal(Uint8Array.of(1, 2, 3)), "v=AQID");
});

Deno.test("a nonce is printable ASCII without comma", () => {
  for (const good of ["x", "!~", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"]) assert.equal(isNonce(good), true);
  for (const bad of ["", "a,b", "a b", "\u007F", "\u00FC"]) assert.equal(isNonce(bad), false);
});
