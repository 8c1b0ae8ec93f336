/**
 * Listeners without TLS: TCP, WebSocket, and Unix sockets. Connections use the runtime's own sockets, with nothing in
 * between unless a proxy introduces them.
 */
import * as Effect from "effect/Effect";
import { Supervisor } from "../logging/supervisor.ts";
import { formatBindAddress } from "../system/bind_address.ts";
import { clearSocketPath, listenPrivately } from "../system/socket_file.ts";
import type { Entrance } from "./entry/entrance.ts";
import { ListenError } from "./entry/errors.ts";
import { IncomingClient } from "./entry/incoming_client.ts";
import type { Listener } from "./entry/listener.ts";
import { PendingSocket } from "./entry/pending_socket.ts";
import { hearProxy, ProxiedSocket } from "./entry/proxied_socket.ts";

/**
 * Opens a listener of type `tcp`, `ws` or `unix` and lets in who comes, until the scope ends.
 *
 * @returns Its address, or the path of its socket.
 */
export const listenPlain = Effect.fnUntraced(function* (listener: Listener, entrance: Entrance) {
  const { entry } = listener;
  if (entry.socketPath !== undefined) yield* clearSocketPath(entry.socketPath);
  const accepting = yield* Effect.acquireRelease(
    Effect.try({
      try: () => open(listener),
      catch: (cause) => new ListenError({ entry, cause }),
    }),
    (opened) => Effect.sync(() => close(opened)),
  );
  yield* Supervisor.fork(
    `${listener.name} accept loop`,
    Effect.promise(() => acceptAll(accepting, listener, entrance)),
  );
  return accepting.addr.transport === "tcp" ? formatBindAddress(accepting.addr) : entry.socketPath!;
});

type AcceptingSocket = Deno.TcpListener | Deno.UnixListener;
type PlainSocket = Deno.TcpConn | Deno.UnixConn;

function open({ entry: { bind, socketPath } }: Listener): AcceptingSocket {
  return bind === undefined
    ? listenPrivately(socketPath!, () => Deno.listen({ transport: "unix", path: socketPath! }))
    : Deno.listen({ hostname: bind.hostname, port: bind.port, tcpBacklog: BACKLOG });
}

function close(accepting: AcceptingSocket): void {
  try {
    accepting.close();
  } catch (error) {
    // The accept loop may have closed it by ending.
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

/**
 * Lets in who comes, one after the other. Resolves when the listener is closed; rejects only for a bug.
 *
 * @param pause Waits before the next try after the machine lacked something.
 */
export async function acceptAll(
  accepting: { accept(): Promise<PlainSocket> },
  listener: Listener,
  entrance: Entrance,
  pause: (delayMs: number) => Promise<void> = sleep,
): Promise<void> {
  const { core } = entrance;
  for (;;) {
    let socket: PlainSocket;
    try {
      socket = await accepting.accept();
    } catch (error) {
      if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) return;
      const cause = String(error);
      if (isOfPeer(error)) {
        // It is out of the queue. A pause here would let whoever resets its connections keep all others out.
        core.log.limited("accept_peer_gone", "debug", "a client was gone before it was accepted", { cause });
        continue;
      }
      // Out of file descriptors or memory, or nobody knows: others may still come in, but not at once.
      core.log.limited("accept_failed", "error", "cannot accept a connection", { cause });
      await pause(ACCEPT_RETRY_MS);
      continue;
    }
    const waitMs = listener.connectWaitMs(core.clock());
    // Whoever comes next waits in the system's queue meanwhile.
    if (waitMs === 0 || await paused(socket, waitMs, entrance)) receive(socket, listener, entrance);
  }
}

/** True when accepting failed because of the connection that was to be accepted. */
function isOfPeer(error: unknown): boolean {
  return error instanceof Deno.errors.NotConnected || error instanceof Deno.errors.ConnectionAborted ||
    error instanceof Deno.errors.ConnectionReset ||
    (error instanceof Error && "code" in error && PEER_CODES.has(String(error.code)));
}

/** Resolves with false when the socket was cut meanwhile. */
async function paused(socket: PlainSocket, waitMs: number, entrance: Entrance): Promise<boolean> {
  const pending = new PendingSocket(entrance, () => socket.close());
  await pending.pause(waitMs);
  return pending.end();
}

function receive(socket: PlainSocket, listener: Listener, entrance: Entrance): void {
  const { remoteAddr } = socket;
  const client = new IncomingClient(listener, remoteAddr.transport === "tcp" ? remoteAddr.hostname : undefined);
  if (!prepare(socket)) return;
  if (listener.entry.proxyProtocol) receiveProxied(socket, client, entrance).catch(entrance.reportBug);
  else if (entrance.mayEnter(client)) entrance.serve(socket, client);
  else socket.close();
}

async function receiveProxied(socket: PlainSocket, client: IncomingClient, entrance: Entrance): Promise<void> {
  const rest = await hearProxy(socket, client, entrance);
  if (rest === undefined) return;
  if (!entrance.mayEnter(client)) socket.close();
  else entrance.serve(rest.length === 0 ? socket : new ProxiedSocket(socket, rest), client);
}

/** Closes the socket and returns false when its peer is gone already. */
function prepare(socket: PlainSocket): boolean {
  if (!("setNoDelay" in socket)) return true;
  try {
    socket.setNoDelay(true);
    // A peer that vanished without a word is noticed by the system, also where no MQTT Keep Alive was agreed.
    socket.setKeepAlive(true);
    return true;
  } catch {
    socket.close();
    return false;
  }
}

function sleep(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}

/** Errors of the network that Linux reports by `accept` and the runtime has no class for; see accept(2). */
const PEER_CODES: ReadonlySet<string> = new Set(["EPROTO", "EHOSTDOWN", "EHOSTUNREACH", "ENETUNREACH"]);
const BACKLOG = 4_096;
const ACCEPT_RETRY_MS = 100;
