/**
 * Who a client claims to be and who it turned out to be: the words that identity providers, permission rules and the
 * broker have in common.
 */
import type { AccessRule } from "./access_rule.ts";
import type { BackendBusy, BackendUnavailable } from "./errors.ts";
import type { Answer } from "./questions.ts";

/** `auth.allow-anonymous`, and the same of one listener. */
export type AnonymousPolicy = "true" | "false" | "loopback";

/** A certificate that the TLS handshake has verified, up to a trusted authority. */
export interface ClientCertificate {
  /** Distinguished Name as in RFC 4514, most significant last: `CN=gateway-7,O=Example`. */
  readonly subject: string;
  readonly commonName: string | undefined;
  /** Subject Alternative Names as `type:value`, such as `DNS:gateway-7` or `email:ops@example.org`. */
  readonly alternativeNames: readonly string[];
}

/** What a client presents. */
export interface Credentials {
  readonly clientId: string;
  readonly username: string | undefined;
  /** Never logged. */
  readonly password: Uint8Array | undefined;
  /** True when the connection comes from this host. */
  readonly isLoopback: boolean;
  /** Address of the client itself, also behind a proxy, without port. */
  readonly remoteAddress: string;
  /** Undefined without TLS, or when the client showed none. */
  readonly certificate: ClientCertificate | undefined;
  /** Policy of the listener for clients that prove nothing; undefined = `auth.allow-anonymous`. */
  readonly anonymous: AnonymousPolicy | undefined;
}

/** Who a client is, as long as its connection lasts. */
export interface Identity {
  /** A name that was proven; undefined for an anonymous client, whatever name it gave. */
  readonly username: string | undefined;
  readonly groups: readonly string[];
  /** Rules that came with the identity, such as the claims of a token; undefined = none of its own. */
  readonly rules: readonly AccessRule[] | undefined;
  /** When the identity ends, in milliseconds since the epoch, and the connection with it; undefined = never. */
  readonly expiresAtMs: number | undefined;
}

/** An identity with a name and nothing else. */
export function named(username: string | undefined): Identity {
  return { username, groups: [], rules: undefined, expiresAtMs: undefined };
}

/** An answer to `Credentials`. */
export type Verdict =
  | { readonly kind: "accept"; readonly identity: Identity }
  | {
    readonly kind: "refuse";
    /** For the client. */
    readonly reasonCode: number;
    /** For counter and log, in snake_case, such as `bad_password`. Never told to the client. */
    readonly reason: string;
  };

/** A verdict against a client. */
export function refuse(reasonCode: number, reason: string): Verdict {
  return { kind: "refuse", reasonCode, reason };
}

/** One identity provider; undefined passes the question on. */
export interface IdentityProvider {
  /** As in `auth.chain`. */
  readonly name: string;
  /**
   * Decides about credentials.
   *
   * Obligations: pass only when the credentials are not for this provider (no password, unknown user, not a token);
   * refuse when they are for it and wrong; fail when its backend gives no answer in time, so that a backend that is down
   * opens no door. What is known at once is answered at once; a fiber is for what has to be waited for. Comparisons of
   * secrets take the same time whatever is wrong.
   */
  verify(credentials: Credentials): Answer<Verdict | undefined, BackendUnavailable | BackendBusy>;
}
