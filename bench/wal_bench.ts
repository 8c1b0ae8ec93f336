/**
 * The log on a real disk: what a commit costs in each sync mode, by the size of the group that shares it.
 *
 * A case is one group: so many messages of 64 bytes are appended and committed, and the case ends when they are. Divide
 * by the group for the cost of a message. The first group shows the disk's own fdatasync for comparison.
 *
 * The files are made in PROMPTMQ_BENCH_DIR, or in the present directory: measure where the data will be, a memory file
 * system says nothing. Directory and file system are printed first.
 */
import { StorageCounters } from "../src/metrics/storage_counters.ts";
import { Message } from "../src/protocol/message.ts";
import { openNodeDisk } from "../src/storage/disk/node_disk.ts";
import { type CommitPolicy, GroupCommit } from "../src/storage/log/group_commit.ts";
import { FIRST_LSN } from "../src/storage/log/segment.ts";
import { WriteAheadLog } from "../src/storage/log/write_ahead_log.ts";
import { benchDirectory } from "./bench_directory.ts";

const GROUPS = [1, 10, 100, 1_000, 10_000];
const disk = openNodeDisk();
let isOver = false;
// Before the directory goes, so that a sync still under way may fail.
globalThis.addEventListener("unload", () => isOver = true);
const directory = benchDirectory("wal");

const message = new Message();
message.setTopic(Uint8Array.from([0, 13, ...new TextEncoder().encode("bench/topic/1")]));
message.setPayload(new Uint8Array(64), 0, 64);
message.qos = 1;

const file = disk.open(`${directory}/plain`, "create");
const bytes = new Uint8Array(128);
let at = 0;
Deno.bench({
  name: "plain append of 128 bytes and fdatasync",
  group: "the disk itself",
  fn: async () => {
    file.write(bytes, 0, bytes.length, at);
    at += bytes.length;
    await file.sync();
  },
});

for (const records of GROUPS) {
  for (const syncMode of ["immediate", "batch", "periodic"] as const) {
    const commit = opener({ syncMode, syncIntervalMs: 100, batchSyncSize: 100, forceFsync: false, noSync: false });
    Deno.bench({
      name: `${syncMode}, ${records} messages`,
      group: `group of ${records}`,
      baseline: syncMode === "immediate",
      // An async function: a promise that is merely returned is not waited for.
      fn: async () => {
        await commit(records);
      },
    });
  }
}

/** Opens a log of its own with the first call; each call commits one group. */
function opener(policy: CommitPolicy): (records: number) => Promise<void> {
  let opened: { log: WriteAheadLog; group: GroupCommit } | undefined;
  let resolve = () => {};
  return (records) => {
    opened ??= open(policy, () => resolve());
    const { log, group } = opened;
    return new Promise<void>((done) => {
      const target = () => {
        if (group.committed >= log.lastPosition) done();
      };
      resolve = target;
      for (let index = 0; index < records; index++) {
        log.references.release(log.appendPublish(message, 0, 0, 0));
      }
      group.hasPromise = true;
      group.commit();
      target();
    });
  };
}

function open(policy: CommitPolicy, committed: () => void): { log: WriteAheadLog; group: GroupCommit } {
  const logDirectory = `${directory}/${policy.syncMode}-${crypto.randomUUID()}`;
  disk.makeDirectory(logDirectory);
  const log = new WriteAheadLog({
    disk,
    directory: logDirectory,
    segments: [],
    endLsn: FIRST_LSN,
    memoryBytesMax: 64 * 1_048_576,
    segmentBytes: 16 * 1_048_576,
    clock: () => performance.now(),
  });
  const group = new GroupCommit(log, {
    policy,
    counters: new StorageCounters(),
    clock: () => performance.now(),
    later: (ms, run) => {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
    slowSync: () => {},
    outOfSpace: fail,
    poisoned: fail,
    fatal: fail,
    recovered: () => {},
  });
  group.listeners.add(() => {
    // What a compactor would do: the bench must not fill the disk.
    log.removeSegments(log.safeLsn);
    committed();
  });
  return { log, group };
}

function fail(cause: Error): void {
  if (!isOver) throw cause;
}
