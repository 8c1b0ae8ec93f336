/**
 * Reads one segment for the compactor: first what of it has to go into SQLite, then the messages that are still needed.
 *
 * What is not a whole block stops it, as the segment is about to go: but for what a start has met and told, and what the
 * memory of the log still has, which stands in for it.
 *
 * All are generators that yield after little work, because the broker serves its clients in between.
 */
import { Message } from "../../protocol/message.ts";
import type { ArchivedMessage, ArchivedStep } from "../checkpoint/checkpoint_rows.ts";
import type { Disk } from "../disk/disk.ts";
import { salvage } from "../disk/salvage.ts";
import { LogBuffer } from "../log/log_buffer.ts";
import type { MemoryBuffer } from "../log/memory_buffer.ts";
import {
  ProgressRecord,
  PublishRecord,
  readMessage,
  readRelease,
  readText,
  recordBytes,
  RecordType,
  recordType,
} from "../log/record.ts";
import {
  BLOCK_HEADER_BYTES,
  claimedBlockBytes,
  type Damage,
  readBlocks,
  SEGMENT_HEADER_BYTES,
} from "../log/segment.ts";
import type { Segment } from "../log/segment_writer.ts";
import { decodeChange } from "../log/text_records.ts";
import { applyChange, type DurableState, sessionOf } from "../model/durable_state.ts";
import { StorageFailed } from "../model/errors.ts";
import type { Position, SessionNumber, StoredSubscription } from "../model/stored.ts";

/** Hears of a stretch of a segment that is damaged on disk and whole in memory. */
export type Healed = (segment: string, firstLsn: number, endLsn: number) => void;

/** One segment in memory. */
export class CompactionScan {
  readonly segment: Segment;
  /** Records in it that are read by `collect`. */
  records = 0;
  readonly #buffer: LogBuffer;
  readonly #size: number;
  /** Of the whole blocks, as offsets into the buffer. */
  readonly #starts: number[] = [];

  constructor(segment: Segment) {
    this.segment = segment;
    this.#size = segment.endLsn - segment.firstLsn + SEGMENT_HEADER_BYTES;
    this.#buffer = new LogBuffer((this.#size + 7) & ~7);
  }

  /** Reads the file, piece by piece. What cannot be read or is missing is zeros. */
  *load(disk: Disk): Generator<void> {
    const file = disk.open(this.segment.path, "read");
    try {
      for (let at = 0; at < this.#size;) {
        const read = salvage(file, this.#buffer.bytes, at, Math.min(this.#size, at + PIECE_BYTES), at);
        if (read === 0) break;
        at += read;
        yield;
      }
    } finally {
      file.close();
    }
  }

  /**
   * Finds the whole blocks, the only ones that are looked at from here on.
   *
   * @param memory Heals what is damaged, as far as it has it.
   * @param healed Told of each damage when that was all.
   * @returns The failure when that leaves damage that nobody was told of.
   */
  *verify(memory: MemoryBuffer, healed: Healed): Generator<void, StorageFailed | undefined> {
    const damage = yield* this.#findBlocks();
    if (damage.length === 0) return undefined;
    for (const { lsn, endLsn } of damage) this.#heal(memory, lsn, endLsn);
    const [left] = yield* this.#findBlocks();
    const { path } = this.segment;
    if (left === undefined) {
      for (const { lsn, endLsn } of damage) healed(path, lsn, endLsn);
      return undefined;
    }
    const detail =
      `LSN ${left.lsn} to ${left.endLsn}: ${left.reason}; the log is kept from there on until a start has told ` +
      "what is lost";
    return new StorageFailed({ operation: "compact", path, reason: "corrupt", detail });
  }

  /** True for a position of the segment, but for those in damage that a start has told of. */
  mustHold(position: Position): boolean {
    const { firstLsn, endLsn } = this.segment;
    return position >= firstLsn && position < endLsn && !this.#isTold(position, position + 1);
  }

  /** Adds the segment's changes to `change`, and what it says of messages below `archiveEndLsn` to `progress`. */
  *collect(change: DurableState, progress: ArchivedStep[], archiveEndLsn: number): Generator<void> {
    const record = new PublishRecord();
    const made = new ProgressRecord();
    const message = new Message();
    for (const start of this.#records()) {
      if (start === YIELD) {
        yield;
        continue;
      }
      this.records++;
      const buffer = this.#buffer;
      switch (recordType(buffer, start)) {
        case RecordType.PUBLISH:
          record.read(buffer, start);
          readMessage(buffer, start, message);
          if (record.publisher !== 0 && record.packetId !== 0) {
            sessionOf(change, record.publisher).inboundPacketIds.set(record.packetId, true);
          }
          if (message.retain) {
            change.retained.set(topicOf(message), message.payloadSize === 0 ? null : this.#lsn(start));
          }
          break;
        case RecordType.PROGRESS:
          made.read(buffer, start);
          if (made.position < archiveEndLsn) {
            const { kind, session, position, packetId, group } = made;
            const shared = group === 0 ? undefined : sharedOf(change, session);
            progress.push({ kind, session, position, packetId, group, ...(shared === undefined ? {} : { shared }) });
          }
          break;
        case RecordType.RELEASE: {
          const { session, packetId } = readRelease(buffer, start);
          sessionOf(change, session).inboundPacketIds.set(packetId, false);
          break;
        }
        case RecordType.CHANGE: {
          const applied = decodeChange(readText(buffer, start));
          // Recovery reported it, or will.
          if (applied === undefined) break;
          if (applied.kind !== "owe") applyChange(change, applied);
          else if (applied.position < archiveEndLsn) progress.push(applied);
          break;
        }
      }
    }
  }

  /** Copies of the messages at the given positions, ascending, at most `max` at a time. */
  *messages(positions: ReadonlySet<number>, max: number): Generator<readonly ArchivedMessage[]> {
    const view = new Message();
    let batch: ArchivedMessage[] = [];
    for (const start of this.#records()) {
      if (start === YIELD) {
        yield batch;
        batch = [];
        continue;
      }
      if (recordType(this.#buffer, start) !== RecordType.PUBLISH || !positions.has(this.#lsn(start))) continue;
      readMessage(this.#buffer, start, view);
      batch.push({
        position: this.#lsn(start),
        expiresAtMs: view.expiresAtMs,
        qos: view.qos,
        retain: view.retain,
        topic: view.topicBytes.slice(view.topicStart, view.topicEnd),
        properties: view.propertiesBytes.slice(view.propertiesStart, view.propertiesEnd),
        payload: view.payloadBytes.slice(view.payloadStart, view.payloadEnd),
      });
      if (batch.length >= max) {
        yield batch;
        batch = [];
      }
    }
    yield batch;
  }

  /** Offsets of all records, with `YIELD` now and then. */
  *#records(): Generator<number> {
    let seen = 0;
    for (const blockStart of this.#starts) {
      const end = blockStart + claimedBlockBytes(this.#buffer, blockStart, this.#lsn(blockStart));
      for (let start = blockStart + BLOCK_HEADER_BYTES; start < end; start += recordBytes(this.#buffer, start)) {
        yield start;
        if (++seen % RECORDS_PER_STEP === 0) yield YIELD;
      }
    }
  }

  /** Returns the damage that nobody was told of. */
  *#findBlocks(): Generator<void, Damage[]> {
    const damage: Damage[] = [];
    let rested = 0;
    this.#starts.length = 0;
    for (const item of readBlocks(this.#buffer, this.#size, this.segment.firstLsn, "records")) {
      if (item.kind === "damage") {
        if (!this.#isTold(item.lsn, item.endLsn)) damage.push(item);
        continue;
      }
      this.#starts.push(item.start);
      if (item.end - rested < PIECE_BYTES) continue;
      rested = item.end;
      yield;
    }
    return damage;
  }

  #isTold(firstLsn: number, endLsn: number): boolean {
    return this.segment.damage?.some((told) => firstLsn >= told.lsn && endLsn <= told.endLsn) === true;
  }

  #heal(memory: MemoryBuffer, firstLsn: number, endLsn: number): void {
    for (let lsn = firstLsn; lsn < endLsn;) {
      const chunk = memory.find(lsn);
      if (chunk === undefined) return;
      const end = Math.min(chunk.endLsn, endLsn);
      const bytes = chunk.buffer.bytes.subarray(lsn - chunk.firstLsn, end - chunk.firstLsn);
      this.#buffer.bytes.set(bytes, lsn - this.segment.firstLsn + SEGMENT_HEADER_BYTES);
      lsn = end;
    }
  }

  #lsn(start: number): number {
    return this.segment.firstLsn + start - SEGMENT_HEADER_BYTES;
  }
}

/** What is needed was copied, all of it: only then may the segments go. */
export function missingOf(left: ReadonlySet<Position>, scans: readonly CompactionScan[]): StorageFailed | undefined {
  for (const position of left) {
    const scan = scans.find((each) => each.mustHold(position));
    if (scan === undefined) continue;
    const detail = `position ${position} is owed or retained, and there is no message`;
    return new StorageFailed({ operation: "compact", path: scan.segment.path, reason: "corrupt", detail });
  }
  return undefined;
}

/** Shared Subscriptions of a Session as far as the records so far have made or changed them. */
function sharedOf(change: DurableState, session: SessionNumber): ReadonlyMap<string, StoredSubscription> | undefined {
  let shared: Map<string, StoredSubscription> | undefined;
  for (const [filter, subscription] of change.sessions.get(session)?.subscriptions ?? []) {
    if (subscription !== null && filter.startsWith("$share/")) (shared ??= new Map()).set(filter, subscription);
  }
  return shared;
}

function topicOf(message: Message): string {
  return DECODER.decode(message.topicBytes.subarray(message.topicStart + 2, message.topicEnd));
}

const DECODER = new TextDecoder();
/** Not an offset of a record: time to let others work. */
const YIELD = -1;
const PIECE_BYTES = 262_144;
const RECORDS_PER_STEP = 250;
