/**
 * What the first bytes at a TLS port say. The handshake behind it is tested in tls_handshakes_test.ts.
 */
import assert from "node:assert/strict";
import { firstRecordOf } from "../../../src/listeners/tls/client_hello.ts";

function record(length: number, present: number, ...head: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(5 + present);
  bytes.set([0x16, 3, 1, length >> 8, length & 0xff]);
  bytes.set(head);
  return bytes;
}

Deno.test("first record is incomplete until its last byte is there", () => {
  const whole = record(300, 300);
  for (let length = 0; length < whole.length; length++) {
    assert.equal(firstRecordOf(whole.subarray(0, length)), "incomplete", `${length} bytes`);
  }
  assert.equal(firstRecordOf(whole), "whole");
  assert.equal(firstRecordOf(record(300, 400)), "whole");
});

Deno.test("first record is none with the first byte that cannot be in one", () => {
  const cases: readonly (readonly [string, Uint8Array])[] = [
    ["CONNECT", Uint8Array.of(0x10)],
    ["GET", new TextEncoder().encode("G")],
    ["an alert", Uint8Array.of(0x15)],
    ["SSL 2", Uint8Array.of(0x80, 0x2e, 1, 3, 1)],
    ["version 2", Uint8Array.of(0x16, 2)],
    ["no content", record(0, 0)],
    ["more than a record holds", record(16_385, 0)],
  ];
  for (const [name, bytes] of cases) assert.equal(firstRecordOf(bytes), "not_tls", name);
  assert.equal(firstRecordOf(record(16_384, 16_384)), "whole");
});
