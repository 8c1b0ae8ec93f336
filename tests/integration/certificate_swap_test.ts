/**
 * Certificates that are renewed while the broker runs: open connections notice nothing, new ones get the new
 * certificate, and files that cannot be used change nothing.
 */
import assert from "node:assert/strict";
import { broker as startBroker } from "../cli/program.ts";
import { OPENSSL, TestAuthority } from "../support/certificates.ts";
import type { Endpoint } from "../support/raw_client.ts";
import { connectSecurely, tlsOptions } from "../support/secure_broker.ts";
import { TlsClient } from "../support/tls_client.ts";
import { testWithTools } from "../support/tools.ts";

testWithTools("certificate swap: new connections get the new certificate, open ones go on", [OPENSSL], async () => {
  await using authority = await TestAuthority.create();
  const first = await authority.server("first");
  const second = await authority.server("second");
  const files = ["--tls-cert", first.cert, "--tls-key", first.key];
  await using broker = startBroker(["--tls", ...files, "--tls-bind", "127.0.0.1:0", "--wss-bind", ""]);
  const ready = await broker.untilLogged("promptmq is ready");
  const endpoint: Endpoint = { hostname: "127.0.0.1", port: Number(String(ready["tls"]).split(":")[1]) };
  await using open = await connectSecurely(endpoint, tlsOptions(authority), { clientId: "open" });
  assert.equal(await servedName(endpoint, authority), "first");

  await Deno.copyFile(second.key, first.key);
  await Deno.copyFile(second.cert, first.cert);
  assert.equal((await broker.untilLogged("certificate replaced"))["subject"], "CN=second");
  assert.equal(await servedName(endpoint, authority), "second");
  await open.expectQuiet();

  await Deno.writeTextFile(first.cert, "nonsense");
  const kept = await broker.untilLogged("certificate not replaced");
  assert.equal(kept["level"], "error");
  assert.equal(await servedName(endpoint, authority), "second");
  await open.expectQuiet();

  broker.kill("SIGTERM");
  assert.equal((await open.expect("disconnect")).wire.reasonCode, 0x8b);
  assert.equal((await broker.untilEnd()).code, 0);
});

async function servedName(endpoint: Endpoint, authority: TestAuthority): Promise<string> {
  const client = await TlsClient.connect(endpoint, tlsOptions(authority));
  const name = String(client.socket.getPeerCertificate().subject.CN);
  client.socket.destroy();
  return name;
}
