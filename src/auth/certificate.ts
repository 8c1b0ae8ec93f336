/**
 * Identities out of client certificates. The TLS handshake has verified the certificate; what is left is which of its
 * names is the client's.
 *
 * A certificate decides alone: a password that comes with it is not looked at, and a User Name that says something else
 * is refused, since one of the two must be wrong. Clients without a certificate are passed on.
 */
import { ReasonCode } from "../protocol/reason_codes.ts";
import { type ClientCertificate, type IdentityProvider, named, refuse, type Verdict } from "./identity/identity.ts";
import { contradictsUsername, isUsername } from "./identity/username.ts";

/** Which name of the certificate is the username: Common Name, whole subject, or Subject Alternative Name. */
export type CertificateNameSource = "cn" | "subject" | "san";

/**
 * Builds the provider `certificate`.
 *
 * @param source `san` takes the first Subject Alternative Name, in the order of the certificate, that is a DNS name, an
 *   email address, a URI or an IP address, without its type. `subject` is the text of RFC 4514, as in
 *   `ClientCertificate.subject`. A certificate that lacks the name is refused with 0x87.
 */
export function makeCertificateProvider(source: CertificateNameSource): IdentityProvider {
  return {
    name: "certificate",
    verify: (credentials): Verdict | undefined => {
      const { certificate } = credentials;
      if (certificate === undefined) return undefined;
      const username = nameOf(certificate, source);
      if (!isUsername(username)) return NAMELESS;
      return contradictsUsername(credentials, username) ? MISMATCH : { kind: "accept", identity: named(username) };
    },
  };
}

const NAMELESS = refuse(ReasonCode.NOT_AUTHORIZED, "certificate_name");
const MISMATCH = refuse(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "username_mismatch");

function nameOf(certificate: ClientCertificate, source: CertificateNameSource): string | undefined {
  if (source === "cn") return certificate.commonName;
  if (source === "subject") return certificate.subject;
  for (const alternative of certificate.alternativeNames) {
    const colon = alternative.indexOf(":");
    if (colon !== -1 && NAME_TYPES.has(alternative.slice(0, colon).toLowerCase())) return alternative.slice(colon + 1);
  }
  return undefined;
}

/** The types whose values are names. Others, such as `othername` and `DirName`, have no text that is one. */
const NAME_TYPES: ReadonlySet<string> = new Set(["dns", "email", "uri", "ip", "ip address"]);
