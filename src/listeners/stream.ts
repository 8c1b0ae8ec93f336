/**
 * MQTT over a byte stream: the read loop and the writes of one TCP connection.
 *
 * One plain async loop per connection, no Effect, no allocation per packet. The read buffer starts small, grows while
 * reads fill it, and shrinks when they no longer do, so an idle connection holds only its first few KiB.
 */
import type { Counters } from "../metrics/counters.ts";
import type { Connection, Transport } from "./connection.ts";
import type { ReadBufferPool } from "./read_buffers.ts";

/** See the head of this file. `attach` must be called before `serve`. */
export class StreamTransport implements Transport {
  readonly #socket: Deno.Conn;
  readonly #counters: Counters;
  readonly #clock: () => number;
  readonly #pool: ReadBufferPool;
  #connection!: Connection;
  #buffer: Uint8Array<ArrayBuffer>;
  #end = 0;
  #smallReads = 0;
  #wake: (() => void) | undefined = undefined;
  #isFinished = false;
  #hasEnded = false;
  #storage: Uint8Array = NOTHING;
  #storageLength = 0;
  #storageWritten = 0;

  /** @param pool Where the read buffer of an idle connection comes from. */
  constructor(socket: Deno.Conn, counters: Counters, clock: () => number, pool: ReadBufferPool) {
    this.#socket = socket;
    this.#counters = counters;
    this.#clock = clock;
    this.#pool = pool;
    this.#buffer = pool.take();
  }

  /** Sets the connection that gets the bytes. */
  attach(connection: Connection): void {
    this.#connection = connection;
  }

  /** Reads until the connection is over; resolves when the socket is closed. Never rejects. */
  async serve(): Promise<void> {
    try {
      await this.#readAll();
      this.#hasEnded = true;
      this.#connection.receiveEnded(this.#clock());
      while (!this.#isFinished) await this.#pause();
    } catch {
      // The socket broke or was cut by `abort`: either way the connection is over, which `closed` tells.
    }
    this.#close();
    this.#giveBack();
    this.#connection.closed();
  }

  write(storage: Uint8Array, length: number): void {
    this.#storage = storage;
    this.#storageLength = length;
    this.#storageWritten = 0;
    this.#writeRest();
  }

  resume(): void {
    this.#wake?.();
  }

  finish(): void {
    this.#isFinished = true;
    if (this.#hasEnded) this.#wake?.();
    // The peer may still be sending: a close now could make its system throw away what was just written to it.
    else if ("closeWrite" in this.#socket) (this.#socket as Deno.TcpConn).closeWrite().catch(this.#abort);
    else this.abort();
  }

  abort(): void {
    this.#isFinished = true;
    this.#close();
    this.#wake?.();
  }

  async #readAll(): Promise<void> {
    const connection = this.#connection;
    for (;;) {
      while (connection.isPaused) {
        await this.#pause();
        if (this.#end > 0 && !connection.isPaused) this.#present(this.#clock());
      }
      const count = await this.#socket.read(this.#end === 0 ? this.#buffer : this.#buffer.subarray(this.#end));
      if (count === null) return;
      this.#counters.bytesIn += count;
      this.#end += count;
      const isFull = this.#end === this.#buffer.length;
      this.#present(this.#clock());
      this.#fitBuffer(count, isFull);
    }
  }

  /** Hands what is in the buffer to the connection and keeps what it leaves. */
  #present(nowMs: number): void {
    const used = this.#connection.receive(this.#buffer, 0, this.#end, nowMs);
    if (used === this.#end) this.#end = 0;
    else if (used > 0) {
      this.#buffer.copyWithin(0, used, this.#end);
      this.#end -= used;
    }
  }

  #fitBuffer(count: number, isFull: boolean): void {
    const size = this.#buffer.length;
    const wanted = this.#end > 0 ? this.#connection.packetSizeWanted : 0;
    if (wanted > size) this.#resize(wanted);
    else if (this.#end === size) this.#resize(size * 2);
    else if (isFull && size < BUFFER_BYTES_MAX) this.#resize(Math.min(size * 4, BUFFER_BYTES_MAX));
    else if (size > this.#pool.size && this.#end === 0 && count <= this.#pool.size) {
      if (++this.#smallReads >= SMALL_READS_MAX) this.#resize(this.#pool.size);
      return;
    }
    this.#smallReads = 0;
  }

  #resize(size: number): void {
    const resized = size === this.#pool.size ? this.#pool.take() : new Uint8Array(size);
    resized.set(this.#buffer.subarray(0, this.#end));
    this.#giveBack();
    this.#buffer = resized;
    this.#smallReads = 0;
  }

  #giveBack(): void {
    if (this.#buffer.length === this.#pool.size) this.#pool.give(this.#buffer);
    this.#buffer = NOTHING;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined;
        resolve();
      };
    });
  }

  #writeRest(): void {
    this.#socket.write(this.#storage.subarray(this.#storageWritten, this.#storageLength))
      .then(this.#wrote, this.#abort);
  }

  readonly #wrote = (count: number): void => {
    this.#storageWritten += count;
    this.#connection.wrote(count);
    if (this.#storageWritten < this.#storageLength) {
      this.#writeRest();
      return;
    }
    const storage = this.#storage;
    this.#storage = NOTHING;
    this.#connection.written(storage);
  };

  /** A write failed: the read loop ends with the socket. */
  readonly #abort = (): void => this.abort();

  #close(): void {
    try {
      this.#socket.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }
}

const NOTHING: Uint8Array<ArrayBuffer> = new Uint8Array(0);
/** A busy connection reads this much at once; beyond it larger reads gain nothing. */
const BUFFER_BYTES_MAX = 65_536;
/** Reads that would have fitted the smallest buffer, in a row, before it is given back. */
const SMALL_READS_MAX = 32;
