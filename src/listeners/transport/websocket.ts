/**
 * A TCP or TLS socket seen through WebSocket: whoever reads and writes it sees the MQTT bytes alone. [MQTT 5.0, 6]
 *
 *   HEAD ──101──▶ FRAMES ──Close, fault──▶ ENDED: `farewell` says Close
 *     └───────────refused────────────────▶ ENDED: `farewell` says why, in HTTP
 *
 * It stands between a socket and `StreamTransport`, so buffers, pauses, time limits and the hard end are those of TCP.
 * It holds no received bytes but the request head, which is bounded. One frame is written at a time; a Pong goes
 * between two of them, and only the newest one waits, so a peer that pings and does not read costs nothing.
 */
import { recycle, WriteBuffer } from "../../protocol/write_buffer.ts";
import { type ByteSocket, SocketBug } from "./stream.ts";
import { CloseCode, encodeClose, FrameReader, writeBinaryHeader } from "./websocket_frames.ts";
import {
  answerHandshake,
  endOfHead,
  type HandshakeAnswer,
  HEAD_BYTES_MAX,
  refuseClient,
  refuseLongHead,
  type RequestOrigin,
} from "./websocket_handshake.ts";

/** What a WebSocket needs of the socket below it; a `Deno.TcpConn` has it. */
export type HalfCloseSocket = Required<Pick<ByteSocket, "read" | "write" | "close" | "closeWrite">>;

/** See the head of this file. One reader and one writer at a time, as for any socket. */
export class WebSocketByteSocket implements ByteSocket {
  wasFilled = false;
  readonly #socket: HalfCloseSocket;
  readonly #path: string;
  readonly #mayUpgrade: (origin: RequestOrigin) => boolean;
  readonly #frames = new FrameReader();
  /** The request head so far; undefined once it was answered. */
  #head: Uint8Array | undefined = NOTHING;
  #headLength = 0;
  #isUpgraded = false;
  #refusal: Uint8Array | undefined = undefined;
  #hasPeerEnded = false;
  /** Bytes that the binary frame under way still promises. */
  #frameLeft = 0;
  /** The Pong under way. */
  #ponging: Promise<void> | undefined = undefined;
  /** The last words under way, or said. */
  #closing: Promise<void> | undefined = undefined;

  /**
   * @param path The configured path of the handshake.
   * @param mayUpgrade Called once, for a good request, before it is answered; false refuses it with 403.
   */
  constructor(socket: HalfCloseSocket, path: string, mayUpgrade: (origin: RequestOrigin) => boolean) {
    this.#socket = socket;
    this.#path = path;
    this.#mayUpgrade = mayUpgrade;
  }

  /** Reads MQTT bytes to the front of `buffer`; null when the WebSocket ended, in whatever way. */
  async read(buffer: Uint8Array): Promise<number | null> {
    while (this.#refusal === undefined && this.#frames.closeCode === 0) {
      let count = await this.#socket.read(buffer);
      if (count === null) {
        this.#hasPeerEnded = true;
        break;
      }
      this.wasFilled = count === buffer.length;
      if (this.#head !== undefined) count = await this.#readHead(buffer, count);
      const mqttCount = this.#readFrames(buffer, count);
      if (this.#frameLeft === 0 && this.#ponging === undefined) this.#sendPong();
      if (mqttCount > 0) return mqttCount;
    }
    return null;
  }

  /** Writes a part of `bytes` at least. What is left must be written next. */
  async write(bytes: Uint8Array): Promise<number> {
    while (this.#ponging !== undefined) await this.#ponging;
    const written = this.#frameLeft === 0 ? await this.#beginFrame(bytes) : await this.#socket.write(bytes);
    this.#frameLeft -= written;
    if (this.#frameLeft === 0) this.#sendPong();
    return written;
  }

  /** Says Close, or why there was no upgrade, and that nothing follows. */
  closeWrite(): Promise<void> {
    return this.#closing ??= this.#sayLast();
  }

  /** Tells the peer why its WebSocket ended, and lets it have the time to read that. */
  async farewell(): Promise<void> {
    await this.closeWrite();
    // With bytes of the peer unread, its system could throw away what was just written to it.
    const discarded = new Uint8Array(DISCARDED_BYTES);
    while (!this.#hasPeerEnded && !this.#frames.hasPeerClosed) {
      this.#hasPeerEnded = await this.#socket.read(discarded) === null;
    }
  }

  close(): void {
    this.#socket.close();
  }

  /**
   * Takes the request head from `buffer[0..count]` and answers it when it is whole.
   *
   * @returns Count of bytes after the head; they are moved to the front.
   */
  async #readHead(buffer: Uint8Array, count: number): Promise<number> {
    const before = this.#headLength;
    const response = this.#answerHead(buffer, count);
    if (response === undefined) return 0;
    await this.#writeAll(response);
    this.#isUpgraded = true;
    const headCount = this.#headLength - before;
    buffer.copyWithin(0, headCount, count);
    return count - headCount;
  }

  #readFrames(buffer: Uint8Array, count: number): number {
    try {
      return this.#frames.read(buffer, count);
    } catch (bug) {
      throw new SocketBug(bug);
    }
  }

  #answerHead(buffer: Uint8Array, count: number): Uint8Array | undefined {
    try {
      return this.#takeHead(buffer, count);
    } catch (bug) {
      throw new SocketBug(bug);
    }
  }

  /** @returns What to answer a request that was accepted; `#headLength` is then the length of its head alone. */
  #takeHead(buffer: Uint8Array, count: number): Uint8Array | undefined {
    const before = this.#headLength;
    const taken = Math.min(count, HEAD_BYTES_MAX - before);
    const head = this.#growHead(before + taken);
    head.set(buffer.subarray(0, taken), before);
    this.#headLength += taken;
    const end = endOfHead(head, before - 3, this.#headLength);
    if (end === -1) {
      if (this.#headLength === HEAD_BYTES_MAX) this.#refuse(refuseLongHead());
      return undefined;
    }
    const answer = answerHandshake(head.subarray(0, end), this.#path);
    this.#head = undefined;
    if (answer.accepted === undefined) {
      this.#refuse(answer);
      return undefined;
    }
    if (!this.#mayUpgrade(answer.accepted)) {
      this.#refuse(refuseClient());
      return undefined;
    }
    this.#headLength = end;
    return answer.response;
  }

  #growHead(needed: number): Uint8Array {
    const head = this.#head!;
    if (needed <= head.length) return head;
    const grown = new Uint8Array(Math.min(HEAD_BYTES_MAX, Math.max(needed, head.length * 2)));
    grown.set(head.subarray(0, this.#headLength));
    this.#head = grown;
    return grown;
  }

  #refuse(answer: HandshakeAnswer): void {
    this.#head = undefined;
    this.#refusal = answer.response;
  }

  /**
   * Writes the header and the first bytes with one call; bytes that do not fit in are not copied.
   *
   * @returns Count of payload bytes written, at least one.
   */
  async #beginFrame(bytes: Uint8Array): Promise<number> {
    this.#frameLeft = bytes.length;
    const joinedLength = Math.min(bytes.length, JOINED_BYTES_MAX);
    JOINED.reserve(HEADER_BYTES_MAX + joinedLength);
    const headerLength = JOINED.length = writeBinaryHeader(JOINED.bytes, bytes.length);
    JOINED.append(joinedLength === bytes.length ? bytes : bytes.subarray(0, joinedLength));
    const storage = JOINED.take();
    const length = headerLength + joinedLength;
    let written = 0;
    while (written <= headerLength) written += await this.#socket.write(storage.subarray(written, length));
    recycle(storage);
    return written - headerLength;
  }

  /** Answers the newest Ping, if there is one. Called between frames only. */
  #sendPong(): void {
    const pong = this.#closing === undefined ? this.#frames.takePong() : undefined;
    if (pong === undefined) return;
    this.#ponging = this.#writeAll(pong).then(() => {
      this.#ponging = undefined;
      this.#sendPong();
    }, () => {
      // The socket is at its end; reader and writer learn it by themselves.
      this.#ponging = undefined;
    });
  }

  async #sayLast(): Promise<void> {
    while (this.#ponging !== undefined) await this.#ponging;
    if (this.#refusal !== undefined) await this.#writeAll(this.#refusal);
    else if (this.#isUpgraded) {
      const { closeCode } = this.#frames;
      await this.#writeAll(encodeClose(closeCode === 0 ? CloseCode.NORMAL : closeCode));
    }
    await this.#socket.closeWrite();
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    let written = 0;
    while (written < bytes.length) written += await this.#socket.write(bytes.subarray(written));
  }
}

const NOTHING = new Uint8Array(0);
const HEADER_BYTES_MAX = 10;
/** Where header and payload meet; used and left within one call, so one serves all sockets. */
const JOINED = new WriteBuffer(0);
/** Copying this much costs less than another system call. With the header it is a size that is pooled. */
const JOINED_BYTES_MAX = 65_536 - HEADER_BYTES_MAX;
const DISCARDED_BYTES = 4_096;
