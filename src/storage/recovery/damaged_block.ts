/**
 * Reads from a damaged piece of the log what can still be read, for people: how many records it had and the Topic Names
 * of its messages. Nothing of it is used for anything else, because nothing of it is proven.
 */
import type { LogBuffer } from "../log/log_buffer.ts";
import { PUBLISH_HEADER_BYTES, recordBytes, RecordType, recordType, validateRecord } from "../log/record.ts";
import { BLOCK_HEADER_BYTES } from "../log/segment.ts";

/** Something that was in the log and cannot be read any more. */
export interface Loss {
  readonly firstLsn: number;
  /** The same as `firstLsn` when damage was found but nothing is missing. */
  readonly endLsn: number;
  /** Path of the segment. */
  readonly segment: string;
  readonly reason: string;
  /** Topic Names of messages in it, as far as they can be read; the first ten. */
  readonly topics: readonly string[];
  /** Records in it, when that can be read. */
  readonly records?: number;
  /** True when an earlier start has met and reported it. */
  readonly isKnown: boolean;
}

/** What a damaged piece seems to have held. */
export interface DamagedContents {
  /** Topic Names, each once, at most `TOPICS_MAX`. */
  readonly topics: readonly string[];
  /** As the header of its first block says, when that can be read. */
  readonly records: number | undefined;
}

/**
 * Reads the first block of a damaged piece, as far as its records make sense.
 *
 * @param start Offset of the piece in the buffer.
 * @param end Offset behind it.
 * @param lsn Of its first byte.
 */
export function readDamaged(from: LogBuffer, start: number, end: number, lsn: number): DamagedContents {
  const topics = new Set<string>();
  const last = end & ~7;
  if (last - start < BLOCK_HEADER_BYTES) return { topics: [], records: undefined };
  for (let at = start + BLOCK_HEADER_BYTES; at < last && topics.size < TOPICS_MAX;) {
    if (validateRecord(from, at, last) !== undefined) break;
    if (recordType(from, at) === RecordType.PUBLISH) {
      const topic = topicOf(from, at);
      if (topic !== undefined) topics.add(topic);
    }
    at += recordBytes(from, at);
  }
  const isHeaderReadable = from.doubles[(start >> 3) + 1] === lsn;
  return { topics: [...topics], records: isHeaderReadable ? from.words[(start >> 2) + 5]! : undefined };
}

/** The Topic Name of the PUBLISH record at an offset; undefined when it is no text. */
export function topicOf(from: LogBuffer, at: number): string | undefined {
  const topicStart = at + PUBLISH_HEADER_BYTES;
  try {
    return DECODER.decode(
      from.bytes.subarray(topicStart + TOPIC_PREFIX_BYTES, topicStart + from.words[(at >> 2) + 3]!),
    );
  } catch {
    return undefined;
  }
}

const DECODER = new TextDecoder("utf-8", { fatal: true });
const TOPIC_PREFIX_BYTES = 2;
/** Topic Names of one piece that are reported. */
const TOPICS_MAX = 10;
