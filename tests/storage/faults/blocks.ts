/** Looks up which bytes of a segment file are which block, so that a test can damage one and say what is lost. */
import assert from "node:assert/strict";
import { LogBuffer } from "../../../src/storage/log/log_buffer.ts";
import { parseSegmentName, readBlocks, SEGMENT_HEADER_BYTES } from "../../../src/storage/log/segment.ts";
import type { FaultyDisk } from "../disk/faulty_disk.ts";
import { WAL } from "../store_rig.ts";

/** A block of a segment. */
export interface BlockPlace {
  readonly path: string;
  readonly firstLsn: number;
  readonly endLsn: number;
  /** Of its first byte in the file. */
  readonly offset: number;
}

/** The whole blocks of a segment, in order. */
export function blocksOf(disk: FaultyDisk, path: string): BlockPlace[] {
  const bytes = disk.contents(path);
  const buffer = new LogBuffer((bytes.length + 7) & ~7);
  buffer.bytes.set(bytes);
  const segmentLsn = parseSegmentName(path.slice(path.lastIndexOf("/") + 1))!;
  const blocks: BlockPlace[] = [];
  for (const item of readBlocks(buffer, bytes.length, segmentLsn, "checksum")) {
    if (item.kind === "damage") continue;
    const endLsn = item.lsn + item.end - item.start;
    blocks.push({ path, firstLsn: item.lsn, endLsn, offset: item.lsn - segmentLsn + SEGMENT_HEADER_BYTES });
  }
  return blocks;
}

/** The block that holds an LSN, in whatever segment. */
export function blockAt(disk: FaultyDisk, lsn: number): BlockPlace {
  for (const name of disk.list(WAL)) {
    if (!name.endsWith(".wal")) continue;
    const found = blocksOf(disk, `${WAL}/${name}`).find(({ firstLsn, endLsn }) => lsn >= firstLsn && lsn < endLsn);
    if (found !== undefined) return found;
  }
  assert.fail(`no block holds ${lsn}`);
}

/** Inverts one bit of the last bytes of a block, where a payload stands in one with a message. */
export function flipIn(disk: FaultyDisk, block: BlockPlace): void {
  disk.flipByte(block.path, block.offset + block.endLsn - block.firstLsn - 16, 1);
}
