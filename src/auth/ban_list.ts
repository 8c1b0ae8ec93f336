/**
 * Who may not connect: Client Identifiers, users, and addresses or networks, each for some time or for good.
 *
 * Bans come from two sides that do not touch each other: the ban file, which is replaced as a whole, and the broker
 * itself, such as for a client that connects again and again. Those of the broker are bounded and gone after a restart;
 * when there are too many of them the timed ones go first, oldest first, so that nobody can push out a ban for good or
 * one of the file by collecting bans. Time is an argument.
 */
import { AddressList } from "../config/address_list.ts";
import { canonicalAddress, withoutZone } from "../config/ip_address.ts";

/** What a ban is about. */
export type BanKind = "client" | "user" | "address";

/** See the head of this file. */
export interface Ban {
  readonly kind: BanKind;
  /** Client Identifier, User Name, IP address or network such as `10.1.0.0/16`. */
  readonly value: string;
  /** Milliseconds since the epoch; undefined = for good. */
  readonly untilMs: number | undefined;
  /** For logs, in snake_case, such as `flapping`. */
  readonly reason: string;
}

/** A client that connects, or is connected. */
export interface BanSubject {
  readonly clientId: string;
  readonly username: string | undefined;
  readonly address: string;
}

/** See the head of this file. */
export class BanList {
  #file = new BanTable();
  readonly #lasting = new BanTable();
  readonly #timed = new BanTable();

  /** Bans of the broker itself, those included that are over and not yet noticed; for metrics. */
  get size(): number {
    return this.#lasting.size + this.#timed.size;
  }

  /**
   * Bans, in place of an earlier ban of the broker's of the same value and the same sort: timed, or for good.
   *
   * @param untilMs Milliseconds since the epoch; undefined = for good.
   * @returns False when nothing was banned: an `address` that is none, or `BANS_MAX` bans for good.
   */
  ban(kind: BanKind, value: string, untilMs: number | undefined, reason: string): boolean {
    if (kind === "address" && networkOf(value) === undefined) return false;
    const table = untilMs === undefined ? this.#lasting : this.#timed;
    const ban = { kind, value, untilMs, reason };
    if (!table.has(ban) && this.size >= BANS_MAX && !this.#timed.dropOldest()) return false;
    table.add(ban);
    return true;
  }

  /** The ban that holds for a client, or undefined. O(different prefix lengths). */
  isBanned(subject: BanSubject, nowMs: number): Ban | undefined {
    if (this.#file.size + this.size === 0) return undefined;
    const keys = { client: `client ${subject.clientId}`, user: `user ${subject.username}` };
    const address = canonicalAddress(withoutZone(subject.address));
    for (const table of [this.#file, this.#lasting, this.#timed]) {
      const found = table.find(keys.client, nowMs) ??
        (subject.username === undefined ? undefined : table.find(keys.user, nowMs)) ??
        (address === undefined ? undefined : table.findAddress(address, nowMs));
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /**
   * Replaces the bans of the file.
   *
   * @param bans Addresses must be valid; see `isNetwork`. Its length is for the reader of the file to bound.
   */
  setFileBans(bans: readonly Ban[]): void {
    const table = new BanTable();
    for (const ban of bans) table.add(ban);
    this.#file = table;
  }
}

/** Bans of the broker itself, those of the file not counted. */
export const BANS_MAX = 10_000;

/** True for an IP address, and for a network in CIDR notation. */
export function isNetwork(text: string): boolean {
  return networkOf(text) !== undefined;
}

/** Bans by what they are about, in the order in which they were made. Not bounded. */
class BanTable {
  readonly #bans = new Map<string, Ban>();
  /** Prefix lengths of the banned networks, by family, with how many networks have them. */
  readonly #prefixes = { ipv4: new Map<string, number>(), ipv6: new Map<string, number>() };

  get size(): number {
    return this.#bans.size;
  }

  has(ban: Ban): boolean {
    return this.#bans.has(keyOf(ban));
  }

  /** Adds a ban at the end, in place of the one with the same value. */
  add(ban: Ban): void {
    const key = keyOf(ban);
    if (this.#bans.has(key)) this.#delete(key);
    this.#bans.set(key, ban);
    if (ban.kind === "address") this.#countPrefix(key, 1);
  }

  /** The ban with this key; one that is over is forgotten. */
  find(key: string, nowMs: number): Ban | undefined {
    const ban = this.#bans.get(key);
    if (ban === undefined || ban.untilMs === undefined || nowMs < ban.untilMs) return ban;
    this.#delete(key);
    return undefined;
  }

  /** @param address In canonical spelling. */
  findAddress(address: string, nowMs: number): Ban | undefined {
    for (const prefix of this.#prefixesOf(address).keys()) {
      const ban = this.find(`address ${networkOf(address + prefix)}`, nowMs);
      if (ban !== undefined) return ban;
    }
    return undefined;
  }

  /** @returns False when there is none. */
  dropOldest(): boolean {
    for (const key of this.#bans.keys()) {
      this.#delete(key);
      return true;
    }
    return false;
  }

  #delete(key: string): void {
    if (this.#bans.get(key)?.kind === "address") this.#countPrefix(key, -1);
    this.#bans.delete(key);
  }

  #countPrefix(key: string, change: number): void {
    const slash = key.indexOf("/");
    const prefix = slash === -1 ? "" : key.slice(slash);
    const prefixes = this.#prefixesOf(key.slice("address ".length));
    const count = (prefixes.get(prefix) ?? 0) + change;
    if (count === 0) prefixes.delete(prefix);
    else prefixes.set(prefix, count);
  }

  #prefixesOf(network: string): Map<string, number> {
    return network.includes(":") ? this.#prefixes.ipv6 : this.#prefixes.ipv4;
  }
}

/** A kind holds no blank, so no value can look like another kind's. */
function keyOf({ kind, value }: Ban): string {
  return `${kind} ${kind === "address" ? networkOf(value) : value}`;
}

/** One spelling per address or network: bits below the prefix cleared, a prefix of full length left out. */
function networkOf(text: string): string | undefined {
  return text.includes(",") ? undefined : AddressList.parse(text)?.networks[0];
}
