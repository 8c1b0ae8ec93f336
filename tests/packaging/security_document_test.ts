/** docs/security.md and examples/listeners.yaml: what they name exists, and what they show is valid. */

import * as Effect from "effect/Effect";
import assert from "node:assert/strict";
import { listenersOf } from "../../src/config/checks/listener_list.ts";
import { load } from "../../src/config/load.ts";
import { OPTIONS } from "../../src/config/options/schema.ts";

const ROOT = new URL("../../", import.meta.url);
const DOCUMENT = Deno.readTextFileSync(new URL("docs/security.md", ROOT));
const NO_SOURCES = { configPath: undefined, searchPaths: [], readEnv: () => ({}), flags: new Map<string, string>() };
/** Flags of `promptmq user`, which are no options of the broker. */
const USER_FLAGS = ["groups", "password-stdin", "scram"];

Deno.test("examples/listeners.yaml is a valid configuration with four ways in, none open to strangers", () => {
  const configPath = new URL("examples/listeners.yaml", ROOT).pathname;
  const { config } = Effect.runSync(load({ ...NO_SOURCES, configPath }));
  const listeners = listenersOf(config);
  assert.deepEqual(
    listeners.map(({ name, type }) => [name, type]),
    [["local", "tcp"], ["devices", "tls"], ["browsers", "wss"], ["service", "unix"]],
  );
  assert.equal(config.auth.allowAnonymous, false);
  assert.deepEqual(listeners.map(({ allowAnonymous }) => allowAnonymous), ["loopback", false, false, false]);
  const [local, devices, browsers] = listeners;
  assert.equal(local!.bind!.hostname, "127.0.0.1");
  assert.equal(devices!.clientAuth, "require");
  assert.ok(browsers!.proxyProtocol, "behind a proxy on this host everybody would be local");
});

Deno.test("docs/security.md names only options that exist", () => {
  const entries = OPTIONS.options.flatMap((option) => option.entries?.options ?? []);
  const keys = new Set([...OPTIONS.options, ...entries].map(({ key }) => key));
  const sections = [...keys].map((key) => key.slice(0, key.lastIndexOf(".")));
  const named = [...DOCUMENT.matchAll(/`((?:auth|limits|server|mqtt|storage|metrics)\.[a-z.*-]+)/g)].map((match) =>
    match[1]!
  );
  assert.ok(named.length > 30);
  const unknown = named.filter((name) =>
    !(name.endsWith(".*") ? sections.includes(name.slice(0, -2)) : keys.has(name))
  );
  assert.deepEqual(unknown, []);
});

Deno.test("the commands of docs/security.md use only flags that exist", () => {
  const flags = new Set([...OPTIONS.options.map(({ flagName }) => flagName), ...USER_FLAGS]);
  const commands = [...DOCUMENT.matchAll(/^deno task start[^\n]*(?:\\\n[^\n]*)*/gm)].map((match) => match[0]);
  assert.ok(commands.length >= 6);
  const used = commands.flatMap((command) => [...command.matchAll(/ --([a-z-]+)/g)].map((match) => match[1]!));
  assert.deepEqual(used.filter((flag) => !flags.has(flag)), []);
});
