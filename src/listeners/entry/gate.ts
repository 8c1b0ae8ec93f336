/**
 * One listener as connections know it, and a connection's client as the rules know it.
 *
 * A `Gate` lives as long as its listener and counts who is inside. A `Visitor` is the `Peer` of one connection from the
 * moment its socket is accepted; until its CONNECT is handled it may still turn out to come from somewhere else.
 */
import type { AnonymousPolicy, ClientCertificate } from "../../auth/identity/identity.ts";
import type { ListenerTraits, Peer } from "../../broker/peer.ts";
import type { TimerWheel } from "../../broker/timer_wheel.ts";
import type { ListenerEntry, ProtocolVersionName } from "../../config/options/listener_entry.ts";
import type { ProtocolVersion } from "../../protocol/packets.ts";
import { TokenBucket } from "../limits/token_bucket.ts";
import { SharedTraffic } from "../limits/traffic_limits.ts";
import { isLoopbackAddress, systemAddress } from "./client_address.ts";

/** A listener. */
export class Gate implements ListenerTraits {
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

/** A client at a gate or inside. */
export class Visitor implements Peer {
  readonly listener: Gate;
  remoteAddress: string;
  isLoopback: boolean;
  certificate: ClientCertificate | undefined = undefined;
  /** True from `Entrance.mayEnter` to `Entrance.left`. */
  isInside = false;
  /** True while inside and counted under its address. */
  isAddressCounted = false;
  /** True until the request of a WebSocket has said who is behind a proxy. */
  isRequestAwaited: boolean;

  /** @param systemText Address as the system gave it; undefined on a Unix socket. */
  constructor(listener: Gate, systemText: string | undefined) {
    this.listener = listener;
    this.isRequestAwaited = listener.isWebSocket;
    this.remoteAddress = systemText === undefined ? LOCAL_ADDRESS : systemAddress(systemText);
    this.isLoopback = systemText === undefined || isLoopbackAddress(this.remoteAddress);
  }
}

/** What stands for the address of a peer on a Unix socket. */
export const LOCAL_ADDRESS = "local";

const ANONYMOUS_POLICIES: Readonly<Record<"true" | "false" | "loopback", AnonymousPolicy>> = {
  true: "true",
  false: "false",
  loopback: "loopback",
};
const PROTOCOL_VERSIONS: Readonly<Record<ProtocolVersionName, ProtocolVersion>> = { "3.1": 3, "3.1.1": 4, "5": 5 };
