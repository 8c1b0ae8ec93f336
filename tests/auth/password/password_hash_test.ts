/**
 * The texts of hashes: what is read, what is written back, and what is refused because it is wrong or too dear.
 */
import assert from "node:assert/strict";
import { formatPasswordHash, HashProblem, parsePasswordHash } from "../../../src/auth/password/password_hash.ts";

const SALT = "dHdlbHZlIGJ5dGVz";
const BYTES_32 = "A".repeat(43);
const BYTES_64 = `${"A".repeat(86)}==`;

const GOOD: readonly (readonly [text: string, kind: string])[] = [
  [`$scrypt$ln=15,r=8,p=1$${SALT}$${BYTES_32}`, "scrypt"],
  [`$scrypt$ln=10,r=1,p=4$${SALT}$${"A".repeat(22)}`, "scrypt"],
  [`$scrypt$ln=17,r=8,p=1$${SALT}$${BYTES_32}`, "scrypt"],
  [`$scram-sha-256$i=4096$${SALT}$${BYTES_32}$${BYTES_32}`, "scram-sha-256"],
  [`$scram-sha-256$i=1000000$${SALT}$${BYTES_32}$${BYTES_32}`, "scram-sha-256"],
  [`$6$${SALT}$${BYTES_64}`, "sha512"],
  [`$7$1$${SALT}$${BYTES_64}`, "pbkdf2-sha512"],
  [`$7$1000000$${SALT}$${BYTES_64}`, "pbkdf2-sha512"],
];

Deno.test("password hash of every kind is read and written back as it was", () => {
  for (const [text, kind] of GOOD) {
    const hash = parsePasswordHash(text);
    assert(!(hash instanceof HashProblem), text);
    assert.equal(hash.kind, kind);
    assert.equal(formatPasswordHash(hash), text);
  }
});

Deno.test("password hash holds the parts of its text", () => {
  const salt = new TextEncoder().encode("twelve bytes");
  const scrypt = parsePasswordHash(`$scrypt$ln=11,r=2,p=3$${SALT}$${BYTES_32}=`);
  assert(!(scrypt instanceof HashProblem) && scrypt.kind === "scrypt");
  assert.deepEqual(scrypt.cost, { logN: 11, blockSize: 2, parallelism: 3 });
  assert.deepEqual(scrypt.salt, salt);
  assert.deepEqual(scrypt.hash, new Uint8Array(32));
  const scram = parsePasswordHash(`$scram-sha-256$i=4097$${SALT}$${BYTES_32}$${"/".repeat(42)}8`);
  assert(!(scram instanceof HashProblem) && scram.kind === "scram-sha-256");
  assert.equal(scram.iterations, 4097);
  assert.deepEqual(scram.storedKey, new Uint8Array(32));
  assert.deepEqual(scram.serverKey, new Uint8Array(32).fill(255));
});

const BAD: readonly (readonly [text: string, problem: RegExp])[] = [
  ["", /not hashed/],
  ["hunter2", /not hashed/],
  ["hun$ter2", /not hashed/],
  ["$5$abc$def", /unknown kind/],
  ["$argon2id$v=19$m=1,t=1,p=1$a$b", /unknown kind/],
  [`$scrypt$ln=15,r=8,p=1$${SALT}`, /three parts/],
  [`$scrypt$ln=15,r=8,p=1$${SALT}$${BYTES_32}$x`, /three parts/],
  [`$scrypt$n=15,r=8,p=1$${SALT}$${BYTES_32}`, /are written ln=15/],
  [`$scrypt$ln=015,r=8,p=1$${SALT}$${BYTES_32}`, /are written ln=15/],
  [`$scrypt$ln=9,r=8,p=1$${SALT}$${BYTES_32}`, /at least 10/],
  [`$scrypt$ln=15,r=8,p=5$${SALT}$${BYTES_32}`, /at most 4/],
  [`$scrypt$ln=18,r=8,p=1$${SALT}$${BYTES_32}`, /more than 128 MiB/],
  [`$scrypt$ln=17,r=9,p=1$${SALT}$${BYTES_32}`, /more than 128 MiB/],
  [`$scrypt$ln=99,r=1,p=1$${SALT}$${BYTES_32}`, /more than 128 MiB/],
  [`$scrypt$ln=15,r=8,p=1$AAAA$${BYTES_32}`, /salt is not/],
  [`$scrypt$ln=15,r=8,p=1$${SALT}$AAAA`, /hash is not/],
  [`$scrypt$ln=15,r=8,p=1$${SALT}$${BYTES_32.slice(1)}B`, /hash is not/],
  [`$scrypt$ln=15,r=8,p=1$${SALT} $${BYTES_32}`, /salt is not/],
  [`$scrypt$ln=15,r=8,p=1$${"_".repeat(16)}$${BYTES_32}`, /salt is not/],
  [`$scram-sha-256$i=4096$${SALT}$${BYTES_32}`, /four parts/],
  [`$scram-sha-256$i=4095$${SALT}$${BYTES_32}$${BYTES_32}`, /from 4096 to 1000000/],
  [`$scram-sha-256$i=1000001$${SALT}$${BYTES_32}$${BYTES_32}`, /from 4096 to 1000000/],
  [`$scram-sha-256$4096$${SALT}$${BYTES_32}$${BYTES_32}`, /from 4096 to 1000000/],
  [`$scram-sha-256$i=4096$${SALT}$${BYTES_32}$AAAA`, /32 bytes/],
  [`$6$${SALT}`, /two parts/],
  [`$6$${SALT}$${BYTES_32}`, /hash is not/],
  [`$7$0$${SALT}$${BYTES_64}`, /from 1 to 1000000/],
  [`$7$1000001$${SALT}$${BYTES_64}`, /from 1 to 1000000/],
  [`$7$101$${SALT}`, /three parts/],
];

Deno.test("password hash that is wrong, or dearer than the bounds allow, is refused without being quoted", () => {
  for (const [text, problem] of BAD) {
    const parsed = parsePasswordHash(text);
    assert(parsed instanceof HashProblem, text);
    assert.match(parsed.text, problem, text);
    assert(!parsed.text.includes("hunter2"));
  }
});
