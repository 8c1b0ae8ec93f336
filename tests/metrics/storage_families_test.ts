import * as assert from "node:assert/strict";
import { brokerFamilies } from "../../src/metrics/broker_families.ts";
import { Counters } from "../../src/metrics/counters.ts";
import { renderFamilies } from "../../src/metrics/prometheus.ts";
import { storageFamilies } from "../../src/metrics/storage_families.ts";
import { StorageCounters } from "../../src/metrics/storage_counters.ts";

const WRITE_BOUNDS = [50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000];

Deno.test("storageFamilies exposes each number of the store under its own name", () => {
  const counters = new StorageCounters();
  const expected: Record<string, number> = {
    promptmq_wal_write_errors_total: counters.walWriteErrors = 11,
    promptmq_wal_written_bytes_total: counters.walWrittenBytes = 12,
    promptmq_wal_buffer_usage_bytes: counters.walBufferBytes = 13,
    promptmq_wal_segments: counters.walSegments = 14,
    promptmq_wal_bytes: counters.walBytes = 15,
    promptmq_wal_deletion_holds: counters.walDeletionHolds = 10,
    promptmq_wal_unsynced_bytes: counters.walUnsyncedBytes = 16,
    promptmq_wal_loss_window_seconds: 17.5,
    promptmq_sqlite_write_errors_total: counters.sqliteWriteErrors = 18,
    promptmq_storage_usage_bytes: counters.storageUsageBytes = 19,
    promptmq_compaction_runs_total: counters.compactionRuns = 20,
    promptmq_compaction_removed_records_total: counters.compactionRemovedRecords = 21,
    promptmq_compaction_reclaimed_bytes_total: counters.compactionReclaimedBytes = 22,
    'promptmq_persistence_operations_total{operation="compact",status="ok"}': 2,
    'promptmq_persistence_operations_total{operation="compact",status="error"}': 1,
    promptmq_wal_write_latency_microseconds_sum: 23,
    promptmq_wal_fsync_duration_seconds_sum: 24,
    promptmq_wal_group_records_sum: 25,
    promptmq_wal_recovery_duration_seconds_sum: 26,
    promptmq_sqlite_write_latency_microseconds_sum: 27,
  };
  counters.readLossWindowSeconds = () => 17.5;
  counters.persistenceOperations.add("compact", "ok");
  counters.persistenceOperations.add("compact", "ok");
  counters.persistenceOperations.add("compact", "error");
  counters.walWriteLatencyMicroseconds.observe(23);
  counters.walFsyncDurationSeconds.observe(24);
  counters.walGroupRecords.observe(25);
  counters.walRecoveryDurationSeconds.observe(26);
  counters.sqliteWriteLatencyMicroseconds.observe(27);
  const lines = renderFamilies(storageFamilies(counters)).split("\n");
  for (const [name, value] of Object.entries(expected)) assert.ok(lines.includes(`${name} ${value}`), name);
});

Deno.test("storageFamilies keeps the bounds dashboards were built for", () => {
  const bounds = new Map<string, readonly number[]>();
  for (const family of storageFamilies(new StorageCounters())) {
    if (family.type === "histogram") bounds.set(family.name, family.histogram.bounds);
  }
  assert.deepEqual(bounds.get("promptmq_wal_write_latency_microseconds"), WRITE_BOUNDS);
  assert.deepEqual(bounds.get("promptmq_sqlite_write_latency_microseconds"), WRITE_BOUNDS);
  assert.deepEqual(bounds.get("promptmq_wal_recovery_duration_seconds"), [0.1, 0.5, 1, 2.5, 5, 10, 30, 60]);
});

Deno.test("the store is part of the broker's exposition", () => {
  const counters = new Counters();
  counters.storage.walSegments = 3;
  const text = renderFamilies(brokerFamilies(counters, { memoryBytes: 1, uptimeSeconds: 1, messagesPerSecond: 1 }));
  assert.match(text, /^promptmq_wal_segments 3$/m);
});
