/**
 * One listener as its connections know it: what it asks of them, how fast they may come, and how many there are.
 */
import type { AnonymousPolicy } from "../../auth/identity/identity.ts";
import type { ListenerTraits } from "../../broker/client_origin.ts";
import type { TimerWheel } from "../../broker/timer_wheel.ts";
import type { ListenerEntry, ProtocolVersionName } from "../../config/options/listener_entry.ts";
import type { ProtocolVersion } from "../../protocol/packets.ts";
import { TokenBucket } from "../limits/token_bucket.ts";
import { SharedTraffic } from "../limits/traffic_limits.ts";

/** A listener. */
export class Listener implements ListenerTraits {
  readonly entry: ListenerEntry;
  readonly name: string;
  readonly anonymous: AnonymousPolicy | undefined;
  readonly versions: ReadonlySet<ProtocolVersion> | undefined;
  /** Rates of all its clients together; null where there are none. */
  readonly traffic: SharedTraffic | null;
  /** New connections per second, 0 = unbounded; changed by a reload. */
  connectRate: number;
  /** Admitted connections that have not ended, those in a TLS handshake included. */
  connections = 0;
  readonly #connects: TokenBucket;

  /** @param nowMs On the clock that `connectWaitMs` is asked with. */
  constructor(entry: ListenerEntry, wheel: TimerWheel, nowMs: number) {
    this.entry = entry;
    this.name = entry.name;
    const { allowAnonymous, protocolVersions, messageRate, byteRate } = entry;
    this.anonymous = allowAnonymous === undefined ? undefined : ANONYMOUS_POLICIES[`${allowAnonymous}`];
    this.versions = protocolVersions.length === 0
      ? undefined
      : new Set(protocolVersions.map((version) => PROTOCOL_VERSIONS[version]));
    this.traffic = messageRate > 0 || byteRate > 0 ? new SharedTraffic({ messageRate, byteRate }, wheel, nowMs) : null;
    this.connectRate = entry.connectRate;
    this.#connects = new TokenBucket(() => this.connectRate, nowMs);
  }

  /** Counts a new connection and says for how many milliseconds it has to wait; 0 = not at all. */
  connectWaitMs(nowMs: number): number {
    this.#connects.take(1, nowMs);
    return this.#connects.waitMs(nowMs);
  }

  /** True for WebSocket, with TLS or without. */
  get isWebSocket(): boolean {
    return this.entry.type === "ws" || this.entry.type === "wss";
  }

  /** True when another connection would be one too many. */
  get isFull(): boolean {
    return this.entry.maxConnections > 0 && this.connections >= this.entry.maxConnections;
  }
}

const ANONYMOUS_POLICIES: Readonly<Record<"true" | "false" | "loopback", AnonymousPolicy>> = {
  true: "true",
  false: "false",
  loopback: "loopback",
};
const PROTOCOL_VERSIONS: Readonly<Record<ProtocolVersionName, ProtocolVersion>> = { "3.1": 3, "3.1.1": 4, "5": 5 };
