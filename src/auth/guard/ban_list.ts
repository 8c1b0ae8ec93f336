/**
 * Who may not connect: Client Identifiers, users, and addresses or networks, each until a time or for good. Time is an
 * argument.
 */
import { AddressList } from "../../system/address_list.ts";
import { canonicalAddress, withoutZone } from "../../system/ip_address.ts";

/** What a ban is about. */
export type BanKind = "client" | "user" | "address";

/** See the head of this file. */
export interface Ban {
  readonly kind: BanKind;
  /** Client Identifier, User Name, IP address or network such as `10.1.0.0/16`. */
  readonly value: string;
  /** Milliseconds since the epoch by the wall clock; undefined = for good. */
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
  #table = new BanTable();

  /** The ban that holds for a client, or undefined. O(different prefix lengths). */
  isBanned({ clientId, username, address }: BanSubject, nowMs: number): Ban | undefined {
    const table = this.#table;
    if (table.size === 0) return undefined;
    const own = canonicalAddress(withoutZone(address));
    return table.find(`client ${clientId}`, nowMs) ??
      (username === undefined ? undefined : table.find(`user ${username}`, nowMs)) ??
      (own === undefined ? undefined : table.findAddress(own, nowMs));
  }

  /**
   * Replaces all bans.
   *
   * @param bans Addresses must be valid; see `isNetwork`. Its length is the caller's to bound. Of bans of one value the
   * last counts.
   */
  replace(bans: readonly Ban[]): void {
    const table = new BanTable();
    for (const ban of bans) table.add(ban);
    this.#table = table;
  }
}

/** True for an IP address, and for a network in CIDR notation. */
export function isNetwork(text: string): boolean {
  return networkOf(text) !== undefined;
}

/** Bans by what they are about. */
class BanTable {
  readonly #bans = new Map<string, Ban>();
  /** Prefix lengths of the banned networks, by family. */
  readonly #prefixes = { ipv4: new Set<string>(), ipv6: new Set<string>() };

  get size(): number {
    return this.#bans.size;
  }

  /** Adds a ban, in place of the one with the same value. */
  add(ban: Ban): void {
    const key = keyOf(ban);
    this.#bans.set(key, ban);
    if (ban.kind !== "address") return;
    const slash = key.indexOf("/");
    this.#prefixesOf(key.slice("address ".length)).add(slash === -1 ? "" : key.slice(slash));
  }

  /** The ban with this key. One that is over stays: the wall clock may have been wrong, and is set back then. */
  find(key: string, nowMs: number): Ban | undefined {
    const ban = this.#bans.get(key);
    return ban?.untilMs !== undefined && ban.untilMs <= nowMs ? undefined : ban;
  }

  /** @param address In canonical spelling. */
  findAddress(address: string, nowMs: number): Ban | undefined {
    for (const prefix of this.#prefixesOf(address)) {
      const ban = this.find(`address ${networkOf(address + prefix)}`, nowMs);
      if (ban !== undefined) return ban;
    }
    return undefined;
  }

  #prefixesOf(network: string): Set<string> {
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
