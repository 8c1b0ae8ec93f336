/**
 * A server that answers questions about clients: JSON out by POST, JSON back with status 200.
 *
 * Anything else is no answer: another status, a redirection, which could lead to a server that nobody configured, a body
 * that is too large or no JSON, silence until the timeout. The connection is kept between requests. At most
 * `concurrency` requests are under way; others wait in a bounded line.
 */
import * as Effect from "effect/Effect";
import type { LogWriter } from "../../logging/log.ts";
import { failureText } from "../backend/failure_text.ts";
import { followValue, isLoopbackHost, parseSecretLine } from "../backend/followed_value.ts";
import { WaitingLine } from "../backend/waiting_line.ts";
import { BackendSettingsInvalid, BackendUnavailable } from "../identity/errors.ts";

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

/** What came of a question. */
export type HttpOutcome =
  | { readonly kind: "answer"; readonly value: unknown }
  | { readonly kind: "unavailable"; readonly error: BackendUnavailable }
  | { readonly kind: "busy" };

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
  readonly #line: WaitingLine;
  readonly #client = Deno.createHttpClient({});
  #isClosed = false;
  /** At most `concurrency`. */
  readonly #underWay = new Map<AbortController, Promise<HttpOutcome>>();

  /** @param operation Completes "cannot …", such as `identify a client`. */
  constructor(url: URL, operation: string, settings: HttpAuthSettings, token: () => string | undefined) {
    this.#url = url;
    this.#operation = operation;
    this.#timeoutMs = settings.timeoutMs;
    this.#token = token;
    this.#line = new WaitingLine(settings.concurrency, HTTP_WAITING_MAX);
  }

  /**
   * Asks; never rejects.
   *
   * @param body JSON.
   */
  async ask(body: string): Promise<HttpOutcome> {
    if (!await this.#line.enter(this.#timeoutMs)) return { kind: "busy" };
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), this.#timeoutMs);
    const asking = this.#request(body, controller.signal);
    this.#underWay.set(controller, asking);
    const outcome = await asking;
    clearTimeout(timer);
    this.#underWay.delete(controller);
    this.#line.leave();
    return outcome;
  }

  /** Cuts off what is under way, which ends as unavailable. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#line.close();
    for (const controller of this.#underWay.keys()) controller.abort();
    await Promise.all(this.#underWay.values());
    this.#client.close();
  }

  /** An answer that does not say what it should. */
  refuseAnswer(detail: string): HttpOutcome & { readonly kind: "unavailable" } {
    return this.#unavailable(detail);
  }

  async #request(body: string, signal: AbortSignal): Promise<HttpOutcome> {
    try {
      const response = await fetch(this.#url, {
        method: "POST",
        redirect: "manual",
        headers: this.#headers(),
        body,
        signal,
        client: this.#client,
      });
      if (response.status !== 200) {
        await response.body?.cancel();
        return this.#unavailable(`the answer has status ${response.status}`);
      }
      const bytes = await readBounded(response);
      if (bytes === undefined) return this.#unavailable(`the answer is larger than ${HTTP_ANSWER_BYTES_MAX} bytes`);
      const value = parseJson(bytes);
      return value === undefined ? this.#unavailable("the answer is no JSON") : { kind: "answer", value };
    } catch (cause) {
      if (this.#isClosed) return this.#unavailable("the broker stops", cause);
      if (signal.aborted) return this.#unavailable(`no answer within ${this.#timeoutMs} ms`, cause);
      return this.#unavailable(this.#describe(cause), cause);
    }
  }

  #headers(): Record<string, string> {
    const token = this.#token();
    return {
      "content-type": "application/json",
      accept: "application/json",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    };
  }

  /** The runtime's words repeat the address, whose query may be a secret. */
  #describe(cause: unknown): string {
    return failureText(cause).replace(/https?:\/\/[^\s)]+/g, this.#url.origin);
  }

  #unavailable(detail: string, cause?: unknown): HttpOutcome & { readonly kind: "unavailable" } {
    const error = new BackendUnavailable({ backend: "http", operation: this.#operation, detail, cause });
    return { kind: "unavailable", error };
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
  return yield* Effect.acquireRelease(
    Effect.sync(() => new HttpBackend(parsed, operation, settings, token)),
    (backend) => Effect.promise(() => backend.close()),
  );
});

/** What may stand in a header. [RFC 6750, 2.1] */
function parseToken(text: string): { readonly value: string } | { readonly problem: string } {
  const line = parseSecretLine(text);
  return "value" in line && !/^[\x21-\x7e]+$/.test(line.value) ? { problem: "is no bearer token" } : line;
}

async function readBounded(response: Response): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let byteCount = 0;
  for await (const chunk of response.body ?? []) {
    byteCount += chunk.length;
    // Leaving the loop cancels the rest of the body.
    if (byteCount > HTTP_ANSWER_BYTES_MAX) return undefined;
    chunks.push(chunk);
  }
  return new Uint8Array(await new Blob(chunks as Uint8Array<ArrayBuffer>[]).arrayBuffer());
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
