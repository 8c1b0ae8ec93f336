/**
 * Identities from an HTTP server: one question per CONNECT, `{"clientId", "username", "password", "remoteAddress"}`.
 *
 * A password that is no UTF-8 goes as `passwordBase64` instead; what the client did not give is missing. Clients that
 * give neither a name nor a password are not asked about. The forms of the answer are in `http_answer.ts`.
 *
 * | what the server says                                  | verdict                                 | reason             |
 * | ----------------------------------------------------- | --------------------------------------- | ------------------ |
 * | allow                                                 | accept                                  |                    |
 * | deny, or allow with a time that is over               | 0x86, without a name 0x87               | `http_denied`      |
 * | ignore                                                | pass                                    |                    |
 * | nothing in time, nothing that makes sense             | 0x88                                    | `http_unavailable` |
 * | not asked: more clients than can be asked about       | 0x89                                    | `http_busy`        |
 *
 * Answers are used again for the same question: allow for the time of the settings, but no longer than it says itself;
 * deny and ignore for `BAD_ANSWER_KEEP_MS` at most. A client that the server would no longer let in may so come back
 * within that time.
 */
import * as Clock from "effect/Clock";
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { isUtf8 } from "node:buffer";
import { Log } from "../../logging/log.ts";
import { ReasonCode } from "../../protocol/reason_codes.ts";
import { tellUnavailable } from "../backend/failure_text.ts";
import { type Credentials, type IdentityProvider, refuse, type Verdict } from "../identity/identity.ts";
import { type Answered, makeAnswerCache } from "./answer_cache.ts";
import { type HttpVerdict, readVerdict } from "./http_answer.ts";
import { type HttpAuthSettings, openHttpBackend } from "./http_backend.ts";

/** The identity provider `http`. */
export class HttpAuth extends Context.Service<HttpAuth, IdentityProvider>()("promptmq/auth/HttpAuth") {
  /** Fails when the settings make no sense or the token cannot be read; does not connect. The token file is followed. */
  static readonly layer = (settings: HttpAuthSettings) =>
    Layer.effect(
      HttpAuth,
      Effect.gen(function* () {
        const log = yield* Log;
        const clock = yield* Clock.Clock;
        const backend = yield* openHttpBackend(settings.url, "identify a client", settings, log);
        const ask = (question: Question) =>
          backend.ask(JSON.stringify(question), (value) => readVerdict(value, question.username)).pipe(
            tellUnavailable(log),
            Effect.map((verdict) =>
              judge(verdict, question.username, settings.cacheTtlMs, clock.currentTimeMillisUnsafe())
            ),
          );
        const find = yield* makeAnswerCache(ask, settings.cacheSize);
        return HttpAuth.of({
          name: "http",
          verify: (credentials) => {
            const { username, password } = credentials;
            return username === undefined && password === undefined ? undefined : find(questionOf(credentials));
          },
        });
      }),
    );
}

/** The longest time that an answer other than allow is used again, in milliseconds. */
export const BAD_ANSWER_KEEP_MS = 5000;

/** Members that the client did not give are missing in the JSON. */
interface Question {
  readonly clientId: string;
  readonly username: string | undefined;
  readonly password?: string;
  readonly passwordBase64?: string;
  readonly remoteAddress: string;
}

function judge(
  verdict: HttpVerdict,
  username: string | undefined,
  cacheTtlMs: number,
  nowMs: number,
): Answered<Verdict | undefined> {
  if (verdict.kind === "allow") {
    const { identity } = verdict;
    const leftMs = (identity.expiresAtMs ?? Infinity) - nowMs;
    if (leftMs > 0) {
      return { answer: { kind: "accept", identity }, keepMs: Math.min(cacheTtlMs, leftMs), part: "good" };
    }
  }
  const answer = verdict.kind === "ignore" ? undefined : username === undefined ? DENIED_NOBODY : DENIED;
  return { answer, keepMs: Math.min(cacheTtlMs, BAD_ANSWER_KEEP_MS), part: "bad" };
}

function questionOf({ clientId, username, password, remoteAddress }: Credentials): Question {
  return { clientId, username, ...passwordMember(password), remoteAddress };
}

function passwordMember(password: Uint8Array | undefined): Record<string, string> {
  if (password === undefined) return {};
  return isUtf8(password)
    ? { password: new TextDecoder("utf-8", { ignoreBOM: true }).decode(password) }
    : { passwordBase64: password.toBase64() };
}

const DENIED = refuse(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "http_denied");
const DENIED_NOBODY = refuse(ReasonCode.NOT_AUTHORIZED, "http_denied");
