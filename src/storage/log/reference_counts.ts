/**
 * How many references the broker holds to stored messages, by page of the log.
 *
 * A count per message would cost memory for each message of a backlog; what the store has to know is only when a
 * stretch of the log is needed by nobody. A page is PAGE_BYTES of positions. Pages are kept in groups that are made
 * with their first reference and dropped with their last, so that one old retained message does not keep counts for
 * everything written since.
 */

/** See the head of this file. */
export class ReferenceCounts {
  /** References to all messages. */
  total = 0;
  readonly #groups: (PageGroup | undefined)[] = [];

  /** Adds a reference to a message. */
  retain(position: number): void {
    const page = Math.floor(position / PAGE_BYTES);
    const index = Math.floor(page / PAGES_PER_GROUP);
    let group = this.#groups[index];
    if (group === undefined) {
      // A dense array up to here: a hole would turn it into a dictionary.
      while (this.#groups.length < index) this.#groups.push(undefined);
      group = this.#groups[index] = new PageGroup();
    }
    group.counts[page - index * PAGES_PER_GROUP]!++;
    group.total++;
    this.total++;
  }

  /**
   * Removes a reference.
   *
   * @returns True when the page of the message has none left.
   */
  release(position: number): boolean {
    const page = Math.floor(position / PAGE_BYTES);
    const index = Math.floor(page / PAGES_PER_GROUP);
    const group = this.#groups[index];
    const offset = page - index * PAGES_PER_GROUP;
    const count = group === undefined ? 0 : group.counts[offset]!;
    if (count === 0) throw new Error("a message was released more often than retained");
    group!.counts[offset] = count - 1;
    this.total--;
    // The newest group stays: nearly every message comes and goes there.
    if (--group!.total === 0 && index < this.#groups.length - 1) this.#groups[index] = undefined;
    return count === 1;
  }

  /** References to the pages that overlap `first` to below `end`. O(pages) in groups that have any. */
  count(first: number, end: number): number {
    let count = 0;
    this.#forEachCount(first, end, (references) => {
      count += references;
      return true;
    });
    return count;
  }

  /** True when no page that overlaps `first` to below `end` has a reference. O(pages) in groups that have any. */
  isFree(first: number, end: number): boolean {
    let isFree = true;
    this.#forEachCount(first, end, (references) => isFree = references === 0);
    return isFree;
  }

  /** Visits the counts of the pages that overlap a stretch, until the visitor returns false. */
  #forEachCount(first: number, end: number, visit: (references: number) => boolean): void {
    const lastPage = Math.floor((end - 1) / PAGE_BYTES);
    for (let page = Math.floor(first / PAGE_BYTES); page <= lastPage;) {
      const index = Math.floor(page / PAGES_PER_GROUP);
      const group = this.#groups[index];
      if (group === undefined || group.total === 0) {
        page = (index + 1) * PAGES_PER_GROUP;
        continue;
      }
      if (!visit(group.counts[page - index * PAGES_PER_GROUP]!)) return;
      page++;
    }
  }
}

class PageGroup {
  readonly counts = new Uint32Array(PAGES_PER_GROUP);
  total = 0;
}

/** Bytes of positions that share a count. */
const PAGE_BYTES = 262_144;
/** 1 GiB of positions, 16 KiB of counts. */
const PAGES_PER_GROUP = 4_096;
