/**
 * What earlier starts have reported of a segment: the damage that stands in the copies they kept of it. Damage that came
 * since is news.
 */
import type { Disk } from "../disk/disk.ts";
import { type Damage, readBlocks } from "../log/segment.ts";
import { readSegmentHead, type SegmentFile, SegmentReader } from "../log/segment_files.ts";
import { quarantined } from "./repairs.ts";

/** Reads the copies when they are first asked for. */
export class KnownDamage {
  readonly #disk: Disk;
  readonly #segment: SegmentFile;
  readonly #copies: readonly string[];
  #damage: readonly Pick<Damage, "lsn" | "endLsn">[] | undefined = undefined;

  constructor(disk: Disk, segment: SegmentFile) {
    this.#disk = disk;
    this.#segment = segment;
    this.#copies = quarantined(disk, segment.path);
  }

  /** True when an earlier start has reported something of the segment. */
  get hasCopy(): boolean {
    return this.#copies.length > 0;
  }

  /** True when a copy has no header either. */
  get isOfHeader(): boolean {
    return this.#copies.some((copy) => readSegmentHead(this.#disk, copy).header.kind !== "header");
  }

  /** True when a copy is damaged from the first to the last byte of a stretch. */
  covers({ lsn, endLsn }: Pick<Damage, "lsn" | "endLsn">): boolean {
    if (this.#copies.length === 0) return false;
    this.#damage ??= this.#copies.flatMap((copy) => damageOf(this.#disk, copy, this.#segment.firstLsn));
    return this.#damage.some((known) => lsn >= known.lsn && endLsn <= known.endLsn);
  }
}

function damageOf(disk: Disk, copy: string, firstLsn: number): Pick<Damage, "lsn" | "endLsn">[] {
  const reader = new SegmentReader(disk);
  reader.read(copy);
  const damage: Pick<Damage, "lsn" | "endLsn">[] = [];
  let endLsn = firstLsn;
  for (const item of readBlocks(reader.buffer, reader.size, firstLsn, "records")) {
    if (item.kind === "damage") damage.push(item);
    endLsn = item.kind === "damage" ? item.endLsn : item.lsn + item.end - item.start;
  }
  // What the copy does not reach was missing then.
  damage.push({ lsn: damage.at(-1)?.endLsn === endLsn ? damage.at(-1)!.lsn : endLsn, endLsn: Infinity });
  return damage;
}
