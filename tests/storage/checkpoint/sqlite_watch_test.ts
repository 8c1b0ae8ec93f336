/**
 * What is measured of SQLite on a real file: each transaction once, with all of its steps; each failure; each operation.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { StorageCounters } from "../../../src/metrics/storage_counters.ts";
import { Checkpoint } from "../../../src/storage/checkpoint/checkpoint.ts";
import { SqliteWatch } from "../../../src/storage/checkpoint/sqlite_watch.ts";
import { emptyState } from "../../../src/storage/model/durable_state.ts";
import type { StorageFailed } from "../../../src/storage/model/errors.ts";
import { SETTINGS } from "../store_rig.ts";

interface Subject {
  readonly counters: StorageCounters;
  readonly checkpoint: Checkpoint;
  readonly path: string;
  /** Time passes between two steps. */
  pass(ms: number): void;
}

/** @param msPerLook How far the clock moves whenever it is read: what every measured step takes. */
function watchTest(title: string, msPerLook: number, run: (subject: Subject) => void): void {
  Deno.test(title, () => {
    const directory = Deno.makeTempDirSync({ prefix: "promptmq-watch-" });
    let nowMs = 0;
    const counters = new StorageCounters();
    const path = `${directory}/promptmq.db`;
    const checkpoint = Checkpoint.open(path, SETTINGS, new SqliteWatch(counters, () => nowMs += msPerLook));
    try {
      run({ counters, checkpoint, path, pass: (ms) => void (nowMs += ms) });
    } finally {
      checkpoint.close();
      Deno.removeSync(directory, { recursive: true });
    }
  });
}

watchTest("every transaction is observed once, with the time it took", 3, ({ counters, checkpoint }) => {
  const latency = counters.sqliteWriteLatencyMicroseconds;
  assert.equal(latency.count, 0);
  checkpoint.apply(emptyState(), [], 64, 1);
  assert.deepEqual([latency.count, latency.sum], [1, 3_000]);
  checkpoint.discardFrom(64);
  assert.deepEqual([latency.count, latency.sum], [2, 6_000]);
});

watchTest("a transaction in several steps counts what its steps took, and nothing in between", 1, (subject) => {
  const { counters, checkpoint, pass } = subject;
  const latency = counters.sqliteWriteLatencyMicroseconds;
  checkpoint.begin();
  pass(1_000);
  checkpoint.addMessages([], []);
  pass(1_000);
  checkpoint.addMessages([], []);
  assert.equal(latency.count, 0);
  checkpoint.commit();
  assert.deepEqual([latency.count, latency.sum], [1, 4_000]);
});

watchTest(
  "a transaction that is taken back is not observed, nor its time in the next",
  1,
  ({ counters, checkpoint }) => {
    checkpoint.begin();
    checkpoint.addMessages([], []);
    checkpoint.rollback();
    assert.equal(counters.sqliteWriteLatencyMicroseconds.count, 0);
    assert.equal(counters.sqliteWriteErrors, 0);
    checkpoint.apply(emptyState(), [], 64, 1);
    assert.equal(counters.sqliteWriteLatencyMicroseconds.sum, 1_000);
  },
);

watchTest("a write that fails is an error, and is not observed", 1, ({ counters, checkpoint, path }) => {
  const other = new DatabaseSync(path);
  other.exec("BEGIN IMMEDIATE");
  const isLocked = (failure: StorageFailed) => failure.reason === "locked";
  assert.throws(() => checkpoint.apply(emptyState(), [], 64, 1), isLocked);
  assert.throws(() => checkpoint.begin(), isLocked);
  assert.throws(() => checkpoint.discardFrom(64), isLocked);
  other.exec("ROLLBACK");
  other.close();
  assert.equal(counters.sqliteWriteErrors, 3);
  assert.equal(counters.sqliteWriteLatencyMicroseconds.count, 0);
  checkpoint.apply(emptyState(), [], 64, 1);
  assert.deepEqual(
    [counters.sqliteWriteLatencyMicroseconds.count, counters.sqliteWriteLatencyMicroseconds.sum],
    [1, 1_000],
  );
});

watchTest("operations count by name and outcome", 1, ({ counters, checkpoint, path }) => {
  checkpoint.load();
  checkpoint.flush();
  const watch = new SqliteWatch(counters, () => 0);
  assert.throws(() => Checkpoint.open(`${path}.none/promptmq.db`, SETTINGS, watch));
  assert.deepEqual(counters.persistenceOperations.entries(), [
    ["open", "ok", 1],
    ["load", "ok", 1],
    ["checkpoint", "ok", 1],
    ["open", "error", 1],
  ]);
});
