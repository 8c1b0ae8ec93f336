/**
 * An MQTT client that sends arbitrary bytes and sees every packet of the broker as an event.
 *
 * Each packet is parsed twice: by `mqtt-packet`, the independent oracle, and by the strict reader of `wire_packets.ts`.
 * It keeps no session and answers nothing by itself: a test says every byte.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type Packet, parser } from "mqtt-packet";
import { EventQueue } from "./event_queue.ts";
import { concatBytes, toHex } from "./wire_bytes.ts";
import { decodeWire, encodeWire, type WireFields, type WirePacket, type WireType } from "./wire_packets.ts";

/** A bidirectional stream of bytes: TCP, a Unix socket or WebSocket. */
export interface ByteStream {
  /** Returns the next bytes, or `undefined` when the peer has closed or reset the stream. */
  read(): Promise<Uint8Array | undefined>;
  /** Writes all bytes; rejects when the peer is gone. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends our half of the stream and leaves reading possible, where the transport can. */
  closeWrite(): Promise<void>;
  /** Drops the stream in both directions at once. */
  close(): void;
}

/** One packet from the broker. */
export interface Received {
  readonly bytes: Uint8Array;
  /** As `mqtt-packet` understood it. */
  readonly packet: Packet;
  /** As the strict reader understood it, with properties in wire order. */
  readonly wire: WirePacket;
}

/** Where a broker listens. */
export interface Endpoint {
  readonly hostname: string;
  readonly port: number;
}

/** A connection to a broker under the control of a test. */
export class RawClient implements AsyncDisposable {
  readonly #stream: ByteStream;
  readonly #packets = new EventQueue<Received>();
  readonly #version: number;
  readonly #reading: Promise<void>;
  #isClosed = false;
  #fault: Error | undefined;

  /** Takes ownership of `stream`; `version` is the Protocol Level its packets are read with. */
  constructor(stream: ByteStream, version: number) {
    this.#stream = stream;
    this.#version = version;
    this.#reading = this.#readAll();
  }

  /** Opens a TCP connection; nothing is sent. */
  static async open(endpoint: Endpoint, version = 5): Promise<RawClient> {
    return new RawClient(tcpStream(await Deno.connect(endpoint)), version);
  }

  /** Opens a TCP connection, sends CONNECT with `fields`, and returns after a successful CONNACK. */
  static async connect(endpoint: Endpoint, fields: WireFields): Promise<RawClient> {
    const client = await RawClient.open(endpoint, fields.version ?? 5);
    await client.sendPacket("connect", fields);
    const connack = await client.expect("connack");
    assert.equal(connack.wire.reasonCode, 0, "CONNACK refuses the connection");
    return client;
  }

  /** Sends bytes as they are. */
  async send(...parts: readonly Uint8Array[]): Promise<void> {
    await this.#stream.write(concatBytes(...parts));
  }

  /** Encodes a packet for this connection's version and sends it. */
  async sendPacket(type: WireType, fields: WireFields = {}): Promise<void> {
    await this.send(encodeWire(type, fields, this.#version));
  }

  /** Takes the next packet, which must be of `type`. */
  async expect(type: WireType): Promise<Received> {
    const received = await this.next(type);
    assert.ok(received, `the connection ended where ${type} was expected`);
    assert.equal(received.wire.type, type, `got ${JSON.stringify(received.wire)}`);
    return received;
  }

  /** Takes the next packet of any type, or `undefined` when the connection ended. */
  async next(what: string): Promise<Received | undefined> {
    const received = await this.#packets.next(what);
    if (received === undefined && this.#fault !== undefined) throw this.#fault;
    return received;
  }

  /** Waits until the broker ends the connection; any packet before that is a failure. */
  async expectClose(): Promise<void> {
    const received = await this.next("the broker to close the connection");
    assert.equal(received, undefined, `got ${JSON.stringify(received?.wire)} where the connection had to end`);
  }

  /** Proves that nothing is under way: a PINGRESP is the next packet after a PINGREQ. [MQTT-3.12.4-1] */
  async expectQuiet(): Promise<void> {
    await this.sendPacket("pingreq");
    await this.expect("pingresp");
  }

  /** Takes packets up to the end of the connection and returns them. */
  async drain(): Promise<Received[]> {
    const all: Received[] = [];
    for (;;) {
      const received = await this.next("the end of the connection");
      if (received === undefined) return all;
      all.push(received);
    }
  }

  /** Ends our half of the connection (FIN). */
  async closeWrite(): Promise<void> {
    await this.#stream.closeWrite();
  }

  /** Drops the connection without DISCONNECT and waits until its reading has ended. */
  async close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#stream.close();
    }
    await this.#reading;
  }

  /** Same as {@link close}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #readAll(): Promise<void> {
    let pending: Uint8Array = new Uint8Array(0);
    try {
      for (;;) {
        const chunk = await this.#stream.read();
        if (chunk === undefined) break;
        pending = pending.length === 0 ? chunk : concatBytes(pending, chunk);
        for (;;) {
          const end = packetEnd(pending);
          if (end === undefined || end > pending.length) break;
          this.#packets.push(this.#parse(pending.slice(0, end)));
          pending = pending.subarray(end);
        }
      }
    } catch (error) {
      this.#fault = error instanceof Error ? error : new Error(String(error));
    }
    this.#packets.end();
  }

  #parse(bytes: Uint8Array): Received {
    const wire = decodeWire(bytes, this.#version);
    const oracle = parser({ protocolVersion: this.#version });
    let packet: Packet | undefined;
    let fault: Error | undefined;
    oracle.on("packet", (parsed: Packet) => packet = parsed);
    oracle.on("error", (error: Error) => fault = error);
    oracle.parse(Buffer.from(bytes));
    if (packet === undefined) throw new Error(`mqtt-packet refuses ${toHex(bytes)}: ${fault?.message ?? "incomplete"}`);
    assert.equal(packet.cmd, wire.type);
    return { bytes, packet, wire };
  }
}

/** Wraps a connection of `Deno.connect`; a reset counts as the end of the stream. */
export function tcpStream(connection: Deno.Conn): ByteStream {
  const buffer = new Uint8Array(64 * 1024);
  let isClosed = false;
  return {
    async read() {
      try {
        const count = await connection.read(buffer);
        return count === null ? undefined : buffer.slice(0, count);
      } catch (error) {
        if (isClosed || isDisconnect(error)) return undefined;
        throw error;
      }
    },
    async write(bytes) {
      let position = 0;
      while (position < bytes.length) position += await connection.write(bytes.subarray(position));
    },
    closeWrite: () => connection.closeWrite(),
    close() {
      if (isClosed) return;
      isClosed = true;
      connection.close();
    },
  };
}

/** Tells whether an error means that the peer has gone away. */
export function isDisconnect(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.ConnectionAborted || error instanceof Deno.errors.NotConnected ||
    error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted;
}

function packetEnd(bytes: Uint8Array): number | undefined {
  let length = 0;
  for (let index = 1; index < Math.min(bytes.length, 5); index += 1) {
    const digit = bytes[index] ?? 0;
    length += (digit & 0x7f) * 128 ** (index - 1);
    if ((digit & 0x80) === 0) return index + 1 + length;
  }
  if (bytes.length >= 5) throw new Error(`the broker sent a remaining length of more than four bytes`);
  return undefined;
}
