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
 * - There is one request at a time, for whoever waits; it is given up after the timeout or `ANSWER_BYTES_MAX`.
 *
 * A key without a name that is replaced by another is noticed only when the cached keys are too old.
 */
import type { LogWriter } from "../../logging/log.ts";
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
  #hasFailed = false;
  #pending: Promise<void> | undefined;
  readonly #closing = new AbortController();
  readonly #settings: RemoteKeySettings;
  readonly #log: LogWriter;
  readonly #nowMs: () => number;

  constructor(settings: RemoteKeySettings, log: LogWriter, nowMs: () => number) {
    this.#settings = settings;
    this.#log = log;
    this.#nowMs = nowMs;
  }

  /**
   * Finds the keys a token may be verified with, and asks for them when necessary. Never rejects.
   *
   * @returns Empty when the issuer has none such; undefined when nobody can tell.
   */
  async find(algorithm: string, kid: string | undefined): Promise<KeySet | undefined> {
    if (this.#isOlderThan(this.#settings.cacheMs) && this.#mayAsk(0)) await this.#refresh();
    const found = this.#lookUp(algorithm, kid);
    if (found.length > 0) return found;
    if (this.#mayAsk(UNKNOWN_KEY_COOLDOWN_MS)) await this.#refresh();
    const foundNow = this.#lookUp(algorithm, kid);
    return foundNow.length === 0 && this.#hasFailed ? undefined : foundNow;
  }

  /** Gives up the request that is under way; those that wait get no keys. */
  close(): void {
    this.#closing.abort();
  }

  #lookUp(algorithm: string, kid: string | undefined): KeySet {
    return this.#isOlderThan(this.#settings.cacheMs + STALE_KEYS_MAX_MS) ? [] : keysFor(this.#keys, algorithm, kid);
  }

  /** A clock that was set back makes keys old too, else they might never be. */
  #isOlderThan(ageMs: number): boolean {
    return this.#fetchedAtMs === undefined || Math.abs(this.#nowMs() - this.#fetchedAtMs) > ageMs;
  }

  #mayAsk(cooldownMs: number): boolean {
    if (this.#pending !== undefined || this.#settledAtMs === undefined) return true;
    const pauseMs = this.#hasFailed ? RETRY_MS : cooldownMs;
    return Math.abs(this.#nowMs() - this.#settledAtMs) >= pauseMs;
  }

  #refresh(): Promise<void> {
    this.#pending ??= this.#ask().finally(() => this.#pending = undefined);
    return this.#pending;
  }

  async #ask(): Promise<void> {
    const answer = await fetchKeySet(this.#settings, this.#closing.signal);
    this.#settledAtMs = this.#nowMs();
    const url = presentableUrl(this.#settings.url);
    if (answer instanceof BackendUnavailable) {
      if (!this.#hasFailed && !this.#closing.signal.aborted) {
        this.#log.write("warn", "cannot get the keys of tokens", { url, error: answer.message });
      }
      this.#hasFailed = true;
      return;
    }
    if (this.#hasFailed || this.#fetchedAtMs === undefined) {
      this.#log.write("info", "got the keys of tokens", { url, keys: answer.length });
    }
    this.#hasFailed = false;
    this.#keys = answer;
    this.#fetchedAtMs = this.#settledAtMs;
  }
}

async function fetchKeySet(settings: RemoteKeySettings, closing: AbortSignal): Promise<KeySet | BackendUnavailable> {
  const timeout = AbortSignal.timeout(settings.timeoutMs);
  const failed = (detail: string, cause?: unknown) =>
    new BackendUnavailable({ backend: "jwt", operation: "get the keys", detail, cause });
  try {
    // A redirection could lead to a server that nobody configured.
    const headers = { accept: "application/jwk-set+json, application/json" };
    const signal = AbortSignal.any([timeout, closing]);
    const response = await fetch(settings.url, { redirect: "manual", headers, signal });
    if (response.status !== 200) {
      await response.body?.cancel();
      return failed(`the answer has status ${response.status}`);
    }
    const text = await readBounded(response);
    if (text === undefined) return failed(`the answer is larger than ${ANSWER_BYTES_MAX} bytes`);
    const keys = parseKeySet(text);
    return typeof keys === "string" ? failed(keys) : keys;
  } catch (cause) {
    if (timeout.aborted) return failed(`no answer within ${settings.timeoutMs} ms`);
    return failed(describe(cause, settings.url), cause);
  }
}

/** Reads a body as UTF-8, or gives up when it is too large. */
async function readBounded(response: Response): Promise<string | undefined> {
  const decoder = new TextDecoder();
  let text = "";
  let byteCount = 0;
  for await (const chunk of response.body ?? []) {
    byteCount += chunk.length;
    // Leaving the loop cancels the rest of the body.
    if (byteCount > ANSWER_BYTES_MAX) return undefined;
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** The runtime's words repeat the address, and its query or user may be a secret. */
function describe(failure: unknown, url: URL): string {
  if (!(failure instanceof Error)) return "the request failed";
  const anonymous = new URL(url);
  anonymous.username = anonymous.password = "";
  const { message } = failure.cause instanceof Error ? failure.cause : failure;
  return [url.href, anonymous.href].reduce((text, href) => text.replaceAll(href, presentableUrl(url)), message);
}

function presentableUrl({ protocol, host, pathname }: URL): string {
  return `${protocol}//${host}${pathname}`;
}
