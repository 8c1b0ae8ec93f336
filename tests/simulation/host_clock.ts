/**
 * The wall clock of the simulated host, which is set at any moment, and the broker's clock over it.
 *
 * True time is the machine's: it passes evenly, and a restart takes none of it. Broker time must never be ahead of it, or
 * something would end early; and it is behind by no more than what starts could not know of.
 */
import assert from "node:assert/strict";
import { readClockNote, resumeClock, writeClockNote } from "../../src/storage/clock_note.ts";
import { StorageFailed } from "../../src/storage/model/errors.ts";
import { CLOCK_SET_FROM_MS, SteadyClock } from "../../src/system/clock.ts";
import type { FaultyDisk } from "../storage/disk/faulty_disk.ts";

/** What picks; the same answers give the same run. */
interface Chance {
  below(limit: number): number;
}

/** See the head of this file. */
export class HostClock {
  /** Wall time minus true time. */
  skewMs = 0;
  /** What starts did not count, as the wall clock had gone back, and none has made up for. */
  behindMs = 0;
  /** Of the process that lives. */
  steady: SteadyClock;
  readonly #trueMs: () => number;
  readonly #isDead: () => boolean;
  readonly #directory: string;
  /** The least offset that may be on record. */
  #notedOffsetMs = 0;
  #isNoting = false;
  #foundOffsetMs = 0;
  /** False while nobody can tell which offset is on record. */
  #isSure = true;
  #lookedMs = 0;

  constructor(trueMs: () => number, isDead: () => boolean, directory: string) {
    this.#trueMs = trueMs;
    this.#isDead = isDead;
    this.#directory = directory;
    this.steady = this.#makeClock();
  }

  /** A process starts: its clock, and what recovery says the latest time in the log to. */
  start(disk: FaultyDisk): { readonly clock: SteadyClock; readonly foundTime: (lastWrittenMs: number) => void } {
    const clock = this.#makeClock();
    const note = readClockNote(disk, this.#directory);
    assert(note !== "unreadable", "a crash leaves a note that can be read");
    const foundTime = (lastWrittenMs: number) => {
      const before = this.steady.nowMs();
      const isAsNoted = this.#isSure && this.#wallMs === before + this.#notedOffsetMs;
      resumeClock(clock, note, lastWrittenMs);
      this.steady = clock;
      this.#isNoting = false;
      // A killed process may have left it in the hands of the operating system alone; `madeSafe` says that it is not.
      this.#isSure = false;
      this.#foundOffsetMs = note?.offsetMs ?? 0;
      this.#notedOffsetMs = Math.min(this.#notedOffsetMs, this.#foundOffsetMs);
      // With nothing on record there is nothing that could end.
      if (note === undefined && lastWrittenMs === 0) return;
      const after = clock.nowMs();
      // What an earlier start did not count did pass: less than a step of it comes back with a wall clock that is set to
      // what it was, as the offset on record then still counts for true.
      const owedMs = Math.min(this.behindMs, STEP_MS);
      assert(after <= before + 1 + owedMs, `a start counts ${after - before} ms that did not pass`);
      if (isAsNoted) assert(after >= before - 1, `a start forgets ${before - after} ms`);
      this.behindMs = Math.max(0, this.behindMs + before - after);
    };
    return { clock, foundTime };
  }

  /** What the start found is safe. */
  madeSafe(): void {
    if (this.#isDead()) return;
    this.#isSure = true;
    this.#notedOffsetMs = this.#foundOffsetMs;
  }

  /** Time has passed: once a second the broker looks at the wall clock. */
  look(disk: FaultyDisk): void {
    if (this.#trueMs() - this.#lookedMs < LOOK_MS || this.#isNoting) return;
    this.#lookedMs = this.#trueMs();
    if (this.steady.measure() !== 0) void this.note(disk);
  }

  /** Notes the clock as the broker does; a disk that does not take it is asked again at the next look. */
  async note(disk: FaultyDisk): Promise<void> {
    const { steady } = this;
    steady.measure();
    const note = steady.note();
    this.#notedOffsetMs = Math.min(this.#notedOffsetMs, note.offsetMs);
    this.#isNoting = true;
    this.#isSure = false;
    try {
      await writeClockNote(disk, this.#directory, note);
      // A dead process goes on without anybody hearing of it.
      if (this.steady !== steady || this.#isDead()) return;
      this.#notedOffsetMs = note.offsetMs;
      steady.stepTold();
      this.#isSure = true;
      this.#isNoting = false;
    } catch (failure) {
      if (!(failure instanceof StorageFailed)) throw failure;
      if (this.steady === steady && !this.#isDead()) this.#isNoting = false;
    }
  }

  /** Somebody sets the wall clock while the broker runs. */
  set(chance: Chance): void {
    this.skewMs = [
      TODAY_MS,
      BOOT_MS - this.#trueMs(),
      ...[2 * DAY_MS, -2 * DAY_MS, 10_000, -10_000].map((stepMs) => this.skewMs + stepMs),
    ][chance.below(6)]!;
  }

  /**
   * The machine is off: its wall clock may go back, or be set where it was not. A step forward that nobody noted, from one
   * believable time to another, cannot be told from time off, so it is taken back.
   */
  setWhileOff(chance: Chance): void {
    const believedMs = this.steady.nowMs() + this.#notedOffsetMs;
    const isUnset = this.#isSure && believedMs < CLOCK_SET_FROM_MS;
    const dice = chance.below(9);
    if (dice === 0) this.skewMs -= 10_000;
    else if (dice === 1) this.skewMs -= 2 * DAY_MS;
    else if (dice === 2) this.skewMs = Math.min(this.skewMs, BOOT_MS - this.#trueMs());
    else if (dice === 3) this.skewMs = TODAY_MS;
    if (this.#wallMs > believedMs && !(isUnset && this.#wallMs >= CLOCK_SET_FROM_MS)) {
      this.skewMs -= this.#wallMs - believedMs;
    }
  }

  get #wallMs(): number {
    return this.#trueMs() + this.skewMs;
  }

  /** Every process has an origin of its own. */
  #makeClock(): SteadyClock {
    const originMs = this.#trueMs();
    return new SteadyClock({ monotonicMs: () => this.#trueMs() - originMs, wallMs: () => this.#wallMs });
  }
}

const LOOK_MS = 1_000;
/** Of a wall clock that is set by less nothing is noted. */
const STEP_MS = 1_000;
/** A host that does not know the time begins in 1970, some time before its programs start. */
const BOOT_MS = 10_000;
const DAY_MS = 86_400_000;
/** From the time of the machine to one at which its wall clock counts as set. */
const TODAY_MS = 1_200 * DAY_MS;
