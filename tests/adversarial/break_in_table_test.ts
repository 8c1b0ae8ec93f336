/**
 * The table of attempts is what the tests play, and what `docs/attempts.md` says. To write the page anew after a change
 * of the table: `UPDATE_ATTEMPTS=1 deno test -A tests/adversarial/break_in_table_test.ts`.
 */
import assert from "node:assert/strict";
import { ATTEMPTS, formatAttempts, SINGLE_ATTEMPTS } from "./break_in_attempts.ts";

const PAGE = new URL("../../docs/attempts.md", import.meta.url);
const TESTS = ["credentials", "host", "proxies", "scram", "sessions", "tls"];

Deno.test("docs/attempts.md is the table of attempts", async () => {
  if (Deno.env.get("UPDATE_ATTEMPTS") === "1") await Deno.writeTextFile(PAGE, formatAttempts());
  assert.equal(await Deno.readTextFile(PAGE), formatAttempts());
});

Deno.test("every door and every single attempt of the table has its test", async () => {
  const sources = TESTS.map((name) => Deno.readTextFile(new URL(`break_in_${name}_test.ts`, import.meta.url)));
  const text = (await Promise.all(sources)).join("\n").replaceAll("${kind}", "KIND");
  for (const door of Object.keys(ATTEMPTS)) assert.ok(text.includes(`playDoor("${door}", `), door);
  for (const title of Object.keys(SINGLE_ATTEMPTS)) {
    const written = title.replace(/a link to a (?:device|pipe|directory|nothing)/, "a link to a KIND");
    assert.ok(text.includes(`break-in: ${written}`), title);
  }
});
