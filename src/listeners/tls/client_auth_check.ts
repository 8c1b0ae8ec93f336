/**
 * A broker that requires client certificates tries to get in without one before anybody else can.
 *
 * Whether a certificate is really asked for is up to the runtime, and a version of it that forgets would leave the door
 * open without a word. So the same TLS server that will serve is handed a connection of our own, which it must refuse.
 */
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import { connect as connectPlain, createServer, type Socket } from "node:net";
import { connect, type Server } from "node:tls";
import { ClientAuthIneffective } from "../entry/errors.ts";

/** Fails when `server` lets a client without certificate in, or does not answer. */
export function confirmClientAuth(server: Server, listener: string): Effect.Effect<void, ClientAuthIneffective> {
  const ineffective = (problem: string) => Effect.fail(new ClientAuthIneffective({ listener, problem }));
  return Effect.scoped(Effect.gen(function* () {
    const port = yield* handOver(server);
    const verdict = yield* attempt(server, port).pipe(
      Effect.timeoutOrElse({
        duration: Duration.millis(ATTEMPT_MS_MAX),
        orElse: () => Effect.succeed("silent" as const),
      }),
    );
    if (verdict === "accepted") return yield* ineffective("accepts clients without one");
    if (verdict === "silent") return yield* ineffective("could not be found to refuse clients without one");
    yield* Effect.logDebug("client without certificate is refused", { listener });
  }));
}

/** Hands whatever connects to a port of this host to the TLS server. */
const handOver = Effect.fnUntraced(function* (server: Server) {
  const sockets = new Set<Socket>();
  const front = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", ignore);
    server.emit("connection", socket);
  });
  front.on("error", ignore);
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      front.listen({ host: "127.0.0.1", port: 0 }, () => resume(Effect.void));
    }),
    () =>
      Effect.sync(() => {
        front.close();
        for (const socket of sockets) socket.destroy();
      }),
  );
  const address = front.address();
  return typeof address === "object" && address !== null ? address.port : 0;
});

/** The server's own word counts: a client of TLS 1.3 believes to be in before its certificate was looked at. */
function attempt(server: Server, port: number): Effect.Effect<"accepted" | "refused"> {
  const verdict = Promise.withResolvers<"accepted" | "refused">();
  const accepted = () => verdict.resolve("accepted");
  const refused = () => verdict.resolve("refused");
  const begin = Effect.sync(() => {
    server.on("secureConnection", accepted).on("tlsClientError", refused);
    const below = connectPlain({ host: "127.0.0.1", port }).on("error", ignore);
    return connect({ socket: below, rejectUnauthorized: false }).on("error", ignore).on("close", () => below.destroy());
  });
  return Effect.acquireUseRelease(begin, () => Effect.promise(() => verdict.promise), (client) =>
    Effect.sync(() => {
      server.off("secureConnection", accepted).off("tlsClientError", refused);
      client.destroy();
    }));
}

function ignore(): void {}

const ATTEMPT_MS_MAX = 10_000;
