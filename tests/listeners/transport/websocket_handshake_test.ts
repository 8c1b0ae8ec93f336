/**
 * The request that opens a WebSocket: a table of requests and answers, each also sent one byte at a time and cut at
 * every place.
 */
import assert from "node:assert/strict";
import { WebSocketByteSocket } from "../../../src/listeners/transport/websocket.ts";
import { endOfHead, HEAD_BYTES_MAX, type RequestOrigin } from "../../../src/listeners/transport/websocket_handshake.ts";
import { concatBytes } from "../../support/wire_bytes.ts";
import { ascii, binary, requestHead, singly } from "./client_frames.ts";
import { MemorySocket } from "./memory_socket.ts";

const MQTT = ascii("\x10\x00");
const ACCEPTED = [
  "HTTP/1.1 101 Switching Protocols",
  "Upgrade: websocket",
  "Connection: Upgrade",
  // The example of RFC 6455, 1.3.
  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
  "Sec-WebSocket-Protocol: mqtt",
  "\r\n",
].join("\r\n");
const LONG_LINE = (count: number): string => "x".repeat(count);

const ACCEPTED_REQUESTS: readonly (readonly [what: string, head: string])[] = [
  ["a plain request", requestHead()],
  ["the path /", requestHead({}, "GET / HTTP/1.1")],
  ["a query", requestHead({}, "GET /mqtt?token=1 HTTP/1.1")],
  ["an absolute target", requestHead({}, "GET http://broker:8080/mqtt HTTP/1.1")],
  ["names in other case", requestHead().replaceAll("Sec-WebSocket", "sec-websocket").replace("Host", "HOST")],
  ["values in other case", requestHead({ Upgrade: "WebSocket", Connection: "keep-alive, upgrade" })],
  ["no space after the colons", requestHead().replaceAll(": ", ":")],
  ["space around the values", requestHead().replaceAll(": ", ": \t ").replaceAll("\r\nSec", "  \r\nSec")],
  ["several subprotocols", requestHead({ "Sec-WebSocket-Protocol": "chat, mqttv3.1,mqtt" })],
  [
    "subprotocols in two fields",
    requestHead().replace("Sec-WebSocket-Protocol: ", "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: "),
  ],
  ["an extension, which is not taken up", requestHead({ "Sec-WebSocket-Extensions": "permessage-deflate" })],
  ["a body of no bytes", requestHead({ "Content-Length": "0" })],
  ["an IPv6 Host", requestHead({ Host: "[::1]:8080" })],
  ["a Host without a port", requestHead({ Host: "broker.example" })],
  ["bytes above 0x7F in a value", requestHead({ "User-Agent": "\xe4\xff" })],
  ["many spaces within a value", requestHead({ "User-Agent": `a${" ".repeat(8_000)}b` })],
];

const REFUSED_REQUESTS: readonly (readonly [what: string, head: string, status: string, field?: string])[] = [
  ["no HTTP", "\x10\x0c\x00\x04MQTT\x05\x02\x00\x00\r\n\r\n", "400 Bad Request"],
  ["an empty request", "\r\n\r\n", "400 Bad Request"],
  ["two spaces in the request line", requestHead({}, "GET  /mqtt HTTP/1.1"), "400 Bad Request"],
  ["a field without a colon", requestHead().replace("\r\n\r\n", "\r\nnonsense\r\n\r\n"), "400 Bad Request"],
  ["a field without a name", requestHead({ "": "x" }), "400 Bad Request"],
  ["a space before a colon", requestHead({ "X ": "x" }), "400 Bad Request"],
  ["a folded field", requestHead({ X: "x\r\n  y" }), "400 Bad Request"],
  ["a bare line feed in a field", requestHead({ X: "x\ny: z" }), "400 Bad Request"],
  ["a NUL in a field", requestHead({ X: "x\0" }), "400 Bad Request"],
  ["HTTP/1.0", requestHead({}, "GET /mqtt HTTP/1.0"), "505 HTTP Version Not Supported"],
  ["the first words of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 HTTP Version Not Supported"],
  ["no Host", requestHead({ Host: undefined }), "400 Bad Request"],
  ["an empty Host", requestHead({ Host: "" }), "400 Bad Request"],
  ["two Hosts", requestHead({ Host: "a\r\nHost: b" }), "400 Bad Request"],
  ["a Host with a space", requestHead({ Host: "a b" }), "400 Bad Request"],
  ["a Host with a path", requestHead({ Host: "a/b" }), "400 Bad Request"],
  ["a Host with a user", requestHead({ Host: "u@a" }), "400 Bad Request"],
  ["an IPv6 Host without brackets", requestHead({ Host: "::1:8080" }), "400 Bad Request"],
  ["half a bracket in Host", requestHead({ Host: "[::1" }), "400 Bad Request"],
  ["an address that is none in Host", requestHead({ Host: "[1:2]" }), "400 Bad Request"],
  ["a port above 65535 in Host", requestHead({ Host: "a:65536" }), "400 Bad Request"],
  ["a body", requestHead({ "Content-Length": "5" }), "400 Bad Request"],
  ["a body in chunks", requestHead({ "Transfer-Encoding": "chunked" }), "400 Bad Request"],
  ["another path", requestHead({}, "GET /other HTTP/1.1"), "404 Not Found"],
  ["a path that begins like ours", requestHead({}, "GET /mqtt/x HTTP/1.1"), "404 Not Found"],
  ["a target that is no path", requestHead({}, "GET * HTTP/1.1"), "404 Not Found"],
  ["POST", requestHead({}, "POST /mqtt HTTP/1.1"), "405 Method Not Allowed", "Allow: GET"],
  ["HEAD", requestHead({}, "HEAD /mqtt HTTP/1.1"), "405 Method Not Allowed", "Allow: GET"],
  ["no Upgrade", requestHead({ Upgrade: undefined }), "426 Upgrade Required", "Upgrade: websocket"],
  ["another Upgrade", requestHead({ Upgrade: "h2c" }), "426 Upgrade Required", "Upgrade: websocket"],
  ["no Connection", requestHead({ Connection: "close" }), "426 Upgrade Required", "Upgrade: websocket"],
  ["no key", requestHead({ "Sec-WebSocket-Key": undefined }), "400 Bad Request"],
  ["a short key", requestHead({ "Sec-WebSocket-Key": "c2hvcnQ=" }), "400 Bad Request"],
  ["a key that is not base64", requestHead({ "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25j$Q==" }), "400 Bad Request"],
  [
    "version 8",
    requestHead({ "Sec-WebSocket-Version": "8" }),
    "426 Upgrade Required",
    "Sec-WebSocket-Version: 13",
  ],
  [
    "no version",
    requestHead({ "Sec-WebSocket-Version": undefined }),
    "426 Upgrade Required",
    "Sec-WebSocket-Version: 13",
  ],
  ["no subprotocol", requestHead({ "Sec-WebSocket-Protocol": undefined }), "400 Bad Request"],
  ["another subprotocol", requestHead({ "Sec-WebSocket-Protocol": "chat" }), "400 Bad Request"],
  ["MQTT in capitals as subprotocol", requestHead({ "Sec-WebSocket-Protocol": "MQTT" }), "400 Bad Request"],
  [
    "a head of one byte too many",
    requestHead({ X: LONG_LINE(HEAD_BYTES_MAX - requestHead({ X: "" }).length + 1) }),
    "431 Request Header Fields Too Large",
  ],
];

for (const [what, head] of ACCEPTED_REQUESTS) {
  Deno.test(`handshake with ${what} is accepted, and what follows it is MQTT`, () =>
    forEveryCut(ascii(head), async (pieces) => {
      const { socket, webSocket } = openSocket();
      socket.receive(...pieces.slice(0, -1), concatBytes(pieces.at(-1)!, binary(MQTT)));
      const buffer = new Uint8Array(512);
      assert.deepEqual(buffer.subarray(0, await webSocket.read(buffer) ?? 0), MQTT);
      assert.equal(textOf(socket), ACCEPTED);
    }));
}

for (const [what, head, status, field] of REFUSED_REQUESTS) {
  Deno.test(`handshake with ${what} is refused with ${status}`, () =>
    forEveryCut(ascii(head), async (pieces) => {
      const { socket, webSocket } = openSocket();
      socket.receive(...pieces, binary(MQTT));
      assert.equal(await webSocket.read(new Uint8Array(512)), null);
      socket.end();
      await webSocket.farewell();
      assert.equal(socket.isWriteClosed, true);
      const [answer = "", body = ""] = textOf(socket).split("\r\n\r\n");
      const [statusLine, ...fields] = answer.split("\r\n");
      assert.equal(statusLine, `HTTP/1.1 ${status}`);
      if (field !== undefined) assert.ok(fields.includes(field), answer);
      assert.ok(fields.some((line) => /^Connection: (?:upgrade, )?close$/.test(line)), answer);
      assert.ok(fields.includes(`Content-Length: ${body.length}`), answer);
    }));
}

Deno.test("handshake head of the greatest size is accepted", async () => {
  const { socket, webSocket } = openSocket();
  const head = requestHead({ X: LONG_LINE(HEAD_BYTES_MAX - requestHead({ X: "" }).length) });
  assert.equal(head.length, HEAD_BYTES_MAX);
  socket.receive(ascii(head), binary(MQTT));
  assert.equal(await webSocket.read(new Uint8Array(512)), MQTT.length);
});

Deno.test("handshake offering mqttv3.1 alone gets it", async () => {
  const { socket, webSocket } = openSocket();
  socket.receive(ascii(requestHead({ "Sec-WebSocket-Protocol": "mqttv3.1" })), binary(MQTT));
  await webSocket.read(new Uint8Array(512));
  assert.match(textOf(socket), /\r\nSec-WebSocket-Protocol: mqttv3\.1\r\n/);
});

Deno.test("handshake from a page of another site makes its peer a stranger", async () => {
  const table: readonly (readonly [origin: string | undefined, isStranger: boolean])[] = [
    [undefined, false],
    ["http://localhost:3000", false],
    ["http://app.localhost", false],
    ["http://127.0.0.1", false],
    ["http://[::1]:8000", false],
    ["https://elsewhere.example", true],
    ["https://localhost.elsewhere.example", true],
    ["http://127.0.0.1.elsewhere.example", true],
    ["null", true],
    ["", true],
    ["http://localhost\r\nOrigin: http://localhost", true],
  ];
  for (const [origin, isStranger] of table) {
    const { socket, webSocket, origins } = openSocket();
    socket.receive(ascii(requestHead({ Origin: origin })), binary(MQTT));
    await webSocket.read(new Uint8Array(512));
    assert.deepEqual(origins.map(({ isLocal }) => isLocal), [!isStranger], origin ?? "no Origin");
  }
});

Deno.test("handshake that a proxy passed on says so, and gives what X-Forwarded-For holds in its order", async () => {
  const table: readonly (readonly [lines: Record<string, string>, isForwarded: boolean, forwardedFor: string[]])[] = [
    [{}, false, []],
    [{ "X-Forwarded-For": "203.0.113.7, 10.0.0.1" }, true, ["203.0.113.7, 10.0.0.1"]],
    [{ "X-Forwarded-For": "203.0.113.7\r\nx-forwarded-for: 10.0.0.1" }, true, ["203.0.113.7", "10.0.0.1"]],
    [{ "X-Forwarded-For": "" }, true, [""]],
    [{ "Forwarded": "for=203.0.113.7" }, true, []],
    [{ "X-Real-IP": "203.0.113.7" }, true, []],
    [{ "Via": "1.1 proxy" }, true, []],
  ];
  for (const [lines, isForwarded, forwardedFor] of table) {
    const { socket, webSocket, origins } = openSocket();
    socket.receive(ascii(requestHead(lines)), binary(MQTT));
    await webSocket.read(new Uint8Array(512));
    assert.deepEqual(origins, [{ isLocal: true, isForwarded, forwardedFor }], JSON.stringify(lines));
  }
});

Deno.test("handshake of a client that may not come in is refused with 403, and a bad one asks nobody", async () => {
  for (const [head, status, asked] of [[requestHead(), 403, 1], [requestHead({ Host: undefined }), 400, 0]] as const) {
    const { socket, webSocket, origins } = openSocket(false);
    socket.receive(ascii(head), binary(MQTT));
    assert.equal(await webSocket.read(new Uint8Array(512)), null);
    socket.end();
    await webSocket.farewell();
    assert.match(textOf(socket), new RegExp(`^HTTP/1\\.1 ${status} `));
    assert.equal(origins.length, asked);
  }
});

Deno.test("a peer that ends within its request gets no answer", async () => {
  const { socket, webSocket } = openSocket();
  socket.receive(ascii(requestHead().slice(0, -1)));
  socket.end();
  assert.equal(await webSocket.read(new Uint8Array(512)), null);
  await webSocket.farewell();
  assert.equal(textOf(socket), "");
});

Deno.test("the end of a head is found wherever the pieces are cut", () => {
  const head = ascii("a\r\n\r\r\n\r\nrest");
  for (let end = 0; end <= head.length; end++) {
    assert.equal(endOfHead(head, 0, end), end < 8 ? -1 : 8);
    assert.equal(endOfHead(head, end - 3, head.length), end <= 7 ? 8 : -1);
  }
});

/** Plays a request whole, singly, and cut in two at every place near its borders. */
async function forEveryCut(bytes: Uint8Array, play: (pieces: readonly Uint8Array[]) => Promise<void>): Promise<void> {
  await play([bytes]);
  await play(singly(bytes));
  for (let cut = 1; cut < bytes.length; cut += cut < bytes.length - 40 ? 37 : 1) {
    await play([bytes.subarray(0, cut), bytes.subarray(cut)]);
  }
}

function openSocket(mayUpgrade = true) {
  const socket = new MemorySocket();
  const origins: RequestOrigin[] = [];
  const webSocket = new WebSocketByteSocket(socket, "/mqtt", (origin) => {
    origins.push(origin);
    return mayUpgrade;
  });
  return { socket, webSocket, origins };
}

function textOf(socket: MemorySocket): string {
  return new TextDecoder("latin1").decode(socket.takeOutput());
}
