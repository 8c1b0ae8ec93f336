/**
 * Rates of messages and bytes: one client by itself, and the clients of one listener together.
 *
 * A greedy client sends as soon as it is let; what arrives is compared with the rate. Time moves in ticks of the wheel.
 */
import fc from "fast-check";
import assert from "node:assert/strict";
import { TICK_MS, TimerWheel } from "../../../src/broker/timer_wheel.ts";
import {
  type LimitedClient,
  SharedTraffic,
  TrafficLimits,
  type TrafficRates,
  type TrafficSettings,
} from "../../../src/listeners/limits/traffic_limits.ts";
import { Counters } from "../../../src/metrics/counters.ts";

const START_MS = 1_700_000_000_000;
const PUBLISH = 0x30;
const PUBACK = 0x40;

/** When a client that may go on is read from: within the timer, or after all timers have fired. */
type Reading = "at once" | "later" | "later, the last first";

/** Virtual time, and everything limits are made with. */
class Rig {
  nowMs = START_MS;
  readonly wheel = new TimerWheel(START_MS);
  readonly counters = new Counters();
  readonly logged: string[] = [];
  readonly log = {
    level: 0,
    write: () => assert.fail("may repeat, so it must be limited"),
    limited: (key: string, level: string) => void this.logged.push(`${level} ${key}`),
  };

  #resumed: (() => void)[] = [];

  constructor(readonly reading: Reading = "at once") {}

  limits(settings: TrafficSettings, shared: SharedTraffic | null = null, waited = () => {}): TrafficLimits {
    const origin = {
      remoteAddress: "192.0.2.1",
      isLoopback: false,
      certificate: undefined,
      listener: { name: "test", anonymous: undefined, versions: undefined },
    };
    const client: LimitedClient = {
      origin,
      waited: () => {
        if (this.reading === "at once") waited();
        else this.#resumed.push(waited);
      },
    };
    return new TrafficLimits(settings, shared, client, this, this.nowMs);
  }

  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) {
      this.nowMs = Math.min(endMs, this.nowMs + TICK_MS);
      this.wheel.advance(this.nowMs);
      const resumed = this.reading === "later" ? this.#resumed : this.#resumed.toReversed();
      this.#resumed = [];
      for (const read of resumed) read();
    }
  }
}

/** A client that has always something to send. */
class GreedyClient {
  sent = 0;
  readonly #limits: TrafficLimits;
  readonly #rig: Rig;

  constructor(rig: Rig, settings: TrafficSettings, shared: SharedTraffic | null, readonly bytes: number) {
    this.#rig = rig;
    this.#limits = rig.limits(settings, shared, () => this.send());
  }

  send(): void {
    while (!this.#limits.isWaiting) {
      assert.equal(this.#limits.mayHandle(PUBLISH, this.bytes, this.#rig.nowMs), true);
      this.sent++;
    }
  }
}

function settings(changes: Partial<TrafficSettings> = {}): TrafficSettings {
  return { messageRate: 0, byteRate: 0, isWait: true, ...changes };
}

Deno.test("TrafficLimits exists only while some rate is set", () => {
  const rig = new Rig();
  const origin = { remoteAddress: "", isLoopback: true, certificate: undefined } as unknown as LimitedClient["origin"];
  const client: LimitedClient = { origin, waited: () => {} };
  const exists = (own: Partial<TrafficSettings>, shared: TrafficRates | null) => {
    const common = shared === null ? null : new SharedTraffic(shared, rig.wheel, START_MS);
    return TrafficLimits.ifAny(settings(own), common, client, rig, START_MS) !== null;
  };
  assert.deepEqual([
    exists({}, null),
    exists({}, { messageRate: 0, byteRate: 0 }),
    exists({ messageRate: 1 }, null),
    exists({ byteRate: 1 }, null),
    exists({}, { messageRate: 1, byteRate: 0 }),
    exists({}, { messageRate: 0, byteRate: 1 }),
  ], [false, false, true, true, true, true]);
});

Deno.test("a client above its message rate waits until its debt is paid off, and is resumed then, once", () => {
  const rig = new Rig();
  const resumedMs: number[] = [];
  const limits = rig.limits(settings({ messageRate: 2 }), null, () => void resumedMs.push(rig.nowMs - START_MS));
  for (const expected of [false, false, true]) {
    assert.equal(limits.mayHandle(PUBLISH, 1_000_000, rig.nowMs), true);
    assert.equal(limits.isWaiting, expected);
  }
  rig.pass(400);
  assert.equal(limits.isWaiting, true);
  rig.pass(5_000);
  assert.deepEqual(resumedMs, [500]);
  assert.equal(limits.isWaiting, false);
  assert.deepEqual(rig.counters.clientsLimited.entries(), [["message_rate_wait", 1]]);
  assert.deepEqual(rig.logged, ["debug limited:message_rate_wait"]);
});

Deno.test("only PUBLISH counts as a message, and every packet counts with its bytes", () => {
  const rig = new Rig();
  const messages = rig.limits(settings({ messageRate: 1 }));
  for (let packet = 0; packet < 100; packet++) messages.mayHandle(PUBACK, 1_000, rig.nowMs);
  assert.equal(messages.isWaiting, false);
  const bytes = rig.limits(settings({ byteRate: 1_000 }));
  bytes.mayHandle(PUBACK, 500, rig.nowMs);
  bytes.mayHandle(PUBLISH, 500, rig.nowMs);
  assert.equal(bytes.isWaiting, false);
  bytes.mayHandle(PUBACK, 1, rig.nowMs);
  assert.equal(bytes.isWaiting, true);
  assert.deepEqual(rig.counters.clientsLimited.entries(), [["byte_rate_wait", 1]]);
});

Deno.test("a packet larger than a second's worth of bytes is handled and waited for", () => {
  const rig = new Rig();
  let resumedMs = 0;
  const limits = rig.limits(settings({ byteRate: 1_000 }), null, () => void (resumedMs = rig.nowMs - START_MS));
  assert.equal(limits.mayHandle(PUBLISH, 11_000, rig.nowMs), true);
  rig.pass(20_000);
  assert.equal(resumedMs, 10_000);
});

Deno.test("where it is to be disconnected, a client above a rate is told so, and does not wait", () => {
  const rig = new Rig();
  const limits = rig.limits(settings({ messageRate: 2, byteRate: 100, isWait: false }));
  assert.deepEqual([1, 2, 3].map(() => limits.mayHandle(PUBLISH, 1, rig.nowMs)), [true, true, false]);
  assert.equal(rig.limits(settings({ byteRate: 100, isWait: false })).mayHandle(PUBLISH, 101, rig.nowMs), false);
  assert.equal(limits.isWaiting, false);
  assert.deepEqual(rig.counters.clientsLimited.entries(), [["message_rate_disconnect", 1], [
    "byte_rate_disconnect",
    1,
  ]]);
  assert.deepEqual(rig.logged, ["info limited:message_rate_disconnect", "info limited:byte_rate_disconnect"]);
});

Deno.test("a client is not disconnected for what the others of its listener send: it waits", () => {
  const rig = new Rig();
  const shared = new SharedTraffic({ messageRate: 2, byteRate: 100 }, rig.wheel, START_MS);
  const own = settings({ messageRate: 2, isWait: false });
  const [first, second] = [rig.limits(own, shared), rig.limits(own, shared)];
  assert.deepEqual([first.mayHandle(PUBLISH, 1, rig.nowMs), first.mayHandle(PUBLISH, 1, rig.nowMs)], [true, true]);
  assert.equal(second.mayHandle(PUBLISH, 1, rig.nowMs), true);
  assert.equal(second.isWaiting, true);
  assert.equal(first.mayHandle(PUBLISH, 1, rig.nowMs), false, "its own rate it does exceed");
  const third = rig.limits(
    settings({ isWait: false }),
    new SharedTraffic({ messageRate: 0, byteRate: 9 }, rig.wheel, START_MS),
  );
  assert.equal(third.mayHandle(PUBACK, 10, rig.nowMs), true);
  assert.deepEqual(rig.counters.clientsLimited.entries(), [
    ["listener_message_rate_wait", 1],
    ["message_rate_disconnect", 1],
    ["listener_byte_rate_wait", 1],
  ]);
});

Deno.test("a client that ends while it waits is not resumed", () => {
  const rig = new Rig();
  const limits = rig.limits(settings({ messageRate: 1 }), null, () => assert.fail("resumed"));
  limits.mayHandle(PUBLISH, 1, rig.nowMs);
  limits.mayHandle(PUBLISH, 1, rig.nowMs);
  limits.close();
  rig.pass(5_000);
});

Deno.test("a client that waits long hears within a second of a limit that was raised or lifted", () => {
  for (const messageRate of [0, 1_000]) {
    const rig = new Rig();
    const live = settings({ byteRate: 0, messageRate: 1 });
    let resumedMs = 0;
    const limits = rig.limits(live, null, () => void (resumedMs = rig.nowMs - START_MS));
    limits.mayHandle(PUBLISH, 1, rig.nowMs);
    live.byteRate = 1;
    limits.mayHandle(PUBLISH, 10_000, rig.nowMs);
    rig.pass(5_500);
    assert.equal(limits.isWaiting, true);
    live.byteRate = 0;
    live.messageRate = messageRate;
    rig.pass(1_000);
    assert.equal(resumedMs, 6_000);
  }
});

Deno.test("a greedy client gets its rate: the burst and one packet at first, then no more and no less", () => {
  const rates = fc.record({ messageRate: fc.constantFrom(0, 1, 7, 500), byteRate: fc.constantFrom(0, 900, 50_000) });
  fc.assert(
    fc.property(rates, fc.integer({ min: 1, max: 3_000 }), fc.integer({ min: 1, max: 400 }), (rate, bytes, ticks) => {
      fc.pre(rate.messageRate + rate.byteRate > 0);
      const rig = new Rig();
      const client = new GreedyClient(rig, settings(rate), null, bytes);
      client.send();
      rig.pass(ticks * TICK_MS);
      const allowed = (seconds: number) =>
        Math.min(
          rate.messageRate === 0 ? Infinity : rate.messageRate * (1 + seconds),
          rate.byteRate === 0 ? Infinity : rate.byteRate * (1 + seconds) / bytes,
        );
      const seconds = ticks * TICK_MS / 1_000;
      assert(client.sent <= Math.floor(allowed(seconds) + 0.001) + 1, "above the rate");
      // What it was let later than it might have been, by a tick at most, it gets with the next wait.
      assert(client.sent >= Math.floor(allowed(Math.max(0, seconds - 0.2)) - 0.001), "below the rate");
    }),
    { numRuns: 300 },
  );
});

Deno.test("greedy clients of one listener use its message rate fully and share it", () => {
  const whenRead = fc.constantFrom<Reading>("at once", "later", "later, the last first");
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 40 }),
      fc.constantFrom(5, 60, 1_000),
      whenRead,
      (count, messageRate, when) => {
        const rig = new Rig(when);
        const shared = new SharedTraffic({ messageRate, byteRate: 0 }, rig.wheel, START_MS);
        const clients = Array.from({ length: count }, () => new GreedyClient(rig, settings(), shared, 10));
        assertEven(rig, clients, messageRate, (client) => client.sent, 1);
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("greedy clients of one listener use its byte rate fully and share it, whatever the size of their packets", () => {
  const whenRead = fc.constantFrom<Reading>("at once", "later", "later, the last first");
  const sizes = fc.array(fc.constantFrom(100, 500, 30_000), { minLength: 2, maxLength: 12 });
  fc.assert(
    fc.property(sizes, fc.constantFrom(20_000, 200_000), whenRead, (bytesOf, byteRate, when) => {
      const rig = new Rig(when);
      const shared = new SharedTraffic({ messageRate: 0, byteRate }, rig.wheel, START_MS);
      const clients = bytesOf.map((bytes) => new GreedyClient(rig, settings(), shared, bytes));
      assertEven(rig, clients, byteRate, (client) => client.sent * client.bytes, Math.max(...bytesOf) + 4_096);
    }),
    {
      numRuns: 30,
      examples: [
        [[100, 100, 100, 30_000, 100, 30_000, 100], 200_000, "at once"],
        [[30_000, 100, 30_000, 30_000, 100, 30_000, 100, 100, 100, 100, 100, 100], 200_000, "later, the last first"],
      ],
    },
  );
});

/** Lets time pass; all of the rate must be used, and nobody get half or twice its part, but for a few times `unit`. */
function assertEven(
  rig: Rig,
  clients: readonly GreedyClient[],
  rate: number,
  amountOf: (client: GreedyClient) => number,
  unit: number,
): void {
  for (const client of clients) client.send();
  // The burst is used up, by whoever came first.
  rig.pass(30_000);
  const before = clients.map(amountOf);
  const seconds = 300;
  rig.pass(seconds * 1_000);
  const gained = clients.map((client, index) => amountOf(client) - before[index]!);
  const total = gained.reduce((sum, amount) => sum + amount, 0);
  assert(Math.abs(total - rate * seconds) <= rate * 0.3 + 2 * unit * clients.length, `${total} in ${seconds} s`);
  const fair = total / clients.length;
  for (const amount of gained) {
    assert(amount >= fair / 2 - 3 * unit && amount <= fair * 2 + 3 * unit, `not even: ${gained}`);
  }
}

Deno.test("a client that sends little waits no longer than a tick for greedy ones", () => {
  const rig = new Rig("later");
  const shared = new SharedTraffic({ messageRate: 1_000, byteRate: 0 }, rig.wheel, START_MS);
  const greedy = Array.from({ length: 9 }, () => new GreedyClient(rig, settings(), shared, 10));
  for (const client of greedy) client.send();
  rig.pass(2_000);
  let waitedMs = 0;
  let sinceMs = 0;
  const modest = rig.limits(settings(), shared, () => {
    waitedMs = Math.max(waitedMs, rig.nowMs - sinceMs);
  });
  for (let second = 0; second < 60; second++) {
    assert.equal(modest.isWaiting, false);
    sinceMs = rig.nowMs;
    modest.mayHandle(PUBLISH, 10, rig.nowMs);
    rig.pass(1_000);
  }
  assert(waitedMs <= TICK_MS, `waited ${waitedMs} ms`);
});
