/**
 * How fast one client may send: PUBLISH packets and bytes per second, its own and those of its listener.
 *
 *   mayHandle ──within the rates──▶ true
 *             ──above, wait───────▶ true, and isWaiting until it may go on: nothing is read meanwhile
 *             ──above, disconnect─▶ false: the connection is to end
 *
 * A packet is charged when it is handled, so at most one packet goes beyond the rate before the pause. A packet larger
 * than one second's worth of bytes is above the rate by itself.
 *
 * The clients of a listener share its rates. A client is never disconnected for what the others send: above those it
 * waits in a line. With every tick what has come back is dealt out in equal parts from the head of the line; a client
 * that used its part up goes to the end. So the rate is used fully by whoever wants it, and nobody starves, however
 * greedy the others are and in whatever order the connections are read.
 *
 * `TrafficLimits` exists only while some rate is set for its connection: no limits, no cost.
 */
import type { BrokerCore } from "../../broker/broker_core.ts";
import type { ClientOrigin } from "../../broker/client_origin.ts";
import { TICK_MS, Timer, type TimerOwner, type TimerWheel } from "../../broker/timer_wheel.ts";
import { PacketType } from "../../protocol/packets.ts";
import { TokenBucket } from "./token_bucket.ts";

/** Per second; 0 = unbounded. Changed in place by a reload. */
export interface TrafficRates {
  /** PUBLISH packets. */
  messageRate: number;
  /** Bytes of packets of any type. */
  byteRate: number;
}

/** Rates of one connection and what happens above them. Changed in place by a reload. */
export interface TrafficSettings extends TrafficRates {
  /** True = the client is read from more slowly; false = it is disconnected. */
  isWait: boolean;
}

/** A client whose traffic is limited: its connection. */
export interface LimitedClient {
  readonly origin: ClientOrigin;
  /** A wait is over; called by the timer wheel. */
  waited(nowMs: number): void;
}

/** The parts of the broker that limits need. */
type Surroundings = Pick<BrokerCore, "wheel" | "counters" | "log">;

/** One client's part of what its listener shares: what it may take until it has to stand in the line again. */
interface Share {
  messages: number;
  bytes: number;
  /** It has left the line and may go on. */
  dealt(nowMs: number): void;
}

/** What the clients of one listener share, and the line of those that wait for it. One per listener that has rates. */
export class SharedTraffic implements TimerOwner {
  readonly rates: TrafficRates;
  readonly #messages: TokenBucket;
  readonly #bytes: TokenBucket;
  readonly #wheel: TimerWheel;
  readonly #timer = new Timer(this);
  /** At most one entry per connection of the listener. */
  readonly #line = new Set<Share>();

  /** @param rates Read with every packet. */
  constructor(rates: TrafficRates, wheel: TimerWheel, nowMs: number) {
    this.rates = rates;
    this.#wheel = wheel;
    this.#messages = new TokenBucket(() => rates.messageRate, nowMs);
    this.#bytes = new TokenBucket(() => rates.byteRate, nowMs);
  }

  /**
   * Takes what a client's packet costs.
   *
   * @returns The rate it went beyond, which put the client into the line; else undefined.
   */
  take(share: Share, messages: number, bytes: number, nowMs: number): "message_rate" | "byte_rate" | undefined {
    this.#messages.take(messages, nowMs);
    this.#bytes.take(bytes, nowMs);
    share.messages -= messages;
    share.bytes -= bytes;
    const isAboveMessages = isUsedUp(share.messages, this.#messages, nowMs);
    if (!isAboveMessages && !isUsedUp(share.bytes, this.#bytes, nowMs)) return undefined;
    if (this.#line.size === 0) this.#wheel.schedule(this.#timer, nowMs + 1);
    this.#line.add(share);
    return isAboveMessages ? "message_rate" : "byte_rate";
  }

  isInLine(share: Share): boolean {
    return this.#line.has(share);
  }

  /** The client ends. */
  leave(share: Share): void {
    this.#line.delete(share);
  }

  /** Deals out what has come back. O(clients dealt to). */
  timedOut(nowMs: number): void {
    const line = this.#line;
    let messages = this.#messages.available(nowMs);
    let bytes = this.#bytes.available(nowMs);
    // Whole ones at least: a part of a message is of no use to anybody.
    const messagesEach = Math.max(1, messages / line.size);
    const bytesEach = Math.max(BYTES_DEALT_MIN, bytes / line.size);
    let toVisit = line.size;
    for (const share of line) {
      if (toVisit-- === 0 || messages <= 0 || bytes <= 0) break;
      line.delete(share);
      // Who took more than its part, in one large packet, goes without until that is made up for.
      share.messages = carriedOver(share.messages, messagesEach) + messagesEach;
      share.bytes = carriedOver(share.bytes, bytesEach) + bytesEach;
      if (share.messages <= 0 || share.bytes <= 0) {
        line.add(share);
        continue;
      }
      messages -= messagesEach;
      bytes -= bytesEach;
      share.dealt(nowMs);
    }
    if (line.size > 0) this.#wheel.schedule(this.#timer, nowMs + TICK_MS);
  }
}

/** See the head of this file. One per connection. */
export class TrafficLimits implements TimerOwner {
  /** True while the connection must not be read from. */
  isWaiting = false;
  readonly #settings: TrafficSettings;
  readonly #shared: SharedTraffic | null;
  readonly #client: LimitedClient;
  readonly #core: Surroundings;
  readonly #messages: TokenBucket;
  readonly #bytes: TokenBucket;
  readonly #share: Share;
  readonly #timer = new Timer(this);
  /** When its own debt is paid off, while that is waited for. */
  #untilMs = 0;

  constructor(
    settings: TrafficSettings,
    shared: SharedTraffic | null,
    client: LimitedClient,
    core: Surroundings,
    nowMs: number,
  ) {
    this.#settings = settings;
    this.#shared = shared;
    this.#client = client;
    this.#core = core;
    this.#messages = new TokenBucket(() => settings.messageRate, nowMs);
    this.#bytes = new TokenBucket(() => settings.byteRate, nowMs);
    this.#share = { messages: Infinity, bytes: Infinity, dealt: (dealtMs) => this.#goOn(dealtMs) };
  }

  /**
   * Makes the limits of a connection, or null while no rate is set. Asked per chunk, so that a reload takes effect.
   *
   * @param shared Rates of the listener, or null where it has none.
   */
  static ifAny(
    settings: TrafficSettings,
    shared: SharedTraffic | null,
    client: LimitedClient,
    core: Surroundings,
    nowMs: number,
  ): TrafficLimits | null {
    const isAny = isLimited(settings) || (shared !== null && isLimited(shared.rates));
    return isAny ? new TrafficLimits(settings, shared, client, core, nowMs) : null;
  }

  /**
   * Charges one packet that is about to be handled. Not while waiting.
   *
   * @param first First byte of the packet.
   * @returns False when it is to be dropped and the connection to end. True, and `isWaiting`, when it is to be handled
   *   and nothing after it until `waited`.
   */
  mayHandle(first: number, bytes: number, nowMs: number): boolean {
    const messages = first >> 4 === PacketType.PUBLISH ? 1 : 0;
    this.#messages.take(messages, nowMs);
    this.#bytes.take(bytes, nowMs);
    const messagesMs = this.#messages.waitMs(nowMs);
    const waitMs = Math.max(messagesMs, this.#bytes.waitMs(nowMs));
    if (waitMs > 0 && !this.#settings.isWait) {
      this.#report(messagesMs > 0 ? "message_rate_disconnect" : "byte_rate_disconnect", "info");
      return false;
    }
    const sharedRate = this.#shared?.take(this.#share, messages, bytes, nowMs);
    if (waitMs > 0) {
      this.#report(messagesMs === waitMs ? "message_rate_wait" : "byte_rate_wait", "debug");
      this.#untilMs = nowMs + waitMs;
      this.#wake(nowMs);
    } else if (sharedRate !== undefined) this.#report(`listener_${sharedRate}_wait`, "debug");
    this.isWaiting = waitMs > 0 || sharedRate !== undefined;
    return true;
  }

  timedOut(nowMs: number): void {
    // A reload may have made the debt smaller or nothing.
    const waitMs = Math.max(this.#messages.waitMs(nowMs), this.#bytes.waitMs(nowMs));
    this.#untilMs = Math.min(this.#untilMs, nowMs + waitMs);
    if (nowMs < this.#untilMs) this.#wake(nowMs);
    else this.#goOn(nowMs);
  }

  /** The connection ends: nothing is to be resumed any more. */
  close(): void {
    this.isWaiting = false;
    this.#core.wheel.cancel(this.#timer);
    this.#shared?.leave(this.#share);
  }

  /** One wait is over; there may be another. */
  #goOn(nowMs: number): void {
    if (this.#timer.isScheduled || this.#shared?.isInLine(this.#share) === true) return;
    this.isWaiting = false;
    this.#client.waited(nowMs);
  }

  #report(reason: string, level: "debug" | "info"): void {
    const { remoteAddress, listener } = this.#client.origin;
    this.#core.counters.clientsLimited.add(reason);
    this.#core.log.limited(`limited:${reason}`, level, "client limited", {
      reason,
      remoteAddress,
      listener: listener.name,
    });
  }

  #wake(nowMs: number): void {
    this.#core.wheel.schedule(this.#timer, Math.min(this.#untilMs, nowMs + LOOK_AGAIN_MS));
  }
}

/**
 * What was dealt is the client's to use, whatever the others take: a large packet of one of them, read just before, would
 * else send it back to the line each time. Without limit nothing was dealt so far, and what is there is for all.
 */
function isUsedUp(left: number, common: TokenBucket, nowMs: number): boolean {
  return left === Infinity ? common.available(nowMs) < 0 : left <= 0;
}

/** A part that was not used up, because others had taken too much, is kept once; without limit there was none. */
function carriedOver(left: number, each: number): number {
  return left === Infinity ? 0 : Math.min(left, each);
}

function isLimited(rates: TrafficRates): boolean {
  return rates.messageRate > 0 || rates.byteRate > 0;
}

/** How soon a client that waits long hears of a limit that a reload raised. */
const LOOK_AGAIN_MS = 1_000;
/** Bytes that are worth waking a client for. */
const BYTES_DEALT_MIN = 4_096;
