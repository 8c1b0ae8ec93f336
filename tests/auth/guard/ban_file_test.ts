/**
 * The ban file: what its lines say, and what becomes of a change while the broker runs. Time is the test's own.
 */
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as TestClock from "effect/testing/TestClock";
import assert from "node:assert/strict";
import { BanFile, FILE_BANS_MAX, readBans } from "../../../src/auth/guard/ban_file.ts";
import { AuthFileInvalid } from "../../../src/auth/identity/errors.ts";
import { Log } from "../../../src/logging/log.ts";
import { Supervisor } from "../../../src/logging/supervisor.ts";
import { FileUnreadable, WATCH_INTERVAL_MS } from "../../../src/system/watched_file.ts";

/** Bans as `kind|value|until`. */
function bansOf(text: string): string[] {
  const read = readBans("bans", text);
  assert(!(read instanceof AuthFileInvalid), String(read));
  return read.map(({ kind, value, untilMs }) => {
    const until = untilMs === undefined ? "" : new Date(untilMs).toISOString();
    return `${kind}|${value}|${until}`;
  });
}

function problemsOf(text: string): readonly string[] {
  const read = readBans("bans", text);
  assert(read instanceof AuthFileInvalid, "was read");
  assert.equal(read.path, "bans");
  return read.problems;
}

Deno.test("readBans reads one ban per line, without comments and empty lines", () => {
  const text = "# banned\n\nclient c-1\r\n  user\tcarol  \naddress 192.0.2.0/24\naddress 2001:db8::1\n   # end";
  assert.deepEqual(bansOf(text), ["client|c-1|", "user|carol|", "address|192.0.2.0/24|", "address|2001:db8::1|"]);
  assert.deepEqual(bansOf(""), []);
});

Deno.test("readBans reads until when a ban holds, a day from its beginning in UTC", () => {
  const text = [
    "client a until 2027-01-31",
    "client b until 2027-01-31T18:00Z",
    "client c  until  2027-01-31T18:00:30.5+02:00",
    "client d until 2028-02-29",
  ].join("\n");
  assert.deepEqual(bansOf(text), [
    "client|a|2027-01-31T00:00:00.000Z",
    "client|b|2027-01-31T18:00:00.000Z",
    "client|c|2027-01-31T16:00:30.500Z",
    "client|d|2028-02-29T00:00:00.000Z",
  ]);
});

Deno.test("readBans leaves blanks and # within a value, and takes a value in quotes as it is", () => {
  const text = [
    "client a b  c",
    "client #1#",
    'client " a "',
    'client "x until y"',
    'client "x until y" until 2027-01-31',
    "client until",
    "client a until-b",
    String.raw`client "\"\u00e4"`,
  ].join("\n");
  assert.deepEqual(bansOf(text), [
    "client|a b  c|",
    "client|#1#|",
    "client| a |",
    "client|x until y|",
    "client|x until y|2027-01-31T00:00:00.000Z",
    "client|until|",
    "client|a until-b|",
    'client|"ä|',
  ]);
});

Deno.test("readBans names every line that cannot be meant, by its number", () => {
  const text = [
    "client good",
    "Client c",
    "user",
    "address example.org",
    "client a until tomorrow",
    "client a until 2027-02-30",
    "client a until 2027-01-31T18:00",
    "client a until 2027-01-31T25:00Z",
    "client until 2027-01-31",
    'client "a" b',
    'client "a',
  ].join("\n");
  const time = "expected a time like 2027-01-31 or 2027-01-31T18:00:00Z, received";
  const quotes = "expected a JSON string, with nothing but until and a time behind it";
  assert.deepEqual(problemsOf(text), [
    'bans:2: expected client, user or address, received "Client"',
    "bans:3: user without a value",
    'bans:4: expected an IP address or a network like 192.0.2.0/24, received "example.org"',
    `bans:5: ${time} "tomorrow"`,
    `bans:6: ${time} "2027-02-30"`,
    `bans:7: ${time} "2027-01-31T18:00"`,
    `bans:8: ${time} "2027-01-31T25:00Z"`,
    "bans:9: client without a value",
    `bans:10: ${quotes}`,
    `bans:11: ${quotes}`,
  ]);
});

Deno.test("readBans refuses more bans than are kept, and tells a bounded number of problems", () => {
  const lines = (count: number) => Array.from({ length: count }, (_, index) => `client ${index}`).join("\n");
  assert.equal(bansOf(lines(FILE_BANS_MAX)).length, FILE_BANS_MAX);
  const problems = problemsOf(lines(FILE_BANS_MAX + 50));
  assert.equal(problems.length, 10);
  assert.equal(problems[0], `bans:${FILE_BANS_MAX + 1}: more than ${FILE_BANS_MAX} bans`);
});

interface Rig {
  readonly path: string;
  readonly lines: string[];
  /** Puts another file in the place, as an editor does, and lets the broker look. */
  readonly replace: (text: string) => Effect.Effect<void>;
}

/** Runs with a file of that content, or none, in a directory of its own. */
async function withFile<E>(
  text: string | undefined,
  use: (rig: Rig) => Effect.Effect<void, E, BanFile>,
): Promise<void> {
  const directory = Deno.makeTempDirSync({ prefix: "promptmq_bans_" });
  const path = `${directory}/bans`;
  if (text !== undefined) Deno.writeTextFileSync(path, text);
  const lines: string[] = [];
  const log = Log.of({
    level: 0,
    write: (level, message, fields) => void lines.push(`${level} ${message} ${JSON.stringify(fields)}`),
    limited: () => assert.fail("a change of the file is rare"),
  });
  const replace = (next: string) =>
    Effect.sync(() => {
      Deno.writeTextFileSync(`${path}.new`, next);
      Deno.renameSync(`${path}.new`, path);
    }).pipe(Effect.andThen(TestClock.adjust(WATCH_INTERVAL_MS)));
  const layers = BanFile.layer(path).pipe(
    Layer.provide(Layer.mergeAll(Layer.succeed(Log, log), Supervisor.layer)),
    Layer.provideMerge(TestClock.layer()),
  );
  try {
    await Effect.runPromise(Effect.provide(use({ path, lines, replace }), layers));
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

function isBanned({ bans }: BanFile["Service"], clientId: string): boolean {
  return bans.isBanned({ clientId, username: undefined, address: "192.0.2.1" }, 0) !== undefined;
}

Deno.test("BanFile has the bans of the file and replaces them when it changes, which it tells its listener", () =>
  withFile("client a", ({ lines, replace }) =>
    Effect.gen(function* () {
      const file = yield* BanFile;
      const heard: boolean[] = [];
      assert.deepEqual([isBanned(file, "a"), isBanned(file, "b")], [true, false]);
      file.whenChanged(() => void heard.push(isBanned(file, "b")));
      yield* replace("client b");
      assert.deepEqual([isBanned(file, "a"), isBanned(file, "b")], [false, true]);
      assert.deepEqual(heard, [true], "told once, with the new bans in force");
      assert.deepEqual(lines, ['info bans replaced {"bans":1}']);
    })));

Deno.test("BanFile keeps its bans when the file is broken or gone, says why, and takes the next good one", () =>
  withFile("client a", ({ path, lines, replace }) =>
    Effect.gen(function* () {
      const file = yield* BanFile;
      file.whenChanged(() => assert.equal(isBanned(file, "c"), true, "nothing has changed before"));
      yield* replace("client b\nclients c");
      assert.deepEqual([isBanned(file, "a"), isBanned(file, "b")], [true, false]);
      assert.equal(lines.length, 1);
      assert.ok(lines[0]!.startsWith(`error bans refused {"problem":"${path}:2: expected client`));
      Deno.removeSync(path);
      yield* TestClock.adjust(3 * WATCH_INTERVAL_MS);
      assert.equal(isBanned(file, "a"), true);
      assert.equal(lines.length, 2);
      assert.match(lines[1]!, /^error bans refused .*Cannot read ban file/);
      yield* replace("client c");
      assert.deepEqual([isBanned(file, "a"), isBanned(file, "c")], [false, true]);
    })));

Deno.test("BanFile does not start with a broken file or without one", async () => {
  await assert.rejects(withFile("nonsense", () => Effect.void), AuthFileInvalid);
  await assert.rejects(withFile(undefined, () => Effect.void), FileUnreadable);
});

Deno.test("BanFile without a path bans nobody", () =>
  Effect.gen(function* () {
    const { bans } = yield* BanFile;
    assert.equal(bans.isBanned({ clientId: "a", username: undefined, address: "192.0.2.1" }, 0), undefined);
  }).pipe(
    Effect.provide(
      BanFile.layer(undefined).pipe(
        Layer.provide(Layer.mergeAll(
          Layer.succeed(Log, Log.of({ level: 0, write: () => assert.fail("nothing to log"), limited: () => {} })),
          Supervisor.layer,
        )),
      ),
    ),
    Effect.runPromise,
  ));
