import assert from "node:assert/strict";
import fc from "fast-check";
import {
  INTEGER_INCOMPLETE,
  INTEGER_MALFORMED,
  readVariableByteInteger,
  VARIABLE_BYTE_INTEGER_MAX,
  variableByteIntegerSize,
  writeVariableByteInteger,
} from "../../src/protocol/variable_byte_integer.ts";

/** The borders of the table in MQTT 5.0, 1.5.5, and one value from inside. */
const GOLDEN: readonly [value: number, ...bytes: number[]][] = [
  [0, 0x00],
  [127, 0x7f],
  [128, 0x80, 0x01],
  [321, 0xc1, 0x02],
  [16_383, 0xff, 0x7f],
  [16_384, 0x80, 0x80, 0x01],
  [2_097_151, 0xff, 0xff, 0x7f],
  [2_097_152, 0x80, 0x80, 0x80, 0x01],
  [VARIABLE_BYTE_INTEGER_MAX, 0xff, 0xff, 0xff, 0x7f],
];

for (const [value, ...list] of GOLDEN) {
  Deno.test(`Variable Byte Integer ${value} is ${list.length} bytes, read and written [MQTT-1.5.5-1]`, () => {
    const bytes = Uint8Array.from(list);
    assert.equal(readVariableByteInteger(bytes, 0, bytes.length), value);
    assert.equal(variableByteIntegerSize(value), bytes.length);
    const target = new Uint8Array(bytes.length + 2);
    assert.equal(writeVariableByteInteger(target, 1, value), bytes.length + 1);
    assert.deepEqual(target.subarray(1, -1), bytes);
    for (let size = 0; size < bytes.length; size++) {
      assert.equal(readVariableByteInteger(bytes, 0, size), INTEGER_INCOMPLETE, `cut to ${size}`);
    }
  });
}

Deno.test("readVariableByteInteger refuses more bytes than the value needs [MQTT-1.5.5-1]", () => {
  for (const list of [[0x80, 0x00], [0xff, 0x00], [0x80, 0x80, 0x00], [0xff, 0xff, 0xff, 0x00]]) {
    assert.equal(readVariableByteInteger(Uint8Array.from(list), 0, list.length), INTEGER_MALFORMED, list.join());
  }
});

Deno.test("readVariableByteInteger refuses a fifth byte, even before it arrives [MQTT-1.5.5-1]", () => {
  const bytes = Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x01);
  assert.equal(readVariableByteInteger(bytes, 0, 5), INTEGER_MALFORMED);
  assert.equal(readVariableByteInteger(bytes, 0, 4), INTEGER_MALFORMED);
  assert.equal(readVariableByteInteger(bytes, 0, 3), INTEGER_INCOMPLETE);
});

Deno.test("readVariableByteInteger returns what writeVariableByteInteger wrote", () => {
  fc.assert(fc.property(fc.nat(VARIABLE_BYTE_INTEGER_MAX), fc.nat(3), (value, offset) => {
    const bytes = new Uint8Array(offset + 4);
    const end = writeVariableByteInteger(bytes, offset, value);
    assert.equal(end, offset + variableByteIntegerSize(value));
    assert.equal(readVariableByteInteger(bytes, offset, end), value);
  }));
});
