/**
 * The PROXY header: a table of headers and what they say, each also cut at every place and followed by other bytes.
 */
import assert from "node:assert/strict";
import {
  parseProxyHeader,
  PROXY_HEADER_BYTES_MAX,
  type ProxySource,
  V2_REST_BYTES_MAX,
} from "../../../src/listeners/entry/proxy_protocol.ts";
import { concatBytes, fromHex } from "../../support/wire_bytes.ts";
import { ascii } from "../transport/client_frames.ts";

const SIGNATURE = fromHex("0d0a0d0a000d0a515549540a");
const client = (address: string): ProxySource => ({ kind: "client", address });
const UNKNOWN: ProxySource = { kind: "unknown" };
const PROXY: ProxySource = { kind: "proxy" };
const IPV4 = "cb007107c0000201cb82075b";
const IPV6 = "20010db8000000000000000000000007" +
  "20010db8000000000000000000000001cb82075b";
const MAPPED = "00000000000000000000ffffcb007107" + "00000000000000000000ffffc0000201" + "cb82075b";
/** Type and length of the TLV with the checksum. */
const CRC_TLV = "030004";

const GOOD: readonly (readonly [what: string, header: Uint8Array, source: ProxySource])[] = [
  ["v1 TCP4", ascii("PROXY TCP4 203.0.113.7 192.0.2.1 52110 1883\r\n"), client("203.0.113.7")],
  ["v1 TCP6", ascii("PROXY TCP6 2001:DB8:0::7 2001:db8::1 52110 1883\r\n"), client("2001:db8::7")],
  ["v1 TCP6 with a mapped address", ascii("PROXY TCP6 ::ffff:203.0.113.7 ::1 0 65535\r\n"), client("203.0.113.7")],
  ["v1 UNKNOWN", ascii("PROXY UNKNOWN\r\n"), UNKNOWN],
  ["v1 UNKNOWN with more", ascii("PROXY UNKNOWN ffff::1 whatever 127.0.0.1\r\n"), UNKNOWN],
  ["the longest v1", ascii(`PROXY UNKNOWN ${"x".repeat(107 - 16)}\r\n`), UNKNOWN],
  ["v2 IPv4", v2(0x21, 0x11, IPV4), client("203.0.113.7")],
  ["v2 IPv4 over UDP", v2(0x21, 0x12, IPV4), client("203.0.113.7")],
  ["v2 IPv6", v2(0x21, 0x21, IPV6), client("2001:db8::7")],
  ["v2 IPv6 with a mapped address", v2(0x21, 0x21, MAPPED), client("203.0.113.7")],
  ["v2 Unix", v2(0x21, 0x31, "00".repeat(216)), UNKNOWN],
  ["v2 of an unknown family", v2(0x21, 0x00, ""), UNKNOWN],
  ["v2 of an unknown family with anything after it", v2(0x21, 0x00, "ff00"), UNKNOWN],
  ["v2 LOCAL", v2(0x20, 0x00, ""), PROXY],
  ["v2 LOCAL with addresses that do not count", v2(0x20, 0x11, "7f0000017f00000100010002"), PROXY],
  ["v2 with TLVs", v2(0x21, 0x11, `${IPV4}040003aabbcc010000`), client("203.0.113.7")],
  ["v2 with the right CRC", withCrc(`${IPV4}040001aa`), client("203.0.113.7")],
  [
    "the longest v2",
    v2(0x21, 0x11, `${IPV4}04${hex16(V2_REST_BYTES_MAX - 15)}${"00".repeat(V2_REST_BYTES_MAX - 15)}`),
    client("203.0.113.7"),
  ],
];

const BAD: readonly (readonly [what: string, header: Uint8Array])[] = [
  ["MQTT", fromHex("100c00044d5154540502003c0000")],
  ["HTTP", ascii("GET / HTTP/1.1\r\n\r\n")],
  ["a TLS handshake", fromHex("16030102000100")],
  ["lower case", ascii("proxy TCP4 203.0.113.7 192.0.2.1 1 2\r\n")],
  ["v1 without CR", ascii("PROXY TCP4 203.0.113.7 192.0.2.1 1 2\n")],
  ["v1 too long", ascii(`PROXY UNKNOWN ${"x".repeat(108 - 16)}\r\n`)],
  ["v1 without end", ascii("PROXY TCP4 ".padEnd(107, "1"))],
  ["v1 of another family", ascii("PROXY TCP5 203.0.113.7 192.0.2.1 1 2\r\n")],
  ["v1 UNKNOWN glued to more", ascii("PROXY UNKNOWNX\r\n")],
  ["v1 TCP4 with IPv6", ascii("PROXY TCP4 ::1 ::1 1 2\r\n")],
  ["v1 TCP6 with IPv4", ascii("PROXY TCP6 203.0.113.7 192.0.2.1 1 2\r\n")],
  ["v1 with two spaces", ascii("PROXY TCP4  203.0.113.7 192.0.2.1 1 2\r\n")],
  ["v1 with a space at the end", ascii("PROXY TCP4 203.0.113.7 192.0.2.1 1 2 \r\n")],
  ["v1 without ports", ascii("PROXY TCP4 203.0.113.7 192.0.2.1\r\n")],
  ["v1 with one port", ascii("PROXY TCP4 203.0.113.7 192.0.2.1 1\r\n")],
  ["v1 with a port too large", ascii("PROXY TCP4 203.0.113.7 192.0.2.1 65536 2\r\n")],
  ["v1 with a signed port", ascii("PROXY TCP4 203.0.113.7 192.0.2.1 +1 2\r\n")],
  ["v1 with leading zeros", ascii("PROXY TCP4 203.0.113.07 192.0.2.1 1 2\r\n")],
  ["v1 with a host name", ascii("PROXY TCP4 localhost 192.0.2.1 1 2\r\n")],
  ["v1 with a zone", ascii("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n")],
  ["v1 with a bad destination", ascii("PROXY TCP4 203.0.113.7 nowhere 1 2\r\n")],
  ["v2 with a broken signature", concatBytes(fromHex("0d0a0d0a000d0a515549540b"), fromHex("21110000"))],
  ["v2 of version 1", v2(0x11, 0x11, IPV4)],
  ["v2 of another command", v2(0x22, 0x11, IPV4)],
  ["v2 of another family", v2(0x21, 0x41, IPV4)],
  ["v2 of another transport", v2(0x21, 0x13, IPV4)],
  ["v2 with half an address", v2(0x21, 0x11, IPV4.slice(2))],
  ["v2 with IPv4 where IPv6 is said", v2(0x21, 0x21, IPV4)],
  ["v2 with a TLV cut off", v2(0x21, 0x11, `${IPV4}040004aabbcc`)],
  ["v2 with half a TLV header", v2(0x21, 0x11, `${IPV4}0400`)],
  ["v2 with a wrong CRC", v2(0x21, 0x11, `${IPV4}03000400000000`)],
  ["v2 with a CRC of two bytes", v2(0x21, 0x11, `${IPV4}0300020000`)],
  ["v2 too long", concatBytes(SIGNATURE, fromHex(`2111${hex16(V2_REST_BYTES_MAX + 1)}`))],
];

for (const [what, header, source] of GOOD) {
  Deno.test(`PROXY header: ${what} is read, also cut anywhere and with bytes after it`, () => {
    assert.ok(header.length <= PROXY_HEADER_BYTES_MAX);
    const whole = { kind: "whole", length: header.length, source };
    assert.deepEqual(parseProxyHeader(header), whole);
    assert.deepEqual(parseProxyHeader(concatBytes(header, ascii("PROXY \x10\x00"))), whole);
    for (let end = 0; end < header.length; end++) {
      assert.deepEqual(parseProxyHeader(header.subarray(0, end)), { kind: "incomplete" }, `after ${end} bytes`);
    }
  });
}

for (const [what, header] of BAD) {
  Deno.test(`PROXY header: ${what} is refused, and nothing of it is taken for a header before`, () => {
    assert.equal(parseProxyHeader(header).kind, "malformed");
    for (let end = 0; end < header.length; end++) {
      assert.notEqual(parseProxyHeader(header.subarray(0, end)).kind, "whole", `after ${end} bytes`);
    }
  });
}

Deno.test("PROXY header: random bytes after the signature never throw, and a whole one is as long as it says", () => {
  const bytes = new Uint8Array(PROXY_HEADER_BYTES_MAX);
  for (let round = 0; round < 20_000; round++) {
    crypto.getRandomValues(bytes.subarray(0, 128));
    bytes.set(SIGNATURE);
    bytes[12] = 0x20 | (round & 1);
    bytes[13] = [0x00, 0x11, 0x21, 0x31][round & 3]!;
    bytes[14] = 0;
    const parsed = parseProxyHeader(bytes);
    if (parsed.kind === "whole") assert.equal(parsed.length, 16 + bytes[15]!);
  }
});

function v2(command: number, family: number, rest: string): Uint8Array {
  const bytes = fromHex(rest);
  return concatBytes(SIGNATURE, Uint8Array.of(command, family, bytes.length >> 8, bytes.length & 255), bytes);
}

/** A header with a CRC of its own, which is computed here in another way than the parser does: by polynomial division. */
function withCrc(rest: string): Uint8Array {
  const header = v2(0x21, 0x11, `${rest}${CRC_TLV}00000000`);
  const reflect = (value: number, width: number): number =>
    Number.parseInt(value.toString(2).padStart(width, "0").split("").toReversed().join(""), 2);
  let remainder = 0xffffffff;
  for (const byte of header) {
    remainder = (remainder ^ (reflect(byte, 8) << 24)) >>> 0;
    for (let bit = 0; bit < 8; bit++) {
      remainder = (remainder & 0x80000000) === 0 ? (remainder << 1) >>> 0 : ((remainder << 1) ^ 0x1edc6f41) >>> 0;
    }
  }
  const crc = reflect(~remainder >>> 0, 32) >>> 0;
  const result = header.slice();
  new DataView(result.buffer).setUint32(result.length - 4, crc);
  return result;
}

function hex16(value: number): string {
  return value.toString(16).padStart(4, "0");
}
