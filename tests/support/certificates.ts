/**
 * Certificates for tests, made with `openssl`: an authority, and what it signs, as PEM files in a temporary directory.
 */
import assert from "node:assert/strict";
import { findTool, runTool } from "./tools.ts";

/** The program that makes them; tests name it with `testWithTools`. */
export const OPENSSL = findTool("openssl");

/** Paths of a certificate and its key. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/** What a certificate says. */
export interface CertificateShape {
  /** As `openssl` takes it: `/O=Example/CN=name`. */
  readonly subject: string;
  /** Value of subjectAltName in the words of `openssl`, or the name of a section in `sections`. */
  readonly alternativeNames?: string;
  /** More lines of the extension file, after an empty line; for names that need a section of their own. */
  readonly sections?: string;
  /** Days until it expires; a negative number = it expired. */
  readonly days?: number;
  /** True for an authority of its own under this one. */
  readonly isAuthority?: boolean;
}

/** An authority that signs certificates; removes its directory when disposed of. */
export class TestAuthority implements AsyncDisposable {
  readonly directory: string;
  readonly files: CertificateFiles;
  readonly #isOwner: boolean;
  #serial = 1;

  private constructor(directory: string, files: CertificateFiles, isOwner: boolean) {
    this.directory = directory;
    this.files = files;
    this.#isOwner = isOwner;
  }

  /** Makes an authority that signed itself. */
  static async create(name = "Test Authority"): Promise<TestAuthority> {
    const directory = await Deno.makeTempDir({ prefix: "promptmq_tls_" });
    const files = { cert: `${directory}/authority.pem`, key: `${directory}/authority.key` };
    await openssl(["req", "-x509", ...NEW_KEY, files.key, "-out", files.cert, "-subj", `/CN=${name}`, "-days", "30"]);
    return new TestAuthority(directory, files, true);
  }

  /** Path of the authority's own certificate. */
  get cert(): string {
    return this.files.cert;
  }

  /** Makes a key and a certificate for it. */
  async issue(name: string, shape: CertificateShape): Promise<CertificateFiles> {
    const at = `${this.directory}/${name}`;
    const files = { cert: `${at}.pem`, key: `${at}.key` };
    const extensions = [
      `basicConstraints=critical,CA:${shape.isAuthority === true ? "TRUE" : "FALSE"}`,
      ...(shape.isAuthority === true ? ["keyUsage=critical,keyCertSign"] : []),
      ...(shape.alternativeNames === undefined ? [] : [`subjectAltName=${shape.alternativeNames}`]),
      shape.sections ?? "",
    ];
    await Deno.writeTextFile(`${at}.ext`, extensions.join("\n") + "\n");
    await openssl(["req", ...NEW_KEY, files.key, "-out", `${at}.csr`, "-utf8", "-subj", shape.subject]);
    await openssl([
      ...["x509", "-req", "-in", `${at}.csr`, "-CA", this.files.cert, "-CAkey", this.files.key],
      ...["-set_serial", String(this.#serial++), "-days", String(shape.days ?? 10)],
      ...["-extfile", `${at}.ext`, "-out", files.cert],
    ]);
    return files;
  }

  /** A certificate for a broker on this host. */
  server(name = "server", days = 60): Promise<CertificateFiles> {
    return this.issue(name, { subject: `/CN=${name}`, alternativeNames: "DNS:localhost,IP:127.0.0.1", days });
  }

  /** An authority under this one, in the same directory. */
  async authority(name: string): Promise<TestAuthority> {
    const files = await this.issue(name, { subject: `/CN=${name}`, isAuthority: true });
    return new TestAuthority(this.directory, files, false);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isOwner) await Deno.remove(this.directory, { recursive: true });
  }
}

async function openssl(args: readonly string[]): Promise<void> {
  const result = await runTool(OPENSSL, args);
  assert.equal(result.code, 0, result.stderr);
}

const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout"];
