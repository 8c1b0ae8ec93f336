/**
 * What the broker wrote down, noted by a message store that passes everything on: which record of the log speaks of which
 * message, subscription and Session. So the simulation can say of every acknowledgement which bytes it rests on, and after
 * a crash which promises the log still knows of.
 *
 * The notes outlive the process, as the simulation does: `forgetFrom` drops what a crash took.
 */
import type { Message } from "../../src/protocol/message.ts";
import type { CommitListener } from "../../src/storage/log/commit_listeners.ts";
import type { ProgressKind } from "../../src/storage/log/record.ts";
import { type MessageStore, STORE_FULL } from "../../src/storage/message_store.ts";
import type { OwedWalk, RecoveredState } from "../../src/storage/model/durable_state.ts";
import type { Position, Route, SessionChange } from "../../src/storage/model/stored.ts";

/** Positions from here on are of messages that are not logged. */
export const VOLATILE_FROM = 2 ** 52;

/** A note of a PROGRESS record. */
export interface ProgressNote {
  readonly lsn: number;
  readonly session: number;
  readonly of: Position;
}

/** A note of a CHANGE record. */
export interface ChangeNote {
  readonly lsn: number;
  readonly change: SessionChange;
}

/** See the head of this file. */
export class Ledger {
  /** Positions of the copies of a message, by its payload, ascending. */
  readonly copies = new Map<string, Position[]>();
  /** Payloads that the store refused because it was full, ever. */
  readonly refused = new Set<string>();
  /** By session number. */
  readonly clientIds = new Map<number, string>();
  /** Moments at which the log was seen to be written up to an LSN, ascending. */
  times: { readonly endLsn: number; readonly atMs: number }[] = [];
  progress: ProgressNote[] = [];
  changes: ChangeNote[] = [];
  readonly #payloads = new Map<Position, string>();
  /** What crashes took since somebody looked last. */
  lostProgress: { readonly clientId: string | undefined; readonly payload: string }[] = [];
  lostChanges: SessionChange[] = [];
  readonly #volatile = new Set<string>();
  readonly #releases = new Map<string, Position>();

  noteMessage(position: Position, payload: string): void {
    const known = this.copies.get(payload);
    if (known === undefined) this.copies.set(payload, [position]);
    else known.push(position);
    this.#payloads.set(position, payload);
    if (position >= VOLATILE_FROM) this.#volatile.add(payload);
  }

  /** The broker stored a Retained Message once more, for one Session: nothing was published. */
  noteStoredAgain(position: Position, payload: string): void {
    this.#payloads.set(position, payload);
  }

  /** True for a message of which a copy was not logged, as nobody needed it to be. */
  isVolatile(payload: string): boolean {
    return this.#volatile.has(payload);
  }

  noteRelease(session: number, packetId: number, lsn: number): void {
    this.#releases.set(`${session} ${packetId}`, lsn);
  }

  /** Position of the last RELEASE record of a Packet Identifier; undefined when there is none. */
  releaseOf(session: number, packetId: number): Position | undefined {
    return this.#releases.get(`${session} ${packetId}`);
  }

  noteChange(lsn: number, change: SessionChange): void {
    if (change.kind === "open") this.clientIds.set(change.session, change.clientId);
    this.changes.push({ lsn, change });
  }

  /** Position of the first CHANGE record from an LSN on that a test accepts. */
  changeSince(sinceLsn: number, accepts: (change: SessionChange) => boolean): Position | undefined {
    return this.changes.find(({ lsn, change }) => lsn >= sinceLsn && accepts(change))?.lsn;
  }

  /** Called before time moves on. */
  noteWritten(endLsn: number, atMs: number): void {
    if (endLsn > (this.times.at(-1)?.endLsn ?? 0)) this.times.push({ endLsn, atMs });
  }

  /** When the record at an LSN was written; undefined when that was just now. */
  writtenMs(lsn: number): number | undefined {
    return this.times.find(({ endLsn }) => endLsn > lsn)?.atMs;
  }

  /** A crash took everything from an LSN on, and what was only in memory. Called before the next process writes. */
  forgetFrom(endLsn: Position): void {
    const isLost = ({ lsn }: { readonly lsn: number }) => lsn >= endLsn;
    for (const { session, of } of this.progress.filter(isLost)) {
      const payload = this.#payloads.get(of);
      if (payload !== undefined) this.lostProgress.push({ clientId: this.clientIds.get(session), payload });
    }
    this.lostChanges.push(...this.changes.filter(isLost).map(({ change }) => change));
    this.progress = this.progress.filter((note) => !isLost(note));
    this.changes = this.changes.filter((note) => !isLost(note));
    this.times = [];
    for (const [key, lsn] of this.#releases) if (lsn >= endLsn) this.#releases.delete(key);
    for (const [payload, positions] of this.copies) {
      const kept = positions.filter((position) => position < endLsn);
      if (kept.length === positions.length) continue;
      if (kept.length === 0) this.copies.delete(payload);
      else this.copies.set(payload, kept);
    }
    for (const position of this.#payloads.keys()) if (position >= endLsn) this.#payloads.delete(position);
  }
}

type Store = MessageStore["Service"];

/** Passes everything on to a store, and notes it. */
export class NotedStore {
  readonly #store: Store;
  readonly #ledger: Ledger;
  /** Position of the last route that leads to nobody. */
  #toNobody = 0;

  constructor(store: Store, ledger: Ledger) {
    this.#store = store;
    this.#ledger = ledger;
  }

  get committed(): Position {
    return this.#store.committed;
  }

  get lastPosition(): Position {
    return this.#store.lastPosition;
  }

  get isFull(): boolean {
    return this.#store.isFull;
  }

  get isCongested(): boolean {
    return this.#store.isCongested;
  }

  get hasSessionNumbers(): boolean {
    return this.#store.hasSessionNumbers;
  }

  get routesValidFrom(): Position {
    return this.#store.routesValidFrom;
  }

  takeRecovered(): RecoveredState | undefined {
    return this.#store.takeRecovered();
  }

  get isDurable(): boolean {
    return this.#store.isDurable;
  }

  get isProgressPromised(): boolean {
    return this.#store.isProgressPromised;
  }

  get bytesHeld(): number {
    return this.#store.bytesHeld;
  }

  newSessionNumber(): number {
    return this.#store.newSessionNumber();
  }

  append(message: Message, publisher: number, packetId: number, route: Position): Position {
    const position = this.#store.append(message, publisher, packetId, route);
    if (route === 0 || route !== this.#toNobody) return this.#noteAppend(message, position);
    this.#ledger.noteStoredAgain(position, payloadOf(message));
    return position;
  }

  appendVolatile(message: Message): Position {
    return this.#noteAppend(message, this.#store.appendVolatile(message));
  }

  #noteAppend(message: Message, position: Position): Position {
    const payload = payloadOf(message);
    if (position === STORE_FULL) this.#ledger.refused.add(payload);
    else {
      this.#ledger.noteMessage(position, payload);
    }
    return position;
  }

  appendRoute(route: Route): Position {
    const position = this.#store.appendRoute(route);
    if (route.receivers.length + route.groups.length === 0) this.#toNobody = position;
    return position;
  }

  appendProgress(kind: ProgressKind, session: number, position: Position, packetId: number, group: number): void {
    this.#store.appendProgress(kind, session, position, packetId, group);
    if (position >= VOLATILE_FROM) return;
    this.#ledger.progress.push({ lsn: this.#store.lastPosition, session, of: position });
  }

  promiseProgress(kind: ProgressKind, session: number, position: Position, packetId: number, group: number): Position {
    const safeAt = this.#store.promiseProgress(kind, session, position, packetId, group);
    if (position < VOLATILE_FROM) this.#ledger.progress.push({ lsn: safeAt, session, of: position });
    return safeAt;
  }

  appendRelease(session: number, packetId: number): Position {
    const position = this.#store.appendRelease(session, packetId);
    this.#ledger.noteRelease(session, packetId, position);
    return position;
  }

  appendSessionChange(change: SessionChange): Position {
    const position = this.#store.appendSessionChange(change);
    this.#ledger.noteChange(position, change);
    return position;
  }

  commit(): void {
    this.#store.commit();
  }

  whenCommitted(listener: CommitListener): () => void {
    return this.#store.whenCommitted(listener);
  }

  setOwedWalk(walk: OwedWalk): void {
    this.#store.setOwedWalk(walk);
  }

  read(position: Position, into: Message): boolean {
    return this.#store.read(position, into);
  }

  sizeOf(position: Position): number {
    return this.#store.sizeOf(position);
  }

  retain(position: Position): void {
    this.#store.retain(position);
  }

  release(position: Position): void {
    this.#store.release(position);
  }
}

function payloadOf({ payloadBytes, payloadStart, payloadEnd }: Message): string {
  return DECODER.decode(payloadBytes.subarray(payloadStart, payloadEnd));
}

/** Shows that this is a message store. */
export function asMessageStore(store: NotedStore): Store {
  return store;
}

const DECODER = new TextDecoder();
