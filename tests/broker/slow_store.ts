/**
 * A message store for tests: it commits only when it is told to, counts references strictly, and spoils every view it
 * gave out as soon as the contract allows it.
 *
 * Unlike the store in memory, each append of any kind has a position of its own, as a log on disk would give it, and the
 * store survives a crash: `survivor` is a new one that starts from what was kept, as `naive_replay.ts` reads it.
 */
import assert from "node:assert/strict";
import type { Message } from "../../src/protocol/message.ts";
import { type CommitListener, CommitListeners } from "../../src/storage/log/commit_listeners.ts";
import { type MessageStore, STORE_FULL } from "../../src/storage/message_store.ts";
import type { RecoveredState } from "../../src/storage/model/durable_state.ts";
import type { Position, Route, SessionChange } from "../../src/storage/model/stored.ts";
import { replay } from "./naive_replay.ts";
import { clientIdsOf, lineOf, type LogEntry, Stored } from "./store_log.ts";

/**
 * What a crash leaves: `committed` = all that was told to be safe and nothing else, as a power cut may; `written` = all
 * that `commit` was ever called for, as a killed process does.
 */
export type Crash = "committed" | "written";

/** See the head of this file. */
export class SlowStore {
  committed: Position = 0;
  /** While true, `commit` only asks; `finishCommit` answers. */
  isSlow = false;
  /** While true, messages are refused. */
  isFull = false;
  isCongested = false;
  hasSessionNumbers = true;
  isDurable = true;
  /** While true, messages that nobody needs after a crash are not logged. */
  isSparse = false;
  /** True when every commit counts as one that outlives a power cut. */
  isProgressPromised = false;
  routesValidFrom: Position = 0;
  /** Topics of messages that cannot be read, after a restart neither. */
  unreadable = new Set<string>();
  /** Topics of all retained messages ever stored. */
  readonly retainedTopics = new Set<string>();
  /** Everything appended, messages that are not logged excepted. */
  readonly entries: LogEntry[] = [];
  readonly #messages = new Map<Position, Counted>();
  /** Recovered positions may be retained until the first commit. */
  #isStarting: boolean;
  #lastPosition = 0;
  #volatileCount = 0;
  #sessions = 0;
  #askedFor = 0;
  #isAsked = false;
  #recovered: RecoveredState | undefined;
  readonly #listeners = new CommitListeners();
  #view: { readonly bytes: Uint8Array; readonly position: Position } | undefined;

  /** @param past What an earlier store kept. */
  constructor(past: readonly LogEntry[] = []) {
    for (const entry of past) {
      this.entries.push(entry);
      this.#lastPosition = entry.position;
      if (entry.kind === "publish") {
        this.#messages.set(entry.position, { stored: entry.stored, references: 0 });
        if (entry.stored.retain) this.retainedTopics.add(entry.stored.topicName);
      } else if (entry.kind === "change" && entry.change.kind === "open") {
        this.#sessions = Math.max(this.#sessions, entry.change.session);
      }
    }
    this.committed = this.routesValidFrom = this.#lastPosition;
    this.#recovered = past.length === 0 ? undefined : replay(past);
    this.#isStarting = past.length > 0;
  }

  /** The store of the process that comes after a crash of this one. */
  survivor(crash: Crash): SlowStore {
    const end = crash === "committed" ? this.committed : this.#askedFor;
    const survivor = new SlowStore(this.entries.filter(({ position }) => position <= Math.max(end, this.committed)));
    survivor.isDurable = this.isDurable;
    survivor.isSparse = this.isSparse;
    survivor.unreadable = this.unreadable;
    survivor.isProgressPromised = this.isProgressPromised;
    return survivor;
  }

  /** Messages and the life of Sessions, as lines; see `store_log.ts`. */
  get records(): string[] {
    return this.#linesOf((entry) =>
      entry.kind === "publish" || entry.kind === "release" ||
      (entry.kind === "change" && LIFE_CHANGES.has(entry.change.kind))
    );
  }

  /** All entries as lines, from a position on. */
  linesAfter(position: Position): string[] {
    return this.#linesOf((entry) => entry.position > position);
  }

  /** The same, of one kind of line. */
  linesOf(prefix: string): string[] {
    return this.#linesOf(() => true).filter((line) => line.startsWith(`${prefix} `));
  }

  #linesOf(isWanted: (entry: LogEntry) => boolean): string[] {
    const clientIds = clientIdsOf(this.entries);
    return this.entries.filter(isWanted).map((entry) => lineOf(entry, clientIds));
  }

  /** Messages with at least one reference. */
  get liveMessages(): number {
    return [...this.#messages.values()].filter(({ references }) => references > 0).length;
  }

  get bytesHeld(): number {
    return this.#messages.size;
  }

  get lastPosition(): Position {
    return this.#lastPosition;
  }

  /** Starts a new segment: routes of before must not be named any more. */
  beginSegment(): void {
    this.routesValidFrom = this.#lastPosition + 1;
  }

  takeRecovered(): RecoveredState | undefined {
    const recovered = this.#recovered;
    this.#recovered = undefined;
    return recovered;
  }

  newSessionNumber(): number {
    return ++this.#sessions;
  }

  appendVolatile(message: Message): Position {
    const stored = new Stored(message);
    if (message.retain) this.retainedTopics.add(stored.topicName);
    const position = VOLATILE_FROM + ++this.#volatileCount;
    this.#messages.set(position, { stored, references: 1 });
    return position;
  }

  append(message: Message, publisher: number, packetId: number, route: Position): Position {
    if (this.isFull) return STORE_FULL;
    const stored = new Stored(message);
    assert(route === 0 || route >= this.routesValidFrom, "a route of an older segment was named");
    assert(publisher > 0 || packetId === 0, "a Packet Identifier of a Session that is not recorded");
    if (message.retain) this.retainedTopics.add(stored.topicName);
    if (this.isSparse && route === 0 && packetId === 0 && !message.retain) return this.appendVolatile(message);
    const position = ++this.#lastPosition;
    this.entries.push({ kind: "publish", position, stored, publisher, packetId, route });
    this.#messages.set(position, { stored, references: 1 });
    return position;
  }

  appendRoute(route: Route): Position {
    assert(this.isDurable, "a route is of no use to this store");
    this.entries.push({ kind: "route", position: ++this.#lastPosition, route: jsonCopy(route) });
    return this.#lastPosition;
  }

  appendProgress(progress: number, session: number, of: Position, packetId: number, group: number): void {
    if (of >= VOLATILE_FROM) return;
    assert(of > 0 && of <= this.#lastPosition, "progress of a message that was appended");
    this.entries.push({ kind: "progress", position: ++this.#lastPosition, progress, session, of, packetId, group });
  }

  promiseProgress(progress: number, session: number, of: Position, packetId: number, group: number): Position {
    assert(session > 0, "only recorded Sessions are promised progress");
    this.appendProgress(progress, session, of, packetId, group);
    return of >= VOLATILE_FROM ? 0 : this.#lastPosition;
  }

  appendRelease(session: number, packetId: number): Position {
    assert(session > 0, "only recorded Sessions release");
    this.entries.push({ kind: "release", position: ++this.#lastPosition, session, packetId });
    return this.#lastPosition;
  }

  appendSessionChange(change: SessionChange): Position {
    assert(this.isDurable, "Session life is of no use to this store");
    this.entries.push({ kind: "change", position: ++this.#lastPosition, change: jsonCopy(change) });
    return this.#lastPosition;
  }

  commit(): void {
    this.#isStarting = false;
    this.#askedFor = this.#lastPosition;
    this.#isAsked = true;
    if (!this.isSlow) this.finishCommit();
  }

  /** Commits what was asked for by the last `commit`; does nothing when nobody asked. */
  finishCommit(): void {
    if (!this.#isAsked) return;
    this.#isAsked = false;
    this.committed = this.#askedFor;
    this.#listeners.tell(this.committed);
  }

  whenCommitted(listener: CommitListener): () => void {
    return this.#listeners.add(listener);
  }

  setOwedWalk(): void {}

  read(position: Position, into: Message): boolean {
    const { stored } = this.#at(position);
    if (this.unreadable.has(stored.topicName)) return false;
    this.#view?.bytes.fill(0xee);
    const bytes = stored.bytes.slice();
    this.#view = { bytes, position };
    into.topicBytes = into.propertiesBytes = into.payloadBytes = bytes;
    into.topicStart = 0;
    into.topicEnd = into.propertiesStart = stored.topicSize;
    into.propertiesEnd = into.payloadStart = stored.topicSize + stored.propertiesSize;
    into.payloadEnd = bytes.length;
    into.qos = stored.qos;
    into.retain = stored.retain;
    into.expiresAtMs = stored.expiresAtMs;
    return true;
  }

  sizeOf(position: Position): number {
    return this.#at(position).stored.bytes.length;
  }

  retain(position: Position): void {
    const counted = this.#messages.get(position);
    assert(counted !== undefined && (counted.references > 0 || this.#isStarting), `position ${position} is not held`);
    counted.references++;
  }

  release(position: Position): void {
    const counted = this.#at(position);
    counted.references--;
    if (counted.references > 0) return;
    if (!this.#isStarting) this.#messages.delete(position);
    if (this.#view?.position === position) this.#view.bytes.fill(0xee);
  }

  #at(position: Position): Counted {
    const counted = this.#messages.get(position);
    assert(counted !== undefined && counted.references > 0, `position ${position} was used without a reference`);
    return counted;
  }
}

interface Counted {
  readonly stored: Stored;
  references: number;
}

/** What the log does with it. */
function jsonCopy<T>(value: T): T {
  return JSON.parse(JSON.stringify(value));
}

const LIFE_CHANGES: ReadonlySet<SessionChange["kind"]> = new Set(["open", "subscribe", "unsubscribe", "end"]);
/** Positions of messages that are not on record. */
export const VOLATILE_FROM = 2 ** 52;

/** Shows that a `SlowStore` is a message store. */
export function asMessageStore(store: SlowStore): MessageStore["Service"] {
  return store;
}
