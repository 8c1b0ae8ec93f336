/**
 * Broker time and wall time: what a wall clock that is set does to both, within a run and between two. Times of the tests
 * are given by hand; `watchClock` runs on the clock of tests.
 */
import assert from "node:assert/strict";
import * as Effect from "effect/Effect";
import * as Logger from "effect/Logger";
import * as TestClock from "effect/testing/TestClock";
import { CLOCK_SET_FROM_MS, type ClockNote, SteadyClock, watchClock } from "../../src/system/clock.ts";

const DAY_MS = 86_400_000;
const NOW_MS = CLOCK_SET_FROM_MS + 100 * DAY_MS;

/** A host whose time passes, and whose wall clock is set. */
class Host {
  elapsedMs = 5_000;
  wallMs = NOW_MS;

  pass(ms: number): void {
    this.elapsedMs += ms;
    this.wallMs += ms;
  }

  clock(): SteadyClock {
    return new SteadyClock({ monotonicMs: () => this.elapsedMs, wallMs: () => this.wallMs });
  }

  /** The next run, which has another origin of monotonic time. */
  restart(note: ClockNote, offMs: number): SteadyClock {
    this.pass(offMs);
    this.elapsedMs = 77;
    const clock = this.clock();
    clock.resume(note.brokerMs, note.offsetMs);
    return clock;
  }
}

function wallOf(clock: SteadyClock): number {
  return clock.nowMs() + clock.offsetMs;
}

Deno.test("broker time begins as wall time and is no more than that while nobody sets the wall clock", () => {
  const host = new Host();
  const clock = host.clock();
  assert.equal(clock.nowMs(), NOW_MS);
  host.pass(1_234.5);
  assert.equal(clock.measure(), 0);
  assert.deepEqual([clock.nowMs(), clock.offsetMs], [NOW_MS + 1_234.5, 0]);
  const next = host.restart(clock.note(), DAY_MS);
  assert.deepEqual([next.nowMs(), next.measure(), next.offsetMs], [host.wallMs, 0, 0]);
});

for (const stepMs of [DAY_MS, -DAY_MS]) {
  Deno.test(`a wall clock that is set by ${stepMs} ms changes the offset, once, and not broker time`, () => {
    const host = new Host();
    const clock = host.clock();
    host.pass(1_000);
    host.wallMs += stepMs;
    assert.equal(clock.measure(), stepMs);
    assert.deepEqual([clock.nowMs(), wallOf(clock)], [NOW_MS + 1_000, host.wallMs]);
    assert.equal(clock.measure(), stepMs, "until everybody knows");
    clock.stepTold();
    host.pass(5_000);
    assert.equal(clock.measure(), 0);
    const note = clock.note();
    assert.deepEqual(note, { brokerMs: NOW_MS + 6_000, offsetMs: stepMs });
    const next = host.restart(note, 60_000);
    assert.equal(next.nowMs(), NOW_MS + 66_000, "the time off is counted");
    assert.deepEqual([next.measure(), wallOf(next)], [0, host.wallMs]);
  });
}

Deno.test("small steps change the offset at once, and are a step when they come to one", () => {
  const host = new Host();
  const clock = host.clock();
  host.wallMs += 600;
  assert.equal(clock.measure(), 0);
  assert.equal(clock.offsetMs, 600);
  host.wallMs += 600;
  assert.equal(clock.measure(), 1_200);
});

Deno.test("a process that is held up while it reads the clocks sees no step", () => {
  const host = new Host();
  let heldUpMs = 0;
  const wallMs = () => {
    const readMs = host.wallMs;
    host.pass(heldUpMs);
    return readMs;
  };
  const clock = new SteadyClock({ monotonicMs: () => host.elapsedMs, wallMs });
  heldUpMs = 3_000;
  assert.equal(clock.measure(), 0);
  assert.equal(clock.offsetMs, 0);
  heldUpMs = 0;
  assert.equal(clock.measure(), 0);
});

Deno.test("a wall clock that goes back between two runs means that no time has passed, and is a step then", () => {
  const host = new Host();
  const note = host.clock().note();
  host.wallMs -= 30 * DAY_MS;
  const clock = host.restart(note, 60_000);
  assert.equal(clock.nowMs(), NOW_MS);
  assert.equal(clock.measure(), 60_000 - 30 * DAY_MS);
  assert.equal(wallOf(clock), host.wallMs);
});

Deno.test("a host without a clock that starts in 1970, twice, keeps its broker time going", () => {
  const host = new Host();
  host.wallMs = 0;
  const first = host.clock();
  host.pass(30_000);
  host.wallMs = NOW_MS;
  assert.equal(first.measure(), NOW_MS - 30_000);
  first.stepTold();
  host.pass(10_000);
  assert.equal(first.nowMs(), 40_000);
  host.wallMs = -60_000;
  const second = host.restart(first.note(), 60_000);
  assert.equal(second.nowMs(), 40_000);
  assert.equal(second.measure(), -10_000 - NOW_MS);
  second.stepTold();
  host.pass(3_000);
  host.wallMs = NOW_MS + DAY_MS;
  assert.notEqual(second.measure(), 0);
  second.stepTold();
  const third = host.restart(second.note(), 5_000);
  assert.deepEqual([third.nowMs(), third.measure(), wallOf(third)], [48_000, 0, host.wallMs]);
});

Deno.test("a run in 1970 that nobody saw end there leaves no time to count", () => {
  const host = new Host();
  const clock = host.clock();
  // The wall clock was set right before a crash, so the note says nothing of it.
  clock.resume(40_000, 0);
  assert.equal(clock.nowMs(), 40_000);
  assert.equal(clock.measure(), NOW_MS - 40_000);
});

Deno.test("without a known offset the time off is none", () => {
  const host = new Host();
  const clock = host.clock();
  clock.resume(40_000, undefined);
  assert.deepEqual([clock.nowMs(), clock.measure(), wallOf(clock)], [40_000, 0, NOW_MS]);
});

Deno.test("a step is told to everybody and logged once, and told again while somebody cannot take it", () => {
  const host = new Host();
  const clock = host.clock();
  const told: string[] = [];
  const lines: unknown[] = [];
  let canTake = false;
  clock.whenStepped(() => Effect.sync(() => told.push(`store ${canTake}`) > 0 && canTake));
  clock.whenStepped(() => Effect.sync(() => told.push("broker") > 0));
  const logger = Logger.make(({ message }) => void lines.push(message));
  const program = Effect.gen(function* () {
    yield* Effect.forkScoped(watchClock(clock));
    yield* TestClock.adjust(5_000);
    assert.deepEqual([told, lines], [[], []]);
    host.wallMs += DAY_MS;
    yield* TestClock.adjust(2_000);
    assert.deepEqual(told, ["store false", "broker", "store false", "broker"]);
    assert.deepEqual(lines, []);
    canTake = true;
    yield* TestClock.adjust(60_000);
    assert.deepEqual(told.slice(4), ["store true", "broker"]);
    assert.equal(lines.length, 1);
    assert.match(JSON.stringify(lines), /the wall clock was set.*"bySeconds":86400/);
  });
  return Effect.runPromise(
    Effect.scoped(program).pipe(Effect.provide(TestClock.layer()), Effect.provide(Logger.layer([logger]))),
  );
});
