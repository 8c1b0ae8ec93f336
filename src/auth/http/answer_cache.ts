/**
 * Answers of a server that are used again for a while, and questions that are asked once for all who ask them at the
 * same time: what keeps a reconnect storm of a thousand clients from being a storm at the server.
 *
 * - Questions may contain passwords. They are never kept: an entry goes by a keyed hash of its question, whose key
 *   lives in this process only.
 * - Good answers and bad ones have a part each, of the same size, so that guessing passwords pushes nobody out. In each
 *   the answer that was not used for the longest time goes first.
 * - An answer that is under way is shared and then handed to all who waited, whether it is kept or not.
 *
 * Bounds: two times `entriesMax` answers, and as many shared questions as are asked at once.
 */
import { createHmac, randomBytes } from "node:crypto";

/** An answer and how long it holds. */
export interface Answered<A> {
  readonly answer: A;
  /** In milliseconds; 0 = for this question only. */
  readonly keepMs: number;
  /** Part that keeps it. */
  readonly part: "good" | "bad";
}

/** See the head of this file. */
export class AnswerCache<A> {
  readonly #good: CachePart<A>;
  readonly #bad: CachePart<A>;
  readonly #underWay = new Map<string, Promise<A>>();
  readonly #hashKey = randomBytes(32);
  readonly #nowMs: () => number;

  /** @param entriesMax Of each part; 0 keeps nothing. */
  constructor(entriesMax: number, nowMs: () => number) {
    this.#good = new CachePart(entriesMax);
    this.#bad = new CachePart(entriesMax);
    this.#nowMs = nowMs;
  }

  /**
   * Answers from memory, or by asking.
   *
   * @param question All that the answer depends on, in a form in which different questions differ.
   * @param ask Must not reject.
   */
  find(question: string, ask: () => Promise<Answered<A>>): A | Promise<A> {
    const key = createHmac("sha256", this.#hashKey).update(question).digest("base64");
    const nowMs = this.#nowMs();
    const known = this.#good.find(key, nowMs) ?? this.#bad.find(key, nowMs);
    if (known !== undefined) return known.answer;
    let asking = this.#underWay.get(key);
    if (asking === undefined) {
      asking = this.#askAndKeep(key, ask).finally(() => this.#underWay.delete(key));
      this.#underWay.set(key, asking);
    }
    return asking;
  }

  async #askAndKeep(key: string, ask: () => Promise<Answered<A>>): Promise<A> {
    const { answer, keepMs, part } = await ask();
    if (keepMs > 0) (part === "good" ? this.#good : this.#bad).keep(key, answer, this.#nowMs(), keepMs);
    return answer;
  }
}

interface Kept<A> {
  readonly answer: A;
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** Entries in the order of their last use; a Map keeps the order of insertion. */
class CachePart<A> {
  readonly #entries = new Map<string, Kept<A>>();
  readonly #entriesMax: number;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  find(key: string, nowMs: number): Kept<A> | undefined {
    const kept = this.#entries.get(key);
    if (kept === undefined) return undefined;
    this.#entries.delete(key);
    // A clock that was set back would make answers hold for longer than they were meant to.
    if (nowMs >= kept.untilMs || nowMs < kept.sinceMs) return undefined;
    this.#entries.set(key, kept);
    return kept;
  }

  keep(key: string, answer: A, nowMs: number, keepMs: number): void {
    if (this.#entriesMax <= 0) return;
    this.#entries.delete(key);
    if (this.#entries.size >= this.#entriesMax) {
      for (const oldest of this.#entries.keys()) {
        this.#entries.delete(oldest);
        break;
      }
    }
    this.#entries.set(key, { answer, sinceMs: nowMs, untilMs: nowMs + keepMs });
  }
}
