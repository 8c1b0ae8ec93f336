/**
 * One Network Connection: the only place where bytes and protocol state meet.
 *
 *   AWAITING_CONNECT ──CONNECT──▶ CONNECTING ──CONNACK 0──▶ CONNECTED
 *          │                          │                        │
 *          └──── timeout, fault ──────┴── refused ─────────────┴── DISCONNECT, fault, timeout, takeover
 *                                     ▼
 *                                  CLOSING: what is in the buffer leaves, then the socket is closed
 * The transport presents received bytes and is told how many were used up; it is handed bytes to write and reports
 * when they are gone. Nothing here waits and nothing is allocated per packet.
 */
import type { BrokerCore } from "../../broker/broker_core.ts";
import type { ClientOrigin } from "../../broker/client_origin.ts";
import type { ConnectingClient } from "../../broker/connecting_client.ts";
import type { Reader } from "../../broker/router.ts";
import { Timer, type TimerOwner } from "../../broker/timer_wheel.ts";
import type { Flushable } from "../../broker/turn.ts";
import { decodeClientPacket } from "../../protocol/codec.ts";
import { ConnectFault } from "../../protocol/codec_connect.ts";
import { encodeConnack, encodeDisconnect } from "../../protocol/codec_encode.ts";
import { Frame, Framer } from "../../protocol/framer.ts";
import { Fault, PacketType } from "../../protocol/packets.ts";
import { ReasonCode, reasonCodeName } from "../../protocol/reason_codes.ts";
import { recycle, WriteBuffer } from "../../protocol/write_buffer.ts";
import type { Session } from "../../session/session.ts";
import {
  type LimitedClient,
  type SharedTraffic,
  TrafficLimits,
  type TrafficSettings,
} from "../limits/traffic_limits.ts";

/** The socket, as a connection needs it. */
export interface Transport {
  /**
   * Writes `storage[0..length]`; calls `wrote` as bytes leave and `written` when all are gone. One write at a time.
   * The transport owns the storage until then.
   */
  write(storage: Uint8Array, length: number): void;
  /** Presents bytes again that were left when the connection was paused, and reads on. */
  resume(): void;
  /** Ends the socket; everything was written. */
  finish(): void;
  /** Ends the socket at once, whatever is left. */
  abort(): void;
}

/** Settings read by every connection; changed in place by a reload. */
export interface ConnectionSettings {
  writeBufferBytes: number;
  readTimeoutMs: number;
  writeTimeoutMs: number;
  /** Rates of each connection by itself. */
  readonly limits: TrafficSettings;
}

/** See the head of this file. */
export class Connection implements ConnectingClient, Flushable, TimerOwner, Reader, LimitedClient {
  readonly out: WriteBuffer;
  writingBytes = 0;
  isTouched = false;
  isOpen = true;
  readonly #core: BrokerCore;
  readonly #transport: Transport;
  readonly #settings: ConnectionSettings;
  readonly #shared: SharedTraffic | null;
  /** Null until some rate is set. */
  #traffic: TrafficLimits | null = null;
  readonly #openedMs: number;
  readonly #timer: Timer;
  #state: number = State.AWAITING_CONNECT;
  #session: Session | null = null;
  #isV5 = false;
  /** The client's Maximum Packet Size, known from CONNECT on. */
  #packetBytesMax = Infinity;
  #isExchanging = false;
  #isHeldBack = false;
  #keepAliveMs = 0;
  #lastReceivedMs: number;
  #writingSinceMs = 0;

  /** @param shared Rates of the listener's clients together, or null where it has none. */
  constructor(
    core: BrokerCore,
    transport: Transport,
    readonly origin: ClientOrigin,
    settings: ConnectionSettings,
    shared: SharedTraffic | null = null,
  ) {
    this.#core = core;
    this.#transport = transport;
    this.#settings = settings;
    this.#shared = shared;
    this.out = new WriteBuffer(settings.writeBufferBytes);
    this.#openedMs = this.#lastReceivedMs = core.clock();
    this.#timer = new Timer(this);
    core.counters.connectionOpened();
    core.wheel.schedule(this.#timer, this.#openedMs + settings.readTimeoutMs);
  }

  get remoteAddress(): string {
    return this.origin.remoteAddress;
  }

  /**
   * True while received bytes must wait: for the answer to CONNECT, for a commit, for memory, for its rate, or for a peer
   * that asks and asks and does not read the answers.
   */
  get isPaused(): boolean {
    if (this.#state !== State.CONNECTED) return this.#state === State.CONNECTING && !this.#isExchanging;
    return this.#isHeldBack || this.#isFlooded || (this.#traffic !== null && this.#traffic.isWaiting);
  }

  /** Deliveries stop at the bound; only answers can go on to twice of it. */
  get #isFlooded(): boolean {
    const { out } = this;
    return out.sealedBytes + out.length + this.writingBytes > 2 * this.#core.limits.outboundBytesMax;
  }

  /** True while the last bytes are on their way out or the peer's end is awaited. */
  get isClosing(): boolean {
    return this.#state >= State.CLOSING;
  }

  /**
   * Handles every whole packet in `bytes[start..end]`.
   *
   * @returns Offset of the first byte that was not used up; present it again, followed by more.
   */
  receive(bytes: Uint8Array, start: number, end: number, nowMs: number): number {
    const core = this.#core;
    this.#lastReceivedMs = nowMs;
    core.turn.schedule(nowMs);
    this.#traffic ??= TrafficLimits.ifAny(this.#settings.limits, this.#shared, this, core, nowMs);
    let offset = start;
    while (offset < end) {
      if (this.#state >= State.CLOSING) return end;
      if (this.isPaused) return offset;
      const first = bytes[offset]!;
      if ((core.router.isCongested || core.memory.isHigh) && this.#mustWait(first)) return offset;
      const status = FRAMER.next(bytes, offset, end);
      const { bodyStart, packetEnd } = FRAMER;
      const size = status === Frame.WHOLE ? packetEnd - offset : FRAMER.packetSize;
      const fault = this.#faultOfFrame(status, first, size);
      if (fault !== undefined) {
        this.#fail(fault, nowMs);
        return end;
      }
      if (status === Frame.INCOMPLETE) return offset;
      core.counters.packetsReceived++;
      if (this.#state === State.CONNECTED) {
        if (this.#traffic !== null && !this.#traffic.mayHandle(first, size, nowMs)) {
          this.disconnect(ReasonCode.MESSAGE_RATE_TOO_HIGH);
          return end;
        }
        const broken = core.handler.handlePacket(this.#session!, bytes, offset, bodyStart, packetEnd, nowMs);
        if (broken !== undefined) this.#fail(broken, nowMs);
        else if (first >> 4 === PacketType.DISCONNECT) this.#leave(nowMs, bodyStart < packetEnd ? bytes[bodyStart] : 0);
      } else this.#handleBeforeConnack(bytes.subarray(offset, packetEnd), nowMs);
      offset = packetEnd;
    }
    return offset;
  }

  /** Received bytes ended: the peer closed its side, or the socket broke. */
  receiveEnded(nowMs: number): void {
    if (this.#state < State.CLOSING) this.#leave(nowMs);
  }

  relieved(): void {
    this.#isHeldBack = false;
    this.#transport.resume();
  }

  waited(nowMs: number): void {
    // The silence was ours, not the client's.
    this.#lastReceivedMs = nowMs;
    this.#transport.resume();
  }

  touch(): void {
    if (this.isTouched) return;
    this.isTouched = true;
    this.#core.turn.touch(this);
  }

  flush(): void {
    this.isTouched = false;
    if (this.writingBytes === 0) this.#writeNext(this.#core.turn.startedMs);
  }

  /** The transport wrote `count` bytes of what it was given. */
  wrote(count: number): void {
    this.#core.counters.bytesOut += count;
    this.writingBytes -= count;
    if (this.writingBytes > 0) this.#writingSinceMs = this.#core.clock();
  }

  /** The transport wrote everything it was given. */
  written(storage: Uint8Array): void {
    recycle(storage);
    // What this turn appended may speak of records that its end has still to write.
    if (!this.isTouched && (!this.out.isEmpty || this.#state === State.CLOSING)) this.#writeNext(this.#core.clock());
    const session = this.#session;
    if (session !== null && session.sink === this && session.outbox.hasWaiting) session.outbox.pump(this.#core.clock());
    if (!this.isPaused) this.#transport.resume();
  }

  /** Looks at what may take only so long: CONNECT, silence, a write, the end. */
  timedOut(nowMs: number): void {
    if (this.#state >= State.CLOSING) {
      this.#transport.abort();
      return;
    }
    if (this.#state !== State.CONNECTED) {
      this.#core.counters.connectsRefused.add("connect_timeout");
      this.#core.log.limited("connect_timeout", "warn", "no CONNECT in time", {
        remoteAddress: this.origin.remoteAddress,
        listener: this.origin.listener.name,
      });
      this.#leave(nowMs);
    } else if (this.#keepAliveMs > 0 && !this.isPaused && nowMs - this.#lastReceivedMs >= this.#keepAliveMs) {
      this.disconnect(ReasonCode.KEEP_ALIVE_TIMEOUT);
    } else if (this.writingBytes > 0 && nowMs - this.#writingSinceMs >= this.#settings.writeTimeoutMs) {
      this.abort();
    } else this.#core.wheel.schedule(this.#timer, this.#nextCheckMs(nowMs));
  }

  /** The socket is gone; called exactly once, whoever ended it. */
  closed(): void {
    const nowMs = this.#core.clock();
    if (this.#state < State.CLOSING) this.#leave(nowMs);
    this.#state = State.CLOSED;
    this.#core.wheel.cancel(this.#timer);
    this.#core.counters.connectionClosed((nowMs - this.#openedMs) / 1000);
  }

  /** Cuts the connection, whatever is left to write. */
  abort(): void {
    this.#leave(this.#core.clock());
    this.#transport.abort();
  }

  connected(session: Session, keepAliveSeconds: number): void {
    this.#session = session;
    this.#state = State.CONNECTED;
    this.#isV5 = session.isV5;
    // [MQTT-3.1.2-22] One and a half times the Keep Alive.
    this.#keepAliveMs = keepAliveSeconds * 1500;
    this.#lastReceivedMs = this.#core.clock();
    this.#core.wheel.schedule(this.#timer, this.#nextCheckMs(this.#lastReceivedMs));
    this.#transport.resume();
  }

  refused(): void {
    this.#beginClosing(this.#core.clock());
  }

  disconnect(reasonCode: number, reasonString?: string): void {
    if (!this.isOpen) return;
    if (this.#state === State.CONNECTED && this.#isV5) this.#sayGoodbye(reasonCode, reasonString);
    this.#leave(this.#core.clock(), reasonCode);
  }

  /** Known with the first byte: what asks for more to be kept waits; who drains, comes, goes or is alive does not. */
  #mustWait(first: number): boolean {
    const { router, memory } = this.#core;
    const type = this.#state === State.CONNECTED ? first >> 4 : 0;
    const adds = type === PacketType.PUBLISH || type === PacketType.SUBSCRIBE;
    const isRecorded = adds || type === PacketType.UNSUBSCRIBE || (router.isOverfull && type !== PacketType.PINGREQ);
    if (isRecorded && router.isCongested) router.whenRelieved(this);
    else if (adds && memory.isHigh) memory.whenRelieved(this);
    else return false;
    return this.#isHeldBack = true;
  }

  /** The rules that hold for every packet before it is looked into. */
  #faultOfFrame(status: number, first: number, size: number): Fault | undefined {
    if (status === Frame.MALFORMED) return LENGTH_MALFORMED;
    // [MQTT-3.1.0-1], checked with the first byte: whoever does not speak MQTT need not send a whole packet.
    if (this.#state === State.AWAITING_CONNECT && first >> 4 !== PacketType.CONNECT) return NOT_CONNECT;
    return size > this.#core.limits.packetBytesMax ? PACKET_TOO_LARGE : undefined;
  }

  #handleBeforeConnack(packet: Uint8Array, nowMs: number): void {
    const decoded = decodeClientPacket(packet, 5);
    if (decoded instanceof Fault) return this.#fail(decoded, nowMs);
    if (this.#state === State.AWAITING_CONNECT) {
      if (decoded.type !== PacketType.CONNECT) return this.#fail(NOT_CONNECT, nowMs);
      this.#state = State.CONNECTING;
      this.#isV5 = decoded.version === 5;
      this.#packetBytesMax = decoded.maximumPacketSize;
      this.#isExchanging = decoded.authenticationMethod !== undefined;
      this.#core.sessions.connect(this, decoded, this.#core.clock);
      return;
    }
    // Between the AUTH packets of an exchange only these two are allowed. [MQTT-4.12.0-6]
    if (decoded.type === PacketType.AUTH) {
      const fault = this.#core.authentication.answer(this, decoded);
      if (fault !== undefined) this.#fail(fault, nowMs);
    } else if (decoded.type === PacketType.DISCONNECT) this.#leave(nowMs);
    else this.#fail(NOT_AUTH, nowMs);
  }

  /** The peer broke a rule: it is told why, where its version can, and the connection ends. [MQTT-4.13.1-1] */
  #fail(fault: Fault, nowMs: number): void {
    const { counters, log } = this.#core;
    const reason = reasonCodeName(fault.reasonCode);
    counters.protocolErrors.add(reason);
    log.limited(`protocol_error:${reason}`, "debug", "protocol error", {
      reason,
      statement: fault.statement,
      detail: fault.text,
      remoteAddress: this.origin.remoteAddress,
    });
    if (this.#state === State.CONNECTED) {
      if (this.#isV5) this.#sayGoodbye(fault.reasonCode, fault.text);
    } else if (fault instanceof ConnectFault) {
      counters.connectsRefused.add(reason);
      this.out.append(encodeConnack(fault.connackVersion, false, fault.reasonCode, { reasonString: fault.text }));
      counters.packetsSent++;
    }
    this.#leave(nowMs, fault.reasonCode);
  }

  #sayGoodbye(reasonCode: number, reasonString: string | undefined): void {
    this.out.append(encodeDisconnect(reasonCode, { reasonString }, this.#packetBytesMax));
    this.#core.counters.packetsSent++;
  }

  /** Lets go of the Session and starts to close. */
  #leave(nowMs: number, reasonCode?: number): void {
    if (this.#state >= State.CLOSING) return;
    const session = this.#session;
    if (session !== null) this.#core.sessions.connectionLost(session, this, nowMs, reasonCode);
    else this.#core.authentication.abandon(this);
    this.#beginClosing(nowMs);
  }

  #beginClosing(nowMs: number): void {
    if (this.#state >= State.CLOSING) return;
    this.#state = State.CLOSING;
    this.isOpen = false;
    this.#traffic?.close();
    this.#core.memory.forget(this);
    this.#core.wheel.schedule(this.#timer, nowMs + CLOSING_MS_MAX);
    this.touch();
    // A transport that was paused reads on, so that it sees the peer's end.
    this.#transport.resume();
  }

  #writeNext(nowMs: number): void {
    const out = this.out;
    if (!out.isEmpty) {
      const storage = out.take();
      this.writingBytes = out.takenLength;
      this.#writingSinceMs = nowMs;
      this.#transport.write(storage, out.takenLength);
    } else if (this.#state === State.CLOSING) this.#finish();
  }

  #finish(): void {
    this.#state = State.FINISHED;
    this.#core.wheel.schedule(this.#timer, this.#core.clock() + LINGERING_MS_MAX);
    this.#transport.finish();
  }

  #nextCheckMs(nowMs: number): number {
    const keepAlive = this.#keepAliveMs > 0 ? this.#lastReceivedMs + this.#keepAliveMs : Infinity;
    const { writeTimeoutMs } = this.#settings;
    const write = this.writingBytes > 0 ? this.#writingSinceMs + writeTimeoutMs : nowMs + writeTimeoutMs;
    return Math.max(nowMs + 1, Math.min(keepAlive, write));
  }
}

/** See the head of the file; FINISHED = nothing left to write, CLOSED = the socket is gone. */
const State = {
  AWAITING_CONNECT: 0,
  CONNECTING: 1,
  CONNECTED: 2,
  CLOSING: 3,
  FINISHED: 4,
  CLOSED: 5,
} as const;

/** How long the last bytes may take to leave. */
const CLOSING_MS_MAX = 5_000;
/** How long the peer may take to close its side after the last bytes have left. */
const LINGERING_MS_MAX = 1_000;
/** Its results are read at once, so one serves all connections. */
const FRAMER = new Framer();
const LENGTH_MALFORMED = new Fault(ReasonCode.MALFORMED_PACKET, "MQTT-1.5.5-1", "Remaining Length of five bytes");
const PACKET_TOO_LARGE = new Fault(
  ReasonCode.PACKET_TOO_LARGE,
  "MQTT-3.2.2-15",
  "packet above the Maximum Packet Size",
);
const NOT_CONNECT = new Fault(ReasonCode.PROTOCOL_ERROR, "MQTT-3.1.0-1", "the first packet is not CONNECT");
const NOT_AUTH = new Fault(ReasonCode.PROTOCOL_ERROR, "MQTT-4.12.0-6", "packet other than AUTH before CONNACK");
