/**
 * The numbers the durable store keeps about itself; plain fields, as in `counters.ts`, counted by the store alone.
 *
 * Gauges are set once a second by the watch over the store, except the loss window, which grows with time alone and is
 * therefore asked for when it is read.
 */
import { Histogram } from "./histogram.ts";
import { OperationCounter } from "./labelled_counter.ts";

/** Bounds of writes in microseconds, of the log and of SQLite alike. */
const WRITE_BOUNDS_MICROSECONDS = [50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000];

/** See the head of this file. */
export class StorageCounters {
  /** Microseconds of each write of a group of records to the log, without its sync. */
  readonly walWriteLatencyMicroseconds = new Histogram(WRITE_BOUNDS_MICROSECONDS);
  /** Seconds of each sync (fdatasync) of the log. */
  readonly walFsyncDurationSeconds = new Histogram(FSYNC_BOUNDS_SECONDS);
  /** Records per write: how much one write, and mostly one sync, is shared. */
  readonly walGroupRecords = new Histogram([1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000]);
  /** Seconds from opening the store to the broker having what it starts from; observed once per start. */
  readonly walRecoveryDurationSeconds = new Histogram([0.1, 0.5, 1, 2.5, 5, 10, 30, 60]);
  /** Writes and syncs of the log that failed. */
  walWriteErrors = 0;
  /** Bytes written to the log, block headers and padding included. */
  walWrittenBytes = 0;
  /** Gauge: bytes of messages of the log held in memory; see `storage.memory-buffer`. */
  walBufferBytes = 0;
  /** Gauge: files of the log. */
  walSegments = 0;
  /** Gauge: bytes in the files of the log. */
  walBytes = 0;
  /** Gauge: those who keep segments from being deleted, such as a backup. */
  walDeletionHolds = 0;
  /** Gauge: bytes written to the log and not yet synced. */
  walUnsyncedBytes = 0;
  /** Seconds of acknowledged traffic that a loss of power would cost at this moment; set by the store. */
  readLossWindowSeconds: () => number = () => 0;

  /** Microseconds of each transaction of SQLite, its sync included. */
  readonly sqliteWriteLatencyMicroseconds = new Histogram(WRITE_BOUNDS_MICROSECONDS);
  /** Transactions and checkpoints of SQLite that failed. */
  sqliteWriteErrors = 0;
  /** Gauge: bytes of all files of the store, the log and the database. */
  storageUsageBytes = 0;
  /** Rare operations of the store, `open`, `load`, `checkpoint` and `compact`, by name and outcome. */
  readonly persistenceOperations = new OperationCounter();

  /** Runs of compaction that cleared at least one segment. */
  compactionRuns = 0;
  /** Records that went away with compacted segments. */
  compactionRemovedRecords = 0;
  /** Bytes of the log given back by compaction. */
  compactionReclaimedBytes = 0;
}

/** From what a fast device needs to what is a reason to worry. */
const FSYNC_BOUNDS_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
