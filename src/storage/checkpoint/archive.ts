/**
 * Messages that moved out of the log: reads them from SQLite.
 *
 * Sessions drain in order, so the messages that follow come with each one, in windows that are kept for a while, as in
 * `log_reader.ts`.
 */
import type { Message } from "../../protocol/message.ts";
import { StorageFailed } from "../model/errors.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { ArchivedMessage } from "./checkpoint_rows.ts";

/** See the head of this file. */
export class Archive {
  /** Positions below are here, not in the log. */
  endLsn: number;
  readonly #checkpoint: Pick<Checkpoint, "readMessages">;
  /** In the order of their last use, the latest last; each ascending and not empty. */
  readonly #windows: (readonly ArchivedMessage[])[] = [];

  constructor(checkpoint: Pick<Checkpoint, "readMessages">, endLsn: number) {
    this.#checkpoint = checkpoint;
    this.endLsn = endLsn;
  }

  /**
   * Fills `into` with the message at a position.
   *
   * @throws StorageFailed when SQLite fails or does not have it.
   */
  read(position: number, into: Message): void {
    const message = this.#find(position);
    into.setTopic(message.topic);
    into.setProperties(message.properties, 0, message.properties.length);
    into.setPayload(message.payload, 0, message.payload.length);
    into.qos = message.qos;
    into.retain = message.retain;
    into.expiresAtMs = message.expiresAtMs;
  }

  /** Bytes of topic, properties and payload. */
  sizeOf(position: number): number {
    const message = this.#find(position);
    return message.topic.length + message.properties.length + message.payload.length;
  }

  #find(position: number): ArchivedMessage {
    const windows = this.#windows;
    for (let index = windows.length - 1; index >= 0; index--) {
      const window = windows[index]!;
      const found = findIn(window, position);
      if (found === undefined) continue;
      if (index !== windows.length - 1) {
        windows.splice(index, 1);
        windows.push(window);
      }
      return found;
    }
    const follows = windows.some((window) => {
      const gap = position - window.at(-1)!.position;
      return gap > 0 && gap < FOLLOWS_BYTES_MAX;
    });
    const window = this.#read(position, follows ? WINDOW_MESSAGES : 1);
    if (window[0]?.position !== position) {
      const detail = `position ${position} is not among the archived messages`;
      throw new StorageFailed({ operation: "read", path: "the database", reason: "corrupt", detail });
    }
    if (windows.length >= WINDOWS_MAX) windows.shift();
    windows.push(window);
    return window[0];
  }

  /** Where not all of them can be read, the first may. */
  #read(position: number, messages: number): readonly ArchivedMessage[] {
    try {
      return this.#checkpoint.readMessages(position, messages, WINDOW_BYTES);
    } catch (cause) {
      if (messages === 1 || !(cause instanceof StorageFailed)) throw cause;
      return this.#checkpoint.readMessages(position, 1, WINDOW_BYTES);
    }
  }
}

function findIn(window: readonly ArchivedMessage[], position: number): ArchivedMessage | undefined {
  let low = 0;
  let high = window.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (window[middle]!.position < position) low = middle + 1;
    else high = middle;
  }
  const found = window[low];
  return found?.position === position ? found : undefined;
}

const WINDOW_MESSAGES = 256;
const WINDOW_BYTES = 1_048_576;
const WINDOWS_MAX = 8;
/** A read this close behind the end of a window is taken for a Session that drains its queue. */
const FOLLOWS_BYTES_MAX = 1_048_576;
