/**
 * What a broker would start from with this log and this database: who is owed what, and what is retained.
 *
 * Recovery itself answers that, without its repairs. The database is read from a copy in a temporary directory, because
 * opening it in place would write beside it. A broker that works on both moves messages from one to the other: a look
 * that fell into such a move is taken again.
 */

import { Checkpoint } from "../../storage/checkpoint/checkpoint.ts";
import type { LoadedCheckpoint } from "../../storage/checkpoint/checkpoint_rows.ts";
import type { Disk } from "../../storage/disk/disk.ts";
import { FIRST_LSN } from "../../storage/log/segment.ts";
import { emptyState } from "../../storage/model/durable_state.ts";
import { StorageFailed } from "../../storage/model/errors.ts";
import { examine, type Recovered } from "../../storage/recovery/recovery.ts";
import { isGone, type WalDirectory } from "./wal_directory.ts";

/** What is still needed of everything that was ever stored. */
export interface LiveCounts {
  /** Messages that somebody is owed or that are retained. */
  readonly messages: number;
  /** Deliveries owed to recorded Sessions. */
  readonly owed: number;
  /** Messages of shared groups that nobody took. */
  readonly waitingForGroups: number;
  readonly retained: number;
  /** All recorded Sessions, most owed first. */
  readonly sessions: readonly SessionCount[];
}

/** What one recorded Session is owed. */
export interface SessionCount {
  readonly session: number;
  readonly clientId: string;
  readonly owed: number;
}

/** Why there are no counts. */
export interface LiveUnknown {
  readonly unknown: string;
}

/** Counts what is live, or says why that is not known. */
export function liveCounts(disk: Disk, wal: WalDirectory): LiveCounts | LiveUnknown {
  let failure: StorageFailed | undefined;
  for (let look = 0; look < LOOKS_MAX; look++) {
    try {
      const loaded = wal.databasePath === undefined ? emptyCheckpoint() : loadCopy(wal.databasePath);
      if (loaded === undefined) continue;
      const recovered = examine(disk, wal.path, loaded, { validation: "records", onCorruption: "quarantine" });
      // What is missing right behind the applied LSN was moved while we looked.
      const hasMoved = recovered.report.losses.some(({ firstLsn }) => firstLsn === loaded.appliedLsn);
      if (!hasMoved || look === LOOKS_MAX - 1) return count(recovered);
    } catch (error) {
      if (!(error instanceof StorageFailed)) throw error;
      failure = error;
      if (!isGone(error)) break;
    }
  }
  return { unknown: failure?.message ?? "a broker changes the database too fast for a copy" };
}

function count({ state }: Recovered): LiveCounts {
  const positions = new Set<number>();
  let owed = 0;
  const sessions: SessionCount[] = [];
  for (const [session, { opened }] of state.sessions) {
    let owedHere = 0;
    for (const { position, isReceived } of state.owed.get(session) ?? []) {
      if (isReceived) continue;
      owedHere++;
      positions.add(position);
    }
    owed += owedHere;
    sessions.push({ session, clientId: opened?.clientId ?? "", owed: owedHere });
  }
  for (const { position } of state.groupBacklog) positions.add(position);
  let retained = 0;
  for (const position of state.retained.values()) {
    if (position === null) continue;
    retained++;
    positions.add(position);
  }
  sessions.sort((a, b) => b.owed - a.owed || a.session - b.session);
  return { messages: positions.size, owed, waitingForGroups: state.groupBacklog.length, retained, sessions };
}

/** Reads a copy of the database; undefined when it was changed while it was copied. */
function loadCopy(path: string): LoadedCheckpoint | undefined {
  const directory = Deno.makeTempDirSync({ prefix: "promptmq_inspect_" });
  try {
    const before = fingerprint(path);
    for (const suffix of DATABASE_SUFFIXES) copyIfThere(`${path}${suffix}`, `${directory}/copy.db${suffix}`);
    if (fingerprint(path) !== before) return undefined;
    const checkpoint = Checkpoint.open(`${directory}/copy.db`, COPY_SETTINGS);
    try {
      return checkpoint.load();
    } finally {
      checkpoint.close();
    }
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/** Changes when the database file is written to or its log starts anew; a log that only grows is fine. */
function fingerprint(path: string): string {
  const stat = (suffix: string) => {
    try {
      const { size, mtime } = Deno.statSync(`${path}${suffix}`);
      return `${size} ${mtime?.getTime()}`;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return "none";
      throw error;
    }
  };
  return [stat(""), stat("-journal"), walHeader(`${path}-wal`)].join("|");
}

function walHeader(path: string): string {
  try {
    using file = Deno.openSync(path);
    const bytes = new Uint8Array(SQLITE_WAL_HEADER_BYTES);
    file.readSync(bytes);
    return bytes.toHex();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "none";
    throw error;
  }
}

function copyIfThere(from: string, to: string): void {
  try {
    Deno.copyFileSync(from, to);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function emptyCheckpoint(): LoadedCheckpoint {
  return {
    state: emptyState(),
    owed: new Map(),
    groupBacklog: [],
    unclaimed: [],
    messages: { positions: new Float64Array(0), sizes: new Float64Array(0), flags: new Uint8Array(0) },
    appliedLsn: FIRST_LSN,
    nextSession: 1,
  };
}

const DATABASE_SUFFIXES = ["", "-wal", "-journal"];
const SQLITE_WAL_HEADER_BYTES = 32;
/** Looks at a store that changes meanwhile. */
const LOOKS_MAX = 5;
/** For a copy that is thrown away. */
const COPY_SETTINGS = {
  cacheSize: 2000,
  tempStore: "MEMORY",
  mmapSize: 0,
  busyTimeoutMs: 0,
  synchronous: "OFF",
  journalMode: "WAL",
  foreignKeys: false,
} as const;
