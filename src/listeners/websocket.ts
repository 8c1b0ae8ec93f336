/**
 * MQTT over WebSocket: binary messages in both directions, packets split and joined as the peer likes.
 * [MQTT 5.0, 6; MQTT-6.0.0-1 to -4]
 *
 * The runtime offers no back-pressure for received messages, so what arrives while the connection is paused is kept,
 * up to a bound. For sending, `bufferedAmount` stands for "not yet written"; it is looked at by a timer, because no
 * event tells when it falls.
 */
import type { TimerWheel } from "../broker/timer_wheel.ts";
import { TICK_MS, Timer } from "../broker/timer_wheel.ts";
import type { Counters } from "../metrics/counters.ts";
import type { SessionLimits } from "../session/session_limits.ts";
import type { Connection, Transport } from "./connection.ts";

/** Subprotocols a client may offer; `mqttv3.1` is what MQTT 3.1 clients send. */
const SUBPROTOCOLS = ["mqtt", "mqttv3.1"] as const;

/** What a WebSocket upgrade request is answered with. */
export type Handshake =
  | { readonly kind: "accept"; readonly subprotocol: string }
  | { readonly kind: "refuse"; readonly response: Response };

/**
 * Decides about an HTTP request at the WebSocket listener.
 *
 * @param path The configured path; `/` is always accepted too.
 */
export function negotiate(request: Request, path: string): Handshake {
  const { pathname } = new URL(request.url);
  if (pathname !== path && pathname !== "/") return refuse(404, "not found\n");
  if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
    const refusal = refuse(426, "MQTT over WebSocket only\n");
    refusal.response.headers.set("upgrade", "websocket");
    return refusal;
  }
  // The runtime would throw for these two. [RFC 6455, 4.2.1]
  if (!NONCE.test(request.headers.get("sec-websocket-key") ?? "")) return refuse(400, "Sec-WebSocket-Key required\n");
  if (request.headers.get("sec-websocket-version") !== "13") {
    const refusal = refuse(426, "WebSocket version 13 only\n");
    refusal.response.headers.set("sec-websocket-version", "13");
    return refusal;
  }
  const offered = (request.headers.get("sec-websocket-protocol") ?? "").split(",").map((name) => name.trim());
  const subprotocol = SUBPROTOCOLS.find((name) => offered.includes(name));
  // [MQTT-6.0.0-3]
  return subprotocol === undefined ? refuse(400, "subprotocol mqtt required\n") : { kind: "accept", subprotocol };
}

/**
 * True when a connection from this host may be trusted like any other local one: it comes from a program, which sends
 * no Origin, or from a page of this host. A page of another site runs in a browser here too, but is a stranger.
 */
export function isLocalOrigin(request: Request): boolean {
  const origin = request.headers.get("origin");
  if (origin === null) return true;
  const url = URL.parse(origin);
  return url !== null && LOCAL_HOST.test(url.hostname);
}

/** Sixteen bytes in base64. */
const NONCE = /^[A-Za-z0-9+/]{22}==$/;
const LOCAL_HOST = /^(?:(?:.+\.)?localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

function refuse(status: number, body: string): Handshake & { readonly kind: "refuse" } {
  return { kind: "refuse", response: new Response(body, { status }) };
}

/** Carries one connection over one WebSocket. `attach` must be called in the turn of the upgrade. */
export class WebSocketTransport implements Transport {
  /** Resolves when the socket is closed. */
  readonly done: Promise<void>;
  readonly #socket: WebSocket;
  readonly #counters: Counters;
  readonly #clock: () => number;
  readonly #limits: SessionLimits;
  readonly #wheel: TimerWheel;
  readonly #drainTimer: Timer;
  #connection!: Connection;
  /** What the connection left of earlier messages stands in `0..#leftLength`. */
  #left: Uint8Array = NOTHING;
  #leftLength = 0;
  #isPresenting = false;
  #unwritten: Uint8Array = NOTHING;

  constructor(socket: WebSocket, counters: Counters, clock: () => number, limits: SessionLimits, wheel: TimerWheel) {
    this.#socket = socket;
    this.#counters = counters;
    this.#clock = clock;
    this.#limits = limits;
    this.#wheel = wheel;
    this.#drainTimer = new Timer({ timedOut: () => this.#checkDrained() });
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => this.#receive(event.data);
    this.done = new Promise((resolve) => {
      // A broken socket fires `error` and then `close`; only the end matters here.
      socket.onclose = () => {
        this.#wheel.cancel(this.#drainTimer);
        this.#connection.closed();
        resolve();
      };
    });
  }

  /** Sets the connection that gets the bytes. */
  attach(connection: Connection): void {
    this.#connection = connection;
  }

  write(storage: Uint8Array, length: number): void {
    if (this.#socket.readyState !== WebSocket.OPEN) {
      // The handshake is still being answered, or the end is near: `onopen` or `onclose` goes on.
      this.#socket.onopen = () => this.write(storage, length);
      return;
    }
    // The runtime sends later, and the storage will be used again: it gets a copy.
    this.#socket.send(storage.slice(0, length));
    this.#unwritten = storage;
    if (this.#socket.bufferedAmount <= BUFFERED_BYTES_MAX) queueMicrotask(() => this.#finishWrite());
    else this.#wheel.schedule(this.#drainTimer, this.#clock() + TICK_MS);
  }

  resume(): void {
    // Called from within `receive` it has nothing to do: the connection goes on by itself.
    if (this.#leftLength > 0 && !this.#isPresenting) this.#present(this.#left, this.#leftLength);
  }

  finish(): void {
    this.#socket.close(NORMAL_CLOSURE);
  }

  abort(): void {
    this.#socket.close(NORMAL_CLOSURE);
  }

  #receive(data: unknown): void {
    if (!(data instanceof ArrayBuffer)) {
      // [MQTT-6.0.0-1] Binary frames only.
      this.#connection.receiveEnded(this.#clock());
      this.#socket.close(UNSUPPORTED_DATA);
      return;
    }
    this.#counters.bytesIn += data.byteLength;
    const bytes = new Uint8Array(data);
    if (this.#leftLength === 0) {
      this.#present(bytes, bytes.length);
      return;
    }
    this.#keep(bytes);
    this.#present(this.#left, this.#leftLength);
  }

  /** Hands `bytes[0..length]` to the connection and keeps what it leaves. */
  #present(bytes: Uint8Array, length: number): void {
    this.#isPresenting = true;
    const used = this.#connection.receive(bytes, 0, length, this.#clock());
    this.#isPresenting = false;
    if (bytes === this.#left) {
      this.#left.copyWithin(0, used, length);
      this.#leftLength = length - used;
      if (this.#leftLength === 0 && this.#left.length > LEFT_BYTES_KEPT_MAX) this.#left = NOTHING;
    } else if (used < length) this.#keep(bytes.subarray(used, length));
    if (this.#leftLength > this.#limits.packetBytesMax + PAUSED_BYTES_MAX) this.abort();
  }

  /** Appends to what is left; the storage doubles, so many small messages cost no more than few large ones. */
  #keep(bytes: Uint8Array): void {
    const needed = this.#leftLength + bytes.length;
    if (needed > this.#left.length) {
      const grown = new Uint8Array(Math.max(needed, this.#left.length * 2));
      grown.set(this.#left.subarray(0, this.#leftLength));
      this.#left = grown;
    }
    this.#left.set(bytes, this.#leftLength);
    this.#leftLength = needed;
  }

  #checkDrained(): void {
    if (this.#socket.bufferedAmount <= BUFFERED_BYTES_MAX) this.#finishWrite();
    else this.#wheel.schedule(this.#drainTimer, this.#clock() + TICK_MS);
  }

  #finishWrite(): void {
    const storage = this.#unwritten;
    this.#unwritten = NOTHING;
    this.#connection.wrote(this.#connection.writingBytes);
    this.#connection.written(storage);
  }
}

const NOTHING = new Uint8Array(0);
/** An empty buffer above this size is given up. */
const LEFT_BYTES_KEPT_MAX = 65_536;
/** Bytes the runtime may hold for the network before a write counts as unfinished. */
const BUFFERED_BYTES_MAX = 262_144;
/** Bytes beyond one packet that may arrive while the answer to CONNECT is pending. */
const PAUSED_BYTES_MAX = 65_536;
const NORMAL_CLOSURE = 1000;
const UNSUPPORTED_DATA = 1003;
