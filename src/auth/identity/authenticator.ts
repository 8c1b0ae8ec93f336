/**
 * Who a client is: the chain of identity providers, and the rule for clients that prove nothing.
 *
 * The broker asks once per CONNECT. Each provider accepts, refuses, or passes; the first verdict wins. When all pass, a
 * client that gave a name or a password is refused where there are providers, since nobody could confirm it; any other
 * is up to the anonymous policy. `loopback`, the default, lets in peers on this host only. A provider whose backend fails
 * refuses: nobody behind it is asked.
 */
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import { ReasonCode } from "../../protocol/reason_codes.ts";
import type { EnhancedAuthenticator } from "./enhanced_authentication.ts";
import type { Backend, BackendBusy } from "./errors.ts";
import {
  type AnonymousPolicy,
  type Credentials,
  type IdentityProvider,
  named,
  refuse,
  type Verdict,
} from "./identity.ts";
import type { Answer, Ask, TakeBack } from "./questions.ts";

/** The chain of providers. */
export class Authenticator extends Context.Service<Authenticator, {
  /** Decides on a CONNECT; `heard` is called as `Ask` says, later only when a provider has to wait. */
  authenticate(credentials: Credentials, heard: (verdict: Verdict) => void): TakeBack | undefined;
  /** The provider of an enhanced authentication method, or undefined when there is none. [MQTT 5.0, 4.12] */
  enhanced(method: string): EnhancedAuthenticator | undefined;
}>()("promptmq/auth/Authenticator") {}

/**
 * Builds the service.
 *
 * @param policy Read with every CONNECT, so that a reload takes effect.
 * @param providers Asked in this order.
 * @param enhanced One per method.
 * @param ask Asks those that have to wait.
 */
export function makeAuthenticator(
  policy: () => AnonymousPolicy,
  providers: readonly IdentityProvider[],
  enhanced: readonly EnhancedAuthenticator[],
  ask: Ask,
): Authenticator["Service"] {
  const methods = new Map(enhanced.map((authenticator) => [authenticator.method, authenticator]));
  return {
    authenticate: (credentials, heard) =>
      ask(
        askInTurn(providers, 0, credentials),
        (verdict) => heard(verdict ?? unclaimed(providers, policy, credentials)),
      ),
    enhanced: (method) => methods.get(method),
  };
}

/** Asks from `index` on, without waiting where no provider has to wait. */
function askInTurn(
  providers: readonly IdentityProvider[],
  index: number,
  credentials: Credentials,
): Answer<Verdict | undefined> {
  for (let i = index; i < providers.length; i++) {
    const answer = providers[i]!.verify(credentials);
    if (Effect.isEffect(answer)) {
      return answer.pipe(
        Effect.catchTags({
          BackendUnavailable: ({ backend }) => Effect.succeed(UNAVAILABLE[backend]),
          BackendBusy: ({ backend }) => Effect.succeed(BUSY[backend]),
        }),
        Effect.flatMap((late) => {
          const next = late ?? askInTurn(providers, i + 1, credentials);
          return Effect.isEffect(next) ? next : Effect.succeed(next);
        }),
      );
    }
    if (answer !== undefined) return answer;
  }
  return undefined;
}

/** The verdict when no provider has one. */
function unclaimed(
  providers: readonly IdentityProvider[],
  policy: () => AnonymousPolicy,
  credentials: Credentials,
): Verdict {
  const isNamed = credentials.username !== undefined || credentials.password !== undefined;
  return isNamed && providers.length > 0 ? UNKNOWN_USER : anonymous(policy(), credentials);
}

function anonymous(policy: AnonymousPolicy, credentials: Credentials): Verdict {
  const { anonymous: inForce = policy } = credentials;
  return inForce === "true" || (inForce === "loopback" && credentials.isLoopback) ? ANONYMOUS : NO_CREDENTIALS;
}

const ANONYMOUS: Verdict = { kind: "accept", identity: named(undefined) };
const NO_CREDENTIALS = refuse(ReasonCode.NOT_AUTHORIZED, "anonymous");
const UNKNOWN_USER = refuse(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "unknown_user");
/** A backend that gives no answer opens no door. */
const UNAVAILABLE: Readonly<Record<Backend, Verdict>> = {
  "password-file": refuse(ReasonCode.SERVER_UNAVAILABLE, "hash_failed"),
  jwt: refuse(ReasonCode.SERVER_UNAVAILABLE, "jwt_unavailable"),
  ldap: refuse(ReasonCode.SERVER_UNAVAILABLE, "ldap_unavailable"),
  http: refuse(ReasonCode.SERVER_UNAVAILABLE, "http_unavailable"),
};
const BUSY: Readonly<Record<BackendBusy["backend"], Verdict>> = {
  "password-file": refuse(ReasonCode.SERVER_BUSY, "hash_queue_full"),
  ldap: refuse(ReasonCode.SERVER_BUSY, "ldap_busy"),
  http: refuse(ReasonCode.SERVER_BUSY, "http_busy"),
};
