/**
 * Permission rules from an HTTP server: one question per connection, `{"clientId", "username", "groups"}`, answered by
 * `{"rules": …}` in one of the forms of `rule_json.ts`. An anonymous client has no `username` in the question.
 *
 * Rules are used again for the same question for the time of the settings. Without an answer there are no rules, and
 * the client is refused: what a rule would have forbidden must not be open while the server is down.
 */
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { Log } from "../../logging/log.ts";
import type { AccessRule } from "../identity/access_rule.ts";
import type { Principal } from "../identity/authorizer.ts";
import type { BackendBusy, BackendUnavailable } from "../identity/errors.ts";
import type { Answer } from "../identity/questions.ts";
import { type Answered, makeAnswerCache } from "./answer_cache.ts";
import { readRules } from "./http_answer.ts";
import { type HttpAuthSettings, openHttpBackend } from "./http_backend.ts";

/** Rules of single clients. */
export class HttpRules extends Context.Service<HttpRules, {
  /** Finds the rules of a client, in their order. */
  rulesFor(principal: Principal): Answer<readonly AccessRule[], BackendUnavailable | BackendBusy>;
}>()("promptmq/auth/HttpRules") {
  /** Fails when the settings make no sense or the token cannot be read; does not connect. The token file is followed. */
  static readonly layer = (settings: HttpAuthSettings) =>
    Layer.effect(
      HttpRules,
      Effect.gen(function* () {
        const log = yield* Log;
        const backend = yield* openHttpBackend(settings.aclUrl, "get the rules of a client", settings, log);
        const tell = (failure: BackendUnavailable | BackendBusy) =>
          log.limited("http_rules_unavailable", "warn", "permission backend unavailable", {
            backend: "http",
            error: failure._tag === "BackendBusy" ? TOO_MANY_WAIT : failure.message,
          });
        const ask = (question: Question) =>
          backend.ask(JSON.stringify(question), readRules).pipe(
            Effect.tapError((failure) => Effect.sync(() => tell(failure))),
            Effect.map((answer): Answered<readonly AccessRule[]> => ({
              answer,
              keepMs: settings.cacheTtlMs,
              part: "good",
            })),
          );
        const find = yield* makeAnswerCache(ask, settings.cacheSize);
        return HttpRules.of({ rulesFor: ({ clientId, username, groups }) => find({ clientId, username, groups }) });
      }),
    );
}

type Question = Pick<Principal, "clientId" | "username" | "groups">;

const TOO_MANY_WAIT = "more clients wait for their rules than can be asked about";
