/**
 * The Retained Messages: one position in the message store per Topic Name. [MQTT 5.0, 3.3.1.3]
 *
 * Every entry holds one reference to its message. Expired ones are removed when a subscription comes across them.
 */
import type { Counters } from "../metrics/counters.ts";
import { Message } from "../protocol/message.ts";
import type { MessageStore } from "../storage/message_store.ts";
import type { Position } from "../storage/model/stored.ts";
import { RetainedIndex } from "../topics/retained_index.ts";

/** See the head of this file. */
export class RetainedMessages {
  readonly #index = new RetainedIndex<number>();
  readonly #store: MessageStore["Service"];
  readonly #counters: Counters;
  readonly #message = new Message();

  constructor(store: MessageStore["Service"], counters: Counters) {
    this.#store = store;
    this.#counters = counters;
  }

  /** False when the index has no room for another topic. */
  hasRoomFor(topicName: string): boolean {
    return this.#index.hasRoomFor(topicName);
  }

  /** Takes up a Retained Message from before the start, unless it has expired. One that cannot be read is kept. */
  restore(topicName: string, position: Position, nowMs: number): void {
    this.#store.retain(position);
    const isRead = this.#store.read(position, this.#message);
    if (isRead && this.#message.isExpired(nowMs)) this.#store.release(position);
    else this.#index.set(topicName, position);
    this.#counters.retainedMessages = this.#index.size;
  }

  /** Sets the Retained Message of a topic, or removes it when the payload is empty. [MQTT-3.3.1-5, -6, -7] */
  apply(topicName: string, position: Position, payloadSize: number): void {
    let replaced: number | undefined;
    if (payloadSize === 0) replaced = this.#index.delete(topicName);
    else {
      this.#store.retain(position);
      replaced = this.#index.set(topicName, position);
    }
    if (replaced !== undefined) this.#store.release(replaced);
    this.#counters.retainedMessages = this.#index.size;
  }

  /**
   * Visits the Retained Messages that match a Topic Filter and have not expired.
   *
   * @param visit Gets a view that is valid during the call. It must not read from the store.
   * @param unreadable Called for each that cannot be read.
   */
  match(
    filter: string,
    nowMs: number,
    visit: (message: Message, position: Position) => void,
    unreadable: () => void,
  ): void {
    const expired: string[] = [];
    this.#index.match(filter, (name, position) => {
      if (!this.#store.read(position, this.#message)) unreadable();
      else if (this.#message.isExpired(nowMs)) expired.push(name);
      else visit(this.#message, position);
    });
    for (const name of expired) this.apply(name, 0, 0);
  }
}
