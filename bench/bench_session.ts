/**
 * What the benchmarks of Sessions and of the router share: usual limits, and a connection that goes nowhere.
 */

import { WriteBuffer } from "../src/protocol/write_buffer.ts";
import type { PacketSink } from "../src/session/packet_sink.ts";
import type { ConnectionTraits } from "../src/session/session_context.ts";
import type { SessionLimits } from "../src/session/session_limits.ts";

/** The defaults of the configuration, except that nothing is ever too much for the connection. */
export const BENCH_LIMITS: SessionLimits = {
  packetBytesMax: 1_048_576,
  qosMax: 2,
  isRetainAvailable: true,
  isWildcardAvailable: true,
  isSharedAvailable: true,
  inflightMax: 20,
  receiveMaximum: 1024,
  topicAliasMax: 65_535,
  queuedMax: 100_000,
  queuedBytesMax: 0,
  queueFull: "drop-oldest",
  outboundBytesMax: Number.MAX_SAFE_INTEGER,
  sessionExpirySecondsMax: 0,
  messageExpirySecondsMax: 0,
  keepAliveSecondsMax: 60,
  clientIdBytesMax: 65_535,
  subscriptionsMax: 0,
  isRecheckedOnDeliver: false,
  inflightBytesMax: 0,
};

/** A client of MQTT 3.1.1. */
export const V3_TRAITS: ConnectionTraits = {
  version: 4,
  receiveMaximum: 65_535,
  packetBytesMax: 268_435_455,
  topicAliasMaximum: 0,
};

/** A connection whose output stays in the buffer until it is cleared. */
export class BufferSink implements PacketSink {
  readonly remoteAddress = "127.0.0.1";
  readonly out = new WriteBuffer(4096);
  readonly writingBytes = 0;
  isTouched = false;
  readonly isOpen = true;

  touch(): void {
    this.isTouched = true;
  }

  disconnect(reasonCode: number): void {
    throw new Error(`disconnected with Reason Code ${reasonCode}`);
  }

  /** Forgets the output, as a finished write does; the storage stays. */
  clear(): void {
    this.out.length = 0;
    this.isTouched = false;
  }
}
