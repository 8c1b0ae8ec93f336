/**
 * Keeps `statements.json` and the tests in step, and prints how many statements are proven.
 */
import assert from "node:assert/strict";
import { citedIds, collectCitations, readStatements, titlesOf } from "./ledger.ts";

const REFRESH = "run: deno run -A tests/conformance/refresh.ts";

Deno.test("ledger: every id is well-formed and appears once", async () => {
  const ids = (await readStatements()).map((statement) => statement.id);
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.deepEqual(citedIds(`[${id}]`), [id]);
});

Deno.test("ledger: tests cite only statements of the ledger", async () => {
  const known = new Set((await readStatements()).map((statement) => statement.id));
  const unknown = Array.from(await collectCitations()).filter(([id]) => !known.has(id));
  assert.deepEqual(unknown, []);
});

Deno.test("ledger: the tests listed are exactly those that cite the statement", async () => {
  const citations = await collectCitations();
  for (const { id, tests } of await readStatements()) {
    assert.deepEqual(Array.from(tests).sort(), (citations.get(id) ?? []).sort(), `${id} is out of step; ${REFRESH}`);
  }
});

Deno.test("ledger: every statement has a test or says why not", async () => {
  const statements = await readStatements();
  const bare = statements.filter(({ tests, reason }) => tests.length === 0 && (reason ?? "") === "");
  assert.deepEqual(bare.map(({ id, summary }) => `${id} ${summary}`), []);
  const binding = statements.filter(({ side }) => side === "server");
  const proven = binding.filter(({ tests }) => tests.length > 0);
  const line = `${proven.length} of ${binding.length} proven, ${binding.length - proven.length} with a reason\n`;
  await Deno.stdout.write(new TextEncoder().encode(line));
});

Deno.test("ledger: titles are found in every form that tests use", () => {
  // The ids are put in at run time: written out, these lines would count as tests themselves.
  const ids = ["MQTT-1.5.4-1", "MQTT-1.5.4-2", "3.1.1:MQTT-3.1.0-2", "MQTT-1.5.4-3", "MQTT-1.5.5-1"];
  const template = [
    'Deno.test("plain «0»", () => {});',
    "Deno.test(`for ${value} «1»`, () => {});",
    'Deno.test(\n  "on its own line «2»",\n  () => {},\n);',
    'await test.step("a step «3»", () => {});',
    'Deno.test({ name: "an object «4»", fn() {} });',
  ].join("\n");
  const source = template.replaceAll(/«(\d)»/g, (_, index) => `[${ids[index]}]`);
  assert.deepEqual(titlesOf(source).flatMap(citedIds), ids);
});
