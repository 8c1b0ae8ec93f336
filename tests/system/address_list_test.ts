/**
 * Which addresses a list holds, how it is written, and what is no list. The host's own implementation is the reference
 * for random networks.
 */

import fc from "fast-check";
import assert from "node:assert/strict";
import { BlockList } from "node:net";
import { ADDRESSES_MAX, AddressList } from "../../src/system/address_list.ts";

function listOf(text: string): AddressList {
  const list = AddressList.parse(text);
  assert.ok(list !== undefined, `${text} is a list`);
  return list;
}

/** List, addresses in it, addresses that are not. */
const MEMBERS: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ["", [], ["127.0.0.1", "::1", ""]],
  ["192.0.2.7", ["192.0.2.7", "::ffff:192.0.2.7", "::ffff:c000:207"], ["192.0.2.6", "::c000:207", "::192.0.2.7"]],
  ["::ffff:192.0.2.7", ["192.0.2.7", "::FFFF:192.0.2.7"], ["192.0.2.8"]],
  ["::ffff:10.0.0.0/104", ["10.255.0.1"], ["11.0.0.0"]],
  ["10.0.0.0/8,::1", ["10.0.0.0", "10.255.255.255", "::1", "0:0:0:0:0:0:0:1"], ["9.255.255.255", "11.0.0.0", "::2"]],
  ["10.9.8.7/9", ["10.0.0.1", "10.127.255.255"], ["10.128.0.0"]],
  ["192.0.2.4/30", ["192.0.2.4", "192.0.2.7"], ["192.0.2.3", "192.0.2.8"]],
  ["0.0.0.0/0", ["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], ["::1", "::"]],
  ["::/0", ["::", "::1", "2001:db8::1"], ["1.2.3.4", "::ffff:1.2.3.4"]],
  ["2001:db8::/33", ["2001:db8:7fff:ffff::"], ["2001:db8:8000::", "2001:db9::"]],
  ["fe80::/10", ["fe80::1", "fe80::1%eth0", "febf::1"], ["fec0::1"]],
  ["10.0.0.0/8", ["10.0.0.1"], ["10.0.0.1:1883", "010.0.0.1", "10.1", "local", "example.org", " 10.0.0.1"]],
];

Deno.test("AddressList holds the addresses of its networks and no others", () => {
  for (const [text, members, others] of MEMBERS) {
    const list = listOf(text);
    for (const address of members) assert.equal(list.includes(address), true, `${address} in ${text}`);
    for (const address of others) assert.equal(list.includes(address), false, `${address} not in ${text}`);
  }
});

Deno.test("AddressList writes itself in one form, which reads back as the same list", () => {
  const forms = [
    [" 10.9.8.7/8 , ::1/128 ", "10.0.0.0/8,::1"],
    ["192.0.2.1/32", "192.0.2.1"],
    ["1.2.3.4/0", "0.0.0.0/0"],
    ["::ffff:10.1.2.3/104", "10.0.0.0/8"],
    ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["1::/0", "::/0"],
    ["fe80::", "fe80::"],
    ["::ffff:0:0/95", "::fffe:0:0/95"],
  ];
  for (const [text = "", written] of forms) {
    const list = listOf(text);
    assert.equal(String(list), written);
    assert.deepEqual(listOf(String(list)).networks, list.networks);
  }
});

Deno.test("AddressList refuses what is neither an address nor a network", () => {
  const texts = [
    "localhost",
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0.0/-1",
    "10.0.0/8",
    "256.0.0.1",
    "10.0.0.01",
    "1.2.3.4.5",
    "::/129",
    "1::2::3",
    ":1",
    "1:",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7::8",
    "12345::",
    "::g",
    "::1.2.3",
    "1.2.3.4::",
    "fe80::1%eth0",
    "[::1]",
    "10.0.0.1,",
    ",",
    "10.0.0.1 10.0.0.2",
    "10.0.0.1:80",
  ];
  for (const text of texts) assert.equal(AddressList.parse(text), undefined, text);
});

Deno.test("AddressList takes a bounded number of entries", () => {
  const entries = Array.from({ length: ADDRESSES_MAX }, (_, at) => `10.0.${at >> 8}.${at & 0xff}`);
  assert.equal(listOf(entries.join()).includes("10.0.3.255"), true);
  assert.equal(AddressList.parse([...entries, "::1"].join()), undefined);
});

const IPV4 = fc.ipV4();
const IPV6 = fc.ipV6().filter((address) => !/^::ffff:|^0*:0*:0*:0*:0*:ffff:/i.test(address));

Deno.test("AddressList agrees with the host about random networks and addresses, near and far", () => {
  const ipv4 = fc.tuple(IPV4, fc.integer({ min: 0, max: 32 }), IPV4, fc.constant("ipv4" as const));
  const ipv6 = fc.tuple(IPV6, fc.integer({ min: 0, max: 128 }), IPV6, fc.constant("ipv6" as const));
  let insideCount = 0;
  fc.assert(
    fc.property(fc.oneof(ipv4, ipv6), ([network, prefix, other, family]) => {
      const reference = new BlockList();
      reference.addSubnet(network, prefix, family);
      const list = listOf(`${network}/${prefix}`);
      for (const address of [network, other]) {
        const isInside = list.includes(address);
        insideCount += isInside ? 1 : 0;
        assert.equal(isInside, reference.check(address, family), `${address} in ${network}/${prefix}`);
      }
    }),
    { numRuns: 2000 },
  );
  assert.ok(insideCount > 2000 && insideCount < 4000, `${insideCount} of 4000 inside`);
});
