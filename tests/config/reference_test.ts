/**
 * What is written about the schema: the reference, `config show`, the examples, and rules every option keeps.
 */

import * as Effect from "effect/Effect";
import assert from "node:assert/strict";
import { load } from "../../src/config/load.ts";
import { renderReference, renderValues } from "../../src/config/reference.ts";
import { OPTIONS } from "../../src/config/schema.ts";

const ROOT = new URL("../../", import.meta.url);
const NO_SOURCES = { configPath: undefined, searchPaths: [], readEnv: () => ({}), flags: new Map<string, string>() };

Deno.test("docs/configuration.md is what the schema renders; promptmq config docs writes it", () => {
  assert.equal(Deno.readTextFileSync(new URL("docs/configuration.md", ROOT)), renderReference(OPTIONS));
});

Deno.test("options have distinct keys, environment names, flags and field paths", () => {
  for (const name of ["key", "envName", "flagName"] as const) {
    const names = OPTIONS.options.map((option) => option[name]);
    assert.equal(new Set(names).size, names.length, name);
  }
  assert.equal(new Set(OPTIONS.options.map(({ path }) => path.join("."))).size, OPTIONS.options.length);
});

Deno.test("options lie in the section their key names and explain themselves", () => {
  for (const { key, path, doc } of OPTIONS.options) {
    assert.equal(key.slice(0, key.lastIndexOf(".")), path.slice(0, -1).join("."), key);
    assert.match(key, /^[a-z]+(\.[a-z]+(-[a-z]+)*)+$/);
    assert.match(doc, /\.$/, key);
  }
});

Deno.test("renderValues writes a file that loads to the same configuration", () => {
  const flags = new Map([["bind", "[::1]:1883"], ["ws-bind", ""], ["keep-alive", "90"], ["log-file", "a #b: c.log"]]);
  const first = Effect.runSync(load({ ...NO_SOURCES, flags }));
  const path = Deno.makeTempFileSync({ suffix: ".yaml" });
  try {
    Deno.writeTextFileSync(path, renderValues(first.origins, { isOriginShown: true }));
    const second = Effect.runSync(load({ ...NO_SOURCES, configPath: path }));
    assert.deepEqual(second.config, first.config);
    assert.equal(second.config.log.file, "a #b: c.log");
  } finally {
    Deno.removeSync(path);
  }
});

const CONNECTIONS_OF_EXAMPLE = {
  development: 1000,
  production: 10_000,
  "high-durability": 5000,
  "high-throughput": 50_000,
};

for (const [name, connections] of Object.entries(CONNECTIONS_OF_EXAMPLE)) {
  Deno.test(`examples/${name}.yaml is a valid configuration`, () => {
    const configPath = new URL(`examples/${name}.yaml`, ROOT).pathname;
    const { config, filePath } = Effect.runSync(load({ ...NO_SOURCES, configPath }));
    assert.equal(filePath, configPath);
    assert.equal(config.mqtt.maxConnections, connections);
  });
}
