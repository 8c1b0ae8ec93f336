/**
 * One connected socket of the load generator: cuts what it reads into packets and gathers what it writes.
 *
 * A chunk is read, every whole packet in it is handed to the owner in one synchronous stretch, then the owner ends
 * the chunk and the gathered output goes out in one write. While a write is under way, output gathers in a second
 * buffer; how much is bounded by the window, because the owner's packets are.
 *
 * It knows nothing of MQTT beyond the fixed header. [MQTT 5.0, 2.1]
 */

import { encodePing } from "./packets.ts";

/** Obligations of whoever uses a link. All methods are called synchronously from the read loop. */
export interface LinkOwner {
  /**
   * Handles one whole packet.
   *
   * @param firstByte Packet type and flags.
   * @param start Offset of the Variable Header in `link.bytes`.
   * @param end Offset after the packet. Both are valid until this call returns.
   */
  handlePacket(firstByte: number, start: number, end: number): void;
  /** Called when all whole packets of one read have been handled. */
  handleChunkEnd(): void;
  /** Called once when the connection is gone although nobody closed it here. */
  handleLost(reason: string): void;
}

const READ_BYTES = 65_536;
const WRITE_BYTES = 4_096;

/** A socket with a framer in front and a gathering buffer behind. */
export class Link {
  /** The read buffer; replaced when a packet does not fit. */
  bytes = new Uint8Array(READ_BYTES);
  /** View of {@link Link.bytes}. */
  view = new DataView(this.bytes.buffer);
  /** Clock of the current chunk, milliseconds. */
  chunkTimeMs = 0;
  /** The gathering buffer; write at the offset `reserve` returned. */
  out = new Uint8Array(WRITE_BYTES);
  readonly #connection: Deno.Conn;
  readonly #owner: LinkOwner;
  #spare = new Uint8Array(WRITE_BYTES);
  #outBytes = 0;
  #isWriting = false;
  #isClosed = false;

  /** Takes over a connected socket on which the handshake is done. Call `run` to start reading. */
  constructor(connection: Deno.Conn, owner: LinkOwner) {
    this.#connection = connection;
    this.#owner = owner;
  }

  /** Makes room for `size` bytes at the end of the output and returns their offset in `out`. */
  reserve(size: number): number {
    const offset = this.#outBytes;
    if (offset + size > this.out.length) {
      const grown = new Uint8Array(Math.max(offset + size, this.out.length * 2));
      grown.set(this.out.subarray(0, offset));
      this.out = grown;
    }
    this.#outBytes = offset + size;
    return offset;
  }

  /** Starts writing what was gathered, unless a write is under way, which then takes it along. */
  flush(): void {
    if (this.#isWriting || this.#outBytes === 0 || this.#isClosed) return;
    this.#isWriting = true;
    this.#writeAll().catch((cause) => this.#lose(`write failed: ${String(cause)}`));
  }

  /** Sends a PINGREQ, so that a connection that only receives stays alive. */
  ping(): void {
    const ping = encodePing();
    this.out.set(ping, this.reserve(ping.length));
    this.flush();
  }

  /** Closes the socket. Further output is dropped and the owner is not told. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#connection.close();
  }

  /** Reads until the connection ends. Never rejects: a lost connection is told to the owner. */
  async run(): Promise<void> {
    let filled = 0;
    try {
      while (!this.#isClosed) {
        const count = await this.#connection.read(filled === 0 ? this.bytes : this.bytes.subarray(filled));
        if (count === null) return this.#lose("the broker closed the connection");
        this.chunkTimeMs = performance.now();
        filled = this.#handleBytes(filled + count);
        if (!this.#isClosed) this.#owner.handleChunkEnd();
      }
    } catch (cause) {
      this.#lose(`read failed: ${String(cause)}`);
    }
  }

  /** Hands out every whole packet and returns how many bytes of the next one are at the start of the buffer. */
  #handleBytes(filled: number): number {
    let at = 0;
    while (filled - at >= 2) {
      const bytes = this.bytes;
      let start = at + 1;
      let length = bytes[start]! & 0x7f;
      for (let shift = 7; bytes[start++]! >= 0x80; shift += 7) {
        if (shift > 21) return this.#loseMalformed();
        if (start >= filled) return this.#keepTail(at, filled, 5);
        length |= (bytes[start]! & 0x7f) << shift;
      }
      const end = start + length;
      if (end > filled) return this.#keepTail(at, filled, end - at);
      this.#owner.handlePacket(bytes[at]!, start, end);
      at = end;
    }
    return this.#keepTail(at, filled, 2);
  }

  /** Moves an unfinished packet to the front of a buffer that it fits into. */
  #keepTail(at: number, filled: number, packetBytes: number): number {
    if (packetBytes > this.bytes.length) {
      const grown = new Uint8Array(packetBytes * 2);
      grown.set(this.bytes.subarray(at, filled));
      this.bytes = grown;
      this.view = new DataView(grown.buffer);
    } else if (at > 0) {
      this.bytes.copyWithin(0, at, filled);
    }
    return filled - at;
  }

  async #writeAll(): Promise<void> {
    while (this.#outBytes > 0 && !this.#isClosed) {
      const size = this.#outBytes;
      const full = this.out;
      this.out = this.#spare;
      this.#spare = full;
      this.#outBytes = 0;
      for (let written = 0; written < size;) {
        written += await this.#connection.write(full.subarray(written, size));
      }
    }
    this.#isWriting = false;
  }

  #loseMalformed(): number {
    this.#lose("malformed Remaining Length");
    return 0;
  }

  #lose(reason: string): void {
    if (this.#isClosed) return;
    this.close();
    this.#owner.handleLost(reason);
  }
}
