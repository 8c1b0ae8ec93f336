/**
 * The log: both forms of a line, the level, rate limits, the way in from Effect, and the fall back of a broken output.
 */

import * as Effect from "effect/Effect";
import * as TestClock from "effect/testing/TestClock";
import assert from "node:assert/strict";
import { LogFileUnavailable } from "../../src/logging/errors.ts";
import { Level, Log, type LogOptions, makeLogger } from "../../src/logging/log.ts";
import { type Fields, renderConsole, renderJson } from "../../src/logging/log_line.ts";
import { fallBackOnFailure } from "../../src/logging/log_output.ts";

const TIME_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

/** A log into an array, at times the test moves. */
function makeTestLog(options: Pick<LogOptions, "level" | "format">, isTerminal = false) {
  const lines: string[] = [];
  const clock = { wallMs: TIME_MS, steadyMs: 0 };
  const output = { write: (line: string) => void lines.push(line), close: () => {}, isTerminal };
  return { lines, clock, ...makeLogger(options, output, () => clock.wallMs, () => clock.steadyMs) };
}

Deno.test("renderJson writes time, level and message first and escapes what would break the line", () => {
  const cyclic: Record<string, unknown> = {};
  cyclic["self"] = cyclic;
  const cases: readonly (readonly [Fields | undefined, string])[] = [
    [undefined, ""],
    [{ clientId: "a\nb", shard: 3, gone: undefined }, ',"clientId":"a\\nb","shard":3'],
    [{ offset: 12n, error: new Error("no") }, ',"offset":"12","error":"no"'],
    [{ cyclic, kept: 1 }, ',"cyclic":"[object Object]","kept":1'],
  ];
  for (const [fields, expected] of cases) {
    assert.equal(
      renderJson(TIME_MS, "info", "hi", fields),
      `{"ts":"2026-01-02T03:04:05.678Z","level":"info","msg":"hi"${expected}}\n`,
    );
  }
});

Deno.test("renderJson does not let a field replace time, level or message", () => {
  const fields = { msg: "forged", clientId: "c" } as unknown as Fields;
  assert.equal(JSON.parse(renderJson(TIME_MS, "info", "real", fields)).msg, "real");
});

Deno.test("renderConsole quotes what is not one plain word and never passes control characters", () => {
  const cases: readonly (readonly [Fields, string])[] = [
    [{ clientId: "c1", count: 2 }, " clientId=c1 count=2"],
    [{ reason: "two words" }, ' reason="two words"'],
    [{ empty: "" }, ' empty=""'],
    [{ evil: "\x1b[2J\n\x9b1m" }, ' evil="\\u001b[2J\\n\\u009b1m"'],
    [{ list: ["a", 1] }, ' list=["a",1]'],
    [{ cause: "Error: x\n  at y", id: 1 }, " id=1\n    Error: x\n      at y"],
  ];
  for (const [fields, expected] of cases) {
    assert.equal(renderConsole(TIME_MS, "warn", "hi", fields, false), `03:04:05.678 WARN  hi${expected}\n`);
  }
  assert.equal(
    renderConsole(TIME_MS, "warn", "hi", undefined, true),
    "03:04:05.678 \x1b[33mWARN \x1b[0m hi\n",
  );
});

Deno.test("format auto is console on a terminal and json elsewhere", () => {
  const terminal = makeTestLog({ level: "info", format: "auto" }, true);
  terminal.writer.write("info", "hi");
  assert.match(terminal.lines[0] ?? "", /^03:04:05\.678 /);
  const pipe = makeTestLog({ level: "info", format: "auto" });
  pipe.writer.write("info", "hi");
  assert.equal(JSON.parse(pipe.lines[0] ?? "").msg, "hi");
});

Deno.test("write obeys the level, which may change at any time", () => {
  const { writer, lines } = makeTestLog({ level: "warn", format: "json" });
  writer.write("info", "no");
  writer.write("warn", "yes");
  writer.level = Level.trace;
  writer.write("trace", "now");
  assert.deepEqual(lines.map((line) => JSON.parse(line).msg), ["yes", "now"]);
});

Deno.test("limited lets one line per key and second pass and counts the others", () => {
  const { writer, lines, clock, flushSuppressed } = makeTestLog({ level: "info", format: "json" });
  const seen = () =>
    lines.splice(0).map((line) => JSON.parse(line)).map(({ msg, n, suppressed }) => [msg, n, suppressed]);
  for (let n = 1; n <= 4; n++) writer.limited("a", "warn", "refused", { n });
  writer.limited("b", "warn", "other");
  assert.deepEqual(seen(), [["refused", 1, undefined], ["other", undefined, undefined]]);
  clock.steadyMs += 1000;
  writer.limited("a", "warn", "refused", { n: 5 });
  assert.deepEqual(seen(), [["refused", 5, 3]]);
  writer.limited("a", "warn", "refused", { n: 6 });
  flushSuppressed("elapsed");
  assert.deepEqual(seen(), []);
  clock.steadyMs += 1000;
  flushSuppressed("elapsed");
  assert.deepEqual(seen(), [["refused", 6, 1]]);
  flushSuppressed("all");
  assert.deepEqual(seen(), []);
});

Deno.test("limited goes on by the time that passed when the wall clock is set back", () => {
  const { writer, lines, clock } = makeTestLog({ level: "info", format: "json" });
  writer.limited("a", "warn", "refused");
  clock.wallMs -= 3_600_000;
  clock.steadyMs += 1000;
  writer.limited("a", "warn", "refused");
  assert.deepEqual(lines.map((line) => JSON.parse(line).ts), [
    "2026-01-02T03:04:05.678Z",
    "2026-01-02T02:04:05.678Z",
  ]);
});

Deno.test("limited below the level neither writes nor counts", () => {
  const { writer, lines, flushSuppressed } = makeTestLog({ level: "error", format: "json" });
  for (let n = 0; n < 3; n++) writer.limited("a", "warn", "refused");
  flushSuppressed("all");
  assert.deepEqual(lines, []);
});

Deno.test("limited forgets the oldest of too many keys but not what it held back", () => {
  const { writer, lines } = makeTestLog({ level: "info", format: "json" });
  writer.limited("first", "warn", "first");
  writer.limited("first", "warn", "first");
  for (let key = 0; key < 1024; key++) writer.limited(`key ${key}`, "debug", "below the level");
  assert.equal(lines.length, 1);
  for (let key = 0; key < 1024; key++) writer.limited(`key ${key}`, "info", "new");
  const held = lines.map((line) => JSON.parse(line)).filter(({ suppressed }) => suppressed !== undefined);
  assert.deepEqual(held.map(({ msg, suppressed }) => [msg, suppressed]), [["first", 1]]);
});

Deno.test("a failing log file says so once and its lines go elsewhere", () => {
  let isBroken = true;
  const taken: string[] = [];
  const instead: string[] = [];
  const file = {
    write: (line: string) => {
      if (isBroken) throw new Error("disk full");
      taken.push(line);
    },
    close: () => {},
  };
  const output = fallBackOnFailure(file, (line) => void instead.push(line));
  output.write("1\n");
  output.write("2\n");
  isBroken = false;
  output.write("3\n");
  assert.deepEqual(instead, ["cannot write to the log file: disk full\n", "1\n", "2\n"]);
  assert.deepEqual(taken, ["3\n"]);
});

const FILE_OPTIONS = { level: "info", format: "auto", maxSizeBytes: 1_000_000, maxFiles: 1 } as const;

Deno.test("Log.layer writes Effect logs and plain writes to one file, with fields, annotations and causes", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const file = `${directory}/x.log`;
    const program = Effect.gen(function* () {
      const log = yield* Log;
      log.write("info", "plain", { n: 1 });
      yield* Effect.logInfo("from", "effect", { n: 2 }).pipe(Effect.annotateLogs("shard", 3));
      yield* Effect.logDebug("below");
      log.level = Level.debug;
      yield* Effect.logDebug("now seen");
      yield* Effect.exit(Effect.tapCause(Effect.die(new Error("boom")), (cause) => Effect.logFatal("died", cause)));
      log.limited("k", "warn", "often");
      log.limited("k", "warn", "often");
    });
    await Effect.runPromise(program.pipe(
      Effect.provide(Log.layer({ ...FILE_OPTIONS, file })),
      Effect.provide(TestClock.layer()),
    ));
    const lines = (await Deno.readTextFile(file)).trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.map(({ level, msg, n, shard, suppressed }) => [level, msg, n, shard, suppressed]),
      [
        ["info", "plain", 1, undefined, undefined],
        ["info", "from effect", 2, 3, undefined],
        ["debug", "now seen", undefined, undefined, undefined],
        ["fatal", "died", undefined, undefined, undefined],
        ["warn", "often", undefined, undefined, undefined],
        ["warn", "often", undefined, undefined, 1],
      ],
    );
    assert.match(lines[3].cause, /boom/);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("Log.layer fails when the file cannot be opened", async () => {
  const layer = Log.layer({ ...FILE_OPTIONS, file: "/dev/null/x.log" });
  const error = await Effect.runPromise(Effect.flip(Effect.provide(Effect.void, layer)));
  assert.ok(error instanceof LogFileUnavailable);
  assert.match(error.message, /^cannot open the log file \/dev\/null\/x\.log: /);
});
