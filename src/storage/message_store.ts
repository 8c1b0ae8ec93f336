/**
 * The port between the broker and whatever keeps its promises: the log of Application Messages and Session changes.
 *
 * One total order: every `append…` returns a position, and positions only grow. `commit()` asks for everything
 * appended so far to be made safe; when that has happened the store moves `committed` forward and calls the listeners
 * added by `whenCommitted`. Nobody is told of a message before its position is committed: commit, then acknowledge, then
 * deliver.
 *
 * Messages are stored once and counted: whoever still owes a stored message to a receiver holds a reference
 * (`retain`), and the store may forget a message when its last reference is released.
 *
 * What a crash must not undo is appended too:
 *
 *   appendRoute           who is owed the messages that name it; written once per match result and `routesValidFrom`
 *   appendProgress        how far a delivery to a recorded Session is; not waited for, but written before the packets of
 *                         its turn leave, so that the Packet Identifier a client saw is known after a killed process
 *   promiseProgress       the same of a step that a client acts on at QoS 2, where a commit outlives a power cut
 *   appendRelease         PUBREL of an inbound QoS 2 message
 *   appendSessionChange   life of recorded Sessions and of Will Messages
 *
 * A Session that outlives its connection is *recorded* and has a number, `newSessionNumber()`, that is never used
 * again; 0 stands for all others.
 *
 * Obligations of an implementation:
 *  - `append` copies; the message view may change as soon as it returns;
 *  - the listener runs outside of any `append…` call, with positions in increasing order, possibly before `commit()`
 *    returns and never without a call to `commit()`;
 *  - `commit()` writes everything appended so far before it returns (to where a killed process leaves it behind), so
 *    that the caller may let packets go that speak of it; what has to be *safe* first waits for `committed`;
 *  - `read` answers for every position that holds a reference; its view is valid until the next `read`, whatever is
 *    appended or released meanwhile, as long as the reference stays;
 *  - what a device damaged or cannot read any more is never handed out: `read` says so, the operator has been told then,
 *    and the caller counts the message as dropped (`unreadable`) for each receiver that does not get it.
 */
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { ConfigStore } from "../config/reload.ts";
import type { PacketId } from "../protocol/distinct_number.ts";
import type { Message } from "../protocol/message.ts";
import { type CommitListener, CommitListeners } from "./log/commit_listeners.ts";
import type { ProgressKind } from "./log/record.ts";
import type { OwedWalk, RecoveredState } from "./model/durable_state.ts";
import type { GroupOrdinal, Position, Route, SessionChange, SessionNumber } from "./model/stored.ts";
import { MemoryLog } from "./volatile/memory_log.ts";

/** Answer of `append` when the store has no room: the message is not stored and must be refused. */
export const STORE_FULL = -1;

/** Where Application Messages and Session changes are kept. */
export class MessageStore extends Context.Service<MessageStore, {
  /** Everything at or below this position is safe. */
  readonly committed: Position;
  /** The position given out last: once it is committed, so is everything appended before. */
  readonly lastPosition: Position;
  /** True while messages and new promises are refused: no space left, or a failed disk. */
  readonly isFull: boolean;
  /** True while so many bytes wait for their commit that what adds to them should not be read. */
  readonly isCongested: boolean;
  /** Routes below this position must not be named any more. */
  readonly routesValidFrom: Position;
  /** True when Sessions are to be recorded. */
  readonly isDurable: boolean;
  /** True while what is committed outlives a power cut, so that steps a client acts on at QoS 2 are promises. */
  readonly isProgressPromised: boolean;
  /** False once all session numbers were used that a record can hold. */
  readonly hasSessionNumbers: boolean;
  /**
   * Gives away what was found at the start, so that nobody else keeps it. Called once, before any append; undefined the
   * next time, and for a store that forgets.
   */
  takeRecovered(): RecoveredState | undefined;
  /** A session number that was never used. Only while there is one: the caller asks `hasSessionNumbers`. */
  newSessionNumber(): SessionNumber;
  /**
   * Appends a copy of a message with one reference, which belongs to the caller.
   *
   * The position may be far above `lastPosition` (a message that need not be logged); wait for `lastPosition`.
   *
   * @param publisher Session number of the publisher, 0 when it is not recorded or the broker itself.
   * @param packetId Of an inbound QoS 2 message, else 0.
   * @param route Position of its route, 0 when no recorded Session and no group is owed the message.
   * @returns Its position, or `STORE_FULL`.
   */
  append(message: Message, publisher: SessionNumber, packetId: PacketId, route: Position): Position;
  /** Appends a copy of a message that need not outlive the process, with one reference, as `append` does. */
  appendVolatile(message: Message): Position;
  /** Appends a routing result for later `append`s. */
  appendRoute(route: Route): Position;
  /**
   * Appends how far a delivery is.
   *
   * @param session Session number, 0 when a member of a shared group that is not recorded took the message.
   * @param packetId It was sent with, 0 = not sent.
   * @param group 0, or 1 + index of the shared group in the message's route.
   */
  appendProgress(
    kind: ProgressKind,
    session: SessionNumber,
    position: Position,
    packetId: PacketId,
    group: GroupOrdinal,
  ): void;
  /**
   * Appends how far a delivery is, as `appendProgress`, for somebody who waits for it.
   *
   * @returns Once this position is committed the step is safe; 0 for a message that need not outlive the process.
   */
  promiseProgress(
    kind: ProgressKind,
    session: SessionNumber,
    position: Position,
    packetId: PacketId,
    group: GroupOrdinal,
  ): Position;
  /** Appends that an inbound QoS 2 Packet Identifier of a recorded Session was released by PUBREL. [MQTT-4.3.3-12] */
  appendRelease(session: SessionNumber, packetId: PacketId): Position;
  /** Appends a Session change. Never refused; the caller asks `isFull` before it promises anything new. */
  appendSessionChange(change: SessionChange): Position;
  /** Asks for everything appended so far to be committed; called once at the end of a turn. */
  commit(): void;
  /**
   * Adds a listener that hears of commits; listeners are called in the order in which they came.
   *
   * @returns Takes it away again.
   */
  whenCommitted(listener: CommitListener): () => void;
  /** Sets the walk over what is owed. */
  setOwedWalk(walk: OwedWalk): void;
  /** Fills `into` with the message at `position`, see the obligations above; false when it cannot be read. */
  read(position: Position, into: Message): boolean;
  /** Stored size of the message at `position` in bytes: topic, properties and payload; 0 when it cannot be read. */
  sizeOf(position: Position): number;
  /** Takes one more reference. */
  retain(position: Position): void;
  /** Gives one reference back. */
  release(position: Position): void;
  /** Bytes held in memory for messages. */
  readonly bytesHeld: number;
}>()("promptmq/storage/MessageStore") {
  /** Keeps everything in memory, `storage.memory-buffer` at most: safe when the turn ends, gone with the process. */
  static readonly layerMemory = Layer.effect(
    MessageStore,
    Effect.gen(function* () {
      const configStore = yield* ConfigStore;
      const log = new MemoryLog(configStore.current().storage.memoryBufferBytes);
      yield* configStore.subscribe((config) => {
        log.bytesMax = config.storage.memoryBufferBytes;
      });
      return new MemoryMessageStore(log);
    }),
  );
}

/** What `layerMemory` provides; built directly where no Layer graph is wanted. Session life leaves no trace in it. */
export class MemoryMessageStore implements Context.Service.Shape<typeof MessageStore> {
  committed: Position = 0;
  readonly isFull = false;
  readonly isCongested = false;
  readonly hasSessionNumbers = true;
  readonly routesValidFrom: Position = 0;
  readonly isProgressPromised = false;
  readonly isDurable = false;
  readonly #log: MemoryLog;
  readonly #listeners = new CommitListeners();

  constructor(log: MemoryLog) {
    this.#log = log;
  }

  get bytesHeld(): number {
    return this.#log.bytesHeld;
  }

  get lastPosition(): Position {
    return this.#log.lastPosition;
  }

  takeRecovered(): undefined {}

  newSessionNumber(): SessionNumber {
    return 0;
  }

  append(message: Message): Position {
    return this.#log.append(message);
  }

  appendVolatile(message: Message): Position {
    return this.#log.append(message);
  }

  appendRoute(): Position {
    return 0;
  }

  appendProgress(): void {}

  promiseProgress(): Position {
    return 0;
  }

  appendRelease(): Position {
    return this.#log.lastPosition;
  }

  appendSessionChange(): Position {
    return this.#log.lastPosition;
  }

  commit(): void {
    this.committed = this.#log.lastPosition;
    this.#listeners.tell(this.committed);
  }

  whenCommitted(listener: CommitListener): () => void {
    return this.#listeners.add(listener);
  }

  setOwedWalk(): void {}

  read(position: Position, into: Message): boolean {
    this.#log.read(position, into);
    return true;
  }

  sizeOf(position: Position): number {
    return this.#log.sizeOf(position);
  }

  retain(position: Position): void {
    this.#log.retain(position);
  }

  release(position: Position): void {
    this.#log.release(position);
  }
}
