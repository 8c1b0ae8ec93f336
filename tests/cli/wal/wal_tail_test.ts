/**
 * `promptmq wal tail`: what is told of a log that grows, and what is not told.
 */

import assert from "node:assert/strict";
import { LogTail } from "../../../src/cli/wal/wal_tail.ts";
import { type LineOutput, TailPrinter } from "../../../src/cli/wal/wal_tail_printer.ts";
import { openNodeDisk } from "../../../src/storage/disk/node_disk.ts";
import { change, FIXTURE_MS, progress, publish, release, route, WalFixture } from "./wal_fixture.ts";

/** Keeps what is printed. */
class Printed implements LineOutput {
  #text = "";

  writeSync(bytes: Uint8Array): number {
    this.#text += new TextDecoder().decode(bytes);
    return bytes.length;
  }

  /** The lines since the last call. */
  take(): Record<string, unknown>[] {
    const lines = this.#text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
    this.#text = "";
    return lines;
  }
}

interface Follower {
  /** Looks once, and gives what was printed. */
  look(): Record<string, unknown>[];
}

function follow(
  wal: WalFixture,
  { from, filter, payloads = "size" }: { from?: number; filter?: string; payloads?: "size" | "text" } = {},
): Follower {
  const printed = new Printed();
  const printer = new TailPrinter(printed, filter, payloads);
  const tail = new LogTail(openNodeDisk(), wal.walPath, from, printer);
  return {
    look: () => {
      tail.look();
      printer.flush();
      return printed.take();
    },
  };
}

const topics = (lines: readonly Record<string, unknown>[]) => lines.map(({ topic }) => topic);

Deno.test("wal tail prints every type of record with its fields", () => {
  using wal = new WalFixture();
  wal.segment();
  const [routed] = wal.block(route({ receivers: [], groups: [] }));
  const time = new Date(FIXTURE_MS + wal.lsn).toISOString();
  const [message, ...others] = wal.block(
    publish("a/b", "hi", { qos: 2, retain: true, publisher: 3, packetId: 9, route: routed! }),
    progress(1, 4, 96, 11),
    progress(3, 4, 96, 11, 2),
    release(3, 9),
    change({ kind: "end", session: 4 }),
  );
  const lines = follow(wal, { from: message! }).look();
  assert.deepEqual(lines, [
    {
      ...{ position: message, time, type: "publish", topic: "a/b", qos: 2, retain: true, payloadBytes: 2 },
      ...{ publisher: 3, packetId: 9, route: routed },
    },
    { position: others[0], time, type: "progress", kind: "sent", session: 4, message: 96, packetId: 11 },
    { position: others[1], time, type: "progress", kind: "done", session: 4, message: 96, packetId: 11, group: 2 },
    { position: others[2], time, type: "release", session: 3, packetId: 9 },
    { position: others[3], time, type: "change", change: { kind: "end", session: 4 } },
  ]);
});

Deno.test("wal tail starts at the end and follows into the next segment", () => {
  using wal = new WalFixture();
  const follower = follow(wal);
  assert.deepEqual(follower.look(), []);
  wal.segment().block(publish("first", "1"));
  assert.deepEqual(topics(follower.look()), ["first"]);
  const late = follow(wal);
  wal.block(publish("second", "2"));
  wal.segment().block(publish("third", "3"));
  assert.deepEqual(topics(late.look()), ["second", "third"]);
  assert.deepEqual(topics(follower.look()), ["second", "third"]);
  assert.deepEqual(late.look(), []);
});

Deno.test("wal tail waits for the rest of a block that is being written", () => {
  using wal = new WalFixture();
  wal.segment().block(publish("whole", "1"));
  const follower = follow(wal, { from: 0 });
  using other = new WalFixture();
  other.segment(wal.lsn).block(publish("written in two pieces", "2"));
  const block = Deno.readFileSync(other.segmentPath).subarray(64);
  wal.append(block.subarray(0, 30));
  assert.deepEqual(topics(follower.look()), ["whole"]);
  wal.append(block.subarray(30));
  assert.deepEqual(topics(follower.look()), ["written in two pieces"]);
});

Deno.test("wal tail tells what it cannot read and goes on behind it", () => {
  using wal = new WalFixture();
  wal.segment().block(publish("one", "1"));
  const damagedLsn = wal.lsn;
  wal.block(publish("two", "2"));
  const nextLsn = wal.lsn;
  wal.block(publish("three", "3"));
  wal.damage(damagedLsn + 40);
  const lines = follow(wal, { from: 0 }).look();
  assert.deepEqual(lines.map(({ type, topic }) => topic ?? type), ["one", "missing", "three"]);
  assert.deepEqual([lines[1]?.["position"], lines[1]?.["end"]], [damagedLsn, nextLsn]);
});

Deno.test("wal tail tells nothing twice when a segment repeats blocks of the one before", () => {
  using wal = new WalFixture();
  wal.segment().block(publish("one", "1"));
  const againLsn = wal.lsn;
  wal.block(publish("two", "2"));
  const follower = follow(wal, { from: 0 });
  assert.deepEqual(topics(follower.look()), ["one", "two"]);
  wal.segment(againLsn).block(publish("two", "2"));
  wal.block(publish("three", "3"));
  assert.deepEqual(topics(follower.look()), ["three"]);
  assert.deepEqual(topics(follow(wal, { from: 0 }).look()), ["one", "two", "three"]);
});

Deno.test("wal tail goes on when compaction has removed a segment that it had not read", () => {
  using wal = new WalFixture();
  wal.segment().block(publish("one", "1"));
  const follower = follow(wal, { from: 0 });
  assert.deepEqual(topics(follower.look()), ["one"]);
  wal.segment().block(publish("two", "2"));
  Deno.removeSync(wal.segmentPath);
  wal.segment().block(publish("three", "3"));
  assert.deepEqual(follower.look().map(({ type, topic }) => topic ?? type), ["missing", "three"]);
});

Deno.test("wal tail --filter shows the messages that match and nothing else", () => {
  using wal = new WalFixture();
  wal.segment().block(
    publish("a/1", ""),
    publish("b/1", ""),
    publish("$SYS/x", ""),
    change({ kind: "end", session: 1 }),
  );
  assert.deepEqual(topics(follow(wal, { from: 0, filter: "a/+" }).look()), ["a/1"]);
  assert.deepEqual(topics(follow(wal, { from: 0, filter: "#" }).look()), ["a/1", "b/1"]);
});

Deno.test("wal tail --payload shows short UTF-8 and nothing else", () => {
  using wal = new WalFixture();
  wal.segment().block(publish("a", "21 °C"), publish("a", new Uint8Array([0xff])), publish("a", "x".repeat(2000)));
  const payloads = (lines: readonly Record<string, unknown>[]) => lines.map(({ payload }) => payload);
  assert.deepEqual(payloads(follow(wal, { from: 0, payloads: "text" }).look()), ["21 °C", undefined, undefined]);
  assert.deepEqual(payloads(follow(wal, { from: 0 }).look()), [undefined, undefined, undefined]);
});
