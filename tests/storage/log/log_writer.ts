/**
 * Writes logs for tests: records into blocks into segments, with fixed times, and knows what it wrote.
 */
import { Message } from "../../../src/protocol/message.ts";
import type { QoS } from "../../../src/protocol/packets.ts";
import type { LoadedCheckpoint } from "../../../src/storage/checkpoint/checkpoint_rows.ts";
import type { Disk } from "../../../src/storage/disk/disk.ts";
import { LogBuffer } from "../../../src/storage/log/log_buffer.ts";
import {
  PROGRESS_BYTES,
  ProgressKind,
  publishBytes,
  RecordType,
  RELEASE_BYTES,
  textRecordBytes,
  writeProgress,
  writePublish,
  writeRelease,
  writeText,
} from "../../../src/storage/log/record.ts";
import {
  BLOCK_HEADER_BYTES,
  encodeSegmentHeader,
  FIRST_LSN,
  sealBlock,
  SEGMENT_HEADER_BYTES,
  segmentName,
} from "../../../src/storage/log/segment.ts";
import { emptyState } from "../../../src/storage/model/durable_state.ts";
import type { Route, RouteReceiver, SessionChange, StoredSubscription } from "../../../src/storage/model/stored.ts";

/** A message for `LogWriter.publish`; what is left out is as plain as can be. */
export interface PublishFields {
  readonly topic: string;
  readonly payload?: string;
  readonly properties?: readonly number[];
  readonly qos?: QoS;
  readonly retain?: boolean;
  readonly expiresAtMs?: number;
  readonly publisher?: number;
  readonly packetId?: number;
  readonly route?: number;
}

/** A segment as it was written. */
export interface WrittenSegment {
  readonly name: string;
  readonly firstLsn: number;
  readonly endLsn: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** LSNs of its blocks. */
  readonly blocks: readonly number[];
}

export const CREATED_MS = 1_700_000_000_000;

/** Every call writes a record and returns its LSN, until `block` and `segment` end what was begun. */
export class LogWriter {
  readonly segments: WrittenSegment[] = [];
  /** Where the next record's block header would be, or the open block's is. */
  #blockLsn: number;
  #buffer = new LogBuffer(4096);
  #used = BLOCK_HEADER_BYTES;
  #records = 0;
  #firstLsn: number;
  #bytes = new Uint8Array(4096);
  #size = SEGMENT_HEADER_BYTES;
  #blocks: number[] = [];
  #writtenMs = CREATED_MS;
  #syncedLsn: number | undefined = undefined;

  constructor(firstLsn: number = FIRST_LSN) {
    this.#blockLsn = this.#firstLsn = firstLsn;
  }

  /** LSN behind everything written; ends the block. */
  get endLsn(): number {
    this.block();
    return this.#blockLsn;
  }

  publish(fields: PublishFields): number {
    const message = new Message();
    const topic = ENCODER.encode(fields.topic);
    message.setTopic(Uint8Array.of(topic.length >> 8, topic.length & 0xff, ...topic));
    const properties = Uint8Array.from(fields.properties ?? []);
    message.setProperties(properties, 0, properties.length);
    const payload = ENCODER.encode(fields.payload ?? "hello");
    message.setPayload(payload, 0, payload.length);
    message.qos = fields.qos ?? 1;
    message.retain = fields.retain ?? false;
    message.expiresAtMs = fields.expiresAtMs ?? 0;
    const size = publishBytes(message);
    const start = this.#reserve(size);
    writePublish(
      this.#buffer,
      start,
      size,
      message,
      fields.publisher ?? 0,
      fields.packetId ?? 0,
      fields.route ?? 0,
    );
    return this.#blockLsn + start;
  }

  sent(session: number, position: number, packetId: number, group = 0): number {
    return this.progress(ProgressKind.SENT, session, position, packetId, group);
  }

  received(session: number, position: number, packetId: number, group = 0): number {
    return this.progress(ProgressKind.RECEIVED, session, position, packetId, group);
  }

  done(session: number, position: number, packetId: number, group = 0): number {
    return this.progress(ProgressKind.DONE, session, position, packetId, group);
  }

  progress(kind: ProgressKind, session: number, position: number, packetId: number, group: number): number {
    const start = this.#reserve(PROGRESS_BYTES);
    writeProgress(this.#buffer, start, kind, session, position, packetId, group);
    return this.#blockLsn + start;
  }

  release(session: number, packetId: number): number {
    const start = this.#reserve(RELEASE_BYTES);
    writeRelease(this.#buffer, start, session, packetId);
    return this.#blockLsn + start;
  }

  route(receivers: readonly RouteReceiver[], groups: Route["groups"] = []): number {
    return this.text(RecordType.ROUTE, JSON.stringify({ receivers, groups }));
  }

  change(change: SessionChange): number {
    return this.text(RecordType.CHANGE, JSON.stringify(change));
  }

  open(session: number, clientId = `client-${session}`): number {
    return this.change({ kind: "open", session, clientId, sessionExpiryInterval: 3600 });
  }

  subscribe(session: number, filter: string, more: Partial<StoredSubscription> = {}): number {
    return this.change({ kind: "subscribe", session, subscription: subscription(filter, more) });
  }

  text(type: number, text: string): number {
    const bytes = ENCODER.encode(text);
    const start = this.#reserve(textRecordBytes(bytes.length));
    writeText(this.#buffer, start, type, bytes);
    return this.#blockLsn + start;
  }

  /** A record of any bytes, which need not be one. */
  raw(bytes: Uint8Array): number {
    const start = this.#reserve(bytes.length);
    this.#buffer.bytes.set(bytes, start);
    return this.#blockLsn + start;
  }

  /** What the blocks from here on say that was synced; undefined = everything before them. */
  synced(lsn: number | undefined): this {
    this.#syncedLsn = lsn;
    return this;
  }

  /** Ends the block, if one was begun. Blocks are one second apart. */
  block(): this {
    if (this.#records === 0) return this;
    const lsn = this.#blockLsn;
    sealBlock(this.#buffer, 0, this.#used, lsn, this.#records, this.#writtenMs, this.#syncedLsn ?? lsn);
    this.#writtenMs += 1000;
    while (this.#size + this.#used > this.#bytes.length) {
      const larger = new Uint8Array(this.#bytes.length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(this.#buffer.bytes.subarray(0, this.#used), this.#size);
    this.#blocks.push(this.#blockLsn);
    this.#size += this.#used;
    this.#blockLsn += this.#used;
    this.#used = BLOCK_HEADER_BYTES;
    this.#records = 0;
    return this;
  }

  /** Ends block and segment, also one without blocks. */
  segment(): this {
    this.block();
    this.#bytes.set(encodeSegmentHeader(this.#firstLsn, CREATED_MS));
    this.segments.push({
      name: segmentName(this.#firstLsn),
      firstLsn: this.#firstLsn,
      endLsn: this.#blockLsn,
      bytes: this.#bytes.slice(0, this.#size),
      blocks: this.#blocks,
    });
    this.#firstLsn = this.#blockLsn;
    this.#bytes = new Uint8Array(4096);
    this.#size = SEGMENT_HEADER_BYTES;
    this.#blocks = [];
    return this;
  }

  /** Ends everything and writes the segments to a directory. */
  save(disk: Disk, directory: string): void {
    this.block();
    if (this.#blocks.length > 0) this.segment();
    for (const { name, bytes } of this.segments) {
      const file = disk.open(`${directory}/${name}`, "create");
      file.write(bytes, 0, bytes.length, 0);
      file.close();
    }
  }

  #reserve(size: number): number {
    while (this.#used + size > this.#buffer.bytes.length) {
      const larger = new LogBuffer(this.#buffer.bytes.length * 2);
      larger.bytes.set(this.#buffer.bytes);
      this.#buffer = larger;
    }
    const start = this.#used;
    this.#used += size;
    this.#records++;
    return start;
  }
}

/** A subscription at QoS 1 without any option, but for `more`. */
export function subscription(filter: string, more: Partial<StoredSubscription> = {}): StoredSubscription {
  return {
    filter,
    qos: 1,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    subscriptionIdentifier: 0,
    ...more,
  };
}

/** A receiver at QoS 1 without any option, but for `more`. */
export function receiver(session: number, more: Partial<RouteReceiver> = {}): RouteReceiver {
  return { session, qos: 1, retainAsPublished: false, identifiers: [], ...more };
}

/** The database of a store that is new, but for `more`. */
export function loadedCheckpoint(more: Partial<LoadedCheckpoint> = {}): LoadedCheckpoint {
  return {
    state: emptyState(),
    owed: new Map(),
    groupBacklog: [],
    unclaimed: [],
    messages: { positions: new Float64Array(0), sizes: new Float64Array(0), flags: new Uint8Array(0) },
    appliedLsn: FIRST_LSN,
    nextSession: 1,
    ...more,
  };
}

const ENCODER = new TextEncoder();
