/**
 * What is written about the schema: the reference, `config show`, the examples, and rules every option keeps.
 */

import * as Effect from "effect/Effect";
import assert from "node:assert/strict";
import { load } from "../../src/config/load.ts";
import { type Config, OPTIONS } from "../../src/config/options/schema.ts";
import type { Origin } from "../../src/config/reading/decode.ts";
import { renderReference, renderValues } from "../../src/config/reference.ts";

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

Deno.test("options lie in the section that their key, or another spelling of it, names and explain themselves", () => {
  for (const { key, aliases, path, doc } of OPTIONS.options) {
    const sections = [key, ...aliases ?? []].map((spelling) =>
      spelling.slice(0, Math.max(0, spelling.lastIndexOf(".")))
    );
    assert.ok(sections.includes(path.slice(0, -1).join(".")), key);
    assert.match(key, /^[a-z]+(\.[a-z]+(-[a-z]+)*)*$/);
    assert.match(doc, /\.$/, key);
  }
  for (const { key, doc } of OPTIONS.options.flatMap((option) => option.entries?.options ?? [])) {
    assert.match(key, /^[a-z]+(-[a-z]+)*(\.[a-z]+(-[a-z]+)*)*$/);
    assert.match(doc, /\.$/, key);
  }
});

Deno.test("the examples of the reference are valid configurations that change something", () => {
  const defaults = Effect.runSync(load(NO_SOURCES)).config;
  const examples = OPTIONS.options.flatMap(({ example }) => example ?? []);
  assert.ok(examples.length > 0);
  for (const example of examples) assert.notDeepEqual(loadText(example), defaults);
});

Deno.test("no option holds a secret: what may be one is the name of a file", () => {
  const entries = OPTIONS.options.flatMap((option) => [option, ...option.entries?.options ?? []]);
  for (const { key, isSecret } of entries) {
    assert.notEqual(isSecret, true, key);
    if (/password|secret|token|(?:^|[.-])key$/.test(key)) assert.match(key, /-file$|tls[.-]key$/);
  }
});

Deno.test("renderValues writes a file that loads to the same configuration", () => {
  const flags = new Map([["bind", "[::1]:1883"], ["ws-bind", ""], ["keep-alive", "90"], ["log-file", "a #b: c.log"]]);
  flags.set(
    "listeners",
    '[{name: "null", type: wss, bind: "[::1]:1", tls: {cert: "a: b", key: k}, allow-anonymous: false}, ' +
      "{name: b, type: unix, path: /run/b c, protocol-versions: [5]}]",
  );
  flags.set("server-trusted-proxies", "::1,10.0.0.0/8").set("auth-chain", "jwt,http");
  const first = Effect.runSync(load({ ...NO_SOURCES, flags }));
  const path = Deno.makeTempFileSync({ suffix: ".yaml" });
  try {
    Deno.writeTextFileSync(path, renderValues(first.origins, { isOriginShown: true }));
    const second = Effect.runSync(load({ ...NO_SOURCES, configPath: path }));
    assert.deepEqual(second.config, first.config);
    assert.equal(second.config.log.file, "a #b: c.log");
    assert.deepEqual(second.config.listeners.map(({ name, socketPath }) => [name, socketPath]), [
      ["null", undefined],
      ["b", "/run/b c"],
    ]);
  } finally {
    Deno.removeSync(path);
  }
});

Deno.test("renderValues writes a list of listeners key by key, with its place in the first line", () => {
  const text = "[{name: a, type: ws, bind: 7, path: /x}, {name: b, type: tcp, bind: '[::1]:8'}]";
  const list = (origins: readonly Origin[]) => origins.filter(({ option }) => option.key === "listeners");
  const { origins } = Effect.runSync(load({ ...NO_SOURCES, flags: new Map([["listeners", text]]) }));
  assert.equal(
    renderValues(list(origins), { isOriginShown: false }),
    "listeners:\n  - name: a\n    type: ws\n    bind: 0.0.0.0:7\n    path: /x\n" +
      '  - name: b\n    type: tcp\n    bind: "[::1]:8"\n',
  );
  assert.match(
    renderValues(list(origins), { isOriginShown: true }),
    /^listeners: +# flag --listeners\n {2}- name: a\n/,
  );
  const { origins: defaults } = Effect.runSync(load(NO_SOURCES));
  assert.equal(renderValues(list(defaults), { isOriginShown: true }), "listeners: [] # default\n");
});

const MIB = 2 ** 20;

/** What each example is for, in figures: connections; buffer; sync mode; age, size, check, workers, batch; SQLite. */
const EXAMPLES = {
  development: {
    connections: 1000,
    memoryBufferBytes: 64 * MIB,
    wal: { syncMode: "batch", batchSyncSize: 50, forceFsync: false },
    compaction: [1_800_000, 10_000_000, 60_000, 1, 100],
    sqlite: [10_000, "MEMORY", 128 * MIB, 10_000, "NORMAL", "WAL", true],
  },
  production: {
    connections: 10_000,
    memoryBufferBytes: 256 * MIB,
    wal: { syncMode: "immediate", forceFsync: false },
    compaction: [7_200_000, 100_000_000, 300_000, 2, 1000],
    sqlite: [100_000, "MEMORY", 512 * MIB, 30_000, "NORMAL", "WAL", true],
  },
  "high-durability": {
    connections: 5000,
    memoryBufferBytes: 64 * MIB,
    wal: { syncMode: "immediate", forceFsync: true, crashRecoveryValidation: true },
    compaction: [86_400_000, 50_000_000, 600_000, 1, 500],
    sqlite: [25_000, "FILE", 128 * MIB, 60_000, "FULL", "WAL", true],
  },
  "high-throughput": {
    connections: 50_000,
    memoryBufferBytes: 1024 * MIB,
    wal: { syncMode: "periodic", syncIntervalMs: 1000, forceFsync: false },
    compaction: [3_600_000, 200_000_000, 900_000, 4, 2000],
    sqlite: [-204_800, "MEMORY", 1024 * MIB, 5000, "OFF", "MEMORY", false],
  },
};

for (const [name, expected] of Object.entries(EXAMPLES)) {
  Deno.test(`examples/${name}.yaml is a valid configuration`, () => {
    const configPath = new URL(`examples/${name}.yaml`, ROOT).pathname;
    const { config, filePath } = Effect.runSync(load({ ...NO_SOURCES, configPath }));
    assert.equal(filePath, configPath);
    assert.equal(config.mqtt.maxConnections, expected.connections);
    const { storage } = config;
    assert.equal(storage.mode, "disk");
    assert.equal(storage.memoryBufferBytes, expected.memoryBufferBytes);
    assert.deepEqual({ ...storage.wal, ...expected.wal }, storage.wal);
    assert.deepEqual(Object.values(storage.compaction), expected.compaction);
    assert.deepEqual(Object.values(storage.sqlite), expected.sqlite);
  });
}

Deno.test("examples/sqlite-tuning.yaml holds the defaults, and each commented variant is valid and another", () => {
  const text = Deno.readTextFileSync(new URL("examples/sqlite-tuning.yaml", ROOT));
  const variants = text.split("\n\n").filter((block) => block.includes("# storage:"))
    .map((block) => block.slice(block.indexOf("# storage:")).replaceAll(/^# /gm, ""));
  assert.ok(variants.length >= 5);
  const defaults = Effect.runSync(load(NO_SOURCES)).config.storage;
  assert.deepEqual(loadText(text).storage, defaults);
  for (const variant of variants) assert.notDeepEqual(loadText(variant).storage.sqlite, defaults.sqlite, variant);
});

function loadText(text: string): Config {
  const configPath = Deno.makeTempFileSync({ suffix: ".yaml" });
  try {
    Deno.writeTextFileSync(configPath, text);
    return Effect.runSync(load({ ...NO_SOURCES, configPath })).config;
  } finally {
    Deno.removeSync(configPath);
  }
}
