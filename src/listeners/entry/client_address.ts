/**
 * IP addresses as text: one spelling for each, whoever wrote it, because logs, bans and limits compare them.
 *
 * IPv6 is written as in RFC 5952. An IPv4 address mapped into IPv6 is written as the IPv4 address it is. Zones (`%eth0`)
 * are taken only from the system, never from what a peer wrote.
 */
import { isIPv4 } from "node:net";
import { canonicalAddress } from "../../system/ip_address.ts";

/** The address that 4 or 16 bytes are. */
export function addressOfBytes(bytes: Uint8Array): string | undefined {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) return undefined;
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i]! << 8) | bytes[i + 1]!).toString(16));
  return canonicalAddress(groups.join(":"));
}

/** The one spelling of an address as the system gave it for a socket. */
export function systemAddress(text: string): string {
  return canonicalAddress(text) ?? text;
}

/** True for an address of this host alone. */
export function isLoopbackAddress(address: string): boolean {
  return address === "::1" || (address.startsWith("127.") && isIPv4(address));
}
