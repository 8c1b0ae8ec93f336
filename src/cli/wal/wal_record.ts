/**
 * One record of the log as a plain object for JSON: what `wal tail` prints. Payloads are left out unless asked for.
 */

import { Message } from "../../protocol/message.ts";
import type { LogBuffer } from "../../storage/log/log_buffer.ts";
import {
  ProgressKind,
  ProgressRecord,
  PublishRecord,
  readMessage,
  readRelease,
  readText,
  RecordType,
  recordType,
} from "../../storage/log/record.ts";

/** What is said of a payload: its size alone, or also its text. */
export type PayloadView = "size" | "text";

/** A record, ready for JSON. */
export interface RecordFields {
  readonly position: number;
  /** When its block was written, ISO 8601. */
  readonly time: string;
  readonly type: "publish" | "progress" | "release" | "route" | "change";
  /** Of a PUBLISH only. */
  readonly topic?: string;
  readonly [field: string]: unknown;
}

/**
 * Reads the record at `start`.
 *
 * @param wallOffsetMs What turns the times of the log into wall time.
 */
export function recordFields(
  buffer: LogBuffer,
  start: number,
  position: number,
  writtenMs: number,
  payloadView: PayloadView,
  wallOffsetMs: number,
): RecordFields {
  const time = isoTime(writtenMs + wallOffsetMs);
  switch (recordType(buffer, start)) {
    case RecordType.PUBLISH:
      return { position, time, type: "publish", ...publishFields(buffer, start, payloadView, wallOffsetMs) };
    case RecordType.PROGRESS: {
      const progress = new ProgressRecord();
      progress.read(buffer, start);
      const { kind, session, packetId, group } = progress;
      const fields = { kind: PROGRESS_NAMES[kind] ?? kind, session, message: progress.position, packetId };
      return { position, time, type: "progress", ...fields, ...group === 0 ? {} : { group } };
    }
    case RecordType.RELEASE:
      return { position, time, type: "release", ...readRelease(buffer, start) };
    case RecordType.ROUTE:
      return { position, time, type: "route", route: jsonOf(readText(buffer, start)) };
    default:
      return { position, time, type: "change", change: jsonOf(readText(buffer, start)) };
  }
}

/** The Topic Name of the PUBLISH record at `start`. */
export function topicOf(buffer: LogBuffer, start: number): string {
  readMessage(buffer, start, MESSAGE);
  return TEXT.decode(MESSAGE.topicBytes.subarray(MESSAGE.topicStart + 2, MESSAGE.topicEnd));
}

/** A time in ISO 8601, or "" for one that cannot be. */
export function isoTime(ms: number | undefined): string {
  return ms === undefined || !(Math.abs(ms) <= 8.64e15) ? "" : new Date(ms).toISOString();
}

function publishFields(buffer: LogBuffer, start: number, payloadView: PayloadView, wallOffsetMs: number) {
  const topic = topicOf(buffer, start);
  const record = new PublishRecord();
  record.read(buffer, start);
  const payload = MESSAGE.payloadBytes.subarray(MESSAGE.payloadStart, MESSAGE.payloadEnd);
  const text = payloadView === "text" && payload.length <= PAYLOAD_TEXT_BYTES_MAX ? textOf(payload) : undefined;
  return {
    topic,
    qos: MESSAGE.qos,
    retain: MESSAGE.retain,
    payloadBytes: payload.length,
    ...text === undefined ? {} : { payload: text },
    ...MESSAGE.expiresAtMs === 0 ? {} : { expires: isoTime(MESSAGE.expiresAtMs + wallOffsetMs) },
    publisher: record.publisher,
    ...record.packetId === 0 ? {} : { packetId: record.packetId },
    ...record.route === 0 ? {} : { route: record.route },
  };
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return STRICT_TEXT.decode(bytes);
  } catch {
    return undefined;
  }
}

/** The value of a JSON text, or the text where it is none: a checksum that fits does not make it JSON. */
function jsonOf(bytes: Uint8Array): unknown {
  const text = TEXT.decode(bytes);
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const PROGRESS_NAMES: Readonly<Record<number, string>> = {
  [ProgressKind.SENT]: "sent",
  [ProgressKind.RECEIVED]: "received",
  [ProgressKind.DONE]: "done",
};
/** Longest payload shown as text. */
const PAYLOAD_TEXT_BYTES_MAX = 1024;
const TEXT = new TextDecoder();
const STRICT_TEXT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const MESSAGE = new Message();
