/**
 * The settings of the broker in one life: each time others, so that short tests reach what takes long in real use.
 */

import type { SeededRandom } from "./seeded_random.ts";

/** Flags that apply for the whole test. */
export function lastingFlags(storage: "disk" | "memory", dataPath: string, syncMode: string): string[] {
  return [
    ...["--storage", storage, "--data-dir", dataPath, "--wal-sync-mode", syncMode],
    // What waits for an absent subscriber must not be dropped by a bound: that would be allowed, and look like a loss.
    ...["--mqtt-max-queued", "0"],
  ];
}

/** Flags of one life: segments, compaction and memory of ordinary or of smallest size. */
export function flagsOfLife(random: SeededRandom): string[] {
  return [
    ...(random.happens(0.5) ? SMALL_SEGMENTS : []),
    ...(random.happens(0.5) ? EARLY_COMPACTION : []),
    ...(random.happens(0.5) ? LITTLE_MEMORY : []),
  ];
}

const SMALL_SEGMENTS = ["--storage-wal-segment-size", "64KiB"];
/** Everything that is a second old moves to SQLite, in small transactions. */
const EARLY_COMPACTION = [
  ...["--storage-compaction-max-message-age", "1s", "--storage-compaction-check-interval", "100ms"],
  ...["--storage-compaction-batch-size", "10"],
];
/** A backlog is read back from segments. */
const LITTLE_MEMORY = ["--memory-buffer", "1MiB"];
