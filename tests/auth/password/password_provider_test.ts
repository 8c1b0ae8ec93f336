/**
 * Plain passwords against the users of a file, with a check that counts and ends when the test says so: what counts is
 * how many hashes of which kind an answer takes, never how long.
 */
import * as Effect from "effect/Effect";
import assert from "node:assert/strict";
import type { LineBounds } from "../../../src/auth/backend/waiting_line.ts";
import { BackendUnavailable } from "../../../src/auth/identity/errors.ts";
import { askBy } from "../../../src/auth/identity/questions.ts";
import { parsePasswordEntries } from "../../../src/auth/password/password_entries.ts";
import type { PasswordHash } from "../../../src/auth/password/password_hash.ts";
import { makePasswordProvider } from "../../../src/auth/password/password_provider.ts";
import { PasswordUsers } from "../../../src/auth/password/password_users.ts";
import { VERIFIED_FOR_MS } from "../../../src/auth/password/verified_passwords.ts";
import { credentials, verdictOf } from "../backend_rig.ts";

const SALT = "dHdlbHZlIGJ5dGVz";
const SCRYPT = `$scrypt$ln=10,r=8,p=1$${SALT}$${"A".repeat(43)}`;
const PBKDF2 = `$7$101$${SALT}$${"A".repeat(86)}==`;

/** A provider whose hashes say yes to `right` and no to everything else. */
class Rig {
  nowMs = 0;
  /** Hashes that were computed. */
  readonly checked: PasswordHash[] = [];
  readonly users: PasswordUsers;
  readonly #provider;
  #gate: PromiseWithResolvers<void> | undefined = undefined;

  constructor(text: string, bounds?: Partial<LineBounds>) {
    this.users = Effect.runSync(PasswordUsers.make(
      (hash, password) =>
        Effect.tryPromise({
          try: async () => {
            this.checked.push(hash);
            await this.#gate?.promise;
            const told = new TextDecoder().decode(password);
            if (told === "no memory") throw new Error(told);
            return told === "right";
          },
          catch: () => new BackendUnavailable({ backend: "password-file", operation: "hash", detail: "no memory" }),
        }),
      () => this.nowMs,
      bounds,
    ));
    this.replace(text);
    this.#provider = makePasswordProvider(this.users);
  }

  replace(text: string): void {
    this.users.replace(parsePasswordEntries("users", text));
  }

  /** Hashes wait until `open`. */
  close(): void {
    this.#gate = Promise.withResolvers();
  }

  open(): void {
    this.#gate?.resolve();
    this.#gate = undefined;
  }

  /** The reason of a refusal, the groups of an identity, or `passed`. */
  async ask(username: string | undefined, password: string | undefined): Promise<string> {
    const verdict = await verdictOf(this.#provider, askBy(Effect.runFork), credentials(username, password));
    if (verdict === undefined) return "passed";
    if (verdict.kind === "refuse") return `${verdict.reason} 0x${verdict.reasonCode.toString(16)}`;
    assert.equal(verdict.identity.username, username);
    return `accepted ${verdict.identity.groups.join()}`;
  }
}

Deno.test("password provider accepts, refuses and passes on", async () => {
  const rig = new Rig(`alice:${SCRYPT}:admins,ops\nbob:${SCRYPT}`);
  assert.equal(await rig.ask("alice", "right"), "accepted admins,ops");
  assert.equal(await rig.ask("bob", "right"), "accepted ");
  assert.equal(await rig.ask("bob", "wrong"), "bad_password 0x86");
  assert.equal(await rig.ask("bob", ""), "bad_password 0x86");
  assert.equal(await rig.ask("bob", undefined), "bad_password 0x86");
  assert.equal(await rig.ask("bob", "right\0"), "bad_password 0x86", "hashes pad with zero bytes");
  assert.equal(await rig.ask("Bob", "right\0"), "passed");
  assert.equal(await rig.ask("Bob", "right"), "passed");
  assert.equal(await rig.ask("Bob", undefined), "passed");
  assert.equal(await rig.ask(undefined, "right"), "passed");
  assert.equal(await rig.ask(undefined, undefined), "passed");
  const before = rig.checked.length;
  assert.equal(await rig.ask("", "right"), "passed");
  assert.equal(rig.checked.length, before, "no name, no hash");
});

Deno.test("password provider compares names as they are, without Unicode normalization", async () => {
  const rig = new Rig(`\u00E9:${SCRYPT}`);
  assert.equal(await rig.ask("\u00E9", "right"), "accepted ");
  assert.equal(await rig.ask("e\u0301", "right"), "passed");
});

Deno.test("password provider spends one hash on an unknown name, as on a known one, also with the right password", async () => {
  const rig = new Rig(`alice:${SCRYPT}`);
  const spent: [string, number][] = [];
  for (const [username, password] of [["alice", "wrong"], ["eve", "wrong"], ["eve", "right"], ["eve", "right"]]) {
    const before = rig.checked.length;
    spent.push([await rig.ask(username, password), rig.checked.length - before]);
  }
  assert.deepEqual(spent, [["bad_password 0x86", 1], ["passed", 1], ["passed", 1], ["passed", 1]]);
  assert(rig.checked.every((hash) => hash.kind === "scrypt"));
});

Deno.test("password provider spends on unknown names what known ones cost, always the same for one name", async () => {
  const rig = new Rig(`alice:${SCRYPT}\nbob:${PBKDF2}`);
  const kinds = new Set<string>();
  for (let i = 0; i < 64; i++) {
    const before = rig.checked.length;
    for (let again = 0; again < 2; again++) await rig.ask(`eve${i}`, `wrong ${again}`);
    const [first, second] = rig.checked.slice(before).map(({ kind }) => kind);
    assert.equal(first, second);
    kinds.add(first!);
  }
  assert.deepEqual([...kinds].sort(), ["pbkdf2-sha512", "scrypt"]);
});

Deno.test("password provider has nothing to hide without users, and computes nothing", async () => {
  const rig = new Rig("");
  assert.equal(await rig.ask("eve", "right"), "passed");
  assert.equal(rig.checked.length, 0);
});

Deno.test("password provider remembers a success for its time, and every failure costs a hash", async () => {
  const rig = new Rig(`alice:${SCRYPT}:admins`);
  for (let i = 0; i < 1000; i++) assert.equal(await rig.ask("alice", "right"), "accepted admins");
  assert.equal(rig.checked.length, 1);
  for (let i = 0; i < 3; i++) assert.equal(await rig.ask("alice", "wrong"), "bad_password 0x86");
  assert.equal(rig.checked.length, 4);
  rig.nowMs = VERIFIED_FOR_MS;
  assert.equal(await rig.ask("alice", "right"), "accepted admins");
  assert.equal(rig.checked.length, 5);
});

Deno.test("password provider forgets successes when the file changes", async () => {
  const rig = new Rig(`alice:${SCRYPT}`);
  await rig.ask("alice", "right");
  rig.replace(`alice:${PBKDF2}`);
  assert.equal(await rig.ask("alice", "right"), "accepted ");
  assert.deepEqual(rig.checked.map(({ kind }) => kind), ["scrypt", "pbkdf2-sha512"]);
  rig.replace("");
  assert.equal(await rig.ask("alice", "right"), "passed");
});

Deno.test("password provider computes one hash for a storm of the same name and password", async () => {
  const rig = new Rig(`alice:${SCRYPT}`);
  rig.close();
  const asked = Array.from({ length: 1000 }, () => rig.ask("alice", "right"));
  rig.open();
  assert.deepEqual(new Set(await Promise.all(asked)), new Set(["accepted "]));
  assert.equal(rig.checked.length, 1);
});

Deno.test("password provider turns away what the queue has no room for, known or not, and recovers", async () => {
  const rig = new Rig(`alice:${SCRYPT}`, { atWorkMax: 1, waitingMax: 1 });
  await rig.ask("alice", "right");
  rig.close();
  const waiting = [rig.ask("alice", "wrong 1"), rig.ask("eve", "wrong 2")];
  assert.equal(await rig.ask("alice", "wrong 3"), "hash_queue_full 0x89");
  assert.equal(await rig.ask("eve", "wrong 3"), "hash_queue_full 0x89");
  assert.equal(await rig.ask("alice", "right"), "accepted ", "remembered, so it needs no room");
  assert.equal(await rig.ask("eve", undefined), "passed");
  rig.open();
  assert.deepEqual(await Promise.all(waiting), ["bad_password 0x86", "passed"]);
  assert.equal(await rig.ask("alice", "wrong 3"), "bad_password 0x86");
});

Deno.test("password provider lets in nobody who was removed or changed while the hash was computed", async () => {
  for (const text of ["", `alice:${PBKDF2}`, `alice:${SCRYPT}:admins`]) {
    const rig = new Rig(`alice:${SCRYPT}`);
    rig.close();
    const asked = rig.ask("alice", "right");
    rig.replace(text);
    rig.open();
    assert.equal(await asked, "bad_password 0x86");
    // And what was computed for the old file is no success of the new one.
    const before = rig.checked.length;
    await rig.ask("alice", "right");
    assert.equal(rig.checked.length - before, text === "" ? 0 : 1);
  }
});

Deno.test("password provider does not answer for a new file with a hash that was begun for the old one", async () => {
  const rig = new Rig(`alice:${SCRYPT}`);
  rig.close();
  const asked = [rig.ask("alice", "right")];
  rig.replace(`alice:${PBKDF2}`);
  asked.push(rig.ask("alice", "right"));
  rig.open();
  assert.deepEqual(await Promise.all(asked), ["bad_password 0x86", "accepted "]);
  assert.deepEqual(rig.checked.map(({ kind }) => kind), ["scrypt", "pbkdf2-sha512"]);
});

Deno.test("password provider refuses with 0x88 when a hash cannot be computed, and the next one is computed anew", async () => {
  const rig = new Rig(`alice:${SCRYPT}`);
  assert.equal(await rig.ask("alice", "no memory"), "hash_failed 0x88");
  assert.equal(await rig.ask("alice", "no memory"), "hash_failed 0x88");
  assert.equal(rig.checked.length, 2);
});
