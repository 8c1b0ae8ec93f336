/**
 * `promptmq wal inspect`: what is in a log, by segment, record type and topic.
 */

import { readWallOffset } from "../../storage/clock_note.ts";
import type { Disk } from "../../storage/disk/disk.ts";
import type { LogBuffer } from "../../storage/log/log_buffer.ts";
import { messageSize, RecordType, recordType } from "../../storage/log/record.ts";
import { listSetAside, type WalDirectory } from "./wal_directory.ts";
import { type LiveCounts, liveCounts, type LiveUnknown } from "./wal_live.ts";
import { topicOf } from "./wal_record.ts";
import { type RecordCounts, type SegmentSurvey, surveyLog } from "./wal_survey.ts";

/** Messages of one topic in the segments. */
export interface TopicCount {
  readonly topic: string;
  messages: number;
  /** Topic, properties and payload. */
  bytes: number;
}

/** Everything `wal inspect` tells. */
export interface Inspection {
  readonly directory: string;
  /** Their times are wall time. */
  readonly segments: readonly SegmentSurvey[];
  /** Names of what recovery put aside. */
  readonly setAside: readonly string[];
  readonly totals: { readonly bytes: number; readonly blocks: number; readonly records: RecordCounts };
  /** The busiest topics, most messages first. */
  readonly topics: readonly TopicCount[];
  /** Topics seen, the ones not listed included. */
  readonly topicCount: number;
  readonly live: LiveCounts | LiveUnknown;
}

/** Topics that are listed. */
const TOPICS_LISTED = 20;
/** Topics that are counted one by one; messages of more are not counted by topic. */
const TOPICS_COUNTED_MAX = 1_000_000;

/** Reads a whole log. Takes memory for one segment and the topics in all of them. */
export function inspectLog(disk: Disk, wal: WalDirectory): Inspection {
  const topics = new Map<string, TopicCount>();
  const count = (buffer: LogBuffer, start: number): void => {
    if (recordType(buffer, start) === RecordType.PUBLISH) countTopic(topics, buffer, start);
  };
  const wallOffsetMs = readWallOffset(disk, wal.path);
  const segments = surveyLog(disk, wal.path, count).map((segment) => ({
    ...segment,
    firstWrittenMs: later(segment.firstWrittenMs, wallOffsetMs),
    lastWrittenMs: later(segment.lastWrittenMs, wallOffsetMs),
  }));
  const records: RecordCounts = { publish: 0, progress: 0, release: 0, route: 0, change: 0 };
  let [bytes, blocks] = [0, 0];
  for (const segment of segments) {
    bytes += segment.bytes;
    blocks += segment.blocks;
    for (const type of Object.keys(records) as (keyof RecordCounts)[]) records[type] += segment.records[type];
  }
  const busiest = [...topics.values()].sort((a, b) => b.messages - a.messages || b.bytes - a.bytes);
  return {
    directory: wal.path,
    segments,
    setAside: listSetAside(disk, wal.path),
    totals: { bytes, blocks, records },
    topics: busiest.slice(0, TOPICS_LISTED),
    topicCount: topics.size,
    live: liveCounts(disk, wal),
  };
}

function later(ms: number | undefined, byMs: number): number | undefined {
  return ms === undefined ? undefined : ms + byMs;
}

function countTopic(topics: Map<string, TopicCount>, buffer: LogBuffer, start: number): void {
  const topic = topicOf(buffer, start);
  let known = topics.get(topic);
  if (known === undefined) {
    if (topics.size >= TOPICS_COUNTED_MAX) return;
    topics.set(topic, known = { topic, messages: 0, bytes: 0 });
  }
  known.messages++;
  known.bytes += messageSize(buffer, start);
}
