/**
 * IP addresses as text: one spelling for each, whoever wrote it, because logs, bans and limits compare them.
 *
 * IPv6 is written as in RFC 5952. An IPv4 address mapped into IPv6 is written as the IPv4 address it is, which is the
 * usual case and costs nothing: this is asked for every connection, also of a flood.
 */
import { isIPv4, isIPv6 } from "node:net";

/** The one spelling of an address without zone; undefined when it is none. */
export function canonicalAddress(text: string): string | undefined {
  if (isIPv4(text)) return text;
  if (!isIPv6(text) || text.includes("%")) return undefined;
  const host = URL.parse(`http://[${text}]`)?.hostname;
  return host === undefined ? undefined : unmapped(host.slice(1, -1));
}

/** An address as the system gives it, which may have a zone (`%eth0`), without that. */
export function withoutZone(address: string): string {
  const zone = address.indexOf("%");
  return zone === -1 ? address : address.slice(0, zone);
}

/**
 * What an address counts as: itself, or for IPv6 its /64 network, which one host can use up at will.
 *
 * @returns undefined when it is no IP address.
 */
export function addressKey(address: string): string | undefined {
  const own = canonicalAddress(withoutZone(address));
  return own?.includes(":") ? `${canonicalAddress(`${groupsOf(own).slice(0, 4).join(":")}::`)}/64` : own;
}

/** The eight groups of an IPv6 address, without leading zeros. */
function groupsOf(address: string): string[] {
  const [head = "", tail] = address.split("::");
  const before = head === "" ? [] : head.split(":");
  if (tail === undefined) return before;
  const after = tail === "" ? [] : tail.split(":");
  return [...before, ...new Array<string>(8 - before.length - after.length).fill("0"), ...after];
}

/** `::ffff:7f00:1`, as a URL spells it, is 127.0.0.1. */
function unmapped(address: string): string {
  const match = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(address);
  if (match === null) return address;
  const [high, low] = [Number.parseInt(match[1]!, 16), Number.parseInt(match[2]!, 16)];
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join(".");
}
