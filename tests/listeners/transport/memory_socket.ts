/**
 * A socket in memory under a WebSocket: it hands out the pieces a test gave it, keeps what is written, and can hold
 * writes back or take them in small parts. Two writes at once fail the test.
 */
import assert from "node:assert/strict";
import type { HalfCloseSocket } from "../../../src/listeners/transport/websocket.ts";
import { concatBytes } from "../../support/wire_bytes.ts";

/** See the head of this file. */
export class MemorySocket implements HalfCloseSocket {
  /** Most bytes one write takes. */
  writeBytesMax = Infinity;
  isClosed = false;
  isWriteClosed = false;
  /** Calls of `write` so far. */
  writes = 0;
  readonly #input: Uint8Array[] = [];
  readonly #output: Uint8Array[] = [];
  #isWriting = false;
  #hasEnded = false;
  #failure: { readonly reason: unknown } | undefined = undefined;
  #arrived = Promise.withResolvers<void>();
  #released: PromiseWithResolvers<void> | undefined = undefined;

  /** The peer sends these pieces; each is one read where it fits. */
  receive(...pieces: readonly Uint8Array[]): void {
    this.#input.push(...pieces.filter((piece) => piece.length > 0));
    this.#arrived.resolve();
  }

  /** The peer ends its side, after what it sent. */
  end(): void {
    this.#hasEnded = true;
    this.#arrived.resolve();
  }

  /** The system reports this to whoever reads on. */
  fail(reason: unknown): void {
    this.#failure = { reason };
    this.#arrived.resolve();
  }

  /** Lets no write finish until `release`. */
  hold(): void {
    this.#released = Promise.withResolvers<void>();
  }

  /** Lets writes finish again. */
  release(): void {
    this.#released?.resolve();
    this.#released = undefined;
  }

  /** Takes what was written since the last call. */
  takeOutput(): Uint8Array {
    return concatBytes(...this.#output.splice(0));
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    for (;;) {
      if (this.isClosed) throw new Deno.errors.BadResource("closed");
      if (this.#failure !== undefined) throw this.#failure.reason;
      const piece = this.#input.shift();
      if (piece !== undefined) {
        const count = Math.min(piece.length, buffer.length);
        buffer.set(piece.subarray(0, count));
        if (count < piece.length) this.#input.unshift(piece.subarray(count));
        return count;
      }
      if (this.#hasEnded) return null;
      this.#arrived = Promise.withResolvers<void>();
      await this.#arrived.promise;
    }
  }

  async write(bytes: Uint8Array): Promise<number> {
    this.writes++;
    if (this.isClosed) throw new Deno.errors.BadResource("closed");
    if (this.isWriteClosed) throw new Deno.errors.BrokenPipe("nothing may follow the end");
    assert.equal(this.#isWriting, false, "two writes at once");
    this.#isWriting = true;
    const count = Math.min(bytes.length, this.writeBytesMax);
    await this.#released?.promise;
    this.#output.push(bytes.slice(0, count));
    this.#isWriting = false;
    return count;
  }

  async closeWrite(): Promise<void> {
    await this.#released?.promise;
    this.isWriteClosed = true;
  }

  close(): void {
    this.isClosed = true;
    this.#arrived.resolve();
  }
}
