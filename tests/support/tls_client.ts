/**
 * A client of `node:tls`, whose bytes are awaited as events.
 */
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { within } from "./event_queue.ts";
import type { ByteStream, Endpoint } from "./raw_client.ts";

/** See the head of this file. */
export class TlsClient {
  readonly socket: TLSSocket;
  /** Resolves when the connection is over, whatever ended it. */
  readonly closed: Promise<void>;
  readonly #received: Uint8Array[] = [];
  #arrived = Promise.withResolvers<void>();

  private constructor(socket: TLSSocket) {
    this.socket = socket;
    socket.on("data", (chunk: Uint8Array) => {
      this.#received.push(chunk);
      this.#arrived.resolve();
    });
    // What is wrong is told by the end.
    socket.on("error", () => {});
    socket.on("end", () => this.#arrived.resolve());
    this.closed = new Promise((resolve) => {
      socket.on("close", () => {
        resolve();
        this.#arrived.resolve();
      });
    });
  }

  /** Resolves after the handshake; rejects when it fails. */
  static async connect({ hostname, port }: Endpoint, options: ConnectionOptions): Promise<TlsClient> {
    const socket = connect({ host: hostname, port, ...options });
    const client = new TlsClient(socket);
    const secured = new Promise<void>((resolve, reject) => {
      socket.once("secureConnect", () => resolve());
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("closed within the handshake")));
    });
    await within(secured, "the handshake");
    return client;
  }

  /** Sends bytes and waits for as many. */
  async exchange(bytes: Uint8Array): Promise<Uint8Array> {
    this.socket.write(bytes);
    return await this.#take(bytes.length);
  }

  /** Waits for a text of this length, after sending one where it is given. */
  async text(length: number, send?: string): Promise<string> {
    if (send !== undefined) this.socket.write(send);
    return new TextDecoder().decode(await this.#take(length));
  }

  /** For a `RawClient`; the client must not be read otherwise then. */
  asByteStream(): ByteStream {
    return {
      read: () => this.#next(),
      write: (bytes) =>
        new Promise((resolve, reject) => this.socket.write(bytes, (error) => error ? reject(error) : resolve())),
      closeWrite: () => new Promise((resolve) => this.socket.end(() => resolve())),
      close: () => void this.socket.destroy(),
    };
  }

  async #take(length: number): Promise<Uint8Array> {
    const whole = new Uint8Array(length);
    for (let filled = 0; filled < length;) {
      const chunk = await within(this.#next(), "bytes from the broker");
      if (chunk === undefined) throw new Error(`the connection ended after ${filled} of ${length} bytes`);
      const part = chunk.subarray(0, length - filled);
      whole.set(part, filled);
      filled += part.length;
    }
    return whole;
  }

  async #next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = this.#received.shift();
      if (chunk !== undefined) return chunk;
      if (this.socket.destroyed || this.socket.readableEnded) return undefined;
      this.#arrived = Promise.withResolvers();
      await this.#arrived.promise;
    }
  }
}
