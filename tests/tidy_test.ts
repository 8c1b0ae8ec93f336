/**
 * Goal: the repository keeps its house rules (floors, sizes, names, single owners of risky APIs).
 * Method: walk every file and collect all problems, so that one run names them all. The rules are in `tidy/rules.ts`,
 * and `tidy/rules_test.ts` shows each of them failing.
 */
import * as assert from "node:assert/strict";
import { problemsOfCounters } from "./tidy/counters.ts";
import { circlesOf, importedFiles } from "./tidy/imports.ts";
import { problemsOfSource, problemsOfText, type SourceFile } from "./tidy/rules.ts";
import { maskSource } from "./tidy/source.ts";

const ROOT = new URL("../", import.meta.url);
/** What tools and the broker itself leave in a working copy. */
const NOT_OURS = new Set([".git", "node_modules", "dist", "data", "cov", "deno.lock"]);
const TEXT_FILE =
  /(?:\.(?:ts|js|json|md|ya?ml|py|sh|html|css|service)|Dockerfile|\/run|\.dockerignore|\.gitignore|LICENSE)$/;

/** Reads all text files below `folder`, a path from the root that is empty or ends in `/`. */
async function readTexts(folder: string): Promise<SourceFile[]> {
  const files: SourceFile[] = [];
  for await (const entry of Deno.readDir(new URL(folder === "" ? "." : folder, ROOT))) {
    const path = folder + entry.name;
    if (NOT_OURS.has(entry.name)) continue;
    if (entry.isDirectory) files.push(...await readTexts(`${path}/`));
    else if (entry.isFile && TEXT_FILE.test(`/${path}`)) {
      files.push({ path, text: await Deno.readTextFile(new URL(path, ROOT)) });
    }
  }
  return files;
}

Deno.test("source files keep the house rules", async () => {
  const sources = (await readTexts("")).filter((file) => /^(?:src|tests|bench)\/.*\.ts$/.test(file.path));
  for (const folder of ["src/", "tests/"]) {
    assert.ok(sources.some((file) => file.path.startsWith(folder)), `no sources found in ${folder}`);
  }
  const problems = sources.flatMap(problemsOfSource).sort();
  assert.equal(problems.length, 0, `${problems.length} problems:\n${problems.join("\n")}`);
});

Deno.test("no two files of the program import each other in a circle", async () => {
  const program = (await readTexts("src/")).filter((file) => file.path.endsWith(".ts"));
  assert.ok(program.length > 0);
  const imports = new Map(program.map(({ path, text }) => [path, importedFiles(path, maskSource(text))]));
  assert.deepEqual(circlesOf(imports), []);
});

Deno.test("every counter is written, and every reason of a drop is given by somebody", async () => {
  const program = (await readTexts("src/")).filter((file) => file.path.endsWith(".ts"));
  assert.deepEqual(problemsOfCounters(program), []);
});

Deno.test("no published text names a path of one machine", async () => {
  const texts = await readTexts("");
  assert.ok(texts.some((file) => file.path === "README.md") && texts.some((file) => file.path === ".ci/run"));
  assert.deepEqual(texts.flatMap(problemsOfText), []);
});

Deno.test("every dependency is pinned exactly and has its row in the architecture document", async () => {
  const manifest = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT))) as {
    readonly imports: Readonly<Record<string, string>>;
  };
  const architecture = await Deno.readTextFile(new URL("docs/ARCHITECTURE.md", ROOT));
  const targets = Object.values(manifest.imports);
  assert.ok(targets.length > 0);
  for (const target of targets) {
    const match = /^npm:\/?((?:@[^/]+\/)?[^@/]+)@\d+\.\d+\.\d+\/?$/.exec(target);
    assert.ok(match !== null, `${target} is not an exact version from npm`);
    const hasRow = architecture.split("\n").some((line) => line.startsWith(`| \`${match[1]}\` `));
    assert.ok(hasRow, `${match[1]} has no row in docs/ARCHITECTURE.md`);
  }
});

Deno.test("the documents link and name only files that exist", async () => {
  const texts = await readTexts("");
  const paths = new Set(texts.map((file) => file.path));
  const documents = texts.filter((file) => file.path.endsWith(".md"));
  const missing = documents.flatMap(({ path, text }) => {
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)]
      .map((match) => new URL(match[1]!, `file:///${path}`).pathname.slice(1));
    const commanded = [...text.matchAll(/\bdeno (?:test|run|bench) (?:-\S+ )*([a-z][\w/.]*)/g)].map((match) =>
      match[1]!
    );
    const names = [...text.matchAll(/`((?:[a-z_]+\/)+[a-z_]+\.ts)`/g)].map((match) => match[1]!);
    const isThere = (target: string) => [...paths].some((known) => known === target || known.startsWith(`${target}/`));
    return [
      ...[...links, ...commanded].filter((target) => !isThere(target)),
      ...names.filter((name) => !paths.has(name) && !paths.has(`src/${name}`)),
    ].map((target) => `${path}: ${target}`);
  });
  assert.ok(documents.length > 0);
  assert.deepEqual(missing, []);
});
