/**
 * The client's address behind HTTP proxies, from what they wrote into `X-Forwarded-For`.
 *
 * Every proxy adds the address it was called from at the right end; what a client claims about itself stands further
 * left. So the list is walked from the right over addresses of trusted proxies, and the first other one is the client.
 * Nothing left of it is looked at.
 */
import { canonicalAddress } from "../../system/ip_address.ts";

/**
 * Finds the client.
 *
 * @param fields Values of all `X-Forwarded-For` fields, in the order they came.
 * @param isTrusted Whether an address is that of a trusted proxy. The peer itself must be one.
 * @returns The first address from the right that is not trusted, or the leftmost when all are; undefined when the list
 *   is empty, or when something that is no address comes before the client is found.
 */
export function clientAddressOf(
  fields: readonly string[],
  isTrusted: (address: string) => boolean,
): string | undefined {
  const entries = fields.flatMap((field) => field.split(","));
  let address: string | undefined;
  for (let i = entries.length - 1; i >= 0; i--) {
    address = addressOfEntry(entries[i]!.trim());
    if (address === undefined || !isTrusted(address)) return address;
  }
  return address;
}

/** An address, which some proxies write with the port and in brackets. */
function addressOfEntry(entry: string): string | undefined {
  const bracketed = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(entry);
  if (bracketed !== null) return bracketed[1]!.includes(":") ? canonicalAddress(bracketed[1]!) : undefined;
  return canonicalAddress(/^([\d.]+):\d{1,5}$/.exec(entry)?.[1] ?? entry);
}
