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
import { Log, type LogWriter } from "../../logging/log.ts";
import { ReasonCode } from "../../protocol/reason_codes.ts";
import type { Credentials, IdentityProvider, Verdict } from "../identity/identity.ts";
import { AnswerCache, type Answered } from "./answer_cache.ts";
import { readVerdict } from "./http_answer.ts";
import { type HttpAuthSettings, type HttpBackend, openHttpBackend } from "./http_backend.ts";

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
        return HttpAuth.of(makeProvider(backend, settings, log, () => clock.currentTimeMillisUnsafe()));
      }),
    );
}

/** The longest time that an answer other than allow is used again, in milliseconds. */
export const BAD_ANSWER_KEEP_MS = 5000;

function makeProvider(
  backend: HttpBackend,
  settings: HttpAuthSettings,
  log: LogWriter,
  nowMs: () => number,
): IdentityProvider {
  const cache = new AnswerCache<Verdict | undefined>(settings.cacheSize, nowMs);
  const ask = async (question: string, username: string | undefined): Promise<Answered<Verdict | undefined>> => {
    const outcome = await backend.ask(question);
    if (outcome.kind === "busy") return once(BUSY);
    const verdict = outcome.kind === "answer" ? readVerdict(outcome.value, username) : undefined;
    if (verdict === undefined || typeof verdict === "string") {
      const { error } = outcome.kind === "unavailable" ? outcome : backend.refuseAnswer(verdict!);
      const fields = { backend: "http", error: error.message };
      log.limited("http_unavailable", "warn", "identity backend unavailable", fields);
      return once(UNAVAILABLE);
    }
    if (verdict.kind === "allow") {
      const { identity } = verdict;
      const { expiresAtMs = Infinity } = identity;
      const keepMs = Math.min(settings.cacheTtlMs, expiresAtMs - nowMs());
      if (expiresAtMs > nowMs()) return { answer: { kind: "accept", identity }, keepMs, part: "good" };
    }
    const keepMs = Math.min(settings.cacheTtlMs, BAD_ANSWER_KEEP_MS);
    const answer = verdict.kind === "ignore" ? undefined : username === undefined ? DENIED_NOBODY : DENIED;
    return { answer, keepMs, part: "bad" };
  };
  return {
    name: "http",
    verify: (credentials) => {
      const { username, password } = credentials;
      if (username === undefined && password === undefined) return undefined;
      const question = questionOf(credentials);
      return cache.find(question, () => ask(question, username));
    },
  };
}

function questionOf({ clientId, username, password, remoteAddress }: Credentials): string {
  return JSON.stringify({ clientId, username, ...passwordMember(password), remoteAddress });
}

function passwordMember(password: Uint8Array | undefined): Record<string, string> {
  if (password === undefined) return {};
  return isUtf8(password)
    ? { password: new TextDecoder("utf-8", { ignoreBOM: true }).decode(password) }
    : { passwordBase64: password.toBase64() };
}

function once<A>(answer: A): Answered<A> {
  return { answer, keepMs: 0, part: "bad" };
}

function refuse(reasonCode: number, reason: string): Verdict {
  return { kind: "refuse", reasonCode, reason };
}

const DENIED = refuse(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "http_denied");
const DENIED_NOBODY = refuse(ReasonCode.NOT_AUTHORIZED, "http_denied");
const UNAVAILABLE = refuse(ReasonCode.SERVER_UNAVAILABLE, "http_unavailable");
const BUSY = refuse(ReasonCode.SERVER_BUSY, "http_busy");
