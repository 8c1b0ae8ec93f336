/** Who the client is behind HTTP proxies, and how addresses are spelled. */
import assert from "node:assert/strict";
import { addressOfBytes, isLoopbackAddress, systemAddress } from "../../../src/listeners/entry/client_address.ts";
import { clientAddressOf } from "../../../src/listeners/entry/forwarded.ts";
import { canonicalAddress } from "../../../src/system/ip_address.ts";

const isTrusted = (address: string): boolean => address.startsWith("10.") || address === "::1";

for (
  const [fields, client] of [
    [["203.0.113.7"], "203.0.113.7"],
    [["203.0.113.7, 10.0.0.1"], "203.0.113.7"],
    // What a client claims stands left of what the first trusted proxy added.
    [["127.0.0.1, 198.51.100.9, 10.0.0.2"], "198.51.100.9"],
    [["nonsense, 198.51.100.9, 10.0.0.2"], "198.51.100.9"],
    [["127.0.0.1", "198.51.100.9", "10.0.0.2"], "198.51.100.9"],
    [["10.0.0.1, 10.0.0.2"], "10.0.0.1"],
    [["2001:DB8::7"], "2001:db8::7"],
    [["[2001:db8::7]:52110, ::1"], "2001:db8::7"],
    [["[2001:db8::7]"], "2001:db8::7"],
    [["203.0.113.7:52110"], "203.0.113.7"],
    [["::ffff:203.0.113.7"], "203.0.113.7"],
    [["  203.0.113.7\t,10.0.0.1 "], "203.0.113.7"],
    [[], undefined],
    [[""], undefined],
    [[","], undefined],
    [["203.0.113.7,"], undefined],
    [["unknown, 10.0.0.1"], undefined],
    [["203.0.113.7, unknown, 10.0.0.1"], undefined],
    [["203.0.113.7 10.0.0.1"], undefined],
    [['"203.0.113.7"'], undefined],
    [["203.0.113.07"], undefined],
    [["[203.0.113.7]:1"], undefined],
    [["fe80::1%eth0"], undefined],
    [["203.0.113.7:1234567"], undefined],
  ] as const
) {
  Deno.test(`X-Forwarded-For ${JSON.stringify(fields)} names ${client ?? "nobody"}`, () => {
    assert.equal(clientAddressOf(fields, isTrusted), client);
  });
}

Deno.test("an address has one spelling, whoever wrote it", () => {
  assert.equal(canonicalAddress("2001:0DB8:0:0:0:0:0:7"), "2001:db8::7");
  assert.equal(canonicalAddress("::FFFF:7F00:1"), "127.0.0.1");
  assert.equal(canonicalAddress("::ffff:127.0.0.1"), "127.0.0.1");
  assert.equal(canonicalAddress("::1"), "::1");
  for (const text of ["", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "0x7f.1", "::g", "1::2::3", "[::1]"]) {
    assert.equal(canonicalAddress(text), undefined, text);
  }
  assert.equal(systemAddress("fe80::1%eth0"), "fe80::1%eth0");
  assert.equal(addressOfBytes(Uint8Array.of(203, 0, 113, 7)), "203.0.113.7");
  assert.equal(addressOfBytes(Uint8Array.of(1, 2, 3)), undefined);
});

Deno.test("loopback is 127.0.0.0/8 and ::1, and nothing that only looks like it", () => {
  for (const address of ["127.0.0.1", "127.255.0.9", "::1"]) assert.equal(isLoopbackAddress(address), true, address);
  for (const address of ["128.0.0.1", "127.evil.example", "::2", "::ffff:127.0.0.1", "local", ""]) {
    assert.equal(isLoopbackAddress(address), false, address);
  }
});
