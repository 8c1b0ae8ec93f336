/**
 * A list of IP addresses and networks, and whether an address is in it.
 *
 * IPv4 and IPv6 are kept apart: `0.0.0.0/0` holds every IPv4 address and `::/0` every IPv6 address. An IPv4 address that
 * is mapped into IPv6 (`::ffff:192.0.2.1`, as a system may present it on a socket that serves both) is that IPv4 address,
 * on either side of the comparison. Host names are not addresses, and nothing is looked up.
 */

/** Most entries of one list; a question walks all of them. */
export const ADDRESSES_MAX = 1024;

/** An immutable list. Asking costs O(entries), and is meant for once per connection. */
export class AddressList {
  /** Canonical text of each entry: bits below the prefix cleared, full length prefixes left out. */
  readonly networks: readonly string[];
  readonly #entries: readonly Network[];

  private constructor(entries: readonly Network[]) {
    this.#entries = entries;
    this.networks = entries.map(formatNetwork);
  }

  /**
   * Reads a list separated by commas, such as `10.0.0.0/8, ::1`. The empty text is the empty list.
   *
   * @returns undefined when an entry is neither an address nor a network, or when there are more than `ADDRESSES_MAX`.
   */
  static parse(text: string): AddressList | undefined {
    if (text.trim() === "") return new AddressList([]);
    const parts = text.split(",");
    if (parts.length > ADDRESSES_MAX) return undefined;
    const entries: Network[] = [];
    for (const part of parts) {
      const network = parseNetwork(part.trim());
      if (network === undefined) return undefined;
      entries.push(network);
    }
    return new AddressList(entries);
  }

  /** Whether the list has an entry that holds this address. Text that is no address is in no list. */
  includes(address: string): boolean {
    const zone = address.indexOf("%");
    // The zone says which interface a link-local address belongs to, and no entry can name one.
    const bytes = parseAddress(zone === -1 ? address : address.slice(0, zone));
    return bytes !== undefined && this.#entries.some((network) => holds(network, bytes));
  }

  /** The list as it is read. */
  toString(): string {
    return this.networks.join(",");
  }
}

interface Network {
  /** 4 or 16 bytes, in network order; bits below the prefix are 0. */
  readonly bytes: readonly number[];
  /** How many bits from the front have to agree. */
  readonly prefixBits: number;
}

function holds({ bytes, prefixBits }: Network, address: readonly number[]): boolean {
  if (bytes.length !== address.length) return false;
  for (let at = 0; at * 8 < prefixBits; at++) {
    if (((bytes[at] ?? 0) ^ (address[at] ?? 0)) & maskOf(at, prefixBits)) return false;
  }
  return true;
}

/** The bits of the byte at this index that belong to the prefix. */
function maskOf(at: number, prefixBits: number): number {
  const bits = Math.min(8, Math.max(0, prefixBits - at * 8));
  return (0xff << (8 - bits)) & 0xff;
}

function parseNetwork(text: string): Network | undefined {
  const match = /^([0-9a-f:.]+)(?:\/(\d{1,3}))?$/i.exec(text);
  if (match === null) return undefined;
  const written = parseWrittenAddress(match[1] ?? "");
  if (written === undefined) return undefined;
  const widthBits = written.length * 8;
  const prefixBits = match[2] === undefined ? widthBits : Number(match[2]);
  if (prefixBits > widthBits) return undefined;
  const isMapped = written.length === 16 && prefixBits >= MAPPED_PREFIX.length * 8 && isMappedAddress(written);
  const bytes = isMapped ? written.slice(MAPPED_PREFIX.length) : written;
  const bits = isMapped ? prefixBits - MAPPED_PREFIX.length * 8 : prefixBits;
  return { bytes: bytes.map((byte, at) => byte & maskOf(at, bits)), prefixBits: bits };
}

/** 4 bytes for IPv4, also when it is mapped into IPv6, otherwise 16; undefined when the text is no address. */
function parseAddress(text: string): readonly number[] | undefined {
  const written = parseWrittenAddress(text);
  if (written === undefined || written.length === 4 || !isMappedAddress(written)) return written;
  return written.slice(MAPPED_PREFIX.length);
}

/** First 96 bits of an IPv4 address that is mapped into IPv6. */
const MAPPED_PREFIX: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

function isMappedAddress(bytes: readonly number[]): boolean {
  return MAPPED_PREFIX.every((byte, at) => bytes[at] === byte);
}

function parseWrittenAddress(text: string): readonly number[] | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

/** Four decimal numbers. Leading zeros are refused, since some systems take them for octal. */
function parseIpv4(text: string): readonly number[] | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part))) return undefined;
  const bytes = parts.map(Number);
  return bytes.every((byte) => byte <= 255) ? bytes : undefined;
}

function parseIpv6(text: string): readonly number[] | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const isShort = halves.length === 2;
  const head = parseGroups(halves[0] ?? "", !isShort);
  const tail = isShort ? parseGroups(halves[1] ?? "", true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 16 - head.length - tail.length;
  // "::" stands for at least one group of zeros.
  if (isShort ? missing < 2 : missing !== 0) return undefined;
  return [...head, ...new Array<number>(missing).fill(0), ...tail];
}

/** @param isEnd Whether the text ends the address, where an IPv4 address may stand for the last two groups. */
function parseGroups(text: string, isEnd: boolean): readonly number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  const groups = text.split(":");
  for (const [position, group] of groups.entries()) {
    if (isEnd && position === groups.length - 1 && group.includes(".")) {
      const embedded = parseIpv4(group);
      if (embedded === undefined) return undefined;
      bytes.push(...embedded);
    } else {
      if (!/^[0-9a-f]{1,4}$/i.test(group)) return undefined;
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
    }
  }
  return bytes;
}

function formatNetwork({ bytes, prefixBits }: Network): string {
  const address = bytes.length === 4 ? bytes.join(".") : formatIpv6(bytes);
  return prefixBits === bytes.length * 8 ? address : `${address}/${prefixBits}`;
}

/** With the longest run of at least two zero groups written as `::`, as in RFC 5952. */
function formatIpv6(bytes: readonly number[]): string {
  const groups = Array.from({ length: 8 }, (_, at) => ((bytes[at * 2] ?? 0) << 8) | (bytes[at * 2 + 1] ?? 0));
  let runStart = 0;
  let runLength = 1;
  for (let start = 0; start < groups.length; start++) {
    let end = start;
    while (groups[end] === 0) end++;
    if (end - start > runLength) [runStart, runLength] = [start, end - start];
  }
  const words = groups.map((group) => group.toString(16));
  if (runLength < 2) return words.join(":");
  return `${words.slice(0, runStart).join(":")}::${words.slice(runStart + runLength).join(":")}`;
}
