/**
 * MQTT over TLS and over WebSocket with TLS: independent clients, clients that do not trust the broker, and peers that
 * do not speak TLS as they should.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import mqtt, { type MqttClient } from "mqtt";
import { OPENSSL, TestAuthority } from "../support/certificates.ts";
import { within } from "../support/event_queue.ts";
import { RawClient, tcpStream } from "../support/raw_client.ts";
import { connectSecurely, endpointOf, startSecureBroker, tlsOptions } from "../support/secure_broker.ts";
import { TlsClient } from "../support/tls_client.ts";
import { findTool, runTool, startTool, testWithTools } from "../support/tools.ts";
import { encodeWire } from "../support/wire_packets.ts";

const PUBLISHER = findTool("mosquitto_pub");
const SUBSCRIBER = findTool("mosquitto_sub");
const WITH_MOSQUITTO = [OPENSSL, PUBLISHER, SUBSCRIBER];

const tls = (title: string, body: () => Promise<void>): void => testWithTools(`TLS: ${title}`, [OPENSSL], body);

for (const version of ["tlsv1.2", "tlsv1.3"]) {
  testWithTools(`TLS: mosquitto_pub and mosquitto_sub talk over ${version}`, WITH_MOSQUITTO, async () => {
    await using authority = await TestAuthority.create();
    await using broker = await startSecureBroker(authority);
    const { port } = endpointOf(broker, "tls");
    const address = ["-h", "localhost", "-p", String(port), "--cafile", authority.cert, "--tls-version", version];
    const publish = async (...args: string[]): Promise<void> => {
      const result = await runTool(PUBLISHER, [...address, ...args]);
      assert.equal(result.code, 0, result.stderr);
    };
    await publish("-t", "a/ready", "-m", "ready", "-r", "-q", "1");
    const subscriber = startTool(SUBSCRIBER, [...address, "-q", "2", "-t", "a/#", "-C", "2", "-v", "-W", "20"]);
    await subscriber.child.stdin.close();
    assert.equal(await subscriber.line(), "a/ready ready");
    await publish("-t", "a/b", "-m", "hi", "-q", "2");
    const result = await subscriber.result();
    assert.equal(result.stdout, "a/ready ready\na/b hi\n");
  });
}

testWithTools(
  "TLS: mosquitto_pub refuses a broker of another authority, and one of another name",
  WITH_MOSQUITTO,
  async () => {
    await using authority = await TestAuthority.create();
    await using stranger = await TestAuthority.create("Stranger");
    const elsewhere = await authority.issue("elsewhere", {
      subject: "/CN=elsewhere",
      alternativeNames: "DNS:elsewhere",
    });
    for (const [server, trusted] of [[await authority.server(), stranger], [elsewhere, authority]] as const) {
      await using broker = await startSecureBroker(authority, { server });
      const { port } = endpointOf(broker, "tls");
      const result = await runTool(PUBLISHER, [
        ...["-h", "localhost", "-p", String(port), "--cafile", trusted.cert, "-t", "x", "-m", "x"],
      ]);
      assert.notEqual(result.code, 0);
      await using client = await RawClient.connect(broker.tcp, { clientId: "beside" });
      await client.expectQuiet();
    }
  },
);

for (const [name, scheme] of [["tls", "mqtts"], ["wss", "wss"]] as const) {
  for (const protocolVersion of [5, 4] as const) {
    tls(`MQTT.js with protocol ${protocolVersion} publishes and subscribes over ${scheme}`, async () => {
      await using authority = await TestAuthority.create();
      await using broker = await startSecureBroker(authority);
      const { port } = endpointOf(broker, name);
      const client = mqtt.connect(`${scheme}://localhost:${port}/mqtt`, {
        ca: readFileSync(authority.cert),
        wsOptions: { ca: readFileSync(authority.cert) },
        protocolVersion,
        reconnectPeriod: 0,
        timerVariant: "native",
      });
      try {
        await within(connected(client), "MQTT.js to connect");
        await client.subscribeAsync("t/#", { qos: 2 });
        const message = new Promise<string>((resolve) =>
          client.once("message", (topic, payload) => resolve(`${topic} ${payload}`))
        );
        await client.publishAsync("t/x", "x".repeat(100_000), { qos: 2 });
        assert.equal(await within(message, "the message"), `t/x ${"x".repeat(100_000)}`);
      } finally {
        await client.endAsync(true);
      }
    });
  }
}

tls("messages of 1 MiB pass between TLS and TCP unchanged, both ways", async () => {
  await using authority = await TestAuthority.create();
  await using broker = await startSecureBroker(authority);
  await using secure = await connectSecurely(endpointOf(broker, "tls"), tlsOptions(authority), { clientId: "secure" });
  await using plain = await RawClient.connect(broker.tcp, { clientId: "plain" });
  const payload = "0123456789abcdef".repeat(64 * 1024 - 64);
  for (const [from, to] of [[secure, plain], [plain, secure]] as const) {
    await to.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "big" }] });
    await to.expect("suback");
    await from.sendPacket("publish", { topic: "big", payload });
    assert.equal((await to.expect("publish")).wire.payload, payload);
    await to.sendPacket("unsubscribe", { id: 2, filters: ["big"] });
    await to.expect("unsuback");
  }
});

tls("a client that stops reading is cut after write-timeout", async () => {
  await using authority = await TestAuthority.create();
  await using broker = await startSecureBroker(authority, { flags: ["--write-timeout", "500ms"] });
  await using watcher = await RawClient.connect(broker.tcp, { clientId: "watcher" });
  await watcher.sendPacket("subscribe", { id: 1, subscriptions: [{ filter: "will/#" }] });
  await watcher.expect("suback");
  const stalled = await TlsClient.connect(endpointOf(broker, "tls"), tlsOptions(authority));
  stalled.socket.write(encodeWire("connect", { clientId: "s", will: { topic: "will/stalled", payload: "cut" } }, 5));
  stalled.socket.write(encodeWire("subscribe", { id: 1, subscriptions: [{ filter: "flood" }] }, 5));
  // CONNACK and SUBACK.
  await stalled.text(2);
  stalled.socket.pause();
  const chunk = "x".repeat(60_000);
  for (let sent = 0; sent < 600; sent += 1) await watcher.sendPacket("publish", { topic: "flood", payload: chunk });
  assert.equal((await watcher.expect("publish")).wire.topic, "will/stalled");
  stalled.socket.destroy();
});

tls("a stop says DISCONNECT 0x8B over TLS too, and does not wait for a handshake", async () => {
  await using authority = await TestAuthority.create();
  await using broker = await startSecureBroker(authority);
  const endpoint = endpointOf(broker, "tls");
  await using client = await connectSecurely(endpoint, tlsOptions(authority), { clientId: "modern" });
  const stalled = await Deno.connect(endpoint);
  await stalled.write(Uint8Array.of(22, 3, 1, 2, 0));
  broker.signal("SIGTERM");
  assert.equal((await client.expect("disconnect")).wire.reasonCode, 0x8b);
  await client.expectClose();
  const { code, log } = await broker.ended();
  assert.equal(code, 0);
  assert.equal(log.some(({ msg }) => msg === "connections cut at shutdown"), false);
  stalled.close();
});

tls("what a client sent before it ended its side is answered", async () => {
  await using authority = await TestAuthority.create();
  await using broker = await startSecureBroker(authority);
  await using client = await connectSecurely(endpointOf(broker, "tls"), tlsOptions(authority), { clientId: "half" });
  await client.sendPacket("publish", { topic: "last", payload: "word", qos: 1, id: 1 });
  await client.sendPacket("pingreq");
  await client.closeWrite();
  const received = (await client.drain()).map(({ wire }) => wire.type);
  assert.ok(received.every((type) => type === "puback" || type === "pingresp"), received.join());
});

tls("plain MQTT, HTTP and noise on the port of TLS are cut, counted, and hurt nobody", async () => {
  await using authority = await TestAuthority.create();
  await using broker = await startSecureBroker(authority);
  await using client = await connectSecurely(endpointOf(broker, "tls"), tlsOptions(authority), { clientId: "honest" });
  const pieces = ["\x10\x0c\x00\x04MQTT\x05\x02\x00\x00\x00", "GET / HTTP/1.1\r\n\r\n", "\xff".repeat(5_000)];
  for (const text of pieces) {
    const stream = tcpStream(await Deno.connect(endpointOf(broker, "tls")));
    await stream.write(Uint8Array.from(text, (character) => character.charCodeAt(0)));
    while (await within(stream.read(), "the end of the connection") !== undefined);
    stream.close();
  }
  await client.expectQuiet();
  assert.equal(await broker.metric('promptmq_connects_refused_total{reason="tls_handshake"}'), 3);
});

tls("a handshake that stalls is cut after read-timeout and counted", async () => {
  await using authority = await TestAuthority.create();
  await using broker = await startSecureBroker(authority, { flags: ["--read-timeout", "300ms"] });
  const stream = tcpStream(await Deno.connect(endpointOf(broker, "tls")));
  await stream.write(Uint8Array.of(22, 3, 1, 2, 0, 1));
  assert.equal(await within(stream.read(), "the end of the connection"), undefined);
  stream.close();
  assert.equal(await broker.metric('promptmq_connects_refused_total{reason="tls_handshake_timeout"}'), 1);
});

tls(
  "metrics tell when the certificate expires, and a certificate that cannot be used ends the start with 78",
  async () => {
    await using authority = await TestAuthority.create();
    await using broker = await startSecureBroker(authority);
    const seconds = await broker.metric('promptmq_tls_certificate_not_after_seconds{listener="tls"}');
    const days = seconds / 86_400 - Date.now() / 86_400_000;
    assert.ok(days > 59 && days < 61, `${days} days`);
    const other = await authority.issue("other", { subject: "/CN=other" });
    const { cert } = await authority.server();
    await assert.rejects(
      () => startSecureBroker(authority, { server: { cert, key: other.key } }),
      /is not that of the certificate in/,
    );
  },
);

function connected(client: MqttClient): Promise<void> {
  return new Promise((resolve, reject) => {
    client.once("connect", () => resolve());
    client.once("error", reject);
  });
}
