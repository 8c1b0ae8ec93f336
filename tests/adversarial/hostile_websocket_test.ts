/**
 * WebSocket peers that mean harm: each is answered or cut, memory stays within the stated bound, and an honest QoS 1
 * flow beside them is complete and in order.
 */
import assert from "node:assert/strict";
import { ascii, binary, close, frame, requestHead } from "../listeners/transport/client_frames.ts";
import { Broker } from "../support/broker.ts";
import { within } from "../support/event_queue.ts";
import { type ByteStream, type Endpoint, isDisconnect, RawClient, tcpStream } from "../support/raw_client.ts";
import { concatBytes, toHex } from "../support/wire_bytes.ts";
import { encodeWire } from "../support/wire_packets.ts";
import { Opcode } from "../support/ws_client.ts";
import { HonestFlow } from "./honest_flow.ts";

const MEBIBYTE = 1024 * 1024;
const CONNECTIONS = 5;
const MEBIBYTES_EACH = 60;
/** Half of them Pings: 750 000 frames in all. */
const MEBIBYTES_OF_SMALL_FRAMES_EACH = 10;
const GROWTH_BYTES_MAX = 100 * MEBIBYTE;
const NOTHING = new Uint8Array(0);
const HEAD = ascii(requestHead());
const CONNECT = encodeWire("connect", { clientId: "ws" }, 5);
const BINARY_FRAME_OF_CONNACK = /82..20..0000/;

const MALFORMED: readonly (readonly [what: string, bytes: Uint8Array, closeCode: number])[] = [
  ["a text frame", frame(Opcode.TEXT, CONNECT), 1003],
  ["a frame that is not masked", binary(CONNECT, { key: undefined }), 1002],
  ["a reserved bit", binary(CONNECT, { reserved: 0x40 }), 1002],
  ["a reserved opcode", frame(3, CONNECT), 1002],
  ["a reserved control opcode", frame(11, NOTHING), 1002],
  ["a continuation of nothing", frame(Opcode.CONTINUATION, CONNECT), 1002],
  ["a message within a message", concatBytes(binary(NOTHING, { isFinal: false }), binary(NOTHING)), 1002],
  ["a Ping of 126 bytes", frame(Opcode.PING, new Uint8Array(126)), 1002],
  ["a fragmented Close", frame(Opcode.CLOSE, NOTHING, { isFinal: false }), 1002],
  ["a Close of one byte", frame(Opcode.CLOSE, Uint8Array.of(3)), 1002],
  ["a Close with code 1005", close(1005), 1002],
  ["a Close with a text that is no UTF-8", close(1000, Uint8Array.of(0xff)), 1007],
  ["a length of 2^63", Uint8Array.of(0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0), 1002],
];

Deno.test("hostile: malformed frames are answered with the code of their fault", async () => {
  await using broker = await Broker.start();
  await using flow = await HonestFlow.start(broker.tcp);
  for (const [what, bytes, closeCode] of MALFORMED) {
    const stream = await openStream(broker.ws);
    // The garbage after it has to be read too, or the answer would be lost.
    await sendAll(stream, [concatBytes(HEAD, binary(CONNECT), bytes), new Uint8Array(100_000)]);
    const answer = await within(readToEnd(stream), `the end after ${what}`);
    assert.match(answer, BINARY_FRAME_OF_CONNACK, what);
    assert.ok(answer.endsWith(`8802${closeCode.toString(16).padStart(4, "0")}`), `${what}: ${answer}`);
    stream.close();
  }
  const { acknowledged, delivered } = await flow.finish();
  assert.equal(delivered, acknowledged);
});

Deno.test("hostile: a message without end before CONNECT costs no memory and is cut", async () => {
  await using broker = await Broker.start();
  const growth = await growthBeside(broker, async () => {
    const fragment = frame(Opcode.CONTINUATION, new Uint8Array(MEBIBYTE), { isFinal: false });
    await inParallel(CONNECTIONS, async () => {
      const stream = await openStream(broker.ws);
      await sendAll(stream, [HEAD, binary(NOTHING, { isFinal: false }), ...times(MEBIBYTES_EACH, fragment)]);
      await within(readToEnd(stream), "the end of a message that is no MQTT");
      stream.close();
    });
  });
  assert.ok(growth < GROWTH_BYTES_MAX, `memory grew by ${Math.round(growth / MEBIBYTE)} MiB`);
});

Deno.test("hostile: empty fragments and Pings by the hundred thousand cost no memory, and a CONNECT after them counts", async () => {
  await using broker = await Broker.start({ flags: ["--read-timeout", "120s"] });
  const growth = await growthBeside(broker, async () => {
    const empty = frame(Opcode.CONTINUATION, NOTHING, { isFinal: false });
    const ping = frame(Opcode.PING, new Uint8Array(125));
    const pair = concatBytes(empty, ping);
    const block = concatBytes(...times(Math.floor(MEBIBYTE / pair.length), pair));
    await inParallel(CONNECTIONS, async (index) => {
      const stream = await openStream(broker.ws);
      const connect = encodeWire("connect", { clientId: `patient${index}` }, 5);
      await sendAll(stream, [
        HEAD,
        binary(NOTHING, { isFinal: false }),
        ...times(MEBIBYTES_OF_SMALL_FRAMES_EACH, block),
      ]);
      await sendAll(stream, [frame(Opcode.CONTINUATION, connect), close(1000)]);
      assert.match(await within(readToEnd(stream), "the answers"), BINARY_FRAME_OF_CONNACK);
      stream.close();
    });
  });
  assert.ok(growth < GROWTH_BYTES_MAX, `memory grew by ${Math.round(growth / MEBIBYTE)} MiB`);
});

Deno.test("hostile: two hundred WebSocket handshakes and CONNECTs that trickle are closed after read-timeout", async () => {
  await using broker = await Broker.start({ flags: ["--read-timeout", "500ms"] });
  await using flow = await HonestFlow.start(broker.tcp);
  const streams = await Promise.all(times(200, 0).map(() => openStream(broker.ws)));
  for (let round = 0; round < 3; round += 1) {
    for (const [index, stream] of streams.entries()) {
      const bytes = index % 2 === 0 ? HEAD.subarray(round, round + 1) : roundOfConnect(round);
      await sendAll(stream, [bytes]);
    }
  }
  for (const [index, stream] of streams.entries()) {
    const answer = await within(readToEnd(stream), "the end of a slow handshake");
    assert.ok(index % 2 === 0 ? answer === "" : answer.endsWith("880203e8"), answer);
    stream.close();
  }
  const { acknowledged, delivered } = await flow.finish();
  assert.equal(delivered, acknowledged);
});

Deno.test("hostile: handshakes that were not finished take no place of a client", async () => {
  await using broker = await Broker.start({ flags: ["--max-connections", "3"] });
  const streams = await Promise.all(times(3, 0).map(() => openStream(broker.ws)));
  await sendAll(streams[1]!, [HEAD.subarray(0, 40)]);
  // They are accepted in their order: once the last one is answered, the broker holds all three.
  const last = streams[2]!;
  await sendAll(last, [HEAD, frame(Opcode.PING, NOTHING)]);
  await within(readUntil(last, "8a00"), "a Pong");
  await using client = await RawClient.connect(broker.tcp, { clientId: "late" });
  await client.expectQuiet();
  for (const stream of streams) stream.close();
});

Deno.test("hostile: a peer that answers nothing, not even Close, is cut", async () => {
  await using broker = await Broker.start();
  const stream = await openStream(broker.ws);
  await sendAll(stream, [HEAD, binary(encodeWire("connect", { clientId: "contested" }, 5))]);
  await within(readUntil(stream, "20"), "CONNACK");
  await using _ = await RawClient.connect(broker.tcp, { clientId: "contested" });
  assert.match(await within(readToEnd(stream), "our side to end"), /e0..8e.*880203e8$/);
  // The other side stays open and busy, as far as the peer is concerned.
  await within(writeUntilCut(stream), "the broker to cut");
  stream.close();
});

Deno.test("hostile: a stop of the broker does not wait for a peer that answers nothing", async () => {
  await using broker = await Broker.start();
  const stream = await openStream(broker.ws);
  await sendAll(stream, [HEAD, binary(CONNECT)]);
  await within(readUntil(stream, "20"), "CONNACK");
  const half = await openStream(broker.ws);
  await sendAll(half, [HEAD.subarray(0, 40)]);
  const { code, log } = await broker.stop();
  assert.equal(code, 0);
  assert.equal(log.some(({ msg }) => msg === "connections cut at shutdown"), false);
  stream.close();
  half.close();
});

/** Plays `attack` beside an honest flow; returns by how many bytes the broker grew. */
async function growthBeside(broker: Broker, attack: () => Promise<void>): Promise<number> {
  const before = await broker.rssBytes();
  await using flow = await HonestFlow.start(broker.tcp);
  await attack();
  const after = await broker.rssBytes();
  const { acknowledged, delivered } = await flow.finish();
  assert.equal(delivered, acknowledged);
  return before === undefined || after === undefined ? 0 : after - before;
}

async function openStream(endpoint: Endpoint): Promise<ByteStream> {
  return tcpStream(await Deno.connect(endpoint));
}

/** Writes all pieces; a peer that closes before it has them all is an answer. */
async function sendAll(stream: ByteStream, pieces: readonly Uint8Array[]): Promise<void> {
  try {
    for (const piece of pieces) await stream.write(piece);
  } catch (error) {
    if (!isDisconnect(error)) throw error;
  }
}

async function writeUntilCut(stream: ByteStream): Promise<void> {
  const block = frame(Opcode.PONG, NOTHING);
  await assert.rejects(async () => {
    for (;;) await stream.write(block);
  }, isDisconnect);
}

/** All bytes up to the end, in hexadecimal. */
async function readToEnd(stream: ByteStream): Promise<string> {
  const chunks: Uint8Array[] = [];
  for (let chunk = await stream.read(); chunk !== undefined; chunk = await stream.read()) chunks.push(chunk);
  return withoutHead(concatBytes(...chunks));
}

/** Reads until the bytes after the HTTP answer contain these, in hexadecimal. */
async function readUntil(stream: ByteStream, hex: string): Promise<void> {
  let received: Uint8Array = NOTHING;
  while (!withoutHead(received).includes(hex)) {
    const chunk = await stream.read();
    assert.ok(chunk !== undefined, `the connection ended before ${hex}`);
    received = concatBytes(received, chunk);
  }
}

/** Bytes in hexadecimal, without the HTTP answer where they begin with it. */
function withoutHead(bytes: Uint8Array): string {
  const hex = toHex(bytes);
  if (!hex.startsWith(toHex(ascii("HTTP")))) return hex;
  const end = hex.indexOf("0d0a0d0a");
  return end === -1 ? "" : hex.slice(end + 8);
}

function roundOfConnect(round: number): Uint8Array {
  return round === 0 ? HEAD : binary(CONNECT.subarray(round - 1, round));
}

async function inParallel(count: number, work: (index: number) => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, index) => work(index)));
}

function times<T>(count: number, item: T): T[] {
  return Array.from({ length: count }, () => item);
}
