/**
 * Compaction as a service: runs passes of the compactor one at a time, when they are due or asked for, and stands still
 * while somebody needs it to.
 *
 * A pass is done in slices, so short that a client waits no longer for one than for a sync.
 */
import * as Context from "effect/Context";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import type * as Scope from "effect/Scope";
import * as Semaphore from "effect/Semaphore";
import type { Config } from "../config/options/schema.ts";
import { ConfigStore } from "../config/reload.ts";
import { Metrics } from "../metrics/metrics.ts";
import type { StorageCounters } from "../metrics/storage_counters.ts";
import { BrokerClock } from "../system/clock.ts";
import { CheckpointService } from "./checkpoint/checkpoint_service.ts";
import type { CompactionPolicy, CompactionStep, Compactor } from "./compaction/compactor.ts";
import { DiskService } from "./disk/disk_service.ts";
import type { WriteAheadLog } from "./log/write_ahead_log.ts";
import { attemptStorage, type StorageFailed } from "./model/errors.ts";
import { openCompactor } from "./open_store.ts";
import { type StorageHealth, StorageHealthService } from "./storage_health.ts";
import { WriteAheadLogService } from "./write_ahead_log_service.ts";

/** How a pass ended: to its end, or not, because somebody holds `paused`. */
export type PassOutcome = "done" | "paused";

/** Passes of the compactor. A pass that fails is told to the operator, whoever asked for it. */
export class CompactionService extends Context.Service<CompactionService, {
  /** For the store, which tells it of what is retained. */
  readonly compactor: Compactor;
  /** A pass, if one is due and none is under way; called once a second. */
  readonly passWhenDue: Effect.Effect<void>;
  /**
   * A pass now, after the one that is under way; waits for its end. It moves what the options have moved by now. `paused`
   * at once while somebody holds `paused`, which is not waited for.
   */
  readonly compactNow: Effect.Effect<PassOutcome, StorageFailed>;
  /**
   * No pass from here to the end of the scope. One that is under way is given up at its next step, after at most a slice;
   * what it had not finished is done again later. With several holders the last one to leave lets it go on.
   *
   * A holder may rely on this: no segment of the log is emptied or deleted, and nothing is written to the database. Messages
   * are appended as ever, so the log grows. What is in the database at or above its applied LSN belongs to the pass that
   * was given up and does not count; the log has it.
   */
  readonly paused: Effect.Effect<void, never, Scope.Scope>;
}>()("promptmq/storage/CompactionService") {
  static readonly layer = Layer.effect(
    CompactionService,
    Effect.gen(function* () {
      const disk = yield* DiskService;
      const { checkpoint } = yield* CheckpointService;
      const opened = yield* WriteAheadLogService;
      const configStore = yield* ConfigStore;
      const { counters: { storage: counters } } = yield* Metrics;
      const health = yield* StorageHealthService;
      const policy = compactionPolicy(configStore.current());
      const compactor = openCompactor(opened, { disk, checkpoint, counters, compactionPolicy: policy });
      compactor.healed = (segment, firstLsn, endLsn) => health.healed(segment, firstLsn, endLsn);
      yield* configStore.subscribe((config) => void Object.assign(policy, compactionPolicy(config)));
      return makeCompaction({
        compactor,
        log: opened.log,
        counters,
        health,
        checkIntervalMs: () => configStore.current().storage.compaction.checkIntervalMs,
        clock: (yield* BrokerClock).nowMs,
      });
    }),
  );
}

/** What passes are run with. */
export interface CompactionParts {
  readonly compactor: Compactor;
  readonly log: WriteAheadLog;
  readonly counters: StorageCounters;
  readonly health: StorageHealth;
  readonly checkIntervalMs: () => number;
  /** Broker time in milliseconds, as in the log, and for slices too; may have fractions. */
  readonly clock: () => number;
}

/** The service over a compactor; the layer gives it the real parts. */
export function makeCompaction(parts: CompactionParts): CompactionService["Service"] {
  const { compactor, log, checkIntervalMs, clock } = parts;
  const turn = Semaphore.makeUnsafe(1);
  let holders = 0;
  let checkedMs = clock();
  const pass = Effect.suspend(() => holders > 0 ? PAUSED : runPass(parts, () => holders > 0));
  const passWhenDue = Effect.suspend(() => {
    const nowMs = clock();
    const isDue = nowMs - checkedMs >= checkIntervalMs();
    const isWanted = isDue || compactor.isOverSize || compactor.isSpaceShort;
    if (holders > 0 || !isWanted) return Effect.void;
    if (isDue) checkedMs = nowMs;
    return turn.withPermitsIfAvailable(1)(pass).pipe(Effect.catchTag("StorageFailed", () => Effect.void));
  });
  const paused = Effect.acquireRelease(
    Effect.suspend(() => {
      holders++;
      return turn.withPermits(1)(Effect.sync(() => log.deletionGate.hold(0)));
    }),
    (hold) =>
      Effect.sync(() => {
        holders--;
        hold.release();
      }),
  );
  return { compactor, passWhenDue, compactNow: turn.withPermits(1)(pass), paused: Effect.asVoid(paused) };
}

/** One pass, in slices; given up when it should pause. */
function runPass(
  { compactor, counters, health, clock }: CompactionParts,
  shouldPause: () => boolean,
): Effect.Effect<PassOutcome, StorageFailed> {
  const steps = compactor.pass(clock());
  return doInSlices(steps, compactor, clock, shouldPause).pipe(
    Effect.tap((outcome) =>
      Effect.sync(() => {
        if (outcome === "paused") return;
        counters.persistenceOperations.add("compact", "ok");
        health.end("compaction", "compaction works again");
      })
    ),
    Effect.tapError((cause) =>
      Effect.sync(() => {
        counters.persistenceOperations.add("compact", "error");
        health.begin("compaction", "the log cannot be compacted and grows", { error: cause.message });
      })
    ),
    Effect.ensuring(Effect.sync(() => steps.return(undefined))),
  );
}

const doInSlices = Effect.fnUntraced(function* (
  steps: Generator<CompactionStep>,
  compactor: Compactor,
  clock: () => number,
  shouldPause: () => boolean,
) {
  const slice = () => doSlice(steps, clock, compactor.isFarBehind ? SLICE_BEHIND_MS : SLICE_MS);
  while (!(yield* attemptStorage(slice))) {
    yield* Effect.sleep(Duration.millis(REST_MS));
    if (!shouldPause()) continue;
    yield* attemptStorage(() => steps.return(undefined));
    return "paused";
  }
  return "done";
});

/** Does steps for a slice of time; true when there are no more. */
function doSlice(steps: Generator<CompactionStep>, clock: () => number, sliceMs: number): boolean {
  const endMs = clock() + sliceMs;
  do {
    const { done, value } = steps.next();
    if (done === true) return true;
    if (value === "waits") return false;
  } while (clock() < endMs);
  return false;
}

function compactionPolicy({ storage: { compaction } }: Config): CompactionPolicy {
  const { maxMessageAgeMs, maxWalBytes, concurrentWorkers, batchSize } = compaction;
  return { maxMessageAgeMs, maxWalBytes, workers: concurrentWorkers, batchSize };
}

const PAUSED = Effect.succeed<PassOutcome>("paused");
/** Longest stretch of compaction work at a time, but for its last step. */
const SLICE_MS = 0.25;
/** The same when the log grows faster than it is compacted: a full disk would be worse than a delay. */
const SLICE_BEHIND_MS = 5;
const REST_MS = 1;
