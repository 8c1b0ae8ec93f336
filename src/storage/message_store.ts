/**
 * The port between the broker and whatever keeps its promises: the log of Application Messages and Session changes.
 *
 * One total order: every `append…` returns a position, and positions only grow. `commit()` asks for everything
 * appended so far to be made safe; when that has happened the store moves `committed` forward and calls the listener
 * set by `whenCommitted`. Nobody is told of a message before its position is committed: commit, then acknowledge, then
 * deliver.
 *
 * Messages are stored once and counted: whoever still owes a stored message to a receiver holds a reference
 * (`retain`), and the store may forget a message when its last reference is released.
 *
 * Obligations of an implementation:
 *  - `append` copies; the message view may change as soon as it returns;
 *  - the listener runs outside of any `append…` call, with positions in increasing order, possibly before `commit()`
 *    returns and never without a call to `commit()`;
 *  - `read` answers for every position that holds a reference.
 */
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { ConfigStore } from "../config/reload.ts";
import type { Message } from "../protocol/message.ts";
import type { QoS } from "../protocol/packets.ts";
import { MemoryLog } from "./memory_log.ts";

/** A place in the total order: a whole number that fits a double exactly and never decreases. A message's is not 0. */
export type Position = number;

/** Answer of `append` when the store has no room: the message is not stored and must be refused. */
export const STORE_FULL = -1;

/** Something that happened to a Session which has to survive with it. */
export type SessionChange =
  | { readonly kind: "open"; readonly clientId: string; readonly sessionExpiryInterval: number }
  | { readonly kind: "subscribe"; readonly clientId: string; readonly filter: string; readonly qos: QoS }
  | { readonly kind: "unsubscribe"; readonly clientId: string; readonly filter: string }
  | { readonly kind: "end"; readonly clientId: string };

/** Where Application Messages and Session changes are kept. */
export class MessageStore extends Context.Service<MessageStore, {
  /** Everything at or below this position is safe. */
  readonly committed: Position;
  /**
   * Appends a copy of a message with one reference, which belongs to the caller.
   *
   * @param clientId Client Identifier of the publishing Session, "" for the broker itself.
   * @returns Its position, or `STORE_FULL`.
   */
  append(message: Message, clientId: string): Position;
  /** Appends that an inbound QoS 2 Packet Identifier was released by PUBREL. [MQTT-4.3.3-12] */
  appendRelease(clientId: string, packetId: number): Position;
  /** Appends a Session change. */
  appendSessionChange(change: SessionChange): Position;
  /** Asks for everything appended so far to be committed; called once at the end of a turn. */
  commit(): void;
  /** Sets the one listener that hears of commits. */
  whenCommitted(listener: (committed: Position) => void): void;
  /** Fills `into` with the message at `position`; its bytes are valid until the next `append`. */
  read(position: Position, into: Message): void;
  /** Stored size of the message at `position` in bytes: topic, properties and payload. */
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

/** What `layerMemory` provides; built directly where no Layer graph is wanted. */
export class MemoryMessageStore implements Context.Service.Shape<typeof MessageStore> {
  committed: Position = 0;
  readonly #log: MemoryLog;
  #listener: (committed: Position) => void = () => {};

  constructor(log: MemoryLog) {
    this.#log = log;
  }

  get bytesHeld(): number {
    return this.#log.bytesHeld;
  }

  append(message: Message): Position {
    return this.#log.append(message);
  }

  appendRelease(): Position {
    return this.#log.lastPosition;
  }

  appendSessionChange(): Position {
    return this.#log.lastPosition;
  }

  commit(): void {
    this.committed = this.#log.lastPosition;
    this.#listener(this.committed);
  }

  whenCommitted(listener: (committed: Position) => void): void {
    this.#listener = listener;
  }

  read(position: Position, into: Message): void {
    this.#log.read(position, into);
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
