/**
 * Keys that an issuer publishes at an address and replaces there now and then (a JWKS endpoint). [RFC 7517, 5]
 *
 * When the server is asked, and by what it is bounded:
 *
 * - The first token asks, and then the first one after the cached keys have become too old.
 * - A token with a key that is not among them asks, since the issuer may have a new one; but not within
 *   `UNKNOWN_KEY_COOLDOWN_MS` of the last answer, so that invented names are no way to flood the server.
 * - After a failure nobody asks for `RETRY_MS`. Old keys are used meanwhile, for at most `STALE_KEYS_MAX_MS` past their
 *   time; after that, tokens can be neither confirmed nor denied.
 * - There is one request at a time; whoever waited for its end looks again. It is given up after the timeout or
 *   `ANSWER_BYTES_MAX`.
 *
 * A key without a name that is replaced by another is noticed only when the cached keys are too old.
 */
import * as Effect from "effect/Effect";
import * as Semaphore from "effect/Semaphore";
import type { LogWriter } from "../../logging/log.ts";
import { describeNoAnswer, fetchAnswer } from "../backend/http_answer_bytes.ts";
import { BackendUnavailable } from "../identity/errors.ts";
import { type KeySet, keysFor, parseKeySet } from "./jwt_keys.ts";

/** How long keys are used beyond their time while the server gives none, in milliseconds. */
export const STALE_KEYS_MAX_MS = 3_600_000;

/** How long after an answer an unknown key is taken for unknown without asking, in milliseconds. */
export const UNKNOWN_KEY_COOLDOWN_MS = 10_000;

/** How long after a failure the server is left alone, in milliseconds. */
export const RETRY_MS = 5_000;

/** Bytes of the longest answer. A key takes some 400 without, and 4000 with its certificates. */
export const ANSWER_BYTES_MAX = 524_288;

/** Where and how to ask. */
export interface RemoteKeySettings {
  readonly url: URL;
  /** How long keys are good without asking again. */
  readonly cacheMs: number;
  readonly timeoutMs: number;
}

/** The keys of one address. */
export class RemoteKeys {
  #keys: KeySet = [];
  /** When the keys came; undefined = never. */
  #fetchedAtMs: number | undefined;
  /** When the last request ended; undefined = never. */
  #settledAtMs: number | undefined;
  /** Of the last request; undefined = it was answered. */
  #failure: BackendUnavailable | undefined;
  readonly #turn = Semaphore.makeUnsafe(1);
  readonly #settings: RemoteKeySettings;
  readonly #log: LogWriter;
  readonly #nowMs: () => number;

  /** @param nowMs Milliseconds of a clock that nobody sets. */
  constructor(settings: RemoteKeySettings, log: LogWriter, nowMs: () => number) {
    this.#settings = settings;
    this.#log = log;
    this.#nowMs = nowMs;
  }

  /**
   * Finds the keys a token may be verified with, and asks for them when necessary.
   *
   * @returns Empty when the issuer has none such; fails when nobody can tell.
   */
  readonly find = Effect.fnUntraced({ self: this }, function* (
    this: RemoteKeys,
    algorithm: string,
    kid: string | undefined,
  ) {
    yield* this.#askIf(() => this.#isOlderThan(this.#settings.cacheMs) && this.#mayAsk(0));
    yield* this.#askIf(() => this.#lookUp(algorithm, kid).length === 0 && this.#mayAsk(UNKNOWN_KEY_COOLDOWN_MS));
    const found = this.#lookUp(algorithm, kid);
    return found.length === 0 && this.#failure !== undefined ? yield* this.#failure : found;
  });

  #lookUp(algorithm: string, kid: string | undefined): KeySet {
    return this.#isOlderThan(this.#settings.cacheMs + STALE_KEYS_MAX_MS) ? [] : keysFor(this.#keys, algorithm, kid);
  }

  #isOlderThan(ageMs: number): boolean {
    return this.#fetchedAtMs === undefined || this.#nowMs() - this.#fetchedAtMs > ageMs;
  }

  #mayAsk(cooldownMs: number): boolean {
    if (this.#settledAtMs === undefined) return true;
    const pauseMs = this.#failure === undefined ? cooldownMs : RETRY_MS;
    return this.#nowMs() - this.#settledAtMs >= pauseMs;
  }

  #askIf(isNeeded: () => boolean): Effect.Effect<void> {
    const ask = Effect.suspend(() => isNeeded() ? this.#ask : Effect.void);
    return Effect.suspend(() => isNeeded() ? this.#turn.withPermit(ask) : Effect.void);
  }

  readonly #ask = Effect.suspend(() => fetchKeySet(this.#settings)).pipe(Effect.match({
    onFailure: (failure) => {
      if (this.#failure === undefined) {
        const url = presentableUrl(this.#settings.url);
        this.#log.write("warn", "cannot get the keys of tokens", { url, error: failure.message });
      }
      this.#settledAtMs = this.#nowMs();
      this.#failure = failure;
    },
    onSuccess: (keys) => {
      if (this.#failure !== undefined || this.#fetchedAtMs === undefined) {
        const url = presentableUrl(this.#settings.url);
        this.#log.write("info", "got the keys of tokens", { url, keys: keys.length });
      }
      this.#fetchedAtMs = this.#settledAtMs = this.#nowMs();
      this.#failure = undefined;
      this.#keys = keys;
    },
  }));
}

function fetchKeySet({ url, timeoutMs }: RemoteKeySettings): Effect.Effect<KeySet, BackendUnavailable> {
  const failed = (detail: string, cause?: unknown) =>
    new BackendUnavailable({ backend: "jwt", operation: "get the keys", detail, cause });
  const headers = { accept: "application/jwk-set+json, application/json" };
  return fetchAnswer(url, { headers }, ANSWER_BYTES_MAX).pipe(
    Effect.mapError((failure) => failed(describeNoAnswer(failure, presentableUrl(url)), failure.cause)),
    Effect.timeoutOrElse({ duration: timeoutMs, orElse: () => failed(`no answer within ${timeoutMs} ms`) }),
    Effect.flatMap((bytes) => {
      const keys = parseKeySet(new TextDecoder().decode(bytes));
      return typeof keys === "string" ? failed(keys) : Effect.succeed(keys);
    }),
  );
}

function presentableUrl({ protocol, host, pathname }: URL): string {
  return `${protocol}//${host}${pathname}`;
}
