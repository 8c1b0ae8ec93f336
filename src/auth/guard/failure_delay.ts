/**
 * Makes guessing passwords slow: after failed authentications an address has to wait before its next attempt, longer
 * each time.
 *
 *   failures   1 … free   free + 1   free + 2   free + 3 …           free = 3, base = 1 s, max = 30 s:
 *   delay          0        base     2 × base   4 × base … max       0 0 0 1 s 2 s 4 s 8 s 16 s 30 s 30 s …
 *
 * Attempts that come while the address has to wait form a line, one delay apart, so opening many connections at once
 * does not help; past `waitingMax` of them the next is turned away. The line is nothing but the times
 * at which attempts may be made: one that is given up while it waits leaves nothing to clean up. An address without a failure never
 * waits, however many attempts it makes at once; how many those can be is for the limits on connections.
 *
 * An address that was quiet for long enough after its last failure starts anew. So does one that succeeded as the only
 * user it has failed for: a device whose password was mended goes on at once, and whoever has an account of its own
 * cannot use it to guess those of others. An IPv6
 * address stands for its /64 network, which one host can use up at will. What is no IP address, such as the peer on a
 * Unix socket, never waits, since it cannot be told from others. Time is an argument.
 */
import { addressKey } from "../../system/ip_address.ts";

/** Read with every attempt, so that a reload takes effect. */
export interface FailureDelaySettings {
  /** Failures that cost nothing. */
  free: number;
  /** Delay after the first failure that costs something; 0 = nobody ever waits. */
  baseMs: number;
  /** Longest delay. */
  maxMs: number;
  /** An address without a failure for this long starts anew; longer than `maxMs`. */
  forgetMs: number;
  /** Attempts of one address that may wait at once. */
  waitingMax: number;
}

/** See the head of this file. Remembers at most `FAILED_ADDRESSES_MAX` addresses. */
export class FailureDelay {
  readonly #settings: FailureDelaySettings;
  readonly #byAddress = new Map<string, FailedAddress>();
  /** The same by failures, the last level for all that have more; in each the one that failed last is at the end. */
  readonly #levels = Array.from({ length: LEVELS }, () => new Set<FailedAddress>());

  constructor(settings: FailureDelaySettings) {
    this.#settings = settings;
  }

  /** Addresses remembered; for tests and metrics. */
  get size(): number {
    return this.#byAddress.size;
  }

  /** How long an attempt would have to wait now. Changes nothing. */
  delayMs(address: string, nowMs: number): number {
    const failed = this.#find(addressKey(address), nowMs);
    return failed === undefined ? 0 : Math.max(0, failed.nextMs - nowMs);
  }

  /**
   * Takes the next place in the line.
   *
   * @returns How long the attempt must wait, or undefined when so many wait already that it is to be turned away.
   */
  reserve(address: string, nowMs: number): number | undefined {
    if (this.#byAddress.size === 0) return 0;
    const failed = this.#find(addressKey(address), nowMs);
    if (failed === undefined) return 0;
    const startMs = Math.max(nowMs, failed.nextMs);
    failed.waiting = failed.waiting.filter((otherMs) => otherMs > nowMs);
    if (startMs > nowMs) {
      if (failed.waiting.length >= this.#settings.waitingMax) return undefined;
      failed.waiting.push(startMs);
    }
    failed.nextMs = startMs + this.#spacingMs(failed);
    return startMs - nowMs;
  }

  /**
   * An attempt was refused for what it presented. Not for attempts that were refused for other reasons.
   *
   * @param username That it gave; undefined = none, or one that only its exchange knows.
   */
  failed(address: string, username: string | undefined, nowMs: number): void {
    const key = addressKey(address);
    if (key === undefined || this.#settings.baseMs === 0) return;
    let failed = this.#find(key, nowMs);
    if (failed === undefined) {
      if (this.#byAddress.size >= FAILED_ADDRESSES_MAX) this.#evict(nowMs);
      failed = { key, username, isOneUser: true, failures: 0, lastMs: nowMs, nextMs: nowMs, waiting: [] };
      this.#byAddress.set(key, failed);
    } else this.#levels[levelOf(failed)]!.delete(failed);
    failed.isOneUser &&= failed.username === username;
    failed.failures++;
    failed.lastMs = nowMs;
    failed.nextMs = Math.max(failed.nextMs, nowMs + this.#spacingMs(failed));
    this.#levels[levelOf(failed)]!.add(failed);
  }

  /** An attempt was accepted. @param username That it gave, or else the one that was proven. */
  succeeded(address: string, username: string | undefined): void {
    const failed = this.#byAddress.get(addressKey(address) ?? "");
    if (failed?.isOneUser === true && failed.username === username) this.#forget(failed);
  }

  #find(key: string | undefined, nowMs: number): FailedAddress | undefined {
    const failed = key === undefined ? undefined : this.#byAddress.get(key);
    if (failed === undefined || !this.#isQuiet(failed, nowMs)) return failed;
    this.#forget(failed);
    return undefined;
  }

  #isQuiet(failed: FailedAddress, nowMs: number): boolean {
    return nowMs - failed.lastMs >= this.#settings.forgetMs;
  }

  #spacingMs({ failures }: FailedAddress): number {
    const { free, baseMs, maxMs } = this.#settings;
    return failures <= free ? 0 : Math.min(maxMs, baseMs * 2 ** (failures - free - 1));
  }

  #forget(failed: FailedAddress): void {
    this.#byAddress.delete(failed.key);
    this.#levels[levelOf(failed)]!.delete(failed);
  }

  /**
   * Makes room for one: an address that would start anew anyway, else of those that failed least the one whose failure
   * is longest ago. To push out somebody who failed often, as many addresses must fail as often.
   */
  #evict(nowMs: number): void {
    let leastFailed: FailedAddress | undefined;
    for (const level of this.#levels) {
      const [oldest] = level;
      if (oldest === undefined) continue;
      if (this.#isQuiet(oldest, nowMs)) return this.#forget(oldest);
      leastFailed ??= oldest;
    }
    if (leastFailed !== undefined) this.#forget(leastFailed);
  }
}

/** Addresses that are remembered, about 20 MB. */
export const FAILED_ADDRESSES_MAX = 65_536;

interface FailedAddress {
  readonly key: string;
  /** Name given with the first failure. */
  readonly username: string | undefined;
  /** True while all failures gave that name. */
  isOneUser: boolean;
  failures: number;
  /** Time of the last failure. */
  lastMs: number;
  /** When the next attempt may be made, after those in the line. */
  nextMs: number;
  /** When each attempt in the line may be made; at most `waitingMax`. */
  waiting: number[];
}

/** From here on more failures make no difference to who is forgotten first. */
const LEVELS = 16;

function levelOf({ failures }: FailedAddress): number {
  return Math.min(failures, LEVELS) - 1;
}
