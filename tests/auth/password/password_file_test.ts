/**
 * The password file as a service: the start, and what becomes of changes, with a clock that the test moves.
 */
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Layer from "effect/Layer";
import type * as Scope from "effect/Scope";
import * as TestClock from "effect/testing/TestClock";
import assert from "node:assert/strict";
import { AuthFileInvalid } from "../../../src/auth/identity/errors.ts";
import { askBy } from "../../../src/auth/identity/questions.ts";
import { type FileModeOf, PasswordFile } from "../../../src/auth/password/password_file.ts";
import { formatPasswordHash } from "../../../src/auth/password/password_hash.ts";
import { hashWithScrypt, makeScramVerifier } from "../../../src/auth/password/password_hasher.ts";
import { Log, type LogWriter } from "../../../src/logging/log.ts";
import { Supervisor } from "../../../src/logging/supervisor.ts";
import { FileUnreadable } from "../../../src/system/watched_file.ts";
import { credentials, verdictOf } from "../backend_rig.ts";

const encoder = new TextEncoder();

async function entry(username: string, password: string, groups = ""): Promise<string> {
  const hash = await Effect.runPromise(
    hashWithScrypt(encoder.encode(password), { logN: 10, blockSize: 1, parallelism: 1 }),
  );
  return `${username}:${formatPasswordHash(hash)}${groups}\n`;
}

interface Rig {
  readonly path: string;
  /** Level, message and fields of every line. */
  readonly logged: readonly (readonly [string, string, unknown])[];
  readonly layer: Layer.Layer<PasswordFile, AuthFileInvalid | FileUnreadable>;
}

/** Runs with a directory of its own under a clock that stands still. */
async function withRig(
  modeOf: FileModeOf,
  use: (rig: Rig) => Effect.Effect<void, AuthFileInvalid | FileUnreadable, Scope.Scope>,
): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    const path = `${directory}/users`;
    const logged: [string, string, unknown][] = [];
    const writer: LogWriter = {
      level: 0,
      write: (level, message, fields) => void logged.push([level, message, fields]),
      limited: () => assert.fail("nothing here repeats"),
    };
    const layer = PasswordFile.layer(path, modeOf).pipe(
      Layer.provide(Layer.mergeAll(Supervisor.layer, Layer.succeed(Log, writer))),
    );
    await Effect.runPromise(Effect.scoped(use({ path, logged, layer })).pipe(Effect.provide(TestClock.layer())));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const PRIVATE = () => 0o100600;

function ask({ identityProvider }: PasswordFile["Service"], username: string, password: string): Effect.Effect<string> {
  return Effect.promise(async () => {
    const verdict = await verdictOf(identityProvider, askBy(Effect.runFork), credentials(username, password));
    if (verdict === undefined) return "passed";
    return verdict.kind === "refuse" ? verdict.reason : `accepted ${verdict.identity.groups.join()}`;
  });
}

/** Starts, and lets the follower look once. */
function start(rig: Rig) {
  return Layer.build(rig.layer).pipe(
    Effect.tap(() => TestClock.adjust("1 second")),
    Effect.map((context) => Context.get(context, PasswordFile)),
  );
}

Deno.test("password file takes changes over while it runs", async () => {
  const [alice, bob] = [await entry("alice", "one"), await entry("bob", "two", ":admins")];
  await withRig(PRIVATE, (rig) =>
    Effect.gen(function* () {
      Deno.writeTextFileSync(rig.path, alice);
      const file = yield* start(rig);
      assert.equal(file.identityProvider.name, "password-file");
      assert.equal(yield* ask(file, "alice", "one"), "accepted ");
      assert.equal(yield* ask(file, "bob", "two"), "passed");
      Deno.writeTextFileSync(rig.path, bob + alice);
      yield* TestClock.adjust("1 second");
      assert.equal(yield* ask(file, "bob", "two"), "accepted admins");
      Deno.writeTextFileSync(rig.path, bob);
      yield* TestClock.adjust("1 second");
      assert.equal(yield* ask(file, "alice", "one"), "passed", "neither in the file nor remembered");
      assert.deepEqual(rig.logged, [
        ["info", "password file loaded", { path: rig.path, users: 1 }],
        ["info", "password file reloaded", { path: rig.path, users: 2 }],
        ["info", "password file reloaded", { path: rig.path, users: 1 }],
      ]);
    }));
});

Deno.test("password file that is broken or gone leaves everybody in place, says why once, and comes back", async () => {
  const [alice, bob] = [await entry("alice", "one"), await entry("bob", "two")];
  await withRig(PRIVATE, (rig) =>
    Effect.gen(function* () {
      Deno.writeTextFileSync(rig.path, alice);
      const file = yield* start(rig);
      Deno.writeTextFileSync(rig.path, `${bob}carol:hunter2\n${bob}`);
      yield* TestClock.adjust("5 seconds");
      assert.equal(yield* ask(file, "alice", "one"), "accepted ");
      assert.equal(yield* ask(file, "bob", "two"), "passed");
      Deno.removeSync(rig.path);
      yield* TestClock.adjust("5 seconds");
      assert.equal(yield* ask(file, "alice", "one"), "accepted ");
      Deno.writeTextFileSync(rig.path, bob);
      yield* TestClock.adjust("1 second");
      assert.equal(yield* ask(file, "bob", "two"), "accepted ");
      const refused = rig.logged.filter(([, message]) => message === "password file refused");
      assert.deepEqual(
        refused,
        [
          "the password is not hashed; set it again with promptmq user add",
          'user "bob" is in line 1 already',
          undefined,
        ].map((problem, i) => [
          "error",
          "password file refused",
          {
            problem: problem === undefined
              ? `Cannot read password file ${JSON.stringify(rig.path)}: not found`
              : `${rig.path}:${i + 2}: ${problem}`,
          },
        ]),
      );
      assert(!JSON.stringify(rig.logged).includes("hunter2"));
    }));
});

Deno.test("password file with problems, or none at all, is a typed failure at the start", async () => {
  await withRig(PRIVATE, (rig) =>
    Effect.gen(function* () {
      assert((yield* Effect.flip(start(rig))) instanceof FileUnreadable);
      Deno.writeTextFileSync(rig.path, "alice:hunter2\nbob\n");
      const error = yield* Effect.flip(start(rig));
      assert(error instanceof AuthFileInvalid);
      assert.deepEqual(error.problems, [
        `${rig.path}:1: the password is not hashed; set it again with promptmq user add`,
        `${rig.path}:2: expected username:hash`,
      ]);
      Deno.writeTextFileSync(rig.path, "# nobody yet\n");
      assert(Exit.isSuccess(yield* Effect.exit(start(rig))));
    }).pipe(Effect.orDie));
});

Deno.test("password file that everybody may read is warned of once per mode", async () => {
  const alice = await entry("alice", "one");
  let mode: number | undefined = 0o100644;
  await withRig(() => mode, (rig) =>
    Effect.gen(function* () {
      Deno.writeTextFileSync(rig.path, alice);
      yield* start(rig);
      const warnings = () => rig.logged.filter(([level]) => level === "warn").map(([, , fields]) => fields);
      assert.deepEqual(warnings(), [{ path: rig.path, mode: "0644" }]);
      let text = alice;
      const change = (newMode: number | undefined) => {
        mode = newMode;
        text += "#\n";
        Deno.writeTextFileSync(rig.path, text);
        return TestClock.adjust("1 second");
      };
      yield* change(0o100644);
      assert.equal(warnings().length, 1);
      yield* change(0o100640);
      yield* change(undefined);
      assert.equal(warnings().length, 1);
      yield* change(0o100644);
      assert.equal(warnings().length, 2);
    }));
});

Deno.test("password file serves SCRAM users with plain passwords too", async () => {
  const verifier = await Effect.runPromise(makeScramVerifier(encoder.encode("pencil"), 4096));
  await withRig(PRIVATE, (rig) =>
    Effect.gen(function* () {
      Deno.writeTextFileSync(rig.path, `user:${formatPasswordHash(verifier!)}\n`);
      const file = yield* start(rig);
      assert.equal(yield* ask(file, "user", "pencil"), "accepted ");
      assert.equal(yield* ask(file, "user", "pen"), "bad_password");
      const step = file.scram.begin("c").next(encoder.encode("n,,n=user,r=x"));
      assert(!(step instanceof Promise) && step.kind === "continue");
      assert.match(new TextDecoder().decode(step.data), /,i=4096$/);
    }));
});
