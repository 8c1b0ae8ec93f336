/**
 * One subscribing connection: checks every delivery in its ledger, times it, acknowledges it and frees the window.
 *
 * QoS 1 is answered with PUBACK, QoS 2 with PUBREC and PUBREL with PUBCOMP; the answers of one read chunk leave in one
 * write. A QoS 2 delivery counts when its PUBLISH arrives. [MQTT 5.0, 4.3.3]
 */

import type { LatencyHistogram } from "./latency.ts";
import { Link, type LinkOwner } from "./link.ts";
import type { Pacer } from "./pacer.ts";
import { ACK_BYTES, FirstByte, type LoadVersion, payloadOffsetOf, STAMP_BYTES, writeAck } from "./packets.ts";
import type { DeliveryLedger } from "./verify.ts";

/** What a subscriber tells the run. */
export interface SubscriberListener {
  /** The connection ended too early. */
  handleLost(reason: string): void;
  /** A delivery may have ended the run; called once per chunk. */
  handleProgress(): void;
}

/** A subscribing connection, past its SUBACK. */
export class Subscriber implements LinkOwner {
  /** Packets that were neither a PUBLISH with a stamp, a PUBREL nor a PINGRESP. */
  malformed = 0;
  /** PINGREQs sent and not yet answered. */
  pingsDue = 0;
  /** The connection; ping and close it from the run. */
  readonly link: Link;
  readonly #version: LoadVersion;
  readonly #pacer: Pacer;
  readonly #ledger: DeliveryLedger;
  readonly #latency: LatencyHistogram;
  readonly #listener: SubscriberListener;

  constructor(
    connection: Deno.Conn,
    version: LoadVersion,
    pacer: Pacer,
    ledger: DeliveryLedger,
    latency: LatencyHistogram,
    listener: SubscriberListener,
  ) {
    this.link = new Link(connection, this);
    this.#version = version;
    this.#pacer = pacer;
    this.#ledger = ledger;
    this.#latency = latency;
    this.#listener = listener;
  }

  handlePacket(firstByte: number, start: number, end: number): void {
    if ((firstByte & 0xf0) === FirstByte.PUBLISH) {
      this.#handlePublish((firstByte >> 1) & 3, start, end);
    } else if (firstByte === FirstByte.PUBREL) {
      this.#acknowledge(FirstByte.PUBCOMP, start);
    } else if (firstByte === FirstByte.PINGRESP) {
      this.pingsDue--;
    } else {
      this.malformed++;
    }
  }

  /** Sends a PINGREQ; its answer comes behind every delivery that the broker had already written. */
  ping(): void {
    this.pingsDue++;
    this.link.ping();
  }

  #handlePublish(qos: number, start: number, end: number): void {
    const link = this.link;
    const payload = payloadOffsetOf(link.bytes, start, qos, this.#version);
    if (payload + STAMP_BYTES > end) {
      this.malformed++;
      return;
    }
    const view = link.view;
    const publisher = view.getUint32(payload);
    if (this.#ledger.record(publisher, view.getUint32(payload + 4))) {
      this.#latency.recordMs(link.chunkTimeMs - view.getFloat64(payload + 8));
      this.#pacer.delivered(publisher);
    }
    if (qos === 0) return;
    const packetIdAt = start + 2 + ((link.bytes[start]! << 8) | link.bytes[start + 1]!);
    this.#acknowledge(qos === 1 ? FirstByte.PUBACK : FirstByte.PUBREC, packetIdAt);
  }

  handleChunkEnd(): void {
    this.link.flush();
    this.#pacer.release();
    this.#listener.handleProgress();
  }

  handleLost(reason: string): void {
    this.#listener.handleLost(`subscriber: ${reason}`);
  }

  #acknowledge(firstByte: number, packetIdAt: number): void {
    const { bytes } = this.link;
    const offset = this.link.reserve(ACK_BYTES);
    writeAck(this.link.out, offset, firstByte, (bytes[packetIdAt]! << 8) | bytes[packetIdAt + 1]!);
  }
}
