/**
 * Client certificates: who gets in with which, and who a client is because of it.
 */
import assert from "node:assert/strict";
import { requestHead } from "../listeners/transport/client_frames.ts";
import { type CertificateFiles, OPENSSL, TestAuthority } from "../support/certificates.ts";
import { connectSecurely, endpointOf, sayConnect, startSecureBroker, tlsOptions } from "../support/secure_broker.ts";
import { TlsClient } from "../support/tls_client.ts";
import { findTool, runTool, testWithTools } from "../support/tools.ts";

const PUBLISHER = findTool("mosquitto_pub");
const NOBODY = ["--allow-anonymous", "false"];

testWithTools(
  "mutual TLS: mosquitto_pub with a certificate gets in, and without one does not",
  [OPENSSL, PUBLISHER],
  async () => {
    await using authority = await TestAuthority.create();
    await using stranger = await TestAuthority.create("Stranger");
    await using broker = await startSecureBroker(authority, { clientAuth: "require", flags: NOBODY });
    const { port } = endpointOf(broker, "tls");
    const publish = (...args: readonly string[]) =>
      runTool(PUBLISHER, [
        ...[
          "-h",
          "localhost",
          "-p",
          String(port),
          "--cafile",
          authority.cert,
          "-t",
          "x",
          "-m",
          "x",
          "-q",
          "1",
          ...args,
        ],
      ]);
    const good = await authority.issue("good", { subject: "/CN=gateway-7" });
    const bad = await stranger.issue("bad", { subject: "/CN=gateway-7" });
    const old = await authority.issue("old", { subject: "/CN=gateway-7", days: -1 });
    const accepted = await publish("--cert", good.cert, "--key", good.key);
    assert.equal(accepted.code, 0, accepted.stderr);
    for (const { cert, key } of [bad, old]) assert.notEqual((await publish("--cert", cert, "--key", key)).code, 0);
    assert.notEqual((await publish()).code, 0);
    assert.equal(await broker.metric('promptmq_connects_refused_total{reason="tls_handshake"}'), 3);
  },
);

testWithTools("mutual TLS: the common name is the user, and another user name is refused", [OPENSSL], async () => {
  await using authority = await TestAuthority.create();
  await using broker = await startSecureBroker(authority, { clientAuth: "require", flags: NOBODY });
  const options = tlsOptions(authority, await authority.issue("client", { subject: "/O=Example/CN=gateway-7" }));
  const endpoint = endpointOf(broker, "tls");
  const first = await sayConnect(endpoint, options, { clientId: "a" });
  assert.equal(first.reasonCode, 0);
  const named = await sayConnect(endpoint, options, { clientId: "b", username: "gateway-7" });
  assert.equal(named.reasonCode, 0);
  const other = await sayConnect(endpoint, options, { clientId: "c", username: "gateway-8" });
  assert.notEqual(other.reasonCode, 0);
  for (const { client } of [first, named, other]) await client.close();
});

testWithTools(
  "mutual TLS: with client-auth optional a client without certificate proves nothing",
  [OPENSSL],
  async () => {
    await using authority = await TestAuthority.create();
    await using broker = await startSecureBroker(authority, { clientAuth: "optional", flags: NOBODY });
    const endpoint = endpointOf(broker, "tls");
    const nobody = await sayConnect(endpoint, tlsOptions(authority), { clientId: "a" });
    assert.notEqual(nobody.reasonCode, 0);
    await nobody.client.close();
    const files = await authority.issue("client", { subject: "/CN=gateway-7" });
    await using somebody = await connectSecurely(endpoint, tlsOptions(authority, files), { clientId: "a" });
    await somebody.expectQuiet();
  },
);

testWithTools("mutual TLS: works over WebSocket as well", [OPENSSL], async () => {
  await using authority = await TestAuthority.create();
  await using broker = await startSecureBroker(authority, { clientAuth: "require", flags: NOBODY });
  const files = await authority.issue("client", { subject: "/CN=gateway-7" });
  const ask = async (own?: CertificateFiles): Promise<string> => {
    const client = await TlsClient.connect(endpointOf(broker, "wss"), tlsOptions(authority, own));
    try {
      return await client.text(ACCEPTED.length, requestHead());
    } finally {
      client.socket.destroy();
    }
  };
  assert.equal(await ask(files), ACCEPTED);
  // With TLS 1.3 the client believes to be in, and learns the truth when it reads.
  await assert.rejects(() => ask());
});

const ACCEPTED = "HTTP/1.1 101 ";
