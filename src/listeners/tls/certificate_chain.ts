/**
 * Whether a client's certificate, which was verified once, would be verified again under other authorities.
 *
 * This is no verification in the place of the handshake's: it is asked for resumed sessions alone, where purpose and
 * constraints of the chain were looked at when the session began. What may have changed since is who is trusted, and the
 * time.
 */
import { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";

/** The certificates a client showed, its own first; empty when it showed none. O(length), bounded by `CHAIN_MAX`. */
export function peerChainOf(socket: TLSSocket): readonly X509Certificate[] {
  const chain: X509Certificate[] = [];
  // Without a certificate this is null, undefined or an empty object, whatever its type says.
  let next: ReturnType<TLSSocket["getPeerCertificate"]> | undefined = socket.getPeerCertificate(true) ?? undefined;
  while (next?.raw !== undefined && chain.length < CHAIN_MAX) {
    chain.push(new X509Certificate(next.raw));
    const issuer: unknown = Reflect.get(next, "issuerCertificate");
    // A certificate that signed itself names itself.
    next = issuer === next ? undefined : issuer as typeof next;
  }
  return chain;
}

/**
 * Walks a chain to one of the authorities.
 *
 * @param chain As `peerChainOf` gives it.
 * @param nowMs Milliseconds since the epoch; every certificate on the way must be valid then.
 */
export function isSignedBy(
  chain: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
  nowMs: number,
): boolean {
  for (const [depth, certificate] of chain.entries()) {
    if (!isValidAt(certificate, nowMs)) return false;
    if (authorities.some((authority) => isValidAt(authority, nowMs) && isIssuedBy(certificate, authority))) return true;
    const issuer = chain[depth + 1];
    if (issuer === undefined || !issuer.ca || !isIssuedBy(certificate, issuer)) return false;
  }
  return false;
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function isValidAt({ validFrom, validTo }: X509Certificate, nowMs: number): boolean {
  return Date.parse(validFrom) <= nowMs && nowMs <= Date.parse(validTo);
}

/** More than any authority uses. */
const CHAIN_MAX = 8;
