/**
 * Permission rules from an HTTP server: one question per connection, `{"clientId", "username", "groups"}`, answered by
 * `{"rules": …}` in one of the forms of `rule_json.ts`. An anonymous client has no `username` in the question.
 *
 * Rules are used again for the same question for the time of the settings. Without an answer there are no rules, and
 * the client is refused: what a rule would have forbidden must not be open while the server is down.
 */
import * as Clock from "effect/Clock";
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { Log, type LogWriter } from "../../logging/log.ts";
import type { AccessRule } from "../identity/access_rule.ts";
import type { Principal } from "../identity/authorizer.ts";
import { AnswerCache, type Answered } from "./answer_cache.ts";
import { readRules } from "./http_answer.ts";
import { type HttpAuthSettings, type HttpBackend, openHttpBackend } from "./http_backend.ts";

/** Rules of single clients. */
export class HttpRules extends Context.Service<HttpRules, {
  /** Finds the rules of a client, in their order. Never rejects. @returns undefined when the server gave none in time. */
  rulesFor(principal: Principal): Promise<readonly AccessRule[] | undefined>;
}>()("promptmq/auth/HttpRules") {
  /** Fails when the settings make no sense or the token cannot be read; does not connect. The token file is followed. */
  static readonly layer = (settings: HttpAuthSettings) =>
    Layer.effect(
      HttpRules,
      Effect.gen(function* () {
        const log = yield* Log;
        const clock = yield* Clock.Clock;
        const backend = yield* openHttpBackend(settings.aclUrl, "get the rules of a client", settings, log);
        return HttpRules.of(makeRules(backend, settings, log, () => clock.currentTimeMillisUnsafe()));
      }),
    );
}

function makeRules(
  backend: HttpBackend,
  settings: HttpAuthSettings,
  log: LogWriter,
  nowMs: () => number,
): HttpRules["Service"] {
  type Rules = readonly AccessRule[] | undefined;
  const cache = new AnswerCache<Rules>(settings.cacheSize, nowMs);
  const fail = (error: string): Answered<Rules> => {
    log.limited("http_rules_unavailable", "warn", "permission backend unavailable", { backend: "http", error });
    return { answer: undefined, keepMs: 0, part: "bad" };
  };
  const ask = async (question: string): Promise<Answered<Rules>> => {
    const outcome = await backend.ask(question);
    if (outcome.kind === "busy") return fail("more clients wait for their rules than can be asked about");
    if (outcome.kind === "unavailable") return fail(outcome.error.message);
    const rules = readRules(outcome.value);
    if (typeof rules === "string") return fail(backend.refuseAnswer(rules).error.message);
    return { answer: rules, keepMs: settings.cacheTtlMs, part: "good" };
  };
  return {
    rulesFor: async ({ clientId, username, groups }) => {
      const question = JSON.stringify({ clientId, username, groups });
      return await cache.find(question, () => ask(question));
    },
  };
}
