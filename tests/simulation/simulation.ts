/**
 * The simulation: one seed, one trace. A seeded scheduler drives simulated clients, the network, time, the disk, the
 * compactor and the crashes of one broker over its real durable store; `oracle.ts` and `promises.ts` watch every packet.
 *
 *   run        steps of the scheduler's choice; every crash is followed by a restart
 *   drain      faults end, everybody comes back and says all: what is owed must arrive
 *   clear      everybody leaves for good: nothing may be left, now and after another start
 */
import assert from "node:assert/strict";
import type { CommitPolicy } from "../../src/storage/log/group_commit.ts";
import { StorageFailed } from "../../src/storage/model/errors.ts";
import type { SessionChange } from "../../src/storage/model/stored.ts";
import type { Received } from "../broker/packet_text.ts";
import { Random } from "../support/random.ts";
import { type ClientTraits, SimulatedClient } from "./client.ts";
import { Machine, type MachineSettings, settlePromises, type Start } from "./machine.ts";
import { isShared, Oracle } from "./oracle.ts";
import { checkPromise, type Promised, promiseOf, weakerOf } from "./promises.ts";

/** How a run ended. */
export interface RunResult {
  readonly trace: readonly string[];
  readonly crashes: number;
}

/** A run found something wrong. */
export class SimulationFailed extends Error {
  constructor(message: string, readonly trace: readonly string[], options: ErrorOptions) {
    super(message, options);
  }
}

/** What else happens to a run. */
export interface RunOptions {
  /** The wall clock is set now and then, by a choice of its own, so that a seed is otherwise the same run. */
  readonly isClockSet?: boolean;
}

/** Runs one seed; fails with what went wrong, and `seed` and trace in its message. */
export async function simulate(seed: number, steps: number, options: RunOptions = {}): Promise<RunResult> {
  const directory = await Deno.makeTempDir({ prefix: "promptmq-simulation-" });
  const simulation = new Simulation(seed, directory, options);
  try {
    await simulation.run(steps);
    await simulation.drain();
    await simulation.clear();
    return { trace: simulation.trace, crashes: simulation.crashes };
  } catch (cause) {
    const tail = simulation.trace.slice(-TRACE_LINES_SHOWN).join("\n");
    const problem = cause instanceof Error ? cause.message : String(cause);
    const replay = `deno run -A tests/simulation/run.ts --seed ${seed} --steps ${steps}${
      options.isClockSet ? " --clock 1" : ""
    }`;
    throw new SimulationFailed(`seed ${seed}: ${problem}\n${replay}\n${tail}`, simulation.trace, { cause });
  } finally {
    await simulation.close();
    await Deno.remove(directory, { recursive: true });
  }
}

/** See the head of this file. */
class Simulation {
  readonly trace: string[] = [];
  crashes = 0;
  readonly #random: Random;
  readonly #machine: Machine;
  readonly #oracle = new Oracle();
  readonly #clients: SimulatedClient[] = [];
  readonly #policy: CommitPolicy;
  readonly #isLive: boolean;
  #promised: Promised;
  #isNeverSynced = false;
  #isRunning = false;
  #isHolding = false;
  #isPrompt = false;
  /** Decides when the wall clock is set; undefined = never. */
  readonly #clockRandom: Random | undefined;

  constructor(seed: number, directory: string, { isClockSet = false }: RunOptions) {
    const random = this.#random = new Random(Math.imul(seed + 1, 0x9e3779b1));
    // The first values of neighbouring seeds are alike.
    for (let i = 0; i < 8; i++) random.below(2);
    this.#policy = pickPolicy(random);
    this.#isLive = random.oneIn(4);
    this.#promised = promiseOf(this.#policy);
    this.#noteNoSync();
    const settings: MachineSettings = {
      commitPolicy: this.#policy,
      compactionPolicy: {
        maxMessageAgeMs: random.pick([2_000, 600_000]),
        maxWalBytes: random.pick([0, 4_096, 16_384, 65_536]),
        workers: 1 + random.below(3),
        batchSize: random.pick([1, 10, 1_000]),
      },
      segmentBytes: random.pick([256, 1_024, 4_096, 16_384]),
      memoryBytes: random.pick([0, 65_536, 16_777_216]),
      sqlite: { journalMode: random.pick(["WAL", "WAL", "DELETE"]), synchronous: random.pick(["NORMAL", "FULL"]) },
      record: random.pick(["acknowledged", "acknowledged", "required"]),
      inflightMax: random.pick([1, 3, 20]),
      isClockSet,
    };
    this.#clockRandom = isClockSet ? new Random(Math.imul(seed + 1, 0x85ebca6b)) : undefined;
    this.#line(JSON.stringify({ seed, ...settings, isLive: this.#isLive }));
    this.#machine = new Machine(settings, random, directory);
    this.#oracle.nowMs = () => this.#machine.nowMs;
    for (const traits of pickClients(random)) {
      this.#clients.push(
        new SimulatedClient(traits, {
          machine: this.#machine,
          oracle: this.#oracle,
          trace: (line) => this.#line(line),
          whenWritten: (client, packet) => this.#written(client, packet),
        }),
      );
    }
  }

  // Run.

  async run(steps: number): Promise<void> {
    if (this.#clockRandom !== undefined) this.#setClock();
    await this.#start();
    for (let step = 0; step < steps; step++) {
      if (this.#clockRandom?.oneIn(25)) this.#setClock();
      await this.#act();
      await settlePromises();
      if (!this.#random.oneIn(3)) await this.#settle();
      await this.#lookAround();
    }
  }

  async #act(): Promise<void> {
    const random = this.#random;
    const machine = this.#machine;
    const dice = random.below(1_000);
    const client = random.pick(this.#clients);
    if (dice < 330) this.#actClient(client);
    else if (dice < 500) client.acknowledge(1 + random.below(5));
    else if (dice < 560) machine.endTurns();
    else if (dice < 640) this.#stepLink(client);
    else if (dice < 760) this.#finishSyncs();
    else if (dice < 830) await this.#pass(random.pick([1, 10, 100, 1_000, 5_000]));
    else if (dice < 930) this.#compact(1 + random.below(12));
    else if (dice < 945) this.#changePolicy();
    else if (dice < 965) this.#trouble();
    else if (dice < 980) {
      const kind = random.pick(["kill", "power"] as const);
      this.#line(`crash: ${kind}`);
      machine.die(this.#possible(kind));
    } else if (dice < 992) {
      const kind = random.pick(["kill", "power"] as const);
      const operations = 1 + random.below(random.pick([3, 30]));
      this.#line(`crash: ${kind} after ${operations} operations`);
      machine.armCrash(this.#possible(kind), operations);
    } else {
      this.#line("sweep");
      while (!machine.isDead && this.#compact(1));
    }
  }

  #setClock(): void {
    const { hostClock } = this.#machine;
    hostClock.set(this.#clockRandom!);
    this.#line(`the wall clock is set, it is ${hostClock.skewMs} ms from the time`);
  }

  #actClient(client: SimulatedClient): void {
    const random = this.#random;
    if (client.phase === "off") {
      if (random.below(3) > 0) this.#connect(client);
      return;
    }
    if (random.oneIn(14)) return client.lose(random.oneIn(3) ? "unnoticed" : "noticed");
    if (client.phase !== "on") return;
    const dice = random.below(100);
    if (dice < 3) client.disconnect();
    else if (dice < 6) client.link!.isStalled = !client.link!.isStalled;
    else if (dice < 18) this.#subscribe(client);
    else if (dice < 21) this.#unsubscribe(client);
    else {
      for (let count = 1 + random.below(4); count > 0 && client.outgoing.size < WINDOW; count--) this.#publish(client);
    }
  }

  #connect(client: SimulatedClient): void {
    const random = this.#random;
    const clean = !client.isDurable || random.oneIn(15);
    if (!random.oneIn(4)) return client.connect({ clean });
    client.connect({ clean, will: { delaySeconds: random.pick([0, 0, 2, 20]), qos: random.pick([1, 2]) } });
  }

  #publish(client: SimulatedClient): void {
    const random = this.#random;
    const kind = random.below(10);
    const qos = random.pick([1, 2, 2, 1, 0] as const);
    // One publisher per retained topic, so that there is a last message.
    const topic = kind < 6 ? `t/${random.below(3)}` : kind < 8 ? `s/${random.below(2)}` : `r/${client.traits.clientId}`;
    const isRetained = kind >= 8;
    const padding = random.pick([0, 10, 60, 300, random.below(3_000)]);
    client.publish(topic, isRetained && qos === 0 ? 1 : qos, isRetained, padding, random.oneIn(3));
  }

  #subscribe(client: SimulatedClient): void {
    const random = this.#random;
    const filters = new Set<string>();
    for (let count = 1 + random.below(2); count > 0; count--) filters.add(random.pick(FILTERS));
    const identifier = client.isV5 && random.oneIn(2) ? 1 + random.below(5) : 0;
    client.subscribe([...filters].map((filter) => ({
      filter,
      qos: random.pick([1, 2, 2]),
      noLocal: client.isV5 && !isShared(filter) && random.oneIn(6),
      retainAsPublished: client.isV5 && random.oneIn(6),
      identifier,
    })));
  }

  #unsubscribe(client: SimulatedClient): void {
    const filters = [...client.session.subscriptions.keys()];
    if (filters.length > 0) client.unsubscribe(this.#random.pick(filters));
  }

  #stepLink(client: SimulatedClient): void {
    client.step();
  }

  #finishSyncs(): void {
    const { disk } = this.#machine;
    if (this.#random.oneIn(4)) {
      this.#isHolding = !this.#isHolding;
      this.#line(this.#isHolding ? "syncs are held" : "syncs are released");
      if (this.#isHolding) disk.holdSyncs("all");
      else disk.releaseSyncs();
    } else if (disk.heldSyncs.length > 0) {
      this.#line("a sync is done");
      disk.finishSync();
    }
  }

  #compact(steps: number): boolean {
    const machine = this.#machine;
    try {
      for (; steps > 0 && !machine.isDead; steps--) {
        if (!machine.compact()) return false;
      }
    } catch (failure) {
      if (!(failure instanceof StorageFailed)) throw failure;
      this.#line(`compaction failed: ${failure.reason}`);
      machine.abandonPass();
      return false;
    }
    return true;
  }

  #changePolicy(): void {
    if (!this.#isLive) return;
    Object.assign(this.#policy, pickPolicy(this.#random));
    this.#promised = weakerOf(this.#promised, promiseOf(this.#policy));
    this.#noteNoSync();
    if (this.#isNeverSynced) {
      this.#machine.disk.heal();
      this.#machine.doomedSyncs = 0;
    }
    this.#line(`policy ${JSON.stringify(this.#policy)}`);
    this.#machine.process.opened.group.policyChanged();
  }

  #trouble(): void {
    const { disk } = this.#machine;
    const random = this.#random;
    // A log that is never synced would lose what nobody promised to keep.
    if (this.#isNeverSynced) return;
    if (random.oneIn(3)) {
      this.#line("a sync will fail");
      this.#machine.doomedSyncs++;
      disk.fail(random.pick(["sync", "sync", "syncDirectory"]), 1 + random.below(3), "io");
    } else if (random.oneIn(2)) {
      this.#line("a write will fail");
      disk.failWrite(1 + random.below(3), random.pick(["io", "no_space"]));
    } else {
      const isFull = disk.capacityBytes < PLENTY;
      this.#line(isFull ? "space" : "no space");
      disk.capacityBytes = isFull ? PLENTY : disk.usedBytes() + random.below(2_000);
    }
  }

  #noteNoSync(): void {
    this.#isNeverSynced ||= this.#policy.noSync && !this.#policy.forceFsync;
  }

  /** Lets time pass. */
  async #pass(ms: number): Promise<void> {
    const machine = this.#machine;
    this.#line(`${ms} ms pass`);
    const endMs = machine.nowMs + ms;
    for (let isOver = false; !isOver && !machine.isDead;) {
      isOver = !machine.tick(endMs);
      for (const client of this.#clients) client.notePassing();
      if (!isOver) await this.#settle();
    }
  }

  /** Ends turns and lets the network take bytes until nothing is left to do now. */
  async #settle(): Promise<void> {
    const machine = this.#machine;
    for (let round = 0; !machine.isDead; round++) {
      assert(round < ROUNDS_MAX, "the broker comes to rest");
      let isBusy = machine.hasTurns;
      machine.endTurns();
      await settlePromises();
      for (const client of this.#clients) {
        if (this.#isPrompt) client.acknowledge(1_000);
        isBusy = client.step() || isBusy;
      }
      if (!isBusy && !machine.hasTurns) return;
    }
  }

  #written(client: SimulatedClient, packet: Received): void {
    this.#line(`-> ${client.traits.clientId} ${packet.cmd} #${packet.messageId ?? ""}`);
    checkPromise(this.#machine, this.#promised, client, packet);
    if (packet.cmd === "publish") this.#oracle.written(client.session, packet);
  }

  // Crashes.

  /** Nobody promises anything of a power cut to a log that is never synced. */
  #possible(kind: "kill" | "power"): "kill" | "power" {
    return this.#isNeverSynced ? "kill" : kind;
  }

  /** Looks whether the broker lives, and what its gauges say. */
  async #lookAround(): Promise<void> {
    const machine = this.#machine;
    if (machine.fatal !== undefined && !machine.isDead) {
      this.#line(`the broker gives up: ${machine.fatal.reason}`);
      machine.die("kill");
    }
    if (machine.isDead) return await this.#restart();
    const { core, counters } = machine.process;
    let inflight = 0;
    let queued = 0;
    for (const session of core.sessions.sessions.values()) {
      inflight += session.outbox.inflightCount;
      queued += session.outbox.queuedCount;
    }
    assert.deepEqual([counters.messagesInflight, counters.messagesQueued], [inflight, queued], "gauges");
  }

  async #start(): Promise<void> {
    await this.#machine.start();
    this.#isRunning = true;
    await settlePromises();
    if (this.#machine.isDead) await this.#restart();
  }

  async #restart(): Promise<void> {
    const machine = this.#machine;
    this.crashes++;
    let hadPower = true;
    let start: Start | undefined;
    while (start === undefined) {
      this.#isRunning = false;
      const kind = await machine.bury();
      if (kind === "power") hadPower = false;
      this.#line(`restart after ${kind}`);
      for (const client of this.#clients) client.crashed();
      this.#isHolding = false;
      if (this.#clockRandom !== undefined) machine.hostClock.setWhileOff(this.#clockRandom);
      if (this.#random.oneIn(4)) {
        machine.armCrash(this.#possible(this.#random.pick(["kill", "power"])), 1 + this.#random.below(8));
      }
      start = await this.#tryStart();
    }
    if (this.#random.below(2) === 0) machine.disarm();
    this.#settleAccounts(start, hadPower ? "kill" : "power");
    this.#promised = promiseOf(this.#policy);
  }

  async #tryStart(): Promise<Start | undefined> {
    const machine = this.#machine;
    try {
      const start = await machine.start();
      this.#isRunning = true;
      await settlePromises();
      return machine.isDead ? undefined : start;
    } catch (failure) {
      if (!(failure instanceof StorageFailed) || !failure.isRetryable) throw failure;
      this.#line(`no start: ${failure.reason}`);
      machine.disk.capacityBytes = PLENTY;
      machine.die("kill");
      return undefined;
    }
  }

  /** Compares what is left with what was promised. */
  #settleAccounts({ endLsn, hasLosses }: Start, kind: "kill" | "power"): void {
    const oracle = this.#oracle;
    const { ledger } = this.#machine;
    this.#line(`the log goes up to ${endLsn}`);
    const mayLose = kind === "power" && this.#promised.kind !== "synced";
    const damage = JSON.stringify(this.#machine.process.opened.report.losses);
    assert(mayLose || !hasLosses, `a start finds damage at ${endLsn} that no crash may leave: ${damage}`);
    const acknowledged = [...oracle.publications.values()].filter(({ isAcknowledged, payload }) =>
      isAcknowledged && !ledger.isVolatile(payload)
    );
    for (const publication of acknowledged) {
      const { payload } = publication;
      if (ledger.copies.has(payload)) continue;
      assert(mayLose, `acknowledged and lost: ${payload.slice(0, 24)}`);
      publication.isAcknowledged = false;
      for (const session of oracle.sessions) session.owed.delete(payload);
      oracle.groupOwed.delete(payload);
    }
    const { wasFailing } = this.#machine;
    const { lostProgress, lostChanges } = ledger;
    this.#machine.wasFailing = false;
    ledger.lostProgress = [];
    ledger.lostChanges = [];
    for (const change of lostChanges) if (change.kind === "will-over") this.#mayLeaveWill(change.clientId);
    if (kind === "kill" && !wasFailing) return;
    for (const { clientId, payload } of lostProgress) this.#mayRepeat(clientId, payload);
    for (const client of this.#clients) client.session.inboundQos1.clear();
    for (const change of lostChanges) this.#changeLost(change, mayLose);
  }

  /** That a Will Message was taken back is gone from the log, or never came there. */
  #mayLeaveWill(clientId: string): void {
    for (const client of this.#clients) {
      if (client.traits.clientId !== clientId) continue;
      for (const will of client.wills) if (will.state === "cancelled") will.state = "unknown";
    }
  }

  /** The record of how far a delivery was is gone. */
  #mayRepeat(clientId: string | undefined, payload: string): void {
    const group = this.#oracle.groupReceipts.get(payload);
    if (group !== undefined) group.mayRepeat = true;
    // Of what is lost then the client had seen nothing yet, or only has to hear PUBREL again.
    if (this.#promised.kind === "synced") return;
    for (const client of this.#clients) {
      if (client.traits.clientId !== clientId) continue;
      client.session.receiptOf(payload).mayRepeat = true;
      for (const [packetId, known] of client.session.inboundQos2) {
        if (known === payload) client.session.inboundQos2.delete(packetId);
      }
    }
  }

  #changeLost(change: SessionChange, mayLose: boolean): void {
    const { ledger } = this.#machine;
    const clientId = "clientId" in change ? change.clientId : ledger.clientIds.get(change.session);
    const client = this.#clients.find(({ traits }) => traits.clientId === clientId);
    if (client === undefined) return;
    for (const will of client.wills) will.state = "unknown";
    const { session } = client;
    if (change.kind === "subscribe") {
      const known = session.subscriptions.get(change.subscription.filter);
      if (known !== undefined && mayLose) known.acknowledgedAt = undefined;
    }
    if ((change.kind === "open" || change.kind === "end") && mayLose) {
      this.#oracle.mayEnd(session);
      session.subscriptions.clear();
      session.lastNumbers.clear();
      client.mayBeEarlier();
    }
  }

  // Drain and clear.

  async drain(): Promise<void> {
    this.#line("drain");
    const machine = this.#machine;
    machine.disarm();
    this.#isPrompt = true;
    for (let round = 0; round < DRAIN_ROUNDS; round++) {
      machine.disk.heal();
      machine.disk.capacityBytes = PLENTY;
      machine.disk.releaseSyncs();
      this.#isHolding = false;
      await settlePromises();
      await this.#lookAround();
      machine.disarm();
      for (const client of this.#clients) {
        // A v3 message that was refused is only sent again on another connection.
        if (client.phase !== "off" && (round === 0 || client.outgoing.size > 0)) client.lose();
        if (client.phase === "off") client.connect({ clean: false });
      }
      await this.#settle();
      await this.#pass(2_000);
      while (!machine.isDead && this.#compact(1));
      await this.#settle();
    }
    await this.#lookAround();
    this.#assertNothingOwed();
    await this.#checkRetained();
  }

  #assertNothingOwed(): void {
    const missing: string[] = [];
    for (const { clientId, owed } of this.#oracle.sessions) {
      for (const payload of owed.keys()) missing.push(`${clientId} did not get ${payload.slice(0, 24)}`);
    }
    for (const payload of this.#oracle.groupOwed.keys()) missing.push(`the group did not get ${payload.slice(0, 24)}`);
    for (const { traits, outgoing, acknowledgements } of this.#clients) {
      if (outgoing.size > 0) missing.push(`${traits.clientId} waits for ${outgoing.size} acknowledgements`);
      if (acknowledgements.length > 0) missing.push(`${traits.clientId} owes ${acknowledgements.length}`);
    }
    assert.deepEqual(missing, []);
    for (const client of this.#clients) {
      for (const will of client.wills) this.#checkWill(will);
    }
  }

  #checkWill({ publication: { payload }, state, dueMs }: SimulatedClient["wills"][number]): void {
    const { ledger, hostClock } = this.#machine;
    const nowMs = this.#machine.nowMs - hostClock.behindMs;
    const copies = ledger.copies.get(payload)?.length ?? 0;
    assert(copies <= 1, `${payload} was published ${copies} times`);
    if (state === "cancelled") assert.equal(copies, 0, `${payload} was published although it was taken back`);
    if (ledger.isVolatile(payload)) return;
    if (state === "ended" && dueMs < nowMs - 1_000 && !ledger.refused.has(payload)) {
      assert.equal(copies, 1, `${payload} was not published`);
    }
  }

  /** Retained is the last acknowledged message of a topic, or a later one. */
  async #checkRetained(): Promise<void> {
    const { ledger } = this.#machine;
    const reader = new SimulatedClient(
      { clientId: "reader", version: 5, expirySeconds: 0, receiveMaximum: 1_000 },
      {
        machine: this.#machine,
        oracle: this.#oracle,
        trace: (line) => this.#line(line),
        whenWritten: (client, packet) => {
          this.#written(client, packet);
          if (packet.cmd === "publish") retained.set(packet.topic!, String(packet.payload));
        },
      },
    );
    const retained = new Map<string, string>();
    this.#clients.push(reader);
    reader.connect({ clean: true });
    await this.#settle();
    reader.subscribe([{ filter: "r/#", qos: 2, noLocal: false, retainAsPublished: false, identifier: 0 }]);
    await this.#settle();
    const least = new Map<string, number>();
    for (const { payload, topic, retain, isAcknowledged } of this.#oracle.publications.values()) {
      const positions = ledger.copies.get(payload);
      if (!retain || !isAcknowledged || positions === undefined) continue;
      least.set(topic, Math.max(least.get(topic) ?? 0, positions[0]!));
    }
    for (const [topic, position] of least) {
      const last = this.#lastPositionOf(retained.get(topic));
      assert(last >= position, `retained for ${topic} is the message at ${last}, one at ${position} was acknowledged`);
    }
  }

  #lastPositionOf(payload: string | undefined): number {
    if (payload === undefined) return 0;
    // One that the model gave up for lost, as it stands behind damage, may be there.
    return this.#machine.ledger.copies.get(payload)?.at(-1) ?? Infinity;
  }

  async clear(): Promise<void> {
    this.#line("clear");
    const machine = this.#machine;
    const cleaner = this.#clients.at(-1)!;
    for (const topic of new Set([...this.#oracle.publications.values()].map(({ topic }) => topic))) {
      if (topic.startsWith("r/")) cleaner.clearRetained(topic);
    }
    await this.#settle();
    for (const client of this.#clients) {
      client.lose();
      await this.#settle();
      // Clean Start ends what was, and what comes in its place ends with its connection.
      const last = new SimulatedClient({ ...client.traits, expirySeconds: 0 }, {
        machine,
        oracle: this.#oracle,
        trace: (line) => this.#line(line),
        whenWritten: () => {},
      });
      last.connect({ clean: true });
      await this.#settle();
      while (last.step()) await this.#settle();
      last.disconnect();
      await this.#settle();
    }
    await this.#pass(30_000);
    this.#assertNothingLeft();
    while (this.#compact(1));
    await machine.stop();
    this.#isRunning = false;
    await machine.start();
    this.#isRunning = true;
    this.#assertNothingLeft();
  }

  #assertNothingLeft(): void {
    const { core, counters, opened } = this.#machine.process;
    const left = {
      sessions: core.sessions.sessions.size,
      inflight: counters.messagesInflight,
      queued: counters.messagesQueued,
      subscriptions: counters.subscriptions,
      retained: counters.retainedMessages,
      connections: counters.connectionsCurrent,
      references: opened.log.references.total,
    };
    assert.deepEqual(Object.entries(left).filter(([, count]) => count !== 0), []);
  }

  async close(): Promise<void> {
    if (!this.#isRunning) return;
    this.#machine.die("kill");
    await this.#machine.bury();
  }

  #line(line: string): void {
    this.trace.push(line);
  }
}

function pickPolicy(random: Random): CommitPolicy {
  return {
    syncMode: random.pick(["immediate", "immediate", "immediate", "batch", "periodic"]),
    syncIntervalMs: random.pick([10, 200, 1_000]),
    batchSyncSize: random.pick([1, 5, 50]),
    forceFsync: random.oneIn(12),
    noSync: random.oneIn(12),
  };
}

function pickClients(random: Random): ClientTraits[] {
  const clients: ClientTraits[] = [];
  const count = 3 + random.below(4);
  for (let i = 0; i < count; i++) {
    const version = random.pick([4, 5, 5] as const);
    // The first ones are durable, so that there is something to promise.
    const isDurable = i < 2 || random.oneIn(2);
    const expirySeconds = !isDurable ? 0 : version === 4 ? FOR_EVER : random.pick([FOR_EVER, 100_000, 100_000, 6]);
    clients.push({
      clientId: `c${i}`,
      version,
      expirySeconds,
      receiveMaximum: version === 4 ? 65_535 : random.pick([1, 4, 100]),
    });
  }
  return clients;
}

const FILTERS = ["t/#", "t/0", "t/+", "r/#", "$share/g/s/#", "w/#"];
const FOR_EVER = 0xffff_ffff;
const PLENTY = 2 ** 40;
/** Most messages a client has on the way. */
const WINDOW = 8;
const ROUNDS_MAX = 10_000;
const DRAIN_ROUNDS = 4;
const TRACE_LINES_SHOWN = 60;
