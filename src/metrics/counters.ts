/**
 * The numbers the broker keeps about itself.
 *
 * Everything here is a plain mutable field, because the owners count per packet: an increment costs about a
 * nanosecond and never allocates. Nobody locks, since one thread runs the broker; nobody formats, since
 * `prometheus.ts` reads the fields when somebody scrapes. The numbers of the store are in `storage_counters.ts`.
 *
 * This file knows neither MQTT nor Effect. It refuses to know who counts what: each field's documentation names
 * the event, and exactly one place in the code counts that event.
 *
 * Kinds:
 *  - a *counter* only grows, from 0 at start;
 *  - a *gauge* is the present value, raised and lowered by the owner of the thing it measures;
 *  - a `Histogram` has fixed bounds, so observing is a short scan and no allocation;
 *  - a `LabelledCounter` is for rare events with a reason, and is bounded in the number of reasons.
 */
import { Histogram } from "./histogram.ts";
import { LabelledCounter } from "./labelled_counter.ts";
import { StorageCounters } from "./storage_counters.ts";

/** Why an Application Message did not reach a receiver; the label `reason` of `promptmq_messages_dropped_total`. */
export const DROP_REASONS = [
  "outbound_full",
  "queue_full_oldest",
  "queue_full_newest",
  "queue_full_rejected",
  "packet_too_large",
  "expired",
  "store_full",
  "session_ended",
  "no_member",
  "not_authorized",
  "unreadable",
] as const;

/** One entry of `DROP_REASONS`. */
export type DropReason = (typeof DROP_REASONS)[number];

/** All counters of one broker. Built once by `Metrics`; the hot path keeps a reference to it. */
export class Counters {
  /** Gauge: network connections open now, before or after CONNECT. */
  connectionsCurrent = 0;
  /** Gauge: the most connections that were open at once. */
  connectionsMaximum = 0;
  /** Network connections accepted. */
  connectionsTotal = 0;
  /** Network connections that ended, for any reason. */
  disconnectionsTotal = 0;
  /** Seconds from accept to close, observed at close. */
  readonly connectionDurationSeconds = new Histogram([1, 10, 30, 60, 300, 600, 1800, 3600, 7200, 14400, 28800]);

  /** PUBLISH packets received from clients. */
  messagesPublished = 0;
  /** PUBLISH packets sent to clients, retransmissions included. */
  messagesDelivered = 0;
  /** Payload bytes of received PUBLISH packets. */
  bytesPublished = 0;
  /** Payload bytes of sent PUBLISH packets. */
  bytesDelivered = 0;
  /** Received PUBLISH packets with QoS 0. */
  qos0Messages = 0;
  /** Received PUBLISH packets with QoS 1. */
  qos1Messages = 0;
  /** Received PUBLISH packets with QoS 2. */
  qos2Messages = 0;
  /** Microseconds from the chunk with a PUBLISH being read until its receivers' buffers were handed to the network. */
  readonly messageProcessingLatencyMicroseconds = new Histogram([
    100,
    500,
    1000,
    2500,
    5000,
    10000,
    25000,
    50000,
    100000,
  ]);
  /** Payload bytes of a received PUBLISH. */
  readonly messageSizeBytes = new Histogram([64, 256, 1024, 4096, 16384, 65536, 262144, 1048576]);

  /** Control Packets received, of any type. */
  packetsReceived = 0;
  /** Control Packets sent, of any type. */
  packetsSent = 0;
  /** Bytes read from sockets; for WebSocket the MQTT bytes inside the frames. */
  bytesIn = 0;
  /** Bytes written to sockets; for WebSocket the MQTT bytes inside the frames. */
  bytesOut = 0;

  readonly #messagesDropped: Record<DropReason, number> = {
    outbound_full: 0,
    queue_full_oldest: 0,
    queue_full_newest: 0,
    queue_full_rejected: 0,
    packet_too_large: 0,
    expired: 0,
    store_full: 0,
    session_ended: 0,
    no_member: 0,
    not_authorized: 0,
    unreadable: 0,
  };
  /** Clients refused, by the reason that `docs/refusals.md` explains. */
  readonly connectsRefused = new LabelledCounter();
  /** Connections ended because the peer broke a rule, by Reason Code name. */
  readonly protocolErrors = new LabelledCounter();
  /** Times a client went beyond a rate, by rate and by what happened: read later, or disconnected. */
  readonly clientsLimited = new LabelledCounter();

  /** Gauge: Retained Messages stored. */
  retainedMessages = 0;
  /** Gauge: subscriptions of all Sessions. */
  subscriptions = 0;
  /** Gauge: Sessions with a network connection. */
  sessionsOnline = 0;
  /** Gauge: Sessions kept without a network connection. */
  sessionsOffline = 0;
  /** Gauge: QoS 1 and 2 messages sent to clients and not yet completed. */
  messagesInflight = 0;
  /** Gauge: messages waiting in Session queues, not yet sent. */
  messagesQueued = 0;

  /** What the durable store does; all 0 without one. */
  readonly storage = new StorageCounters();

  /** Counts an accepted network connection. */
  connectionOpened(): void {
    this.connectionsTotal++;
    this.connectionsCurrent++;
    if (this.connectionsCurrent > this.connectionsMaximum) this.connectionsMaximum = this.connectionsCurrent;
  }

  /**
   * Counts the end of a network connection that `connectionOpened` counted.
   *
   * @param durationSeconds Time since it was accepted.
   */
  connectionClosed(durationSeconds: number): void {
    this.disconnectionsTotal++;
    this.connectionsCurrent--;
    this.connectionDurationSeconds.observe(durationSeconds);
  }

  /** Messages a receiver should have got and did not, by reason. One message lost to three receivers counts three. */
  get messagesDropped(): Readonly<Record<DropReason, number>> {
    return this.#messagesDropped;
  }

  /**
   * Counts a message that one receiver should have got and did not.
   *
   * It is called per packet when a client is too slow. Every field is named, because one access by key that sees them all
   * takes eight times as long (50 ns).
   */
  messageDropped(reason: DropReason): void {
    const dropped = this.#messagesDropped;
    switch (reason) {
      case "outbound_full":
        return void dropped.outbound_full++;
      case "queue_full_oldest":
        return void dropped.queue_full_oldest++;
      case "queue_full_newest":
        return void dropped.queue_full_newest++;
      case "queue_full_rejected":
        return void dropped.queue_full_rejected++;
      case "packet_too_large":
        return void dropped.packet_too_large++;
      case "expired":
        return void dropped.expired++;
      case "store_full":
        return void dropped.store_full++;
      case "session_ended":
        return void dropped.session_ended++;
      case "no_member":
        return void dropped.no_member++;
      case "not_authorized":
        return void dropped.not_authorized++;
      case "unreadable":
        return void dropped.unreadable++;
    }
  }

  /** Sum of `messagesDropped` over all reasons. */
  messagesDroppedTotal(): number {
    let total = 0;
    for (const reason of DROP_REASONS) total += this.#messagesDropped[reason];
    return total;
  }
}
