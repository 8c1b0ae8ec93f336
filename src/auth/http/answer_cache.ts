/**
 * Answers of a server that are used again for a while, and questions that are asked once for all who ask them at the
 * same time: what keeps a reconnect storm of a thousand clients from being a storm at the server.
 *
 * - Questions may contain passwords. They are never kept: an entry goes by a keyed hash of its question, whose key
 *   lives in this process only.
 * - Good answers and bad ones have a part each, of the same size, so that guessing passwords pushes nobody out. In each
 *   the answer that was not used for the longest time goes first.
 * - An answer that is under way is shared and then handed to all who waited, whether it is kept or not. A failure is
 *   shared too, and never kept.
 *
 * What is under way is shared by Effect's cache. What is kept is not in it, because it has no parts and no way to look
 * without a fiber.
 *
 * Bounds: two times `entriesMax` answers, and as many shared questions as are asked at once.
 */
import * as Cache from "effect/Cache";
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import { createHmac, randomBytes } from "node:crypto";
import { monotonicMsOf } from "../../system/clock.ts";
import type { Answer } from "../identity/questions.ts";

/** An answer and how long it holds. */
export interface Answered<A> {
  readonly answer: A;
  /** In milliseconds; 0 = for this question only. */
  readonly keepMs: number;
  /** Part that keeps it. */
  readonly part: "good" | "bad";
}

/**
 * Makes a cache: a function that answers a question from memory, or by asking.
 *
 * @param ask Gets all that the answer depends on, as a plain object of strings and lists.
 * @param entriesMax Of each part; 0 keeps nothing.
 */
export const makeAnswerCache = Effect.fnUntraced(function* <Q extends object, A, E>(
  ask: (question: Q) => Effect.Effect<Answered<A>, E>,
  entriesMax: number,
) {
  const clock = yield* Clock.Clock;
  const hashKey = randomBytes(32);
  const keyOf = (question: Q) => createHmac("sha256", hashKey).update(JSON.stringify(question)).digest("base64");
  const parts = { good: new CachePart<A>(entriesMax), bad: new CachePart<A>(entriesMax) };
  const underWay = yield* Cache.make({
    lookup: (question: Q) =>
      Effect.map(ask(question), ({ answer, keepMs, part }) => {
        if (keepMs > 0) parts[part].keep(keyOf(question), answer, monotonicMsOf(clock), keepMs);
        return answer;
      }),
    capacity: Infinity,
    timeToLive: 0,
  });
  return (question: Q): Answer<A, E> => {
    const key = keyOf(question);
    const nowMs = monotonicMsOf(clock);
    const known = parts.good.find(key, nowMs) ?? parts.bad.find(key, nowMs);
    return known === undefined ? Cache.get(underWay, question) : known.answer;
  };
});

interface Kept<A> {
  readonly answer: A;
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
    if (nowMs >= kept.untilMs) return undefined;
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
    this.#entries.set(key, { answer, untilMs: nowMs + keepMs });
  }
}
