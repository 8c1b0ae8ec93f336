/**
 * A server that is asked by ourselves whether it still accepts: what it lets in, and what it does where it does not.
 */
import assert from "node:assert/strict";
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import { connect, createServer, type Server } from "node:net";
import { AcceptWatch } from "../../../src/listeners/tls/accept_watch.ts";
import { within } from "../../support/event_queue.ts";

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen({ host: "127.0.0.1", port: 0 }, () => resolve((server.address() as { port: number }).port));
  });
}

Deno.test("accept watch: a knock is nobody who came, and a client that comes meanwhile is", async () => {
  const server = createServer({ pauseOnConnect: true });
  const received: number[] = [];
  const watch = new AcceptWatch(server, (socket) => {
    received.push(socket.remotePort!);
    socket.destroy();
  });
  const port = await listen(server);
  const knocked = Promise.withResolvers<void>();
  const came = Promise.withResolvers<number>();
  let connections = 0;
  server.on("connection", () => {
    if (++connections === 1) {
      const client = connect({ host: "127.0.0.1", port });
      client.on("error", () => {}).on("connect", () => came.resolve(client.localPort!));
    } else if (connections === 3) knocked.resolve();
  });
  const log = { write: assert.fail, limited: assert.fail };
  const fiber = Effect.runFork(watch.keepAccepting(Effect.void, "tls", log as never));
  await within(knocked.promise, "two knocks and a client");
  await Effect.runPromise(Fiber.interrupt(fiber));
  assert.deepEqual(received, [await came.promise]);
  const closed = Promise.withResolvers<void>();
  server.close(() => closed.resolve());
  await closed.promise;
});
