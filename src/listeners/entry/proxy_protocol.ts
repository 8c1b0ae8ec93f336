/**
 * The header with which a proxy says whose connection it passes on: PROXY protocol, versions 1 and 2, without I/O.
 *
 * Version 1 is one line of text of at most 107 bytes:
 *
 *   PROXY TCP4 203.0.113.7 192.0.2.1 52110 1883\r\n      also TCP6, and UNKNOWN followed by anything
 *
 * Version 2 is binary:
 *
 *   offset  bytes
 *        0     12  0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A
 *       12      1  version 2 << 4 | command: 0 LOCAL (the proxy itself speaks), 1 PROXY
 *       13      1  family << 4 | transport; families: 0 unknown, 1 IPv4, 2 IPv6, 3 Unix
 *       14      2  length of the rest, big endian
 *       16         source and destination address, source and destination port: 12, 36 or 216 bytes
 *                  then TLVs: type 1, length 2, value. Of those only the CRC-32C (type 3) matters here.
 *
 * Both end where the bytes of the client begin. The header is parsed again from its start when more has come: it is
 * short, and nothing has to be remembered.
 */
import { canonicalAddress } from "../../system/ip_address.ts";
import { addressOfBytes } from "./client_address.ts";

/** Most bytes after the first 16 of a version 2 header; addresses and the certificate names of a proxy fit in. */
export const V2_REST_BYTES_MAX = 2_048;

/** Most bytes of a header of either version. */
export const PROXY_HEADER_BYTES_MAX = 16 + V2_REST_BYTES_MAX;

/** Who a header says the client is: `proxy` = the proxy itself, `unknown` = it cannot be told. */
export type ProxySource =
  | { readonly kind: "client"; readonly address: string }
  | { readonly kind: "proxy" | "unknown" };

/** What the bytes so far are. */
export type ProxyParse =
  | { readonly kind: "incomplete" }
  | { readonly kind: "malformed"; readonly detail: string }
  | { readonly kind: "whole"; readonly length: number; readonly source: ProxySource };

/** Parses the header at the front of `bytes`. Takes no more than `PROXY_HEADER_BYTES_MAX` of them. */
export function parseProxyHeader(bytes: Uint8Array): ProxyParse {
  if (bytes.length === 0) return INCOMPLETE;
  if (bytes[0] === SIGNATURE_V2[0]) return parseV2(bytes);
  return parseV1(bytes);
}

function parseV1(bytes: Uint8Array): ProxyParse {
  for (let i = 0; i < Math.min(bytes.length, PREFIX_V1.length); i++) {
    if (bytes[i] !== PREFIX_V1[i]) return NO_HEADER;
  }
  const end = bytes.subarray(0, V1_BYTES_MAX).indexOf(LF);
  if (end === -1) return bytes.length >= V1_BYTES_MAX ? malformed("line of version 1 too long") : INCOMPLETE;
  if (end < PREFIX_V1.length || bytes[end - 1] !== CR) return malformed("line of version 1 without CR LF");
  const source = sourceOfLine(String.fromCharCode(...bytes.subarray(PREFIX_V1.length, end - 1)));
  return source === undefined ? malformed("line of version 1") : { kind: "whole", length: end + 1, source };
}

/** @param line What stands between `PROXY ` and the end of the line. */
function sourceOfLine(line: string): ProxySource | undefined {
  if (line === "UNKNOWN" || line.startsWith("UNKNOWN ")) return { kind: "unknown" };
  const [family, source = "", destination = "", ...ports] = line.split(" ");
  if (family !== "TCP4" && family !== "TCP6") return undefined;
  if (ports.length !== 2 || !ports.every((port) => PORT.test(port) && Number(port) <= 65_535)) return undefined;
  for (const text of [source, destination]) {
    if (text.includes(":") !== (family === "TCP6") || canonicalAddress(text) === undefined) return undefined;
  }
  return { kind: "client", address: canonicalAddress(source)! };
}

function parseV2(bytes: Uint8Array): ProxyParse {
  for (let i = 0; i < Math.min(bytes.length, SIGNATURE_V2.length); i++) {
    if (bytes[i] !== SIGNATURE_V2[i]) return NO_HEADER;
  }
  if (bytes.length < V2_FIXED_BYTES) return INCOMPLETE;
  const command = bytes[12]!;
  const restLength = uint16(bytes, 14);
  if (command !== V2_LOCAL && command !== V2_PROXY) return malformed("version or command of version 2");
  if (restLength > V2_REST_BYTES_MAX) return malformed("header of version 2 too long");
  const length = V2_FIXED_BYTES + restLength;
  if (bytes.length < length) return INCOMPLETE;
  // A proxy that speaks for itself, as in its health checks, may put anything here.
  if (command === V2_LOCAL) return { kind: "whole", length, source: { kind: "proxy" } };
  const header = bytes.subarray(0, length);
  const family = bytes[13]! >> 4;
  const transport = bytes[13]! & 15;
  const addressBytes = V2_ADDRESS_BYTES[family];
  if (addressBytes === undefined || transport > 2) return malformed("address family of version 2");
  const tlvStart = V2_FIXED_BYTES + addressBytes;
  if (length < tlvStart) return malformed("addresses of version 2 cut off");
  const fault = family === 0 ? undefined : faultOfTlvs(header, tlvStart);
  if (fault !== undefined) return malformed(fault);
  return { kind: "whole", length, source: sourceOfV2(header, family) };
}

function sourceOfV2(header: Uint8Array, family: number): ProxySource {
  const size = family === 1 ? 4 : family === 2 ? 16 : 0;
  const address = addressOfBytes(header.subarray(V2_FIXED_BYTES, V2_FIXED_BYTES + size));
  return address === undefined ? { kind: "unknown" } : { kind: "client", address };
}

function faultOfTlvs(header: Uint8Array, start: number): string | undefined {
  let offset = start;
  while (offset < header.length) {
    const valueStart = offset + 3;
    const end = valueStart + (valueStart <= header.length ? uint16(header, offset + 1) : 0);
    if (valueStart > header.length || end > header.length) return "TLV of version 2 cut off";
    if (header[offset] === TLV_CRC32C) {
      if (end - valueStart !== 4) return "CRC of version 2";
      const expected = new DataView(header.buffer, header.byteOffset + valueStart, 4).getUint32(0);
      // The checksum is that of the header with zeros in its own place.
      if (crc32c(header, valueStart, end) !== expected) return "CRC of version 2 does not match";
    }
    offset = end;
  }
  return undefined;
}

/** CRC-32C, bit by bit: a header is short and comes once per connection. */
function crc32c(bytes: Uint8Array, zeroStart: number, zeroEnd: number): number {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) {
    crc ^= i >= zeroStart && i < zeroEnd ? 0 : bytes[i]!;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ CASTAGNOLI_REVERSED;
  }
  return ~crc >>> 0;
}

function uint16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 8) | bytes[offset + 1]!;
}

function malformed(detail: string): ProxyParse {
  return { kind: "malformed", detail };
}

const INCOMPLETE: ProxyParse = { kind: "incomplete" };
const NO_HEADER = malformed("no PROXY header");
const PREFIX_V1 = new TextEncoder().encode("PROXY ");
/** With CR LF; given by the protocol. */
const V1_BYTES_MAX = 107;
const PORT = /^(?:0|[1-9]\d{0,4})$/;
const CR = 13;
const LF = 10;
const SIGNATURE_V2 = Uint8Array.of(13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10);
const V2_FIXED_BYTES = 16;
const V2_LOCAL = 0x20;
const V2_PROXY = 0x21;
/** By address family. */
const V2_ADDRESS_BYTES: readonly number[] = [0, 12, 36, 216];
const TLV_CRC32C = 3;
const CASTAGNOLI_REVERSED = 0x82f63b78;
