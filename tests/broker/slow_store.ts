/**
 * A message store for tests: it commits only when it is told to, counts references strictly, and spoils every view it
 * gave out as soon as the contract allows it.
 *
 * Unlike the store in memory, each append of any kind has a position of its own, as a log on disk would give it.
 */
import assert from "node:assert/strict";
import { Message } from "../../src/protocol/message.ts";
import type { MessageStore, Position, SessionChange } from "../../src/storage/message_store.ts";
import { STORE_FULL } from "../../src/storage/message_store.ts";

/** What was appended, in order: `publish TOPIC`, `release CLIENT ID`, `open CLIENT SECONDS`, … */
export type StoreRecord = string;

/** See the head of this file. */
export class SlowStore {
  committed: Position = 0;
  /** While true, `commit` only asks; `finishCommit` answers. */
  isSlow = false;
  /** While true, messages are refused. */
  isFull = false;
  readonly records: StoreRecord[] = [];
  /** Topics of all retained messages ever stored. */
  readonly retainedTopics = new Set<string>();
  readonly #messages = new Map<Position, Stored>();
  #lastPosition = 0;
  #askedFor = 0;
  #isAsked = false;
  #listener: (committed: Position) => void = () => {};
  #views: Uint8Array[] = [];

  /** Messages with at least one reference. */
  get liveMessages(): number {
    return this.#messages.size;
  }

  get bytesHeld(): number {
    return this.#messages.size;
  }

  append(message: Message, clientId: string): Position {
    if (this.isFull) return STORE_FULL;
    const stored = new Stored(message);
    this.records.push(`publish ${stored.topicName} by ${clientId}`);
    if (message.retain) this.retainedTopics.add(stored.topicName);
    this.#messages.set(this.#advance(), stored);
    return this.#lastPosition;
  }

  appendRelease(clientId: string, packetId: number): Position {
    this.records.push(`release ${clientId} ${packetId}`);
    return this.#advance();
  }

  appendSessionChange(change: SessionChange): Position {
    const rest = change.kind === "open"
      ? ` ${change.sessionExpiryInterval}`
      : change.kind === "end"
      ? ""
      : ` ${change.filter}`;
    this.records.push(`${change.kind} ${change.clientId}${rest}`);
    return this.#advance();
  }

  commit(): void {
    this.#askedFor = this.#lastPosition;
    this.#isAsked = true;
    if (!this.isSlow) this.finishCommit();
  }

  /** Commits what was asked for by the last `commit`; does nothing when nobody asked. */
  finishCommit(): void {
    if (!this.#isAsked) return;
    this.#isAsked = false;
    this.committed = this.#askedFor;
    this.#listener(this.committed);
  }

  whenCommitted(listener: (committed: Position) => void): void {
    this.#listener = listener;
  }

  read(position: Position, into: Message): void {
    const stored = this.#at(position);
    const bytes = stored.bytes.slice();
    this.#views.push(bytes);
    into.topicBytes = into.propertiesBytes = into.payloadBytes = bytes;
    into.topicStart = 0;
    into.topicEnd = into.propertiesStart = stored.topicSize;
    into.propertiesEnd = into.payloadStart = stored.topicSize + stored.propertiesSize;
    into.payloadEnd = bytes.length;
    into.qos = stored.qos;
    into.retain = stored.retain;
    into.expiresAtMs = stored.expiresAtMs;
  }

  sizeOf(position: Position): number {
    return this.#at(position).bytes.length;
  }

  retain(position: Position): void {
    this.#at(position).references++;
  }

  release(position: Position): void {
    const stored = this.#at(position);
    stored.references--;
    if (stored.references === 0) this.#messages.delete(position);
  }

  #at(position: Position): Stored {
    const stored = this.#messages.get(position);
    assert(stored !== undefined, `position ${position} was used without a reference`);
    return stored;
  }

  #advance(): Position {
    for (const view of this.#views) view.fill(0xee);
    this.#views = [];
    return ++this.#lastPosition;
  }
}

class Stored {
  references = 1;
  readonly bytes: Uint8Array;
  readonly topicSize: number;
  readonly propertiesSize: number;
  readonly qos: Message["qos"];
  readonly retain: boolean;
  readonly expiresAtMs: number;

  constructor(message: Message) {
    const topic = message.topicBytes.subarray(message.topicStart, message.topicEnd);
    const properties = message.propertiesBytes.subarray(message.propertiesStart, message.propertiesEnd);
    const payload = message.payloadBytes.subarray(message.payloadStart, message.payloadEnd);
    this.bytes = Uint8Array.from([...topic, ...properties, ...payload]);
    this.topicSize = topic.length;
    this.propertiesSize = properties.length;
    this.qos = message.qos;
    this.retain = message.retain;
    this.expiresAtMs = message.expiresAtMs;
  }

  get topicName(): string {
    return new TextDecoder().decode(this.bytes.subarray(2, this.topicSize));
  }
}

/** Shows that a `SlowStore` is a message store. */
export function asMessageStore(store: SlowStore): MessageStore["Service"] {
  return store;
}
