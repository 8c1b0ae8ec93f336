/**
 * A start: reads the segments of the log, oldest first, and puts together what the broker goes on with.
 *
 * This file decides what damage means; `queue_replay.ts` knows what records mean, `segment.ts` finds the blocks.
 *
 *   torn tail    damage, or a gap, of which no whole block says that it was synced: what a crash leaves of the end of the
 *                log. Nobody was told that it is safe. Everything from there on is cut off and kept aside, also whole
 *                blocks and segments behind it: they were not synced either, and a log has no holes.
 *   overlap      a segment ends where the next one begins: its last blocks were written again there, whatever is left
 *                of them.
 *   leftovers    segments that the database knows all of. They are removed.
 *   corruption   everything else: what was safe once. `refuse` stops the start before anything is changed; `quarantine`
 *                keeps a copy, which later starts know it by, passes over it and reports what is lost.
 *
 * Every segment found is sealed: the log goes on in a new one, where the last whole block ends.
 */
import type { LoadedCheckpoint } from "../checkpoint/checkpoint_rows.ts";
import type { Disk } from "../disk/disk.ts";
import { type Block, type Damage, FIRST_LSN, readBlocks, SEGMENT_HEADER_BYTES, segmentName } from "../log/segment.ts";
import { SegmentReader } from "../log/segment_files.ts";
import { finishReplacement } from "../log/segment_replacement.ts";
import type { RecoveredState } from "../model/durable_state.ts";
import { StorageFailed } from "../model/errors.ts";
import { type Loss, readDamaged } from "./damaged_block.ts";
import { KnownDamage } from "./known_damage.ts";
import { QueueReplay, type Unrouted } from "./queue_replay.ts";
import { BROKEN, QUARANTINE, type Repair, repair } from "./repairs.ts";
import type { Shortfall } from "./replay_result.ts";
import { highestSyncedLsn, isEmpty, limitOf, type SurveyedSegment, surveySegments } from "./segment_survey.ts";

/** A segment with something in it, sealed. */
export interface SegmentInfo {
  readonly firstLsn: number;
  /** LSN behind its last byte that counts. */
  readonly endLsn: number;
  readonly path: string;
  readonly fileBytes: number;
  /** In ms since the epoch, as the next. */
  readonly createdMs: number;
  readonly lastWrittenMs: number;
  readonly records: number;
  /** True when its messages may name routes of the segment before it. */
  readonly isContinuation: boolean;
  /** What of it is no whole block, and was told. */
  readonly damage: readonly Damage[];
}

/** What a start has found, for logs and metrics. */
export interface RecoveryReport {
  readonly segments: number;
  readonly blocks: number;
  readonly records: number;
  /** Bytes of blocks that were read. */
  readonly bytes: number;
  /** PUBLISH records replayed. */
  readonly messages: number;
  /** Bytes that a crash left behind the last block that counts. */
  readonly tornBytes: number;
  readonly losses: readonly Loss[];
  /** What had to be left out because of losses. */
  readonly shortfall: Shortfall;
}

/** What a start begins with. */
export interface Recovered {
  /** Oldest first. */
  readonly segments: readonly SegmentInfo[];
  /** Where the log goes on. */
  readonly endLsn: number;
  /** Latest broker time that the log tells; 0 = none. */
  readonly latestMs: number;
  readonly state: RecoveredState;
  readonly nextSession: number;
  readonly report: RecoveryReport;
  /** What was done to files, or is to be done after `examine`; `syncRepairs` makes it safe. */
  readonly repairs: readonly Repair[];
}

/** How a start treats the log. */
export interface RecoveryOptions {
  /** `records` also checks every record of a block, not only its checksum. */
  readonly validation: "checksum" | "records";
  readonly onCorruption: "quarantine" | "refuse";
}

/**
 * Recovers the log of a directory, after it has finished what a crash interrupted of `segment_replacement.ts`.
 *
 * @param loaded What the database holds; it becomes part of the result.
 * @throws StorageFailed: `format` for a segment of another version; `corrupt` for what the options say to refuse; both
 * before any other file was changed. Or what the disk says.
 */
export function recover(disk: Disk, directory: string, loaded: LoadedCheckpoint, options: RecoveryOptions): Recovered {
  finishReplacement(disk, directory);
  const recovered = examine(disk, directory, loaded, options);
  repair(disk, recovered.repairs);
  return recovered;
}

/**
 * The same as `recover`, but no file is changed: what would be done is in `repairs`.
 *
 * Also for the directory of a broker at work, whose youngest segment may end in a block that is being written.
 */
export function examine(
  disk: Disk,
  walDirectory: string,
  loaded: LoadedCheckpoint,
  options: RecoveryOptions,
): Recovered {
  return new Recovery(disk, walDirectory, loaded, options).run();
}

/** What of one segment counts. */
interface FoundInSegment {
  endLsn: number;
  tornBytes: number;
  lastWrittenMs: number;
  records: number;
  readonly damage: Damage[];
}

class Recovery {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #appliedLsn: number;
  readonly #options: RecoveryOptions;
  readonly #reader: SegmentReader;
  readonly #replay: QueueReplay;
  readonly #segments: SegmentInfo[] = [];
  readonly #losses: Loss[] = [];
  readonly #repairs: Repair[] = [];
  #surveyed: readonly SurveyedSegment[] = [];
  /** Everything below was read, is in the database, or is lost. */
  #accountedLsn: number;
  /** True when the log ends there, whatever follows. */
  #isOver = false;
  /** What `highestSyncedLsn` found, when it was needed. */
  #foundSyncedLsn: number | undefined = undefined;
  #blocks = 0;
  #records = 0;
  #bytes = 0;
  #tornBytes = 0;

  constructor(disk: Disk, directory: string, loaded: LoadedCheckpoint, options: RecoveryOptions) {
    this.#disk = disk;
    this.#directory = directory;
    this.#appliedLsn = this.#accountedLsn = loaded.appliedLsn;
    this.#options = options;
    this.#reader = new SegmentReader(disk);
    this.#replay = new QueueReplay(loaded);
  }

  run(): Recovered {
    const { segments, unborn, ...survey } = surveySegments(this.#disk, this.#directory, this.#reader, this.#appliedLsn);
    this.#surveyed = segments;
    let taken = 0;
    while (taken < segments.length && !this.#isOver) if (this.#take(taken)) taken++;
    if (segments.length + unborn.length === 0) this.#noteEmptyLog();
    const endLsn = this.#isOver ? this.#accountedLsn : Math.max(this.#segments.at(-1)?.endLsn ?? 0, this.#appliedLsn);
    this.#clear([...segments.slice(taken), ...unborn], endLsn);
    const { state, nextSession, shortfall } = this.#replay.finish();
    for (const lost of this.#replay.unrouted.values()) this.#noteUnrouted(lost);
    const report = {
      segments: this.#segments.length,
      blocks: this.#blocks,
      records: this.#records,
      bytes: this.#bytes,
      messages: this.#replay.messages,
      tornBytes: this.#tornBytes,
      losses: this.#losses,
      shortfall,
    };
    const latestMs = this.#segments.reduce((latest, each) => Math.max(latest, each.lastWrittenMs), survey.latestMs);
    return { segments: this.#segments, endLsn, latestMs, state, nextSession, report, repairs: this.#repairs };
  }

  /** Deals with one segment. Returns false when the log ends before it. */
  #take(index: number): boolean {
    const segments = this.#surveyed;
    const segment = segments[index]!;
    const limit = limitOf(segments, index);
    if (Math.min(segment.fileEndLsn, limit) <= this.#appliedLsn) {
      this.#repairs.push({ kind: "remove", path: segment.path });
      return true;
    }
    const isUsable = segment.kind !== "unusable";
    if (this.#accountedLsn < (isUsable ? segment.firstLsn : limit)) {
      // A crash leaves nothing of a header, or all of it: other bytes there were damaged afterwards.
      const mayBeTorn = (isUsable || segment.head.isUnborn) && !this.#isKnown(this.#gapPath);
      if (mayBeTorn && this.#isNeverSynced(this.#accountedLsn)) {
        this.#isOver = true;
        return false;
      }
      this.#noteGap(segment.firstLsn);
    }
    if (isUsable) return this.#read(segment, limit, index === segments.length - 1);
    this.#setAside(segment, limit, segments[index + 1]?.firstLsn);
    return true;
  }

  /**
   * Reads one segment; returns false when nothing of it counts.
   *
   * @param limit First LSN of the next one, or Infinity.
   */
  #read(segment: SurveyedSegment, limit: number, isYoungest: boolean): boolean {
    const { path, firstLsn } = segment;
    const reader = this.#reader;
    reader.read(path);
    const size = Math.min(reader.size, limit - firstLsn + SEGMENT_HEADER_BYTES);
    const known = new KnownDamage(this.#disk, segment);
    const lossesBefore = this.#losses.length;
    let isHeaderMissed = segment.kind === "headless";
    const found: FoundInSegment = { endLsn: firstLsn, tornBytes: 0, lastWrittenMs: 0, records: 0, damage: [] };
    for (const item of readBlocks(reader.buffer, size, firstLsn, this.#options.validation)) {
      if (item.kind === "damage" && this.#isTorn(item, segment, known, isYoungest)) {
        this.#isOver = true;
        if (found.endLsn === firstLsn) return false;
        found.tornBytes = reader.size - (item.lsn - firstLsn + SEGMENT_HEADER_BYTES);
        break;
      }
      if (isHeaderMissed) {
        const reason = "the header of the segment is damaged; its blocks are read by the name of its file";
        this.#lose({ firstLsn, endLsn: firstLsn, segment: path, reason, topics: [], isKnown: known.isOfHeader });
        isHeaderMissed = false;
      }
      if (item.kind === "damage") {
        found.damage.push(item);
        this.#noteDamage(item, segment, limit, known.covers(item));
        continue;
      }
      this.#replayBlock(item, path, known.hasCopy);
      found.endLsn = item.lsn + item.end - item.start;
      found.lastWrittenMs = item.writtenMs;
      found.records += item.records;
    }
    this.#accountedLsn = Math.max(this.#accountedLsn, found.endLsn);
    const losses = this.#losses.slice(lossesBefore);
    if (found.endLsn > firstLsn) this.#keep(segment, found, losses.some((loss) => !loss.isKnown));
    // Nothing in it is whole: it would only be in the way of the segments.
    else if (isEmpty(segment)) this.#repairs.push({ kind: "remove", path });
    else this.#repairs.push({ kind: "move", path, suffix: losses.length > 0 ? QUARANTINE : BROKEN });
    return true;
  }

  #keep({ path, firstLsn, head, kind }: SurveyedSegment, found: FoundInSegment, isNewlyDamaged: boolean): void {
    const { endLsn, tornBytes, lastWrittenMs, records, damage } = found;
    const { header } = head;
    const fileBytes = this.#reader.size - tornBytes;
    const isHeader = header.kind === "header" && kind === "sound";
    this.#tornBytes += tornBytes;
    if (isNewlyDamaged) this.#repairs.push({ kind: "copy", path });
    if (tornBytes > 0) this.#repairs.push({ kind: "cut", path, size: fileBytes });
    this.#segments.push({
      firstLsn,
      endLsn,
      path,
      fileBytes,
      createdMs: isHeader ? header.createdMs : lastWrittenMs,
      lastWrittenMs,
      records,
      // Unknown means yes: it is the careful answer.
      isContinuation: isHeader ? header.isContinuation : true,
      damage,
    });
  }

  /** True for damage that a crash leaves, at which the log ends. */
  #isTorn(damage: Damage, { firstLsn }: SurveyedSegment, known: KnownDamage, isYoungest: boolean): boolean {
    const start = damage.lsn - firstLsn + SEGMENT_HEADER_BYTES;
    // A crash leaves bytes that can be read, whatever they are.
    if (this.#reader.isUnreadable(start, start + damage.endLsn - damage.lsn)) return false;
    if (damage.isLast && isYoungest) return true;
    return !known.covers({ lsn: damage.lsn, endLsn: damage.lsn + 1 }) && this.#isNeverSynced(damage.lsn);
  }

  /** True when nothing says that any byte from an LSN on was ever synced. */
  #isNeverSynced(lsn: number): boolean {
    if (lsn < this.#appliedLsn) return false;
    // All segments are read once more, which only a damaged log has to pay for.
    this.#foundSyncedLsn ??= highestSyncedLsn(this.#disk, this.#surveyed);
    return lsn >= this.#foundSyncedLsn;
  }

  /** True when an earlier start has reported a segment as missing. */
  #isKnown(path: string): boolean {
    return this.#disk.exists(`${path}${QUARANTINE}`);
  }

  #replayBlock(block: Block, segment: string, isKnown: boolean): void {
    this.#blocks++;
    this.#records += block.records;
    this.#bytes += block.end - block.start;
    for (const { lsn, endLsn, reason } of this.#replay.replay(this.#reader.buffer, block)) {
      this.#lose({ firstLsn: lsn, endLsn, segment, reason, topics: [], isKnown });
    }
  }

  #noteDamage(damage: Damage, segment: SurveyedSegment, limit: number, isKnown: boolean): void {
    // A file that is too short: what is missing up to the next one is part of the same damage.
    const endLsn = damage.isLast && limit !== Infinity ? limit : damage.endLsn;
    this.#accountedLsn = Math.max(this.#accountedLsn, endLsn);
    if (endLsn <= this.#appliedLsn) return;
    const start = damage.lsn - segment.firstLsn + SEGMENT_HEADER_BYTES;
    const end = damage.endLsn - segment.firstLsn + SEGMENT_HEADER_BYTES;
    const { topics, records } = readDamaged(this.#reader.buffer, start, end, damage.lsn);
    this.#lose({
      firstLsn: damage.lsn,
      endLsn,
      segment: segment.path,
      reason: damage.reason,
      topics,
      ...(records === undefined ? {} : { records }),
      isKnown,
    });
  }

  /**
   * A file without anything that can be used: lost is what its name claims, up to the next segment, or as far as its
   * bytes and the next name reach.
   */
  #setAside(segment: SurveyedSegment, limit: number, nextLsn = Infinity): void {
    const endLsn = limit === Infinity ? Math.min(segment.fileEndLsn, nextLsn) : Math.min(limit, nextLsn);
    const firstLsn = Math.min(Math.max(segment.firstLsn, this.#accountedLsn), endLsn);
    const reason = "no block in the file stands where the name of the file says";
    this.#lose({ firstLsn, endLsn, segment: segment.path, reason, topics: [], isKnown: false });
    this.#accountedLsn = Math.max(this.#accountedLsn, endLsn);
    this.#repairs.push({ kind: "move", path: segment.path, suffix: QUARANTINE });
  }

  /** The segment that is missing, or would be, where the log goes on. */
  get #gapPath(): string {
    return `${this.#directory}/${segmentName(this.#accountedLsn)}`;
  }

  /** Reports what is missing before an LSN. */
  #noteGap(lsn: number): void {
    const firstLsn = this.#accountedLsn;
    if (lsn <= firstLsn) return;
    const path = this.#gapPath;
    const isKnown = this.#isKnown(path);
    this.#lose({ firstLsn, endLsn: lsn, segment: path, reason: "the segment is missing", topics: [], isKnown });
    if (!isKnown) this.#repairs.push({ kind: "note", path });
    this.#accountedLsn = lsn;
  }

  /** A log that was used has at least one segment, or the one that was given up after a failure, where it goes on. */
  #noteEmptyLog(): void {
    const lsn = this.#appliedLsn;
    if (lsn === FIRST_LSN || this.#disk.exists(`${this.#gapPath}${BROKEN}`)) return;
    this.#losses.push({
      firstLsn: lsn,
      endLsn: lsn,
      segment: this.#gapPath,
      reason: "the log was in use before, and there is no segment of it",
      topics: [],
      isKnown: false,
    });
  }

  #noteUnrouted({ route, first, last, messages }: Unrouted): void {
    const segment = this.#segments.findLast((candidate) => candidate.firstLsn <= first)!.path;
    const reason = `the receivers of ${messages} messages are not known: the ROUTE record at LSN ${route} is lost`;
    // Known when all that is lost was lost before.
    const isKnown = this.#losses.length > 0 && this.#losses.every((loss) => loss.isKnown);
    this.#lose({ firstLsn: first, endLsn: last + 8, segment, reason, topics: [], records: messages, isKnown });
  }

  #lose(loss: Loss): void {
    if (this.#options.onCorruption === "refuse") {
      const { firstLsn, endLsn, segment, reason } = loss;
      const detail = `${reason}, LSN ${firstLsn} to ${endLsn}; storage.wal.on-corruption says to refuse it`;
      throw new StorageFailed({ operation: "recover", path: segment, reason: "corrupt", detail });
    }
    this.#losses.push(loss);
  }

  /** Treats the segments behind the end of the log: torn, whole by chance, or just about to begin. */
  #clear(behind: readonly SurveyedSegment[], endLsn: number): void {
    for (const segment of behind) {
      const { path, kind, firstLsn, head } = segment;
      // Where the log goes on, the header is left for it to replace: it says that the log was used up to there.
      const isLeft = kind === "sound" && firstLsn === endLsn;
      if (!isEmpty(segment)) {
        this.#tornBytes += head.fileBytes - (isLeft ? SEGMENT_HEADER_BYTES : 0);
        this.#repairs.push(
          isLeft ? { kind: "cut", path, size: SEGMENT_HEADER_BYTES } : { kind: "move", path, suffix: BROKEN },
        );
      } else if (!isLeft) this.#repairs.push({ kind: "remove", path });
    }
  }
}
