/**
 * What waits for a commit: acknowledgements and deliveries, in the order of their positions.
 *
 * A ring of reusable entries, so waiting allocates nothing. Positions are pushed in increasing order; `peek` gives
 * out only entries at or below the committed position. The ring grows by doubling; what bounds it is that publishers
 * whose commits lag are not read from.
 */
import type { PacketId } from "../protocol/distinct_number.ts";
import type { PacketSink } from "../session/packet_sink.ts";
import type { Session } from "../session/session.ts";
import type { Position } from "../storage/model/stored.ts";
import type { MatchResult } from "../topics/subscription_trie.ts";
import type { Topic } from "../topics/topic.ts";
import type { PublishSource } from "./publish_source.ts";

/** What to do once the entry's position is committed. */
export const Waiting = {
  /** Acknowledge a PUBLISH, then deliver it. */
  PUBLISH: 0,
  /** Write the acknowledgement alone. */
  ACKNOWLEDGE: 1,
  /** Call `run`. */
  RUN: 2,
} as const;

/** One waiting entry; a `push` that comes after its `drop` uses it again. */
export class WaitingEntry {
  /** What must be committed first. */
  position: Position = 0;
  /** Where the message of a PUBLISH is stored: it may be a position that is never committed itself. */
  stored = 0;
  /** True for a PUBLISH of QoS 0. */
  isQos0 = false;
  kind: number = Waiting.RUN;
  /** Where a PUBLISH comes from, or whom to acknowledge. */
  source: PublishSource | null = null;
  /** The client's connection at the time; the acknowledgement is for this one only. */
  sink: PacketSink | null = null;
  /** One of `AckHeader`, or 0 when nothing is acknowledged. */
  header = 0;
  packetId: PacketId = 0;
  reasonCode = 0;
  /** Sessions whose queues promised room; read for a PUBLISH alone. */
  promising: readonly Session[] = NOBODY;
  /** How many stored bytes each of them promised. */
  promisedBytes = 0;
  topic: Topic | null = null;
  matched: MatchResult<Session> | null = null;
  run: ((nowMs: number) => void) | null = null;
}

/** First in, first out, up to the committed position. */
export class CommitQueue {
  #entries: WaitingEntry[] = [];
  #head = 0;
  #count = 0;

  constructor() {
    for (let i = 0; i < CAPACITY_MIN; i++) this.#entries.push(new WaitingEntry());
  }

  /** Entries that wait. */
  get count(): number {
    return this.#count;
  }

  /** The entry to fill for the next position; every field must be set. */
  push(): WaitingEntry {
    if (this.#count === this.#entries.length) this.#grow();
    const entry = this.#entries[(this.#head + this.#count) & (this.#entries.length - 1)]!;
    this.#count++;
    return entry;
  }

  /** The oldest entry if it is committed; it stays untouched until `drop`. */
  peek(committed: number): WaitingEntry | undefined {
    if (this.#count === 0) return undefined;
    const entry = this.#entries[this.#head]!;
    return entry.position <= committed ? entry : undefined;
  }

  /** Removes the oldest entry and lets go of what it refers to. */
  drop(): void {
    const entry = this.#entries[this.#head]!;
    entry.source = null;
    entry.sink = null;
    entry.topic = null;
    entry.matched = null;
    entry.promising = NOBODY;
    entry.run = null;
    this.#head = (this.#head + 1) & (this.#entries.length - 1);
    this.#count--;
  }

  #grow(): void {
    const old = this.#entries;
    const entries: WaitingEntry[] = [];
    for (let i = 0; i < old.length; i++) entries.push(old[(this.#head + i) & (old.length - 1)]!);
    for (let i = 0; i < old.length; i++) entries.push(new WaitingEntry());
    this.#entries = entries;
    this.#head = 0;
  }
}

const NOBODY: readonly Session[] = [];
/** A power of two, as every later capacity. */
const CAPACITY_MIN = 1_024;
