/**
 * One socket between being accepted and being served: the limit of time for what it has to send first, and its end at a
 * stop of the broker. Whatever ends the wait, it ends once.
 */

/** What a pending socket needs of the entrance. */
export interface PendingSockets {
  /** All that are pending, to be cut at a stop. */
  readonly pending: Set<PendingSocket>;
  /** `server.read-timeout`. */
  readonly settings: { readonly readTimeoutMs: number };
}

/** See the head of this file. */
export class PendingSocket {
  readonly #entrance: PendingSockets;
  readonly #close: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined = undefined;
  #wake: (() => void) | undefined = undefined;
  #isOver = false;

  /** @param close Closes the socket; the work that waits for it learns the end from the socket. */
  constructor(entrance: PendingSockets, close: () => void) {
    this.#entrance = entrance;
    this.#close = close;
    entrance.pending.add(this);
  }

  /** False after `end` and `cut`, and after time is up. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Begins the limit of time, `server.read-timeout`; another call begins it anew. */
  limit(onTimeout: () => void): void {
    clearTimeout(this.#timer);
    if (this.#isOver) return;
    this.#timer = setTimeout(() => {
      if (!this.end()) return;
      onTimeout();
      this.#close();
    }, this.#entrance.settings.readTimeoutMs);
  }

  /** Resolves after a time, or at once when the wait is over by then. */
  pause(delayMs: number): Promise<void> {
    if (this.#isOver) return Promise.resolve();
    clearTimeout(this.#timer);
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#timer = setTimeout(resolve, delayMs);
    });
  }

  /** Ends the wait and leaves the socket open. Returns false when it was over already. */
  end(): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#entrance.pending.delete(this);
    this.#wake?.();
    return true;
  }

  /** Ends it at once. */
  cut(): void {
    if (this.end()) this.#close();
  }
}
