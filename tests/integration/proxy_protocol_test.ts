/**
 * Clients behind proxies: with the PROXY protocol, on every kind of listener, and behind HTTP proxies. Whether a client
 * is on this host decides here whether it needs credentials.
 */
import assert from "node:assert/strict";
import { ascii } from "../listeners/transport/client_frames.ts";
import { Broker } from "../support/broker.ts";
import { OPENSSL, TestAuthority } from "../support/certificates.ts";
import { RawClient } from "../support/raw_client.ts";
import { endpointOf, sayConnect, startSecureBroker, tlsOptions } from "../support/secure_broker.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { testWithTools } from "../support/tools.ts";
import { encodeWire } from "../support/wire_packets.ts";
import { Opcode, WsClient } from "../support/ws_client.ts";

const REMOTE = ascii("PROXY TCP4 203.0.113.7 192.0.2.1 52110 1883\r\n");
const LOCAL = ascii("PROXY TCP4 127.0.0.1 127.0.0.1 52110 1883\r\n");
const CONNECT = encodeWire("connect", { clientId: "c" }, 5);
const NOT_AUTHORIZED = 0x87;
/** Position of the Reason Code in CONNACK. */
const REASON_CODE_OFFSET = 3;

for (const isJoined of [true, false]) {
  Deno.test(`PROXY protocol: the address in the header decides over TCP, ${isJoined ? "joined" : "in pieces"}`, async () => {
    await using broker = await Broker.start({ config: "server:\n  proxy-protocol: true\n" });
    for (const [header, reasonCode] of [[LOCAL, 0], [REMOTE, NOT_AUTHORIZED]] as const) {
      await using proxy = TcpProxy.start(broker.tcp, header, isJoined);
      await using client = await RawClient.open(proxy.endpoint);
      await client.sendPacket("connect", { clientId: "c" });
      assert.equal((await client.expect("connack")).wire.reasonCode, reasonCode);
    }
    const refusal = broker.log.find(({ msg }) => msg === "connect refused");
    assert.equal(refusal?.["remoteAddress"], "203.0.113.7");
  });
}

Deno.test("PROXY protocol: works over WebSocket", async () => {
  await using broker = await Broker.start({ config: "server:\n  proxy-protocol: true\n" });
  for (const [header, reasonCode] of [[LOCAL, 0], [REMOTE, NOT_AUTHORIZED]] as const) {
    await using proxy = TcpProxy.start(broker.ws, header);
    const { client, answer } = await WsClient.open(proxy.endpoint);
    await using _ = client;
    assert.equal(answer.status, 101);
    assert.equal(await reasonCodeOf(client), reasonCode);
  }
});

testWithTools("PROXY protocol: works before TLS", [OPENSSL], async () => {
  await using authority = await TestAuthority.create();
  await using broker = await startSecureBroker(authority, { serverLines: ["proxy-protocol: true"] });
  for (const [header, reasonCode] of [[LOCAL, 0], [REMOTE, NOT_AUTHORIZED]] as const) {
    await using proxy = TcpProxy.start(endpointOf(broker, "tls"), header);
    const answer = await sayConnect(proxy.endpoint, tlsOptions(authority), { clientId: "c" });
    assert.equal(answer.reasonCode, reasonCode);
    await answer.client.close();
  }
});

Deno.test("PROXY protocol: a client that forges a header, or sends none, is cut", async () => {
  const untrusted = "server:\n  proxy-protocol: true\n  trusted-proxies: 192.0.2.0/24\n";
  for (
    const [config, bytes, reason] of [
      [untrusted, [LOCAL, CONNECT], "proxy_untrusted"],
      ["server:\n  proxy-protocol: true\n", [CONNECT], "proxy_header"],
    ] as const
  ) {
    await using broker = await Broker.start({ config });
    await using client = await RawClient.open(broker.tcp);
    // The broker may close before it has all of it.
    await client.send(...bytes).catch(() => {});
    await client.expectClose();
    assert.equal(await broker.metric(`promptmq_connects_refused_total{reason="${reason}"}`), 1);
  }
});

Deno.test("PROXY protocol: without the option a header is no MQTT", async () => {
  await using broker = await Broker.start();
  await using client = await RawClient.open(broker.tcp);
  await client.send(LOCAL, CONNECT);
  await client.expectClose();
});

for (
  const [what, headers, reasonCode] of [
    ["no proxy", {}, 0],
    ["X-Forwarded-For of another host", { "X-Forwarded-For": "203.0.113.7" }, NOT_AUTHORIZED],
    ["X-Forwarded-For that pretends this host", { "X-Forwarded-For": "127.0.0.1, 203.0.113.7" }, NOT_AUTHORIZED],
    ["X-Forwarded-For that is no address", { "X-Forwarded-For": "localhost" }, NOT_AUTHORIZED],
    ["Forwarded", { "Forwarded": "for=127.0.0.1" }, NOT_AUTHORIZED],
  ] as const
) {
  Deno.test(`HTTP proxy: a WebSocket with ${what} gets CONNACK ${reasonCode} without credentials`, async () => {
    await using broker = await Broker.start();
    const { client } = await WsClient.open(broker.ws, { headers });
    await using _ = client;
    assert.equal(await reasonCodeOf(client), reasonCode);
  });
}

async function reasonCodeOf(client: WsClient): Promise<number | undefined> {
  await client.sendFrame(Opcode.BINARY, CONNECT);
  const { payload } = await client.expectFrame(Opcode.BINARY);
  assert.equal(payload[0], 0x20);
  return payload[REASON_CODE_OFFSET];
}
