/** The list of listeners as files, environment and flags write it: spellings, and the line for every kind of mistake. */

import assert from "node:assert/strict";
import type { ListedListener } from "../../../src/config/options/listener_options.ts";
import { type Given, loadGiven, problemsOfGiven } from "../loading.ts";

const PLAIN: ListedListener = {
  name: "a",
  type: "tcp",
  bind: { hostname: "127.0.0.1", port: 1884 },
  socketPath: undefined,
  wsPath: "",
  tlsCert: undefined,
  tlsKey: undefined,
  tlsCa: undefined,
  clientAuth: undefined,
  proxyProtocol: false,
  protocolVersions: [],
  allowAnonymous: undefined,
  maxConnections: 0,
  connectRate: 0,
  messageRate: 0,
  byteRate: 0,
};

const FULL: ListedListener = {
  name: "devices.v2",
  type: "wss",
  bind: { hostname: "::1", port: 0 },
  socketPath: undefined,
  wsPath: "/devices",
  tlsCert: "/etc/c.pem",
  tlsKey: "/etc/k.pem",
  tlsCa: "/etc/ca.pem",
  clientAuth: "require",
  proxyProtocol: true,
  protocolVersions: ["3.1.1", "5"],
  allowAnonymous: false,
  maxConnections: 5000,
  connectRate: 100,
  messageRate: 20_000,
  byteRate: 1_048_576,
};

const FULL_YAML = `listeners:
  - name: devices.v2
    type: WSS
    bind: "[::1]:0"
    path: /devices
    tls:
      cert: /etc/c.pem
      key: /etc/k.pem
      ca: /etc/ca.pem
      client_auth: require
    proxy_protocol: yes
    protocol-versions: [3.1.1, 5]
    allow-anonymous: false
    max-connections: 5000
    connect-rate: 100
    message-rate: 20000
    byte-rate: 1MiB
`;

function listOf(given: Given): readonly ListedListener[] {
  return loadGiven(given).config.listeners;
}

Deno.test("listeners are read with every key, frozen, and what is not said is left open", () => {
  const list = listOf({ file: FULL_YAML });
  assert.deepEqual(list, [FULL]);
  for (const value of [list, list[0], list[0]?.bind, list[0]?.protocolVersions]) assert.ok(Object.isFrozen(value));
  assert.deepEqual(listOf({ file: "listeners:\n  - {name: a, type: tcp, bind: '127.0.0.1:1884'}\n" }), [PLAIN]);
  assert.deepEqual(listOf({}), []);
});

Deno.test("listeners are read with dotted keys, anchors, and an empty list in every spelling", () => {
  const dotted = FULL_YAML.replace(/ {4}tls:\n(?: {6}.*\n){4}/, "")
    .concat(
      "    tls.cert: /etc/c.pem\n    tls.key: /etc/k.pem\n    tls.ca: /etc/ca.pem\n    tls.client-auth: require\n",
    );
  assert.notEqual(dotted.includes("    tls:\n"), true);
  assert.deepEqual(listOf({ file: dotted }), [FULL]);
  const anchors = "listeners:\n  - name: a\n    type: tls\n    bind: 7\n    tls: &t {cert: c, key: k}\n" +
    "  - {name: b, type: tls, bind: 8, tls: *t}\n";
  assert.deepEqual(listOf({ file: anchors }).map(({ tlsCert }) => tlsCert), ["c", "c"]);
  for (const file of ["listeners: []", "listeners:\n", "listeners: ~"]) assert.deepEqual(listOf({ file }), []);
});

Deno.test("listeners are taken as JSON or YAML from the environment and from a flag, which wins", () => {
  const json = JSON.stringify([{ name: "a", type: "tcp", bind: "127.0.0.1:1884" }]);
  assert.deepEqual(listOf({ file: FULL_YAML, env: { PROMPTMQ_LISTENERS: json } }), [PLAIN]);
  const yaml = "- name: a\n  type: tcp\n  bind: 127.0.0.1:1884\n";
  assert.deepEqual(listOf({ file: FULL_YAML, flags: { listeners: yaml } }), [PLAIN]);
  for (const none of ["", "[]"]) assert.deepEqual(listOf({ file: FULL_YAML, flags: { listeners: none } }), []);
});

Deno.test("a listener has a Unix socket under path for type unix, and a URL path otherwise", () => {
  const list = listOf({
    file: "listeners:\n  - {name: u, type: unix, path: /run/m.sock}\n  - {name: w, type: ws, path: /m, bind: 7}\n",
  });
  assert.deepEqual(list.map(({ socketPath, wsPath, bind }) => [socketPath, wsPath, bind?.port]), [
    ["/run/m.sock", "", undefined],
    [undefined, "/m", 7],
  ]);
});

const BIND = 'an address like 0.0.0.0:1883, [::1]:1883 or :1883 with a port from 0 to 65535, or "" to disable';
const NAME = "a name of at most 64 letters, digits and the characters - _ .";
const TYPE = "tcp, tls, ws, wss or unix";

Deno.test("every mistake in every listener is named at once, with its place, beside the mistakes of other keys", () => {
  const file = `listeners:
  - name: a b
    bind: nowhere
    tls: {client-auth: maybe, crt: c.pem}
  - plain
  - name: b
    type: tcp
    bnd: 127.0.0.1:1
    protocol-versions: [3.1.1, 4]
    max-connections: [1]
    max_connections: 2
    tls: yes
  -
mqtt:
  max-qos: 3
`;
  assert.deepEqual(problemsOfGiven({ file, flags: { "max-inflight": "0" } }), [
    `listeners[0].name: expected ${NAME}, got "a b" (c.yaml:2)`,
    `listeners[0].bind: expected ${BIND}, got "nowhere" (c.yaml:3)`,
    'listeners[0].tls.client-auth: expected none, optional or require, or "" to leave it open, got "maybe" (c.yaml:4)',
    "listeners[0].tls.crt: unknown key (c.yaml:4); did you mean listeners[0].tls.cert?",
    `listeners[0].type: missing, expected ${TYPE} (c.yaml:2)`,
    'listeners[1]: expected a section with keys, got "plain" (c.yaml:5)',
    "listeners[2].bnd: unknown key (c.yaml:8); did you mean listeners[2].bind?",
    "listeners[2].protocol-versions: expected a list, separated by commas, of 3.1, 3.1.1 or 5, " +
    'got "3.1.1,4" (c.yaml:9)',
    "listeners[2].max-connections: expected a whole number from 0 to 10000000, got a list (c.yaml:10)",
    "listeners[2].max-connections: given twice (c.yaml:11), first at c.yaml:10",
    'listeners[2].tls: expected a section with keys, got "yes" (c.yaml:12)',
    "listeners[3]: expected a section with keys, got nothing (c.yaml:13)",
    'mqtt.max-qos: expected 0, 1 or 2, got "3" (c.yaml:15)',
    'mqtt.max-inflight: expected a whole number from 1 to 65535, got "0" (flag --max-inflight)',
  ]);
});

Deno.test("what is no list of listeners is refused, wherever it stands", () => {
  const cases: readonly (readonly [Given, string | RegExp])[] = [
    [{ file: "listeners: 7\n" }, 'listeners: expected a list of listeners, got "7" (c.yaml:1)'],
    [{ file: "listeners: {name: a}\n" }, "listeners: expected a list of listeners, got a section (c.yaml:1)"],
    [{ file: "listener:\n  - {}\n" }, "listener: unknown key (c.yaml:1); did you mean listeners?"],
    [
      { flags: { listeners: "{name: a}" } },
      "listeners: expected a list of listeners, got a section (flag --listeners)",
    ],
    [{ env: { PROMPTMQ_LISTENERS: '[{"name": 1}' } }, /^listeners: \S.* \(env PROMPTMQ_LISTENERS\)$/],
    [
      { flags: { listeners: `[${"{},".repeat(101)}]` } },
      "listeners: 101 entries, at most 100 are allowed (flag --listeners)",
    ],
  ];
  for (const [given, expected] of cases) {
    const problems = problemsOfGiven(given);
    assert.equal(problems.length, 1, problems.join("\n"));
    if (typeof expected === "string") assert.equal(problems[0], expected);
    else assert.match(problems[0] ?? "", expected);
  }
});

Deno.test("an empty listener is told what it needs", () => {
  assert.deepEqual(problemsOfGiven({ env: { PROMPTMQ_LISTENERS: "[{}]" } }), [
    `listeners[0].name: missing, expected ${NAME} (env PROMPTMQ_LISTENERS)`,
    `listeners[0].type: missing, expected ${TYPE} (env PROMPTMQ_LISTENERS)`,
  ]);
});
