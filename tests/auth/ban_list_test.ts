/**
 * Who is banned: by Client Identifier, by User Name, by address and network, for some time or for good, within a bound.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { type Ban, BanList, BANS_MAX, type BanSubject, isNetwork } from "../../src/auth/ban_list.ts";

function subject(changes: Partial<BanSubject> = {}): BanSubject {
  return { clientId: "c", username: undefined, address: "192.0.2.7", ...changes };
}

function fileBan(changes: Partial<Ban>): Ban {
  return { kind: "client", value: "c", untilMs: undefined, reason: "ban_file", ...changes };
}

Deno.test("BanList bans a Client Identifier, a user or an address, and nobody who merely has the same name", () => {
  const bans = new BanList();
  assert.equal(bans.isBanned(subject(), 0), undefined);
  bans.ban("client", "x", undefined, "test");
  bans.ban("user", "y", undefined, "test");
  bans.ban("address", "192.0.2.8", undefined, "test");
  const isBanned = (changes: Partial<BanSubject>) => bans.isBanned(subject(changes), 0) !== undefined;
  assert.deepEqual(
    [{ clientId: "x" }, { username: "x" }, { clientId: "y" }, { username: "y" }, { address: "192.0.2.8" }, {
      clientId: "192.0.2.8",
    }, { address: "192.0.2.80" }].map(isBanned),
    [true, false, false, true, true, false, false],
  );
});

Deno.test("BanList says what the ban is about", () => {
  const bans = new BanList();
  bans.ban("client", "c", 5, "flapping");
  assert.deepEqual(bans.isBanned(subject(), 1), { kind: "client", value: "c", untilMs: 5, reason: "flapping" });
});

Deno.test("a client without a User Name is not the user undefined", () => {
  const bans = new BanList();
  bans.ban("user", "undefined", undefined, "test");
  assert.equal(bans.isBanned(subject(), 0), undefined);
  assert.notEqual(bans.isBanned(subject({ username: "undefined" }), 0), undefined);
});

Deno.test("a timed ban ends at its time, and one for good stays", () => {
  const bans = new BanList();
  bans.ban("client", "c", 1_000, "test");
  bans.ban("user", "u", undefined, "test");
  assert.notEqual(bans.isBanned(subject(), 999), undefined);
  assert.equal(bans.isBanned(subject(), 1_000), undefined);
  assert.equal(bans.size, 1);
  assert.notEqual(bans.isBanned(subject({ username: "u" }), Number.MAX_SAFE_INTEGER), undefined);
});

Deno.test("a new timed ban replaces the old one, and cannot shorten a ban for good", () => {
  const bans = new BanList();
  bans.ban("client", "c", 1_000, "test");
  bans.ban("client", "c", 3_000, "test");
  assert.equal(bans.size, 1);
  assert.notEqual(bans.isBanned(subject(), 2_000), undefined);
  bans.ban("client", "c", undefined, "test");
  bans.ban("client", "c", 4_000, "test");
  assert.notEqual(bans.isBanned(subject(), 5_000), undefined);
});

Deno.test("a banned network holds its addresses, in every spelling, and no others", () => {
  const bans = new BanList();
  bans.ban("address", "10.1.2.3/16", undefined, "test");
  bans.ban("address", "2001:DB8::/32", undefined, "test");
  bans.ban("address", "::ffff:198.51.100.0/120", undefined, "test");
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
  const bans = new BanList();
  bans.ban("address", "10.1.0.0/16", 1_000, "test");
  bans.ban("address", "10.2.0.0/16", 3_000, "test");
  assert.equal(bans.isBanned(subject({ address: "10.1.0.1" }), 2_000), undefined);
  assert.notEqual(bans.isBanned(subject({ address: "10.2.0.1" }), 2_000), undefined);
  assert.equal(bans.isBanned(subject({ address: "10.2.0.1" }), 3_000), undefined);
});

Deno.test("what is no address bans nobody", () => {
  const bans = new BanList();
  for (const value of ["local", "", "10.0.0.0/33", "10.0.0.1,10.0.0.2", "example.org"]) {
    assert.equal(isNetwork(value), false, value);
    assert.equal(bans.ban("address", value, undefined, "test"), false, value);
  }
  assert.equal(bans.size, 0);
});

Deno.test("the bans of the file are replaced as a whole, apart from those of the broker", () => {
  const bans = new BanList();
  bans.ban("client", "own", 1_000, "test");
  bans.setFileBans([fileBan({ value: "a" }), fileBan({ kind: "address", value: "192.0.2.0/24", untilMs: 50 })]);
  const bannedBy = (changes: Partial<BanSubject>) => bans.isBanned(subject(changes), 10)?.reason;
  assert.deepEqual(
    [bannedBy({ clientId: "a" }), bannedBy({ clientId: "b" }), bannedBy({ clientId: "own", address: "10.0.0.1" })],
    ["ban_file", "ban_file", "test"],
  );
  bans.setFileBans([]);
  assert.deepEqual([bannedBy({ clientId: "a" }), bannedBy({ clientId: "own" })], [undefined, "test"]);
});

Deno.test("too many bans push out the oldest timed one, never one for good or one of the file", () => {
  const bans = new BanList();
  bans.setFileBans([fileBan({ value: "file" })]);
  bans.ban("client", "lasting", undefined, "test");
  for (let index = 0; index < BANS_MAX - 1; index++) bans.ban("client", `timed ${index}`, 1_000, "test");
  assert.equal(bans.size, BANS_MAX);
  const isBanned = (clientId: string) => bans.isBanned(subject({ clientId }), 0) !== undefined;
  assert.equal(isBanned("timed 0"), true);
  // Made again, it is the youngest.
  assert.equal(bans.ban("client", "timed 0", 1_000, "test"), true);
  assert.equal(bans.ban("client", "one more", 1_000, "test"), true);
  assert.equal(bans.size, BANS_MAX);
  assert.deepEqual(
    ["timed 0", "timed 1", "timed 2", "one more", "lasting", "file"].map(isBanned),
    [true, false, true, true, true, true],
  );
});

Deno.test("bans for good are refused when there are too many, and leave no room for timed ones", () => {
  const bans = new BanList();
  for (let index = 0; index < BANS_MAX; index++) bans.ban("client", `${index}`, undefined, "test");
  assert.equal(bans.ban("client", "one more", undefined, "test"), false);
  assert.equal(bans.ban("client", "timed", 1_000, "test"), false);
  assert.equal(bans.ban("client", "7", undefined, "test"), true);
  assert.equal(bans.size, BANS_MAX);
});

Deno.test("BanList agrees with a walk over all networks, bit by bit", () => {
  const octet = fc.constantFrom(0, 1, 127, 128, 255);
  const address = fc.tuple(octet, octet, octet, octet);
  const network = fc.tuple(address, fc.nat(32));
  const bitsOf = (bytes: readonly number[]) => bytes.map((byte) => byte.toString(2).padStart(8, "0")).join("");
  fc.assert(
    fc.property(fc.array(network, { maxLength: 12 }), address, (networks, asked) => {
      const bans = new BanList();
      for (const [bytes, prefix] of networks) {
        bans.ban("address", `${bytes.join(".")}/${prefix}`, undefined, "test");
      }
      const expected = networks.some(([bytes, prefix]) =>
        bitsOf(bytes).slice(0, prefix) === bitsOf(asked).slice(0, prefix)
      );
      assert.equal(bans.isBanned(subject({ address: asked.join(".") }), 0) !== undefined, expected);
    }),
    { numRuns: 500 },
  );
});
