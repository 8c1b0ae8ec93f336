/**
 * Keeps a server of `node:net` accepting.
 *
 * The runtime ends that for good, without an event, once it cannot accept, as without a file descriptor left: clients wait
 * in the system's queue for ever. So where nobody came for a while this knocks at the port itself, and has the server
 * listen anew when nobody opens twice. Whoever waits in the queue by then is reset, and may come again.
 */
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import { connect, type Server, type Socket } from "node:net";
import type { LogWriter } from "../../logging/log.ts";

/** See the head of this file. One for a server, made before it listens. */
export class AcceptWatch {
  readonly #server: Server;
  readonly #receive: (socket: Socket) => void;
  #isQuiet = true;
  #heard: (() => void) | undefined = undefined;
  /** Port from which the knock under way comes. */
  #knockPort: Promise<number | undefined> | undefined = undefined;

  /** @param receive Gets everybody who comes but ourselves. */
  constructor(server: Server, receive: (socket: Socket) => void) {
    this.#server = server;
    this.#receive = receive;
    server.on("connection", (socket) => this.#accepted(socket));
  }

  /** Watches until it is interrupted. @param listen Listens at the same port again; the server is closed then. */
  keepAccepting(listen: Effect.Effect<void, Error>, listener: string, log: LogWriter): Effect.Effect<never> {
    const listenAnew = Effect.suspend(() => {
      log.limited("accept_failed", "error", "cannot accept a connection", { listener, cause: "nobody is accepted" });
      this.#server.close();
      return listen;
    }).pipe(
      Effect.uninterruptible,
      Effect.tap(() => Effect.sync(() => log.write("info", "listens again", { listener }))),
      // The next round tries again.
      Effect.catch((error) =>
        Effect.sync(() =>
          log.limited("listen_again", "error", "cannot listen again", { listener, cause: String(error) })
        )
      ),
    );
    const look = Effect.gen({ self: this }, function* () {
      const wasQuiet = this.#isQuiet;
      this.#isQuiet = true;
      if (!wasQuiet || (yield* this.#knock()) || (yield* this.#knock())) return;
      yield* listenAnew;
    });
    return look.pipe(Effect.delay(Duration.millis(QUIET_MS)), Effect.forever);
  }

  #accepted(socket: Socket): void {
    this.#isQuiet = false;
    if (this.#knockPort === undefined) return this.#receive(socket);
    socket.on("error", ignore);
    this.#knockPort.then((port) => {
      if (port === socket.remotePort) socket.destroy();
      else this.#receive(socket);
      // The knock ends by this, so not before it is known which of them it is.
      this.#heard?.();
    });
  }

  /** Succeeds with whether anybody is accepted. */
  #knock(): Effect.Effect<boolean> {
    const begin = Effect.sync(() => {
      const address = this.#server.address();
      if (address === null || typeof address === "string") return undefined;
      const socket = connect({ host: ANY_ADDRESS.get(address.address) ?? address.address, port: address.port });
      socket.on("error", ignore);
      this.#knockPort = new Promise((resolve) => {
        socket.on("connect", () => resolve(socket.localPort)).on("close", () => resolve(undefined));
      });
      return socket;
    });
    const heard = Effect.callback<boolean>((resume) => {
      this.#heard = () => resume(Effect.succeed(true));
    });
    return Effect.acquireUseRelease(
      begin,
      () => Effect.timeoutOrElse(heard, { duration: KNOCK_MS, orElse: () => Effect.succeed(false) }),
      (socket) =>
        Effect.sync(() => {
          this.#heard = this.#knockPort = undefined;
          socket?.destroy();
        }),
    );
  }
}

function ignore(): void {}

/** Where a server is reached that listens everywhere. */
const ANY_ADDRESS: ReadonlyMap<string, string> = new Map([["0.0.0.0", "127.0.0.1"], ["::", "::1"]]);
/** Time in which nobody came, before a knock. */
const QUIET_MS = 2_000;
/** A broker that is busy for as long listens anew for nothing. */
const KNOCK_MS = 2_000;
