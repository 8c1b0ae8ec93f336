/**
 * Identities out of client certificates.
 */
import assert from "node:assert/strict";
import { type CertificateNameSource, makeCertificateProvider } from "../../src/auth/certificate.ts";
import type { ClientCertificate, Credentials, Verdict } from "../../src/auth/identity/identity.ts";
import { describeVerdict } from "./backend_rig.ts";
import { credentialsWith } from "./token/jwt_rig.ts";

const CERTIFICATE: ClientCertificate = {
  subject: "CN=gateway-7,O=Example",
  commonName: "gateway-7",
  alternativeNames: ["othername:<unsupported>", "DNS:gateway-7.example.org", "email:ops@example.org"],
};

function ask(source: CertificateNameSource, changes: Partial<ClientCertificate>, others: Partial<Credentials> = {}) {
  const certificate = { ...CERTIFICATE, ...changes };
  const verdict = makeCertificateProvider(source).verify(credentialsWith({ certificate, ...others }));
  return describeVerdict(verdict as Verdict | undefined);
}

Deno.test("certificate provider is called certificate and passes clients without one on", () => {
  const provider = makeCertificateProvider("cn");
  assert.equal(provider.name, "certificate");
  assert.equal(provider.verify(credentialsWith({ username: "gateway-7", password: new Uint8Array(1) })), undefined);
});

Deno.test("certificate provider takes the name that is configured", () => {
  assert.equal(ask("cn", {}), "accept gateway-7");
  assert.equal(ask("subject", {}), "accept CN=gateway-7,O=Example");
  assert.equal(ask("san", {}), "accept gateway-7.example.org");
});

Deno.test("certificate provider takes the first alternative name that is a name, whole, in the certificate's order", () => {
  const san = (...alternativeNames: readonly string[]) => ask("san", { alternativeNames });
  assert.equal(san("email:a@example.org", "DNS:b"), "accept a@example.org");
  assert.equal(san("URI:spiffe://example.org:8/a", "DNS:b"), "accept spiffe://example.org:8/a");
  assert.equal(san("IP Address:2001:DB8:0:0:0:0:0:1"), "accept 2001:DB8:0:0:0:0:0:1");
  assert.equal(san("DirName:CN=a", "othername:b"), "refuse 0x87 certificate_name");
  assert.equal(san("DNS"), "refuse 0x87 certificate_name");
  assert.equal(san(), "refuse 0x87 certificate_name");
});

Deno.test("certificate provider refuses certificates without a usable name", () => {
  for (const commonName of [undefined, "", "a\nb", "a\0", "a\u0085", "\ud800", "ä".repeat(32_768)]) {
    assert.equal(ask("cn", { commonName }), "refuse 0x87 certificate_name");
  }
  assert.equal(ask("cn", { commonName: "ä".repeat(32_767) }), `accept ${"ä".repeat(32_767)}`);
});

Deno.test("certificate provider ignores a password and refuses another username", () => {
  const password = new TextEncoder().encode("secret");
  assert.equal(ask("cn", {}, { username: "gateway-7", password }), "accept gateway-7");
  assert.equal(ask("cn", {}, { username: "", password }), "accept gateway-7");
  assert.equal(ask("cn", {}, { username: "admin", password }), "refuse 0x86 username_mismatch");
  assert.equal(ask("cn", {}, { username: "Gateway-7" }), "refuse 0x86 username_mismatch");
});

Deno.test("certificate provider gives a name and nothing else", () => {
  const verdict = makeCertificateProvider("cn").verify(credentialsWith({ certificate: CERTIFICATE }));
  const identity = { username: "gateway-7", groups: [], rules: undefined, expiresAtMs: undefined };
  assert.deepEqual(verdict, { kind: "accept", identity });
});
