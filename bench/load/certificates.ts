/**
 * The certificates of one TLS measurement: an authority and a server certificate for `localhost` and 127.0.0.1, made
 * with `openssl` in the directory of the broker that uses them.
 *
 * Every broker gets the same kind: ECDSA on P-256, signed by the authority directly, so that a handshake costs all of
 * them the same arithmetic. They are worth nothing outside the run and go away with its directory.
 */

import { join } from "node:path";

/** Paths of PEM files. */
export interface CertificateFiles {
  /** Certificate of the authority, for clients. */
  readonly ca: string;
  /** Certificate of the server. */
  readonly cert: string;
  /** Its key, without a passphrase. */
  readonly key: string;
}

/** Certificates that could not be made; the message quotes openssl. */
export class CertificatesUnavailable extends Error {
  override readonly name = "CertificatesUnavailable";
}

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/**
 * Makes an authority and a server certificate in a directory.
 *
 * @throws CertificatesUnavailable when openssl is missing or refuses.
 */
export async function makeCertificates(directory: string): Promise<CertificateFiles> {
  const [ca, caKey, cert, key] = ["ca.crt", "ca.key", "server.crt", "server.key"].map((name) => join(directory, name));
  const [request, extensions] = [join(directory, "server.csr"), join(directory, "server.ext")];
  await Deno.writeTextFile(extensions!, "subjectAltName = DNS:localhost, IP:127.0.0.1\n");
  await openssl(["req", "-x509", ...KEY, "-days", "2", "-subj", "/CN=load CA", "-keyout", caKey!, "-out", ca!]);
  await openssl(["req", ...KEY, "-subj", "/CN=localhost", "-keyout", key!, "-out", request]);
  const signing = ["-CA", ca!, "-CAkey", caKey!, "-CAcreateserial", "-days", "2", "-extfile", extensions!];
  await openssl(["x509", "-req", "-in", request, ...signing, "-out", cert!]);
  return { ca: ca!, cert: cert!, key: key! };
}

async function openssl(args: readonly string[]): Promise<void> {
  try {
    const { success, stderr } = await new Deno.Command("openssl", { args: [...args], stdin: "null", stdout: "null" })
      .output();
    if (success) return;
    throw new CertificatesUnavailable(`openssl ${args[0]} failed: ${new TextDecoder().decode(stderr).trim()}`);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new CertificatesUnavailable("openssl is not installed");
  }
}
