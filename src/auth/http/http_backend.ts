/**
 * A server that answers questions about clients: JSON out by POST, JSON back with status 200.
 *
 * Anything else is no answer: another status, a redirection, which could lead to a server that nobody configured, a body
 * that is too large or no JSON, silence until the timeout. The connection is kept between requests. At most
 * `concurrency` requests are under way; others wait in a bounded line.
 */
import * as Effect from "effect/Effect";
import type { LogWriter } from "../../logging/log.ts";
import { followValue, isLoopbackHost, parseSecretLine } from "../backend/followed_value.ts";
import { describeNoAnswer, fetchAnswer, type NoAnswer } from "../backend/http_answer_bytes.ts";
import { makeWaitingLine, type WaitingLine } from "../backend/waiting_line.ts";
import { type BackendBusy, BackendSettingsInvalid, BackendUnavailable } from "../identity/errors.ts";

/** How to ask a server about identities and permissions. */
export interface HttpAuthSettings {
  /** Who is a client? Undefined = not asked. */
  readonly url?: string | undefined;
  /** What may a client do? Undefined = not asked. */
  readonly aclUrl?: string | undefined;
  /** Bearer token for both, in one line; undefined = none. */
  readonly tokenFile?: string | undefined;
  /** For one request, and for waiting until it is made, in milliseconds each. */
  readonly timeoutMs: number;
  /** How long good answers hold without asking again; 0 = not at all. */
  readonly cacheTtlMs: number;
  /** Good answers that are kept, and as many bad ones. */
  readonly cacheSize: number;
  /** Requests at once, for each of the two addresses. */
  readonly concurrency: number;
}

/** Questions that wait until a request may be made. */
export const HTTP_WAITING_MAX = 1000;

/** Bytes of the longest answer: a thousand rules with long topics. */
export const HTTP_ANSWER_BYTES_MAX = 1_048_576;

/** One address of the server. */
export class HttpBackend {
  readonly #url: URL;
  readonly #operation: string;
  readonly #timeoutMs: number;
  readonly #token: () => string | undefined;
  readonly #client: Deno.HttpClient;
  readonly #line: WaitingLine;

  /**
   * @param operation Completes "cannot …", such as `identify a client`.
   * @param client Must be open for as long as somebody asks.
   */
  constructor(
    url: URL,
    operation: string,
    settings: HttpAuthSettings,
    token: () => string | undefined,
    client: Deno.HttpClient,
  ) {
    const { timeoutMs, concurrency: atWorkMax } = settings;
    this.#url = url;
    this.#operation = operation;
    this.#timeoutMs = timeoutMs;
    this.#token = token;
    this.#client = client;
    this.#line = makeWaitingLine({ backend: "http", atWorkMax, waitingMax: HTTP_WAITING_MAX, waitMs: timeoutMs });
  }

  /**
   * Asks.
   *
   * @param body JSON.
   * @param read Takes out of the answer what was wanted, or says in a sentence what is wrong with it.
   */
  ask<A extends object>(
    body: string,
    read: (answer: unknown) => A | string,
  ): Effect.Effect<A, BackendUnavailable | BackendBusy> {
    const asking = this.#post(body).pipe(
      Effect.mapError((failure) => this.#unavailable(describeNoAnswer(failure, this.#url.origin), failure.cause)),
      Effect.timeoutOrElse({
        duration: this.#timeoutMs,
        orElse: () => this.#unavailable(`no answer within ${this.#timeoutMs} ms`),
      }),
      Effect.flatMap((bytes) => {
        const value = parseJson(bytes);
        const answer = value === undefined ? "the answer is no JSON" : read(value);
        return typeof answer === "string" ? this.#unavailable(answer) : Effect.succeed(answer);
      }),
    );
    return this.#line(asking);
  }

  /** With the token that holds when it is sent. */
  #post(body: string): Effect.Effect<Uint8Array, NoAnswer> {
    return Effect.suspend(() => {
      const init = { method: "POST", headers: this.#headers(), body, client: this.#client };
      return fetchAnswer(this.#url, init, HTTP_ANSWER_BYTES_MAX);
    });
  }

  #headers(): Record<string, string> {
    const token = this.#token();
    return {
      "content-type": "application/json",
      accept: "application/json",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    };
  }

  #unavailable(detail: string, cause?: unknown): BackendUnavailable {
    return new BackendUnavailable({ backend: "http", operation: this.#operation, detail, cause });
  }
}

/** What the settings say wrong of one address and of what both have in common. */
export function problemsOfHttp(url: string | undefined, settings: HttpAuthSettings): readonly string[] {
  const problems: string[] = [];
  const parsed = url === undefined ? null : URL.parse(url);
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) {
    problems.push("the address is not of the form http://host/path or https://host/path");
  } else if (parsed.username + parsed.password !== "") {
    problems.push("the address has a name or a password in it; use a token file");
  }
  if (!(settings.timeoutMs > 0)) problems.push("the timeout is not above 0");
  if (!(settings.concurrency >= 1)) problems.push("the number of requests at once is not above 0");
  return problems;
}

/** Opens one address for a scope; fails when the settings make no sense or the token cannot be read. */
export const openHttpBackend = Effect.fnUntraced(function* (
  url: string | undefined,
  operation: string,
  settings: HttpAuthSettings,
  log: LogWriter,
) {
  const problems = problemsOfHttp(url, settings);
  if (problems.length > 0) return yield* new BackendSettingsInvalid({ backend: "http", problems });
  const parsed = new URL(url!);
  const { tokenFile: path } = settings;
  const token = yield* followValue(
    path === undefined ? undefined : { path, purpose: "HTTP token file", parse: parseToken },
    log,
  );
  if (parsed.protocol === "http:" && !isLoopbackHost(parsed.hostname)) {
    log.write("warn", "credentials go to the backend in the clear", { backend: "http", host: parsed.hostname });
  }
  const client = yield* Effect.acquireRelease(
    Effect.sync(() => Deno.createHttpClient({})),
    (opened) => Effect.sync(() => opened.close()),
  );
  return new HttpBackend(parsed, operation, settings, token, client);
});

/** What may stand in a header. [RFC 6750, 2.1] */
function parseToken(text: string): { readonly value: string } | { readonly problem: string } {
  const line = parseSecretLine(text);
  return "value" in line && !/^[\x21-\x7e]+$/.test(line.value) ? { problem: "is no bearer token" } : line;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
