/**
 * A WebSocket over a socket in memory: what is written in which order, and how it ends.
 */
import assert from "node:assert/strict";
import { WebSocketByteSocket } from "../../../src/listeners/transport/websocket.ts";
import { concatBytes, fromHex, toHex } from "../../support/wire_bytes.ts";
import { Opcode } from "../../support/ws_client.ts";
import { ascii, binary, close, frame, requestHead } from "./client_frames.ts";
import { MemorySocket } from "./memory_socket.ts";

const MQTT = ascii("0123456789abcdef");
const LONG = Uint8Array.from({ length: 200_000 }, (_, index) => (index * 7) & 255);
const PING = frame(Opcode.PING, ascii("p"));
const PONG = "8a0170";
const CLOSE_NORMAL = "880203e8";

Deno.test("a write leaves as one binary frame with one system call", async () => {
  const { socket, webSocket } = await openUpgraded();
  for (const [size, header] of [[1, "8201"], [125, "827d"], [126, "827e007e"], [60_000, "827eea60"]] as const) {
    const before = socket.writes;
    assert.equal(await webSocket.write(LONG.subarray(0, size)), size);
    assert.equal(socket.writes, before + 1);
    assert.deepEqual(socket.takeOutput(), concatBytes(fromHex(header), LONG.subarray(0, size)));
  }
});

Deno.test("a write is one frame in whatever parts the socket takes it", async () => {
  for (const writeBytesMax of [1, 3, 11, 1_000, 65_536, Infinity]) {
    const { socket, webSocket } = await openUpgraded();
    socket.writeBytesMax = writeBytesMax;
    const payload = LONG.subarray(0, writeBytesMax < 1_000 ? 300 : LONG.length);
    await writeAll(webSocket, payload);
    await writeAll(webSocket, MQTT);
    const header = payload.length === 300 ? "827e012c" : "827f0000000000030d40";
    assert.deepEqual(socket.takeOutput(), concatBytes(fromHex(header), payload, fromHex("8210"), MQTT));
  }
});

Deno.test("bytes that were written are not touched, and may change as soon as the write is done", async () => {
  const { socket, webSocket } = await openUpgraded();
  const storage = MQTT.slice();
  await webSocket.write(storage);
  assert.deepEqual(storage, MQTT);
  storage.fill(0);
  await webSocket.write(storage);
  assert.equal(toHex(socket.takeOutput()), `8210${toHex(MQTT)}8210${"00".repeat(16)}`);
});

Deno.test("two WebSockets that write at once do not mix their frames", async () => {
  const first = await openUpgraded();
  const second = await openUpgraded();
  first.socket.hold();
  const writing = first.webSocket.write(MQTT);
  await second.webSocket.write(LONG.subarray(0, 100));
  first.socket.release();
  await writing;
  assert.equal(toHex(first.socket.takeOutput()), `8210${toHex(MQTT)}`);
  assert.equal(toHex(second.socket.takeOutput()), `8264${toHex(LONG.subarray(0, 100))}`);
});

Deno.test("a Ping is answered although no MQTT bytes come", async () => {
  const { socket, webSocket } = await openUpgraded();
  socket.receive(PING, binary(MQTT));
  assert.equal(await webSocket.read(new Uint8Array(512)), MQTT.length);
  assert.equal(toHex(socket.takeOutput()), PONG);
});

Deno.test("a Pong waits for the end of the frame under way", async () => {
  const { socket, webSocket } = await openUpgraded();
  socket.writeBytesMax = 10;
  const written = await webSocket.write(MQTT);
  socket.receive(PING, binary(MQTT));
  await webSocket.read(new Uint8Array(512));
  assert.equal(toHex(socket.takeOutput()), `8210${toHex(MQTT.subarray(0, written))}`);
  await webSocket.write(MQTT.subarray(written));
  assert.equal(toHex(socket.takeOutput()), `${toHex(MQTT.subarray(written))}${PONG}`);
});

Deno.test("a write waits for the Pong under way", async () => {
  const { socket, webSocket } = await openUpgraded();
  socket.writeBytesMax = 2;
  socket.hold();
  socket.receive(PING, binary(MQTT));
  await webSocket.read(new Uint8Array(512));
  const writing = writeAll(webSocket, MQTT.subarray(0, 4));
  socket.release();
  await writing;
  assert.equal(toHex(socket.takeOutput()), `${PONG}8204${toHex(MQTT.subarray(0, 4))}`);
});

Deno.test("of many Pings while nothing can be written, the first under way and the newest are answered", async () => {
  const { socket, webSocket } = await openUpgraded();
  socket.hold();
  for (let number = 0; number < 1_000; number++) {
    socket.receive(frame(Opcode.PING, ascii(String(number).padStart(3, "0"))), binary(Uint8Array.of(1)));
  }
  for (let number = 0; number < 1_000; number++) await webSocket.read(new Uint8Array(512));
  socket.release();
  await webSocket.write(MQTT);
  assert.equal(toHex(socket.takeOutput()), `8a03${toHex(ascii("000"))}8a03${toHex(ascii("999"))}8210${toHex(MQTT)}`);
});

Deno.test("a Pong that cannot be written leaves the end to reader and writer", async () => {
  const { socket, webSocket } = await openUpgraded();
  socket.hold();
  socket.receive(PING, binary(MQTT));
  await webSocket.read(new Uint8Array(512));
  socket.isWriteClosed = true;
  socket.receive(PING, binary(MQTT));
  socket.release();
  assert.equal(await webSocket.read(new Uint8Array(512)), MQTT.length);
  await assert.rejects(() => webSocket.write(MQTT), Deno.errors.BrokenPipe);
});

Deno.test("closeWrite says Close 1000 and ends our side; the Close of the peer then ends it all", async () => {
  const { socket, webSocket } = await openUpgraded();
  await webSocket.closeWrite();
  assert.equal(toHex(socket.takeOutput()), CLOSE_NORMAL);
  assert.equal(socket.isWriteClosed, true);
  socket.receive(PING, close(1000));
  assert.equal(await webSocket.read(new Uint8Array(512)), null);
  await webSocket.farewell();
  assert.equal(toHex(socket.takeOutput()), "", "nothing follows Close, not even a Pong");
});

Deno.test("the Close of the peer while ours is under way does not cut ours short", async () => {
  const { socket, webSocket } = await openUpgraded();
  socket.hold();
  const closing = webSocket.closeWrite();
  socket.receive(close(1000));
  assert.equal(await webSocket.read(new Uint8Array(512)), null);
  const ended = webSocket.farewell();
  assert.equal(socket.isWriteClosed, false);
  socket.release();
  await Promise.all([closing, ended]);
  assert.equal(toHex(socket.takeOutput()), CLOSE_NORMAL);
});

Deno.test("farewell answers the Close of the peer with its code, once", async () => {
  const { socket, webSocket } = await openUpgraded();
  socket.receive(concatBytes(binary(MQTT), close(1001)));
  assert.equal(await webSocket.read(new Uint8Array(512)), MQTT.length);
  assert.equal(await webSocket.read(new Uint8Array(512)), null);
  await webSocket.farewell();
  assert.equal(toHex(socket.takeOutput()), "880203e9");
});

Deno.test("farewell says what the fault was, and reads on until the peer ends", async () => {
  const { socket, webSocket } = await openUpgraded();
  socket.receive(frame(Opcode.TEXT, MQTT), LONG);
  assert.equal(await webSocket.read(new Uint8Array(512)), null);
  socket.end();
  await webSocket.farewell();
  assert.equal(toHex(socket.takeOutput()), "880203eb");
  assert.equal(await socket.read(new Uint8Array(1)), null, "all was read");
});

Deno.test("farewell of a mute peer is ended by close", async () => {
  const { socket, webSocket } = await openUpgraded();
  socket.receive(frame(Opcode.TEXT, MQTT));
  await webSocket.read(new Uint8Array(512));
  const ended = assert.rejects(() => webSocket.farewell(), Deno.errors.BadResource);
  webSocket.close();
  await ended;
});

Deno.test("a peer that ends without Close is told Close 1000", async () => {
  const { socket, webSocket } = await openUpgraded();
  socket.end();
  assert.equal(await webSocket.read(new Uint8Array(512)), null);
  await webSocket.farewell();
  assert.equal(toHex(socket.takeOutput()), CLOSE_NORMAL);
});

Deno.test("closeWrite before the handshake is answered says nothing", async () => {
  const { socket, webSocket } = open();
  await webSocket.closeWrite();
  assert.equal(socket.takeOutput().length, 0);
  assert.equal(socket.isWriteClosed, true);
});

Deno.test("a read that filled the buffer says so, although headers were taken out of it", async () => {
  const { socket, webSocket } = await openUpgraded();
  socket.receive(binary(LONG.subarray(0, 200)));
  assert.equal(await webSocket.read(new Uint8Array(100)), 100 - 8);
  assert.equal(webSocket.wasFilled, true);
  assert.equal(await webSocket.read(new Uint8Array(200)), 108);
  assert.equal(webSocket.wasFilled, false);
});

function open() {
  const socket = new MemorySocket();
  return { socket, webSocket: new WebSocketByteSocket(socket, "/mqtt", () => true) };
}

/** A WebSocket after its handshake, of which nothing is left to see. */
async function openUpgraded() {
  const opened = open();
  opened.socket.receive(concatBytes(ascii(requestHead()), binary(MQTT)));
  assert.equal(await opened.webSocket.read(new Uint8Array(512)), MQTT.length);
  opened.socket.takeOutput();
  return opened;
}

async function writeAll(webSocket: WebSocketByteSocket, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) written += await webSocket.write(bytes.subarray(written));
}
