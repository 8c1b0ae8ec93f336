/**
 * The timer wheel against a naive model: a list of due times.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { TICK_MS, Timer, TimerWheel } from "../../src/broker/timer_wheel.ts";

Deno.test("timer wheel fires once, never early, in order of time, at most a tick after its time", () => {
  const wheel = new TimerWheel(0);
  const fired: [name: string, nowMs: number][] = [];
  const timer = (name: string) => new Timer({ timedOut: (nowMs) => void fired.push([name, nowMs]) });
  const [late, soon] = [timer("late"), timer("soon")];
  wheel.schedule(late, 950.5);
  wheel.schedule(soon, 300);
  for (let nowMs = 0; nowMs <= 2_000; nowMs += 50) wheel.advance(nowMs);
  assert.deepEqual(fired, [["soon", 300], ["late", 1_000]]);
  assert.deepEqual([late.isScheduled, soon.isScheduled], [false, false]);
});

Deno.test("timer wheel fires what is due in one long stride in order of time", () => {
  const wheel = new TimerWheel(0);
  const fired: number[] = [];
  for (const atMs of [500_000, 100, 150_000, 102_500, 200, 102_400, 700_000]) {
    wheel.schedule(new Timer({ timedOut: () => void fired.push(atMs) }), atMs);
  }
  wheel.advance(600_000);
  assert.deepEqual(fired, [100, 200, 102_400, 102_500, 150_000, 500_000]);
});

Deno.test("timer wheel keeps a timer of many rounds through all of them", () => {
  const wheel = new TimerWheel(0);
  let firedMs = 0;
  wheel.schedule(new Timer({ timedOut: (nowMs) => void (firedMs = nowMs) }), 30 * 86_400_000);
  for (let nowMs = 0; nowMs < 30 * 86_400_000; nowMs += 40_000) wheel.advance(nowMs);
  assert.equal(firedMs, 0);
  wheel.advance(30 * 86_400_000);
  assert.equal(firedMs, 30 * 86_400_000);
});

Deno.test("timer wheel lets a callback cancel, move and schedule timers, itself included", () => {
  const wheel = new TimerWheel(0);
  const fired: string[] = [];
  const cancelled = new Timer({ timedOut: () => void fired.push("cancelled") });
  const moved = new Timer({ timedOut: (nowMs) => void fired.push(`moved ${nowMs}`) });
  const again = new Timer({
    timedOut: (nowMs) => {
      fired.push(`again ${nowMs}`);
      wheel.cancel(cancelled);
      wheel.schedule(moved, nowMs + 500);
      // In the past: the next tick.
      if (nowMs < 400) wheel.schedule(again, 0);
    },
  });
  wheel.schedule(again, 100);
  wheel.schedule(cancelled, 200);
  wheel.schedule(moved, 200);
  wheel.advance(200);
  wheel.advance(200);
  assert.deepEqual(fired, ["again 200"]);
  wheel.advance(300);
  wheel.advance(400);
  wheel.advance(2_000);
  assert.deepEqual(fired, ["again 200", "again 300", "again 400", "moved 2000"]);
  assert.equal(cancelled.isScheduled, false);
});

Deno.test("timer wheel ignores a clock that stands still or goes back", () => {
  const wheel = new TimerWheel(10_000);
  let count = 0;
  wheel.schedule(new Timer({ timedOut: () => void count++ }), 10_050);
  for (const nowMs of [10_000, 9_000, 10_099]) wheel.advance(nowMs);
  assert.equal(count, 0);
  wheel.advance(10_100);
  assert.equal(count, 1);
});

/** What a random run does next; delays reach over several rounds of the wheel. */
type Step =
  | { readonly kind: "schedule"; readonly timer: number; readonly delayMs: number }
  | { readonly kind: "cancel"; readonly timer: number }
  | { readonly kind: "advance"; readonly byMs: number };

const TIMERS = 12;
const delay = fc.oneof(fc.integer({ min: -200, max: 1_000 }), fc.integer({ min: 0, max: 400_000 }));
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("schedule" as const), timer: fc.nat(TIMERS - 1), delayMs: delay }),
  fc.record({ kind: fc.constant("cancel" as const), timer: fc.nat(TIMERS - 1) }),
  fc.record({
    kind: fc.constant("advance" as const),
    byMs: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.nat(250_000)),
  }),
);
/** What the callback of a timer does when it fires. */
const reaction = fc.option(
  fc.record({ timer: fc.nat(TIMERS - 1), delayMs: fc.option(fc.integer({ min: -200, max: 150_000 })) }),
);

Deno.test("timer wheel agrees with a naive model, whatever its callbacks do", () => {
  fc.assert(fc.property(
    fc.array(step, { maxLength: 60 }),
    fc.array(reaction, { minLength: TIMERS, maxLength: TIMERS }),
    (steps, reactions) => {
      let nowMs = 5_000_000;
      const wheel = new TimerWheel(nowMs);
      /** The model: when each timer is due, in whole ticks; never before the tick after the present one. */
      const due = new Map<number, number>();
      const schedule = (index: number, atMs: number) => {
        wheel.schedule(timers[index]!, atMs);
        due.set(index, Math.max(Math.ceil(atMs / TICK_MS), Math.floor(nowMs / TICK_MS) + 1));
      };
      const cancel = (index: number) => {
        wheel.cancel(timers[index]!);
        due.delete(index);
      };
      const timers = reactions.map((react, index) =>
        new Timer({
          timedOut: (firedMs) => {
            assert.equal(firedMs, nowMs);
            const tick = due.get(index);
            assert(tick !== undefined, "a timer that was cancelled or has fired does not fire");
            assert(tick * TICK_MS <= nowMs, "no timer fires early");
            due.delete(index);
            if (react === null) return;
            if (react.delayMs === null) cancel(react.timer);
            else schedule(react.timer, nowMs + react.delayMs);
          },
        })
      );
      for (const each of steps) {
        if (each.kind === "schedule") schedule(each.timer, nowMs + each.delayMs);
        else if (each.kind === "cancel") cancel(each.timer);
        else {
          nowMs += each.byMs;
          wheel.advance(nowMs);
          for (const tick of due.values()) assert(tick * TICK_MS > nowMs - TICK_MS, "no timer is late");
        }
        timers.forEach((timer, index) => assert.equal(timer.isScheduled, due.has(index)));
      }
    },
  ));
});
