/**
 * The metric families of the durable store: which name, type and help each number of `StorageCounters` is exposed
 * under. The names are a contract with dashboards and alerts. Called once per scrape.
 */
import type { Histogram } from "./histogram.ts";
import { type Family, scalar } from "./prometheus.ts";
import type { StorageCounters } from "./storage_counters.ts";

/** All families of the store, in the order they are exposed. O(labels). */
export function storageFamilies(counters: StorageCounters): Family[] {
  return [...logFamilies(counters), ...databaseFamilies(counters), ...compactionFamilies(counters)];
}

function logFamilies(counters: StorageCounters): Family[] {
  const lossHelp = "Seconds of acknowledged traffic that a loss of power would cost now.";
  return [
    histogram(
      "promptmq_wal_write_latency_microseconds",
      "Microseconds of a write to the log, without its sync.",
      counters.walWriteLatencyMicroseconds,
    ),
    histogram(
      "promptmq_wal_fsync_duration_seconds",
      "Seconds of a sync of the log (fdatasync).",
      counters.walFsyncDurationSeconds,
    ),
    histogram("promptmq_wal_group_records", "Records that shared one write to the log.", counters.walGroupRecords),
    histogram(
      "promptmq_wal_recovery_duration_seconds",
      "Seconds that recovery took at the start.",
      counters.walRecoveryDurationSeconds,
    ),
    scalar(
      "counter",
      "promptmq_wal_write_errors_total",
      "Writes and syncs of the log that failed.",
      counters.walWriteErrors,
    ),
    scalar("counter", "promptmq_wal_written_bytes_total", "Bytes written to the log.", counters.walWrittenBytes),
    scalar(
      "gauge",
      "promptmq_wal_buffer_usage_bytes",
      "Bytes of messages of the log held in memory.",
      counters.walBufferBytes,
    ),
    scalar("gauge", "promptmq_wal_segments", "Files of the log.", counters.walSegments),
    scalar("gauge", "promptmq_wal_bytes", "Bytes in the files of the log.", counters.walBytes),
    scalar(
      "gauge",
      "promptmq_wal_deletion_holds",
      "Readers that keep files of the log from being deleted.",
      counters.walDeletionHolds,
    ),
    scalar(
      "gauge",
      "promptmq_wal_unsynced_bytes",
      "Bytes written to the log and not yet synced.",
      counters.walUnsyncedBytes,
    ),
    scalar("gauge", "promptmq_wal_loss_window_seconds", lossHelp, counters.readLossWindowSeconds()),
  ];
}

function databaseFamilies(counters: StorageCounters): Family[] {
  return [
    histogram(
      "promptmq_sqlite_write_latency_microseconds",
      "Microseconds of a transaction of SQLite.",
      counters.sqliteWriteLatencyMicroseconds,
    ),
    scalar(
      "counter",
      "promptmq_sqlite_write_errors_total",
      "Transactions and checkpoints of SQLite that failed.",
      counters.sqliteWriteErrors,
    ),
    scalar("gauge", "promptmq_storage_usage_bytes", "Bytes of all files of the store.", counters.storageUsageBytes),
    {
      type: "counter",
      name: "promptmq_persistence_operations_total",
      help: "Operations open, load, checkpoint and compact of the store, by outcome.",
      samples: counters.persistenceOperations.entries().map(([operation, status, value]) => ({
        labels: { operation, status },
        value,
      })),
    },
  ];
}

function compactionFamilies(counters: StorageCounters): Family[] {
  return [
    scalar(
      "counter",
      "promptmq_compaction_runs_total",
      "Runs of compaction that cleared files of the log.",
      counters.compactionRuns,
    ),
    scalar(
      "counter",
      "promptmq_compaction_removed_records_total",
      "Records that went away with compacted files of the log.",
      counters.compactionRemovedRecords,
    ),
    scalar(
      "counter",
      "promptmq_compaction_reclaimed_bytes_total",
      "Bytes of the log given back by compaction.",
      counters.compactionReclaimedBytes,
    ),
  ];
}

function histogram(name: string, help: string, values: Histogram): Family {
  return { type: "histogram", name, help, histogram: values };
}
