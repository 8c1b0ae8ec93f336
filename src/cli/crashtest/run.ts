/**
 * The course of a crash test: a broker is started, killed and started again while clients work; at the end everything
 * that was acknowledged must have arrived.
 *
 * Most kills come at a random moment of normal work, some while the broker is still starting. After each start the
 * Retained Messages are looked at. When the time is over nobody publishes any more, everybody comes back, and the test
 * waits until everything has arrived; then one last message goes over every topic, so that a duplicate still queued
 * behind would be seen.
 */

import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Schedule from "effect/Schedule";
import { type BrokerProcess, startBrokerProcess } from "./broker_process.ts";
import { flagsOfLife } from "./broker_settings.ts";
import { CrashtestUnavailable } from "./errors.ts";
import { Ledger } from "./ledger.ts";
import { checkRetained } from "./retained_check.ts";
import { SeededRandom } from "./seeded_random.ts";
import { Traffic } from "./traffic.ts";
import { TICK_MS, until } from "./until.ts";

/** What to do. */
export interface CrashtestOptions {
  readonly seed: number;
  /** How long the broker is killed again and again, in milliseconds; the drain comes on top. */
  readonly durationMs: number;
  readonly pairs: number;
  /** Flags of the broker beside its ports, in each of its lives. */
  readonly brokerFlags: readonly string[];
}

/** How it stands, or what came of it. */
export class CrashtestRun {
  readonly ledger: Ledger = new Ledger();
  readonly traffic: Traffic;
  readonly options: CrashtestOptions;
  /** Kills of a broker that was not ready yet; among `kills`. */
  killsWhileStarting = 0;
  /** From the start of the process to ready, for each start after a kill. */
  readonly readyMs: number[] = [];
  /** Where the test is. */
  phase: "preparing" | "killing" | "draining" = "preparing";
  readonly #random: SeededRandom;
  #lives = 0;
  #checks = 0;

  constructor(options: CrashtestOptions) {
    this.options = options;
    this.#random = new SeededRandom(options.seed);
    this.traffic = new Traffic(this.ledger, new SeededRandom(options.seed + 1), options.pairs);
  }

  /**
   * Runs the test to its end.
   *
   * @param progress Called every few milliseconds.
   * @returns Succeeds also when promises were broken; the ledger tells.
   */
  run(progress: () => void): Effect.Effect<void, CrashtestUnavailable> {
    const tick = Effect.repeat(
      Effect.sync(() => {
        this.traffic.tick();
        progress();
      }),
      Schedule.spaced(TICK_MS),
    );
    return Effect.raceFirst(this.#course(), Effect.andThen(tick, Effect.never)).pipe(
      // A fault of the test itself says nothing about the broker.
      Effect.catchDefect((defect) => {
        const reason = defect instanceof Error ? defect.stack ?? defect.message : String(defect);
        return Effect.fail(new CrashtestUnavailable({ reason }));
      }),
      Effect.ensuring(Effect.sync(() => this.traffic.close())),
    );
  }

  /** Every broker that was started was killed, but for the one that runs now. */
  get kills(): number {
    return Math.max(0, this.#lives - 1);
  }

  #course(): Effect.Effect<void, CrashtestUnavailable> {
    return Effect.gen({ self: this }, function* () {
      const endMs = (yield* Clock.currentTimeMillis) + this.options.durationMs;
      yield* this.#life((broker) => this.#prepare(broker));
      this.phase = "killing";
      while ((yield* Clock.currentTimeMillis) < endMs && !this.#isHopeless()) {
        if (this.#random.happens(KILLED_WHILE_STARTING)) yield* this.#shortLife();
        else yield* this.#life((broker) => this.#work(broker));
      }
      this.phase = "draining";
      this.traffic.isPublishing = false;
      this.traffic.mayLeave = false;
      yield* this.#life(() => this.#drain());
      // Once more: what was done before the last kill must not come back.
      if (!this.#isHopeless()) yield* this.#life(() => this.#drain());
      this.ledger.close();
    });
  }

  /** One broker from its start to its kill. */
  #life(use: (broker: BrokerProcess) => Effect.Effect<void, CrashtestUnavailable>) {
    return Effect.scoped(Effect.gen({ self: this }, function* () {
      this.#lives++;
      const startMs = yield* Clock.currentTimeMillis;
      const broker = yield* this.#start();
      const port = yield* this.#untilReady(broker);
      if (port === undefined) return;
      if (this.kills > 0) this.readyMs.push((yield* Clock.currentTimeMillis) - startMs);
      this.traffic.port = port;
      if (this.kills > 0) yield* checkRetained(this.ledger, port, `retained-${++this.#checks}`);
      yield* use(broker);
      this.traffic.port = undefined;
      if (broker.hasEnded()) this.ledger.fault("broker_ended", `the broker ended by itself:\n${lastWords(broker)}`);
    }));
  }

  /** A broker that is killed before it is ready, if it does not hurry. */
  #shortLife() {
    return Effect.scoped(Effect.gen({ self: this }, function* () {
      this.#lives++;
      this.killsWhileStarting++;
      yield* this.#start();
      yield* Effect.sleep(this.#random.between(1, START_MS_MAX));
    }));
  }

  #start() {
    return startBrokerProcess([...this.options.brokerFlags, ...flagsOfLife(this.#random)]);
  }

  /** The port, or undefined for a broker that does not start any more: what it promised is then out of reach. */
  #untilReady(broker: BrokerProcess): Effect.Effect<number | undefined, CrashtestUnavailable> {
    const ready = broker.ready.pipe(Effect.timeoutOrElse({
      duration: READY_DEADLINE_MS,
      orElse: () => Effect.fail(new CrashtestUnavailable({ reason: `not ready in time:\n${lastWords(broker)}` })),
    }));
    if (this.kills === 0) return ready;
    return Effect.catchTag(ready, "CrashtestUnavailable", ({ reason }) =>
      Effect.sync(() => {
        this.ledger.fault("broker_ended", `after a kill: ${reason}`);
        return undefined;
      }));
  }

  #prepare(broker: BrokerProcess): Effect.Effect<void, CrashtestUnavailable> {
    return Effect.gen({ self: this }, function* () {
      const isComplete = yield* until(() => this.traffic.awaited().length === 0, ONLINE_DEADLINE_MS);
      if (!isComplete) {
        const reason = `${this.traffic.awaited().join(", ")} could not connect; ${this.traffic.troubles.join("; ")}`;
        return yield* new CrashtestUnavailable({ reason });
      }
      yield* Effect.tryPromise({
        try: () => this.traffic.subscribe(),
        catch: (cause) => new CrashtestUnavailable({ reason: `cannot subscribe: ${cause}` }),
      });
      this.traffic.isPublishing = true;
      this.traffic.mayLeave = true;
      yield* this.#work(broker);
    });
  }

  /** Waits until messages flow, and then for the moment of the kill. */
  #work(broker: BrokerProcess): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const { acknowledged, delivered } = this.ledger;
      const flows = () => this.ledger.acknowledged > acknowledged && this.ledger.delivered > delivered;
      const isUp = () => this.traffic.awaited().length === 0 && flows();
      const isFlowing = yield* until(() => isUp() || broker.hasEnded() || this.#isHopeless(), ONLINE_DEADLINE_MS);
      if (!isFlowing) {
        const who = this.traffic.awaited().join(", ");
        this.ledger.fault("stalled", who === "" ? "nothing is acknowledged or delivered" : `not online: ${who}`);
      }
      yield* Effect.sleep(this.#random.between(LIFE_MS_MIN, LIFE_MS_MAX));
    });
  }

  /** Waits until everything has arrived, or nothing arrives any more. */
  #drain(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      yield* this.#untilQuiet();
      if (this.#isHopeless() || this.traffic.awaited().length > 0) return;
      this.traffic.publishLast();
      yield* this.#untilQuiet();
    });
  }

  #untilQuiet(): Effect.Effect<void> {
    const { ledger, traffic } = this;
    return Effect.gen({ self: this }, function* () {
      const isDrained = () => ledger.outstanding === 0 && traffic.inFlight === 0 && traffic.awaited().length === 0;
      for (let seen = -1; seen !== ledger.delivered + ledger.acknowledged;) {
        seen = ledger.delivered + ledger.acknowledged;
        const waitMs = this.#isHopeless() ? HOPELESS_QUIET_MS : QUIET_MS;
        if (yield* until(isDrained, waitMs)) return;
      }
      if (traffic.inFlight > 0) ledger.fault("stalled", `${traffic.inFlight} messages are never acknowledged`);
    });
  }

  /** True when the verdict cannot change any more, and going on would only cost time. */
  #isHopeless(): boolean {
    return this.ledger.faults.size > 0;
  }
}

function lastWords(broker: BrokerProcess): string {
  return broker.lastLines().slice(-3).join("\n");
}

/** Share of starts that are killed while the broker is starting. */
const KILLED_WHILE_STARTING = 0.15;
const START_MS_MAX = 1000;
/** From when messages flow to the kill. */
const LIFE_MS_MIN = 200;
const LIFE_MS_MAX = 2000;
const READY_DEADLINE_MS = 120_000;
const ONLINE_DEADLINE_MS = 30_000;
/** Nothing is taken as lost before this long nothing has come. */
const QUIET_MS = 10_000;
/** The same once a promise is broken anyway. */
const HOPELESS_QUIET_MS = 1000;
