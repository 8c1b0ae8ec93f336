/**
 * Lets one event per key and second pass and counts the rest. Time is an argument; memory is bounded.
 */

/** Reports events that were held back: the level, message and fields of the last one, and how many. */
export type SuppressedListener<L, F> = (level: L, message: string, fields: F, suppressed: number) => void;

interface Window<L, F> {
  startMs: number;
  suppressed: number;
  level: L;
  message: string;
  fields: F;
}

const WINDOW_MS = 1000;
const KEYS_MAX = 1024;

/** `L` is the type of a level, `F` that of the fields; both are only handed on. */
export class RateLimiter<L, F> {
  readonly #windows = new Map<string, Window<L, F>>();
  readonly #onSuppressed: SuppressedListener<L, F>;

  /** @param onSuppressed Called when a count would otherwise be forgotten. */
  constructor(onSuppressed: SuppressedListener<L, F>) {
    this.#onSuppressed = onSuppressed;
  }

  /**
   * Decides about one event.
   *
   * @param fields Kept until the key is reported or forgotten, so that the report shows whom it was about.
   * @returns undefined to hold it back, else how many of its key were held back before it.
   */
  admit(key: string, level: L, message: string, fields: F, nowMs: number): number | undefined {
    const window = this.#windows.get(key);
    if (window === undefined) {
      if (this.#windows.size >= KEYS_MAX) this.#evictOldest();
      this.#windows.set(key, { startMs: nowMs, suppressed: 0, level, message, fields });
      return 0;
    }
    if (nowMs - window.startMs < WINDOW_MS) {
      window.suppressed++;
      window.level = level;
      window.message = message;
      window.fields = fields;
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

  #report({ level, message, fields, suppressed }: Window<L, F>): void {
    if (suppressed > 0) this.#onSuppressed(level, message, fields, suppressed);
  }
}
