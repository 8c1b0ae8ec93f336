/** How IP addresses are spelled, and what they count as. */
import assert from "node:assert/strict";
import { addressKey, canonicalAddress, withoutZone } from "../../src/system/ip_address.ts";

Deno.test("canonicalAddress has one spelling for each address and none for what is no address", () => {
  const spellings: Readonly<Record<string, string | undefined>> = {
    "192.0.2.1": "192.0.2.1",
    "::ffff:192.0.2.1": "192.0.2.1",
    "::FFFF:C000:201": "192.0.2.1",
    "2001:0DB8:0:0:0:0:0:7": "2001:db8::7",
    "::1": "::1",
    "fe80::1%eth0": undefined,
    "192.0.2.256": undefined,
    "192.0.2.1:80": undefined,
    "10.0.0.0/8": undefined,
    "local": undefined,
    "": undefined,
  };
  for (const [text, expected] of Object.entries(spellings)) assert.equal(canonicalAddress(text), expected, text);
});

Deno.test("addressKey is the address in IPv4 and its /64 network in IPv6, whatever its spelling and zone", () => {
  const keys: Readonly<Record<string, string | undefined>> = {
    "192.0.2.1": "192.0.2.1",
    "::ffff:192.0.2.1": "192.0.2.1",
    "2001:DB8:0:1::9": "2001:db8:0:1::/64",
    "2001:db8:0:1:ffff:ffff:ffff:ffff": "2001:db8:0:1::/64",
    "2001:db8:0:2::9": "2001:db8:0:2::/64",
    "1:2:3:4:5:6:7:8": "1:2:3:4::/64",
    "fe80::1%eth0": "fe80::/64",
    "::1": "::/64",
    "local": undefined,
    "10.0.0.0/8": undefined,
  };
  for (const [address, expected] of Object.entries(keys)) assert.equal(addressKey(address), expected, address);
  assert.deepEqual(["fe80::1%3", "192.0.2.1"].map(withoutZone), ["fe80::1", "192.0.2.1"]);
});
