/**
 * Attempts to be taken for somebody else by what a proxy says, or by how WebSocket begins.
 */
import assert from "node:assert/strict";
import { connect as connectFrom } from "node:net";
import { cut, gone, honestConnect, planted, playDoor } from "../support/break_in.ts";
import type { GuardedBroker } from "../support/guarded_broker.ts";
import { type Endpoint, RawClient, tcpStream } from "../support/raw_client.ts";
import { concatBytes, fromHex } from "../support/wire_bytes.ts";
import { encodeWire } from "../support/wire_packets.ts";
import { Opcode, WsClient } from "../support/ws_client.ts";
import type { Attempts } from "./break_in_attempts.ts";

const NOT_AUTHORIZED = 0x87;
const ascii = (text: string) => new TextEncoder().encode(text);
const ANONYMOUS = concatBytes(encodeWire("connect", { clientId: "intruder" }, 5), planted());
const LOCAL_V1 = ascii("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n");
const REMOTE_V1 = ascii("PROXY TCP4 203.0.113.7 192.0.2.1 52110 1883\r\n");
const SIGNATURE = "0d0a0d0a000d0a515549540a";
const LOCAL_V2 = "7f000001 7f000001 0001 0002";

const proxies: Attempts<"proxies"> = {
  "header from a stranger": async (g) => {
    for (const name of ["proxied", "proxied-local"]) {
      await strangerCut(g.endpoint(name), LOCAL_V1, honestConnect("alice"), planted());
    }
  },
  "no header": async (g) => {
    await cut(g.endpoint("proxied"), honestConnect("alice"));
    await cut(g.endpoint("proxied-local"), ANONYMOUS);
  },
  "header where none is expected": (g) => cut(g.endpoint("tcp"), LOCAL_V1, honestConnect("alice")),
  "header after CONNECT": (g) => cut(g.endpoint("proxied"), honestConnect("alice"), LOCAL_V1),
  "second header": async (g) => {
    await cut(g.endpoint("proxied-local"), REMOTE_V1, LOCAL_V1, ANONYMOUS);
    await cut(g.endpoint("proxied-local"), REMOTE_V1, fromHex(`${SIGNATURE} 21 11 000c ${LOCAL_V2}`), ANONYMOUS);
  },
  "client of another host at a listener for this host": async (g) => {
    await localAccepted(g);
    const v6 = "PROXY TCP6 2001:db8::1 ::1 1 2\r\n";
    for (const header of [REMOTE_V1, ascii(v6), fromHex(`${SIGNATURE} 21 11 000c cb007107 7f000001 0001 0002`)]) {
      await anonymousRefused(g, header);
    }
  },
  "client that nobody knows at a listener for this host": async (g) => {
    const unknown = ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN 127.0.0.1 127.0.0.1 1 2\r\n"].map(ascii);
    const unspecified = [`${SIGNATURE} 21 00 0000`, `${SIGNATURE} 21 00 000c ${LOCAL_V2}`].map(fromHex);
    for (const header of [...unknown, ...unspecified]) await anonymousRefused(g, header);
  },
  "addresses that only look like this host": async (g) => {
    const addresses = ["127.1", "0x7f.0.0.1", "2130706433", "127.0.0.01", "localhost", "127.0.0.1%lo", "127.0.0.1 "];
    for (const address of addresses) {
      await cut(g.endpoint("proxied-local"), ascii(`PROXY TCP4 ${address} 127.0.0.1 1 2\r\n`), ANONYMOUS);
    }
    await cut(g.endpoint("proxied-local"), ascii("PROXY TCP6 127.0.0.1 ::1 1 2\r\n"), ANONYMOUS);
    await anonymousRefused(g, ascii("PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n"));
  },
  "line that is not quite a header": async (g) => {
    const lines = ["proxy TCP4 127.0.0.1 127.0.0.1 1 2\r\n", "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\n"];
    const more = [
      "PROXY TCP4 127.0.0.1 127.0.0.1 1 99999\r\n",
      "PROXY TCP4  127.0.0.1 127.0.0.1 1 2\r\n",
      "PROXY \r\n",
    ];
    for (const line of [...lines, ...more, `PROXY UNKNOWN ${"x".repeat(200)}\r\n`]) {
      await cut(g.endpoint("proxied-local"), ascii(line), ANONYMOUS);
    }
  },
  "binary header with wrong lengths": async (g) => {
    const headers = [
      `21 11 0000`,
      `21 11 000b ${LOCAL_V2}`,
      "21 11 ffff",
      "21 21 000c",
      "21 41 000c",
      "11 11 000c",
      "22 11 000c",
    ];
    const cutOff = [`21 11 000d ${LOCAL_V2} 03`, `21 11 0010 ${LOCAL_V2} 04 ffff 00`];
    const checksum = [`21 11 0013 ${LOCAL_V2} 03 0004 00000000`, `21 11 0010 ${LOCAL_V2} 03 0001 00`];
    for (const header of [...headers, ...cutOff, ...checksum]) {
      await cut(g.endpoint("proxied-local"), fromHex(`${SIGNATURE} ${header}`), ANONYMOUS, new Uint8Array(300));
    }
  },
  "proxy that speaks for itself, with an address": async (g) => {
    await using client = await RawClient.open(g.endpoint("proxied"));
    await client.send(fromHex(`${SIGNATURE} 20 11 000c ${LOCAL_V2}`), ANONYMOUS);
    assert.equal((await client.expect("connack")).wire.reasonCode, NOT_AUTHORIZED);
  },
  "user by way of a header": async (g) => {
    // Type 2 is the name of a host, 0x20 what a proxy saw of a certificate; neither says who a client is.
    const header = `${SIGNATURE} 21 11 001c ${LOCAL_V2} 02 0005 616c696365 22 0005 616c696365`;
    await using client = await RawClient.open(g.endpoint("proxied"));
    await client.send(fromHex(header), ANONYMOUS);
    assert.equal((await client.expect("connack")).wire.reasonCode, NOT_AUTHORIZED);
  },
};

const webSocket: Attempts<"WebSocket"> = {
  "page of another site": async (g) => {
    await localAccepted(g);
    const origins = ["https://evil.example", "null", "http://127.0.0.1.evil.example", "http://localhost.evil.example"];
    const more = ["http://localhost@evil.example", "http://evil.example#localhost", "file://", "", "localhost"];
    for (const origin of [...origins, ...more]) await pageRefused(g, { Origin: origin });
  },
  "claim to come from this host": async (g) => {
    await pageRefused(g, { "X-Forwarded-For": "127.0.0.1" });
    await pageRefused(g, { "X-Forwarded-For": "127.0.0.1, 203.0.113.7" });
    await pageRefused(g, { "X-Forwarded-For": "203.0.113.7, 127.0.0.1" });
    await pageRefused(g, { "Forwarded": "for=127.0.0.1" });
    await pageRefused(g, { "X-Real-IP": "127.0.0.1" });
    await pageRefused(g, { "Via": "1.1 127.0.0.1" });
    await pageRefused(g, { "X-Forwarded-Host": "localhost" });
  },
  "no credentials": (g) => pageRefused(g, {}, "ws"),
  "credentials in the request": async (g) => {
    await pageRefused(
      g,
      { "Authorization": `Basic ${btoa("alice:correct-horse-battery")}`, "Cookie": "user=alice" },
      "ws",
    );
  },
  "request with a body": async (g) => {
    const bodies = ["Content-Length: 5", "Content-Length: 0\r\nContent-Length: 5", "Transfer-Encoding: chunked"];
    const more = ["Transfer-Encoding: identity", "Content-Length: +0", "Content-Length: 0, 5"];
    for (const field of [...bodies, ...more]) await notUpgraded(g, requestWith(field));
  },
  "request with hidden fields": async (g) => {
    const fields = [
      "Content-Length : 5",
      " folded: yes",
      "X: a\nTransfer-Encoding: chunked",
      "X\0: y",
      "X: a\rb",
      ": x",
    ];
    for (const field of fields) await notUpgraded(g, requestWith(field));
  },
  "request with two hosts, or none": async (g) => {
    await notUpgraded(g, requestWith("Host: evil.example"));
    await notUpgraded(g, requestWith("X: y").replace("Host: broker\r\n", ""));
    await notUpgraded(g, requestWith("X: y").replace("Host: broker", "Host: a b"));
  },
  "request of another version or method": async (g) => {
    const request = requestWith("X: y");
    await notUpgraded(g, request.replace("HTTP/1.1", "HTTP/1.0"));
    await notUpgraded(g, request.replace("HTTP/1.1", "HTTP/2.0"));
    for (const method of ["POST", "CONNECT", "OPTIONS", "get", "GET GET"]) {
      await notUpgraded(g, request.replace("GET", method));
    }
    await notUpgraded(g, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  },
  "request for another path": async (g) => {
    for (const path of ["/mqtt/", "/mqtt/../x", "//mqtt", "/metrics", "/MQTT", "/mqtt%2f", "*", "http://x/admin"]) {
      await notUpgraded(g, requestWith("X: y").replace("/mqtt ", `${path} `));
    }
  },
  "second request on a refused connection": (g) =>
    notUpgraded(g, requestWith("Content-Length: 0, 1") + requestWith("X: y")),
  "request without the subprotocol": (g) =>
    notUpgraded(g, requestWith("X: y").replace("Protocol: mqtt", "Protocol: chat")),
  "request without end": (g) => notUpgraded(g, `GET /mqtt HTTP/1.1\r\n${"X: y\r\n".repeat(4000)}`),
  "MQTT without a request": (g) => notUpgraded(g, new TextDecoder().decode(honestConnect("alice")) + "\r\n\r\n"),
  "CONNECT in text, or not masked": async (g) => {
    const { client } = await WsClient.open(g.endpoint("ws"));
    await client.sendFrame(Opcode.TEXT, honestConnect("alice"));
    const frames = await client.drain();
    assert.ok(frames.every(({ opcode }) => opcode === Opcode.CLOSE));
    await client.close();
    const connect = honestConnect("alice");
    const unmasked = concatBytes(ascii(requestWith("X: y")), Uint8Array.of(0x82, connect.length), connect, planted());
    const said = await answerTo(g.endpoint("ws"), unmasked);
    assert.doesNotMatch(said, /\x82.?\x20/s, "a CONNACK comes back");
  },
};

/** A request as it should be, with one more field. */
function requestWith(field: string): string {
  return [
    ...["GET /mqtt HTTP/1.1", "Host: broker", "Connection: Upgrade", "Upgrade: websocket"],
    ...["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGVzdCBrZXkgMTYgYnl0ZQ==", "Sec-WebSocket-Protocol: mqtt"],
    ...[field, "\r\n"],
  ].join("\r\n");
}

/** All the broker says to some bytes, up to the end of the connection; one character per byte. */
async function answerTo(where: Endpoint, bytes: Uint8Array): Promise<string> {
  const stream = tcpStream(await Deno.connect(where));
  try {
    await stream.write(bytes).catch(gone);
    let said = "";
    for (let chunk = await stream.read(); chunk !== undefined; chunk = await stream.read()) {
      said += String.fromCharCode(...chunk);
    }
    return said;
  } finally {
    stream.close();
  }
}

async function notUpgraded(g: GuardedBroker, request: string): Promise<void> {
  assert.match(
    await answerTo(g.endpoint("ws"), ascii(requestWith("X: y") + "\x00")),
    /^HTTP\/1\.1 101 /,
    "the model is right",
  );
  const said = await answerTo(g.endpoint("ws"), ascii(request));
  assert.doesNotMatch(said, /HTTP\/1\.1 101/);
  assert.ok(said === "" || /^HTTP\/1\.1 [45]\d\d /.test(said), said.slice(0, 40));
}

/** A page is let in to the handshake, perhaps, but its CONNECT without credentials is refused. */
async function pageRefused(g: GuardedBroker, headers: Record<string, string>, name = "web-local"): Promise<void> {
  const { client, answer } = await WsClient.open(g.endpoint(name), { headers });
  assert.ok(answer.status === 101 || answer.status >= 400);
  if (answer.status === 101) {
    await client.sendFrame(Opcode.BINARY, encodeWire("connect", { clientId: "page" }, 5));
    await client.sendFrame(Opcode.BINARY, planted()).catch(gone);
    const { payload } = await client.expectFrame(Opcode.BINARY);
    assert.deepEqual([payload[0], payload[3]], [0x20, NOT_AUTHORIZED], JSON.stringify(headers));
  }
  await client.close();
}

/** A client of this host is let in without credentials, so that what is refused is refused for its address. */
async function localAccepted(g: GuardedBroker): Promise<void> {
  await using client = await RawClient.open(g.endpoint("proxied-local"));
  await client.send(LOCAL_V1, encodeWire("connect", { clientId: "local" }, 5));
  assert.equal((await client.expect("connack")).wire.reasonCode, 0);
  const { client: page } = await WsClient.open(g.endpoint("web-local"), {
    headers: { Origin: "http://localhost:8080" },
  });
  await page.sendFrame(Opcode.BINARY, encodeWire("connect", { clientId: "page" }, 5));
  assert.equal((await page.expectFrame(Opcode.BINARY)).payload[3], 0);
  await page.close();
}

async function anonymousRefused(g: GuardedBroker, header: Uint8Array): Promise<void> {
  await using client = await RawClient.open(g.endpoint("proxied-local"));
  await client.send(header, ANONYMOUS).catch(gone);
  assert.equal((await client.expect("connack")).wire.reasonCode, NOT_AUTHORIZED);
  await client.expectClose();
}

/** Sends from an address of this host that is not that of the proxy. Nothing at all may come back. */
async function strangerCut({ hostname, port }: Endpoint, ...parts: readonly Uint8Array[]): Promise<void> {
  const socket = connectFrom({ host: hostname, port, localAddress: "127.0.0.2" });
  const received: number[] = [];
  socket.on("data", (chunk: Uint8Array) => received.push(...chunk));
  socket.on("error", gone);
  const closed = new Promise((resolve) => socket.on("close", resolve));
  socket.write(concatBytes(...parts));
  await closed;
  assert.deepEqual(received, []);
}

playDoor("proxies", proxies);
playDoor("WebSocket", webSocket);
