/**
 * The closed loop: how many deliveries of each publisher are still under way, and who may send again.
 *
 * A publisher may have `window` messages under way. A message is under way until every subscriber it goes to has it
 * (and, with QoS 1 and 2, until it is acknowledged; that half lives in the publisher). Subscribers call `delivered`
 * per message and `release` per read chunk; a publisher is woken only when a sixteenth of its window is free, so that
 * the generator writes batches and not single packets. A lost message keeps its place in the window for ever: a
 * broker that loses messages comes to a halt, which the run reports.
 */

/** One publisher as the pacer sees it. */
export interface PacedPublisher {
  /** Sends as many messages as the window allows; called after deliveries freed part of it. */
  pump(): void;
}

/** The part of the window (one in so many) that must be free before a publisher writes again. */
const REFILL_DIVISOR = 16;

/** Counts deliveries under way per publisher. Plain numbers, no allocation per message. */
export class Pacer {
  /** Messages each publisher may have under way. */
  readonly window: number;
  /** Fewest messages a publisher writes at once, unless it has fewer left. */
  readonly batchMin: number;
  /** First deliveries seen, of all publishers. */
  received = 0;
  /** True once publishers must not start new messages. */
  stopped = false;
  readonly #publishers: readonly PacedPublisher[];
  readonly #fanOut: Int32Array;
  readonly #underWay: Int32Array;
  readonly #refillAt: Int32Array;
  readonly #ready: Int32Array;
  #readyCount = 0;

  /**
   * @param publishers Filled by the caller before the first message; read by index.
   * @param fanOut Deliveries that one message of each publisher causes; 0 with no subscriber.
   */
  constructor(window: number, publishers: readonly PacedPublisher[], fanOut: readonly number[]) {
    this.window = window;
    this.batchMin = Math.max(1, Math.floor(window / REFILL_DIVISOR));
    this.#publishers = publishers;
    this.#fanOut = Int32Array.from(fanOut);
    this.#underWay = new Int32Array(fanOut.length);
    this.#refillAt = Int32Array.from(fanOut, (deliveries) => (window - this.batchMin) * deliveries);
    this.#ready = new Int32Array(fanOut.length);
  }

  /** Notes the first delivery of a message to one subscriber; second ones free nothing and must not come here. */
  delivered(publisher: number): void {
    this.received++;
    const left = this.#underWay[publisher]! - 1;
    this.#underWay[publisher] = left;
    if (left === this.#refillAt[publisher] && this.#readyCount < this.#ready.length) {
      this.#ready[this.#readyCount++] = publisher;
    }
  }

  /** Wakes the publishers whose window opened since the last call; called at the end of each read chunk. */
  release(): void {
    const count = this.#readyCount;
    if (count === 0) return;
    this.#readyCount = 0;
    for (let index = 0; index < count; index++) this.#publishers[this.#ready[index]!]!.pump();
  }

  /** Computes how many more messages a publisher may start, as far as deliveries are concerned. */
  room(publisher: number): number {
    const fanOut = this.#fanOut[publisher]!;
    if (fanOut === 0) return this.window;
    return Math.floor((this.window * fanOut - this.#underWay[publisher]!) / fanOut);
  }

  /** Notes that a publisher started messages. */
  started(publisher: number, messages: number): void {
    this.#underWay[publisher] = this.#underWay[publisher]! + messages * this.#fanOut[publisher]!;
  }
}
