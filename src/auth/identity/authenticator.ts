/**
 * Who a client is: the chain of identity providers, and the rule for clients that prove nothing.
 *
 * The broker asks once per CONNECT. Each provider accepts, refuses, or passes; the first verdict wins. When all pass, a
 * client that gave a name or a password is refused where there are providers, since nobody could confirm it; any other
 * is up to the anonymous policy. `loopback`, the default, lets in peers on this host only.
 */
import * as Context from "effect/Context";
import { ReasonCode } from "../../protocol/reason_codes.ts";
import type { EnhancedAuthenticator } from "./enhanced_authentication.ts";
import { type AnonymousPolicy, type Credentials, type IdentityProvider, named, type Verdict } from "./identity.ts";

/** The chain of providers. */
export class Authenticator extends Context.Service<Authenticator, {
  /** Decides on a CONNECT; a promise only when a provider has to wait. */
  authenticate(credentials: Credentials): Verdict | Promise<Verdict>;
  /** The provider of an enhanced authentication method, or undefined when there is none. [MQTT 5.0, 4.12] */
  enhanced(method: string): EnhancedAuthenticator | undefined;
}>()("promptmq/auth/Authenticator") {}

/**
 * Builds the service.
 *
 * @param policy Read with every CONNECT, so that a reload takes effect.
 * @param providers Asked in this order.
 * @param enhanced One per method.
 */
export function makeAuthenticator(
  policy: () => AnonymousPolicy,
  providers: readonly IdentityProvider[],
  enhanced: readonly EnhancedAuthenticator[],
): Authenticator["Service"] {
  const methods = new Map(enhanced.map((authenticator) => [authenticator.method, authenticator]));
  return {
    authenticate: (credentials) => {
      const verdict = askInTurn(providers, 0, credentials);
      const settle = (known: Verdict | undefined) => known ?? unclaimed(providers, policy, credentials);
      return verdict instanceof Promise ? verdict.then(settle) : settle(verdict);
    },
    enhanced: (method) => methods.get(method),
  };
}

/** Asks from `index` on, without waiting where no provider has to wait. */
function askInTurn(
  providers: readonly IdentityProvider[],
  index: number,
  credentials: Credentials,
): Verdict | undefined | Promise<Verdict | undefined> {
  for (let i = index; i < providers.length; i++) {
    const verdict = providers[i]!.verify(credentials);
    if (verdict instanceof Promise) {
      return verdict.then((late) => late ?? askInTurn(providers, i + 1, credentials));
    }
    if (verdict !== undefined) return verdict;
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
const NO_CREDENTIALS: Verdict = {
  kind: "refuse",
  reasonCode: ReasonCode.NOT_AUTHORIZED,
  reason: "anonymous",
};
const UNKNOWN_USER: Verdict = {
  kind: "refuse",
  reasonCode: ReasonCode.BAD_USER_NAME_OR_PASSWORD,
  reason: "unknown_user",
};
