/**
 * Where a client comes from, as far as the broker cares.
 */
import type { AnonymousPolicy, ClientCertificate } from "../auth/identity/identity.ts";
import type { ProtocolVersion } from "../protocol/packets.ts";

/** What all connections of one listener have in common. */
export interface ListenerTraits {
  readonly name: string;
  /** Policy for clients that prove nothing; undefined = `auth.allow-anonymous`. */
  readonly anonymous: AnonymousPolicy | undefined;
  /** Protocol versions that are served; undefined = all. */
  readonly versions: ReadonlySet<ProtocolVersion> | undefined;
}

/** Where the client of one connection comes from. */
export interface ClientOrigin {
  /** Address of the client itself, also behind a trusted proxy, without port; `local` on a Unix socket. */
  readonly remoteAddress: string;
  /** True when the client is on this host. */
  readonly isLoopback: boolean;
  /** Verified by the TLS handshake; undefined without TLS, or when the client showed none. */
  readonly certificate: ClientCertificate | undefined;
  readonly listener: ListenerTraits;
}
