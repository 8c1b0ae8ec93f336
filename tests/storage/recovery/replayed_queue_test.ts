/**
 * `ReplayedQueue` against a plain list with the same rules, on random histories.
 */
import assert from "node:assert/strict";
import { ProgressKind } from "../../../src/storage/log/record.ts";
import { ReplayedEntry, ReplayedQueue } from "../../../src/storage/recovery/replayed_queue.ts";
import { Random } from "../../support/random.ts";

interface Entry {
  readonly position: number;
  packetId: number;
  isReceived: boolean;
  sequence: number;
}

/** The rules without any speed. */
class ListQueue {
  entries: Entry[] = [];

  add(position: number, sequence: number): void {
    this.entries.push({ position, packetId: 0, isReceived: false, sequence });
  }

  progress(kind: number, position: number, packetId: number, sequence: number): void {
    const rank = (entry: Entry) => entry.packetId === packetId ? 0 : entry.packetId === 0 ? 1 : 2;
    const [entry] = this.entries.filter((candidate) => candidate.position === position && rank(candidate) < 2)
      .sort((a, b) => rank(a) - rank(b) || a.sequence - b.sequence);
    if (entry === undefined) return;
    if (kind === ProgressKind.SENT) Object.assign(entry, { packetId, sequence });
    else if (kind === ProgressKind.DONE) this.entries.splice(this.entries.indexOf(entry), 1);
    else {
      entry.isReceived = true;
      if (packetId !== 0) entry.packetId = packetId;
    }
  }
}

function textOf(entries: readonly Entry[]): string[] {
  return [...entries].sort((a, b) => a.sequence - b.sequence)
    .map(({ position, packetId, isReceived }) => `${position}#${packetId}${isReceived ? "!" : ""}`);
}

Deno.test("ReplayedQueue says the same as a plain list after any history", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = new Random(seed);
    const queue = new ReplayedQueue();
    const list = new ListQueue();
    /** Short and mostly in order, or long and in any order. */
    const backlogMax = seed % 3 === 0 ? 2500 : 1 + random.below(40);
    const strayEvery = seed % 2 === 0 ? 20 : 1_000_000;
    let position = 100;
    for (let sequence = 0; sequence < 8000; sequence++) {
      if (list.entries.length < backlogMax && !random.oneIn(3)) {
        const isStray = random.oneIn(strayEvery);
        const at = isStray ? 8 * random.below(position >> 3) : position += 8;
        queue.add(new ReplayedEntry(at, 1, 1, [], sequence));
        list.add(at, sequence);
        continue;
      }
      if (list.entries.length === 0) continue;
      const isOldest = !random.oneIn(4);
      const chosen = list.entries[isOldest ? 0 : random.below(list.entries.length)]!;
      const kind = random.pick(Object.values(ProgressKind));
      const packetId = random.oneIn(10) ? random.below(5) : chosen.packetId || sequence;
      const at = random.oneIn(50) ? chosen.position + 4 : chosen.position;
      queue.progress(kind, at, packetId, sequence);
      list.progress(kind, at, packetId, sequence);
    }
    assert.deepEqual(textOf(queue.owed()), textOf(list.entries), `seed ${seed}`);
    queue.clear();
    assert.deepEqual(queue.owed(), []);
  }
});
