/**
 * A WebSocket client that builds its own handshake and frames, so that tests can offer any subprotocol, split and join
 * packets across frames, and send text and control frames. [RFC 6455]
 *
 * It never answers a ping or a close by itself: the test sees every frame.
 */
import assert from "node:assert/strict";
import { EventQueue } from "./event_queue.ts";
import { type ByteStream, type Endpoint, tcpStream } from "./raw_client.ts";
import { ByteWriter, concatBytes } from "./wire_bytes.ts";

/** Frame types. [RFC 6455, 5.2] */
export const Opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

/** One frame from the server. */
export interface WsFrame {
  readonly opcode: number;
  readonly isFinal: boolean;
  readonly payload: Uint8Array;
}

/** The server's answer to the handshake. */
export interface WsAnswer {
  readonly status: number;
  readonly headers: Headers;
}

const MASK = [0x12, 0x34, 0x56, 0x78];

/** An open connection to a WebSocket server, whether or not the handshake succeeded. */
export class WsClient implements AsyncDisposable {
  readonly #stream: ByteStream;
  readonly #frames = new EventQueue<WsFrame>();
  readonly #answer = Promise.withResolvers<WsAnswer>();
  readonly #reading: Promise<void>;
  #fault: Error | undefined;

  private constructor(stream: ByteStream) {
    this.#stream = stream;
    this.#reading = this.#readAll();
  }

  /**
   * Sends the handshake and returns with the server's answer, which may be a refusal.
   *
   * @param options `protocols`: offered subprotocols; empty = the header is left out. `headers`: further header lines,
   *   or undefined in place of a standard one to leave it out.
   */
  static async open(
    endpoint: Endpoint,
    options: {
      readonly path?: string;
      readonly protocols?: readonly string[];
      readonly headers?: Readonly<Record<string, string | undefined>>;
    } = {},
  ): Promise<{ readonly client: WsClient; readonly answer: WsAnswer }> {
    const client = new WsClient(tcpStream(await Deno.connect(endpoint)));
    const protocols = options.protocols ?? ["mqtt"];
    const headers: Record<string, string | undefined> = {
      "Host": `${endpoint.hostname}:${endpoint.port}`,
      "Connection": "Upgrade",
      "Upgrade": "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": "dGVzdCBrZXkgMTYgYnl0ZQ==",
      "Sec-WebSocket-Protocol": protocols.length === 0 ? undefined : protocols.join(", "),
      ...options.headers,
    };
    const lines = [`GET ${options.path ?? "/mqtt"} HTTP/1.1`];
    for (const [name, value] of Object.entries(headers)) if (value !== undefined) lines.push(`${name}: ${value}`);
    await client.#stream.write(new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n`));
    return { client, answer: await client.#answer.promise };
  }

  /** Sends one masked frame. */
  async sendFrame(opcode: number, payload: Uint8Array, options: { readonly isFinal?: boolean } = {}): Promise<void> {
    const writer = new ByteWriter().byte((options.isFinal === false ? 0 : 0x80) | opcode);
    if (payload.length < 126) writer.byte(0x80 | payload.length);
    else writer.byte(0x80 | 126).uint16(payload.length);
    for (const byte of MASK) writer.byte(byte);
    await this.#stream.write(concatBytes(writer.finish(), payload.map((byte, index) => byte ^ (MASK[index % 4] ?? 0))));
  }

  /** Takes the next frame, or `undefined` when the connection ended. */
  async next(what: string): Promise<WsFrame | undefined> {
    const frame = await this.#frames.next(what);
    if (frame === undefined && this.#fault !== undefined) throw this.#fault;
    return frame;
  }

  /** Takes the next frame, which must be of this type. */
  async expectFrame(opcode: number): Promise<WsFrame> {
    const frame = await this.next(`a frame with opcode ${opcode}`);
    assert.ok(frame, `the connection ended where opcode ${opcode} was expected`);
    assert.equal(frame.opcode, opcode);
    return frame;
  }

  /** Waits for the end of the connection and returns the frames before it. */
  async drain(): Promise<WsFrame[]> {
    const frames: WsFrame[] = [];
    for (;;) {
      const frame = await this.next("the end of the connection");
      if (frame === undefined) return frames;
      frames.push(frame);
    }
  }

  /** The bytes inside binary frames as a stream, for a `RawClient`; the client must not be read otherwise then. */
  asByteStream(): ByteStream {
    return {
      read: async () => {
        const frame = await this.next("a binary frame");
        if (frame === undefined || frame.opcode === Opcode.CLOSE) return undefined;
        assert.equal(frame.opcode, Opcode.BINARY, "[MQTT-6.0.0-1] packets travel in binary frames");
        return frame.payload;
      },
      write: (bytes) => this.sendFrame(Opcode.BINARY, bytes),
      closeWrite: () => this.#stream.closeWrite(),
      close: () => this.#stream.close(),
    };
  }

  /** Drops the connection. */
  async close(): Promise<void> {
    this.#stream.close();
    await this.#reading;
  }

  /** Same as {@link close}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #readAll(): Promise<void> {
    let pending: Uint8Array = new Uint8Array(0);
    let hasAnswer = false;
    try {
      for (;;) {
        const chunk = await this.#stream.read();
        if (chunk === undefined) break;
        pending = concatBytes(pending, chunk);
        if (!hasAnswer) {
          const end = headerEnd(pending);
          if (end === undefined) continue;
          hasAnswer = true;
          this.#answer.resolve(parseAnswer(pending.subarray(0, end)));
          pending = pending.subarray(end);
        }
        pending = this.#takeFrames(pending);
      }
    } catch (error) {
      this.#fault = error instanceof Error ? error : new Error(String(error));
    }
    if (!hasAnswer) this.#answer.reject(new Error("the server closed the connection without an answer"));
    this.#frames.end();
  }

  #takeFrames(bytes: Uint8Array): Uint8Array {
    let rest = bytes;
    for (;;) {
      const parsed = parseFrame(rest);
      if (parsed === undefined) return rest;
      this.#frames.push(parsed.frame);
      rest = rest.subarray(parsed.end);
    }
  }
}

function headerEnd(bytes: Uint8Array): number | undefined {
  const index = new TextDecoder("latin1").decode(bytes).indexOf("\r\n\r\n");
  return index < 0 ? undefined : index + 4;
}

function parseAnswer(bytes: Uint8Array): WsAnswer {
  const [status = "", ...lines] = new TextDecoder("latin1").decode(bytes).trimEnd().split("\r\n");
  const headers = new Headers();
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return { status: Number(status.split(" ")[1]), headers };
}

function parseFrame(bytes: Uint8Array): { readonly frame: WsFrame; readonly end: number } | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 2) return undefined;
  const first = view.getUint8(0);
  const short = view.getUint8(1);
  assert.equal(short & 0x80, 0, "a server must not mask its frames");
  const headerLength = short === 127 ? 10 : short === 126 ? 4 : 2;
  if (bytes.length < headerLength) return undefined;
  const length = short === 127 ? Number(view.getBigUint64(2)) : short === 126 ? view.getUint16(2) : short;
  const end = headerLength + length;
  if (bytes.length < end) return undefined;
  const payload = bytes.slice(headerLength, end);
  return { frame: { opcode: first & 15, isFinal: (first & 0x80) !== 0, payload }, end };
}
