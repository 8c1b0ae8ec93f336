import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Logger from "effect/Logger";
import assert from "node:assert/strict";
import { load } from "../../src/config/load.ts";
import { ConfigStore } from "../../src/config/reload.ts";
import { warnOfAnonymousClients } from "../../src/listeners/anonymous_warning.ts";
import { Listeners, type OpenListener } from "../../src/listeners/listeners.ts";
import { Level, Log } from "../../src/logging/log.ts";

type Addresses = Readonly<Record<string, string>>;

/** What is logged over the start and one reload per further value of `auth.allow-anonymous`. */
async function logOf(addresses: Addresses, first: string, ...reloads: readonly string[]): Promise<readonly string[]> {
  const lines: string[] = [];
  const flags = new Map([["allow-anonymous", first]]);
  const sources = { configPath: undefined, searchPaths: [], readEnv: () => ({}), flags };
  const log = Log.of({
    level: Level.info,
    write: (level, message) => void lines.push(`${level} ${message}`),
    limited: () => assert.fail("a rare line is not limited"),
  });
  const program = Effect.gen(function* () {
    const store = yield* ConfigStore;
    for (const value of reloads) {
      flags.set("allow-anonymous", value);
      yield* store.reload;
    }
  });
  const layer = warnOfAnonymousClients.pipe(Layer.provideMerge(Layer.mergeAll(
    ConfigStore.layer(Effect.runSync(load(sources)), sources),
    Layer.succeed(Listeners, Listeners.of({ open: openListeners(addresses) })),
    Layer.succeed(Log, log),
    Logger.layer([]),
  )));
  await Effect.runPromise(Effect.provide(program, layer));
  return lines;
}

function openListeners(addresses: Addresses): OpenListener[] {
  return Object.entries(addresses).map(([name, address]) => ({ name, type: name as OpenListener["type"], address }));
}

const PUBLIC = { tcp: "0.0.0.0:1883", ws: ":::8080" };
const WARNING = "warn anyone who reaches 0.0.0.0:1883 or :::8080 may connect without credentials";

Deno.test("warnOfAnonymousClients names the addresses other hosts reach when anonymous clients are accepted", async () => {
  assert.deepEqual(await logOf(PUBLIC, "true"), [WARNING]);
  assert.deepEqual(await logOf({ tcp: "127.0.0.1:1883", ws: "192.0.2.1:80" }, "true"), [
    "warn anyone who reaches 192.0.2.1:80 may connect without credentials",
  ]);
});

Deno.test("warnOfAnonymousClients is silent when only this host gets in", async () => {
  for (const policy of ["false", "loopback"]) assert.deepEqual(await logOf(PUBLIC, policy), []);
  for (const ws of ["::1:8080", "[::1]:8080"]) {
    assert.deepEqual(await logOf({ tcp: "127.0.0.1:1883", ws }, "true"), []);
  }
});

Deno.test("warnOfAnonymousClients warns once for each reload that opens the door", async () => {
  assert.deepEqual(await logOf(PUBLIC, "loopback", "true", "true", "false", "true"), [WARNING, WARNING]);
});
