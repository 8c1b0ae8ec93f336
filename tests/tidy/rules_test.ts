/**
 * Goal: each tidy rule can fail. Method: a small file that breaks one rule, next to one that comes close and is fine.
 */
import * as assert from "node:assert/strict";
import { COUNTER_FILES, problemsOfCounters } from "./counters.ts";
import { circlesOf } from "./imports.ts";
import { problemsOfSource, problemsOfText } from "./rules.ts";

const HEADER = "/** A file that does something. */\n";

/** Problems of a file with a proper header, without the path in front. */
function problems(path: string, body: string): string[] {
  return problemsOfSource({ path, text: HEADER + body }).map((problem) => problem.slice(path.length + 2));
}

/** `count` lines of a statement. */
const lines = (count: number) => "  count();\n".repeat(count);

const BAD: readonly (readonly [rule: string, path: string, body: string, problem: RegExp])[] = [
  [
    "higher floor",
    "src/topics/a.ts",
    'import { b } from "../broker/b.ts";',
    /imports src\/broker\/b\.ts, floor 5 from/,
  ],
  [
    "same floor",
    "src/topics/a.ts",
    'import type { B } from "../storage/b.ts";',
    /imports src\/storage\/b\.ts, floor 3/,
  ],
  ["dynamic import", "src/protocol/a.ts", 'const b = import("../auth/b.ts");', /imports src\/auth\/b\.ts/],
  ["entry point", "src/broker/a.ts", 'import { main } from "../main.ts";', /imports src\/main\.ts, floor 7/],
  ["tests from src", "src/broker/a.ts", 'import { b } from "../../tests/b.ts";', /not part of the program/],
  ["manifest", "src/broker/a.ts", 'import deno from "../../deno.json";', /imports deno\.json, which is not part/],
  ["higher room", "src/storage/log/a.ts", 'import { b } from "../recovery/b.ts";', /room recovery from room log/],
  ["same height", "src/auth/ldap/a.ts", 'import type { B } from "../http/b.ts";', /room http from room ldap/],
  [
    "room below the folder",
    "src/storage/disk/a.ts",
    'import { b } from "../b.ts";',
    /imports src\/storage\/b\.ts, room/,
  ],
  ["unknown room", "src/storage/stuff/a.ts", "", /room stuff has no place in folder storage/],
  ["room of a flat folder", "src/topics/stuff/a.ts", "", /room stuff has no place in folder topics/],
  [
    "manifest elsewhere in config",
    "src/config/a.ts",
    'import deno from "../../deno.json";',
    /deno\.json, which is not/,
  ],
  ["unknown folder", "src/stuff/a.ts", "", /folder stuff has no floor/],
  ["re-export all", "src/broker/a.ts", 'export * from "./b.ts";', /re-export/],
  ["re-export names", "src/broker/a.ts", 'export { b } from "./b.ts";', /re-export/],
  ["barrel name", "src/broker/mod.ts", "", /barrel file/],
  ["default export", "src/broker/a.ts", "export default 1;", /default export/],
  ["camel case", "src/broker/routerTable.ts", "", /not snake_case/],
  ["vague file", "src/broker/string_utils.ts", "", /says nothing/],
  ["vague folder", "tests/helpers/a.ts", "", /says nothing/],
  ["any", "src/broker/a.ts", "const a: any = 1;", /line 2: type any/],
  ["any cast", "tests/a_test.ts", "f(a as any);", /type any/],
  ["console", "src/broker/a.ts", "console.log(1);", /console outside its owner/],
  ["runtime", "src/broker/a.ts", "Effect.runFork(a);", /Effect\.run\* outside its owner/],
  ["uncaught", "src/cli/a.ts", 'addEventListener("error", hear);', /event of the process outside/],
  ["uncaught, by name", "src/cli/a.ts", 'globalThis.addEventListener("error", hear);', /event of the process outside/],
  ["clock", "src/session/a.ts", "const now = Date.now();", /impure call/],
  ["randomness", "src/topics/a.ts", "pick(Math.random());", /impure call/],
  ["promise", "src/protocol/a.ts", "async function f(): Promise<void> {}", /impure call/],
  [
    "effect in core",
    "src/session/a.ts",
    'import * as Effect from "effect/Effect";',
    /imports effect\/Effect in the pure/,
  ],
  ["effect in counters", "src/metrics/counters.ts", 'import { a } from "effect";', /imports effect in the pure/],
  ["file API", "src/broker/a.ts", "Deno.readTextFileSync(path);", /file API outside its owner/],
  ["node:fs", "src/broker/a.ts", 'import * as fs from "node:fs/promises";', /imports node:fs outside/],
  ["mqtt-packet", "src/session/a.ts", 'import { parser } from "mqtt-packet";', /imports mqtt-packet outside/],
  ["test library", "src/session/a.ts", 'import fc from "fast-check";', /imports fast-check outside/],
  ["unfinished", "src/broker/a.ts", "// TODO later", /unfinished work/],
  ["only", "tests/a_test.ts", "Deno.test.only(t);", /test switched off/],
  ["ignore", "tests/a_test.ts", "Deno.test({ ignore: true, fn });", /test switched off/],
  ["long line", "src/broker/a.ts", `f(${"1".repeat(140)});`, /line 2: 144 characters/],
  ["long file", "src/broker/a.ts", "f();\n".repeat(400), /401 lines, 400 allowed/],
  ["long function", "src/broker/a.ts", `function f(a: { b: 1 }): void {\n${lines(69)}}`, /function of 71 lines/],
  [
    "long method",
    "src/broker/a.ts",
    `class A {\n  f(): Map<A, { b: 1 }> {\n${lines(69)}}\n}`,
    /line 3: function of 71/,
  ],
  ["long arrow", "src/broker/a.ts", `const f = () => {\n${lines(69)}};`, /function of 71 lines/],
  ["long generator", "src/broker/a.ts", `const f = Effect.gen(function* () {\n${lines(69)}});`, /function of 71 lines/],
  ["code in template", "src/broker/a.ts", "const t = `a ${console.log(1)} b`;", /console outside/],
];

for (const [rule, path, body, problem] of BAD) {
  Deno.test(`tidy rules find: ${rule}`, () => {
    const found = problems(path, body);
    assert.equal(found.length, 1, found.join("\n"));
    assert.match(found[0]!, problem);
  });
}

const GOOD: readonly (readonly [what: string, path: string, body: string])[] = [
  ["lower rooms and the own room", "src/storage/log/a.ts", 'import "../model/b.ts";\nimport "./c.ts";'],
  ["rooms from their folder", "src/storage/a.ts", 'import "./log/b.ts";\nimport "./recovery/c.ts";'],
  ["lower floors and the own folder", "src/broker/a.ts", 'import "../session/b.ts";\nimport "./c.ts";'],
  ["the manifest where the version is", "src/config/version.ts", 'import deno from "../../deno.json";'],
  ["the command line and the entry point together", "src/cli/a.ts", 'import "../app.ts";'],
  ["tests that import anything", "tests/broker/a_test.ts", 'import "../../src/main.ts";\nEffect.runPromise(a);'],
  [
    "words in strings, comments and patterns",
    "src/session/a.ts",
    '// any console.log\nf("any Date.now()", /any await/);',
  ],
  ["a division next to words", "src/session/a.ts", "const a = (b) / c; const d = e / f;"],
  ["listening to anything else", "src/broker/a.ts", 'signal.addEventListener("abort", hear);'],
  ["members and parts of words called any", "src/broker/a.ts", "AbortSignal.any(list);\nconst company = many;"],
  ["template text", "src/session/a.ts", "const t = `await ${`any ${b}`} Date.now() {`;"],
  ["import written in a string", "src/topics/a.ts", "const s = 'import x from \"../broker/b.ts\"';"],
  ["owners of an API", "src/listeners/plain_listener.ts", "Deno.listen({ port: 0 });"],
  ["a long class", "src/broker/a.ts", `class A extends B<A, {\n  c: 1;\n}>()("d") {\n${"  e = 1;\n".repeat(80)}}`],
  ["a long table", "src/broker/a.ts", `const A = {\n${'  e: "}",\n'.repeat(80)}} as const;`],
  ["a long type", "src/broker/a.ts", `export type A = {\n${"  e: 1;\n".repeat(80)}};`],
  ["a function of 70 lines", "src/broker/a.ts", `function f() {\n${lines(68)}}`],
  ["a file of 400 lines", "src/broker/a.ts", "f();\n".repeat(399)],
];

for (const [what, path, body] of GOOD) {
  Deno.test(`tidy rules allow: ${what}`, () => {
    assert.deepEqual(problems(path, body), []);
  });
}

Deno.test("tidy rules want a header comment in src", () => {
  assert.deepEqual(problemsOfSource({ path: "src/main.ts", text: "export const a = 1;\n" }), [
    "src/main.ts: no header comment",
  ]);
});

Deno.test("tidy rules find the path of one machine in any text", () => {
  const path = ["", "work", "main"].join("/");
  for (const text of [`cd ${path}`, `x\n[here](${path})`, `"${path}/a.ts"`]) {
    assert.equal(problemsOfText({ path: "README.md", text }).length, 1, text);
  }
  for (const text of ["https://example.org/work/", "src/work/a", "/workers", "./work/"]) {
    assert.deepEqual(problemsOfText({ path: "README.md", text }), [], text);
  }
});

Deno.test("tidy rules find each import circle once, with the way round, and no other", () => {
  const imports = new Map([
    ["a.ts", ["b.ts", "d.ts"]],
    ["b.ts", ["c.ts"]],
    ["c.ts", ["a.ts", "d.ts"]],
    ["d.ts", ["e.ts"]],
    ["f.ts", ["f.ts"]],
  ]);
  assert.deepEqual(circlesOf(imports), [
    "import circle: a.ts → b.ts → c.ts → a.ts",
    "import circle: f.ts → f.ts",
  ]);
  assert.deepEqual(circlesOf(new Map([["a.ts", ["b.ts", "c.ts"]], ["b.ts", ["c.ts"]]])), []);
});

Deno.test("tidy rules find counters that nothing writes and reasons that nobody gives", () => {
  const [path, second] = COUNTER_FILES as [string, string];
  const text = `const DROP_REASONS = ["one", "two"];
class Counters {
  read = 0;
  written = 0;
  less = 0;
  table: Record<Reason, number> = { one: 0, two: 0 };
  ask: () => number = () => 0;
  readonly seen = new Histogram();
}`;
  const write = `counters.written++; counters.less -= 2; this.#counters.table[reason]++; drop("one");
    counters.ask = f; counters.seen.observe(1);`;
  const sources = [{ path, text }, { path: second, text: "class A {\n  unseen = 0;\n}" }];
  const use = { path: "src/broker/a.ts", text: `${write} if (counters.read === counters.unseen) f(counters.read);` };
  assert.deepEqual(problemsOfCounters([...sources, use]), [
    `${path}:3: nothing writes read`,
    `${path}: nothing is dropped for the reason two`,
    `${second}:2: nothing writes unseen`,
  ]);
  const all = { path: "src/broker/b.ts", text: '++counters.read; counters.unseen += 1; drop("two");' };
  assert.deepEqual(problemsOfCounters([...sources, use, all]), []);
});
