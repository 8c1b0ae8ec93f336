/**
 * One publishing connection: sends numbered messages as fast as its window allows and checks every acknowledgement.
 *
 * Per Packet Identifier the state is 0 free, 1 PUBLISH sent, 2 PUBREL sent. QoS 1 goes 0 → 1 → 0 (PUBACK), QoS 2
 * goes 0 → 1 → 2 → 0 (PUBREC, PUBCOMP). An acknowledgement that fits no state, or carries a Reason Code of 0x80 or
 * more, is counted as refused and fails the run. [MQTT 5.0, 4.3]
 *
 * A message never retried: the connection is reliable and a run does not survive a reconnect.
 */

import type { LatencyHistogram } from "./latency.ts";
import { Link, type LinkOwner } from "./link.ts";
import type { PacedPublisher, Pacer } from "./pacer.ts";
import {
  ACK_BYTES,
  encodePublishTemplate,
  FirstByte,
  type PublishShape,
  type PublishTemplate,
  writeAck,
} from "./packets.ts";

/** What a publisher tells the run. */
export interface PublisherListener {
  /** The connection ended too early. */
  handleLost(reason: string): void;
  /** An acknowledgement or the last message may have ended the run; called at most once per chunk. */
  handleProgress(): void;
}

/** Settings of one publisher. */
export interface PublisherOptions extends PublishShape {
  /** Messages to send, or Infinity to send until the pacer is stopped. */
  readonly messagesMax: number;
  /** Gets PUBLISH → PUBACK or PUBCOMP times; undefined when deliveries are timed instead. */
  readonly ackLatency: LatencyHistogram | undefined;
}

const SLAB_BYTES = 65_536;
const PACKET_ID_MAX = 65_535;

const AWAITING_ACK = 1;
const AWAITING_COMPLETE = 2;

/** A publishing connection. `start` once; then it sends itself onwards, driven by acknowledgements and the pacer. */
export class Publisher implements LinkOwner, PacedPublisher {
  /** Messages sent. */
  sent = 0;
  /** Messages fully acknowledged (PUBACK or PUBCOMP). */
  acked = 0;
  /** Acknowledgements that refused a message or fitted none. */
  refused = 0;
  /** The connection; ping and close it from the run. */
  readonly link: Link;
  readonly #options: PublisherOptions;
  readonly #pacer: Pacer;
  readonly #listener: PublisherListener;
  readonly #template: PublishTemplate;
  readonly #slab: Uint8Array;
  readonly #slabView: DataView;
  readonly #slabMessages: number;
  readonly #idStates: Uint8Array;
  readonly #idSentMs: Float64Array;
  #packetId = 1;
  #inFlight = 0;

  constructor(connection: Deno.Conn, options: PublisherOptions, pacer: Pacer, listener: PublisherListener) {
    this.#options = options;
    this.#pacer = pacer;
    this.#listener = listener;
    this.link = new Link(connection, this);
    this.#template = encodePublishTemplate(options);
    const stride = this.#template.packet.length;
    this.#slabMessages = Math.max(1, Math.min(pacer.window, Math.floor(SLAB_BYTES / stride)));
    this.#slab = new Uint8Array(this.#slabMessages * stride);
    for (let index = 0; index < this.#slabMessages; index++) this.#slab.set(this.#template.packet, index * stride);
    this.#slabView = new DataView(this.#slab.buffer);
    const ids = options.qos === 0 ? 0 : 1 + Math.min(PACKET_ID_MAX, Math.max(64, pacer.window * 4));
    this.#idStates = new Uint8Array(ids);
    this.#idSentMs = new Float64Array(options.ackLatency === undefined ? 0 : ids);
  }

  /** True when nothing more will be sent and nothing waits for an acknowledgement. */
  get isDone(): boolean {
    return this.#inFlight === 0 && (this.#pacer.stopped || this.sent >= this.#options.messagesMax);
  }

  /** Sends a PINGREQ, so that the connection outlives its Keep Alive even with nothing to send. */
  ping(): void {
    this.link.ping();
  }

  pump(): void {
    if (this.#pacer.stopped) return;
    const left = this.#options.messagesMax - this.sent;
    let room = Math.min(left, this.#pacer.room(this.#options.publisher));
    if (this.#options.qos > 0) room = Math.min(room, this.#pacer.window - this.#inFlight);
    if (room <= 0 || room < Math.min(left, this.#pacer.batchMin)) return;
    this.#pacer.started(this.#options.publisher, room);
    const nowMs = performance.now();
    for (let todo = room; todo > 0; todo -= this.#slabMessages) {
      this.#sendBatch(Math.min(todo, this.#slabMessages), nowMs);
    }
    this.link.flush();
  }

  /** Patches the first messages of the slab and copies them to the output in one go. */
  #sendBatch(messages: number, nowMs: number): void {
    const { packet, packetIdOffset, stampOffset } = this.#template;
    const view = this.#slabView;
    const stride = packet.length;
    const size = messages * stride;
    for (let base = 0; base < size; base += stride) {
      if (packetIdOffset >= 0) view.setUint16(base + packetIdOffset, this.#takePacketId(nowMs));
      view.setUint32(base + stampOffset + 4, this.sent++);
      view.setFloat64(base + stampOffset + 8, nowMs);
    }
    const link = this.link;
    const offset = link.reserve(size);
    link.out.set(size === this.#slab.length ? this.#slab : this.#slab.subarray(0, size), offset);
  }

  /** Takes the next free Packet Identifier; there always is one, as there are four times more than the window. */
  #takePacketId(nowMs: number): number {
    const states = this.#idStates;
    let id = this.#packetId;
    while (states[id] !== 0) id = id + 1 < states.length ? id + 1 : 1;
    states[id] = AWAITING_ACK;
    if (this.#idSentMs.length > 0) this.#idSentMs[id] = nowMs;
    this.#packetId = id + 1 < states.length ? id + 1 : 1;
    this.#inFlight++;
    return id;
  }

  handlePacket(firstByte: number, start: number, end: number): void {
    if (firstByte === FirstByte.PINGRESP) return;
    const bytes = this.link.bytes;
    const id = (bytes[start]! << 8) | bytes[start + 1]!;
    const isFailure = end - start > 2 && bytes[start + 2]! >= 0x80;
    const state = this.#idStates[id] ?? 0;
    if (isFailure && state !== 0) {
      this.refused++;
      this.#settle(id);
      return;
    }
    const { qos } = this.#options;
    if (firstByte === FirstByte.PUBACK && qos === 1 && state === AWAITING_ACK) {
      this.acked++;
      this.#settle(id);
    } else if (firstByte === FirstByte.PUBREC && qos === 2 && state === AWAITING_ACK) {
      this.#idStates[id] = AWAITING_COMPLETE;
      this.#sendRelease(id);
    } else if (firstByte === FirstByte.PUBCOMP && state === AWAITING_COMPLETE) {
      this.acked++;
      this.#settle(id);
    } else {
      this.refused++;
    }
  }

  handleChunkEnd(): void {
    if (this.#options.qos > 0) this.pump();
    this.link.flush();
    this.#listener.handleProgress();
  }

  handleLost(reason: string): void {
    this.#listener.handleLost(`publisher ${this.#options.publisher}: ${reason}`);
  }

  #settle(id: number): void {
    this.#idStates[id] = 0;
    this.#inFlight--;
    if (this.#options.ackLatency !== undefined) {
      this.#options.ackLatency.recordMs(this.link.chunkTimeMs - this.#idSentMs[id]!);
    }
  }

  #sendRelease(id: number): void {
    const offset = this.link.reserve(ACK_BYTES);
    writeAck(this.link.out, offset, FirstByte.PUBREL, id);
  }
}
