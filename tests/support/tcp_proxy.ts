/**
 * A TCP proxy on this host that puts a header in front of what each client sends, as proxies with the PROXY protocol do.
 */
import { type Endpoint, isDisconnect } from "./raw_client.ts";

/** See the head of this file. */
export class TcpProxy implements AsyncDisposable {
  readonly endpoint: Endpoint;
  readonly #listener: Deno.TcpListener;
  readonly #serving = new Set<Promise<void>>();
  readonly #sockets = new Set<Deno.TcpConn>();
  readonly #accepting: Promise<void>;

  private constructor(target: Endpoint, header: Uint8Array, isJoined: boolean) {
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.endpoint = { hostname: "127.0.0.1", port: this.#listener.addr.port };
    this.#accepting = this.#acceptAll(target, header, isJoined);
  }

  /** @param isJoined True = the header goes in one piece with the first bytes of the client, else by itself. */
  static start(target: Endpoint, header: Uint8Array, isJoined = false): TcpProxy {
    return new TcpProxy(target, header, isJoined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const socket of this.#sockets) closeQuietly(socket);
    await this.#accepting;
    await Promise.all(this.#serving);
  }

  async #acceptAll(target: Endpoint, header: Uint8Array, isJoined: boolean): Promise<void> {
    try {
      for await (const client of this.#listener) this.#serving.add(this.#serve(client, target, header, isJoined));
    } catch (error) {
      if (!isDisconnect(error)) throw error;
    }
  }

  async #serve(client: Deno.TcpConn, target: Endpoint, header: Uint8Array, isJoined: boolean): Promise<void> {
    const server = await Deno.connect(target);
    this.#sockets.add(client).add(server);
    if (!isJoined) await writeAll(server, header);
    await Promise.all([pass(client, server, isJoined ? header : new Uint8Array(0)), pass(server, client)]);
    for (const socket of [client, server]) {
      closeQuietly(socket);
      this.#sockets.delete(socket);
    }
  }
}

/** Copies bytes until one side ends, and lets the other know. */
async function pass(from: Deno.TcpConn, to: Deno.TcpConn, first: Uint8Array = new Uint8Array(0)): Promise<void> {
  const buffer = new Uint8Array(65_536);
  let front = first;
  try {
    for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
      await writeAll(to, Uint8Array.from([...front, ...buffer.subarray(0, count)]));
      front = new Uint8Array(0);
    }
    await to.closeWrite();
  } catch (error) {
    if (!isDisconnect(error)) throw error;
    closeQuietly(from);
    closeQuietly(to);
  }
}

async function writeAll(socket: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) written += await socket.write(bytes.subarray(written));
}

function closeQuietly(socket: Deno.TcpConn): void {
  try {
    socket.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}
