/**
 * A queue that turns pushed events into awaited ones, so that tests wait for what happens and never for time.
 *
 * The deadline exists only to turn a hang into a failure that names what was awaited; nothing passes because of it.
 */

/** How long a test waits for an event that has to come before it is called missing. Milliseconds. */
export const EVENT_DEADLINE_MS = 20_000;

/** Waits for `promise`; rejects naming `what` when it has not settled within {@link EVENT_DEADLINE_MS}. */
export async function within<T>(promise: Promise<T>, what: string, deadlineMs = EVENT_DEADLINE_MS): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const missing = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing happened while waiting for ${what}`)), deadlineMs);
  });
  try {
    return await Promise.race([promise, missing]);
  } finally {
    clearTimeout(timer);
  }
}

/** Unbounded first-in first-out queue with one consumer; after `end` the rest can still be taken. */
export class EventQueue<T> {
  readonly #events: T[] = [];
  #wake: (() => void) | undefined;
  #isEnded = false;

  /** Appends an event and wakes the consumer. */
  push(event: T): void {
    this.#events.push(event);
    this.#wake?.();
  }

  /** Says that no event will follow. */
  end(): void {
    this.#isEnded = true;
    this.#wake?.();
  }

  /** Takes the next event, or `undefined` once the queue has ended. `what` names it in the failure. */
  async next(what: string): Promise<T | undefined> {
    while (this.#events.length === 0 && !this.#isEnded) {
      const woken = Promise.withResolvers<void>();
      this.#wake = woken.resolve;
      await within(woken.promise, what);
    }
    this.#wake = undefined;
    return this.#events.shift();
  }
}
