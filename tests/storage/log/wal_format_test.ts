/**
 * docs/wal-format.md against the code: the example is what the code writes, byte for byte, and reads back.
 */
import assert from "node:assert/strict";
import { Message } from "../../../src/protocol/message.ts";
import { LogBuffer } from "../../../src/storage/log/log_buffer.ts";
import { publishBytes, PublishRecord, readMessage, writePublish } from "../../../src/storage/log/record.ts";
import {
  BLOCK_HEADER_BYTES,
  decodeSegmentHeader,
  encodeSegmentHeader,
  FIRST_LSN,
  readBlocks,
  sealBlock,
  SEGMENT_HEADER_BYTES,
  segmentName,
} from "../../../src/storage/log/segment.ts";

const CREATED_MS = 1_700_000_000_000;
const RECORD_START = SEGMENT_HEADER_BYTES + BLOCK_HEADER_BYTES;
const DOCUMENT = Deno.readTextFileSync(new URL("../../../docs/wal-format.md", import.meta.url));

/** The first bytes of a line of hexadecimal; `00 × 28` stands for so many zeros. */
function bytesOfLine(line: string, bytesMax: number): number[] {
  const spelled = line.replaceAll(/00 × (\d+)/g, (_, count) => "00 ".repeat(Number(count)));
  const words = spelled.trim().split(/\s+/);
  const end = words.findIndex((word) => !/^[0-9a-f]{2}$/.test(word));
  return words.slice(0, end === -1 ? undefined : end).slice(0, bytesMax).map((byte) => Number.parseInt(byte, 16));
}

/** The bytes of a dump: lines that begin with an offset of four digits and go to the next line's, or for 16 bytes. */
function bytesOfDump(text: string): number[] {
  const lines = [...text.matchAll(/^[ *]*([0-9a-f]{4}) {2}(.*)$/gm)].map((line) => ({
    offset: Number.parseInt(line[1] ?? "", 16),
    rest: line[2] ?? "",
  }));
  return lines.flatMap(({ offset, rest }, index) =>
    bytesOfLine(rest, (lines[index + 1]?.offset ?? offset + 16) - offset)
  );
}

/** The example of the document, as the code writes it into memory that was used before. */
function exampleSegment(): Uint8Array {
  const message = new Message();
  message.qos = 1;
  message.setTopic(new TextEncoder().encode("\0\x03a/b"));
  message.setPayload(new TextEncoder().encode("hi"), 0, 2);
  const size = publishBytes(message);
  const buffer = new LogBuffer(RECORD_START + size);
  buffer.bytes.fill(0xaa);
  buffer.bytes.set(encodeSegmentHeader(FIRST_LSN, CREATED_MS));
  writePublish(buffer, RECORD_START, size, message, 0, 0, 0);
  sealBlock(buffer, SEGMENT_HEADER_BYTES, RECORD_START + size, FIRST_LSN, 1, CREATED_MS, FIRST_LSN);
  return buffer.bytes;
}

Deno.test("the example of docs/wal-format.md is what the code writes", () => {
  assert.deepEqual(bytesOfDump(DOCUMENT), [...exampleSegment()]);
  assert.ok(DOCUMENT.includes(`\`${segmentName(FIRST_LSN)}\``));
});

Deno.test("the example of docs/wal-format.md reads back as what the document says", () => {
  const dump = bytesOfDump(DOCUMENT);
  const buffer = new LogBuffer(dump.length);
  buffer.bytes.set(dump);
  const header = decodeSegmentHeader(buffer.bytes);
  assert.deepEqual(header, {
    kind: "header",
    firstLsn: FIRST_LSN,
    createdMs: CREATED_MS,
    isContinuation: false,
  });
  const blocks = [...readBlocks(buffer, dump.length, FIRST_LSN, "records")];
  assert.deepEqual(blocks, [
    { kind: "block", lsn: 64, start: 64, end: 152, records: 1, writtenMs: CREATED_MS, syncedLsn: 64 },
  ]);
  const message = new Message();
  readMessage(buffer, RECORD_START, message);
  const text = (start: number, end: number) => new TextDecoder().decode(buffer.bytes.subarray(start, end));
  assert.equal(text(message.topicStart + 2, message.topicEnd), "a/b");
  assert.equal(text(message.payloadStart, message.payloadEnd), "hi");
  assert.deepEqual([message.qos, message.retain, message.expiresAtMs], [1, false, 0]);
  const record = new PublishRecord();
  record.read(buffer, RECORD_START);
  assert.deepEqual([record.publisher, record.packetId, record.route], [0, 0, 0]);
});

Deno.test("the examples in the heads of segment.ts and record.ts agree with docs/wal-format.md", () => {
  const head = (name: string) => {
    const source = Deno.readTextFileSync(new URL(`../../../src/storage/log/${name}.ts`, import.meta.url));
    return source.slice(0, source.indexOf("*/"));
  };
  const example = [...exampleSegment()];
  assert.deepEqual(bytesOfDump(head("segment")).slice(0, RECORD_START), example.slice(0, RECORD_START));
  const lines = [...head("record").matchAll(/^ \* {3}([0-9a-f]{2} [0-9a-f×]+ .*)$/gm)];
  const lengths = [16, 24, 8];
  assert.equal(lines.length, lengths.length);
  const record = lines.flatMap((line, index) => bytesOfLine(line[1] ?? "", lengths[index] ?? 0));
  assert.deepEqual(record, example.slice(RECORD_START));
});
