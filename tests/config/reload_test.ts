/**
 * Reloading: what is applied, what waits, what is refused, and who is told. The sources are mutable maps.
 */

import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Layer from "effect/Layer";
import * as Logger from "effect/Logger";
import * as Scope from "effect/Scope";
import assert from "node:assert/strict";
import { load, type Sources } from "../../src/config/load.ts";
import type { Config } from "../../src/config/options/schema.ts";
import { type ConfigListener, ConfigStore } from "../../src/config/reload.ts";

/** Runs with a store over an environment that the test changes; collects the words of the log. */
function withStore<A, E>(
  env: Record<string, string>,
  use: (logged: string[]) => Effect.Effect<A, E, ConfigStore>,
): A {
  const sources: Sources = { configPath: undefined, searchPaths: [], readEnv: () => env, flags: new Map() };
  const logged: string[] = [];
  const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
    logged.push(`${logLevel} ${JSON.stringify(message)}`);
  });
  const initial = Effect.runSync(load(sources));
  const layers = Layer.mergeAll(ConfigStore.layer(initial, sources), Logger.layer([logger]));
  return Effect.runSync(Effect.provide(use(logged), layers));
}

Deno.test("reload applies live keys, tells subscribers and freezes the result", () => {
  const env: Record<string, string> = { PROMPTMQ_MQTT_MAX_QOS: "1" };
  withStore(env, (logged) =>
    Effect.scoped(Effect.gen(function* () {
      const store = yield* ConfigStore;
      const seen: Config[] = [];
      yield* store.subscribe((config) => void seen.push(config));
      const before = store.current();
      env["PROMPTMQ_MQTT_MAX_QOS"] = "0";
      const report = yield* store.reload;
      assert.deepEqual(report, { applied: ["mqtt.max-qos"], pending: [] });
      assert.equal(before.mqtt.maxQos, 1);
      assert.equal(store.current().mqtt.maxQos, 0);
      assert.deepEqual(seen, [store.current()]);
      assert.ok(Object.isFrozen(store.current().mqtt));
      assert.deepEqual(logged, ['Info ["configuration reloaded",{"applied":["mqtt.max-qos"]}]']);
    })));
});

Deno.test("reload keeps the value of restart keys and names them in a warning", () => {
  const env: Record<string, string> = {};
  withStore(env, (logged) =>
    Effect.gen(function* () {
      const store = yield* ConfigStore;
      env["PROMPTMQ_SERVER_BIND"] = "127.0.0.1:2883";
      env["PROMPTMQ_MQTT_KEEP_ALIVE"] = "5m";
      const report = yield* store.reload;
      assert.deepEqual(report, { applied: ["mqtt.keep-alive"], pending: ["server.bind"] });
      assert.deepEqual(store.current().server.bind, { hostname: "0.0.0.0", port: 1883 });
      assert.equal(store.current().mqtt.keepAliveSeconds, 300);
      const bind = store.origins().find(({ option }) => option.key === "server.bind");
      assert.equal(bind?.place, "default");
      assert.equal(logged.at(-1), 'Warn ["configuration change needs a restart",{"keys":["server.bind"]}]');
      const again = yield* store.reload;
      assert.deepEqual(again, { applied: [], pending: ["server.bind"] });
    }));
});

Deno.test("reload with a mistake changes nothing and lists every problem", () => {
  const env: Record<string, string> = {};
  withStore(env, (logged) =>
    Effect.scoped(Effect.gen(function* () {
      const store = yield* ConfigStore;
      let calls = 0;
      yield* store.subscribe(() => void calls++);
      const before = store.current();
      env["PROMPTMQ_MQTT_MAX_QOS"] = "0";
      env["PROMPTMQ_MQTT_KEEP_ALIVE"] = "soon";
      env["PROMPTMQ_LOG_LEVLE"] = "debug";
      const { problems } = yield* Effect.flip(store.reload);
      assert.equal(problems.length, 2);
      assert.equal(store.current(), before);
      assert.equal(calls, 0);
      assert.equal(logged.filter((line) => line.startsWith('Error ["configuration reload refused"')).length, 2);
    })));
});

Deno.test("reload with live values that contradict what waits for a restart changes nothing", () => {
  const env: Record<string, string> = { PROMPTMQ_SERVER_PROXY_PROTOCOL: "true" };
  withStore(env, () =>
    Effect.gen(function* () {
      const store = yield* ConfigStore;
      const before = store.current();
      // Good in itself: without the header nobody needs to be trusted. But the listeners go on asking for it.
      env["PROMPTMQ_SERVER_PROXY_PROTOCOL"] = "false";
      env["PROMPTMQ_SERVER_TRUSTED_PROXIES"] = "";
      const { problems } = yield* Effect.flip(store.reload);
      assert.deepEqual(problems, [
        "server.proxy-protocol: nobody may send the header; name the proxies in server.trusted-proxies, " +
        "or set it to false (until the broker is started again)",
      ]);
      assert.equal(store.current(), before);
      delete env["PROMPTMQ_SERVER_TRUSTED_PROXIES"];
      assert.deepEqual(yield* store.reload, { applied: [], pending: ["server.proxy-protocol"] });
    }));
});

Deno.test("reload takes live lists over and names changed listeners as waiting", () => {
  const env: Record<string, string> = {};
  withStore(env, () =>
    Effect.gen(function* () {
      const store = yield* ConfigStore;
      env["PROMPTMQ_SERVER_TRUSTED_PROXIES"] = "10.0.0.0/8";
      env["PROMPTMQ_LISTENERS"] = "[{name: a, type: tcp, bind: 7}]";
      const report = yield* store.reload;
      assert.deepEqual(report, { applied: ["server.trusted-proxies"], pending: ["listeners"] });
      assert.equal(store.current().server.trustedProxies.includes("10.1.1.1"), true);
      assert.deepEqual(store.current().listeners, []);
    }));
});

Deno.test("reload without a change keeps the same object and tells nobody", () => {
  withStore({}, () =>
    Effect.scoped(Effect.gen(function* () {
      const store = yield* ConfigStore;
      let calls = 0;
      yield* store.subscribe(() => void calls++);
      const before = store.current();
      assert.deepEqual(yield* store.reload, { applied: [], pending: [] });
      assert.equal(store.current(), before);
      assert.equal(calls, 0);
    })));
});

Deno.test("subscribe ends with its scope", () => {
  const env: Record<string, string> = {};
  withStore(env, () =>
    Effect.gen(function* () {
      const store = yield* ConfigStore;
      const scope = yield* Scope.make();
      let calls = 0;
      const listener: ConfigListener = () => void calls++;
      yield* Scope.provide(store.subscribe(listener), scope);
      env["PROMPTMQ_MQTT_MAX_QOS"] = "0";
      yield* store.reload;
      yield* Scope.close(scope, Exit.void);
      env["PROMPTMQ_MQTT_MAX_QOS"] = "1";
      yield* store.reload;
      assert.equal(calls, 1);
    }));
});
