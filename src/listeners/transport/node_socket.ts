/**
 * A socket of `node:tls` or `node:net`, read and written like one of the runtime's own.
 *
 * It is read in paused mode: the stream below fetches no more than its high water mark, 64 KiB, and stops until that is
 * read, so a peer that sends faster than it is read is slowed down by TCP. A write is done when the system has the bytes.
 */
import type { Socket } from "node:net";
import type { HalfCloseSocket } from "./websocket.ts";

/** See the head of this file. One reader and one writer at a time. */
export class NodeSocket implements HalfCloseSocket {
  readonly #socket: Socket;
  #failure: Error | undefined = undefined;
  #wake: (() => void) | undefined = undefined;

  /** Takes the socket over, with what it has read and not given out. */
  constructor(socket: Socket) {
    this.#socket = socket;
    // A client may end its side and still wait for answers.
    socket.allowHalfOpen = true;
    for (const event of ["readable", "end", "close"] as const) socket.on(event, this.#happened);
    socket.on("error", this.#failed);
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    const socket = this.#socket;
    for (;;) {
      // Asking for nothing fetches more, and lets an end that was reached be told.
      const chunk: Uint8Array | null = socket.read(Math.min(socket.readableLength, buffer.length));
      if (chunk !== null && chunk.length > 0) {
        buffer.set(chunk);
        return chunk.length;
      }
      if (socket.readableLength > 0) continue;
      if (socket.readableEnded) return null;
      if (socket.destroyed) throw this.#failure ?? new Deno.errors.BadResource("socket closed");
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  write(bytes: Uint8Array): Promise<number> {
    // A part at a time, so that a slow peer is seen to take something.
    const part = bytes.length > WRITE_BYTES_MAX ? bytes.subarray(0, WRITE_BYTES_MAX) : bytes;
    return new Promise((resolve, reject) => {
      this.#socket.write(part, (error) => error ? reject(error) : resolve(part.length));
    });
  }

  closeWrite(): Promise<void> {
    return new Promise((resolve) => this.#socket.end(() => resolve()));
  }

  close(): void {
    this.#socket.destroy();
    this.#happened();
  }

  /** Gives the socket back as it was taken over; what was read of it and is not wanted goes back in front. */
  release(rest: Uint8Array): Socket {
    const socket = this.#socket;
    for (const event of ["readable", "end", "close"] as const) socket.off(event, this.#happened);
    socket.off("error", this.#failed);
    if (rest.length > 0) socket.unshift(rest);
    return socket;
  }

  readonly #happened = (): void => {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  };

  /** Stays registered for good: an error that nobody hears would end the process. */
  readonly #failed = (error: Error): void => {
    this.#failure = error;
    this.#happened();
  };
}

/** A segment of the write buffer is larger; a time limit holds for each part. */
const WRITE_BYTES_MAX = 65_536;
