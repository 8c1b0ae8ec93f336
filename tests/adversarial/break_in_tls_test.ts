/**
 * Attempts to get past TLS and client certificates.
 */
import assert from "node:assert/strict";
import type { ConnectionOptions } from "node:tls";
import { cut, gone, honestConnect, planted, playDoor } from "../support/break_in.ts";
import { type CertificateFiles, OPENSSL, TestAuthority } from "../support/certificates.ts";
import type { GuardedBroker } from "../support/guarded_broker.ts";
import { type ByteStream, RawClient, tcpStream } from "../support/raw_client.ts";
import { tlsOptions } from "../support/secure_broker.ts";
import { runTool } from "../support/tools.ts";
import { TlsClient } from "../support/tls_client.ts";
import { encodeWire, type WireFields } from "../support/wire_packets.ts";
import type { Attempts } from "./break_in_attempts.ts";

const BAD_LOGIN = 0x86;

const tls: Attempts<"TLS and certificates"> = {
  "no certificate": async (g) => await unserved(g, tlsOptions(g.authority)),
  "no certificate, right password": async (g) => await unserved(g, tlsOptions(g.authority), honestConnect("alice")),
  "certificate signed by itself": async (g) => {
    await using own = await TestAuthority.create("alice");
    await unserved(g, tlsOptions(g.authority, own.files));
  },
  "certificate of another authority": async (g) => {
    await using other = await TestAuthority.create();
    await unserved(g, tlsOptions(g.authority, await other.issue("alice", { subject: "/CN=alice" })));
  },
  "certificate of an authority of the same name": async (g) => {
    await using other = await TestAuthority.create("Devices");
    await unserved(g, tlsOptions(g.authority, await other.issue("alice", { subject: "/CN=alice" })));
  },
  "certificate of the authority of servers": async (g) => {
    const pair = await g.authority.issue("client", { subject: "/CN=alice" });
    await unserved(g, tlsOptions(g.authority, pair));
  },
  "certificate that has expired": async (g) => {
    const pair = await g.clientAuthority.issue("old", { subject: "/CN=alice", days: -1 });
    await unserved(g, tlsOptions(g.authority, pair));
  },
  "certificate signed by a client certificate": async (g) => {
    const middle = await g.clientAuthority.issue("middle", { subject: "/CN=middle" });
    const pair = await signedBy(g.clientAuthority, middle);
    await unserved(g, tlsOptions(g.authority, pair));
  },
  "certificate without its key": async (g) => {
    const genuine = await g.clientAuthority.issue("genuine", { subject: "/CN=alice" });
    await using other = await TestAuthority.create();
    const { key } = await other.issue("thief", { subject: "/CN=alice" });
    await assert.rejects(() =>
      TlsClient.connect(g.endpoint("devices"), tlsOptions(g.authority, { cert: genuine.cert, key }))
    );
  },
  "genuine certificate, name of another user": async (g) => {
    const own = tlsOptions(g.authority, await g.clientAuthority.issue("gw", { subject: "/CN=gateway-7" }));
    assert.equal(await reasonCodeOf(g, "devices", own, { username: "alice" }), BAD_LOGIN);
    assert.equal(await reasonCodeOf(g, "devices", own, { username: "gateway-8" }), BAD_LOGIN);
    assert.equal(await reasonCodeOf(g, "devices", own, {}), 0);
  },
  "two names in one certificate": async (g) => {
    const values = ["/CN=alice/CN=gateway-7", "/O=x,CN=alice/CN=gateway-7"];
    for (const [index, subject] of values.entries()) {
      const pair = await g.clientAuthority.issue(`double${index}`, { subject });
      assert.equal(await reasonCodeOf(g, "devices", tlsOptions(g.authority, pair), { username: "alice" }), BAD_LOGIN);
    }
  },
  "certificate without a name": async (g) => {
    const pair = await g.clientAuthority.issue("nameless", { subject: "/O=alice", alternativeNames: "DNS:alice" });
    assert.equal(await reasonCodeOf(g, "devices", tlsOptions(g.authority, pair), {}), 0x87);
  },
  "certificate at a listener that asks for none": async (g) => {
    const pair = await g.clientAuthority.issue("unasked", { subject: "/CN=alice" });
    assert.equal(await reasonCodeOf(g, "tls", tlsOptions(g.authority, pair), {}), 0x87);
  },
  "session resumed from another listener": async (g) => {
    const session = `${g.directory}/session.pem`;
    for (const protocol of ["-tls1_2", "-tls1_3"]) {
      assert.match(await handshake(g, "tls", protocol, "-sess_out", session), /^New, /m);
      // Where it was opened it is taken up again, so that what follows is a refusal and no accident.
      assert.match(await handshake(g, "tls", protocol, "-sess_in", session, "-sess_out", session), /^Reused, /m);
      const before = await failedHandshakes(g);
      await handshake(g, "devices", protocol, "-sess_in", session);
      assert.equal(await failedHandshakes(g), before + 1);
    }
  },
  "TLS 1.0 and 1.1": async (g) => {
    for (const name of ["tls", "devices", "wss"]) {
      for (const protocol of ["-tls1", "-tls1_1"]) {
        const said = await handshake(g, name, protocol, "-cipher", "DEFAULT@SECLEVEL=0");
        assert.match(said, /Cipher is \(NONE\)/);
      }
      assert.doesNotMatch(await handshake(g, name, "-tls1_2"), /Cipher is \(NONE\)/);
    }
  },
  "hello of SSL 2 and of TLS 1.0 by hand": async (g) => {
    await cut(g.endpoint("tls"), Uint8Array.of(0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10));
    await cut(g.endpoint("devices"), Uint8Array.of(0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0));
  },
  "MQTT in the clear at a listener of TLS": async (g) => {
    for (const name of ["tls", "devices", "wss"]) await cut(g.endpoint(name), honestConnect("alice"));
  },
  "TLS at a listener in the clear": async (g) => {
    // A listener of WebSocket waits for the end of a request that never comes.
    await assert.rejects(() => TlsClient.connect(g.endpoint("tcp"), tlsOptions(g.authority)));
  },
  "MQTT in the clear within a handshake": async (g) => {
    await cut(g.endpoint("devices"), Uint8Array.of(0x16, 3, 1), honestConnect("alice"), new Uint8Array(20_000));
  },
  "strange server names and protocols": async (g) => {
    const names = ["evil.example", "localhost.", "a".repeat(200), "xn--80ak6aa92e"];
    for (const servername of names) {
      const options = { ...tlsOptions(g.authority), servername, rejectUnauthorized: false };
      await unserved(g, options, honestConnect("alice"));
    }
    const alpn = { ...tlsOptions(g.authority), ALPNProtocols: ["h2", "http/1.1", "evil"] };
    await unserved(g, alpn, honestConnect("alice"));
  },
  "two hundred half handshakes": async (g) => {
    const streams: ByteStream[] = [];
    for (let count = 0; count < 200; count++) {
      const stream = tcpStream(await Deno.connect(g.endpoint("devices")));
      await stream.write(Uint8Array.of(0x16, 3, 1, 2, 0, 1));
      streams.push(stream);
    }
    const own = tlsOptions(g.authority, await g.clientAuthority.issue("beside", { subject: "/CN=gateway-9" }));
    assert.equal(await reasonCodeOf(g, "devices", own, {}), 0);
    for (const stream of streams) stream.close();
  },
};

/** The client has no success to show for it: neither a CONNACK nor a place for its message. */
async function unserved(g: GuardedBroker, options: ConnectionOptions, connect = CONNECT): Promise<void> {
  let client: TlsClient;
  try {
    client = await TlsClient.connect(g.endpoint("devices"), options);
  } catch {
    return;
  }
  // With TLS 1.3 the client is done before its certificate is looked at.
  const stream = client.asByteStream();
  await stream.write(connect).catch(gone);
  await stream.write(planted()).catch(gone);
  assert.equal(await stream.read(), undefined, "the broker answers");
  stream.close();
  await client.closed;
}

const CONNECT = encodeWire("connect", { clientId: "intruder" }, 5);

/** The Reason Code of the CONNACK to a client that completes its handshake. */
async function reasonCodeOf(
  g: GuardedBroker,
  name: string,
  options: ConnectionOptions,
  fields: WireFields,
): Promise<number | undefined> {
  const stream = await TlsClient.connect(g.endpoint(name), options);
  await using client = new RawClient(stream.asByteStream(), 5);
  await client.send(encodeWire("connect", { clientId: "certified", ...fields }, 5), planted()).catch(gone);
  return (await client.expect("connack")).wire.reasonCode;
}

/** What `openssl` says of a handshake; behind it comes what is no MQTT, so that the broker ends the connection. */
async function handshake(g: GuardedBroker, name: string, ...args: readonly string[]): Promise<string> {
  const { hostname, port } = g.endpoint(name);
  const { stdout, stderr } = await runTool(OPENSSL, [
    ...["s_client", "-connect", `${hostname}:${port}`, "-CAfile", g.authority.cert, "-ign_eof", ...args],
  ], NO_MQTT);
  return stdout + stderr;
}

const NO_MQTT = "no MQTT, and no HTTP either\r\n\r\n";

async function failedHandshakes(g: GuardedBroker): Promise<number> {
  return await g.broker.metric('promptmq_connects_refused_total{reason="tls_handshake"}');
}

/** A certificate for `alice` that somebody signed who is no authority; in one file with that one's. */
async function signedBy(authority: TestAuthority, signer: CertificateFiles): Promise<CertificateFiles> {
  const own = await authority.issue("below", { subject: "/CN=alice" });
  const at = `${authority.directory}/forged.pem`;
  const result = await runTool(OPENSSL, [
    ...["x509", "-req", "-in", `${authority.directory}/below.csr`, "-CA", signer.cert, "-CAkey", signer.key],
    ...["-set_serial", "99", "-days", "5", "-out", at],
  ]);
  assert.equal(result.code, 0, result.stderr);
  await Deno.writeTextFile(at, await Deno.readTextFile(signer.cert), { append: true });
  return { cert: at, key: own.key };
}

playDoor("TLS and certificates", tls);
