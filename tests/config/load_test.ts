/**
 * Loading: precedence, origins, spellings, and the exact line for every kind of mistake.
 */

import * as Effect from "effect/Effect";
import assert from "node:assert/strict";
import { option, OptionIndex, type ValuesOf } from "../../src/config/kinds/option.ts";
import { integer, optionalPath } from "../../src/config/kinds/value_types.ts";
import { load, type Loaded, loadWith } from "../../src/config/load.ts";
import { REDACTED, renderValues } from "../../src/config/reference.ts";
import { type Given, loadGiven, problemsOfGiven, withSources } from "./loading.ts";

function placeOf(loaded: Loaded<unknown>, key: string): string | undefined {
  const place = loaded.origins.find((origin) => origin.option.key === key)?.place;
  return place?.replace(/^.*\/c\.yaml/, "c.yaml");
}

const STORAGE_DEFAULTS = {
  mode: "disk",
  dataDir: "./data",
  walDir: undefined,
  memoryBufferBytes: 268_435_456,
  minFreeSpaceBytes: 67_108_864,
  wal: {
    syncMode: "immediate",
    syncIntervalMs: 100,
    batchSyncSize: 100,
    forceFsync: false,
    noSync: false,
    crashRecoveryValidation: true,
    segmentBytes: 16_777_216,
    record: "acknowledged",
    onCorruption: "quarantine",
  },
  compaction: {
    maxMessageAgeMs: 7_200_000,
    maxWalBytes: 100_000_000,
    checkIntervalMs: 300_000,
    concurrentWorkers: 1,
    batchSize: 1000,
  },
  sqlite: {
    cacheSize: 50_000,
    tempStore: "MEMORY",
    mmapSize: 268_435_456,
    busyTimeoutMs: 30_000,
    synchronous: "NORMAL",
    journalMode: "WAL",
    foreignKeys: true,
  },
};

Deno.test("load without sources gives the defaults, decoded and deeply frozen", () => {
  const { config, filePath } = loadGiven({});
  assert.equal(filePath, undefined);
  assert.deepEqual(config.server.bind, { hostname: "0.0.0.0", port: 1883 });
  assert.equal(config.server.readTimeoutMs, 30_000);
  assert.equal(config.log.file, undefined);
  assert.equal(config.log.maxSizeBytes, 100_000_000);
  assert.equal(config.mqtt.maxPacketSize, 1_048_576);
  assert.equal(config.mqtt.keepAliveSeconds, 60);
  assert.equal(config.mqtt.maxQos, 2);
  assert.equal(config.mqtt.maxOutboundBytes, 16 * 1_048_576);
  assert.equal(config.auth.allowAnonymous, "loopback");
  assert.deepEqual(config.storage, STORAGE_DEFAULTS);
  const parts = [config, config.mqtt, config.server, config.server.bind, config.storage.wal];
  for (const value of parts) assert.ok(Object.isFrozen(value));
});

Deno.test("load prefers flags to environment to file to defaults and keeps the origin of each value", () => {
  const loaded = loadGiven({
    file: "mqtt:\n  max-inflight: 1\n  max-queued: 1\n  receive-maximum: 1\n",
    env: { PROMPTMQ_MQTT_MAX_INFLIGHT: "2", PROMPTMQ_MQTT_MAX_QUEUED: "2" },
    flags: { "max-inflight": "3" },
  });
  assert.equal(loaded.config.mqtt.maxInflight, 3);
  assert.equal(loaded.config.mqtt.maxQueued, 2);
  assert.equal(loaded.config.mqtt.receiveMaximum, 1);
  assert.equal(loaded.config.mqtt.topicAliasMaximum, 65_535);
  assert.equal(placeOf(loaded, "mqtt.max-inflight"), "flag --max-inflight");
  assert.equal(placeOf(loaded, "mqtt.max-queued"), "env PROMPTMQ_MQTT_MAX_QUEUED");
  assert.equal(placeOf(loaded, "mqtt.receive-maximum"), "c.yaml:4");
  assert.equal(placeOf(loaded, "mqtt.topic-alias-max"), "default");
});

Deno.test("load reads snake_case, dotted keys, anchors, empty sections and JSON", () => {
  const yaml = loadGiven({ file: "mqtt:\n  max_inflight: &n 7\n  max-queued: *n\nlog.level: warn\nauth:\n" });
  assert.equal(yaml.config.mqtt.maxInflight, 7);
  assert.equal(yaml.config.mqtt.maxQueued, 7);
  assert.equal(yaml.config.log.level, "warn");
  const json = loadGiven({ file: '{"mqtt": {"max-qos": 1, "retain-available": false}}' });
  assert.equal(json.config.mqtt.maxQos, 1);
  assert.equal(json.config.mqtt.retainAvailable, false);
  assert.equal(loadGiven({ file: "# nothing yet\n" }).config.mqtt.maxQos, 2);
});

Deno.test("load reads the options of the store in every spelling", () => {
  const { storage } = loadGiven({
    file: "storage:\n  wal_dir: /fast/wal\n  wal-sync-interval: 20ms\n  wal-no-sync: yes\n" +
      "  sqlite: {cache-size: -204800, journal-mode: off, busy_timeout: 5s}\n",
    env: { PROMPTMQ_STORAGE_WAL_SYNC_MODE: "batch", PROMPTMQ_STORAGE_SQLITE_SYNCHRONOUS: "full" },
    flags: { "wal-force-fsync": "true", storage: "memory", "data-dir": "/var/lib/promptmq" },
  }).config;
  assert.equal(storage.mode, "memory");
  assert.equal(storage.dataDir, "/var/lib/promptmq");
  assert.equal(storage.walDir, "/fast/wal");
  assert.equal(storage.wal.syncMode, "batch");
  assert.equal(storage.wal.syncIntervalMs, 20);
  assert.deepEqual([storage.wal.forceFsync, storage.wal.noSync], [true, true]);
  assert.deepEqual([storage.sqlite.cacheSize, storage.sqlite.busyTimeoutMs], [-204_800, 5000]);
  assert.deepEqual([storage.sqlite.journalMode, storage.sqlite.synchronous], ["OFF", "FULL"]);
});

Deno.test("load reads lists as words with commas, from any source, and from a file also as a list of YAML", () => {
  const yaml = loadGiven({
    file: "auth:\n  chain: [jwt, &x http]\n  jwt: {secret-file: s, algorithms: hs256}\n" +
      "server:\n  trusted-proxies:\n    - ::1\n    - 10.1.2.3/8\n",
    flags: { "auth-http-url": "http://127.0.0.1/" },
  });
  assert.deepEqual(yaml.config.auth.chain, ["jwt", "http"]);
  assert.deepEqual(yaml.config.auth.jwt.algorithms, ["HS256"]);
  assert.deepEqual(yaml.config.server.trustedProxies.networks, ["::1", "10.0.0.0/8"]);
  const env = loadGiven({ env: { PROMPTMQ_AUTH_CHAIN: "ldap, jwt", PROMPTMQ_SERVER_TRUSTED_PROXIES: "" } });
  assert.deepEqual(env.config.auth.chain, ["ldap", "jwt"]);
  assert.deepEqual(env.config.server.trustedProxies.networks, []);
  assert.deepEqual(loadGiven({ file: "auth: {chain: []}" }).config.auth.chain, []);
  assert.ok(Object.isFrozen(yaml.config.auth.chain));
});

Deno.test("load reads switches from the environment in the words of shells", () => {
  const { config } = loadGiven({
    env: { PROMPTMQ_METRICS_ENABLED: "off", PROMPTMQ_MQTT_RETAIN_AVAILABLE: "0", PROMPTMQ_SERVER_BIND: "" },
  });
  assert.equal(config.metrics.enabled, false);
  assert.equal(config.mqtt.retainAvailable, false);
  assert.equal(config.server.bind, undefined);
});

Deno.test("load ignores the variables Kubernetes makes for a Service named promptmq", () => {
  const env = {
    PROMPTMQ_SERVICE_HOST: "10.0.0.1",
    PROMPTMQ_SERVICE_PORT: "1883",
    PROMPTMQ_SERVICE_PORT_MQTT: "1883",
    PROMPTMQ_PORT: "tcp://10.0.0.1:1883",
    PROMPTMQ_PORT_1883_TCP: "tcp://10.0.0.1:1883",
    PROMPTMQ_PORT_1883_TCP_ADDR: "10.0.0.1",
    HOME: "/home/someone",
  };
  assert.equal(loadGiven({ env }).config.mqtt.maxQos, 2);
});

Deno.test("load searches in order and reads only the first file", () => {
  const directory = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(`${directory}/second.yaml`, "mqtt: {max-qos: 1}");
    Deno.writeTextFileSync(`${directory}/third.yaml`, "mqtt: {max-qos: 0}");
    const searchPaths = ["first", "second", "third"].map((name) => `${directory}/${name}.yaml`);
    const sources = { configPath: undefined, searchPaths, readEnv: () => ({}), flags: new Map() };
    const loaded = Effect.runSync(load(sources));
    assert.equal(loaded.config.mqtt.maxQos, 1);
    assert.equal(loaded.filePath, `${directory}/second.yaml`);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("load refuses a missing --config file", () => {
  const sources = { configPath: "no/such.yaml", searchPaths: [], readEnv: () => ({}), flags: new Map() };
  const { problems } = Effect.runSync(Effect.flip(load(sources)));
  assert.deepEqual(problems, ['cannot read "no/such.yaml" (flag --config): not found']);
});

Deno.test("load says in plain words why a file cannot be read", () => {
  const directory = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(`${directory}/file`, "");
    const named = { searchPaths: [], readEnv: () => ({}), flags: new Map() };
    const cases = [[directory, "is a directory"], [`${directory}/file/x`, "a part of its path is not a directory"]];
    for (const [path = "", why] of cases) {
      const { problems } = Effect.runSync(Effect.flip(load({ ...named, configPath: path })));
      assert.deepEqual(problems, [`cannot read "${path}" (flag --config): ${why}`]);
    }
    const searched = { ...named, configPath: undefined, searchPaths: [`${directory}/file/x`] };
    assert.equal(Effect.runSync(load(searched)).filePath, undefined);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

const BIND = 'an address like 0.0.0.0:1883, [::1]:1883 or :1883 with a port from 0 to 65535, or "" to disable';
const DURATION = "a duration like 100ms, 30s, 5m or 2h, from 1ms to 1d";

const MISTAKES: readonly (readonly [string, Given, readonly string[]])[] = [
  [
    "a word that is none of the choices",
    { file: "log:\n  level: loud\n" },
    ['log.level: expected trace, debug, info, warn, error or fatal, got "loud" (c.yaml:2)'],
  ],
  [
    "a duration without unit",
    { file: "server:\n  read-timeout: 30\n" },
    [`server.read-timeout: expected ${DURATION}, got "30" (c.yaml:2)`],
  ],
  [
    "an address with an impossible port",
    { env: { PROMPTMQ_SERVER_BIND: "a:99999" } },
    [`server.bind: expected ${BIND}, got "a:99999" (env PROMPTMQ_SERVER_BIND)`],
  ],
  [
    "a number out of bounds in a flag",
    { flags: { "max-inflight": "0" } },
    ['mqtt.max-inflight: expected a whole number from 1 to 65535, got "0" (flag --max-inflight)'],
  ],
  [
    "a wrong value that a flag overrides",
    { file: "mqtt:\n  max-qos: 3\n", flags: { "max-qos": "1" } },
    ['mqtt.max-qos: expected 0, 1 or 2, got "3" (c.yaml:2)'],
  ],
  [
    "a memory buffer below its minimum",
    { flags: { "memory-buffer": "64KiB" } },
    ['storage.memory-buffer: expected a size like 65536, 64KiB or 100MB, at least 1MiB, got "64KiB" (flag --memory-buffer)'],
  ],
  [
    "an unknown key near a known one",
    { file: "mqtt:\n  max-qoss: 1\n" },
    ["mqtt.max-qoss: unknown key (c.yaml:2); did you mean mqtt.max-qos?"],
  ],
  [
    "a known key in the wrong section",
    { file: "mqtt:\n  ws-path: /\n" },
    ["mqtt.ws-path: unknown key (c.yaml:2); did you mean server.ws-path?"],
  ],
  [
    "an unknown section, once for all its keys",
    { file: "websocket:\n  a: 1\n  b: 2\n" },
    ["websocket: unknown key (c.yaml:1)"],
  ],
  [
    "an unknown environment variable",
    { env: { PROMPTMQ_LOG_FROMAT: "json" } },
    ["PROMPTMQ_LOG_FROMAT: unknown environment variable; did you mean PROMPTMQ_LOG_FORMAT?"],
  ],
  [
    "a value where a section belongs",
    { file: "mqtt: 5\n" },
    ['mqtt: expected a section with keys, got "5" (c.yaml:1)'],
  ],
  [
    "a list, a section and nothing where a value belongs",
    { file: "metrics:\n  path: [a]\n  topics: {a: 1}\n  enabled:\n" },
    [
      "metrics.path: expected a URL path that starts with /, got a list (c.yaml:2)",
      "metrics.topics: expected a whole number from 0 to 100000, got a section (c.yaml:3)",
      "metrics.enabled: expected true or false, got nothing (c.yaml:4)",
    ],
  ],
  [
    "lists with wrong words, with sections, and with nothing in them",
    { file: "auth:\n  chain: [jwt, radius]\n  jwt: {algorithms: [{a: 1}]}\nserver:\n  trusted-proxies: [::1, ~]\n" },
    [
      "auth.chain: expected a list, separated by commas, of certificate, password-file, jwt, ldap or http, " +
      'got "jwt,radius" (c.yaml:2)',
      "auth.jwt.algorithms: expected a list, separated by commas, of HS256, HS384, HS512, RS256, RS384, RS512, PS256, " +
      "PS384, PS512, ES256, ES384, ES512 or EdDSA, got a list (c.yaml:3)",
      "server.trusted-proxies: expected at most 1024 addresses and networks like ::1 or 10.0.0.0/8, " +
      "separated by commas, got a list (c.yaml:5)",
    ],
  ],
  [
    "a URL with a password, without the password",
    { env: { PROMPTMQ_AUTH_HTTP_URL: "https://u:hunter2@auth.example.org/" } },
    [
      "auth.http.url: expected a URL that starts with https:// or http://, a host, and no user, password or fragment, " +
      'or "" for none, got "…@auth.example.org/" (env PROMPTMQ_AUTH_HTTP_URL)',
    ],
  ],
  [
    "a key given twice in two spellings",
    { file: "mqtt:\n  max-qos: 1\n  max_qos: 2\n" },
    ["mqtt.max-qos: given twice (c.yaml:3), first at c.yaml:2"],
  ],
  [
    "a key given twice in one spelling",
    { file: "mqtt:\n  max-qos: 1\n  max-qos: 2\n" },
    ["c.yaml:3: Map keys must be unique"],
  ],
  ["a file that is not a mapping", { file: "- a\n" }, ["c.yaml:1: expected sections, got a list"]],
  [
    "what this version does not have",
    { file: "cluster:\n  enabled: yes\n" },
    ["cluster.enabled: true is refused, clusters are not in this version (c.yaml:2)"],
  ],
  [
    "bounds and words of the store",
    {
      file:
        "storage:\n  data-dir: ''\n  wal: {segment-size: 4KiB, sync-mode: lazy}\n  sqlite:\n    journal-mode: NONE\n",
      env: { PROMPTMQ_STORAGE_WAL_SYNC_INTERVAL: "0" },
      flags: { "wal-batch-sync-size": "0", "sqlite-mmap-size": "2GiB" },
    },
    [
      'storage.data-dir: expected a directory path, got "" (c.yaml:2)',
      'storage.wal.segment-size: expected a size like 65536, 64KiB or 100MB, from 64KiB to 1GiB, got "4KiB" (c.yaml:3)',
      'storage.wal.sync-mode: expected immediate, batch or periodic, got "lazy" (c.yaml:3)',
      "storage.sqlite.journal-mode: expected DELETE, TRUNCATE, PERSIST, MEMORY, WAL or OFF, " +
      'got "NONE" (c.yaml:5)',
      "storage.wal.sync-interval: expected a duration like 100ms, 30s, 5m or 2h, from 1ms to 1h, " +
      'got "0" (env PROMPTMQ_STORAGE_WAL_SYNC_INTERVAL)',
      'storage.wal.batch-sync-size: expected a whole number from 1 to 1000000, got "0" (flag --wal-batch-sync-size)',
      "storage.sqlite.mmap-size: expected a size like 65536, 64KiB or 100MB, from 0 to 2097088KiB, " +
      'got "2GiB" (flag --sqlite-mmap-size)',
    ],
  ],
  [
    "an option of the store given under its key and its alias",
    { file: "storage:\n  wal: {sync-interval: 5ms}\n  wal-sync-interval: 6ms\n" },
    ["storage.wal.sync-interval: given twice (c.yaml:3), first at c.yaml:2"],
  ],
  [
    "all sources at once",
    {
      file: "mqtt:\n  keep-alive: soon\n",
      env: { PROMPTMQ_METRICS_ENABLED: "maybe" },
      flags: { storage: "tape" },
    },
    [
      'mqtt.keep-alive: expected whole seconds like 60, or a duration like 90s or 2h, from 0 to 65535, got "soon" (c.yaml:2)',
      'metrics.enabled: expected true or false, got "maybe" (env PROMPTMQ_METRICS_ENABLED)',
      'storage.mode: expected memory or disk, got "tape" (flag --storage)',
    ],
  ],
];

for (const [name, given, expected] of MISTAKES) {
  Deno.test(`load names ${name}`, () => assert.deepEqual(problemsOfGiven(given), expected));
}

Deno.test("load reports a syntax error with its line beside the problems of other sources", () => {
  const problems = problemsOfGiven({ file: "mqtt:\n  max-qos: 1\n bad: [\n", flags: { "max-qos": "9" } });
  assert.match(problems[0] ?? "", /^c\.yaml:[34]: \S/);
  assert.equal(problems.at(-1), 'mqtt.max-qos: expected 0, 1 or 2, got "9" (flag --max-qos)');
});

const SMALL_SCHEMA = {
  store: {
    password: option({
      key: "store.password",
      type: optionalPath(),
      defaultText: "",
      reload: "live",
      doc: "",
      isSecret: true,
    }),
    retries: option({
      key: "store.retry.max-count",
      aliases: ["store.max-retries"],
      type: integer({ min: 0, max: 9 }),
      defaultText: "1",
      reload: "live",
      doc: "",
    }),
  },
};

function loadSmall(given: Given) {
  const index = new OptionIndex(SMALL_SCHEMA);
  return withSources(given, (sources) => Effect.runSync(Effect.result(loadWith<typeof SMALL_SCHEMA>(index, sources))));
}

function loadSmallConfig(given: Given): Loaded<ValuesOf<typeof SMALL_SCHEMA>> {
  const result = loadSmall(given);
  assert.equal(result._tag, "Success");
  return (result as Extract<typeof result, { _tag: "Success" }>).success;
}

Deno.test("load takes an alias for its key in files and in the environment", () => {
  assert.equal(loadSmallConfig({ file: "store: {max-retries: 3}" }).config.store.retries, 3);
  assert.equal(loadSmallConfig({ file: "store: {retry: {max-count: 4}}" }).config.store.retries, 4);
  assert.equal(loadSmallConfig({ env: { PROMPTMQ_STORE_MAX_RETRIES: "5" } }).config.store.retries, 5);
});

Deno.test("a secret is shown neither in problems nor by renderValues", () => {
  const result = loadSmall({ env: { PROMPTMQ_STORE_PASSWORD: "hunter2\0" } });
  assert.equal(result._tag, "Failure");
  const { problems } = (result as Extract<typeof result, { _tag: "Failure" }>).failure;
  assert.equal(problems.length, 1);
  assert.doesNotMatch(problems.join(), /hunter2/);
  const loaded = loadSmallConfig({ env: { PROMPTMQ_STORE_PASSWORD: "hunter2" } });
  assert.equal(loaded.config.store.password, "hunter2");
  assert.equal(
    renderValues(loaded.origins, { isOriginShown: false }),
    `store.password: ${REDACTED}\nstore.retry.max-count: 1\n`,
  );
});
