/**
 * Certificate files: what is refused at the start and with which words, what is taken while connections are open, and
 * what is said about age.
 */
import * as Effect from "effect/Effect";
import * as Runtime from "effect/Runtime";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { ListenerEntry } from "../../../src/config/options/listener_entry.ts";
import { loadCertificates } from "../../../src/listeners/tls/certificate_files.ts";
import { type CertificateFiles, OPENSSL, TestAuthority } from "../../support/certificates.ts";
import { TlsClient } from "../../support/tls_client.ts";
import { testWithTools } from "../../support/tools.ts";
import { ListenerRig, type LoggedLine } from "../listener_rig.ts";

const tls = (title: string, body: () => Promise<void>): void =>
  testWithTools(`certificate files: ${title}`, [OPENSSL], body);

tls("what cannot be used is refused with one line that names the file, and exit code 78", async () => {
  await using authority = await TestAuthority.create();
  const { cert, key } = await authority.server();
  const other = await authority.issue("other", { subject: "/CN=other" });
  const at = authority.directory;
  await Deno.writeTextFile(`${at}/half.pem`, readFileSync(cert, "utf8").slice(0, 300));
  await Deno.writeTextFile(`${at}/noise.pem`, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  await Deno.writeTextFile(
    `${at}/locked.key`,
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
  );
  await Deno.writeTextFile(`${at}/empty.pem`, "");
  for (
    const [entry, words] of [
      [{ tlsCert: undefined, tlsKey: key }, /"door" cannot use TLS: no certificate is configured$/],
      [{ tlsCert: cert, tlsKey: undefined }, /no key is configured$/],
      [{ tlsCert: `${at}/none.pem`, tlsKey: key }, /^Cannot read TLS certificate ".*none\.pem": not found$/],
      [{ tlsCert: `${at}/half.pem`, tlsKey: key }, /half\.pem" has no certificate in PEM form, or a broken one$/],
      [{ tlsCert: `${at}/noise.pem`, tlsKey: key }, /noise\.pem" has no certificate in PEM form, or a broken one$/],
      [{ tlsCert: `${at}/empty.pem`, tlsKey: key }, /empty\.pem" has no certificate/],
      [{ tlsCert: cert, tlsKey: `${at}/locked.key` }, /locked\.key" has no private key .* encrypted or broken$/],
      [
        { tlsCert: cert, tlsKey: other.key },
        /the key in ".*other\.key" is not that of the certificate in ".*server\.pem"$/,
      ],
      [{ tlsCert: cert, tlsKey: key, clientAuth: "require" as const }, /no authorities are configured$/],
      [{ tlsCert: cert, tlsKey: key, tlsCa: `${at}/noise.pem`, clientAuth: "require" as const }, /noise\.pem" has no/],
    ] as const
  ) {
    const error = await ListenerRig.open({ type: "tls", ...entry }).then(
      () => undefined,
      (failure: unknown) => failure,
    );
    assert.ok(error instanceof Error, String(words));
    assert.match(error.message, words);
    assert.doesNotMatch(error.message, /\n|PRIVATE KEY-/);
    assert.equal(Runtime.getErrorExitCode(error), 78);
  }
});

tls("subject and expiry are those of the certificate", async () => {
  await using authority = await TestAuthority.create();
  const { cert, key } = await authority.server();
  const entry = { name: "x", tlsCert: cert, tlsKey: key, clientAuth: "none" } as ListenerEntry;
  const { subject, notAfterMs } = await Effect.runPromise(loadCertificates(entry));
  assert.equal(subject, "CN=server");
  const days = (notAfterMs - Date.now()) / 86_400_000;
  assert.ok(days > 59 && days < 61, `${days} days`);
});

tls("an expired certificate is served with a warning, and one that expires soon too", async () => {
  await using authority = await TestAuthority.create();
  for (const [days, message] of [[-1, "certificate has expired"], [29, "certificate expires soon"]] as const) {
    const { cert, key } = await authority.server("old", days);
    await using rig = await ListenerRig.open({ type: "tls", tlsCert: cert, tlsKey: key });
    const { level, fields } = await rig.expectLine(message);
    assert.equal(level, "warn");
    assert.deepEqual([fields["listener"], fields["subject"]], ["door", "CN=old"]);
    const client = await TlsClient.connect(rig.endpoint, { rejectUnauthorized: false });
    assert.equal(await client.text(2, "hi"), "hi");
    client.socket.destroy();
  }
});

tls("changed files count for new connections, open ones go on, broken files change nothing", async () => {
  await using authority = await TestAuthority.create();
  const first = await authority.server("first");
  const second = await authority.server("second");
  await using rig = await ListenerRig.open({ type: "tls", tlsCert: first.cert, tlsKey: first.key });
  const old = await connect(rig, authority);
  assert.equal(nameOf(old), "first");

  await replace(first, second);
  let { message, fields } = await nextLine(rig);
  // A look between the two files finds a pair that does not match, and says so.
  if (message === "certificate not replaced") ({ message, fields } = await nextLine(rig));
  assert.equal(message, "certificate replaced");
  assert.deepEqual([fields["listener"], fields["subject"]], ["door", "CN=second"]);
  assert.match(String(fields["notAfter"]), /^\d{4}-\d\d-\d\dT/);
  const next = await connect(rig, authority);
  assert.equal(nameOf(next), "second");
  assert.equal(await old.text(5, "still"), "still");

  await Deno.writeTextFile(first.cert, "nonsense");
  const kept = await rig.expectLine("certificate not replaced");
  assert.equal(kept.level, "error");
  assert.match(String(kept.fields["reason"]), /first\.pem" has no certificate/);
  const later = await connect(rig, authority);
  assert.equal(nameOf(later), "second");

  await Deno.remove(first.cert);
  assert.match(String((await rig.expectLine("certificate not replaced")).fields["reason"]), /not found$/);
  for (const client of [old, next, later]) {
    assert.equal(await client.text(4, "here"), "here");
    client.socket.destroy();
  }
});

tls("changed authorities count for new connections, also for resumed sessions", async () => {
  await using authority = await TestAuthority.create();
  await using successor = await TestAuthority.create("Successor");
  const server = await authority.server();
  const [cert, key] = [server.cert, server.key];
  const trusted = `${authority.directory}/trusted.pem`;
  await Deno.copyFile(authority.cert, trusted);
  await using rig = await ListenerRig.open({
    type: "tls",
    tlsCert: cert,
    tlsKey: key,
    tlsCa: trusted,
    clientAuth: "require",
  });
  const before = await authority.issue("before", { subject: "/CN=before" });
  const after = await successor.issue("after", { subject: "/CN=after" });
  const client = await connect(rig, authority, before);
  assert.equal(await client.text(2, "hi"), "hi");

  await Deno.copyFile(successor.cert, trusted);
  await rig.expectLine("certificate replaced");
  assert.equal(await client.text(2, "on"), "on");
  const renewed = await connect(rig, authority, after);
  assert.equal(await renewed.text(2, "hi"), "hi");
  const refused = await connect(rig, authority, before).catch(() => undefined);
  await rig.expectLine("TLS handshake failed");
  for (const each of [client, renewed, refused]) each?.socket.destroy();
});

async function replace(files: CertificateFiles, by: CertificateFiles): Promise<void> {
  // As tools that renew certificates do it: another file takes the place of the old one.
  for (const part of ["key", "cert"] as const) {
    await Deno.copyFile(by[part], `${files[part]}.new`);
    await Deno.rename(`${files[part]}.new`, files[part]);
  }
}

function connect(rig: ListenerRig, authority: TestAuthority, files?: CertificateFiles): Promise<TlsClient> {
  const own = files === undefined
    ? {}
    : { cert: readFileSync(files.cert, "utf8"), key: readFileSync(files.key, "utf8") };
  return TlsClient.connect(rig.endpoint, { ca: readFileSync(authority.cert, "utf8"), servername: "localhost", ...own });
}

async function nextLine(rig: ListenerRig): Promise<LoggedLine> {
  const line = await rig.lines.next("a line about certificates");
  assert.ok(line);
  return line;
}

function nameOf(client: TlsClient): string | undefined {
  return String(client.socket.getPeerCertificate().subject.CN);
}
