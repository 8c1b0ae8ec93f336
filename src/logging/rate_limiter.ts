/**
 * Lets one event per key and second pass and counts the rest. Time is an argument; memory is bounded.
 */

/** Reports events that were held back: the level and message of the last one, and how many. */
export type SuppressedListener<L> = (level: L, message: string, suppressed: number) => void;

interface Window<L> {
  startMs: number;
  suppressed: number;
  level: L;
  message: string;
}

const WINDOW_MS = 1000;
const KEYS_MAX = 1024;

/** `L` is the type of a level. */
export class RateLimiter<L> {
  readonly #windows = new Map<string, Window<L>>();
  readonly #onSuppressed: SuppressedListener<L>;

  /** @param onSuppressed Called when a count would otherwise be forgotten. */
  constructor(onSuppressed: SuppressedListener<L>) {
    this.#onSuppressed = onSuppressed;
  }

  /**
   * Decides about one event.
   *
   * @returns undefined to hold it back, else how many of its key were held back before it.
   */
  admit(key: string, level: L, message: string, nowMs: number): number | undefined {
    const window = this.#windows.get(key);
    if (window === undefined) {
      if (this.#windows.size >= KEYS_MAX) this.#evictOldest();
      this.#windows.set(key, { startMs: nowMs, suppressed: 0, level, message });
      return 0;
    }
    if (nowMs - window.startMs < WINDOW_MS) {
      window.suppressed++;
      window.level = level;
      window.message = message;
      return undefined;
    }
    const { suppressed } = window;
    window.startMs = nowMs;
    window.suppressed = 0;
    return suppressed;
  }

  /** Reports and forgets the keys whose second is over; with Infinity all. O(keys), at most 1024. */
  flush(nowMs: number): void {
    for (const [key, window] of this.#windows) {
      if (nowMs - window.startMs < WINDOW_MS) continue;
      this.#windows.delete(key);
      this.#report(window);
    }
  }

  #evictOldest(): void {
    for (const [key, window] of this.#windows) {
      this.#windows.delete(key);
      this.#report(window);
      return;
    }
  }

  #report(window: Window<L>): void {
    if (window.suppressed > 0) this.#onSuppressed(window.level, window.message, window.suppressed);
  }
}
