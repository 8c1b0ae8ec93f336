/**
 * Finds clients that connect again and again: two that fight for one Client Identifier, or one that fails in a loop.
 *
 * Counts connects per pair of Client Identifier and User Name in a window that slides with time. Only connects that were
 * authenticated count: nobody can bring a ban upon somebody whose name they merely know. Time is an argument.
 *
 * The window moves in steps of an eighth, so that a pair takes the same memory however many connects are allowed. What
 * is counted is the present step and the seven before it: never what is older than the window, and at times what is up
 * to an eighth younger is no longer counted.
 */

/** Read with every connect, so that a reload takes effect. */
export interface FlappingSettings {
  /** Connects that are fine within one window; 0 = nobody is ever banned. */
  connectsMax: number;
  windowMs: number;
  /** How long a client is to be banned. */
  banMs: number;
}

/** See the head of this file. Remembers at most `PAIRS_MAX` pairs. */
export class Flapping {
  readonly #settings: FlappingSettings;
  /** The pair that connected last is at the end. */
  readonly #pairs = new Map<string, ConnectCounts>();
  /** Until when pairs are banned; the one banned last is at the end. */
  readonly #banned = new Map<string, number>();
  #windowMs = 0;

  constructor(settings: FlappingSettings) {
    this.#settings = settings;
  }

  /** Pairs remembered; for tests and metrics. */
  get size(): number {
    return this.#pairs.size;
  }

  /**
   * Counts a connect that was authenticated.
   *
   * @returns Until when the pair is banned, if it was one connect too many, or one within the ban, which does not count;
   *   undefined when it is fine.
   */
  connected(clientId: string, username: string | undefined, nowMs: number): number | undefined {
    const { connectsMax, windowMs, banMs } = this.#settings;
    // The numbers of the steps mean something else in another window.
    if (connectsMax === 0 || windowMs !== this.#windowMs) this.#pairs.clear();
    if (connectsMax === 0) this.#banned.clear();
    this.#windowMs = windowMs;
    if (connectsMax === 0) return undefined;
    const pair = pairOf(clientId, username);
    const untilMs = this.#banned.get(pair);
    if (untilMs !== undefined && untilMs > nowMs) return untilMs;
    const step = Math.floor(nowMs * STEPS / windowMs);
    this.#makeRoom(step);
    const counts = this.#pairs.get(pair) ?? { step, ofStep: new Array<number>(STEPS).fill(0) };
    this.#pairs.delete(pair);
    if (count(counts, step) > connectsMax) return this.#ban(pair, nowMs + banMs);
    this.#pairs.set(pair, counts);
    return undefined;
  }

  #ban(pair: string, untilMs: number): number {
    this.#banned.delete(pair);
    this.#banned.set(pair, untilMs);
    if (this.#banned.size > PAIRS_MAX) {
      for (const [oldest] of this.#banned) {
        this.#banned.delete(oldest);
        break;
      }
    }
    return untilMs;
  }

  /** Forgets pairs that were last seen before the window, and the one seen longest ago when there are too many. */
  #makeRoom(step: number): void {
    for (const [pair, counts] of this.#pairs) {
      if (counts.step > step - STEPS && this.#pairs.size < PAIRS_MAX) return;
      this.#pairs.delete(pair);
    }
  }
}

/** Pairs that are remembered, about 5 MB; the one that connected longest ago goes first. */
export const PAIRS_MAX = 16_384;

interface ConnectCounts {
  /** The step of the last connect. */
  step: number;
  /** Connects in the `STEPS` steps up to it, each at its number modulo `STEPS`. */
  readonly ofStep: number[];
}

/** Counts one connect. @returns The connects within the window, this one included. */
function count(counts: ConnectCounts, step: number): number {
  const { ofStep } = counts;
  const passed = Math.min(step - counts.step, STEPS);
  for (let back = 0; back < passed; back++) ofStep[(step - back) % STEPS] = 0;
  counts.step = step;
  ofStep[step % STEPS]!++;
  return ofStep.reduce((sum, connects) => sum + connects, 0);
}

/** U+0000 is in no string of MQTT. [MQTT-1.5.4-2] */
function pairOf(clientId: string, username: string | undefined): string {
  return username === undefined ? clientId : `${clientId}\u0000${username}`;
}

const STEPS = 8;
