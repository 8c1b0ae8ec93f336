/**
 * The file of rules in use: read at the start, replaced while the broker runs, kept when its successor is broken. Time
 * is the test's own.
 */
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as TestClock from "effect/testing/TestClock";
import assert from "node:assert/strict";
import { AclFile } from "../../../src/auth/acl/acl_file.ts";
import { AuthFileInvalid } from "../../../src/auth/identity/errors.ts";
import { Log } from "../../../src/logging/log.ts";
import { Supervisor } from "../../../src/logging/supervisor.ts";
import { FileUnreadable, WATCH_INTERVAL_MS } from "../../../src/system/watched_file.ts";

interface Rig {
  readonly path: string;
  readonly lines: string[];
  /** Puts another file in the place, as an editor does, and lets the broker look. */
  readonly replace: (text: string) => Effect.Effect<void>;
  /** Lets the broker look. */
  readonly look: Effect.Effect<void>;
}

/** Runs with a file of that content, or none, in a directory of its own. */
async function withFile<E>(
  text: string | undefined,
  use: (rig: Rig) => Effect.Effect<void, E, AclFile>,
): Promise<void> {
  const directory = Deno.makeTempDirSync({ prefix: "promptmq_acl_" });
  const path = `${directory}/acl.yaml`;
  if (text !== undefined) Deno.writeTextFileSync(path, text);
  const lines: string[] = [];
  const log = Log.of({
    level: 0,
    write: (level, message, fields) => void lines.push(`${level} ${message} ${JSON.stringify(fields)}`),
    limited: () => assert.fail("a change of the file is rare"),
  });
  const look = TestClock.adjust(WATCH_INTERVAL_MS);
  const replace = (next: string) =>
    Effect.sync(() => {
      Deno.writeTextFileSync(`${path}.new`, next);
      Deno.renameSync(`${path}.new`, path);
    }).pipe(Effect.andThen(look));
  const layers = AclFile.layer(path).pipe(
    Layer.provide(Layer.mergeAll(Layer.succeed(Log, log), Supervisor.layer)),
    Layer.provideMerge(TestClock.layer()),
  );
  try {
    await Effect.runPromise(Effect.provide(use({ path, lines, replace, look }), layers));
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

const ONE_RULE = "rules:\n- { allow: all, topics: a }";
const TWO_RULES = `${ONE_RULE}\n- { allow: all, topics: b }`;

Deno.test("AclFile has the rules of the file, and another book after a change", () =>
  withFile(ONE_RULE, ({ lines, replace, look }) =>
    Effect.gen(function* () {
      const file = yield* AclFile;
      const first = file.current();
      assert.equal(first.ruleCount, 1);
      yield* look;
      assert.equal(file.current(), first);
      yield* replace(TWO_RULES);
      assert.equal(file.current().ruleCount, 2);
      assert.equal(first.ruleCount, 1);
      assert.deepEqual(lines, ['info access rules replaced {"rules":2}']);
    })));

Deno.test("AclFile keeps its rules when the file is broken, says why, and takes the next good one", () =>
  withFile(ONE_RULE, ({ path, lines, replace }) =>
    Effect.gen(function* () {
      const file = yield* AclFile;
      const first = file.current();
      yield* replace("rules:\n- { allow: al, topics: a# }");
      assert.equal(file.current(), first);
      assert.equal(lines.length, 2);
      assert.ok(lines.every((line) => line.startsWith(`error access rules refused {"problem":"${path}:2: `)));
      yield* replace("");
      assert.equal(file.current(), first);
      assert.equal(lines.length, 3);
      yield* replace(TWO_RULES);
      assert.equal(file.current().ruleCount, 2);
    })));

Deno.test("AclFile logs a bounded number of problems", () =>
  withFile(ONE_RULE, ({ lines, replace }) =>
    Effect.gen(function* () {
      yield* replace(`rules:\n${"- {}\n".repeat(15)}`);
      assert.equal(lines.length, 11);
      assert.equal(lines.at(-1), 'error access rules refused {"problem":"and 20 more"}');
    })));

Deno.test("AclFile keeps its rules when the file is gone, and says so once", () =>
  withFile(ONE_RULE, ({ path, lines, replace, look }) =>
    Effect.gen(function* () {
      const file = yield* AclFile;
      Deno.removeSync(path);
      yield* look;
      yield* look;
      assert.equal(file.current().ruleCount, 1);
      assert.equal(lines.length, 1);
      assert.match(lines[0] ?? "", /^error access rules refused .*Cannot read access rules/);
      yield* replace(TWO_RULES);
      assert.equal(file.current().ruleCount, 2);
    })));

Deno.test("AclFile does not start with a broken file", async () => {
  const failure = await Effect.runPromise(Effect.flip(Effect.tryPromise({
    try: () => withFile("defualt: allow", () => Effect.void),
    catch: (error) => error,
  })));
  assert.ok(failure instanceof AuthFileInvalid);
  assert.equal(failure.problems.length, 1);
  assert.match(failure.message, /acl\.yaml:1: unknown key "defualt"/);
});

Deno.test("AclFile does not start without its file", async () => {
  await assert.rejects(
    withFile(undefined, () => Effect.void),
    (error) => error instanceof FileUnreadable && error.message.startsWith("Cannot read access rules"),
  );
});
