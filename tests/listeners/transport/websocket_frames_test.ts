/**
 * The reader of WebSocket frames: tables of bytes and what comes out, each also fed one byte at a time and cut at every
 * place, and random frames against the plain definition of masking.
 */
import fc from "fast-check";
import assert from "node:assert/strict";
import { encodeClose, FrameReader, writeBinaryHeader } from "../../../src/listeners/transport/websocket_frames.ts";
import { concatBytes, fromHex, toHex } from "../../support/wire_bytes.ts";
import { Opcode } from "../../support/ws_client.ts";
import { ascii, binary, close, frame, singly } from "./client_frames.ts";

/** What a reader made of some bytes. */
interface Outcome {
  readonly mqtt: string;
  readonly closeCode: number;
  readonly pong: string | undefined;
}

const MQTT = ascii("0123456789abcdef");
const LONG = Uint8Array.from({ length: 70_000 }, (_, index) => (index * 7) & 255);
const NOTHING = new Uint8Array(0);
const goesOn = (mqtt: Uint8Array, pong?: string): Outcome => ({ mqtt: toHex(mqtt), closeCode: 0, pong });
const ends = (closeCode: number, mqtt: Uint8Array = NOTHING, pong?: string): Outcome => ({
  mqtt: toHex(mqtt),
  closeCode,
  pong,
});

const FRAMES: readonly (readonly [what: string, bytes: Uint8Array, outcome: Outcome])[] = [
  ["the example of the source file", fromHex("82820102 0304 c102"), goesOn(fromHex("c000"))],
  ["a masked text of RFC 6455, 5.7, sent as binary", fromHex("828537fa213d7f9f4d5158"), goesOn(ascii("Hello"))],
  ["an empty frame", binary(NOTHING), goesOn(NOTHING)],
  ["two frames", concatBytes(binary(MQTT), binary(MQTT)), goesOn(concatBytes(MQTT, MQTT))],
  ["a frame of 125 bytes", binary(LONG.subarray(0, 125)), goesOn(LONG.subarray(0, 125))],
  ["a frame of 126 bytes", binary(LONG.subarray(0, 126)), goesOn(LONG.subarray(0, 126))],
  ["a short length in two bytes", binary(MQTT, { lengthBytes: 2 }), goesOn(MQTT)],
  ["a short length in eight bytes", binary(MQTT, { lengthBytes: 8 }), goesOn(MQTT)],
  [
    "a length of 2^62 of which the first bytes are there",
    binary(MQTT, { lengthBytes: 8, length: 2 ** 62 }),
    goesOn(MQTT),
  ],
  [
    "a message of three fragments",
    concatBytes(
      binary(MQTT.subarray(0, 3), { isFinal: false }),
      frame(Opcode.CONTINUATION, MQTT.subarray(3, 9), { isFinal: false }),
      frame(Opcode.CONTINUATION, MQTT.subarray(9)),
      binary(MQTT),
    ),
    goesOn(concatBytes(MQTT, MQTT)),
  ],
  [
    "a Ping between fragments",
    concatBytes(
      binary(MQTT.subarray(0, 3), { isFinal: false }),
      frame(Opcode.PING, ascii("p")),
      frame(Opcode.CONTINUATION, MQTT.subarray(3)),
    ),
    goesOn(MQTT, "8a0170"),
  ],
  ["an empty Ping", frame(Opcode.PING, NOTHING), goesOn(NOTHING, "8a00")],
  ["a Ping of 125 bytes", frame(Opcode.PING, LONG.subarray(0, 125)), goesOn(NOTHING, `8a7d${hexOf(125)}`)],
  [
    "two Pings, of which the newer one is answered",
    concatBytes(frame(Opcode.PING, ascii("older")), frame(Opcode.PING, ascii("new"))),
    goesOn(NOTHING, "8a036e6577"),
  ],
  ["a Pong nobody asked for", concatBytes(frame(Opcode.PONG, ascii("x")), binary(MQTT)), goesOn(MQTT)],
  ["a Close without a code", concatBytes(frame(Opcode.CLOSE, NOTHING), binary(MQTT)), ends(1000)],
  ["a Close after a Ping", concatBytes(frame(Opcode.PING, NOTHING), close(1001)), ends(1001, NOTHING, "8a00")],
  ["MQTT bytes before Close", concatBytes(binary(MQTT), close(1000)), ends(1000, MQTT)],
];

const FAULTS: readonly (readonly [what: string, bytes: Uint8Array, closeCode: number])[] = [
  ["a text frame", frame(Opcode.TEXT, MQTT), 1003],
  [
    "a text frame amid fragments",
    concatBytes(binary(NOTHING, { isFinal: false }), frame(Opcode.TEXT, MQTT)),
    1002,
  ],
  ["a binary frame amid fragments", concatBytes(binary(NOTHING, { isFinal: false }), binary(MQTT)), 1002],
  ["a continuation of nothing", frame(Opcode.CONTINUATION, MQTT), 1002],
  ["a continuation after the final frame", concatBytes(binary(NOTHING), frame(Opcode.CONTINUATION, MQTT)), 1002],
  ["a frame that is not masked", binary(MQTT, { key: undefined }), 1002],
  ["an empty frame that is not masked", binary(NOTHING, { key: undefined }), 1002],
  ["reserved bit 1", binary(MQTT, { reserved: 0x40 }), 1002],
  ["reserved bit 2", binary(MQTT, { reserved: 0x20 }), 1002],
  ["reserved bit 3 of a Ping", frame(Opcode.PING, NOTHING, { reserved: 0x10 }), 1002],
  ["opcode 3", frame(3, MQTT), 1002],
  ["opcode 7", frame(7, MQTT), 1002],
  ["opcode 11", frame(11, MQTT), 1002],
  ["opcode 15", frame(15, MQTT), 1002],
  ["a fragmented Ping", frame(Opcode.PING, MQTT, { isFinal: false }), 1002],
  ["a fragmented Close", frame(Opcode.CLOSE, NOTHING, { isFinal: false }), 1002],
  ["a Ping of 126 bytes", frame(Opcode.PING, LONG.subarray(0, 126)), 1002],
  ["a short Ping with its length in eight bytes", frame(Opcode.PING, MQTT, { lengthBytes: 8 }), 1002],
  ["a Close that announces 2^40 bytes", frame(Opcode.CLOSE, NOTHING, { length: 2 ** 40 }), 1002],
  ["a length with the highest of 64 bits", fromHex("82ff8000000000000000"), 1002],
  ["a Close of one byte", frame(Opcode.CLOSE, Uint8Array.of(3)), 1002],
  ["a Close whose text is no UTF-8", close(1000, fromHex("c328")), 1007],
  ["a Close whose text ends within a character", close(3000, fromHex("41e282")), 1007],
];

const CLOSE_CODES: readonly (readonly [sent: number, answered: number])[] = [
  ...[1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999].map((code) =>
    [code, code] as const
  ),
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].map((code) => [code, 1002] as const),
];

for (const [what, bytes, outcome] of FRAMES) {
  Deno.test(`frame reader takes ${what}`, () => checkEveryCut(bytes, outcome));
}

for (const [what, bytes, closeCode] of FAULTS) {
  Deno.test(`frame reader ends at ${what} with ${closeCode}`, () => {
    checkEveryCut(bytes, ends(closeCode));
    checkEveryCut(concatBytes(binary(MQTT), bytes, binary(MQTT)), ends(closeCode, MQTT));
  });
}

Deno.test("frame reader answers Close with its code where a client may send it, and with 1002 otherwise", () => {
  for (const [sent, answered] of CLOSE_CODES) {
    checkEveryCut(close(sent, ascii("\xc3\xa4")), ends(answered));
    checkEveryCut(close(sent), ends(answered));
  }
});

Deno.test("frame reader tells a Close of the peer from a fault of the peer", () => {
  for (const [bytes, hasPeerClosed] of [[close(1000), true], [close(1006), true], [frame(3, MQTT), false]] as const) {
    const reader = new FrameReader();
    reader.read(bytes.slice(), bytes.length);
    assert.equal(reader.hasPeerClosed, hasPeerClosed);
  }
});

Deno.test("frame reader unmasks long frames at every alignment of source and target", () => {
  for (const size of [191, 192, 193, 255, 1_000, 65_535, 65_536, 70_000]) {
    for (let offset = 0; offset < 8; offset++) {
      const before = LONG.subarray(0, offset);
      const expected = concatBytes(before, LONG.subarray(0, size), LONG.subarray(0, 300));
      const bytes = concatBytes(binary(before), binary(LONG.subarray(0, size)), binary(LONG.subarray(0, 300)));
      const buffer = new Uint8Array(bytes.length + 16).subarray(offset);
      buffer.set(bytes);
      const count = new FrameReader().read(buffer, bytes.length);
      assert.equal(count, expected.length);
      assert.deepEqual(buffer.subarray(0, count), expected, `size ${size}, offset ${offset}`);
    }
  }
});

Deno.test("frame reader gives the payload of any frames in any pieces", () => {
  const payload = fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ minLength: 150, maxLength: 1_200 }));
  const key = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 4, maxLength: 4 });
  const frames = fc.array(fc.record({ payload, key, isFinal: fc.boolean() }), { maxLength: 8 });
  const cuts = fc.array(fc.integer({ min: 0, max: 4_000 }), { maxLength: 12 });
  fc.assert(fc.property(frames, cuts, (sent, places) => {
    let isInMessage = false;
    const wire = concatBytes(...sent.map(({ payload, key, isFinal }) => {
      const opcode = isInMessage ? Opcode.CONTINUATION : Opcode.BINARY;
      isInMessage = !isFinal;
      return frame(opcode, payload, { key, isFinal });
    }));
    const borders = [0, ...places.filter((place) => place < wire.length).sort((a, b) => a - b), wire.length];
    const pieces = borders.slice(1).map((border, index) => wire.subarray(borders[index], border));
    assert.deepEqual(readAll(pieces), goesOn(concatBytes(...sent.map(({ payload }) => payload))));
  }));
});

Deno.test("frame reader makes the same of any bytes, whatever the pieces, and never more than it got", () => {
  // Mostly right first bytes, so that many cases go further than the first one.
  const first = fc.constantFrom(0x82, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88, 0x81, 0xc2, 0x83);
  const second = fc.constantFrom(0x80, 0x81, 0x85, 0xfd, 0xfe, 0xff, 0x05);
  const part = fc.tuple(first, second, fc.uint8Array({ maxLength: 16 }));
  fc.assert(fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
    const wire = concatBytes(...parts.map(([one, two, rest]) => concatBytes(Uint8Array.of(one, two), rest)));
    const whole = readAll([wire]);
    assert.ok(whole.mqtt.length <= 2 * wire.length);
    assert.deepEqual(readAll(singly(wire)), whole);
  }));
});

Deno.test("a binary header has two bytes up to 125, four up to 65535, ten above", () => {
  const table: readonly (readonly [length: number, header: string])[] = [
    [1, "8201"],
    [125, "827d"],
    [126, "827e007e"],
    [65_535, "827effff"],
    [65_536, "827f0000000000010000"],
    [2 ** 32 + 5, "827f0000000100000005"],
  ];
  for (const [length, header] of table) {
    const storage = new Uint8Array(10);
    assert.equal(toHex(storage.subarray(0, writeBinaryHeader(storage, length))), header);
  }
});

Deno.test("a Close frame of the broker has a code, no text and no mask", () => {
  assert.equal(toHex(encodeClose(1003)), "880203eb");
});

/** Reads the bytes whole, singly, and cut in two at every place. */
function checkEveryCut(bytes: Uint8Array, outcome: Outcome): void {
  assert.deepEqual(readAll([bytes]), outcome);
  assert.deepEqual(readAll(singly(bytes)), outcome, "one byte at a time");
  for (let cut = 1; cut < Math.min(bytes.length, 40); cut++) {
    assert.deepEqual(readAll([bytes.subarray(0, cut), bytes.subarray(cut)]), outcome, `cut at ${cut}`);
  }
}

function readAll(pieces: readonly Uint8Array[]): Outcome {
  const reader = new FrameReader();
  const mqtt: Uint8Array[] = [];
  for (const piece of pieces) {
    const buffer = piece.slice();
    mqtt.push(buffer.subarray(0, reader.read(buffer, buffer.length)));
  }
  const pong = reader.takePong();
  assert.equal(reader.takePong(), undefined, "a Ping is answered once");
  return {
    mqtt: toHex(concatBytes(...mqtt)),
    closeCode: reader.closeCode,
    pong: pong === undefined ? undefined : toHex(pong),
  };
}

function hexOf(length: number): string {
  return toHex(LONG.subarray(0, length));
}
