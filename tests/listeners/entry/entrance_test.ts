/**
 * The entrance of all listeners at a stop. Method: the real one, before a broker core in virtual time, and sockets in memory.
 */
import * as Effect from "effect/Effect";
import assert from "node:assert/strict";
import type { ConfigStore } from "../../../src/config/reload.ts";
import { Entrance } from "../../../src/listeners/entry/entrance.ts";
import { IncomingClient } from "../../../src/listeners/entry/incoming_client.ts";
import { Listener } from "../../../src/listeners/entry/listener.ts";
import { World } from "../../broker/harness.ts";
import { configOf, ENTRY } from "../listener_rig.ts";
import { MemorySocket } from "../transport/memory_socket.ts";

Deno.test("Entrance does not wait for a client that was accepted as the stop began", async () => {
  const { core } = new World();
  const config = configOf({});
  const store: Pick<ConfigStore["Service"], "current"> = { current: () => config };
  const entrance = new Entrance(core, store as ConfigStore["Service"]);
  await Effect.runPromise(entrance.leave());
  const listener = new Listener(ENTRY, core.wheel, 0);
  const client = new IncomingClient(listener, "127.0.0.1");
  const socket = new MemorySocket();
  assert.ok(entrance.mayEnter(client));
  entrance.serve(socket, client);
  assert.ok(socket.isClosed);
  // Resolves when every connection is gone.
  await Effect.runPromise(entrance.leave());
  assert.equal(listener.connections, 0);
});
