/**
 * The durable message store: the log, its group commit, and what moved to SQLite, behind the `MessageStore` port.
 *
 * Positions of three kinds come and go through here:
 *
 *   below the archive's end     messages that moved to SQLite
 *   from there on               the log
 *   from VOLATILE_FROM on       messages that need not outlive the process (`storage.wal.record: required`), in memory
 *
 * Plain: built and closed by `durable_layer.ts`, which also gives it time.
 */
import type { PacketId } from "../protocol/distinct_number.ts";
import type { Message } from "../protocol/message.ts";
import type { Archive } from "./checkpoint/archive.ts";
import type { Compactor } from "./compaction/compactor.ts";
import type { CommitListener } from "./log/commit_listeners.ts";
import type { GroupCommit } from "./log/group_commit.ts";
import { LogBuffer } from "./log/log_buffer.ts";
import { messageSize, type ProgressKind, readMessage, RecordType } from "./log/record.ts";
import type { WriteAheadLog } from "./log/write_ahead_log.ts";
import { type MessageStore, STORE_FULL } from "./message_store.ts";
import type { OwedWalk, RecoveredState } from "./model/durable_state.ts";
import { StorageFailed } from "./model/errors.ts";
import type { SessionNumbers } from "./model/session_numbers.ts";
import type { GroupOrdinal, Position, Route, SessionChange, SessionNumber } from "./model/stored.ts";
import type { MemoryLog } from "./volatile/memory_log.ts";

/** What the store is made of. */
export interface DurableStoreParts {
  readonly log: WriteAheadLog;
  readonly group: GroupCommit;
  readonly archive: Archive;
  readonly compactor: Compactor;
  /** For messages that are not logged. */
  readonly volatile: MemoryLog;
  /** Told of every message that cannot be read back. */
  readonly unreadable: (position: Position, cause: StorageFailed) => void;
  readonly numbers: SessionNumbers;
  /** Gives away what was found at the start, once. */
  readonly takeRecovered: () => RecoveredState | undefined;
}

/** See the head of this file. */
export class DurableMessageStore {
  readonly isDurable = true;
  /** True while the file system has less free space than it should. */
  isLowOnSpace = false;
  /** What is logged: every QoS 1 and 2 message, or only those that a recorded Session or the retained store needs. */
  record: "acknowledged" | "required" = "acknowledged";
  /** Called after every so many bytes written: a fast publisher must not use up the free space unseen. */
  checkSpace: () => void = () => {};
  readonly takeRecovered: () => RecoveredState | undefined;
  readonly #log: WriteAheadLog;
  readonly #group: GroupCommit;
  readonly #archive: Archive;
  readonly #compactor: Compactor;
  readonly #volatile: MemoryLog;
  readonly #unreadable: (position: Position, cause: StorageFailed) => void;
  readonly #numbers: SessionNumbers;
  /** Bytes of the log at the last look at the free space. */
  #checkedBytes = 0;
  readonly #place = { buffer: new LogBuffer(0), start: 0 };

  constructor(parts: DurableStoreParts) {
    this.#log = parts.log;
    this.#group = parts.group;
    this.#archive = parts.archive;
    this.#compactor = parts.compactor;
    this.#volatile = parts.volatile;
    this.#unreadable = parts.unreadable;
    this.#numbers = parts.numbers;
    this.takeRecovered = parts.takeRecovered;
  }

  get committed(): Position {
    return this.#group.committed;
  }

  get lastPosition(): Position {
    return this.#log.lastPosition;
  }

  get isFull(): boolean {
    return this.isLowOnSpace || this.#group.isFailing;
  }

  get isProgressPromised(): boolean {
    return this.#group.waitsForSync;
  }

  get isCongested(): boolean {
    const log = this.#log;
    return log.endLsn - log.safeLsn > CONGESTED_BYTES && log.lastPosition > this.#group.committed;
  }

  get routesValidFrom(): Position {
    return this.#log.routesValidFrom;
  }

  get bytesHeld(): number {
    return this.#log.memory.bytesHeld + this.#volatile.bytesHeld;
  }

  get hasSessionNumbers(): boolean {
    return this.#numbers.isLeft;
  }

  newSessionNumber(): SessionNumber {
    return this.#numbers.take();
  }

  append(message: Message, publisher: SessionNumber, packetId: PacketId, route: Position): Position {
    if (this.isLowOnSpace || this.#group.isFailing) return STORE_FULL;
    if (route === 0 && packetId === 0 && !message.retain && this.record === "required") {
      return this.appendVolatile(message);
    }
    if (message.qos > 0) this.#group.hasPromise = true;
    return this.#log.appendPublish(message, publisher, packetId, route);
  }

  appendVolatile(message: Message): Position {
    const position = this.#volatile.append(message);
    return position === STORE_FULL ? STORE_FULL : VOLATILE_FROM + position;
  }

  appendRoute(route: Route): Position {
    return this.#log.appendText(RecordType.ROUTE, ENCODER.encode(JSON.stringify(route)));
  }

  appendProgress(
    kind: ProgressKind,
    session: SessionNumber,
    position: Position,
    packetId: PacketId,
    group: GroupOrdinal,
  ): void {
    if (position < VOLATILE_FROM) this.#log.appendProgress(kind, session, position, packetId, group);
  }

  promiseProgress(
    kind: ProgressKind,
    session: SessionNumber,
    position: Position,
    packetId: PacketId,
    group: GroupOrdinal,
  ): Position {
    if (position >= VOLATILE_FROM) return 0;
    this.#group.hasPromise = true;
    this.#log.appendProgress(kind, session, position, packetId, group);
    return this.#log.lastPosition;
  }

  appendRelease(session: SessionNumber, packetId: PacketId): Position {
    if (session === 0) return this.#log.lastPosition;
    this.#group.hasPromise = true;
    return this.#log.appendRelease(session, packetId);
  }

  appendSessionChange(change: SessionChange): Position {
    if (change.kind === "owe" && change.position >= VOLATILE_FROM) return this.#log.lastPosition;
    this.#group.hasPromise = true;
    return this.#log.appendText(RecordType.CHANGE, ENCODER.encode(JSON.stringify(change)));
  }

  commit(): void {
    const { endLsn, safeLsn } = this.#log;
    // Memory holds what is not safe, whether anybody waits for it or not.
    if (endLsn - safeLsn > UNPROMISED_BYTES_MAX) this.#group.hasPromise = true;
    this.#group.commit();
    const { writtenBytes } = this.#log;
    if (writtenBytes - this.#checkedBytes < SPACE_CHECK_BYTES) return;
    this.#checkedBytes = writtenBytes;
    this.checkSpace();
  }

  whenCommitted(listener: CommitListener): () => void {
    return this.#group.listeners.add(listener);
  }

  setOwedWalk(walk: OwedWalk): void {
    this.#compactor.owedWalk = walk;
  }

  read(position: Position, into: Message): boolean {
    if (position >= VOLATILE_FROM) {
      this.#volatile.read(position - VOLATILE_FROM, into);
      return true;
    }
    const chunk = position < this.#archive.endLsn ? undefined : this.#log.memory.find(position);
    if (chunk === undefined) return this.#readBack(position, into);
    readMessage(chunk.buffer, position - chunk.firstLsn, into);
    return true;
  }

  sizeOf(position: Position): number {
    if (position >= VOLATILE_FROM) return this.#volatile.sizeOf(position - VOLATILE_FROM);
    try {
      if (position < this.#archive.endLsn) return this.#archive.sizeOf(position);
      const place = this.#place;
      this.#log.locate(position, place);
      return messageSize(place.buffer, place.start);
    } catch (cause) {
      this.#failedToRead(position, cause);
      return 0;
    }
  }

  retain(position: Position): void {
    if (position >= VOLATILE_FROM) return this.#volatile.retain(position - VOLATILE_FROM);
    this.#log.references.retain(position);
    if (position < this.#log.safeLsn) this.#compactor.noteRetained(position);
  }

  release(position: Position): void {
    if (position >= VOLATILE_FROM) return this.#volatile.release(position - VOLATILE_FROM);
    if (this.#log.references.release(position)) this.#log.freed(position);
  }

  #readBack(position: Position, into: Message): boolean {
    try {
      if (position < this.#archive.endLsn) this.#archive.read(position, into);
      else {
        const place = this.#place;
        this.#log.locate(position, place);
        readMessage(place.buffer, place.start, into);
      }
      return true;
    } catch (cause) {
      return this.#failedToRead(position, cause);
    }
  }

  #failedToRead(position: Position, cause: unknown): false {
    if (!(cause instanceof StorageFailed)) throw cause;
    this.#unreadable(position, cause);
    return false;
  }
}

/** Shows that this is a message store. */
export function asMessageStore(store: DurableMessageStore): MessageStore["Service"] {
  return store;
}

/** Far above every LSN; sums with positions of the memory log are exact for 2 PB of messages. */
const VOLATILE_FROM = 2 ** 52;
/** Bytes that may wait for the device before publishers are not read from any more. */
const CONGESTED_BYTES = 67_108_864;
/** Bytes that may be unsafe before a sync is made that nobody waits for. */
const UNPROMISED_BYTES_MAX = 16_777_216;
const SPACE_CHECK_BYTES = 8_388_608;
const ENCODER = new TextEncoder();
