/**
 * The two clocks of the broker.
 *
 *   broker time   what the broker counts by: timers, and whatever it stores a time with. It runs as time passes, whatever
 *                 is done to the wall clock, and a start goes on where the run before ended, plus the time in between as
 *                 far as that can be known. While nobody sets the wall clock both are the same.
 *   wall time     what the host says it is; for whatever is compared with the world: tokens, bans until a day, `$SYS`.
 *                 It is broker time plus an offset, which is measured once a second.
 *
 * So a wall clock that is set changes the offset and nothing else: no stored time has to be put right, and none ends
 * early or late. What has to be kept between two runs is the offset, `ClockNote`, since only with it the wall clock can
 * say how long the broker was off. See docs/decisions/0016-two-clocks.md.
 */
import * as Clock from "effect/Clock";
import * as Context from "effect/Context";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";

/** Milliseconds of some origin, with fractions: steady when the wall clock is set, but nothing that a later run knows. */
export function monotonicMs(): number {
  return performance.timeOrigin + performance.now();
}

/** The same of a clock of Effect, which tests can move. */
export function monotonicMsOf(clock: Clock.Clock): number {
  return Number(clock.monotonicTimeNanosUnsafe() / 1000n) / 1000;
}

/** What a clock is made from. */
export interface TimeSource {
  /** Runs evenly within a run. */
  readonly monotonicMs: () => number;
  /** Milliseconds since the epoch, as the host says. */
  readonly wallMs: () => number;
}

/** What a later run has to know. */
export interface ClockNote {
  /** Broker time at which this was noted. */
  readonly brokerMs: number;
  /** Wall time minus broker time. */
  readonly offsetMs: number;
}

/** Hears that the wall clock was set. False = it could not do what it has to, and is told again. */
export type StepListener = () => Effect.Effect<boolean>;

/** See the head of this file. Plain; `watchClock` keeps it measured. */
export class SteadyClock {
  /** Wall time minus broker time, as measured last. */
  offsetMs = 0;
  readonly #source: TimeSource;
  readonly #listeners: StepListener[] = [];
  /** Broker time minus that of the monotonic source. */
  #anchorMs: number;
  /** The offset that everybody knows of. */
  #knownOffsetMs = 0;

  /** Begins with wall time; a store that knows of earlier runs says `resume` before anybody else asks. */
  constructor(source: TimeSource) {
    this.#source = source;
    this.#anchorMs = source.wallMs() - source.monotonicMs();
  }

  /** Broker time in milliseconds, with fractions. */
  readonly nowMs = (): number => this.#source.monotonicMs() + this.#anchorMs;

  /**
   * Goes on where an earlier run ended: later by what the wall clock says has passed since. Nothing has when it went
   * back, and when it was not set to any time that can be true before, and is now.
   *
   * @param lastMs Latest broker time that is on record.
   * @param offsetMs The offset on record; undefined = it is not known, so neither is what has passed.
   */
  resume(lastMs: number, offsetMs: number | undefined): void {
    const wallMs = this.#source.wallMs();
    const lastWallMs = offsetMs === undefined ? wallMs : lastMs + offsetMs;
    const wasUnset = lastWallMs < CLOCK_SET_FROM_MS && wallMs >= CLOCK_SET_FROM_MS;
    const passedMs = wasUnset ? 0 : Math.max(0, wallMs - lastWallMs);
    this.#anchorMs = lastMs + passedMs - this.#source.monotonicMs();
    this.#knownOffsetMs = lastWallMs - lastMs;
    this.offsetMs = wallMs - lastMs - passedMs;
  }

  /**
   * Measures the offset, unless the process was held up between the readings, which would look like a step.
   *
   * @returns By how much the wall clock was set since `stepTold`, in milliseconds; 0 = less than `STEP_MS`.
   */
  measure(): number {
    const beforeMs = this.nowMs();
    const wallMs = this.#source.wallMs();
    const nowMs = this.nowMs();
    if (nowMs - beforeMs < READING_MS_MAX) this.offsetMs = wallMs - nowMs;
    const byMs = this.offsetMs - this.#knownOffsetMs;
    return Math.abs(byMs) < STEP_MS ? 0 : byMs;
  }

  /** Everybody knows of the offset now. */
  stepTold(): void {
    this.#knownOffsetMs = this.offsetMs;
  }

  /** What to keep for a later run. */
  note(): ClockNote {
    return { brokerMs: this.nowMs(), offsetMs: this.offsetMs };
  }

  /** Adds somebody who has to hear of steps. */
  whenStepped(listener: StepListener): void {
    this.#listeners.push(listener);
  }

  /** In the order in which they were added. */
  get listeners(): readonly StepListener[] {
    return this.#listeners;
  }
}

/** The clock of the broker. */
export class BrokerClock extends Context.Service<BrokerClock, SteadyClock>()("promptmq/system/BrokerClock") {
  /** Takes wall time from the `Clock` of Effect. */
  static readonly layer = Layer.effect(
    BrokerClock,
    Effect.map(
      Clock.Clock,
      (clock) => new SteadyClock({ monotonicMs, wallMs: () => clock.currentTimeMillisUnsafe() }),
    ),
  );
}

/** Looks now and every `CHECK_MS` whether the wall clock was set; fork it under supervision. */
export function watchClock(clock: SteadyClock): Effect.Effect<never> {
  return Effect.suspend(() => {
    const byMs = clock.measure();
    return byMs === 0 ? Effect.void : tellStep(clock, byMs);
  }).pipe(Effect.andThen(Effect.sleep(Duration.millis(CHECK_MS))), Effect.forever);
}

const tellStep = Effect.fnUntraced(function* (clock: SteadyClock, byMs: number) {
  const answers = yield* Effect.all(clock.listeners.map((listener) => listener()));
  if (answers.includes(false)) return;
  clock.stepTold();
  yield* Effect.logWarning("the wall clock was set; what expires goes on by the time that really passed", {
    bySeconds: Math.round(byMs / 1000),
  });
});

/** A smaller difference between the clocks is no step; those of an hour's drift or of a leap second are of this kind. */
const STEP_MS = 1000;
/** Between the readings of two clocks that are compared. */
const READING_MS_MAX = 100;
/** How often the offset is measured. */
const CHECK_MS = 1000;
/** A wall clock that says an earlier time was never set: this program is younger. */
export const CLOCK_SET_FROM_MS = Date.UTC(2026, 0, 1);
