/**
 * YAML as plain values with lines: what is kept as it is written, what is refused, and the bounds.
 */
import assert from "node:assert/strict";
import {
  readYaml,
  YAML_ALIASES_MAX,
  YAML_DEPTH_MAX,
  YAML_LENGTH_MAX,
  type YamlValue,
} from "../../src/system/yaml_document.ts";

/** The document as plain data without lines. */
function plain(value: YamlValue | undefined): unknown {
  if (value === undefined) return undefined;
  if (value.kind === "scalar") return value.text;
  if (value.kind === "list") return value.items.map(plain);
  return Object.fromEntries(value.entries.map((entry) => [entry.key, plain(entry.value)]));
}

function read(text: string): unknown {
  const { root, problems } = readYaml("file.yaml", text);
  assert.deepEqual(problems, []);
  return plain(root);
}

Deno.test("readYaml keeps every scalar as its text in the file", () => {
  assert.deepEqual(read('a: 007\nb: [yes, "1", 0x10, 1.50]\nc:\nd: ~\ne: null\nf: ""\n5: true'), {
    a: "007",
    b: ["yes", "1", "0x10", "1.50"],
    c: undefined,
    d: undefined,
    e: undefined,
    f: "",
    5: "true",
  });
});

Deno.test("readYaml gives an empty file as nothing", () => {
  assert.deepEqual(readYaml("file.yaml", "# nothing here\n"), {
    root: { kind: "scalar", line: 1, text: undefined },
    problems: [],
  });
});

Deno.test("readYaml knows the line of every key and value", () => {
  const { root } = readYaml("file.yaml", "# head\nnames:\n  - a\n\n  - b\nempty:\n");
  assert.deepEqual(root, {
    kind: "map",
    line: 2,
    entries: [
      {
        key: "names",
        line: 2,
        value: {
          kind: "list",
          line: 3,
          items: [{ kind: "scalar", line: 3, text: "a" }, { kind: "scalar", line: 5, text: "b" }],
        },
      },
      { key: "empty", line: 6, value: { kind: "scalar", line: 6, text: undefined } },
    ],
  });
});

Deno.test("readYaml unfolds aliases", () => {
  assert.deepEqual(read("a: &names [x, y]\nb: *names"), { a: ["x", "y"], b: ["x", "y"] });
});

const BOMB = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"];
for (let level = 1; level < 8; level++) {
  BOMB.push(`a${level}: &a${level} [${Array.from({ length: 10 }, () => `*a${level - 1}`).join(", ")}]`);
}

const REFUSED: readonly (readonly [title: string, text: string, problem: RegExp])[] = [
  ["a syntax error", "a: 1\nb: [1", /^file\.yaml:2: Flow sequence/],
  ["a key that is given twice", "a: 1\nb: 2\na: 3", /^file\.yaml:3: key "a" given twice, first in line 1$/],
  ["a key that is no scalar", "a: 1\n? [b]\n: 2", /^file\.yaml:2: /],
  ["a tag", "a: !secret b", /^file\.yaml:1: Unresolved tag/],
  ["a second document", "a: 1\n---\nb: 1", /^file\.yaml:2: /],
  ["an alias of nothing", "a: *b", /^file\.yaml:1: /],
  ["an alias inside its own anchor", "a: 1\nb: &b [*b]", /^file\.yaml:2: more than/],
  ["aliases of aliases", BOMB.join("\n"), new RegExp(`^file\\.yaml:\\d+: more than ${YAML_ALIASES_MAX} aliases$`)],
  [
    "too much depth",
    `a:\n  ${"[".repeat(YAML_DEPTH_MAX)}${"]".repeat(YAML_DEPTH_MAX)}`,
    new RegExp(`^file\\.yaml:2: more than ${YAML_DEPTH_MAX} levels$`),
  ],
  ["depth beyond all measure", "[".repeat(100_000), /^file\.yaml:1: /],
  ["too long a text", " ".repeat(YAML_LENGTH_MAX + 1), /^file\.yaml:1: longer than/],
];

for (const [title, text, problem] of REFUSED) {
  Deno.test(`readYaml refuses ${title}`, () => {
    const { root, problems } = readYaml("file.yaml", text);
    assert.equal(root, undefined);
    assert.match(problems[0] ?? "", problem);
    assert.ok(problems.length <= 20);
  });
}
