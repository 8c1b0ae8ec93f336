/**
 * Two well-behaved clients whose round trip is watched while others misbehave: one publishes with QoS 1, one message
 * under way at a time, the other receives it.
 *
 * A round trip ends when the publisher has its PUBACK and the subscriber the message. Messages are due on a fixed grid.
 * One that could not be sent in time because its predecessor was still under way counts from when it was due, so that a
 * broker that stands still for a second is charged for all the messages of that second and not for one. A timer that
 * fires late is this process's fault and not counted.
 */

import { connectClient, type HandshakeTarget, subscribeClient } from "./handshake.ts";
import { LatencyHistogram, type LatencySummary } from "./latency.ts";
import { Link, type LinkOwner } from "./link.ts";
import {
  ACK_BYTES,
  encodePublishTemplate,
  FirstByte,
  payloadOffsetOf,
  type PublishTemplate,
  STAMP_BYTES,
  writeAck,
} from "./packets.ts";
import { type DeliveryFaults, OrderedLedger } from "./verify.ts";

/** What the pair saw in one stretch of time. */
export interface HonestReport {
  /** Messages that made their round trip. */
  readonly messages: number;
  /** Round trips, microseconds. */
  readonly lat_us: LatencySummary;
}

const PAYLOAD_BYTES = 64;
/** Time without an answer after which the pair gives up, milliseconds. */
const ANSWER_TIMEOUT_MS = 30_000;

/** The pair, connected and subscribed. Make it with `connect`; `close` it. */
export class HonestPair {
  readonly #publisher: Link;
  readonly #subscriber: Link;
  readonly #template: PublishTemplate;
  readonly #ledger = new OrderedLedger(1);
  readonly #latency = new LatencyHistogram();
  #sent = 0;
  #unexpected = 0;
  #isAcknowledged = true;
  #isDelivered = true;
  #endedAtMs = 0;
  #exchange = Promise.withResolvers<void>();
  #lost: string | undefined;

  /** Connects both and subscribes one. */
  static async connect(target: HandshakeTarget): Promise<HonestPair> {
    const prefix = `honest${crypto.randomUUID().slice(0, 8)}`;
    const subscriber = await connectClient(target, `${prefix}s`);
    await subscribeClient(subscriber, target.version, prefix, 1);
    return new HonestPair(await connectClient(target, `${prefix}p`), subscriber, target, prefix);
  }

  private constructor(publisher: Deno.Conn, subscriber: Deno.Conn, { version }: HandshakeTarget, topic: string) {
    const shape = { version, qos: 1, retain: false, topic, payloadBytes: PAYLOAD_BYTES, publisher: 0 } as const;
    this.#template = encodePublishTemplate(shape);
    const handleLost = (reason: string) => this.#lose(reason);
    const handleChunkEnd = () => {};
    const acknowledgements: LinkOwner = {
      handlePacket: (firstByte, start) => {
        const { bytes } = this.#publisher;
        const isDue = firstByte === FirstByte.PUBACK && !this.#isAcknowledged &&
          ((bytes[start]! << 8) | bytes[start + 1]!) === packetIdOf(this.#sent - 1);
        if (!isDue) return void this.#unexpected++;
        this.#isAcknowledged = true;
        this.#finish(this.#publisher.chunkTimeMs);
      },
      handleChunkEnd,
      handleLost,
    };
    const deliveries: LinkOwner = {
      handlePacket: (firstByte, start, end) => {
        if ((firstByte & 0xf0) !== FirstByte.PUBLISH) return void this.#unexpected++;
        this.#handleDelivery(payloadOffsetOf(this.#subscriber.bytes, start, 1, version), start, end);
      },
      handleChunkEnd,
      handleLost,
    };
    this.#publisher = new Link(publisher, acknowledgements);
    this.#subscriber = new Link(subscriber, deliveries);
    void this.#publisher.run();
    void this.#subscriber.run();
  }

  /**
   * Sends a message every `intervalMs` until `ended` is settled, and reports the round trips of this stretch.
   *
   * @param intervalMs 0 = each as soon as the last one is through.
   * @throws Error when a connection is lost or an answer does not come.
   */
  async measure(ended: Promise<void>, intervalMs: number): Promise<HonestReport> {
    let hasEnded = false;
    void ended.then(() => (hasEnded = true));
    this.#latency.reset();
    for (let dueMs = performance.now(); !hasEnded; dueMs += intervalMs) {
      const aheadMs = dueMs - performance.now();
      if (aheadMs > 0) await new Promise((resolve) => setTimeout(resolve, aheadMs));
      const startMs = aheadMs > 0 || intervalMs === 0 ? performance.now() : dueMs;
      await this.#send();
      this.#latency.recordMs(this.#endedAtMs - startMs);
    }
    return { messages: this.#latency.total, lat_us: this.#latency.summarize() };
  }

  /** What is missing, doubled or out of order so far, and packets that nobody asked for. */
  faults(): DeliveryFaults & { readonly unexpected: number } {
    return { ...this.#ledger.summarize([this.#sent]), unexpected: this.#unexpected };
  }

  /** Closes both connections. */
  close(): void {
    this.#publisher.close();
    this.#subscriber.close();
  }

  async #send(): Promise<void> {
    if (this.#lost !== undefined) throw new Error(this.#lost);
    const { packet, packetIdOffset, stampOffset } = this.#template;
    const sequence = this.#sent++;
    this.#isAcknowledged = false;
    this.#isDelivered = false;
    this.#exchange = Promise.withResolvers();
    const link = this.#publisher;
    const offset = link.reserve(packet.length);
    link.out.set(packet, offset);
    const view = new DataView(link.out.buffer);
    view.setUint16(offset + packetIdOffset, packetIdOf(sequence));
    view.setUint32(offset + stampOffset + 4, sequence);
    link.flush();
    const timer = setTimeout(() => this.#lose(`no answer for ${ANSWER_TIMEOUT_MS} ms`), ANSWER_TIMEOUT_MS);
    await this.#exchange.promise.finally(() => clearTimeout(timer));
  }

  #handleDelivery(payload: number, start: number, end: number): void {
    const link = this.#subscriber;
    const packetIdAt = start + 2 + link.view.getUint16(start);
    writeAck(link.out, link.reserve(ACK_BYTES), FirstByte.PUBACK, link.view.getUint16(packetIdAt));
    link.flush();
    if (payload + STAMP_BYTES > end) return void this.#unexpected++;
    const sequence = link.view.getUint32(payload + 4);
    const isNew = this.#ledger.record(link.view.getUint32(payload), sequence);
    if (!isNew || sequence !== this.#sent - 1) return;
    this.#isDelivered = true;
    this.#finish(link.chunkTimeMs);
  }

  #finish(nowMs: number): void {
    if (!this.#isAcknowledged || !this.#isDelivered) return;
    this.#endedAtMs = nowMs;
    this.#exchange.resolve();
  }

  #lose(reason: string): void {
    this.#lost ??= `an honest client was lost: ${reason}`;
    this.#exchange.reject(new Error(this.#lost));
  }
}

function packetIdOf(sequence: number): number {
  return 1 + (sequence % 65_535);
}
