/**
 * Who is banned: by Client Identifier, by User Name, by address and network, for some time or for good.
 */
import fc from "fast-check";
import assert from "node:assert/strict";
import { type Ban, BanList, type BanSubject, isNetwork } from "../../../src/auth/guard/ban_list.ts";

function subject(changes: Partial<BanSubject> = {}): BanSubject {
  return { clientId: "c", username: undefined, address: "192.0.2.7", ...changes };
}

/** A list with these bans, each a kind, a value, and until when. */
function listOf(...bans: readonly (readonly [kind: Ban["kind"], value: string, untilMs?: number])[]): BanList {
  const list = new BanList();
  list.replace(bans.map(([kind, value, untilMs]) => ({ kind, value, untilMs, reason: "test" })));
  return list;
}

Deno.test("BanList bans a Client Identifier, a user or an address, and nobody who merely has the same name", () => {
  assert.equal(new BanList().isBanned(subject(), 0), undefined);
  const bans = listOf(["client", "x"], ["user", "y"], ["address", "192.0.2.8"]);
  const isBanned = (changes: Partial<BanSubject>) => bans.isBanned(subject(changes), 0) !== undefined;
  assert.deepEqual(
    [{ clientId: "x" }, { username: "x" }, { clientId: "y" }, { username: "y" }, { address: "192.0.2.8" }, {
      clientId: "192.0.2.8",
    }, { address: "192.0.2.80" }].map(isBanned),
    [true, false, false, true, true, false, false],
  );
});

Deno.test("BanList says what the ban is about", () => {
  const bans = listOf(["client", "c", 5]);
  assert.deepEqual(bans.isBanned(subject(), 1), { kind: "client", value: "c", untilMs: 5, reason: "test" });
});

Deno.test("a client without a User Name is not the user undefined", () => {
  const bans = listOf(["user", "undefined"]);
  assert.equal(bans.isBanned(subject(), 0), undefined);
  assert.notEqual(bans.isBanned(subject({ username: "undefined" }), 0), undefined);
});

Deno.test("a timed ban ends at its time, and one for good stays", () => {
  const bans = listOf(["client", "c", 1_000], ["user", "u"]);
  assert.notEqual(bans.isBanned(subject(), 999), undefined);
  assert.equal(bans.isBanned(subject(), 1_000), undefined);
  assert.notEqual(bans.isBanned(subject({ username: "u" }), Number.MAX_SAFE_INTEGER), undefined);
});

Deno.test("a banned network holds its addresses, in every spelling, and no others", () => {
  const bans = listOf(["address", "10.1.2.3/16"], ["address", "2001:DB8::/32"], ["address", "::ffff:198.51.100.0/120"]);
  const isBanned = (address: string) => bans.isBanned(subject({ address }), 0) !== undefined;
  for (const held of ["10.1.0.0", "10.1.255.255", "::ffff:10.1.9.9", "2001:db8:0:0::1", "2001:db8::%eth0"]) {
    assert.equal(isBanned(held), true, held);
  }
  assert.equal(isBanned("198.51.100.200"), true);
  for (const other of ["10.2.0.0", "9.255.255.255", "2001:db9::1", "198.51.101.0", "local", "10.1.0.0/16", ""]) {
    assert.equal(isBanned(other), false, other);
  }
});

Deno.test("a timed ban of a network ends, also where another network has the same prefix length", () => {
  const bans = listOf(["address", "10.1.0.0/16", 1_000], ["address", "10.2.0.0/16", 3_000]);
  assert.equal(bans.isBanned(subject({ address: "10.1.0.1" }), 2_000), undefined);
  assert.notEqual(bans.isBanned(subject({ address: "10.2.0.1" }), 2_000), undefined);
  assert.equal(bans.isBanned(subject({ address: "10.2.0.1" }), 3_000), undefined);
});

Deno.test("what is no address is no network", () => {
  for (const value of ["local", "", "10.0.0.0/33", "10.0.0.1,10.0.0.2", "example.org"]) {
    assert.equal(isNetwork(value), false, value);
  }
});

Deno.test("replaced bans are gone, and of bans of one value the last counts", () => {
  const bans = listOf(["client", "a"], ["address", "192.0.2.0/24"]);
  bans.replace([
    { kind: "client", value: "b", untilMs: undefined, reason: "test" },
    { kind: "client", value: "b", untilMs: 50, reason: "test" },
  ]);
  const isBanned = (clientId: string, nowMs: number) => bans.isBanned(subject({ clientId }), nowMs) !== undefined;
  assert.deepEqual([isBanned("a", 10), isBanned("b", 10), isBanned("b", 50)], [false, true, false]);
});

Deno.test("BanList agrees with a walk over all networks, bit by bit", () => {
  const octet = fc.constantFrom(0, 1, 127, 128, 255);
  const address = fc.tuple(octet, octet, octet, octet);
  const network = fc.tuple(address, fc.nat(32));
  const bitsOf = (bytes: readonly number[]) => bytes.map((byte) => byte.toString(2).padStart(8, "0")).join("");
  fc.assert(
    fc.property(fc.array(network, { maxLength: 12 }), address, (networks, asked) => {
      const bans = listOf(...networks.map(([bytes, prefix]) => ["address", `${bytes.join(".")}/${prefix}`] as const));
      const expected = networks.some(([bytes, prefix]) =>
        bitsOf(bytes).slice(0, prefix) === bitsOf(asked).slice(0, prefix)
      );
      assert.equal(bans.isBanned(subject({ address: asked.join(".") }), 0) !== undefined, expected);
    }),
    { numRuns: 500 },
  );
});
