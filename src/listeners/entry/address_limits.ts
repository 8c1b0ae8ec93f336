/**
 * How many connections one address may open per second, and have open at once.
 *
 * An IPv6 address stands for its /64 network, which one host can use up at will. What is no IP address, such as the peer
 * on a Unix socket, is not limited, since it cannot be told from others. Addresses with open connections are bounded by
 * those; of the others the oldest go as soon as their buckets are full again, when forgetting them changes nothing, and
 * in any case past `IDLE_ADDRESSES_MAX`. Time is an argument.
 */
import { addressKey } from "../../system/ip_address.ts";
import { TokenBucket } from "../limits/token_bucket.ts";

/** Read with every connection, so that a reload takes effect. 0 = unbounded. */
export interface AddressLimitSettings {
  /** New connections per second of one address. */
  connectRate: number;
  /** Connections of one address at once. */
  connectionsMax: number;
}

/** Why a connection is not let in. */
export type AddressRefusal = "address_rate" | "address_connections";

/** See the head of this file. */
export class AddressLimits {
  readonly #settings: AddressLimitSettings;
  readonly #connectRate: () => number;
  /** Addresses with connections. */
  readonly #open = new Map<string, AddressState>();
  /** Addresses whose connections are all closed; the one that was closed last is at the end. */
  readonly #idle = new Map<string, AddressState>();

  constructor(settings: AddressLimitSettings) {
    this.#settings = settings;
    this.#connectRate = () => settings.connectRate;
  }

  /** Addresses remembered; for tests and metrics. */
  get size(): number {
    return this.#open.size + this.#idle.size;
  }

  /**
   * Lets a new connection in or not.
   *
   * @returns undefined when it is let in, after which `left` must follow once; else why not. A connection that is turned
   *   away counts nowhere, so a client that keeps trying still gets its rate.
   */
  admit(address: string, nowMs: number): AddressRefusal | undefined {
    this.#dropRefilled(nowMs);
    const key = addressKey(address);
    if (key === undefined) return undefined;
    const { connectionsMax } = this.#settings;
    const state = this.#open.get(key) ?? this.#idle.get(key) ??
      { connections: 0, bucket: new TokenBucket(this.#connectRate, nowMs) };
    if (connectionsMax > 0 && state.connections >= connectionsMax) return "address_connections";
    if (!state.bucket.tryTake(nowMs)) return "address_rate";
    if (state.connections++ === 0) {
      this.#idle.delete(key);
      this.#open.set(key, state);
    }
    return undefined;
  }

  /** A connection that was let in is closed. */
  left(address: string): void {
    const key = addressKey(address);
    const state = key === undefined ? undefined : this.#open.get(key);
    if (state === undefined || --state.connections > 0) return;
    this.#open.delete(key!);
    this.#idle.set(key!, state);
    if (this.#idle.size <= IDLE_ADDRESSES_MAX) return;
    for (const oldest of this.#idle.keys()) {
      this.#idle.delete(oldest);
      return;
    }
  }

  /** Looks at a few only: each call of `admit` adds one at most, so they do not pile up. */
  #dropRefilled(nowMs: number): void {
    let looked = 0;
    for (const [key, state] of this.#idle) {
      if (!state.bucket.isFull(nowMs) || ++looked > DROPPED_AT_ONCE_MAX) return;
      this.#idle.delete(key);
    }
  }
}

interface AddressState {
  connections: number;
  readonly bucket: TokenBucket;
}

/** Addresses without connections that are remembered, about 10 MB. */
export const IDLE_ADDRESSES_MAX = 65_536;
const DROPPED_AT_ONCE_MAX = 4;
