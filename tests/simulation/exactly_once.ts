/**
 * Exactly once through power cuts: one seed is one run of a publisher and an online subscriber at QoS 2 over the real
 * broker core and durable store, in mode `immediate`. Every cut takes all that is not synced, bytes and names.
 *
 * What must hold: what the publisher saw acknowledged reaches the application of the subscriber, and nothing reaches it
 * twice. The clients keep their own state by [MQTT-4.3.3]; a message that comes with the Packet Identifier of another is
 * discarded as a client would. What is violated goes into the trace, and the run fails at its end.
 */
import assert from "node:assert/strict";
import { Random } from "../support/random.ts";
import { Qos2Publisher, Qos2Subscriber } from "./exactly_once_clients.ts";
import { Machine, settlePromises } from "./machine.ts";
import { SimulationFailed } from "./simulation.ts";

/** How a run ended. */
export interface ExactlyOnceResult {
  readonly trace: readonly string[];
  readonly cuts: number;
  readonly messages: number;
}

/** Runs one seed; fails with what went wrong, and the trace. */
export async function runExactlyOnce(seed: number, steps: number): Promise<ExactlyOnceResult> {
  const directory = await Deno.makeTempDir({ prefix: "promptmq-simulation-" });
  const run = new Run(seed, directory);
  try {
    await run.start();
    for (let step = 0; step < steps; step++) await run.act();
    await run.drain();
    return { trace: run.trace, cuts: run.cuts, messages: run.publisher.payloads.length };
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    const tail = run.trace.slice(-TRACE_LINES_SHOWN).join("\n");
    throw new SimulationFailed(`exactly once, seed ${seed}: ${problem}\n${tail}`, run.trace, { cause });
  } finally {
    await run.close();
    await Deno.remove(directory, { recursive: true });
  }
}

class Run {
  readonly trace: string[] = [];
  readonly publisher: Qos2Publisher;
  readonly subscriber: Qos2Subscriber;
  cuts = 0;
  /** Acknowledged messages that the application never got. */
  readonly lost: string[] = [];
  readonly #random: Random;
  readonly #machine: Machine;
  readonly #window: number;
  #isHolding = false;
  #isAlive = false;

  constructor(seed: number, directory: string) {
    const random = this.#random = new Random(Math.imul(seed + 1, 0x9e3779b1));
    // The first values of neighbouring seeds are alike.
    for (let i = 0; i < 8; i++) random.below(2);
    const settings = {
      commitPolicy: {
        syncMode: "immediate" as const,
        syncIntervalMs: random.pick([10, 200, 1_000]),
        batchSyncSize: 1,
        forceFsync: false,
        noSync: false,
      },
      compactionPolicy: {
        maxMessageAgeMs: random.pick([2_000, 600_000]),
        maxWalBytes: random.pick([0, 4_096, 65_536]),
        workers: 1,
        batchSize: 10,
      },
      segmentBytes: random.pick([256, 1_024, 16_384]),
      memoryBytes: random.pick([0, 16_777_216]),
      sqlite: { journalMode: "WAL" as const, synchronous: "NORMAL" as const },
      record: random.pick(["acknowledged", "required"] as const),
      inflightMax: random.pick([1, 3, 20]),
      isClockSet: false,
    };
    this.#window = random.pick([1, 4, 10]);
    const note = (line: string) => void this.trace.push(line);
    note(JSON.stringify({ seed, ...settings, window: this.#window }));
    this.#machine = new Machine(settings, EVERYTHING_UNSYNCED_GOES, directory);
    this.publisher = new Qos2Publisher("publisher", 100, this.#machine, note);
    this.subscriber = new Qos2Subscriber("subscriber", random.pick([1, 3, 20]), this.#machine, note);
  }

  /** A Session with a subscription that is safe, before anything can fail. */
  async start(): Promise<void> {
    await this.#machine.start();
    this.#isAlive = true;
    this.subscriber.connect();
    this.publisher.connect();
    await this.#settle();
    await this.#settle();
    assert(this.subscriber.isSubscribed && this.publisher.isOn);
  }

  async act(): Promise<void> {
    const random = this.#random;
    const machine = this.#machine;
    const dice = random.below(1_000);
    if (dice < 350) { for (let count = 1 + random.below(3); count > 0; count--) this.publisher.publish(this.#window); }
    else if (dice < 600) this.subscriber.answer(1 + random.below(4));
    else if (dice < 720) this.#finishSyncs();
    else if (dice < 760) await this.#pass(random.pick([1, 10, 100]));
    else if (dice < 800) this.#compact(1 + random.below(5));
    else if (dice < 840) this.#client().connect();
    else if (dice < 850) this.#client().lose();
    else if (dice < 880) machine.die("power");
    else if (dice < 910) machine.armCrash("power", 1 + random.below(8));
    else machine.endTurns();
    await settlePromises();
    if (!random.oneIn(3)) await this.#settle();
    else if (random.oneIn(2)) this.#client().step();
    for (const client of [this.publisher, this.subscriber]) {
      if (client.isOff && !machine.isDead && random.oneIn(2)) client.connect();
    }
    if (machine.isDead) await this.#restart();
  }

  /** Everybody comes back and says all; then the books are closed. */
  async drain(): Promise<void> {
    const machine = this.#machine;
    this.trace.push("drain");
    machine.disarm();
    machine.disk.releaseSyncs();
    this.publisher.connect();
    this.subscriber.connect();
    for (let idle = 0; idle < IDLE_ROUNDS; idle++) {
      await this.#settle();
      if (this.subscriber.owesAnswers) idle = 0;
      this.subscriber.answer(1_000);
      await this.#pass(1);
    }
    assert(!this.publisher.isBusy, "the publisher waits for acknowledgements");
    const { application } = this.subscriber;
    for (const payload of this.publisher.payloads) if (!application.includes(payload)) this.lost.push(payload);
    this.#assertKept();
  }

  #assertKept(): void {
    const { violations } = this.subscriber;
    const problems = [...violations, ...this.lost.map((payload) => `lost: ${payload} never came`)];
    const counts = `${violations.filter((line) => line.startsWith("twice")).length} twice, ${this.lost.length} lost`;
    assert.equal(problems.length, 0, `of ${this.publisher.payloads.length} messages ${counts}; ${problems[0]}`);
  }

  async close(): Promise<void> {
    if (!this.#isAlive) return;
    this.#machine.die("kill");
    await this.#machine.bury();
  }

  #client(): Qos2Publisher | Qos2Subscriber {
    return this.#random.oneIn(2) ? this.publisher : this.subscriber;
  }

  #finishSyncs(): void {
    const { disk } = this.#machine;
    if (this.#random.oneIn(3)) {
      this.#isHolding = !this.#isHolding;
      this.trace.push(this.#isHolding ? "syncs are held" : "syncs are released");
      if (this.#isHolding) disk.holdSyncs("all");
      else disk.releaseSyncs();
    } else if (disk.heldSyncs.length > 0) {
      this.trace.push("a sync is done");
      disk.finishSync();
    }
  }

  #compact(steps: number): void {
    for (; steps > 0 && !this.#machine.isDead; steps--) if (!this.#machine.compact()) return;
  }

  async #pass(ms: number): Promise<void> {
    const machine = this.#machine;
    this.trace.push(`${ms} ms pass`);
    const endMs = machine.nowMs + ms;
    for (let isOver = false; !isOver && !machine.isDead;) {
      isOver = !machine.tick(endMs);
      if (!isOver) await this.#settle();
    }
  }

  async #settle(): Promise<void> {
    const machine = this.#machine;
    for (let round = 0; !machine.isDead; round++) {
      assert(round < ROUNDS_MAX, "the broker comes to rest");
      let isBusy = machine.hasTurns;
      machine.endTurns();
      await settlePromises();
      for (const client of [this.publisher, this.subscriber]) isBusy = client.step() || isBusy;
      if (!isBusy && !machine.hasTurns) return;
    }
  }

  async #restart(): Promise<void> {
    const machine = this.#machine;
    do {
      this.#isAlive = false;
      this.cuts++;
      this.trace.push(`the power is cut, ${this.subscriber.application.length} messages have arrived`);
      await machine.bury();
      this.publisher.lose();
      this.subscriber.lose();
      this.#isHolding = false;
      const { endLsn, hasLosses } = await machine.start();
      this.#isAlive = true;
      await settlePromises();
      assert(!hasLosses, `a start finds damage at ${endLsn}`);
    } while (machine.isDead);
  }
}

const EVERYTHING_UNSYNCED_GOES = { below: () => 0 };
const ROUNDS_MAX = 10_000;
/** Rounds without anything new after which all is said. */
const IDLE_ROUNDS = 20;
const TRACE_LINES_SHOWN = 60;
