/**
 * Computing hashes: published vectors, entries made by other programs, and round trips of our own.
 */
import * as Effect from "effect/Effect";
import assert from "node:assert/strict";
import { BackendUnavailable } from "../../../src/auth/identity/errors.ts";
import { parsePasswordEntries } from "../../../src/auth/password/password_entries.ts";
import { formatPasswordHash, HashProblem, parsePasswordHash } from "../../../src/auth/password/password_hash.ts";
import { checkPassword, hashWithScrypt, makeScramVerifier } from "../../../src/auth/password/password_hasher.ts";
import { findTool, runTool, testWithTools } from "../../support/tools.ts";

const encoder = new TextEncoder();

function check(hashText: string, password: string | Uint8Array): Promise<boolean> {
  const hash = parsePasswordHash(hashText);
  assert(!(hash instanceof HashProblem), hashText);
  return Effect.runPromise(checkPassword(hash, typeof password === "string" ? encoder.encode(password) : password));
}

/** The first is from RFC 7914, section 12, the second from RFC 7677, section 3; the others are of Python's hashlib. */
const VECTORS: readonly (readonly [hash: string, password: string])[] = [
  [
    "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$" +
    "cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw",
    "pleaseletmein",
  ],
  [
    "$scram-sha-256$i=4096$W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=$" +
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    "pencil",
  ],
  [
    "$6$dHdlbHZlIGJ5dGVz$oVMYq+bpyGSukllfY8G/BwgLqTIAw9BrXgAOPSc8vg1V/thNI/ExEbZhTQHqP/DIk0w9bWIDUve2ZYQQLGvYUw==",
    "secret",
  ],
  [
    "$7$101$dHdlbHZlIGJ5dGVz$" +
    "v/lj6L3NtZzRH+EyeyPkX06ZV2hBBVZqta7rtt0tD+UEtFehuQLthWWy1s9ZSdmRV5IZqoUymx/Udzry8Wtupw==",
    "secret",
  ],
  ["$scrypt$ln=10,r=8,p=1$dHdlbHZlIGJ5dGVz$V+1dp2qY+fLisQCSxXBY1K3+r5SsUZYVope2AFDsiP0", "secret"],
];

Deno.test("checkPassword finds the passwords of published hashes right and others wrong", async () => {
  for (const [hash, password] of VECTORS) {
    assert.equal(await check(hash, password), true, hash);
    for (const wrong of [`${password} `, password.slice(1), "", password.toUpperCase()]) {
      assert.equal(await check(hash, wrong), false, hash);
    }
  }
});

Deno.test("checkPassword takes the most expensive scrypt that a file may hold", async () => {
  const cost = { logN: 17, blockSize: 8, parallelism: 1 };
  const hash = await Effect.runPromise(hashWithScrypt(encoder.encode("a"), cost));
  assert.equal(await check(formatPasswordHash(hash), "a"), true);
});

Deno.test("checkPassword fails where it cannot be computed, and says nothing of the password", async () => {
  const cost = { logN: 30, blockSize: 8, parallelism: 1 };
  const hash = { kind: "scrypt", cost, salt: new Uint8Array(16), hash: new Uint8Array(32) } as const;
  const failure = await Effect.runPromise(Effect.flip(checkPassword(hash, encoder.encode("hunter2"))));
  assert(failure instanceof BackendUnavailable);
  assert.match(failure.message, /^password-file is unavailable: cannot compute a hash: ./);
  assert(!failure.message.includes("hunter2"));
});

Deno.test("checkPassword prepares a plain password for a SCRAM verifier, and takes bytes that are no text as wrong", async () => {
  // Of Python's hashlib, for the password IX.
  const hash = "$scram-sha-256$i=4096$dHdlbHZlIGJ5dGVz$nw9735mPUowc2FOx1pnqvMQaAROTesvnFTENf8gHab0$" +
    "pfaN7kW0odX3olSUkwLk6u4b2QqGfU3RdfSq+g7/FdU";
  assert.equal(await check(hash, "I\u00ADX"), true);
  assert.equal(await check(hash, "\u2168"), true);
  assert.equal(await check(hash, "I\u0007X"), false);
  assert.equal(await check(hash, Uint8Array.of(0xff)), false);
});

Deno.test("hashes of our own have a salt of their own each time and check", async () => {
  const password = encoder.encode("p\u00E4ss");
  const [first, second] = [
    await Effect.runPromise(hashWithScrypt(password)),
    await Effect.runPromise(hashWithScrypt(password)),
  ];
  assert.notDeepEqual(first.salt, second.salt);
  assert.equal(await Effect.runPromise(checkPassword(first, password)), true);
  assert.equal(await Effect.runPromise(checkPassword(second, encoder.encode("pass"))), false);
  const [verifier, other] = [
    await Effect.runPromise(makeScramVerifier(password)),
    await Effect.runPromise(makeScramVerifier(password)),
  ];
  assert(verifier !== undefined && other !== undefined);
  assert.notDeepEqual(verifier.salt, other.salt);
  assert.equal(await Effect.runPromise(checkPassword(verifier, password)), true);
  assert.equal(await Effect.runPromise(checkPassword(verifier, encoder.encode("pass"))), false);
});

Deno.test("makeScramVerifier refuses what SASLprep refuses", async () => {
  assert.equal(await Effect.runPromise(makeScramVerifier(encoder.encode("a\u0007b"))), undefined);
  assert.equal(await Effect.runPromise(makeScramVerifier(Uint8Array.of(0xff, 0xfe))), undefined);
});

const MOSQUITTO_PASSWD = findTool("mosquitto_passwd");

for (const [hashing, kind] of [["sha512", "sha512"], ["sha512-pbkdf2", "pbkdf2-sha512"]] as const) {
  testWithTools(`checkPassword understands entries of mosquitto_passwd -H ${hashing}`, [MOSQUITTO_PASSWD], async () => {
    const directory = await Deno.makeTempDir();
    try {
      const path = `${directory}/users`;
      for (const [name, create] of [["alice", ["-c"]], ["bob", []]] as const) {
        const args = ["-H", hashing, ...create, "-b", path, name, `${name} + \u00FCber`];
        const { code, stderr } = await runTool(MOSQUITTO_PASSWD, args);
        assert.equal(code, 0, stderr);
      }
      const { byName, problems } = parsePasswordEntries(path, await Deno.readTextFile(path));
      assert.deepEqual(problems, []);
      for (const name of ["alice", "bob"]) {
        const { hash } = byName.get(name)!;
        assert.equal(hash.kind, kind);
        assert.equal(await Effect.runPromise(checkPassword(hash, encoder.encode(`${name} + \u00FCber`))), true);
        assert.equal(await Effect.runPromise(checkPassword(hash, encoder.encode(`${name} + uber`))), false);
      }
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });
}
