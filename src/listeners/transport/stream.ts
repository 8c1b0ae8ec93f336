/**
 * MQTT over a byte stream: the read loop and the writes of one TCP or WebSocket connection.
 *
 * One plain async loop per connection, no Effect, no allocation per packet. The read buffer starts small, grows while
 * reads fill it, and shrinks when they no longer do, so an idle connection holds only its first few KiB.
 */
import type { Counters } from "../../metrics/counters.ts";
import type { Connection, Transport } from "./connection.ts";
import type { ReadBufferPool } from "./read_buffers.ts";

/**
 * A socket as the transport needs it; every `Deno.Conn` is one. Whatever its promises reject with is the end of this
 * socket, because the system has more errors than anybody can list; only a `SocketBug` is not.
 */
export interface ByteSocket {
  /** Reads to the front of `buffer`; null at the end. */
  read(buffer: Uint8Array): Promise<number | null>;
  /** Writes a part of `bytes` at least. */
  write(bytes: Uint8Array): Promise<number>;
  /** Says that nothing follows; the peer may go on. */
  closeWrite?(): Promise<void>;
  /** Ends what is above the socket in good form. Called when both sides are done, before `close`, which may cut it. */
  farewell?(): Promise<void>;
  /** Ends the socket at once. */
  close(): void;
  /** True when the last read would have got more from a larger buffer although it did not fill this one. */
  readonly wasFilled?: boolean;
}

/** See the head of this file. `attach` must be called before `serve`. */
export class StreamTransport implements Transport {
  readonly #socket: ByteSocket;
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
  constructor(socket: ByteSocket, counters: Counters, clock: () => number, pool: ReadBufferPool) {
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

  /**
   * Reads until the connection is over; resolves when the socket is closed. Rejects only for a bug.
   *
   * One function on purpose: every suspended one costs an idle connection a few hundred bytes.
   */
  async serve(): Promise<void> {
    const connection = this.#connection;
    // Tells a failure by where it came from: what the socket says is its own end, what is thrown elsewhere is a bug.
    let isSocketAsked = false;
    try {
      for (;;) {
        while (connection.isPaused) await this.#untilResumed();
        isSocketAsked = true;
        const count = await this.#socket.read(this.#end === 0 ? this.#buffer : this.#buffer.subarray(this.#end));
        isSocketAsked = false;
        if (count === null) break;
        this.#counters.bytesIn += count;
        this.#end += count;
        const isFull = this.#end === this.#buffer.length || this.#socket.wasFilled === true;
        this.#present(this.#clock());
        this.#fitBuffer(count, isFull);
      }
      this.#hasEnded = true;
      connection.receiveEnded(this.#clock());
      while (!this.#isFinished) await this.#pause();
      isSocketAsked = true;
      if (this.#socket.farewell !== undefined) await this.#socket.farewell();
    } catch (error) {
      // A socket that broke or was cut by `abort` ends the connection, which `closed` tells.
      if (error instanceof SocketBug) throw error.cause;
      if (!isSocketAsked) throw error;
    } finally {
      this.#close();
      this.#giveBack();
      connection.closed();
    }
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
    else if (this.#socket.closeWrite !== undefined) this.#socket.closeWrite().catch(this.#abort);
    else this.abort();
  }

  abort(): void {
    this.#isFinished = true;
    this.#close();
    this.#wake?.();
  }

  async #untilResumed(): Promise<void> {
    await this.#pause();
    if (this.#end > 0 && !this.#connection.isPaused) this.#present(this.#clock());
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

  /**
   * Grows the buffer when a read filled it, never because of a length that was merely announced: memory follows what
   * a peer really sends.
   */
  #fitBuffer(count: number, isFull: boolean): void {
    const { size: sizeIdle, sizeBusy } = this.#pool;
    const size = this.#buffer.length;
    if (this.#end === size) this.#resize(Math.max(size * 2, sizeBusy));
    else if (isFull && size < BUFFER_BYTES_MAX) {
      this.#resize(size < sizeBusy ? sizeBusy : Math.min(size * 4, BUFFER_BYTES_MAX));
    } else if (this.#end > 0) this.#smallReads = 0;
    else if (size > BUFFER_BYTES_MAX) this.#resize(BUFFER_BYTES_MAX);
    else if (size > sizeIdle && count <= sizeIdle) {
      if (++this.#smallReads >= SMALL_READS_MAX) this.#resize(sizeIdle);
    } else this.#smallReads = 0;
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

/** What a socket with code of its own rejects with when that code threw `cause`. */
export class SocketBug extends Error {
  constructor(cause: unknown) {
    super("the code of a socket failed", { cause });
  }
}

const NOTHING: Uint8Array<ArrayBuffer> = new Uint8Array(0);
/**
 * A busy connection reads at most this much before its receivers are written to. Twice as much gained nothing, half as
 * much cost system calls; at this size peers work on what they got while the broker reads on.
 */
const BUFFER_BYTES_MAX = 32_768;
/** Reads that would have fitted the smallest buffer, in a row, before it is given back. */
const SMALL_READS_MAX = 32;
