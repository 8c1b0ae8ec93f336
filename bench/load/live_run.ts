/**
 * Modes `live` and `ingest`: connects everyone, runs the closed loop, drains it, and checks every ledger.
 *
 * Publisher i publishes to `prefix/(i % topics)`. Subscriber j subscribes `prefix/(j % topics)`, or `prefix/#` with
 * --wildcard, or `$share/load/prefix/#` with --shared. The prefix is new in every run, so that no retained message and
 * no session of an earlier run can mix in.
 *
 * Timeline with --seconds: connect, warm-up, measured part, publishers stop, drain, one ping per subscriber. With
 * --count the measured part is everything from the first message to the last delivery and acknowledgement.
 */

import process from "node:process";
import { connectClient, openAll, subscribeClient } from "./handshake.ts";
import { LatencyHistogram, type LatencySummary } from "./latency.ts";
import type { LoadOptions } from "./options.ts";
import { Pacer } from "./pacer.ts";
import { readCpuSeconds } from "./process_stats.ts";
import { Publisher } from "./publisher.ts";
import type { LoadReport } from "./report.ts";
import { Subscriber } from "./subscriber.ts";
import { addFaults, type DeliveryLedger, OrderedLedger, SharedLedger } from "./verify.ts";

/** Connections opened at the same time during set-up. */
const SET_UP_CONCURRENCY = 50;
const PING_INTERVAL_MS = 20_000;
const WATCH_INTERVAL_MS = 250;

/**
 * Lists, for each subscriber, whether each publisher's messages must come to it.
 *
 * @returns `routes[subscriber][publisher]`; with --shared one row for the whole group.
 */
export function planRoutes(options: LoadOptions): boolean[][] {
  const reachesAll = options.wildcard || options.shared;
  const rows = options.shared ? Math.min(1, options.subs) : options.subs;
  return Array.from(
    { length: rows },
    (_, subscriber) =>
      Array.from(
        { length: options.pubs },
        (_, publisher) => reachesAll || publisher % options.topics === subscriber % options.topics,
      ),
  );
}

/**
 * Runs one load against a broker on 127.0.0.1.
 *
 * @returns The report; a run that stalls or loses a connection is reported with `error`, not thrown.
 * @throws HandshakeError or Deno's network errors when the set-up fails.
 */
export async function runLive(options: LoadOptions): Promise<LoadReport> {
  const run = new LiveRun(options);
  try {
    await run.connect();
    await run.drive();
    return run.report();
  } finally {
    run.close();
  }
}

/** Counters at one moment. */
interface Snapshot {
  readonly atMs: number;
  readonly sent: number;
  readonly received: number;
  readonly acked: number;
  readonly cpuSeconds: number;
  readonly brokerCpuSeconds: number | undefined;
}

class LiveRun {
  readonly #options: LoadOptions;
  readonly #routes: boolean[][];
  readonly #ledgers: DeliveryLedger[];
  readonly #latency = new LatencyHistogram();
  readonly #publishers: Publisher[] = [];
  readonly #subscribers: Subscriber[] = [];
  readonly #pacer: Pacer;
  readonly #ended = Promise.withResolvers<void>();
  #begin: Snapshot | undefined;
  #end: Snapshot | undefined;
  #latencyAtEnd: LatencySummary | undefined;
  #error: string | null = null;
  #isSettling = false;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#routes = planRoutes(options);
    this.#ledgers = this.#routes.map(() =>
      options.shared ? new SharedLedger(options.pubs) : new OrderedLedger(options.pubs)
    );
    const fanOut = Array.from(
      { length: options.pubs },
      (_, publisher) => this.#routes.filter((row) => row[publisher]).length,
    );
    this.#pacer = new Pacer(options.window, this.#publishers, fanOut);
  }

  /** Connects and subscribes the subscribers, then connects the publishers, and starts all read loops. */
  async connect(): Promise<void> {
    const { options, prefix } = { options: this.#options, prefix: `load${crypto.randomUUID().slice(0, 8)}` };
    const listener = { handleLost: (reason: string) => this.#fail(reason), handleProgress: () => this.#checkEnd() };
    await openAll(options.subs, SET_UP_CONCURRENCY, async (index) => {
      const connection = await connectClient(options, `${prefix}s${index}`);
      const ledger = this.#ledgers[options.shared ? 0 : index]!;
      await subscribeClient(connection, options.version, filterOf(options, prefix, index), options.qos);
      this.#subscribers.push(
        new Subscriber(connection, options.version, this.#pacer, ledger, this.#latency, listener),
      );
    });
    const connections = await openAll(
      options.pubs,
      SET_UP_CONCURRENCY,
      (index) => connectClient(options, `${prefix}p${index}`),
    );
    for (const [publisher, connection] of connections.entries()) {
      const shape = {
        ...options,
        topic: `${prefix}/${publisher % options.topics}`,
        payloadBytes: options.size,
        publisher,
      };
      const ackLatency = options.subs === 0 ? this.#latency : undefined;
      const messagesMax = messagesOf(options, publisher);
      this.#publishers.push(
        new Publisher(connection, { ...shape, messagesMax, ackLatency }, this.#pacer, listener),
      );
    }
    for (const client of this.#clients()) void client.link.run();
  }

  /** Sends, measures and drains; resolves when everything due has come, or the run has failed. */
  async drive(): Promise<void> {
    const { count, warmup, seconds } = this.#options;
    const timers = [
      setInterval(() => this.#clients().forEach((client) => client.ping()), PING_INTERVAL_MS),
      this.#watchForStall(),
    ];
    if (count > 0) {
      this.#beginMeasuring();
    } else {
      timers.push(setTimeout(() => this.#beginMeasuring(), warmup * 1000));
      timers.push(setTimeout(() => this.#stopSending(), (warmup + seconds) * 1000));
    }
    for (const publisher of this.#publishers) publisher.pump();
    await this.#ended.promise;
    for (const timer of timers) clearTimeout(timer);
    this.#endMeasuring();
  }

  /** Computes the report; call after `drive`. */
  report(): LoadReport {
    const begin = this.#begin ?? this.#end!;
    const end = this.#end!;
    const secs = Math.max((end.atMs - begin.atMs) / 1000, 1e-9);
    const sentPerPublisher = this.#publishers.map((publisher) => publisher.sent);
    const faults = addFaults(
      this.#ledgers.map((ledger, row) =>
        ledger.summarize(sentPerPublisher.map((sent, publisher) => (this.#routes[row]![publisher] ? sent : 0)))
      ),
    );
    const malformed = this.#subscribers.reduce((sum, subscriber) => sum + subscriber.malformed, 0);
    return {
      mode: this.#options.mode,
      sent: this.#sent(),
      recv: this.#pacer.received + faults.dups,
      expected: this.#expected(),
      acked: this.#acked(),
      refused: this.#publishers.reduce((sum, publisher) => sum + publisher.refused, 0),
      ...faults,
      secs,
      pub_per_s: (end.sent - begin.sent) / secs,
      recv_per_s: (end.received - begin.received) / secs,
      ack_per_s: (end.acked - begin.acked) / secs,
      conn_per_s: 0,
      load_cpu: (end.cpuSeconds - begin.cpuSeconds) / secs,
      broker_cpu: begin.brokerCpuSeconds === undefined || end.brokerCpuSeconds === undefined
        ? null
        : (end.brokerCpuSeconds - begin.brokerCpuSeconds) / secs,
      lat_us: this.#latencyAtEnd!,
      error: this.#error ?? (malformed > 0 ? `${malformed} malformed packets` : null),
    };
  }

  /** Closes every connection. */
  close(): void {
    for (const client of this.#clients()) client.link.close();
  }

  #clients(): (Publisher | Subscriber)[] {
    return [...this.#subscribers, ...this.#publishers];
  }

  #sent(): number {
    return this.#publishers.reduce((sum, publisher) => sum + publisher.sent, 0);
  }

  #acked(): number {
    return this.#publishers.reduce((sum, publisher) => sum + publisher.acked, 0);
  }

  #expected(): number {
    let expected = 0;
    for (const row of this.#routes) {
      for (const [publisher, isRouted] of row.entries()) if (isRouted) expected += this.#publishers[publisher]!.sent;
    }
    return expected;
  }

  #snapshot(): Snapshot {
    const { user, system } = process.cpuUsage();
    const { watchPid } = this.#options;
    return {
      atMs: performance.now(),
      sent: this.#sent(),
      received: this.#pacer.received,
      acked: this.#acked(),
      cpuSeconds: (user + system) / 1e6,
      brokerCpuSeconds: watchPid > 0 ? readCpuSeconds(watchPid) : undefined,
    };
  }

  #beginMeasuring(): void {
    this.#latency.reset();
    this.#begin = this.#snapshot();
  }

  #endMeasuring(): void {
    if (this.#end !== undefined) return;
    this.#end = this.#snapshot();
    this.#latencyAtEnd = this.#latency.summarize();
  }

  #stopSending(): void {
    this.#endMeasuring();
    this.#pacer.stopped = true;
    this.#checkEnd();
  }

  /**
   * Ends the run when nothing is under way any more; cheap until the publishers have stopped.
   *
   * When everything due has come, one PINGREQ per subscriber brings out what may still be queued behind it, so that a
   * second copy of the last message is seen, too.
   */
  #checkEnd(): void {
    if (!this.#pacer.stopped && this.#options.count === 0) return;
    for (const publisher of this.#publishers) if (!publisher.isDone) return;
    if (this.#pacer.received < this.#expected()) return;
    if (!this.#isSettling) {
      this.#isSettling = true;
      this.#endMeasuring();
      for (const subscriber of this.#subscribers) subscriber.ping();
    }
    if (this.#subscribers.every((subscriber) => subscriber.pingsDue === 0)) this.#ended.resolve();
  }

  #fail(reason: string): void {
    this.#error ??= reason;
    this.#ended.resolve();
  }

  /** Gives up when no delivery and no acknowledgement came for the timeout. */
  #watchForStall(): ReturnType<typeof setInterval> {
    let seen = -1;
    let sinceMs = performance.now();
    return setInterval(() => {
      const progress = this.#pacer.received + this.#acked();
      const nowMs = performance.now();
      if (progress !== seen) sinceMs = nowMs;
      seen = progress;
      if (nowMs - sinceMs > this.#options.timeout * 1000) this.#fail(`no progress for ${this.#options.timeout} s`);
    }, WATCH_INTERVAL_MS);
  }
}

function filterOf(options: LoadOptions, prefix: string, subscriber: number): string {
  if (options.shared) return `$share/load/${prefix}/#`;
  return options.wildcard ? `${prefix}/#` : `${prefix}/${subscriber % options.topics}`;
}

/** Splits --count evenly; the first publishers take the rest. */
function messagesOf(options: LoadOptions, publisher: number): number {
  if (options.count === 0) return Infinity;
  return Math.floor(options.count / options.pubs) + (publisher < options.count % options.pubs ? 1 : 0);
}
