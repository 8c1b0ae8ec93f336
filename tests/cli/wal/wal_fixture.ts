/**
 * Small logs on disk for the tests of `promptmq wal …`: blocks of records at fixed times, written as the store does.
 */

import { Message } from "../../../src/protocol/message.ts";
import type { QoS } from "../../../src/protocol/packets.ts";
import { LogBuffer } from "../../../src/storage/log/log_buffer.ts";
import {
  PROGRESS_BYTES,
  type ProgressKind,
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

/** A record to write: how long it is, and how it is written. */
export interface FixtureRecord {
  readonly bytes: number;
  write(into: LogBuffer, start: number): void;
}

/** 2023-11-14T22:13:20.000Z */
export const FIXTURE_MS = 1_700_000_000_000;

/** What a PUBLISH record says beside topic and payload. */
export interface PublishOptions {
  readonly qos?: QoS;
  readonly retain?: boolean;
  readonly publisher?: number;
  readonly packetId?: number;
  readonly route?: number;
}

export function publish(topic: string, payload: string | Uint8Array, options: PublishOptions = {}): FixtureRecord {
  const message = new Message();
  const name = new TextEncoder().encode(topic);
  message.setTopic(new Uint8Array([name.length >> 8, name.length & 255, ...name]));
  const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  message.setPayload(bytes, 0, bytes.length);
  message.qos = options.qos ?? 1;
  message.retain = options.retain ?? false;
  const size = publishBytes(message);
  const { publisher = 0, packetId = 0, route = 0 } = options;
  return {
    bytes: size,
    write: (into, start) => writePublish(into, start, size, message, publisher, packetId, route),
  };
}

export function progress(
  kind: ProgressKind,
  session: number,
  position: number,
  packetId: number,
  group = 0,
): FixtureRecord {
  return {
    bytes: PROGRESS_BYTES,
    write: (into, start) => writeProgress(into, start, kind, session, position, packetId, group),
  };
}

export function release(session: number, packetId: number): FixtureRecord {
  return { bytes: RELEASE_BYTES, write: (into, start) => writeRelease(into, start, session, packetId) };
}

export function change(value: unknown): FixtureRecord {
  return text(RecordType.CHANGE, JSON.stringify(value));
}

export function route(value: unknown): FixtureRecord {
  return text(RecordType.ROUTE, JSON.stringify(value));
}

function text(type: number, json: string): FixtureRecord {
  const bytes = new TextEncoder().encode(json);
  return { bytes: textRecordBytes(bytes.length), write: (into, start) => writeText(into, start, type, bytes) };
}

/** A log in a directory of its own, which goes with the scope. */
export class WalFixture implements Disposable {
  readonly dataPath = Deno.makeTempDirSync({ prefix: "promptmq_wal_" });
  readonly walPath = `${this.dataPath}/wal`;
  /** Where the next block starts. */
  lsn = FIRST_LSN;
  /** What the next blocks say was synced before them; undefined = everything. */
  syncedLsn: number | undefined = undefined;
  #path = "";

  constructor() {
    Deno.mkdirSync(this.walPath);
  }

  /** Path of the segment that is written to. */
  get segmentPath(): string {
    return this.#path;
  }

  /** Begins a segment at the present end, or at another LSN. */
  segment(firstLsn: number = this.lsn): this {
    this.lsn = firstLsn;
    this.#path = `${this.walPath}/${segmentName(firstLsn)}`;
    Deno.writeFileSync(this.#path, encodeSegmentHeader(firstLsn, FIXTURE_MS));
    return this;
  }

  /** Appends a block; returns the positions of its records. */
  block(...records: readonly FixtureRecord[]): number[] {
    const positions: number[] = [];
    const size = records.reduce((sum, { bytes }) => sum + bytes, BLOCK_HEADER_BYTES);
    const buffer = new LogBuffer(size);
    let at = BLOCK_HEADER_BYTES;
    for (const record of records) {
      positions.push(this.lsn + at);
      record.write(buffer, at);
      at += record.bytes;
    }
    sealBlock(buffer, 0, size, this.lsn, records.length, FIXTURE_MS + this.lsn, this.syncedLsn ?? this.lsn);
    this.append(buffer.bytes);
    this.lsn += size;
    return positions;
  }

  /** Appends bytes as they are; the LSN does not move. */
  append(bytes: Uint8Array): void {
    Deno.writeFileSync(this.#path, bytes, { append: true });
  }

  /** Turns a bit of the byte at an LSN of the present segment. */
  damage(lsn: number): void {
    const firstLsn = Number.parseInt(this.#path.slice(-20, -4), 16);
    const bytes = Deno.readFileSync(this.#path);
    bytes[lsn - firstLsn + SEGMENT_HEADER_BYTES]! ^= 1;
    Deno.writeFileSync(this.#path, bytes);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.dataPath, { recursive: true });
  }
}
