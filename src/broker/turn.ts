/**
 * The turn: everything the broker does between two looks at the network, and how it ends.
 *
 * Connections that were read in one turn of the event loop handle their packets first; then the turn ends once:
 * the store commits (which acknowledges and delivers), and every connection that was touched is flushed with one
 * write. This is what makes a system call serve hundreds of packets.
 */

/** A connection with bytes to send. */
export interface Flushable {
  /** Hands everything appended so far to the network. Must not touch the turn synchronously. */
  flush(): void;
}

/** One per broker. */
export class Turn {
  /** Publications of this turn; the owner of the metrics reads and resets it in `ended`. */
  publications = 0;
  /** Clock reading of the first chunk handled in this turn, in milliseconds. */
  startedMs = 0;
  #isScheduled = false;
  #isEnding = false;
  #touched: Flushable[] = [];
  readonly #defer: (end: () => void) => void;
  readonly #commit: () => void;
  readonly #ended: (turn: Turn) => void;
  /** Broker time in milliseconds; see `BrokerSurroundings`. */
  readonly clock: () => number;
  readonly #end: () => void;

  /**
   * @param defer Runs a callback after the packets that are ready now, before the event loop waits again:
   *   `queueMicrotask`, or a test's own.
   * @param commit Makes safe what was appended, then acknowledges and delivers.
   * @param ended Told at the end of every turn, for metrics.
   * @param clock Read when a turn begins without received bytes: a timer, a late commit, a finished write.
   */
  constructor(
    defer: (end: () => void) => void,
    commit: () => void,
    ended: (turn: Turn) => void,
    clock: () => number,
  ) {
    this.#defer = defer;
    this.#commit = commit;
    this.#ended = ended;
    this.clock = clock;
    this.#end = () => this.end();
  }

  /** Makes sure that the turn will end. */
  schedule(nowMs: number): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.startedMs = nowMs;
    this.#defer(this.#end);
  }

  /** Like `schedule`, for what happens outside of received bytes: the clock is read if a turn begins with it. */
  scheduleNow(): void {
    if (!this.#isScheduled) this.schedule(this.clock());
  }

  /** Adds a connection to those flushed at the end. Once per connection and turn. */
  touch(connection: Flushable): void {
    this.#touched.push(connection);
    if (!this.#isEnding) this.scheduleNow();
  }

  /**
   * Ends the turn now. What the commit itself publishes (a Will Message of a takeover) gets a turn of its own.
   *
   * What throws here ends the broker, whose goodbye leaves with a turn to come: after its commit, as all else.
   */
  end(): void {
    this.#isScheduled = false;
    this.#isEnding = true;
    try {
      this.#commit();
      const touched = this.#touched;
      for (let i = 0; i < touched.length; i++) touched[i]!.flush();
      touched.length = 0;
    } finally {
      this.#isEnding = false;
    }
    this.#ended(this);
  }
}
