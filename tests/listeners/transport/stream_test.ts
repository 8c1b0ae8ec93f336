/**
 * The read loop over a socket that fails: whatever the system says ends this connection, and only what our own code throws
 * is a bug.
 */
import assert from "node:assert/strict";
import type { Connection } from "../../../src/listeners/transport/connection.ts";
import { ReadBufferPool } from "../../../src/listeners/transport/read_buffers.ts";
import { type ByteSocket, StreamTransport } from "../../../src/listeners/transport/stream.ts";
import { WebSocketByteSocket } from "../../../src/listeners/transport/websocket.ts";
import { Counters } from "../../../src/metrics/counters.ts";
import { within } from "../../support/event_queue.ts";
import { ascii, binary, requestHead } from "./client_frames.ts";
import { MemorySocket } from "./memory_socket.ts";

/** As the runtime reports an error of the system for which it has no class. */
const NO_ROUTE = Object.assign(new Error("No route to host (os error 113)"), { code: "EHOSTUNREACH" });
const BUG = new TypeError("a bug of ours");

/** What the transport asks of a connection. */
class StubConnection {
  readonly isPaused = false;
  timesClosed = 0;
  received = 0;
  onReceive = (): void => {};

  receive(_bytes: Uint8Array, _start: number, end: number): number {
    this.onReceive();
    this.received += end;
    return end;
  }

  receiveEnded(): void {}
  wrote(): void {}
  written(): void {}

  closed(): void {
    this.timesClosed++;
  }
}

function attach(socket: ByteSocket): { readonly transport: StreamTransport; readonly connection: StubConnection } {
  const transport = new StreamTransport(socket, new Counters(), () => 0, new ReadBufferPool(512));
  const connection = new StubConnection();
  // The parts of a connection that the transport knows.
  transport.attach(connection as unknown as Connection);
  return { transport, connection };
}

Deno.test("stream: a read that fails in whatever way ends the connection and nothing else", async () => {
  for (const failure of [NO_ROUTE, new Deno.errors.TimedOut("os error 110"), new Error("nobody knows"), "no error"]) {
    const socket = new MemorySocket();
    socket.receive(ascii("ab"));
    const { transport, connection } = attach(socket);
    connection.onReceive = () => socket.fail(failure);
    await within(transport.serve(), "the end of the connection");
    assert.deepEqual([connection.received, connection.timesClosed, socket.isClosed], [2, 1, true]);
  }
});

Deno.test("stream: a write that fails in whatever way ends the connection and nothing else", async () => {
  const socket = new MemorySocket();
  const { transport, connection } = attach(socket);
  const served = transport.serve();
  socket.write = () => Promise.reject(NO_ROUTE);
  transport.write(ascii("ab"), 2);
  await within(served, "the end of the connection");
  assert.deepEqual([connection.timesClosed, socket.isClosed], [1, true]);
});

Deno.test("stream: an end that cannot be told ends the connection and nothing else", async () => {
  const half = new MemorySocket();
  const first = attach(half);
  const served = first.transport.serve();
  half.closeWrite = () => Promise.reject(NO_ROUTE);
  first.transport.finish();
  await within(served, "the end of the connection");
  assert.deepEqual([first.connection.timesClosed, half.isClosed], [1, true]);

  const whole = Object.assign(new MemorySocket(), { farewell: () => Promise.reject(NO_ROUTE) });
  whole.end();
  const last = attach(whole);
  last.connection.receiveEnded = () => last.transport.finish();
  await within(last.transport.serve(), "the end of the connection");
  assert.deepEqual([last.connection.timesClosed, whole.isClosed], [1, true]);
});

Deno.test("stream: what the connection throws is a bug, of whatever class it is", async () => {
  for (const bug of [BUG, new Deno.errors.NotFound("not of this socket")]) {
    const socket = new MemorySocket();
    socket.receive(ascii("ab"));
    const { transport, connection } = attach(socket);
    connection.onReceive = () => {
      throw bug;
    };
    await assert.rejects(within(transport.serve(), "the bug"), bug);
    assert.deepEqual([connection.timesClosed, socket.isClosed], [1, true]);
  }
});

Deno.test("stream: below a WebSocket a failed socket is the peer's, and what the WebSocket throws is a bug", async () => {
  const broken = new MemorySocket();
  broken.receive(ascii(requestHead()), binary(ascii("ab")));
  const first = attach(new WebSocketByteSocket(broken, "/mqtt", () => true));
  first.connection.onReceive = () => broken.fail(NO_ROUTE);
  await within(first.transport.serve(), "the end of the connection");
  assert.deepEqual([first.connection.received, first.connection.timesClosed], [2, 1]);

  const socket = new MemorySocket();
  socket.receive(ascii(requestHead()));
  const second = attach(
    new WebSocketByteSocket(socket, "/mqtt", () => {
      throw BUG;
    }),
  );
  await assert.rejects(within(second.transport.serve(), "the bug"), BUG);
  assert.deepEqual([second.connection.timesClosed, socket.isClosed], [1, true]);
});
