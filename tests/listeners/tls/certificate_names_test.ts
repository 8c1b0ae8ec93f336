/**
 * Names out of certificates that `openssl` made, among them values that would pass for other names if they were read
 * from a text; and damaged certificates.
 */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { ClientCertificate } from "../../../src/auth/identity/identity.ts";
import { readClientCertificate } from "../../../src/listeners/tls/certificate_names.ts";
import { type CertificateShape, OPENSSL, TestAuthority } from "../../support/certificates.ts";
import { runTool, testWithTools } from "../../support/tools.ts";

const NAMES: readonly (readonly [what: string, shape: CertificateShape, names: ClientCertificate])[] = [
  [
    "plain names",
    { subject: "/DC=org/DC=example/O=Example/OU=Field/CN=gateway-7", alternativeNames: "DNS:gateway-7" },
    {
      subject: "CN=gateway-7,OU=Field,O=Example,DC=example,DC=org",
      commonName: "gateway-7",
      alternativeNames: ["DNS:gateway-7"],
    },
  ],
  ["no alternative names", { subject: "/CN=a" }, { subject: "CN=a", commonName: "a", alternativeNames: [] }],
  [
    "every kind of alternative name, in its order",
    {
      subject: "/CN=a",
      alternativeNames: "URI:urn:x:1,IP:10.0.0.1,DNS:a.example,email:a@example.org,IP:2001:db8::7,RID:1.2.3",
    },
    {
      subject: "CN=a",
      commonName: "a",
      alternativeNames: ["URI:urn:x:1", "IP:10.0.0.1", "DNS:a.example", "email:a@example.org", "IP:2001:db8::7"],
    },
  ],
  [
    "values that look like other names",
    {
      subject: "/O=Ev, il\\+x=1/CN=a, CN=admin",
      alternativeNames: "@names",
      sections: '[names]\nURI.1=http://x/, DNS:evil.example\nemail.1="a"@b.c, DNS:evil.example\nDNS.1=good.example\n' +
        "otherName.1=1.3.6.1.4.1.311.20.2.3;UTF8:up, DNS:evil.example\ndirName.1=directory\n" +
        "[directory]\nCN=x, DNS:evil.example",
    },
    {
      subject: "CN=a\\, CN=admin,O=Ev\\, il\\+x=1",
      commonName: "a, CN=admin",
      alternativeNames: ["DNS:good.example"],
    },
  ],
  [
    "values that have to be escaped",
    { subject: '/OU= sp\\+ace ;<>#/O=#"q"\\\\/CN=é' },
    { subject: 'CN=é,O=\\#\\"q\\"\\\\,OU=\\ sp\\+ace \\;\\<\\>#', commonName: "é", alternativeNames: [] },
  ],
  [
    "a line feed, which would begin another name",
    { subject: "/O=x/CN=a\nCN=admin" },
    { subject: "CN=a\\0ACN=admin,O=x", commonName: undefined, alternativeNames: [] },
  ],
  [
    "a space at both ends",
    { subject: "/O=x/CN= a " },
    { subject: "CN=\\ a\\ ,O=x", commonName: " a ", alternativeNames: [] },
  ],
  [
    "two common names: the more specific one counts",
    { subject: "/CN=outer/CN=inner" },
    { subject: "CN=inner,CN=outer", commonName: "inner", alternativeNames: [] },
  ],
  [
    "a set of two",
    { subject: "/O=x/CN=a+UID=u1" },
    { subject: "CN=a+UID=u1,O=x", commonName: "a", alternativeNames: [] },
  ],
  [
    "no common name, and an attribute without a short name",
    { subject: "/O=x/2.5.4.65=pseudo" },
    { subject: "2.5.4.65=#0c0670736575646f,O=x", commonName: undefined, alternativeNames: [] },
  ],
];

for (const [what, shape, names] of NAMES) {
  testWithTools(`certificate names: ${what}`, [OPENSSL], async () => {
    await using authority = await TestAuthority.create();
    const { cert } = await authority.issue("client", shape);
    assert.deepEqual(readClientCertificate(derOf(cert)), names);
  });
}

testWithTools("certificate names: the subject is what openssl makes of it", [OPENSSL], async () => {
  await using authority = await TestAuthority.create();
  for (
    const subject of ["/C=DE/ST=Land/L=Ort/O=Ex, ample/OU=#1/CN= x\\+y;z ", '/STREET=a"b/CN=<q>\\\\', "/UID=u/CN=é"]
  ) {
    const { cert } = await authority.issue("client", { subject });
    const args = ["x509", "-in", cert, "-noout", "-subject", "-nameopt", "RFC2253,-esc_msb"];
    const printed = (await runTool(OPENSSL, args)).stdout.replace(/^subject=|\n$/g, "");
    assert.equal(readClientCertificate(derOf(cert))?.subject, printed);
  }
});

testWithTools("certificate names: a certificate that is cut off anywhere gives none", [OPENSSL], async () => {
  await using authority = await TestAuthority.create();
  const { cert } = await authority.issue("client", { subject: "/CN=a", alternativeNames: "DNS:a,email:a@b" });
  const der = derOf(cert);
  for (let end = 0; end < der.length; end++) assert.equal(readClientCertificate(der.subarray(0, end)), undefined);
  assert.equal(readClientCertificate(Uint8Array.from([...der, 0])), undefined);
});

testWithTools("certificate names: damaged bytes never throw and never take long", [OPENSSL], async () => {
  await using authority = await TestAuthority.create();
  const { cert } = await authority.issue("client", { subject: "/CN=a", alternativeNames: "DNS:a,email:a@b" });
  const der = derOf(cert);
  let readable = 0;
  for (let offset = 0; offset < der.length; offset++) {
    for (const value of [0, 1, 0x30, 0x7f, 0x80, 0x84, 0xff]) {
      const damaged = der.slice();
      damaged[offset] = value;
      if (readClientCertificate(damaged) !== undefined) readable++;
    }
  }
  assert.ok(readable > 0, "damage in the signature leaves the names readable");
});

function derOf(path: string): Uint8Array {
  return new Uint8Array(new X509Certificate(readFileSync(path)).raw);
}
