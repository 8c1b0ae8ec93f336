/**
 * Connections per address: how many per second, how many at once, and who is remembered.
 */
import fc from "fast-check";
import assert from "node:assert/strict";
import {
  AddressLimits,
  type AddressLimitSettings,
  IDLE_ADDRESSES_MAX,
} from "../../../src/listeners/entry/address_limits.ts";

const START_MS = 1_700_000_000_000;
const ADDRESS = "192.0.2.1";

function settings(changes: Partial<AddressLimitSettings> = {}): AddressLimitSettings {
  return { connectRate: 0, connectionsMax: 0, ...changes };
}

function addressOf(index: number): string {
  return `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;
}

Deno.test("AddressLimits lets in one second's worth at once and then its rate; refusals do not count", () => {
  const limits = new AddressLimits(settings({ connectRate: 2 }));
  const admit = (ms: number) => limits.admit(ADDRESS, START_MS + ms);
  assert.deepEqual([admit(0), admit(0), admit(0)], [undefined, undefined, "address_rate"]);
  for (let attempt = 0; attempt < 100; attempt++) assert.equal(admit(499), "address_rate");
  assert.deepEqual([admit(500), admit(500)], [undefined, "address_rate"]);
  assert.equal(limits.admit("192.0.2.2", START_MS), undefined);
});

Deno.test("AddressLimits lets in so many at once, and another one when one has left", () => {
  const limits = new AddressLimits(settings({ connectionsMax: 2 }));
  const admit = () => limits.admit(ADDRESS, START_MS);
  assert.deepEqual([admit(), admit(), admit()], [undefined, undefined, "address_connections"]);
  assert.equal(limits.admit("192.0.2.2", START_MS), undefined);
  limits.left(ADDRESS);
  assert.deepEqual([admit(), admit()], [undefined, "address_connections"]);
});

Deno.test("a connection refused for the number at once costs nothing of the rate", () => {
  const limits = new AddressLimits(settings({ connectRate: 2, connectionsMax: 1 }));
  limits.admit(ADDRESS, START_MS);
  for (let attempt = 0; attempt < 9; attempt++) {
    assert.equal(limits.admit(ADDRESS, START_MS), "address_connections");
  }
  limits.left(ADDRESS);
  assert.equal(limits.admit(ADDRESS, START_MS), undefined);
  limits.left(ADDRESS);
  assert.equal(limits.admit(ADDRESS, START_MS), "address_rate", "leaving and coming back makes no difference");
});

Deno.test("AddressLimits counts IPv6 by /64 and mapped IPv4 as IPv4; what is no address is not limited", () => {
  const limits = new AddressLimits(settings({ connectionsMax: 1 }));
  const admit = (address: string) => limits.admit(address, START_MS);
  assert.deepEqual([admit("2001:db8::1"), admit("2001:db8::ffff:1"), admit("2001:db8:0:1::1")], [
    undefined,
    "address_connections",
    undefined,
  ]);
  assert.deepEqual([admit("::ffff:192.0.2.1"), admit(ADDRESS)], [undefined, "address_connections"]);
  assert.deepEqual([admit("local"), admit("local")], [undefined, undefined]);
  limits.left("local");
  limits.left("2001:db8::77");
  assert.equal(admit("2001:db8::2"), undefined);
});

Deno.test("AddressLimits follows its settings while connections are open", () => {
  const live = settings();
  const limits = new AddressLimits(live);
  for (let connection = 0; connection < 5; connection++) limits.admit(ADDRESS, START_MS);
  live.connectionsMax = 5;
  assert.equal(limits.admit(ADDRESS, START_MS), "address_connections");
  limits.left(ADDRESS);
  assert.equal(limits.admit(ADDRESS, START_MS), undefined);
});

Deno.test("AddressLimits forgets addresses without connections once their rate is whole again", () => {
  const limits = new AddressLimits(settings({ connectRate: 1 }));
  for (let index = 0; index < 100; index++) {
    limits.admit(addressOf(index), START_MS);
    limits.left(addressOf(index));
  }
  limits.admit(ADDRESS, START_MS);
  assert.equal(limits.size, 101);
  for (let index = 0; index < 25; index++) limits.admit(ADDRESS, START_MS + 1_000);
  assert.equal(limits.size, 1, "four with each connection");
});

Deno.test("AddressLimits remembers a bounded number of addresses without connections, and all that have one", () => {
  const limits = new AddressLimits(settings({ connectRate: 1 }));
  limits.admit(ADDRESS, START_MS);
  for (let index = 0; index <= IDLE_ADDRESSES_MAX; index++) {
    limits.admit(addressOf(index), START_MS);
    limits.left(addressOf(index));
  }
  assert.equal(limits.size, IDLE_ADDRESSES_MAX + 1);
  assert.equal(limits.admit(ADDRESS, START_MS), "address_rate");
  assert.equal(limits.admit(addressOf(1), START_MS), "address_rate");
  assert.equal(limits.admit(addressOf(0), START_MS), undefined, "the oldest was forgotten");
});

Deno.test("AddressLimits never lets in more at once than allowed and loses no connection", () => {
  const step = fc.tuple(fc.constantFrom("10.0.0.1", "10.0.0.2", "2001:db8::1"), fc.boolean(), fc.nat(400));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), fc.integer({ min: 1, max: 4 }), (steps, connectionsMax) => {
      const limits = new AddressLimits(settings({ connectionsMax, connectRate: 5 }));
      const open = new Map<string, number>();
      let nowMs = START_MS;
      for (const [address, isLeaving, gapMs] of steps) {
        nowMs += gapMs;
        const before = open.get(address) ?? 0;
        if (isLeaving) {
          if (before === 0) continue;
          limits.left(address);
          open.set(address, before - 1);
        } else {
          const refusal = limits.admit(address, nowMs);
          assert.equal(refusal === "address_connections", before === connectionsMax);
          if (refusal === undefined) open.set(address, before + 1);
        }
      }
      for (const [address, count] of open) for (let left = 0; left < count; left++) limits.left(address);
      for (let round = 0; round < 3; round++) {
        limits.admit("192.0.2.9", nowMs + 2_000);
        limits.left("192.0.2.9");
      }
      assert(limits.size <= 1, "nothing is left of addresses that are gone");
    }),
    { numRuns: 200 },
  );
});
