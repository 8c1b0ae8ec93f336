/**
 * Who a client is: the port that identity providers implement, and the rule for clients that prove nothing.
 *
 * The broker asks once per CONNECT. Providers form a chain: each one accepts, refuses, or passes; the first verdict
 * wins, and when all pass the anonymous policy decides. `loopback`, the default, lets in peers on this host only.
 */
import * as Context from "effect/Context";
import * as Layer from "effect/Layer";
import { ReasonCode } from "../protocol/reason_codes.ts";
import type { EnhancedAuthenticator } from "./enhanced_authentication.ts";

/** What a client presents. */
export interface Credentials {
  readonly clientId: string;
  readonly username: string | undefined;
  /** Never logged. */
  readonly password: Uint8Array | undefined;
  /** True when the connection comes from this host. */
  readonly isLoopback: boolean;
  /** Peer address for logs. */
  readonly remoteAddress: string;
}

/** An answer to `Credentials`. */
export type Verdict =
  | { readonly kind: "accept"; readonly username: string | undefined }
  | { readonly kind: "refuse"; readonly reasonCode: number };

/** One identity provider; undefined passes the question on. Never throws and never rejects. */
export interface IdentityProvider {
  readonly name: string;
  verify(credentials: Credentials): Verdict | undefined | Promise<Verdict | undefined>;
}

/** `auth.allow-anonymous`. */
export type AnonymousPolicy = "true" | "false" | "loopback";

/** The chain of providers. */
export class Authenticator extends Context.Service<Authenticator, {
  /** Decides on a CONNECT; a promise only when a provider has to wait. */
  authenticate(credentials: Credentials): Verdict | Promise<Verdict>;
  /** The provider of an enhanced authentication method, or undefined when there is none. [MQTT 5.0, 4.12] */
  enhanced(method: string): EnhancedAuthenticator | undefined;
}>()("promptmq/auth/Authenticator") {
  /**
   * @param policy Read with every CONNECT, so that a reload takes effect.
   * @param providers Asked in this order.
   * @param enhanced One per method.
   */
  static readonly layer = (
    policy: () => AnonymousPolicy,
    providers: readonly IdentityProvider[] = [],
    enhanced: readonly EnhancedAuthenticator[] = [],
  ) => Layer.sync(Authenticator, () => Authenticator.of(makeAuthenticator(policy, providers, enhanced)));
}

/** Builds what `Authenticator.layer` provides. */
export function makeAuthenticator(
  policy: () => AnonymousPolicy,
  providers: readonly IdentityProvider[],
  enhanced: readonly EnhancedAuthenticator[],
): Authenticator["Service"] {
  const methods = new Map(enhanced.map((authenticator) => [authenticator.method, authenticator]));
  return {
    authenticate: (credentials) =>
      providers.length === 0 ? anonymous(policy(), credentials) : askInTurn(providers, policy, credentials),
    enhanced: (method) => methods.get(method),
  };
}

async function askInTurn(
  providers: readonly IdentityProvider[],
  policy: () => AnonymousPolicy,
  credentials: Credentials,
): Promise<Verdict> {
  for (const provider of providers) {
    const verdict = await provider.verify(credentials);
    if (verdict !== undefined) return verdict;
  }
  return anonymous(policy(), credentials);
}

function anonymous(policy: AnonymousPolicy, credentials: Credentials): Verdict {
  if (policy === "true" || (policy === "loopback" && credentials.isLoopback)) {
    return { kind: "accept", username: credentials.username };
  }
  return { kind: "refuse", reasonCode: ReasonCode.NOT_AUTHORIZED };
}
