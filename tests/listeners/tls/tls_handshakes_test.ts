/**
 * TLS over real sockets, with an echo behind it: who gets through the handshake, with which certificate, and what
 * becomes of those who do not.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import { type CertificateFiles, OPENSSL, TestAuthority } from "../../support/certificates.ts";
import { within } from "../../support/event_queue.ts";
import { type ByteStream, tcpStream } from "../../support/raw_client.ts";
import { PYTHON, resetPeers } from "../../support/reset_peers.ts";
import { TcpProxy } from "../../support/tcp_proxy.ts";
import { TlsClient } from "../../support/tls_client.ts";
import { startTool, testWithTools } from "../../support/tools.ts";
import { ListenerRig } from "../listener_rig.ts";

const tls = (title: string, body: () => Promise<void>): void =>
  testWithTools(`TLS listener: ${title}`, [OPENSSL], body);

tls("passes bytes both ways, TLS 1.2 and 1.3, also more than any buffer holds", async () => {
  await using authority = await TestAuthority.create();
  await using rig = await openRig(authority);
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    const client = await connect(rig, authority, { minVersion: version, maxVersion: version });
    assert.equal(client.socket.getProtocol(), version);
    assert.equal((await rig.expectClient()).certificate, undefined);
    const sent = Uint8Array.from({ length: 3_000_000 }, (_, index) => (index * 31) & 255);
    assert.deepEqual(await client.exchange(sent), sent);
    client.socket.end();
    await within(client.closed, "the end after ours");
  }
});

tls("a client that ends its side still gets what it is owed", async () => {
  await using authority = await TestAuthority.create();
  await using rig = await openRig(authority);
  const client = await connect(rig, authority);
  client.socket.end("last words");
  assert.equal(await client.text("last words".length), "last words");
  await within(client.closed, "the end");
  await rig.left.next("the client to leave");
  assert.equal(rig.listener.connections, 0);
});

tls("a client that is cut off leaves", async () => {
  await using authority = await TestAuthority.create();
  await using rig = await openRig(authority);
  const client = await connect(rig, authority);
  assert.equal(await client.text(2, "hi"), "hi");
  assert.equal(rig.listener.connections, 1);
  client.socket.destroy();
  await rig.left.next("the client to leave");
  assert.equal(rig.listener.connections, 0);
});

for (const clientAuth of ["optional", "require"] as const) {
  tls(`client-auth ${clientAuth} takes names from a good certificate`, async () => {
    await using authority = await TestAuthority.create();
    const files = await authority.issue("client", {
      subject: "/O=Example, Inc/CN=gateway-7",
      alternativeNames: "DNS:gateway-7,email:ops@example.org",
    });
    await using rig = await openRig(authority, clientAuth);
    const client = await connect(rig, authority, pairOf(files));
    assert.equal(await client.text(2, "hi"), "hi");
    assert.deepEqual((await rig.expectClient()).certificate, {
      subject: "CN=gateway-7,O=Example\\, Inc",
      commonName: "gateway-7",
      alternativeNames: ["DNS:gateway-7", "email:ops@example.org"],
    });
    client.socket.destroy();
  });

  tls(`client-auth ${clientAuth} takes a certificate signed by an authority in between`, async () => {
    await using authority = await TestAuthority.create();
    const between = await authority.authority("between");
    const files = await between.issue("client", { subject: "/CN=below" });
    await using rig = await openRig(authority, clientAuth);
    const { cert, key } = pairOf(files);
    const client = await connect(rig, authority, { cert: cert + readFileSync(between.cert, "utf8"), key });
    assert.equal(await client.text(2, "hi"), "hi");
    assert.equal((await rig.expectClient()).certificate?.commonName, "below");
    client.socket.destroy();
  });

  tls(`client-auth ${clientAuth} refuses a certificate of another authority, and one that has expired`, async () => {
    await using authority = await TestAuthority.create();
    await using stranger = await TestAuthority.create("Stranger");
    await using rig = await openRig(authority, clientAuth);
    for (
      const [files, detail] of [
        [await stranger.issue("stranger", { subject: "/CN=gateway-7" }), /VERIFY|ISSUER|SIGNATURE|UNABLE/],
        [await authority.issue("old", { subject: "/CN=gateway-7", days: -1 }), /EXPIRED/],
      ] as const
    ) {
      await expectRefused(rig, authority, pairOf(files), detail);
    }
    assert.equal(rig.listener.connections, 0);
    assert.deepEqual(rig.counters.connectsRefused.entries(), [["tls_handshake", 2]]);
  });
}

tls("client-auth require refuses a client without certificate, and optional takes it", async () => {
  await using authority = await TestAuthority.create();
  {
    await using rig = await openRig(authority, "require");
    await expectRefused(rig, authority, {}, /no certificate/);
  }
  await using rig = await openRig(authority, "optional");
  const client = await connect(rig, authority);
  assert.equal(await client.text(2, "hi"), "hi");
  assert.equal((await rig.expectClient()).certificate, undefined);
  client.socket.destroy();
});

tls("a session that was opened elsewhere does not stand in for a certificate", async () => {
  await using authority = await TestAuthority.create();
  await using stranger = await TestAuthority.create("Stranger");
  const { cert, key } = await stranger.issue("client", { subject: "/CN=admin" });
  const session = `${authority.directory}/session`;
  for (const protocol of ["-tls1_2", "-tls1_3"]) {
    await using other = await openRig(authority, "require", { tlsCa: stranger.cert });
    const own = ["-cert", cert, "-key", key];
    const first = await speak(other, [protocol, ...own, "-sess_out", session], "answered");
    assert.match(first, /^New/m);
    assert.match(first, /echo-of-this$/m);
    // The same session at the same listener is taken up again, so that what follows is a refusal and no accident.
    assert.match(
      await speak(other, [protocol, ...own, "-sess_in", session, "-sess_out", session], "answered"),
      /^Reused/m,
    );
    await using rig = await openRig(authority, "require");
    const second = await speak(rig, [protocol, ...own, "-sess_in", session], "refused");
    assert.doesNotMatch(second, /echo-of-this$/m);
    const { fields } = await rig.expectLine("TLS handshake failed");
    assert.match(String(fields["detail"]), /resumed|UNABLE|VERIFY|ISSUER/);
  }
});

tls("TLS 1.1 and older is refused", async () => {
  await using authority = await TestAuthority.create();
  await using rig = await openRig(authority);
  for (const protocol of ["-tls1", "-tls1_1"]) {
    assert.doesNotMatch(await speak(rig, [protocol, "-cipher", "DEFAULT@SECLEVEL=0"], "refused"), /echo-of-this$/m);
    await rig.expectLine("TLS handshake failed");
  }
  assert.deepEqual(rig.counters.connectsRefused.entries(), [["tls_handshake", 2]]);
});

tls("what is no handshake ends the connection and nothing else", async () => {
  await using authority = await TestAuthority.create();
  await using rig = await openRig(authority);
  const random = crypto.getRandomValues(new Uint8Array(5_000));
  const pieces = [new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"), random, Uint8Array.of(0x10, 0x0c, 0, 4, 77, 81)];
  for (const bytes of pieces) {
    const stream = tcpStream(await Deno.connect(rig.endpoint));
    await stream.write(bytes);
    while (await within(stream.read(), "the end of the connection") !== undefined);
    stream.close();
    const { fields } = await rig.expectLine("TLS handshake failed");
    assert.equal(fields["remoteAddress"], "127.0.0.1");
    assert.equal(fields["listener"], "door");
  }
  assert.equal(rig.listener.connections, 0);
});

tls("a client that goes away within the handshake leaves nothing behind", async () => {
  await using authority = await TestAuthority.create();
  await using rig = await openRig(authority);
  for (const bytes of [new Uint8Array(0), Uint8Array.of(22, 3, 1, 2, 0, 1)]) {
    const stream = tcpStream(await Deno.connect(rig.endpoint));
    if (bytes.length > 0) await stream.write(bytes);
    stream.close();
    await rig.expectLine("TLS handshake failed");
    assert.equal(rig.listener.connections, 0);
  }
});

tls("a handshake that stalls is cut after read-timeout", async () => {
  await using authority = await TestAuthority.create();
  await using rig = await openRig(authority, "none", {}, { readTimeoutMs: 200 });
  for (const bytes of [new Uint8Array(0), Uint8Array.of(22, 3, 1, 2, 0, 1)]) {
    const stream = tcpStream(await Deno.connect(rig.endpoint));
    if (bytes.length > 0) await stream.write(bytes);
    assert.equal(await within(stream.read(), "the end of the connection"), undefined);
    stream.close();
  }
  assert.deepEqual(rig.counters.connectsRefused.entries(), [["tls_handshake_timeout", 2]]);
  assert.equal(rig.listener.connections, 0);
});

tls("handshakes under way count towards the most connections of a listener", async () => {
  await using authority = await TestAuthority.create();
  await using rig = await openRig(authority, "none", { maxConnections: 2 });
  const stalled = await Promise.all([1, 2].map(() => Deno.connect(rig.endpoint)));
  const third = tcpStream(await Deno.connect(rig.endpoint));
  assert.equal(await within(third.read(), "the end of the third"), undefined);
  third.close();
  assert.equal((await rig.expectLine("connection refused")).fields["reason"], "listener_full");
  for (const socket of stalled) socket.close();
  await rig.expectLine("TLS handshake failed");
  await rig.expectLine("TLS handshake failed");
  const client = await connect(rig, authority);
  assert.equal(await client.text(2, "hi"), "hi");
  client.socket.destroy();
});

testWithTools(
  "TLS listener: clients that are reset before they are accepted are no error",
  [OPENSSL, PYTHON],
  async () => {
    await using authority = await TestAuthority.create();
    await using rig = await openRig(authority);
    resetPeers(rig.endpoint, 300);
    const client = await connect(rig, authority);
    assert.equal(await client.text(2, "hi"), "hi");
    client.socket.destroy();
    rig.lines.end();
    assert.equal(await rig.lines.next("no line"), undefined);
  },
);

tls("a client that does not trust the certificate, or knows the broker by another name, goes away", async () => {
  await using authority = await TestAuthority.create();
  await using stranger = await TestAuthority.create("Stranger");
  await using rig = await openRig(authority);
  await assert.rejects(() => connect(rig, stranger));
  await rig.expectLine("TLS handshake failed");
  await assert.rejects(() => connect(rig, authority, { servername: "elsewhere.example" }), /altname|host/i);
});

for (const version of [1, 2]) {
  tls(`a PROXY header of version ${version} comes before the handshake, in one piece with it or not`, async () => {
    await using authority = await TestAuthority.create();
    await using rig = await openRig(authority, "none", { proxyProtocol: true });
    const header = version === 1
      ? new TextEncoder().encode("PROXY TCP4 203.0.113.7 192.0.2.1 52110 1883\r\n")
      : Uint8Array.from([
        13,
        10,
        13,
        10,
        0,
        13,
        10,
        81,
        85,
        73,
        84,
        10,
        0x21,
        0x11,
        0,
        12,
        203,
        0,
        113,
        7,
        192,
        0,
        2,
        1,
        1,
        2,
        3,
        4,
      ]);
    for (const isJoined of [true, false]) {
      await using proxy = TcpProxy.start(rig.endpoint, header, isJoined);
      const client = await TlsClient.connect(proxy.endpoint, trusting(authority));
      assert.equal(await client.text(2, "hi"), "hi");
      const incoming = await rig.expectClient();
      assert.equal(incoming.remoteAddress, "203.0.113.7");
      assert.equal(incoming.isLoopback, false);
      client.socket.destroy();
      await rig.left.next("the client to leave");
    }
  });
}

tls("a handshake without the PROXY header is refused, and so is a header from a stranger", async () => {
  await using authority = await TestAuthority.create();
  {
    await using rig = await openRig(authority, "none", { proxyProtocol: true });
    await assert.rejects(() => connect(rig, authority));
    assert.equal((await rig.expectLine("connection refused")).fields["reason"], "proxy_header");
  }
  await using rig = await openRig(authority, "none", { proxyProtocol: true }, { trustedProxies: "192.0.2.0/24" });
  const header = new TextEncoder().encode("PROXY TCP4 127.0.0.1 192.0.2.1 1 2\r\n");
  await using proxy = TcpProxy.start(rig.endpoint, header, true);
  await assert.rejects(() => TlsClient.connect(proxy.endpoint, trusting(authority)));
  assert.equal((await rig.expectLine("connection refused")).fields["reason"], "proxy_untrusted");
});

tls("connections above the connect rate wait for their turn", async () => {
  await using authority = await TestAuthority.create();
  await using rig = await openRig(authority, "none", { connectRate: 20 });
  const clients = await Promise.all(Array.from({ length: 25 }, () => connect(rig, authority)));
  for (const client of clients) assert.equal(await client.text(2, "hi"), "hi");
  assert.equal(rig.counters.connectsRefused.total(), 0);
  for (const client of clients) client.socket.destroy();
});

tls("a stop cuts handshakes and waits that are under way", async () => {
  await using authority = await TestAuthority.create();
  // The first begins its handshake, the second waits for 100 s, and the third would wait for too long.
  const rig = await openRig(authority, "none", { connectRate: 0.01 }, { readTimeoutMs: 150_000 });
  const streams: ByteStream[] = [];
  for (let count = 0; count < 3; count++) streams.push(tcpStream(await Deno.connect(rig.endpoint)));
  assert.equal((await rig.expectLine("connection refused")).fields["reason"], "connect_rate");
  assert.equal(rig.listener.connections, 1);
  await rig[Symbol.asyncDispose]();
  for (const stream of streams) {
    assert.equal(await within(stream.read(), "the end of the connection"), undefined);
    stream.close();
  }
});

function openRig(
  authority: TestAuthority,
  clientAuth: "none" | "optional" | "require" = "none",
  entry: Parameters<typeof ListenerRig.open>[0] = {},
  options: Parameters<typeof ListenerRig.open>[1] = {},
): Promise<ListenerRig> {
  return authority.server().then(({ cert, key }) =>
    ListenerRig.open({ type: "tls", tlsCert: cert, tlsKey: key, tlsCa: authority.cert, clientAuth, ...entry }, options)
  );
}

function pairOf({ cert, key }: CertificateFiles): { readonly cert: string; readonly key: string } {
  return { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
}

/** Connects and expects to be turned away, and a line that says why. */
async function expectRefused(
  rig: ListenerRig,
  authority: TestAuthority,
  options: ConnectionOptions,
  detail: RegExp,
): Promise<void> {
  // With TLS 1.3 the client believes to be in before the broker has looked at its certificate.
  const client = await connect(rig, authority, options).catch(() => undefined);
  if (client !== undefined) await within(client.closed, "the end of a refused client");
  const { fields } = await rig.expectLine("TLS handshake failed");
  assert.match(String(fields["detail"]), detail);
}

/** What `openssl s_client` printed, who says a line and stays until the other side closes. */
async function speak(rig: ListenerRig, args: readonly string[], outcome: "answered" | "refused"): Promise<string> {
  const { port } = rig.endpoint;
  const running = startTool(OPENSSL, ["s_client", "-connect", `127.0.0.1:${port}`, "-ign_eof", ...args]);
  const writer = running.child.stdin.getWriter();
  await writer.write(new TextEncoder().encode("echo-of-this\n"));
  if (outcome === "answered") {
    await rig.echoed.next("an echo");
    rig.hangUp();
  }
  const { stdout } = await running.result();
  await writer.close().catch(() => {});
  return stdout;
}

function trusting(authority: TestAuthority): ConnectionOptions {
  return { ca: readFileSync(authority.cert, "utf8"), servername: "localhost" };
}

function connect(rig: ListenerRig, authority: TestAuthority, options: ConnectionOptions = {}): Promise<TlsClient> {
  return TlsClient.connect(rig.endpoint, { ...trusting(authority), ...options });
}
