/**
 * An HTTP server of tests that answers questions about clients, and remembers what it was asked.
 */
import type { HttpAuthSettings } from "../../../src/auth/http/http_backend.ts";

/** A question as it came in. */
export interface Question {
  readonly path: string;
  readonly method: string;
  readonly authorization: string | null;
  readonly contentType: string | null;
  readonly body: unknown;
}

/** See the head of this file. */
export interface AnswerServer extends AsyncDisposable {
  readonly url: string;
  readonly questions: readonly Question[];
}

/** Starts a server. @param answer JSON for status 200, or a whole response. */
export function answerServer(answer: (question: Question) => unknown): AnswerServer {
  const questions: Question[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const question = {
      path: new URL(request.url).pathname,
      method: request.method,
      authorization: request.headers.get("authorization"),
      contentType: request.headers.get("content-type"),
      body: await request.json(),
    };
    questions.push(question);
    const answered = await answer(question);
    return answered instanceof Response ? answered : Response.json(answered);
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}/auth`,
    questions,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Settings whose timeout is for tests that do not wait for it. */
export function httpSettings(changes: Partial<HttpAuthSettings>): HttpAuthSettings {
  return { timeoutMs: 20_000, cacheTtlMs: 60_000, cacheSize: 100, concurrency: 4, ...changes };
}
