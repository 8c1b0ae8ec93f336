/**
 * The cache of successes: what it finds, for how long, and how many.
 */
import assert from "node:assert/strict";
import { VERIFIED_FOR_MS, VerifiedPasswords } from "../../../src/auth/password/verified_passwords.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("verified passwords count for their time and no longer, and not at all after clear", () => {
  const verified = new VerifiedPasswords();
  const digest = verified.digestOf("alice", bytes("secret"));
  assert.equal(verified.has(digest, 1000), false);
  verified.add(digest, 1000);
  assert.equal(verified.has(digest, 1000 + VERIFIED_FOR_MS - 1), true);
  assert.equal(verified.has(digest, 1000 + VERIFIED_FOR_MS), false);
  assert.equal(verified.has(digest, 1000), false, "forgotten when it was found to be over");
  verified.add(digest, 1000);
  verified.clear();
  assert.equal(verified.has(digest, 1000), false);
});

Deno.test("verified passwords tell pairs apart, also those that read the same one after the other", () => {
  const verified = new VerifiedPasswords();
  const digests = [["alice", "secret"], ["alice", "secreT"], ["Alice", "secret"], ["alices", "ecret"], ["alice", ""]]
    .map(([username, password]) => verified.digestOf(username!, bytes(password!)));
  assert.equal(new Set(digests).size, digests.length);
  assert.equal(verified.digestOf("alice", bytes("secret")), digests[0]);
  assert.notEqual(new VerifiedPasswords().digestOf("alice", bytes("secret")), digests[0], "the key is one's own");
});

Deno.test("verified passwords forget the oldest beyond their bound, where a new success makes one young again", () => {
  const verified = new VerifiedPasswords(2);
  const [a, b, c] = ["a", "b", "c"].map((name) => verified.digestOf(name, bytes("x")));
  for (const digest of [a!, b!, a!, c!]) verified.add(digest, 0);
  assert.deepEqual([a, b, c].map((digest) => verified.has(digest!, 1)), [true, false, true]);
});
