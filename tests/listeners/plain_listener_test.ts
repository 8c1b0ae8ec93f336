/**
 * Listeners without TLS over real sockets, with an echo behind them: proxies, Unix sockets, limits.
 */
import * as Runtime from "effect/Runtime";
import assert from "node:assert/strict";
import type { Entrance } from "../../src/listeners/entry/entrance.ts";
import type { Listener } from "../../src/listeners/entry/listener.ts";
import { acceptAll } from "../../src/listeners/plain_listener.ts";
import { within } from "../support/event_queue.ts";
import { type ByteStream, tcpStream } from "../support/raw_client.ts";
import { PYTHON, resetPeers } from "../support/reset_peers.ts";
import { testWithTools } from "../support/tools.ts";
import { concatBytes } from "../support/wire_bytes.ts";
import { WsClient } from "../support/ws_client.ts";
import { ListenerRig } from "./listener_rig.ts";
import { ascii } from "./transport/client_frames.ts";

const V2 = Uint8Array.of(13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10);
const IPV4_PAIR = Uint8Array.of(0, 12, 203, 0, 113, 7, 192, 0, 2, 1, 1, 2, 3, 4);

for (
  const [what, header, remoteAddress, isLoopback] of [
    ["v1 of another host", ascii("PROXY TCP4 203.0.113.7 192.0.2.1 52110 1883\r\n"), "203.0.113.7", false],
    ["v1 of this host", ascii("PROXY TCP4 127.0.0.9 127.0.0.1 52110 1883\r\n"), "127.0.0.9", true],
    ["v1 UNKNOWN", ascii("PROXY UNKNOWN\r\n"), "127.0.0.1", false],
    ["v2 of another host", concatBytes(V2, Uint8Array.of(0x21, 0x11), IPV4_PAIR), "203.0.113.7", false],
    ["v2 of an unknown family", concatBytes(V2, Uint8Array.of(0x21, 0, 0, 0)), "127.0.0.1", false],
    ["v2 LOCAL", concatBytes(V2, Uint8Array.of(0x20, 0x11), IPV4_PAIR), "127.0.0.1", true],
  ] as const
) {
  Deno.test(`plain listener: a PROXY header ${what} makes the client ${remoteAddress}`, async () => {
    await using rig = await ListenerRig.open({ proxyProtocol: true });
    for (
      const pieces of [[concatBytes(header, ascii("hello"))], [header, ascii("hello")], [
        ...singly(header),
        ascii("hello"),
      ]]
    ) {
      const stream = await openStream(rig);
      for (const piece of pieces) await stream.write(piece);
      assert.equal(await readText(stream, 5), "hello");
      const client = await rig.expectClient();
      assert.deepEqual([client.remoteAddress, client.isLoopback], [remoteAddress, isLoopback]);
      stream.close();
      await rig.left.next("the client to leave");
    }
    assert.equal(rig.listener.connections, 0);
  });
}

Deno.test("plain listener: a connection without its PROXY header is closed, counted and logged", async () => {
  await using rig = await ListenerRig.open({ proxyProtocol: true });
  for (const bytes of [Uint8Array.of(0x10, 0x0c, 0, 4, 0x4d), ascii("PROXY TCP4 x\r\n"), ascii("PROXY TCP4 1.2")]) {
    const stream = await openStream(rig);
    await stream.write(bytes);
    await stream.closeWrite();
    assert.equal(await within(stream.read(), "the end"), undefined);
    stream.close();
    const { level, fields } = await rig.expectLine("connection refused");
    assert.equal(level, "warn");
    assert.deepEqual([fields["reason"], fields["remoteAddress"], fields["listener"]], [
      "proxy_header",
      "127.0.0.1",
      "door",
    ]);
  }
  assert.deepEqual(rig.counters.connectsRefused.entries(), [["proxy_header", 3]]);
});

Deno.test("plain listener: a PROXY header of a stranger is not read", async () => {
  await using rig = await ListenerRig.open({ proxyProtocol: true }, { trustedProxies: "192.0.2.0/24" });
  const stream = await openStream(rig);
  await stream.write(ascii("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n")).catch(() => {});
  assert.equal(await within(stream.read(), "the end"), undefined);
  stream.close();
  await rig.expectLine("connection refused");
  assert.deepEqual(rig.counters.connectsRefused.entries(), [["proxy_untrusted", 1]]);
});

Deno.test("plain listener: a PROXY header that does not come is given up after read-timeout", async () => {
  await using rig = await ListenerRig.open({ proxyProtocol: true }, { readTimeoutMs: 200 });
  const stream = await openStream(rig);
  await stream.write(ascii("PROXY TC"));
  assert.equal(await within(stream.read(), "the end"), undefined);
  stream.close();
  assert.equal((await rig.expectLine("connection refused")).fields["detail"], "no header in time");
});

for (
  const [what, entry] of [
    ["that wait for a PROXY header", { proxyProtocol: true }],
    ["that wait for the request of a WebSocket", { type: "ws" }],
    ["without a CONNECT", {}],
  ] as const
) {
  Deno.test(`plain listener: of sockets ${what} there are so many and no more`, async () => {
    await using rig = await ListenerRig.open(entry, { connectionsMax: 1 });
    const waiting = await Promise.all(Array.from({ length: 3 }, () => Deno.connect(rig.endpoint)));
    const late = await openStream(rig);
    assert.equal(await within(late.read(), "the end of the late one"), undefined);
    late.close();
    assert.equal((await rig.expectLine("connection refused")).fields["reason"], "too_many_connections");
    assert.deepEqual(rig.counters.connectsRefused.entries(), [["too_many_connections", 1]]);
    for (const socket of waiting) socket.close();
  });
}

Deno.test("plain listener: limits per address are asked with the address in the header", async () => {
  await using rig = await ListenerRig.open({ proxyProtocol: true }, { connectionsPerAddress: 1 });
  const streams: ByteStream[] = [];
  for (const address of ["203.0.113.7", "203.0.113.8"]) {
    const stream = await openStream(rig);
    streams.push(stream);
    await stream.write(ascii(`PROXY TCP4 ${address} 192.0.2.1 1 2\r\nhello`));
    assert.equal(await readText(stream, 5), "hello");
  }
  const second = await openStream(rig);
  await second.write(ascii("PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\nhello"));
  assert.equal(await within(second.read(), "the end"), undefined);
  const { fields } = await rig.expectLine("connection refused");
  assert.deepEqual([fields["reason"], fields["remoteAddress"]], ["address_connections", "203.0.113.7"]);
  for (const stream of [...streams, second]) stream.close();
});

Deno.test("plain listener: a listener takes its most connections, and another one when one has left", async () => {
  await using rig = await ListenerRig.open({ maxConnections: 1 });
  const first = await openStream(rig);
  await first.write(ascii("hello"));
  assert.equal(await readText(first, 5), "hello");
  const second = await openStream(rig);
  assert.equal(await within(second.read(), "the end of the second"), undefined);
  assert.equal((await rig.expectLine("connection refused")).fields["reason"], "listener_full");
  first.close();
  await rig.left.next("the first to leave");
  const third = await openStream(rig);
  await third.write(ascii("again"));
  assert.equal(await readText(third, 5), "again");
  for (const stream of [second, third]) stream.close();
});

Deno.test("plain listener: connections above the connect rate wait and are all served", async () => {
  await using rig = await ListenerRig.open({ connectRate: 50 });
  const streams = await Promise.all(Array.from({ length: 60 }, () => openStream(rig)));
  for (const stream of streams) {
    await stream.write(ascii("hello"));
    assert.equal(await readText(stream, 5), "hello");
    stream.close();
  }
  assert.equal(rig.counters.connectsRefused.total(), 0);
});

testWithTools("plain listener: clients that are reset before they are accepted are no error", [PYTHON], async () => {
  await using rig = await ListenerRig.open();
  resetPeers(rig.endpoint, 300);
  const stream = await openStream(rig);
  await stream.write(ascii("hello"));
  assert.equal(await readText(stream, 5), "hello");
  stream.close();
  rig.lines.end();
  assert.equal(await rig.lines.next("no line"), undefined);
});

Deno.test("plain listener: accepting pauses for what the machine lacks, and not for a client that is gone", async () => {
  const gone = [
    new Deno.errors.NotConnected("Transport endpoint is not connected (os error 107)"),
    new Deno.errors.ConnectionAborted("Software caused connection abort (os error 103)"),
    new Deno.errors.ConnectionReset("Connection reset by peer (os error 104)"),
    Object.assign(new Error("No route to host (os error 113)"), { code: "EHOSTUNREACH" }),
  ];
  const lacking = [
    ...["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS"].map((code) => Object.assign(new Error(code), { code })),
    new Error("nobody knows"),
  ];
  const failures = [...gone, ...lacking, ...gone, new Deno.errors.BadResource("closed")];
  const pauses: number[] = [];
  const levels: string[] = [];
  await acceptAll(
    { accept: () => Promise.reject(failures.shift()) },
    {} as Listener,
    { core: { log: { limited: (_key: string, level: string) => levels.push(level) } } } as unknown as Entrance,
    (delayMs) => {
      pauses.push(failures.length);
      return Promise.resolve(void assert.ok(delayMs > 0));
    },
  );
  assert.deepEqual(failures, []);
  assert.deepEqual(pauses, [9, 8, 7, 6, 5]);
  assert.deepEqual(levels.filter((level) => level !== "debug"), lacking.map(() => "error"));
});

Deno.test("plain listener: what our own code throws for an accepted socket is a bug", async () => {
  const bug = new TypeError("a bug of ours");
  const listener: Pick<Listener, "connectWaitMs"> = {
    connectWaitMs() {
      throw bug;
    },
  };
  const accept = () => Promise.resolve({} as Deno.TcpConn);
  await assert.rejects(acceptAll({ accept }, listener as Listener, { core: { clock: () => 0 } } as Entrance), bug);
});

for (
  const [what, headers, trustedProxies, remoteAddress, isLoopback] of [
    ["no forwarding", {}, "127.0.0.0/8", "127.0.0.1", true],
    [
      "X-Forwarded-For of a trusted proxy",
      { "X-Forwarded-For": "127.0.0.1, 203.0.113.7" },
      "127.0.0.0/8",
      "203.0.113.7",
      false,
    ],
    ["X-Forwarded-For with this host in it", { "X-Forwarded-For": "127.0.0.1" }, "127.0.0.0/8", "127.0.0.1", false],
    ["X-Forwarded-For of a stranger", { "X-Forwarded-For": "203.0.113.7" }, "192.0.2.0/24", "127.0.0.1", false],
    ["a malformed X-Forwarded-For", { "X-Forwarded-For": "unknown" }, "127.0.0.0/8", "127.0.0.1", false],
    ["Forwarded", { "Forwarded": "for=203.0.113.7" }, "127.0.0.0/8", "127.0.0.1", false],
    ["X-Real-IP", { "X-Real-IP": "203.0.113.7" }, "127.0.0.0/8", "127.0.0.1", false],
    ["a page of another site", { "Origin": "https://elsewhere.example" }, "127.0.0.0/8", "127.0.0.1", false],
  ] as const
) {
  Deno.test(`plain listener: a WebSocket with ${what} comes from ${remoteAddress}`, async () => {
    await using rig = await ListenerRig.open({ type: "ws" }, { trustedProxies });
    const { client, answer } = await WsClient.open(rig.endpoint, { headers });
    await using _ = client;
    assert.equal(answer.status, 101);
    const incoming = await rig.expectClient();
    assert.deepEqual([incoming.remoteAddress, incoming.isLoopback], [remoteAddress, isLoopback]);
  });
}

Deno.test("plain listener: limits per address are asked again with the forwarded address, and answered with 403", async () => {
  await using rig = await ListenerRig.open({ type: "ws" }, { connectionsPerAddress: 1 });
  const opened = [];
  for (const [address, status] of [["203.0.113.7", 101], ["203.0.113.8", 101], ["203.0.113.7", 403]] as const) {
    const { client, answer } = await WsClient.open(rig.endpoint, { headers: { "X-Forwarded-For": address } });
    assert.equal(answer.status, status, address);
    opened.push(client);
  }
  assert.equal((await rig.expectLine("connection refused")).fields["remoteAddress"], "203.0.113.7");
  for (const client of opened) {
    await client.close();
    await rig.left.next("a client to leave");
  }
  assert.equal(rig.listener.connections, 0);
  const { client, answer } = await WsClient.open(rig.endpoint, { headers: { "X-Forwarded-For": "203.0.113.7" } });
  await using _ = client;
  assert.equal(answer.status, 101);
});

Deno.test("plain listener: a Unix socket is its owner's alone, and its clients are on this host", async () => {
  await using directory = await temporary();
  const path = `${directory.path}/door.sock`;
  {
    await using rig = await ListenerRig.open({ type: "unix", bind: undefined, socketPath: path });
    assert.equal(rig.address, path);
    assert.equal((await Deno.lstat(path)).mode! & 0o777, 0o600);
    const stream = await openUnix(path);
    await stream.write(ascii("hello"));
    assert.equal(await readText(stream, 5), "hello");
    const incoming = await rig.expectClient();
    assert.deepEqual([incoming.remoteAddress, incoming.isLoopback], ["local", true]);
    stream.close();
  }
  await assert.rejects(() => Deno.lstat(path), Deno.errors.NotFound);
});

Deno.test("plain listener: the socket of a process that is gone is replaced, anything else is left alone", async () => {
  await using directory = await temporary();
  const path = `${directory.path}/door.sock`;
  const entry = { type: "unix", bind: undefined, socketPath: path } as const;
  // Closing removes the file of its own name, so what is left is as after a crash.
  const crashed = Deno.listen({ transport: "unix", path: `${path}.first` });
  await Deno.link(`${path}.first`, path);
  crashed.close();
  assert.equal((await Deno.lstat(path)).isSocket, true);
  {
    await using _ = await ListenerRig.open(entry);
    await assert.rejects(() => ListenerRig.open(entry), (error: Error) => {
      assert.match(error.message, /another process listens on it/);
      return Runtime.getErrorExitCode(error) === 69;
    });
    (await Deno.connect({ transport: "unix", path })).close();
  }
  await Deno.writeTextFile(path, "precious");
  await assert.rejects(() => ListenerRig.open(entry), /is there and is not a socket/);
  assert.equal(await Deno.readTextFile(path), "precious");
  await Deno.remove(path);
  await Deno.symlink("/nonexistent", path);
  await assert.rejects(() => ListenerRig.open(entry), /is not a socket/);
  await assert.rejects(
    () => ListenerRig.open({ ...entry, socketPath: `${directory.path}/none/door.sock` }),
    /Cannot listen/,
  );
});

async function openStream(rig: ListenerRig): Promise<ByteStream> {
  const socket = await Deno.connect(rig.endpoint);
  socket.setNoDelay(true);
  return tcpStream(socket);
}

async function openUnix(path: string): Promise<ByteStream> {
  return tcpStream(await Deno.connect({ transport: "unix", path }));
}

async function readText(stream: ByteStream, length: number): Promise<string> {
  let text = "";
  while (text.length < length) {
    const chunk = await within(stream.read(), "bytes");
    assert.ok(chunk, `the connection ended after "${text}"`);
    text += new TextDecoder().decode(chunk);
  }
  return text;
}

function singly(bytes: Uint8Array): Uint8Array[] {
  return Array.from(bytes, (byte) => Uint8Array.of(byte));
}

async function temporary(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "promptmq_unix_" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}
